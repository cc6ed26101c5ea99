"""Exercise 6.3: the solution passes, a stub fails, and typical wrong answers are told apart."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from lamae_tutorial.teaching.exercises import check

Floats = NDArray[np.float64]


def by(rule: Callable[[Floats, float], object]) -> Callable[[Floats], object]:
    """An answer that compares the means of all sign patterns (2^n,) with the one seen."""

    def answer(differences: Floats) -> object:
        signs = np.array(list(product((-1, 1), repeat=len(differences))))
        return rule((signs * differences).mean(1), float(differences.mean()))

    return answer


def stub(differences: Floats) -> None: ...


def test_the_solution_is_right() -> None:
    assert check("6.3", by(lambda means, seen: np.mean(np.abs(means) >= abs(seen) - 1e-12))).right


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (stub, "does it end with `return`"),
        (by(lambda means, seen: np.mean(means >= seen - 1e-12)), "one-sided"),
        (by(lambda means, seen: np.mean(np.abs(means) > abs(seen) + 1e-12)), "compare with >="),
        (by(lambda means, seen: np.mean(np.abs(means) <= abs(seen) + 1e-12)), "at least as near to 0"),
        (by(lambda means, seen: np.sum(np.abs(means) >= abs(seen) - 1e-12)), "divide it by the number"),
        (by(lambda means, seen: np.mean(np.abs(means) >= seen - 1e-12)), "needs its absolute value too"),
        (by(lambda means, seen: means), r"should have the shape \(\)"),
    ],
)
def test_wrong_answers_are_told_apart(answer: Callable[..., object], message: str) -> None:
    verdict = check("6.3", answer)
    assert not verdict.right
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(repr(verdict))
