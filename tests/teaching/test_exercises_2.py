"""Chapter 2's implementation task: the solution passes, and typical mistakes get their own message."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lamae_tutorial.teaching.exercises import check


def top_k(latents: Tensor, slots: Tensor, k: int, temperature: float = 1.0) -> Tensor:
    cosines = F.normalize(latents, dim=1) @ F.normalize(slots, dim=1).T
    smallest = cosines.topk(k, dim=1).values[:, -1:]
    return (cosines.masked_fill(cosines < smallest, -torch.inf) / temperature).softmax(1)


def inner_product(latents: Tensor, slots: Tensor, k: int, temperature: float = 1.0) -> Tensor:
    similarity = latents @ slots.T
    smallest = similarity.topk(k, dim=1).values[:, -1:]
    return (similarity.masked_fill(similarity < smallest, -torch.inf) / temperature).softmax(1)


def not_renormalised(latents: Tensor, slots: Tensor, k: int, temperature: float = 1.0) -> Tensor:
    cosines = F.normalize(latents, dim=1) @ F.normalize(slots, dim=1).T
    weights = (cosines / temperature).softmax(1)
    return torch.where(weights >= weights.topk(k, dim=1).values[:, -1:], weights, 0.0)


def zeros_before_softmax(latents: Tensor, slots: Tensor, k: int, temperature: float = 1.0) -> Tensor:
    cosines = F.normalize(latents, dim=1) @ F.normalize(slots, dim=1).T
    kept = cosines >= cosines.topk(k, dim=1).values[:, -1:]
    return (cosines * kept / temperature).softmax(1)


def all_slots(latents: Tensor, slots: Tensor, k: int, temperature: float = 1.0) -> Tensor:
    return top_k(latents, slots, len(slots), temperature)


def along_the_batch(latents: Tensor, slots: Tensor, k: int, temperature: float = 1.0) -> Tensor:
    return top_k(slots, latents, k, temperature).T


def test_the_solution_is_right() -> None:
    assert check("2.2", top_k).right


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda latents, slots, k, temperature=1.0: ..., "It returns nothing so far"),
        (inner_product, "follow the inner product"),
        (not_renormalised, "not scaled up again"),
        (zeros_before_softmax, "Fill in minus infinity"),
        (lambda latents, slots, k, temperature=1.0: top_k(latents, slots, k), "The temperature is not used"),
        (lambda latents, slots, k, temperature=1.0: top_k(latents, slots, k, 1 / temperature), "should divide them"),
        (along_the_batch, "the k best slots of each latent"),
        (all_slots, r"Each row should read 3 slots; got rows that read \[7\]"),
        (lambda *given: top_k(*given).T, r"should have the shape \(4, 7\); got \(7, 4\)"),
        (lambda *given: top_k(*given).detach(), "no gradient reaches the latents"),
    ],
)
def test_a_mistake_is_named(answer: object, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        assert check("2.2", answer).right, repr(check("2.2", answer))
