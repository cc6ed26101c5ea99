"""Checks of chapter 7, "Choosing a threshold"."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lamae_tutorial.conformal import Calibration
from lamae_tutorial.teaching.exercises import expect_close

_CALIBRATION = np.array([1.0, 2.0, 3.0, 10.0, 11.0]), np.array([0, 0, 0, 1, 1])
_NEW = np.array([2.5, 2.5, 12.0, 3.0]), np.array([0, 1, 1, 0])
_RIGHT = np.array([2 / 4, 3 / 3, 1 / 3, 2 / 4])
_TYPICAL = {
    "These are the p-values among the images of all classes: select the calibration scores of the image's own class.": (
        np.array([4, 4, 1, 4]) / 6
    ),
    "The last score equals a calibration score of its class: a tie counts, so compare with >=.": (
        np.array([2 / 4, 3 / 3, 1 / 3, 1 / 4])
    ),
    "Count the new image itself, above and below the fraction: (1 + count) / (1 + n).": (
        np.array([1 / 3, 2 / 2, 0, 1 / 3])
    ),
    "n is now the number of calibration images of the class, not of all.": np.array([2, 3, 1, 2]) / 6,
    "These count lower scores: count the calibration scores that are at least as high.": (
        np.array([3 / 4, 1 / 3, 3 / 3, 4 / 4])
    ),
    "The values are right, but sorted by class: put each one at the place of its image.": (
        np.array([2 / 4, 2 / 4, 3 / 3, 1 / 3])
    ),
}


def exercise_2(answer: Callable[..., Any]) -> None:
    """Check p-values within classes: (n,), (n,), (N,), (N,) -> (N,)."""
    what = "For the scores 2.5, 2.5, 12, 3 of the classes 0, 1, 1, 0, calibrated with 1, 2, 3 of 0 and 10, 11 of 1, p"
    expect_close(answer(*_CALIBRATION, *_NEW), _RIGHT, what, typical=_TYPICAL)
    generator = np.random.default_rng(0)
    scores, classes = generator.integers(0, 20, (2, 60)).astype(float), generator.integers(0, 4, (2, 60))
    wanted = Calibration(scores[0], classes[0]).p_values(scores[1], classes[1])
    got = answer(scores[0], classes[0], scores[1], classes[1])
    expect_close(got, wanted, "For 60 random scores of four classes, p", "Only your first answer was right.")
