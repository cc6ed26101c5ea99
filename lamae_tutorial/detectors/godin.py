"""GODIN: generalised ODIN (Hsu et al. 2020), a baseline of the LAMAE paper that does not rebuild images.

The logits of a classifier are quotients: f_i(x) = h_i(x) / g(x). Here h stands for class and domain together, and g
for the domain alone. The score is h (or g) alone. Each image is first moved by a small step that raises h.
In-distribution validation images choose the size of the step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.data.parameters import NOT_NEGATIVE, SIZE, SIZES, Rules, number, one_of, several
from lamae_tutorial.detectors.classifying import ClassifyingDetector
from lamae_tutorial.networks.convolutional import ConvEncoder
from lamae_tutorial.networks.resnet import resnet_features

Similarity = Literal["cosine", "inner", "euclid"]


@dataclass(kw_only=True, eq=False, repr=False)
class GODIN(ClassifyingDetector):
    """Generalised ODIN.

    Parameters
    ----------
    similarity : {"cosine", "inner", "euclid"}
        h_i(x): the cosine of features and class weights, their inner product, or minus their mean squared difference.
    backbone : {"conv", "resnet34"} or None
        "conv" is LAMAE's encoder, which the LAMAE paper uses for 28 x 28 images. The paper uses "resnet34" for
        CIFAR-10. None means "resnet34" for colour images and "conv" for grey ones.
    latent_dim : int
        Length of the features of "conv".
    channels : sequence of int
        Channels of "conv", see :class:`lamae_tutorial.detectors.reconstruction.ReconstructionDetector`.
    weight_decay : float
        Applies to all weights except those of h, as in the paper.
    perturbations : sequence of float
        Candidate sizes of the step, as a share of the range [0, 1]. `fit` takes the one with the lowest mean score "h"
        on the validation images; (0.0,) switches the step off.

    Other parameters are those of :class:`lamae_tutorial.Detector`. Labels 0..S-1 are needed.

    Scores: "h", minus the largest h; "g", minus g; "f", minus the largest logit. All three use the step for h.
    """

    title: ClassVar[str] = "GODIN"
    score_kinds: ClassVar[tuple[str, ...]] = ("h", "g", "f")
    can_be_stacked: ClassVar[bool] = True

    parameter_rules: ClassVar[Rules] = {
        "similarity": one_of(*get_args(Similarity)),
        "backbone": one_of("conv", "resnet34", None),
        "latent_dim": SIZE,
        "channels": SIZES,
        "weight_decay": NOT_NEGATIVE,
        "perturbations": several(
            number("", lambda value: 0 <= value <= 1), "be a sequence of 1 to 1000 numbers in [0, 1]", low=1, high=1000
        ),
    }

    similarity: Similarity = "cosine"
    backbone: Literal["conv", "resnet34"] | None = None
    latent_dim: int = 32
    channels: Sequence[int] = (16, 32, 64)
    weight_decay: float = 5e-4
    perturbations: Sequence[float] = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        backbone = self.backbone or ("resnet34" if image_shape[0] == 3 else "conv")
        if backbone == "resnet34":
            features, size = resnet_features(image_shape[0], 34)
        else:
            features, size = ConvEncoder(image_shape, self.channels, self.latent_dim), self.latent_dim
        return GODINNetwork(features, size, num_classes, self.similarity)

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        assert isinstance(network, GODINNetwork)
        exempt = set(network.h.parameters())
        rest = [parameter for parameter in network.parameters() if parameter not in exempt]
        return [{"params": list(exempt)}, {"params": rest, "weight_decay": self.weight_decay}]

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None  # fit has checked
        return F.cross_entropy(network(images)[1], labels)

    def finish(self, validation_images: Tensor) -> None:
        """Choose the step on in-distribution validation images (GODIN paper, Section 3.2)."""
        assert isinstance(self.network_, GODINNetwork)
        means = {}
        for size in self.perturbations:
            self.network_.step.fill_(size)
            means[size] = self.score(validation_images, "h").mean()
        self.network_.step.fill_(min(means, key=lambda size: means[size]))

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        assert isinstance(network, GODINNetwork)
        with torch.enable_grad():
            moved = images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(network(moved)[2].amax(1).sum(), moved)
        _, f, h, g = network(images + network.step * gradient.sign())
        return {"h": -h.amax(1), "g": -g, "f": -f.amax(1)}

    def embed(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features and the logits f of images that were not moved. No linear layer maps one to the other."""
        features, f, _, _ = network(images)
        return features, f


class GODINNetwork(nn.Module):
    """Features, with h and g computed from them."""

    def __init__(self, features: nn.Module, size: int, num_classes: int, similarity: Similarity) -> None:
        super().__init__()
        self.features = features
        self.h = nn.Linear(size, num_classes, bias=similarity == "inner")
        self.g = nn.Sequential(nn.Linear(size, 1), nn.BatchNorm1d(1), nn.Sigmoid())
        self.similarity = similarity
        self.register_buffer("step", torch.zeros(()))
        self.step: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map float images (B, C, H, W) to features (B, size), logits f (B, S), h (B, S) and g (B,) in (0, 1)."""
        features = self.features(images)
        if self.similarity == "cosine":
            h = F.normalize(features, dim=1) @ F.normalize(self.h.weight, dim=1).T
        elif self.similarity == "inner":
            h = self.h(features)
        else:
            h = -(features[:, None] - self.h.weight).square().mean(2)
        g = self.g(features)
        return features, h / g, h, g.squeeze(1)
