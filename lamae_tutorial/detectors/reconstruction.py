"""What detectors that judge an image by its reconstruction have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lamae_tutorial.complexity import complexity_normalized
from lamae_tutorial.data.images import Images
from lamae_tutorial.data.parameters import SIZE, SIZES, Rules, one_of, optional
from lamae_tutorial.detectors.base import Detector

Reduction = Literal["sum", "mean"]
CORRECTED = "error+"


@dataclass(kw_only=True, eq=False, repr=False)
class ReconstructionDetector(Detector):
    """A detector whose network returns a reconstruction as its first output.

    `score_batch` must return the score "error". The complexity-normalised error "error+" is derived from it: name it in
    `score_kinds`, and `scores` adds it.

    Parameters
    ----------
    latent_dim : int
        C, the length of the latent vector.
    channels : sequence of int
        Output channels of the encoder's convolutions; the decoder mirrors them.
    reduction : {"sum", "mean"}
        How the errors of an image's pixels are combined. "sum" is Eqn (2) of the LAMAE paper as printed. "mean" makes
        the error smaller by a factor of C x H x W, compared with all other terms of a loss.

    `channels` and `reduction` may be None: the detector then chooses, by default (16, 32, 64) and "sum".
    """

    rebuilds: ClassVar[bool] = True
    parameter_rules: ClassVar[Rules] = {
        "latent_dim": SIZE,
        "channels": optional(SIZES),
        "reduction": optional(one_of(*get_args(Reduction))),
    }

    latent_dim: int = 32
    channels: Sequence[int] | None = None
    reduction: Reduction | None = None

    def resolve(self) -> tuple[Sequence[int], Reduction]:
        """Return channels and reduction, with None replaced by the default."""
        return (16, 32, 64) if self.channels is None else self.channels, self.reduction or "sum"

    def derived_scores(
        self, scores: Mapping[str, NDArray[np.float64]], images: Images
    ) -> dict[str, NDArray[np.float64]]:
        """Return "error+", the complexity-normalised error (LAMAE paper, Eqn 4). For LAMAE this is LAMAE+."""
        return {CORRECTED: complexity_normalized(scores["error"], images)}

    def reconstruct(self, images: Images) -> Tensor:
        """Return reconstructions of images: float tensor (N, C, H, W) in [0, 1] on the CPU.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        """
        return torch.cat(self.batched(images, lambda batch: self.network_(batch)[0].cpu()))

    def reconstruction_error(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Return R(x, x-hat) of the LAMAE paper's Eqn (2): the squared error of each image, (B,)."""
        return self.reduce(F.mse_loss(reconstructions, images, reduction="none"))

    def reduce(self, errors: Tensor) -> Tensor:
        """Combine the errors of pixels, (B, C, H, W), into one error per image, (B,), as `reduction` says."""
        return errors.flatten(1).sum(1) if self.resolve()[1] == "sum" else errors.flatten(1).mean(1)

    def reconstruction_scores(self, images: Tensor, reconstructions: Tensor) -> dict[str, Tensor]:
        """Return the scores "error" and "cosine" of each image, (B,), higher = more out-of-distribution."""
        return {
            "error": self.reconstruction_error(images, reconstructions),
            "cosine": cosine_distance(images, reconstructions),
        }


def cosine_distance(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Return 1 - cos(x, x-hat) of each image, (B,), in [0, 1] for non-negative images; 1 for a black image."""
    return 1 - F.cosine_similarity(images.flatten(1), reconstructions.flatten(1))
