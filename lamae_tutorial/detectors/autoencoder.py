"""The plain autoencoder (AE): the baseline whose assumption the LAMAE paper puts to the test (Section 2.1).

It is trained to reconstruct in-distribution images and hopes to fail on all others.
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

    Scores: "error", the squared reconstruction error; "error+", the same divided by CN; "cosine", 1 - cos(image,
    reconstruction).
    Parameters are those of :class:`ReconstructionDetector` and :class:`Detector`. Labels are not used.
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
    """Encoder and decoder; returns the reconstruction and the latent."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Float images (B, C, H, W) to reconstructions (B, C, H, W) and latents (B, latent_dim)."""
        latent = self.encoder(images)
        return self.decoder(latent), latent
