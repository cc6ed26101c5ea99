"""Encoders, decoders and classifiers: plain modules that know nothing of detectors.

The defaults are the networks of the LAMAE paper (Section 4.1): three convolutions with stride 2 as in MemAE,
each followed by batch normalisation and ReLU except the last layer. They take images of any height and width.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

if TYPE_CHECKING:
    from torchvision.models import ResNet

ImageShape = tuple[int, int, int]  # (channels, height, width)


def _halved(size: int) -> int:
    """Output size of a convolution with kernel 3, stride 2 and padding 1."""
    return (size + 1) // 2


class Flatten(nn.Module):
    """Feature maps (B, C, H, W) to vectors (B, H * W * C), without moving what lies in channels-last memory."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(1)


class Unflatten(nn.Module):
    """The inverse of :class:`Flatten` for maps of this shape (C, H, W)."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, vectors: Tensor) -> Tensor:
        channels, height, width = self.shape
        return vectors.view(-1, height, width, channels).permute(0, 3, 1, 2)


class ConvFeatures(nn.Module):
    """The convolutions of an encoder: images to vectors of the length `size`.

    Parameters
    ----------
    image_shape : (int, int, int)
        Channels, height and width of one image.
    channels : sequence of int
        Output channels of the convolutions, each with stride 2.
    """

    def __init__(self, image_shape: ImageShape, channels: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        previous, height, width = image_shape
        layers: list[nn.Module] = []
        for width_out in channels:
            layers += [
                nn.Conv2d(previous, width_out, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width_out),
                nn.ReLU(inplace=True),
            ]
            previous, height, width = width_out, _halved(height), _halved(width)
        self.size = previous * height * width
        self.layers = nn.Sequential(*layers, Flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, C, H, W) in [0, 1] to features (B, size)."""
        return self.layers(images)


class ConvEncoder(nn.Module):
    """Images to latent vectors, f_e of the LAMAE paper.

    Parameters
    ----------
    image_shape, channels
        See :class:`ConvFeatures`.
    latent_dim : int
        Length C of the latent vector z, which is normalised over the batch but not rectified.
    """

    def __init__(self, image_shape: ImageShape, channels: Sequence[int] = (16, 32, 64), latent_dim: int = 32) -> None:
        super().__init__()
        features = ConvFeatures(image_shape, channels)
        self.layers = nn.Sequential(
            features, nn.Linear(features.size, latent_dim, bias=False), nn.BatchNorm1d(latent_dim)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Float images (B, C, H, W) in [0, 1] to latents (B, latent_dim)."""
        return self.layers(images)


class ConvDecoder(nn.Module):
    """Latent vectors to images, f_d of the LAMAE paper: the encoder mirrored.

    Parameters
    ----------
    image_shape, channels, latent_dim
        Those of :class:`ConvEncoder`; `channels` is given in the encoder's order.
    sigmoid : bool
        Bring the output to [0, 1].
    """

    def __init__(
        self,
        image_shape: ImageShape,
        channels: Sequence[int] = (16, 32, 64),
        latent_dim: int = 32,
        sigmoid: bool = True,
    ) -> None:
        super().__init__()
        image_channels, height, width = image_shape
        sizes = [(height, width)]
        for _ in channels:
            sizes.append((_halved(sizes[-1][0]), _halved(sizes[-1][1])))
        widths = [image_channels, *channels]
        start = (widths[-1], *sizes[-1])
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, widths[-1] * sizes[-1][0] * sizes[-1][1]),
            Unflatten(start),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(inplace=True),
        ]
        for level in range(len(channels), 0, -1):
            # The output padding that undoes _halved: 1 where the size was even, 0 where it was odd.
            rows, columns = sizes[level - 1]
            padding = (1 - rows % 2, 1 - columns % 2)
            last = level == 1
            layers.append(
                nn.ConvTranspose2d(
                    widths[level], widths[level - 1], 3, stride=2, padding=1, output_padding=padding, bias=last
                )
            )
            if not last:
                layers += [nn.BatchNorm2d(widths[level - 1]), nn.ReLU(inplace=True)]
        if sigmoid:
            layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, latent_dim) to float images (B, C, H, W)."""
        return self.layers(latent)


def resnet_features(image_channels: int, depth: Literal[18, 34]) -> tuple["ResNet", int]:
    """ResNet-18 or ResNet-34 without its classification layer, for images of about 32 x 32.

    The first convolution has kernel 3 and stride 1, and there is no max pooling, as is usual for CIFAR-10. No weights
    are loaded.

    Returns
    -------
    network : torchvision.models.ResNet
        Maps images (B, image_channels, H, W) to features (B, 512).
    size : int
        512.
    """
    from torchvision.models import resnet18, resnet34

    network = {18: resnet18, 34: resnet34}[depth](weights=None)
    network.conv1 = nn.Conv2d(image_channels, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    size = network.fc.in_features
    network.fc = nn.Identity()
    return network, size


class ResNetDecoder(nn.Module):
    """Latent vectors to images: ResNet-18 mirrored, with its blocks in the opposite order and upsampling for strides.

    Parameters
    ----------
    image_shape : (int, int, int)
    latent_dim : int
    """

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        from torchvision.models.resnet import BasicBlock

        super().__init__()
        image_channels, height, width = image_shape
        sizes = [(height, width)]
        for _ in range(3):
            sizes.append((_halved(sizes[-1][0]), _halved(sizes[-1][1])))
        start = (512, *sizes[3])
        layers: list[nn.Module] = [nn.Linear(latent_dim, 512 * sizes[3][0] * sizes[3][1]), Unflatten(start)]
        previous = 512
        for channels, size in zip((512, 256, 128, 64), (sizes[2], sizes[1], sizes[0], None), strict=True):
            shortcut = nn.Sequential(nn.Conv2d(previous, channels, 1, bias=False), nn.BatchNorm2d(channels))
            layers += [
                BasicBlock(previous, channels, downsample=None if previous == channels else shortcut),
                BasicBlock(channels, channels),
            ]
            if size is not None:
                layers.append(nn.Upsample(size=size))
            previous = channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(64, image_channels, 3, padding=1), nn.Sigmoid())

    def forward(self, latent: Tensor) -> Tensor:
        """Latents (B, latent_dim) to float images (B, C, H, W) in [0, 1]."""
        return self.layers(latent)


def classifier(latent_dim: int, num_classes: int, hidden: Sequence[int] = ()) -> nn.Sequential:
    """The classification module f_c on the latent: a single layer by default (LAMAE paper, Section 3.1.1).

    Parameters
    ----------
    latent_dim, num_classes : int
        Lengths of the latent vector and of the logits.
    hidden : sequence of int
        Widths of hidden layers, each with batch normalisation and ReLU.

    Returns
    -------
    torch.nn.Sequential
        Maps latents (B, latent_dim) to logits (B, num_classes).
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(latent_dim, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        latent_dim = width
    return nn.Sequential(*layers, nn.Linear(latent_dim, num_classes))
