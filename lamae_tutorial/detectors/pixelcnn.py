"""PixelCNN: a gated autoregressive model (van den Oord et al. 2016), a baseline of the difference-image paper.

The model predicts each value of an image from all values before it: rows from the top, pixels from the left, and red,
green, blue within a pixel. An improbable image counts as out-of-distribution. This is known to fail: plain images of
another kind are often *more* probable than the training images (Nalisnick et al. 2019).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lamae_tutorial.complexity import complexity_normalizer
from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.data.parameters import Rule, Rules, whole
from lamae_tutorial.detectors.base import Detector

_PART = 32  # images at a time, because one colour image needs 3 MB: 256 logits for each value
_GAMMA = 1e-9  # as in Eqn (4) of the LAMAE paper


@dataclass(kw_only=True, eq=False, repr=False)
class PixelCNN(Detector):
    """Gated PixelCNN.

    Parameters
    ----------
    levels : int
        Number of grey levels, 2 to 256. Fewer levels are cheaper; the score is then that of the coarser image.
    features : int
        Width of both stacks.
    layers : int
        Number of gated layers.
    kernel_size : int
        Odd, >= 3. The model sees `layers * (kernel_size // 2)` pixels to each side.

    Other parameters are those of :class:`lamae_tutorial.Detector`. Labels are not used.

    Scores: "nll", the negative log likelihood in bits per dimension (a dimension is one channel of one pixel);
    "normalized", "nll" divided by the complexity normaliser (LAMAE paper, Eqn 4), which is meant for errors.
    """

    title: ClassVar[str] = "PixelCNN"
    score_kinds: ClassVar[tuple[str, ...]] = ("nll", "normalized")
    can_be_stacked: ClassVar[bool] = True

    parameter_rules: ClassVar[Rules] = {
        "levels": whole(2, 256),
        "features": whole(1, 4096),
        "layers": whole(1, 1000),
        "kernel_size": Rule(
            "be an odd whole number in 3..99", lambda value: value % 2 == 1 and whole(3, 99).holds(value)
        ),
    }

    batch_size: int = 32
    levels: int = 256
    features: int = 16
    layers: int = 5
    kernel_size: int = 5

    def build_network(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        return PixelCNNNetwork(image_shape[0], self.levels, self.features, self.layers, self.kernel_size)

    def bits_per_dimension(self, network: nn.Module, images: Tensor) -> Tensor:
        """Return -log2 p(x) / (C H W), (B,), of float images (B, C, H, W) in [0, 1], quantised to `levels`."""
        classes = (images * 255).round().long() * self.levels // 256
        logits = network(2 * classes.to(images.dtype) / (self.levels - 1) - 1)
        nats = [F.cross_entropy(part, classes[:, at], reduction="none") for at, part in enumerate(logits)]
        return torch.stack(nats, 1).flatten(1).mean(1) / math.log(2)

    def loss(self, network: nn.Module, images: Tensor, labels: Tensor | None) -> Tensor:
        return torch.cat([self.bits_per_dimension(network, part) for part in images.split(_PART)]).mean()

    def score_batch(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        nll = torch.cat([self.bits_per_dimension(network, part) for part in images.split(_PART)])
        return {"nll": nll, "normalized": nll / (complexity_normalizer(images).to(nll) + _GAMMA)}


class PixelCNNNetwork(nn.Module):
    """Two stacks of gated layers and a softmax for each channel.

    Parameters
    ----------
    channels : int
        Channels of the images.
    levels, features, layers, kernel_size
        See :class:`PixelCNN`.
    """

    def __init__(self, channels: int, levels: int, features: int, layers: int, kernel_size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GatedLayer(channels if layer == 0 else features, features, kernel_size, first=layer == 0)
            for layer in range(layers)
        )
        # The earlier channels of the same pixel join here, so the stacks need no masks between channels.
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(features + before, features, 1), nn.ReLU(), nn.Conv2d(features, levels, 1))
            for before in range(channels)
        )

    def forward(self, values: Tensor) -> list[Tensor]:
        """Map values (B, C, H, W) in [-1, 1] to a list of logits (B, levels, H, W), one per channel."""
        vertical = horizontal = values
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        return [head(torch.cat([horizontal, values[:, :before]], 1)) for before, head in enumerate(self.heads)]


class GatedLayer(nn.Module):
    """One layer of both stacks (van den Oord et al. 2016, Fig. 2).

    At (r, c) the vertical stack sees the rows above r, on both sides of c. The horizontal stack sees the pixels left of
    c in row r and, through the vertical stack, the rows above. A single stack of masked convolutions would have a blind
    spot: it never sees some of the pixels above and to the right. Images are padded at the top and the left and cut at
    the other end, so no weights need masks. The first layer leaves out the pixel's own row (vertical) or column
    (horizontal); later layers use it.
    """

    def __init__(self, inputs: int, features: int, kernel_size: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.reach = kernel_size // 2
        length = self.reach if first else self.reach + 1
        self.vertical = nn.Conv2d(inputs, 2 * features, (length, kernel_size))
        self.horizontal = nn.Conv2d(inputs, 2 * features, (1, length))
        self.link = nn.Conv2d(2 * features, 2 * features, 1)
        self.out = nn.Conv2d(features, features, 1)

    def forward(self, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        """Map both stacks from (B, inputs, H, W) to (B, features, H, W)."""
        height, width = vertical.shape[2:]
        reach = self.reach
        above = self.vertical(F.pad(vertical, (reach, reach, reach, 0)))[:, :, :height]
        left = self.horizontal(F.pad(horizontal, (reach, 0, 0, 0)))[..., :width]
        result = self.out(gate(left + self.link(above)))
        return gate(above), result if self.first else horizontal + result


def gate(maps: Tensor) -> Tensor:
    """Return tanh of the first half of the channels times sigmoid of the second half (their Eqn 2)."""
    signal, valve = maps.chunk(2, dim=1)
    return signal.tanh() * valve.sigmoid()
