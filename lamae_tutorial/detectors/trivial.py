"""Trivial scores: what can be said about an image without a trained network. No paper of the book has them as a group.

A detector that does not beat them has learned nothing that matters for these sets.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.complexity import shannon_entropy, total_variation
from lamae_tutorial.data.images import Images, ImageShape, TrainingData
from lamae_tutorial.data.parameters import Rules, whole
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.networks.convolutional import ConvEncoder
from lamae_tutorial.networks.neighbours import neighbour_distance
from lamae_tutorial.training.loop import History, as_float

_BATCH = 1024


@dataclass(kw_only=True, eq=False, repr=False)
class Trivial(Detector):
    """Scores that need no training. `epochs` and all settings of the training have no effect; labels are not used.

    Parameters
    ----------
    memory_size : int
        At most this many training images are stored, drawn with the seed. Scoring and saving cost in proportion to it.
    neighbours : int
        k: the score is the distance to the k-th nearest stored image.

    Other parameters are those of :class:`lamae_tutorial.Detector`.

    Scores: "pixels", the distance to the k-th nearest stored image; "untrained", the same for the features of an
    encoder with random weights, scaled to length 1; "mean_image", the squared distance to the mean training image;
    "total_variation" (:func:`lamae_tutorial.complexity.total_variation`); "entropy", Shannon's, in bits; and "ink", the
    mean intensity. All are read as higher = more out-of-distribution. The last three are raw values: where OoD images
    are plainer or darker than ID images, their AUROC is below 0.5.
    """

    title: ClassVar[str] = "Trivial"
    score_kinds: ClassVar[tuple[str, ...]] = (
        *("pixels", "untrained", "mean_image"),
        *("total_variation", "entropy", "ink"),
    )
    parameter_rules: ClassVar[Rules] = {"memory_size": whole(1, 1_000_000), "neighbours": whole(1, 65536)}

    memory_size: int = 10_000
    neighbours: int = 10

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        return TrivialNetwork(image_shape, self.memory_size)

    def train_network(self, network: nn.Module, data: TrainingData) -> History:
        """Store the mean image, and images with their features."""
        assert isinstance(network, TrivialNetwork)
        network.eval().to(memory_format=torch.channels_last)  # as it is after loading
        stored = data.images[torch.randperm(len(data.images))[: self.memory_size]]
        network.count.fill_(len(stored))
        with torch.no_grad():
            sums = [as_float(part).double().sum(0) for part in data.images.split(_BATCH)]
            network.mean.copy_(torch.stack(sums).sum(0) / len(data.images))
            for start, part in enumerate(stored.split(_BATCH)):
                rows = slice(start * _BATCH, start * _BATCH + len(part))
                network.images[rows] = as_float(part).flatten(1)
                network.features[rows] = network(as_float(part))
        return []

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        assert isinstance(network, TrivialNetwork)
        count = int(network.count)
        return {
            "pixels": neighbour_distance(images.flatten(1), network.images[:count], self.neighbours),
            "untrained": neighbour_distance(network(images), network.features[:count], self.neighbours),
            "mean_image": (images - network.mean).square().flatten(1).sum(1),
            "ink": images.flatten(1).mean(1),
        }

    def derived_scores(
        self, scores: Mapping[str, NDArray[np.float64]], images: Images
    ) -> dict[str, NDArray[np.float64]]:
        """Return the scores of the images alone."""
        return {"total_variation": total_variation(images).numpy(), "entropy": shannon_entropy(images).numpy()}


class TrivialNetwork(nn.Module):
    """An encoder that is not trained, and what is stored of the training images.

    Of the rows of `images` (M, pixels) and `features` (M, latent_dim) the first `count` are used.
    """

    mean: Tensor
    images: Tensor
    features: Tensor
    count: Tensor

    def __init__(self, image_shape: ImageShape, memory_size: int, latent_dim: int = 32) -> None:
        super().__init__()
        self.encoder = ConvEncoder(image_shape, latent_dim=latent_dim)
        self.register_buffer("mean", torch.zeros(image_shape))
        self.register_buffer("images", torch.zeros(memory_size, math.prod(image_shape)))
        self.register_buffer("features", torch.zeros(memory_size, latent_dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        """Map float images (B, C, H, W) to features of length 1, (B, latent_dim)."""
        return F.normalize(self.encoder(images), dim=1)
