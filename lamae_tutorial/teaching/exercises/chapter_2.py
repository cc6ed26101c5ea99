"""Chapter 2: a memory of which the k best slots are read."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lamae_tutorial.teaching.exercises import NotYet, expect_close

_K, _TEMPERATURE = 3, 0.5


def exercise_2(answer: Callable[[Tensor, Tensor, int, float], Tensor]) -> None:
    """Check `top_k(latents, slots, k, temperature)`: weights of the k slots with the largest cosines."""
    draw = torch.Generator().manual_seed(0)
    latents, slots = 3 * torch.randn(4, 5, generator=draw), torch.randn(7, 5, generator=draw)
    # The slots differ in length, so the inner product has another order.
    slots = slots * torch.linspace(0.2, 3, 7)[:, None]
    cosines = F.normalize(latents, dim=1) @ F.normalize(slots, dim=1).T
    if isinstance(got := answer(latents, slots, _K, _TEMPERATURE), Tensor) and got.shape == cosines.shape:
        _find_mistake(got.detach(), latents, slots, cosines)
    expect_close(got, _top_k(cosines, _TEMPERATURE), f"For 4 latents, 7 slots and k = {_K}, the weights")
    moved = latents.clone().requires_grad_()
    weights = answer(moved, slots, _K, _TEMPERATURE)
    if not weights.requires_grad:
        raise NotYet("The values are right, but no gradient reaches the latents. Use PyTorch throughout.")


def _find_mistake(got: Tensor, latents: Tensor, slots: Tensor, cosines: Tensor) -> None:
    """Raise NotYet if the weights are what a typical mistake gives."""
    right = _top_k(cosines, _TEMPERATURE)
    mistakes = {
        "These weights follow the inner product. A cosine divides by both lengths: see `F.normalize`.": _top_k(
            latents @ slots.T, _TEMPERATURE
        ),
        "The weights are cut after the softmax and not scaled up again: divide each row by its sum.": (
            (cosines / _TEMPERATURE).softmax(1) * (right > 0)
        ),
        "Slots that are not read have a weight above 0: a similarity of 0 before the softmax still counts as exp(0). "
        "Fill in minus infinity.": (cosines * (right > 0) / _TEMPERATURE).softmax(1),
        "The temperature is not used: divide the cosines by it.": _top_k(cosines, 1.0),
        "The temperature multiplies the cosines; it should divide them.": _top_k(cosines, 1 / _TEMPERATURE),
        "These are the largest cosines of each slot. Take the k best slots of each latent, along the last dimension.": (
            _top_k(cosines.T, _TEMPERATURE).T
        ),
    }
    for message, wrong in mistakes.items():
        if torch.allclose(got.to(wrong.dtype), wrong, atol=1e-4):
            raise NotYet(message)
    read = (got > 0).sum(1)
    if (read != _K).any():
        raise NotYet(f"Each row should read {_K} slots; got rows that read {sorted(set(read.tolist()))}.")


def _top_k(similarity: Tensor, temperature: float) -> Tensor:
    best = similarity.topk(_K, dim=1).indices
    masked = torch.full_like(similarity, -torch.inf).scatter(1, best, similarity.gather(1, best))
    return (masked / temperature).softmax(1)
