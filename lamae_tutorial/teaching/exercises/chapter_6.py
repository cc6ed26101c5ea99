"""Checks of chapter 6, "The full benchmark"."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lamae_tutorial.teaching.exercises import expect_close

_SEEN = np.array([0.03, 0.01, -0.01, 0.02])  # six of the 16 patterns have a mean at least as far from 0
_TYPICAL = {
    "That is the one-sided p: compare the absolute values of the means.": 3 / 16,
    "Patterns whose mean equals the one seen count too: compare with >=, and allow for rounding.": 2 / 16,
    "Those are the patterns whose mean is at least as near to 0: count those at least as far away.": 14 / 16,
    "That is the number of patterns: divide it by the number of all patterns, 2 ** n.": 6,
    "The pattern that was seen is one of the 2 ** n: count it as well.": 5 / 15,
}


def exercise_3(answer: Callable[..., Any]) -> None:
    """Check the two-sided p of the sign-flip test: (n,) -> a number."""
    what = "For the differences 0.03, 0.01, -0.01, 0.02, p"
    expect_close(answer(_SEEN), 6 / 16, what, tolerance=1e-9, typical=_TYPICAL)
    what = "For the differences -0.03, -0.01, 0.01, -0.02, p"
    expect_close(answer(-_SEEN), 6 / 16, what, "The mean that was seen needs its absolute value too.", 1e-9)
    expect_close(answer(np.ones(6)), 2 / 64, "For six equal differences, p", tolerance=1e-9)
