"""Checks of the implementation tasks: the frame that all chapters share."""

from types import ModuleType

import pytest
import torch

from lamae_tutorial.teaching import exercises
from lamae_tutorial.teaching.exercises import NotYet, check, expect_close


@pytest.fixture
def doubling(monkeypatch: pytest.MonkeyPatch) -> None:
    def exercise_1(answer):  # type: ignore[no-untyped-def]
        expect_close(answer(torch.tensor([1.0, 2.0])), torch.tensor([2.0, 4.0]), "Twice 1 and 2", "Multiply by 2.")

    chapter = ModuleType("chapter_0")
    vars(chapter)["exercise_1"] = exercise_1
    monkeypatch.setattr(exercises, "find_spec", lambda name: name.endswith("chapter_0"))
    monkeypatch.setattr(exercises, "import_module", lambda name: chapter)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: None, "not yet. It returns nothing so far: does it end with `return`?"),
        (lambda x: ..., "not yet. It returns nothing so far"),
        (lambda x: x, r"not yet. Twice 1 and 2 should be \[2., 4.\]; got \[1., 2.\]. Multiply by 2."),
        (lambda x: 2 * x[:1], r"should have the shape \(2,\); got \(1,\)"),
        (lambda x: x / 0, r"should be finite; got \[inf, inf\]"),
        (lambda x: "a", "should be numbers; got str"),
        (lambda x: x + torch.zeros(3), "It stopped with RuntimeError: The size of tensor"),
        (lambda: 1, "It stopped with TypeError: .*takes 0 positional arguments"),
        (5, "Pass the function itself, without calling it; got int"),
        (None, "Pass the function itself, without calling it; got nothing"),
    ],
)
def test_a_wrong_answer_is_told_what_is_wrong(doubling: None, answer: object, message: str) -> None:
    verdict = check("0.1", answer)  # type: ignore[arg-type]
    assert not verdict.right
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(repr(verdict))


def test_a_right_answer(doubling: None) -> None:
    for answer in (lambda x: 2 * x, lambda x: (2 * x).double(), lambda x: [2.0, 4.0], lambda x: (2 * x).numpy()):
        assert repr(check("0.1", answer)) == "Exercise 0.1: right."


def test_a_verdict_wraps_on_a_page(doubling: None) -> None:
    assert check("0.1", lambda x: x.no)._repr_html_() == (
        "<p>Exercise 0.1: not yet. It stopped with AttributeError: &#x27;Tensor&#x27; object has no attribute "
        "&#x27;no&#x27;</p>"
    )


def test_a_stub_is_not_an_error(doubling: None) -> None:
    def stub(x):  # type: ignore[no-untyped-def]
        raise NotImplementedError

    assert check("0.1", stub).message == "Nothing is written there so far."


def test_gradients_can_be_taken_inside_a_check(doubling: None) -> None:
    with torch.inference_mode():
        assert check("0.1", lambda x: torch.autograd.grad((x.requires_grad_() ** 2).sum(), x)[0]).right


@pytest.mark.parametrize("name", ["0.2", "9.1", "x", "", "3", "../3.1"])
def test_unknown_exercises(name: str) -> None:
    with pytest.raises(ValueError, match="has a check; name it as the chapter does"):
        check(name, abs)


def test_not_yet_is_an_error_of_its_own() -> None:
    with pytest.raises(NotYet, match="It returns nothing so far"):
        expect_close(None, 1.0, "x")
