"""The check of the task on nearest neighbours: right, not written yet, and typical mistakes."""

import pytest
from torch import Tensor
from torch.nn import functional as F

from lamae_tutorial.networks.neighbours import neighbour_distance
from lamae_tutorial.teaching.exercises import check


def cosines(features: Tensor, stored: Tensor) -> Tensor:
    return F.normalize(features, dim=1) @ F.normalize(stored, dim=1).T


def right(features: Tensor, stored: Tensor, k: int) -> Tensor:
    return -cosines(features, stored).topk(min(k, len(stored)), 1).values[:, -1]


def test_a_right_answer() -> None:
    assert check("8.2", right).right

    def by_distance(features: Tensor, stored: Tensor, k: int) -> Tensor:
        # Of vectors of length 1, the cosine is 1 minus half of the squared distance.
        distance = neighbour_distance(F.normalize(features, dim=1), F.normalize(stored, dim=1), k)
        return distance.square() / 2 - 1

    assert check("8.2", by_distance).right


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda features, stored, k: None, "It returns nothing so far"),
        (lambda features, stored, k: -right(features, stored, k), "(?i)the sign is turned"),
        (lambda features, stored, k: -(features @ stored.T).topk(min(k, len(stored)), 1).values[:, -1], "not cosines"),
        (
            lambda features, stored, k: -cosines(features, stored).topk(k, 1).values.mean(1),
            "mean of the 3 nearest",
        ),
        (lambda features, stored, k: -cosines(features, stored).amax(1), "(?i)this is the nearest one"),
        (lambda features, stored, k: -cosines(features, stored).sort(1).values[:, k - 1], "(?i)these are the farthest"),
        (lambda features, stored, k: -cosines(features, stored), r"should have the shape \(4,\); got \(4, 6\)"),
        (lambda features, stored, k: -cosines(features, stored).topk(k, 1).values[:, -1], "stopped with RuntimeError"),
    ],
)
def test_typical_mistakes_are_named(answer: object, message: str) -> None:
    verdict = check("8.2", answer)
    assert not verdict.right
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(verdict.message)
