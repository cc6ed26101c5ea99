"""Semi-supervised variational autoencoder (Berkhahn et al. 2019), with the scores of the VAE.

A classification layer stands on the topmost encoder layer; its softmax is joined to the sampled latent as the decoder's
input. The loss is minus the ELBO of every image plus the cross entropy of those that have a label.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.data.images import MISSING, ImageShape
from lamae_tutorial.detectors.classifying import ClassifyingDetector
from lamae_tutorial.detectors.vae import VariationalDetector, VariationalNetwork


@dataclass(kw_only=True, eq=False, repr=False)
class SSVAE(ClassifyingDetector, VariationalDetector):
    """Semi-supervised variational autoencoder.

    Labels are 0..S-1, or -1 for images without one; any share of them may be missing, as long as each class has an
    image.

    Parameters
    ----------
    beta : float
        Weight of the classification loss.

    Other parameters are those of :class:`VariationalDetector`.

    Scores: "error", "error+" and "probability" as for the VAE, and those of the classifier alone: "energy" and "msp".
    """

    title: ClassVar[str] = "SSVAE"
    labels_may_be_missing: ClassVar[bool] = True
    score_kinds: ClassVar[tuple[str, ...]] = ("error", "error+", "probability", "energy", "msp")
    can_be_stacked: ClassVar[bool] = True

    beta: float = 1.0

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        return self.build_variational(image_shape, num_classes)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        assert isinstance(network, VariationalNetwork) and labels is not None  # fit has checked
        negative_elbo, logits = self.negative_elbo(network, images)
        assert logits is not None
        # Summed and divided by the batch: a batch without any label has the classification loss 0, not 0 / 0.
        classification = F.cross_entropy(logits, labels, ignore_index=MISSING, reduction="sum") / len(labels)
        return negative_elbo.mean() + self.beta * classification
