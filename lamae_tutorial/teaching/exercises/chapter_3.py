"""Chapter 3: attention weights over the chunks of the most probable classes."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lamae_tutorial.teaching.exercises import NotYet, expect_close


def exercise_2(answer: Callable[..., Tensor]) -> None:
    """Check `top_weights(latent, slots, logits, k)`: the weights (B, S, N) of slots in the k most probable classes."""
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(3, 4, generator=generator)
    slots = 3 * torch.randn(5, 2, 4, generator=generator)  # other lengths than 1, so that the norms matter
    logits = torch.tensor([[0.0, 3, 1, 2, -1], [5, 4, 3, 2, 1], [-2, -1, 0, 4, 2]])
    for k in (1, 2, 5):
        weights = answer(latent.clone(), slots.clone(), logits.clone(), k)
        wanted = _weights(latent, slots, logits, k)
        where = f"With k = {k}, the weights of 3 images, 5 classes and 2 slots"
        expect_close(weights, wanted, where, tolerance=torch.inf)  # the shape
        _say_which_slots(weights.detach(), wanted, k)
        expect_close(weights, wanted, where, "A similarity is a cosine: divide by the lengths of latent and slot.")


def _say_which_slots(weights: Tensor, wanted: Tensor, k: int) -> None:
    share = weights.sum(2)
    outside = share[wanted.sum(2) == 0]
    total = weights.sum((1, 2))
    chosen = (share > 0).sum(1)
    if k < share.shape[1] and (share > 0).all():
        raise NotYet(
            f"With k = {k}, the slots of the other classes have weights up to {outside.max():.3f} in sum, and should "
            "have 0. A similarity of 0 still weighs exp(0) = 1 before the softmax divides: set it to minus infinity."
        )
    if (chosen != k).any():
        raise NotYet(f"With k = {k}, slots of {chosen[0]} classes are read. Choose the k largest logits of each image.")
    if (outside > 0).any():
        raise NotYet(f"With k = {k}, other classes are read than those of the k largest logits.")
    if (total - 1).abs().max() > 1e-4:
        raise NotYet(
            f"With k = {k}, weights of an image sum to {total[0]:.3f}, but should sum to 1. Mask before the softmax "
            "and take one softmax over the slots of all classes together."
        )


def _weights(latent: Tensor, slots: Tensor, logits: Tensor, k: int) -> Tensor:
    cosine = torch.einsum("bc,snc->bsn", F.normalize(latent, dim=-1), F.normalize(slots, dim=-1))
    allowed = torch.zeros_like(logits, dtype=torch.bool).scatter(1, logits.topk(k).indices, True)
    masked = cosine.masked_fill(~allowed[:, :, None], -torch.inf)
    return masked.flatten(1).softmax(1).view_as(cosine)
