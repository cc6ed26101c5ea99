"""The task of the chapter on complexity: an entropy that sees where the levels stand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamae_tutorial.complexity import shannon_entropy
from lamae_tutorial.teaching.exercises import expect_close


def exercise_2(answer: Callable[[Tensor], Any]) -> None:
    """Check the entropy of the differences between horizontal neighbours, in bits."""
    levels = torch.tensor([0, 56, 200, 255], dtype=torch.uint8)  # 200 - 0 and 0 - 56 are equal modulo 256
    images = levels[torch.randint(0, 4, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0))]
    steps = images.int().diff(dim=-1)
    right = _bits(steps)
    typical = {
        "Bytes wrap around: 0 - 56 becomes 200. Convert to int before you subtract.": _bits(images.diff(dim=-1)),
        "A step up and a step down are different: keep the sign.": _bits(steps.abs()),
        "That is the entropy of the levels. Subtract neighbours first.": shannon_entropy(images),
        "Those neighbours stand below each other. Take `dim=-1`.": _bits(images.int().diff(dim=-2)),
        "That is in nats. Take log2.": right * np.log(2),
        "A difference that never occurs has p = 0, and 0 log 0 counts as 0: leave it out.": right * torch.nan,
    }
    expect_close(answer(images.clone()), right, "For three images, the entropies", typical=typical)
    flat = torch.full((1, 1, 8, 8), 7, dtype=torch.uint8)
    expect_close(answer(flat), torch.zeros(1), "For an image of one level, the entropy", "There is one difference, 0.")


def _bits(values: Tensor) -> Tensor:
    """Return the entropy of each row of values (N, ...)."""
    shares = [row.unique(return_counts=True)[1].double() / row.numel() for row in values.flatten(1)]
    return torch.stack([-(p * p.log2()).sum() for p in shares])
