"""LAMAE: label-assisted memory autoencoder (Zhang et al. 2021, Section 3.1).

A classifier on the latent predicts a class, and only the memory slots of that class are used for the reconstruction.
An OoD image is thus rebuilt from parts of a class that it does not belong to. LAMAE+ is the score "error+" of this
detector: the error divided by the complexity normaliser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.data.parameters import NOT_NEGATIVE, SIZES, Rules, one_of, whole
from lamae_tutorial.detectors.classifying import ClassifyingDetector, confidence
from lamae_tutorial.detectors.reconstruction import ReconstructionDetector, Reduction
from lamae_tutorial.networks.convolutional import ConvDecoder, ConvEncoder, classifier
from lamae_tutorial.networks.memory import SLOTS, LabelAssistedMemory, Variant


@dataclass(kw_only=True, eq=False, repr=False)
class LAMAE(ClassifyingDetector, ReconstructionDetector):
    """Label-assisted memory autoencoder.

    Parameters
    ----------
    variant : {"paper", "notebook"}
        "paper": the equations as printed. "notebook": the authors' code where it differs from the paper, with channels
        (32, 64), reduction "mean", the variant "notebook" of
        :class:`lamae_tutorial.networks.memory.LabelAssistedMemory`, and the best epoch selected by the reconstruction
        error alone.
    slots_per_class : int or sequence of int
        N^s, the number of memory slots of each class.
    beta : float
        Weight of the classification loss in Eqn (2).
    skip_dim : int
        Width of a linear bottleneck around the memory. Its output is added to the memory's output. 0 switches it off;
        the paper uses 16 for CIFAR-10, "to further assist reconstruction" (Section 4.1).
    classifier_hidden : sequence of int
        Widths of the classifier's hidden layers. By default there are none.

    Other parameters are those of :class:`lamae_tutorial.detectors.reconstruction.ReconstructionDetector` and
    :class:`lamae_tutorial.Detector`. Labels 0..S-1 are needed.

    Scores: "error", the squared reconstruction error; "error+", the error divided by CN, which is LAMAE+; "cosine",
    1 - cos(image, reconstruction); and two scores of the classifier alone, "energy" and "msp"
    (:func:`lamae_tutorial.detectors.classifying.confidence`).
    """

    title: ClassVar[str] = "LAMAE"
    score_kinds: ClassVar[tuple[str, ...]] = ("error", "error+", "cosine", "energy", "msp")
    can_be_stacked: ClassVar[bool] = True

    parameter_rules: ClassVar[Rules] = {
        "variant": one_of(*get_args(Variant)),
        "slots_per_class": SLOTS,
        "beta": NOT_NEGATIVE,
        "skip_dim": whole(0, 65536),
        "classifier_hidden": SIZES,
    }

    variant: Variant = "paper"
    slots_per_class: int | Sequence[int] = 10
    beta: float = 1.0
    skip_dim: int = 0
    classifier_hidden: Sequence[int] = ()

    def resolve(self) -> tuple[Sequence[int], Reduction]:
        if self.variant == "notebook":
            return (32, 64) if self.channels is None else self.channels, self.reduction or "mean"
        return super().resolve()

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        channels = self.resolve()[0]
        return LAMAENetwork(
            ConvEncoder(image_shape, channels, self.latent_dim),
            classifier(self.latent_dim, num_classes, self.classifier_hidden),
            LabelAssistedMemory(num_classes, self.slots_per_class, self.latent_dim, self.variant),
            ConvDecoder(image_shape, channels, self.latent_dim),
            linear_skip(self.latent_dim, self.skip_dim) if self.skip_dim else None,
        )

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None  # fit has checked
        reconstructions, logits, _ = network(images)
        error = self.reconstruction_error(images, reconstructions).mean()
        return error + self.beta * F.cross_entropy(logits, labels)  # Eqn (2)

    def selection_loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        if self.variant == "notebook":
            return self.reconstruction_error(images, network(images)[0]).mean()
        return self.loss(network, images, labels)

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        reconstructions, logits, _ = network(images)
        return {**self.reconstruction_scores(images, reconstructions), **confidence(logits)}

    def embed(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(network, LAMAENetwork)
        features = network.classifier[:-1](network.encoder(images))  # the latent, if there are no hidden layers
        return features, self.last_layer(network)(features)

    def last_layer(self, network: nn.Module) -> nn.Linear:
        assert isinstance(network, LAMAENetwork)
        last = network.classifier[-1]
        assert isinstance(last, nn.Linear)
        return last


def linear_skip(latent_dim: int, width: int) -> nn.Module:
    """Return a linear bottleneck: latents (B, latent_dim) to `width` numbers and back to (B, latent_dim)."""
    return nn.Sequential(nn.Linear(latent_dim, width, bias=False), nn.Linear(width, latent_dim, bias=False))


class LAMAENetwork(nn.Module):
    """Encoder, classifier, memory and decoder (LAMAE paper, Fig. 2)."""

    def __init__(
        self,
        encoder: nn.Module,
        classifier: nn.Sequential,
        memory: LabelAssistedMemory,
        decoder: nn.Module,
        skip: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = classifier
        self.memory = memory
        self.decoder = decoder
        self.skip = skip

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map float images (B, C, H, W) to reconstructions (B, C, H, W), logits (B, S) and weights (B, S, N^s)."""
        latent = self.encoder(images)  # z
        logits = self.classifier(latent)
        read, weights = self.memory(latent, logits)  # z-hat, w
        if self.skip is not None:
            read = read + self.skip(latent)
        return self.decoder(read), logits, weights
