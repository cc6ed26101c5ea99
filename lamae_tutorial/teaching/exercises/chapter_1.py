"""Checks of chapter 1: AUROC from ranks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from lamae_tutorial.metrics import auroc
from lamae_tutorial.teaching.exercises import NotYet, expect_close


def exercise_1(answer: Callable[..., Any]) -> None:
    """AUROC from ranks: `auroc_from_ranks(id_scores, ood_scores)`."""
    inside, outside = [1.0, 2.0, 4.0], [5.0, 3.0]
    what = "For the ID scores 1, 2, 4 and the OoD scores 5, 3, AUROC"
    got, wanted = answer(np.array(inside), np.array(outside)), auroc(inside, outside)
    m, n = len(outside), len(inside)
    typical = {
        "AUROC is a share of pairs, between 0 and 1: do not multiply it by 100.": 100 * wanted,
        "This is the share of pairs in which the ID image scores higher. Sum the ranks of the OoD images.": 1 - wanted,
        "Subtract M (M + 1) / 2 first: the OoD images were counted among themselves too.": wanted + (m + 1) / (2 * n),
        "Divide by the number of pairs, N M.": wanted * n * m,
        "M (M + 1) / 2 takes the number of OoD images, not of ID.": (
            wanted + (m * (m + 1) - n * (n + 1)) / (2 * n * m)
        ),
    }
    expect_close(got, wanted, what, "Rank 1 is the lowest of all N + M scores.", typical=typical)

    inside, outside = [0.0, 1.0, 1.0, 3.0], [2.0, 1.0]
    what = "For the ID scores 0, 1, 1, 3 and the OoD scores 2, 1, which has ties, AUROC"
    got, wanted = answer(np.array(inside), np.array(outside)), auroc(inside, outside)
    expect_close(got, wanted, what, "Equal scores share the mean of their ranks: scipy.stats.rankdata does that.")

    drawn = np.random.default_rng(0)
    many_id, many_ood = drawn.normal(size=301), drawn.normal(1, 1, size=200)
    before = many_id.copy(), many_ood.copy()
    got = answer(many_id, many_ood)
    expect_close(got, auroc(*before), "For 301 ID and 200 OoD scores, AUROC", "Does it hold for any N and M?")
    if not (np.array_equal(many_id, before[0]) and np.array_equal(many_ood, before[1])):
        raise NotYet("It changes the scores that it was given, e.g. by sorting them in place: work with copies.")
