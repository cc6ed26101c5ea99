"""Variational autoencoder (Kingma and Welling 2014) with the reconstruction probability of An and Cho (2015).

One trained network gives two scores. "error", VAE(e) in the LAMAE paper's Table 1, is the squared error of the image
decoded from the posterior's mean. "probability", VAE(p), is minus the expected log likelihood of the image under the
decoder, which returns a mean *and* a variance for each pixel.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.data.parameters import SIZE, Rules, number
from lamae_tutorial.detectors.classifying import confidence
from lamae_tutorial.detectors.reconstruction import ReconstructionDetector
from lamae_tutorial.networks.convolutional import ConvDecoder, ConvFeatures


@dataclass(kw_only=True, eq=False, repr=False)
class VariationalDetector(ReconstructionDetector):
    """What VAE and SSVAE have in common.

    Parameters
    ----------
    num_samples : int
        L, the number of latent samples for the score "probability". `fit` draws the noise once and uses it for every
        image, so a score depends on its image alone.
    min_log_variance : float
        Lower bound of each pixel's log variance. Without a bound, the likelihood of pixels that are always black is
        unbounded. If the bound is low, the posterior hardly regularises. -1 is a standard deviation of 0.61.

    Other parameters are those of :class:`lamae_tutorial.detectors.reconstruction.ReconstructionDetector` and
    :class:`lamae_tutorial.Detector`. `reduction` changes only the score "error": a likelihood is always a sum.
    """

    score_kinds: ClassVar[tuple[str, ...]] = ("error", "error+", "probability")

    parameter_rules: ClassVar[Rules] = {
        "num_samples": SIZE,
        "min_log_variance": number(
            "lie in [-80, 80]", lambda value: -80 <= value <= 80
        ),  # its exp is finite in float32
    }

    num_samples: int = 16
    min_log_variance: float = -1.0

    def build_variational(self, image_shape: ImageShape, num_classes: int) -> "VariationalNetwork":
        """Return the network, with a classifier if `num_classes` > 0."""
        channels = self.resolve()[0]
        features = ConvFeatures(image_shape, channels)
        image_channels, height, width = image_shape
        return VariationalNetwork(
            features,
            nn.Linear(features.size, 2 * self.latent_dim),
            nn.Linear(features.size, num_classes) if num_classes else None,
            ConvDecoder((2 * image_channels, height, width), channels, self.latent_dim + num_classes, sigmoid=False),
            torch.randn(self.num_samples, self.latent_dim),
            self.min_log_variance,
        )

    def negative_elbo(self, network: "VariationalNetwork", images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return minus the evidence lower bound of each image, (B,), and the logits, (B, S), or None.

        The latent is one sample in training mode and the posterior's mean in evaluation mode.
        """
        mean, log_variance, logits = network.encode(images)
        noise = torch.randn_like(mean) if network.training else torch.zeros_like(mean)
        pixels = network.decode(mean + noise * (0.5 * log_variance).exp(), logits)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)  # KL(q(z|x) || N(0, 1))
        return gaussian_nll(images, *pixels) + divergence, logits

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        assert isinstance(network, VariationalNetwork)
        mean, log_variance, logits = network.encode(images)
        error = self.reconstruction_error(images, network.decode(mean, logits)[0])
        deviation = (0.5 * log_variance).exp()
        nll = [gaussian_nll(images, *network.decode(mean + deviation * noise, logits)) for noise in network.noise]
        scores = {"error": error, "probability": torch.stack(nll).mean(0)}
        return scores if logits is None else {**scores, **confidence(logits)}


@dataclass(kw_only=True, eq=False, repr=False)
class VAE(VariationalDetector):
    """Variational autoencoder. Labels are not used.

    Parameters are those of :class:`lamae_tutorial.detectors.vae.VariationalDetector`.

    Scores: "error", the squared reconstruction error; "error+", the error divided by CN; "probability", minus the
    expected log likelihood, in nats.
    """

    title: ClassVar[str] = "VAE"
    can_be_stacked: ClassVar[bool] = True

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        return self.build_variational(image_shape, 0)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        assert isinstance(network, VariationalNetwork)
        return self.negative_elbo(network, images)[0].mean()


class VariationalNetwork(nn.Module):
    """Encoder to a Gaussian posterior, decoder to a Gaussian for each pixel, and possibly a classifier.

    With a classifier (SSVAE), the decoder's input is the latent concatenated with the softmax of the classes.
    """

    def __init__(
        self,
        features: nn.Module,
        posterior: nn.Module,
        classifier: nn.Linear | None,
        decoder: nn.Module,
        noise: Tensor,
        min_log_variance: float,
    ) -> None:
        super().__init__()
        self.features = features
        self.posterior = posterior
        self.classifier = classifier
        self.decoder = decoder
        self.register_buffer("noise", noise)
        self.noise: Tensor
        self.min_log_variance = min_log_variance

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return mean and log variance of the posterior, (B, latent_dim) each, and logits (B, S) or None."""
        features = self.features(images)
        mean, log_variance = self.posterior(features).chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10), None if self.classifier is None else self.classifier(features)

    def decode(self, latent: Tensor, logits: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return mean in [0, 1] and log variance of each pixel, (B, C, H, W) each."""
        if logits is not None:
            latent = torch.cat([latent, logits.softmax(1)], dim=1)
        mean, log_variance = self.decoder(latent).chunk(2, dim=1)
        lowest = self.min_log_variance
        return mean.sigmoid(), lowest + nn.functional.softplus(log_variance - lowest)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map float images (B, C, H, W) to reconstructions from the posterior's mean, and logits or None."""
        mean, _, logits = self.encode(images)
        return self.decode(mean, logits)[0], logits


# Not F.gaussian_nll_loss: it checks the sign of the variances in Python, which neither torch.vmap (training side by
# side) nor torch.compile(fullgraph=True) can trace. A test compares the two functions.
def gaussian_nll(images: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-log N(x; mean, variance) of each image, summed over its pixels: (B,), in nats."""
    each = 0.5 * (math.log(2 * math.pi) + log_variance + (images - mean).square() * (-log_variance).exp())
    return each.flatten(1).sum(1)
