"""The memory between encoder and decoder: prototypes of the in-distribution data, read by attention.

MemoryBank is the memory of MemAE (Gong et al. 2019, Sections 3.3 and 3.4): one sparse memory for all classes.
LabelAssistedMemory is the module LA-M of the LAMAE paper (Zhang et al. 2021, Section 3.1.2, Eqn 1). The authors'
notebook differs from the paper in three points; see `variant`.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.data.parameters import POSITIVE, SIZE, Rule, check, one_of, several

Variant = Literal["paper", "notebook"]

SLOTS = Rule(
    "be one whole number in 1..65536, or one per class",
    lambda value: SIZE.holds(value) or several(SIZE, "", low=1, high=65536).holds(value),
)


class MemoryBank(nn.Module):
    """Memory slots, read by cosine similarity, softmax, hard shrinkage and L1 normalisation.

    Parameters
    ----------
    num_slots : int
        N, the number of slots.
    latent_dim : int
        C, the length of a slot.
    shrink_threshold : float or str
        Weights up to this value become 0. A number in [0, 1), or a multiple of 1/N as text: "1/N" or "2.5/N". Cosine
        weights lie near 1/N. "3/N", the upper end of the range in MemAE's paper, therefore sets most rows to 0.
    temperature : float
        The similarity is divided by this number before the softmax. It is 1 in the paper; a lower one is sparser.

    Attributes
    ----------
    slots : torch.nn.Parameter, float32 (num_slots, latent_dim)
        The memory M, drawn from N(0, 1).
    """

    def __init__(
        self, num_slots: int, latent_dim: int, shrink_threshold: float | str = "1/N", temperature: float = 1.0
    ) -> None:
        super().__init__()
        if num_slots < 1:
            raise ValueError(f"a memory needs at least one slot; got {num_slots}")
        check("temperature", temperature, POSITIVE)
        self.threshold = _threshold(shrink_threshold, num_slots)
        self.temperature = temperature
        self.slots = nn.Parameter(torch.randn(num_slots, latent_dim))

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Read the memory.

        Parameters
        ----------
        latent : float tensor (B, latent_dim)
            z, the encoder's output.

        Returns
        -------
        read : float tensor (B, latent_dim)
            z-hat, the weighted sum of the slots; a row is 0 if none of its weights exceeds the threshold.
        weights : float tensor (B, num_slots)
            w, >= 0; each row sums to 1, or to 0 if none of its weights exceeds the threshold.
        """
        similarity = F.normalize(latent, dim=-1) @ F.normalize(self.slots, dim=-1).T  # d(z, m_i) (B, N)
        weights = (similarity / self.temperature).softmax(-1)
        above = weights - self.threshold
        # Hard shrinkage in the continuous form of MemAE's Eqn (7). The small constant avoids 0 / 0.
        weights = above.relu() * weights / (above.abs() + 1e-12)
        weights = F.normalize(weights, p=1, dim=-1)
        return weights @ self.slots, weights


def _threshold(shrink_threshold: float | str, num_slots: int) -> float:
    text = str(shrink_threshold)
    try:
        threshold = float(text.removesuffix("/N")) / (num_slots if text.endswith("/N") else 1)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold < 1:
        raise ValueError(f'shrink_threshold must be a number in [0, 1) or a multiple such as "2/N"; got {text!r}')
    return threshold


class LabelAssistedMemory(nn.Module):
    """One block of memory slots per class. Only the block of the predicted class is read.

    Parameters
    ----------
    num_classes : int
        S, the number of in-distribution classes.
    slots_per_class : int or sequence of int
        N^s, one number for all classes or one number per class.
    latent_dim : int
        C, the length of a slot.
    variant : {"paper", "notebook"}
        "paper": cosine similarity; slots of other classes have weight 0 (Eqn 1); slots drawn from N(0, 1).
        "notebook", as in the authors' code: the product is divided by L1 norms; the similarity of the other classes is
        multiplied by 0 *before* the softmax, so each of their slots keeps the weight exp(0) before normalisation; slots
        drawn from U(-5, 5).

    Attributes
    ----------
    slots : torch.nn.Parameter, float32 (num_classes, max slots per class, latent_dim)
        The memory M. If classes have different numbers of slots, the surplus slots are never read.
    """

    def __init__(
        self,
        num_classes: int,
        slots_per_class: int | Sequence[int],
        latent_dim: int,
        variant: Variant = "paper",
    ) -> None:
        super().__init__()
        allowed = Rule(
            f"be one number >= 1, or {num_classes} of them, one per class",
            lambda value: SLOTS.holds(value) and (SIZE.holds(value) or len(value) == num_classes),
        )
        check("slots_per_class", slots_per_class, allowed)
        sizes = [int(size) for size in np.broadcast_to(slots_per_class, num_classes)]
        check("variant", variant, one_of(*get_args(Variant)))
        self.variant = variant
        slots = torch.empty(num_classes, max(sizes), latent_dim)
        self.slots = nn.Parameter(slots.uniform_(-5, 5) if variant == "notebook" else slots.normal_())
        exists = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]  # (S, N)
        self.register_buffer("exists", exists, persistent=False)
        self.exists: Tensor

    def forward(self, latent: Tensor, class_scores: Tensor) -> tuple[Tensor, Tensor]:
        """Read the memory of each image's predicted class.

        Parameters
        ----------
        latent : float tensor (B, latent_dim)
            z, the encoder's output.
        class_scores : float tensor (B, num_classes)
            Probabilities or logits. Only the arg max is used, so the gradient of the reconstruction does not reach the
            classifier.

        Returns
        -------
        read : float tensor (B, latent_dim)
            z-hat, the weighted sum of the slots (Eqn 1).
        weights : float tensor (B, num_classes, max slots per class)
            w, the attention weights: >= 0, with sum 1 for each image.
        """
        num_classes, num_slots, latent_dim = self.slots.shape
        norm = 1 if self.variant == "notebook" else 2
        similarity = (
            F.normalize(latent, p=norm, dim=-1) @ F.normalize(self.slots, p=norm, dim=-1).view(-1, latent_dim).T
        )
        similarity = similarity.view(-1, num_classes, num_slots)  # d(z, m) (B, S, N)
        predicted = F.one_hot(class_scores.argmax(-1), num_classes).bool()[:, :, None]  # (B, S, 1)
        if self.variant == "notebook":
            similarity = similarity * predicted
            readable = self.exists
        else:
            readable = self.exists & predicted
        # -inf before the softmax gives exactly the weight 0.
        similarity = similarity.masked_fill(~readable, -torch.inf)
        weights = similarity.flatten(1).softmax(-1)  # (B, S * N)
        read = weights @ self.slots.view(-1, latent_dim)
        return read, weights.view(-1, num_classes, num_slots)
