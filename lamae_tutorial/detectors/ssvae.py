"""Semi-supervised variational autoencoder (Berkhahn et al. 2019), with the scores of the VAE.

A classification layer follows the last encoder layer. The decoder's input is the sampled latent, concatenated with the
softmax of the classes. The loss is minus the ELBO of all images plus the cross entropy of the labelled images.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.data.images import MISSING, ImageShape
from lamae_tutorial.data.parameters import NOT_NEGATIVE, Rules
from lamae_tutorial.detectors.classifying import ClassifyingDetector
from lamae_tutorial.detectors.vae import VariationalDetector, VariationalNetwork


@dataclass(kw_only=True, eq=False, repr=False)
class SSVAE(ClassifyingDetector, VariationalDetector):
    """Semi-supervised variational autoencoder.

    Labels are 0..S-1, or -1 for images without a label. Any number of labels may be missing, as long as each class has
    one labelled image.

    Parameters
    ----------
    beta : float
        Weight of the classification loss.

    Other parameters are those of :class:`lamae_tutorial.detectors.vae.VariationalDetector`.

    Scores: "error", "error+" and "probability" as for the VAE; and two scores of the classifier alone, "energy" and
    "msp" (:func:`lamae_tutorial.detectors.classifying.confidence`).
    """

    title: ClassVar[str] = "SSVAE"
    labels_may_be_missing: ClassVar[bool] = True
    score_kinds: ClassVar[tuple[str, ...]] = ("error", "error+", "probability", "energy", "msp")
    can_be_stacked: ClassVar[bool] = True
    parameter_rules: ClassVar[Rules] = {"beta": NOT_NEGATIVE}

    beta: float = 1.0

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        return self.build_variational(image_shape, num_classes)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        assert isinstance(network, VariationalNetwork) and labels is not None  # fit has checked
        negative_elbo, logits = self.negative_elbo(network, images)
        assert logits is not None
        # The sum divided by the batch size: the loss of a batch without labels is 0, not 0 / 0.
        classification = F.cross_entropy(logits, labels, ignore_index=MISSING, reduction="sum") / len(labels)
        return negative_elbo.mean() + self.beta * classification

    def embed(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(network, VariationalNetwork)
        features = network.features(images)
        return features, self.last_layer(network)(features)

    def last_layer(self, network: nn.Module) -> nn.Linear:
        assert isinstance(network, VariationalNetwork) and network.classifier is not None
        return network.classifier
