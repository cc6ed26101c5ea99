"""Helpers of the chapters: quizzes, committed records and patches of photographs."""

import sys
from pathlib import Path

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from lamae_tutorial import shannon_entropy
from lamae_tutorial.benchmark.records import read_results
from lamae_tutorial.teaching import notebook
from lamae_tutorial.teaching.quizzes import QUIZZES


@pytest.mark.parametrize("chapter", QUIZZES)
def test_each_question_has_one_right_answer_and_feedback_on_all(chapter: str) -> None:
    questions = QUIZZES[chapter]
    assert 3 <= len(questions) <= 6
    for question in questions:
        answers = question["answers"]
        assert [answer["correct"] for answer in answers].count(True) == 1, question["question"]
        assert len(answers) >= 3 and all(len(answer["feedback"]) > 10 for answer in answers)
        assert question["type"] == "multiple_choice"
        # YAML reads unquoted words such as "No" as truth values.
        texts = [question["question"], *(answer[key] for answer in answers for key in ("answer", "feedback"))]
        assert {type(text) for text in texts} == {str}


def test_the_right_answer_does_not_always_stand_in_one_place() -> None:
    for questions in QUIZZES.values():
        places = {[answer["correct"] for answer in question["answers"]].index(True) for question in questions}
        assert len(places) > 1


def test_quiz_asks_no_other_host_and_waits_for_no_mathjax(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jupyterquiz")
    shown: list[dict[str, str]] = []
    monkeypatch.setattr(notebook, "display", lambda data, raw: shown.append(data))
    monkeypatch.setattr("urllib.request.urlopen", lambda *args: pytest.fail("a quiz must not load anything"))
    InteractiveShell.instance()
    try:
        notebook.quiz("autoencoder")
    finally:
        InteractiveShell.clear_instance()
    page, script = shown[0]["text/html"], shown[1]["application/javascript"]
    assert QUIZZES["autoencoder"][0]["question"] in script
    assert " version[0]" not in script and "(version[0]" not in script and "String(version)[0]" in script
    assert "http" not in page


def test_quiz_without_jupyterquiz_folds_the_feedback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jupyterquiz", None)
    shown: list[object] = []
    monkeypatch.setattr(notebook, "display", shown.append)
    notebook.quiz("memae")
    (page,) = (each.data for each in shown)
    answers = sum(len(question["answers"]) for question in QUIZZES["memae"])
    assert page.count("<details>") == answers
    assert page.count("Right: ") == len(QUIZZES["memae"])


def test_photo_patches_are_photographs_cut_up() -> None:
    patches = notebook.photo_patches(8)
    assert patches.dtype == torch.uint8 and patches.shape[1:] == (1, 8, 8) and len(patches) > 8000
    entropy = shannon_entropy(patches)
    assert entropy.min() < 1 and entropy.max() > 5
    steps = patches.float().diff(dim=-1).abs().mean()
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    shuffled = patches.flatten(1)[:, order].view_as(patches).float().diff(dim=-1).abs().mean()
    assert steps < 0.7 * shuffled  # neighbours in a photograph are similar
    assert torch.equal(patches, notebook.photo_patches(8))
    assert not torch.equal(patches, notebook.photo_patches(8, random_state=1))


def test_larger_patches_overlap() -> None:
    assert notebook.photo_patches(28).shape == (7700, 1, 28, 28)


def test_committed_records_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = notebook.committed("fast", "mnist-without-1-*.json")
    assert files == sorted(files) and all(path.match("book/results/fast/mnist-without-1-*.json") for path in files)
    assert {result.ood for result in read_results(files)} >= {"mnist-1"}
    with pytest.raises(FileNotFoundError, match=r"no records fast/cifar100-\*.json in .*book/results or .*repository"):
        notebook.committed("fast", "cifar100-*.json")


def test_committed_records_come_with_a_package_without_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "_PACKAGE", tmp_path / "lamae_tutorial")
    folder = tmp_path / "lamae_tutorial" / "results" / "fast"
    folder.mkdir(parents=True)
    for name in ("b.json", "a.json", "a.npz"):
        (folder / name).touch()
    assert notebook.committed("fast") == [folder / "a.json", folder / "b.json"]
