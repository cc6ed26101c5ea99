"""Deeper encoders for classifiers: five convolutions for grey images, seven for colour images.

Both are small enough for one core of a CPU. The network for colour images follows cifar10-airbench (Jordan 2024) in its
form: a 2 x 2 convolution, then three blocks of two convolutions with max pooling and GELU. It is narrower, and all its
weights are trained.
"""

from torch import nn

from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.networks.convolutional import Flatten

_LARGEST_MAP = 7  # larger maps are averaged down to 7 x 7, so the dense layer does not grow with the images


def deep_encoder(image_shape: ImageShape, latent_dim: int) -> nn.Sequential:
    """Return a network that maps float images (B, C, H, W) in [0, 1] to features (B, latent_dim).

    Parameters
    ----------
    image_shape : (int, int, int)
        Channels, height and width. One channel means five convolutions of 16 to 64 channels and a dense layer, three
        channels seven convolutions of 24, 32, 128 and `latent_dim` channels with max pooling.
    latent_dim : int
        Length of the features.
    """
    return _grey(image_shape, latent_dim) if image_shape[0] == 1 else _colour(image_shape[0], latent_dim)


def _grey(image_shape: ImageShape, latent_dim: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    previous, height, width = image_shape
    for channels, stride in ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        layers += [
            nn.Conv2d(previous, channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        previous, height, width = channels, -(-height // stride), -(-width // stride)
    size = min(height, _LARGEST_MAP), min(width, _LARGEST_MAP)
    if size != (height, width):
        layers.append(nn.AdaptiveAvgPool2d(size))
    dense = nn.Linear(previous * size[0] * size[1], latent_dim, bias=False)
    return nn.Sequential(*layers, Flatten(), dense, nn.BatchNorm1d(latent_dim), nn.ReLU(inplace=True))


def _colour(image_channels: int, latent_dim: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(image_channels, 24, 2), nn.GELU()]
    previous = 24
    for channels in (32, 128, latent_dim):
        layers += [
            nn.Conv2d(previous, channels, 3, padding=1, bias=False),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.BatchNorm2d(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.GELU(),
        ]
        previous = channels
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), Flatten())
