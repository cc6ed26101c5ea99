"""The plain autoencoder (AE), the baseline whose assumption the LAMAE paper tests (Section 2.1).

It learns to reconstruct in-distribution images. The assumption is that it reconstructs all other images badly.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.detectors.reconstruction import ReconstructionDetector
from lamae_tutorial.networks.convolutional import ConvDecoder, ConvEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class AutoEncoder(ReconstructionDetector):
    """Plain convolutional autoencoder.

    Parameters are those of :class:`lamae_tutorial.detectors.reconstruction.ReconstructionDetector` and
    :class:`lamae_tutorial.Detector`. Labels are not used.

    Scores: "error", the squared reconstruction error; "error+", the error divided by CN; "cosine", 1 - cos(image,
    reconstruction).
    """

    title: ClassVar[str] = "AE"
    score_kinds: ClassVar[tuple[str, ...]] = ("error", "error+", "cosine")
    can_be_stacked: ClassVar[bool] = True

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        channels = self.resolve()[0]
        return AutoEncoderNetwork(
            ConvEncoder(image_shape, channels, self.latent_dim), ConvDecoder(image_shape, channels, self.latent_dim)
        )

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        return self.reconstruction_error(images, network(images)[0]).mean()

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        return self.reconstruction_scores(images, network(images)[0])


class AutoEncoderNetwork(nn.Module):
    """Encoder and decoder."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map float images (B, C, H, W) to reconstructions (B, C, H, W) and latents (B, latent_dim)."""
        latent = self.encoder(images)
        return self.decoder(latent), latent
