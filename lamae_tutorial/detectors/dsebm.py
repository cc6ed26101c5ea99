"""DSEBM: deep structured energy-based model (Zhai et al. 2016), a baseline of the difference-image paper.

A convolutional network gives each image an energy, which is low for images like the training images. It is trained by
denoising score matching: one step down the gradient of the energy should remove Gaussian noise (their Eqn 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.data.parameters import POSITIVE, SIZE, SIZES, Rules
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.networks.convolutional import Flatten

_VALIDATION_SEED = 0  # gives the validation images the same noise in every epoch
_SCORE_BATCH = 256  # small, because the gradient with respect to the image keeps all activations in memory


@dataclass(kw_only=True, eq=False, repr=False)
class DSEBM(Detector):
    """Deep structured energy-based model.

    Parameters
    ----------
    channels : sequence of int
        Output channels of the convolutions, each with stride 2.
    hidden : int
        Units of the dense layer that the energy is computed from.
    noise : float
        Standard deviation of the Gaussian noise in training, > 0.

    Other parameters are those of :class:`lamae_tutorial.Detector`. Labels are not used.

    Scores: "energy", E(x); "reconstruction", ||x - r(x)||^2, where r(x) = x - dE/dx is the image after one step.
    """

    title: ClassVar[str] = "DSEBM"
    score_kinds: ClassVar[tuple[str, ...]] = ("energy", "reconstruction")

    parameter_rules: ClassVar[Rules] = {"channels": SIZES, "hidden": SIZE, "noise": POSITIVE}

    channels: Sequence[int] = (16, 32, 64)
    hidden: int = 128
    noise: float = 0.3

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        return EnergyNetwork(image_shape, self.channels, self.hidden)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        """Denoising score matching: ||x - r(x + noise)||^2. In evaluation mode the noise is the same in each call."""
        generator = None if network.training else torch.Generator(images.device).manual_seed(_VALIDATION_SEED)
        noise = self.noise * torch.randn(images.shape, generator=generator, device=images.device)
        noisy = images + noise
        _, gradient = energy_and_gradient(network, noisy, differentiable=network.training)
        return (images - (noisy - gradient)).square().flatten(1).sum(1).mean()

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        parts = [energy_and_gradient(network, part) for part in images.split(_SCORE_BATCH)]
        energy, gradient = (torch.cat(part) for part in zip(*parts, strict=True))
        return {"energy": energy, "reconstruction": gradient.square().flatten(1).sum(1)}


def energy_and_gradient(network: nn.Module, images: Tensor, differentiable: bool = False) -> tuple[Tensor, Tensor]:
    """Return E(x), (B,), and dE/dx, (B, C, H, W). It also works where gradients are switched off.

    Parameters
    ----------
    differentiable : bool
        Whether dE/dx can be differentiated with respect to the weights. Training needs this.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        energy = network(images)
        (gradient,) = torch.autograd.grad(energy.sum(), images, create_graph=differentiable)
    return energy.detach(), gradient


class EnergyNetwork(nn.Module):
    """E(x) = 1/2 ||x - b||^2 - sum of the last layer's units.

    Every layer ends in a softplus: training needs second derivatives, and those of a rectifier are 0. There is no batch
    normalisation, because the energy of an image would then depend on its batch.

    Parameters
    ----------
    image_shape, channels
        See :class:`lamae_tutorial.networks.convolutional.ConvFeatures`.
    hidden : int
        See :class:`DSEBM`.
    """

    def __init__(self, image_shape: ImageShape, channels: Sequence[int], hidden: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(image_shape))
        previous, height, width = image_shape
        layers: list[nn.Module] = []
        for width_out in channels:
            layers += [nn.Conv2d(previous, width_out, 3, stride=2, padding=1), nn.Softplus()]
            previous, height, width = width_out, (height + 1) // 2, (width + 1) // 2
        self.layers = nn.Sequential(*layers, Flatten(), nn.Linear(previous * height * width, hidden))

    def forward(self, images: Tensor) -> Tensor:
        """Map float images (B, C, H, W) to energies (B,), higher = more out-of-distribution."""
        return 0.5 * (images - self.bias).square().flatten(1).sum(1) - F.softplus(self.layers(images)).sum(1)
