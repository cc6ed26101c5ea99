"""The implementation task of chapter 3: its solution passes, and each typical mistake has its own message."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lamae_tutorial import LabelAssistedMemory
from lamae_tutorial.teaching.exercises import check


def cosine(latent: Tensor, slots: Tensor) -> Tensor:
    flat = F.normalize(latent, dim=-1) @ F.normalize(slots, dim=-1).flatten(0, 1).T
    return flat.unflatten(1, slots.shape[:2])


def allowed(logits: Tensor, k: int) -> Tensor:
    top = logits.topk(k).indices
    return F.one_hot(top, logits.shape[1]).sum(1).bool()[:, :, None]


def solution(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    similarity = cosine(latent, slots).masked_fill(~allowed(logits, k), -torch.inf)
    return similarity.flatten(1).softmax(1).view_as(similarity)


def zero_before_softmax(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    similarity = cosine(latent, slots) * allowed(logits, k)
    return similarity.flatten(1).softmax(1).view_as(similarity)


def zero_after_softmax(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    similarity = cosine(latent, slots)
    return similarity.flatten(1).softmax(1).view_as(similarity) * allowed(logits, k)


def softmax_of_each_class(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    return cosine(latent, slots).softmax(-1) * allowed(logits, k)


def always_one_class(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    return solution(latent, slots, logits, 1)


def least_probable(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    return solution(latent, slots, -logits, k)


def without_norms(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    product = torch.einsum("bc,snc->bsn", latent, slots).masked_fill(~allowed(logits, k), -torch.inf)
    return product.flatten(1).softmax(1).view_as(product)


def flattened(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    return solution(latent, slots, logits, k).flatten(1)


def stub(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> None:
    """Return the weights."""


def test_the_solution_is_right() -> None:
    assert check("3.2", solution).right


def test_with_k_1_the_task_is_the_package_s_memory() -> None:
    torch.manual_seed(0)
    memory, latent, logits = LabelAssistedMemory(4, 3, 8), torch.randn(5, 8), torch.randn(5, 4)
    torch.testing.assert_close(solution(latent, memory.slots, logits, 1), memory(latent, logits)[1])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (stub, "returns nothing so far"),
        (zero_before_softmax, "still weighs exp(0) = 1"),
        (zero_after_softmax, "should sum to 1. Mask before the softmax"),
        (softmax_of_each_class, "With k = 2, weights of an image sum to 2.000"),
        (always_one_class, "With k = 2, slots of 1 classes are read"),
        (least_probable, "other classes are read than those of the k largest logits"),
        (without_norms, "divide by the lengths of latent and slot"),
        (flattened, "should have the shape (3, 5, 2); got (3, 10)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_mistake_has_its_own_message(answer: Callable[..., Tensor], message: str) -> None:
    verdict = check("3.2", answer)
    assert not verdict.right
    assert message in verdict.message
