"""Untrained ResNets for images of about 32 x 32 pixels, and a decoder that mirrors ResNet-18."""

from typing import TYPE_CHECKING, Literal

from torch import Tensor, nn

from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.networks.convolutional import Unflatten, halved

if TYPE_CHECKING:
    from torchvision.models import ResNet


def resnet_features(image_channels: int, depth: Literal[18, 34]) -> tuple["ResNet", int]:
    """Return an untrained ResNet-18 or ResNet-34 without its classification layer, for images of about 32 x 32 pixels.

    The first convolution has kernel 3 and stride 1, and there is no max pooling, as is usual for CIFAR-10.

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
    """Latent vectors to images: a mirrored ResNet-18, with reversed blocks and upsampling in place of strides.

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
            sizes.append((halved(sizes[-1][0]), halved(sizes[-1][1])))
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
        """Map latents (B, latent_dim) to float images (B, C, H, W) in [0, 1]."""
        return self.layers(latent)
