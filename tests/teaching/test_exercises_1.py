"""The check of chapter 1's implementation task: AUROC from ranks."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import rankdata

from lamae_tutorial.teaching.exercises import check


def solution(id_scores, ood_scores):  # type: ignore[no-untyped-def]
    n, m = len(id_scores), len(ood_scores)
    ranks = rankdata(np.concatenate([id_scores, ood_scores]))
    return (ranks[n:].sum() - m * (m + 1) / 2) / (n * m)


def without_shared_ranks(id_scores, ood_scores):  # type: ignore[no-untyped-def]
    n, m = len(id_scores), len(ood_scores)
    ranks = np.argsort(np.argsort(np.concatenate([id_scores, ood_scores]), kind="stable")) + 1
    return (ranks[n:].sum() - m * (m + 1) / 2) / (n * m)


def in_place(id_scores, ood_scores):  # type: ignore[no-untyped-def]
    right = solution(id_scores, ood_scores)
    id_scores.sort()
    return right


def raw_sum(id_scores, ood_scores):  # type: ignore[no-untyped-def]
    return rankdata(np.concatenate([id_scores, ood_scores]))[len(id_scores) :].sum()


def test_the_solution_passes() -> None:
    assert check("1.1", solution).right
    assert check("1.1", lambda a, b: np.float32(solution(a, b))).right


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda a, b: ..., "It returns nothing so far"),
        (lambda a, b: solution(b, a), "Sum the ranks of the OoD images"),
        (lambda a, b: raw_sum(a, b) / (len(a) * len(b)), r"Subtract M \(M \+ 1\) / 2 first"),
        (lambda a, b: 100 * solution(a, b), "do not multiply it by 100"),
        (lambda a, b: solution(a, b) * len(a) * len(b), "Divide by the number of pairs"),
        (
            lambda a, b: (raw_sum(a, b) - len(a) * (len(a) + 1) / 2) / (len(a) * len(b)),
            "the number of OoD images, not of ID",
        ),
        (without_shared_ranks, "Equal scores share the mean of their ranks"),
        (in_place, "It changes the scores that it was given"),
        (lambda a, b: "0.8", r"AUROC should be 0.833; got 0.8. Rank 1 is the lowest"),
    ],
)
def test_a_wrong_answer_gets_its_own_message(answer: Callable[..., object], message: str) -> None:
    verdict = check("1.1", answer)
    assert not verdict.right
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(verdict.message)
