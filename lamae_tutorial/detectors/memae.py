"""MemAE: memory-augmented autoencoder (Gong et al. 2019; LAMAE paper, Section 2.1).

The decoder gets a mixture of memory slots instead of the latent. Shrinkage and an entropy loss make the mixture sparse,
so an OoD image must be rebuilt from a few in-distribution prototypes.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.data.parameters import NOT_NEGATIVE, POSITIVE, SIZE, Rules
from lamae_tutorial.detectors.reconstruction import ReconstructionDetector
from lamae_tutorial.networks.convolutional import ConvDecoder, ConvEncoder
from lamae_tutorial.networks.memory import MemoryBank


@dataclass(kw_only=True, eq=False, repr=False)
class MemAE(ReconstructionDetector):
    """Memory-augmented autoencoder.

    Parameters
    ----------
    memory_size : int
        N, the number of slots: 100 in the papers for 28 x 28 images, 500 for CIFAR-10.
    shrink_threshold : float or str
        See :class:`lamae_tutorial.MemoryBank`.
    temperature : float
        See :class:`lamae_tutorial.MemoryBank`.
    entropy_weight : float
        Weight of the mean entropy of the attention weights in the loss (MemAE's Eqn 9).

    Other parameters are those of :class:`lamae_tutorial.detectors.reconstruction.ReconstructionDetector` and
    :class:`lamae_tutorial.Detector`. Labels are not used.

    Scores: "error", the squared reconstruction error; "error+", the error divided by CN; "cosine", 1 - cos(image,
    reconstruction).
    """

    title: ClassVar[str] = "MemAE"
    score_kinds: ClassVar[tuple[str, ...]] = ("error", "error+", "cosine")
    can_be_stacked: ClassVar[bool] = True

    parameter_rules: ClassVar[Rules] = {
        "memory_size": SIZE,
        "temperature": POSITIVE,
        "entropy_weight": NOT_NEGATIVE,
    }

    memory_size: int = 100
    shrink_threshold: float | str = "1/N"
    temperature: float = 1.0
    entropy_weight: float = 0.0002

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        channels = self.resolve()[0]
        return MemAENetwork(
            ConvEncoder(image_shape, channels, self.latent_dim),
            MemoryBank(self.memory_size, self.latent_dim, self.shrink_threshold, self.temperature),
            ConvDecoder(image_shape, channels, self.latent_dim),
        )

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        reconstructions, weights = network(images)
        # Of the shrunk weights. The tiny number keeps the gradient finite where a weight is 0.
        entropy = -(weights * (weights + 1e-12).log()).sum(1)
        return (self.reconstruction_error(images, reconstructions) + self.entropy_weight * entropy).mean()

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        return self.reconstruction_scores(images, network(images)[0])


class MemAENetwork(nn.Module):
    """Encoder, memory and decoder (LAMAE paper, Fig. 1)."""

    def __init__(self, encoder: nn.Module, memory: MemoryBank, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.memory = memory
        self.decoder = decoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map float images (B, C, H, W) to reconstructions (B, C, H, W) and attention weights (B, N)."""
        read, weights = self.memory(self.encoder(images))
        return self.decoder(read), weights
