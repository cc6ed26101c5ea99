"""The difference-image detector (Kim and Kim, "A Novel Out-of-Distribution Detector Based on Autoencoder and Binary
Classifier with Auxiliary Input").

Stage 1 trains an autoencoder to rebuild in-distribution images. Stage 2 trains a binary classifier. Its input is the
difference image |I - I_hat|, and the latent joins at an intermediate layer (the "auxiliary input"). The paper does not
say which images serve as outliers in training. Here they are pseudo-outliers, made from the training images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.data.images import Images, ImageShape, TrainingData
from lamae_tutorial.data.parameters import NOT_NEGATIVE, Rules, check, number, one_of, several, whole
from lamae_tutorial.detectors.autoencoder import AutoEncoderNetwork
from lamae_tutorial.detectors.pseudo_outliers import MIXTURE, Strategy, find_strategy, make_outliers
from lamae_tutorial.detectors.reconstruction import ReconstructionDetector
from lamae_tutorial.networks.convolutional import ConvDecoder, ConvEncoder
from lamae_tutorial.networks.resnet import ResNetDecoder, resnet_features
from lamae_tutorial.training.loop import History, in_stages, train

_VALIDATION_SEED = 0  # gives the validation images the same pseudo-outliers in every epoch


@dataclass(frozen=True, eq=False)
class Explanation:
    """How the detector judges images.

    Attributes
    ----------
    reconstruction, difference : float tensor (N, C, H, W) in [0, 1]
        I_hat and |I - I_hat|, on the CPU.
    score : float tensor (N,)
        The score "outlier".
    """

    reconstruction: Tensor
    difference: Tensor
    score: Tensor


@dataclass(kw_only=True, eq=False, repr=False)
class DifferenceDetector(ReconstructionDetector):
    """Autoencoder and a binary classifier of difference images.

    Parameters
    ----------
    backbone : {"conv", "resnet18"}
        "conv": LAMAE's encoder and decoder, and a classifier with convolutions of the same widths; fast on a CPU.
        "resnet18": encoder, mirrored decoder and classifier as in the paper; `channels` is not used.
    auxiliary : {"latent"} or None
        The second input of the classifier. None is the paper's ablation.
    auxiliary_layer : int
        The latent joins after this stage of the classifier: 1 to 4 for "resnet18", 1 to the number of convolutions for
        "conv".
    pseudo_outliers : str, sequence of str or callable
        How the outliers are made, see :func:`lamae_tutorial.detectors.pseudo_outliers.find_strategy`.
    noise_augmentation : float
        In stage 2 a random half of all images, ID and outliers alike, gets Gaussian noise. Its standard deviation is
        drawn from U(0, noise_augmentation). The classifier thus learns that noise alone does not make an outlier.
        0 switches it off, which is the paper's other ablation.
    betas : (float, float)
        Adam's betas.
    milestones : sequence of int
        The learning rate is divided by 5 after each of these epochs, in both stages.

    Other parameters are those of :class:`lamae_tutorial.detectors.reconstruction.ReconstructionDetector` (here its
    error is the L1 norm, Eqn 1) and :class:`lamae_tutorial.Detector`. Each stage runs for up to `epochs`. The paper's
    setting is `DifferenceDetector(**DifferenceDetector.PAPER)`. Labels are not used.

    Scores: "outlier", the classifier's log odds of an outlier; "error", the L1 reconstruction error; "error+", the
    error divided by CN.
    """

    title: ClassVar[str] = "Difference"
    score_kinds: ClassVar[tuple[str, ...]] = ("outlier", "error+", "error")
    PAPER: ClassVar[dict[str, Any]] = {
        "backbone": "resnet18",
        "latent_dim": 512,
        "epochs": 100,
        "patience": 100,
        "batch_size": 32,
        "learning_rate": 1e-4,
        "betas": (0.9, 0.99),
        "milestones": (40, 80),
    }

    parameter_rules: ClassVar[Rules] = {
        "backbone": one_of("conv", "resnet18"),
        "auxiliary": one_of("latent", None),
        "noise_augmentation": NOT_NEGATIVE,
        "betas": several(number("", lambda value: 0 <= value < 1), "be two numbers in [0, 1)", low=2, high=2),
        "milestones": several(whole(1), "be a sequence of whole numbers >= 1", high=1000),
    }

    backbone: Literal["conv", "resnet18"] = "conv"
    auxiliary: Literal["latent"] | None = "latent"
    auxiliary_layer: int = 2
    pseudo_outliers: str | Sequence[str] | Strategy = MIXTURE
    noise_augmentation: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    milestones: Sequence[int] = ()

    def check_settings(self) -> None:
        super().check_settings()
        stages = 4 if self.backbone == "resnet18" else len(self.resolve()[0])
        check("auxiliary_layer", self.auxiliary_layer, whole(1, stages, f"lie in 1..{stages}"))
        find_strategy(self.pseudo_outliers)

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        encoder: nn.Module
        decoder: nn.Module
        if self.backbone == "resnet18":
            features, size = resnet_features(image_shape[0], 18)
            features.fc = nn.Linear(size, self.latent_dim)
            encoder, decoder = features, ResNetDecoder(image_shape, self.latent_dim)
            stages, widths = resnet_stages(image_shape[0]), [64, 128, 256, 512]
        else:
            widths = list(self.resolve()[0])
            encoder = ConvEncoder(image_shape, widths, self.latent_dim)
            decoder = ConvDecoder(image_shape, widths, self.latent_dim)
            stages = conv_stages(image_shape[0], widths)
        latent_dim = self.latent_dim if self.auxiliary else 0
        return DifferenceNetwork(
            AutoEncoderNetwork(encoder, decoder), DifferenceClassifier(stages, widths, latent_dim, self.auxiliary_layer)
        )

    def reconstruction_error(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Return the L1 norm of each difference image (Eqn 1), (B,), or its mean over the pixels."""
        return self.reduce((images - reconstructions).abs())

    def train_network(self, network: nn.Module, data: TrainingData) -> History:
        assert isinstance(network, DifferenceNetwork)

        def reconstruction_loss(autoencoder: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
            return self.reconstruction_error(images, autoencoder(images)[0]).mean()

        def classification_loss(classifier: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
            return self.loss(network, images, labels)

        def stage(part: nn.Module, loss: Callable[..., Tensor]) -> History:
            groups = [{"params": list(part.parameters()), "betas": self.betas}]
            return train(part, loss, data, self, parameter_groups=groups, milestones=self.milestones)

        return in_stages(
            autoencoder=lambda: stage(network.autoencoder, reconstruction_loss),
            classifier=lambda: stage(network.classifier, classification_loss),
        )

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Return the loss of stage 2 (Eqn 2): cross entropy of images (label 0) and their pseudo-outliers (label 1)."""
        assert isinstance(network, DifferenceNetwork)
        training = network.classifier.training
        generator = None if training else torch.Generator(images.device).manual_seed(_VALIDATION_SEED)
        both = torch.cat([images, make_outliers(self.pseudo_outliers, images, generator)])
        if training and self.noise_augmentation:
            deviation = self.noise_augmentation * torch.rand(len(both), 1, 1, 1, device=both.device)
            chosen = torch.rand_like(deviation) < 0.5
            both = (both + deviation * chosen * torch.randn_like(both)).clamp(0, 1)
        target = torch.arange(len(both), device=both.device) >= len(images)
        return F.binary_cross_entropy_with_logits(network(both)[2], target.float())

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        reconstructions, _, logits = network(images)
        return {"outlier": logits, "error": self.reconstruction_error(images, reconstructions)}

    def explain(self, images: Images) -> Explanation:
        """Return the reconstruction, difference image and score of each image.

        Parameters
        ----------
        images : uint8 (N, C, H, W), or float in [0, 1]
        """

        def parts(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            reconstruction, _, logit = self.network_(batch)
            return reconstruction.cpu(), (batch - reconstruction).abs().cpu(), logit.cpu()

        return Explanation(*(torch.cat(part) for part in zip(*self.batched(images, parts), strict=True)))


class DifferenceNetwork(nn.Module):
    """Autoencoder and classifier. The classifier's gradient does not reach the autoencoder."""

    def __init__(self, autoencoder: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map float images (B, C, H, W) to reconstructions (B, C, H, W), latents (B, latent_dim), log odds (B,)."""
        with torch.no_grad():
            reconstructions, latent = self.autoencoder(images)
        return reconstructions, latent, self.classifier((images - reconstructions).abs(), latent)


class DifferenceClassifier(nn.Module):
    """Binary classifier: it maps difference images and latents to the log odds of an outlier.

    Parameters
    ----------
    stages : sequence of torch.nn.Module
        Parts of the classifier. Stage k (from 0) returns maps with `widths[k]` channels.
    widths : sequence of int
    latent_dim : int
        0 for a classifier without a latent.
    joined_after : int
        The latent joins after this stage, counted from 1. A linear layer turns the latent into one number per channel,
        which is added at every pixel. Concatenation and a 1 x 1 convolution would do the same.
    """

    def __init__(self, stages: Sequence[nn.Module], widths: Sequence[int], latent_dim: int, joined_after: int) -> None:
        super().__init__()
        self.before = nn.Sequential(*stages[:joined_after])
        self.after = nn.Sequential(*stages[joined_after:])
        self.join = nn.Linear(latent_dim, widths[joined_after - 1]) if latent_dim else None
        self.head = nn.Linear(widths[-1], 1)

    def forward(self, difference: Tensor, latent: Tensor) -> Tensor:
        """Float (B, C, H, W) and (B, latent_dim) to (B,), higher = more out-of-distribution."""
        maps = self.before(difference)
        if self.join is not None:
            maps = maps + self.join(latent)[:, :, None, None]
        return self.head(self.after(maps).mean((2, 3))).squeeze(1)


def conv_stages(image_channels: int, widths: Sequence[int]) -> list[nn.Module]:
    """Return one stage per width: a convolution with stride 2, batch normalisation and ReLU."""
    return [
        nn.Sequential(nn.Conv2d(start, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        for start, width in zip([image_channels, *widths], widths, strict=False)
    ]


def resnet_stages(image_channels: int) -> list[nn.Module]:
    """Return the four stages of ResNet-18, with 64, 128, 256 and 512 channels. The first includes the stem."""
    network, _ = resnet_features(image_channels, 18)
    first = nn.Sequential(network.conv1, network.bn1, network.relu, network.layer1)
    return [first, network.layer2, network.layer3, network.layer4]
