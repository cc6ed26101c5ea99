"""Exercise 7.2: the solution passes, a stub fails, and typical wrong answers are told apart."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lamae_tutorial.conformal import Calibration
from lamae_tutorial.teaching.exercises import check

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def by_class(rule: Callable[[Floats, float], float]) -> Callable[..., Floats]:
    """An answer that applies a rule to the calibration scores of each image's class."""

    def answer(known: Floats, groups: Ints, scores: Floats, classes: Ints) -> Floats:
        return np.array([rule(known[groups == c], s) for s, c in zip(scores, classes, strict=True)])

    return answer


def everywhere(known: Floats, groups: Ints, scores: Floats, classes: Ints) -> Floats:
    return Calibration(known).p_values(scores)


def grouped(known: Floats, groups: Ints, scores: Floats, classes: Ints) -> Floats:
    parts = [Calibration(known[groups == c]).p_values(scores[classes == c]) for c in np.unique(classes)]
    return np.concatenate(parts)


def stub(known: Floats, groups: Ints, scores: Floats, classes: Ints) -> None: ...


def test_the_solution_is_right() -> None:
    assert check("7.2", by_class(lambda known, s: (1 + (known >= s).sum()) / (1 + len(known)))).right


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (stub, "does it end with `return`"),
        (everywhere, "among the images of all classes"),
        (by_class(lambda known, s: (1 + (known > s).sum()) / (1 + len(known))), "compare with >="),
        (by_class(lambda known, s: (known >= s).mean()), "Count the new image itself"),
        (by_class(lambda known, s: (1 + (known >= s).sum()) / 6), "n is now the number of calibration images"),
        (by_class(lambda known, s: (1 + (known <= s).sum()) / (1 + len(known))), "at least as high"),
        (grouped, "at the place of its image"),
        (lambda *arguments: np.array([2 / 4, 3 / 3, 1 / 3, 2 / 4]), r"should have the shape \(60,\)"),
    ],
)
def test_wrong_answers_are_told_apart(answer: Callable[..., object], message: str) -> None:
    verdict = check("7.2", answer)
    assert not verdict.right
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(repr(verdict))
