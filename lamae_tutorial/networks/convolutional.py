"""Encoders, decoders and classifiers for images of any height and width.

The defaults are the networks of the LAMAE paper (Section 4.1): three convolutions with stride 2 as in MemAE, each
followed by batch normalisation and ReLU. The last layer of the decoder has neither.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from lamae_tutorial.data.images import ImageShape


def halved(size: int) -> int:
    """Return the output size of a convolution with kernel 3, stride 2 and padding 1."""
    return (size + 1) // 2


class Flatten(nn.Module):
    """Feature maps (B, C, H, W) to vectors (B, H * W * C). Maps in channels-last memory are not copied."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(1)


class Unflatten(nn.Module):
    """The inverse of :class:`Flatten`, for maps of the shape (C, H, W)."""

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, vectors: Tensor) -> Tensor:
        channels, height, width = self.shape
        return vectors.view(-1, height, width, channels).permute(0, 3, 1, 2)


class ConvFeatures(nn.Module):
    """The convolutions of an encoder: images to vectors of length `size`.

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
            previous, height, width = width_out, halved(height), halved(width)
        self.size = previous * height * width
        self.layers = nn.Sequential(*layers, Flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Map float images (B, C, H, W) in [0, 1] to features (B, size)."""
        return self.layers(images)


class ConvEncoder(nn.Module):
    """Images to latent vectors, f_e of the LAMAE paper.

    Parameters
    ----------
    image_shape, channels
        See :class:`ConvFeatures`.
    latent_dim : int
        Length C of the latent vector z. It is batch-normalised but not rectified.
    """

    def __init__(self, image_shape: ImageShape, channels: Sequence[int] = (16, 32, 64), latent_dim: int = 32) -> None:
        super().__init__()
        features = ConvFeatures(image_shape, channels)
        self.layers = nn.Sequential(
            features, nn.Linear(features.size, latent_dim, bias=False), nn.BatchNorm1d(latent_dim)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map float images (B, C, H, W) in [0, 1] to latents (B, latent_dim)."""
        return self.layers(images)


class ConvDecoder(nn.Module):
    """Latent vectors to images, f_d of the LAMAE paper: the mirrored encoder.

    Parameters
    ----------
    image_shape, channels, latent_dim
        The same as for :class:`ConvEncoder`; `channels` keeps the encoder's order.
    sigmoid : bool
        Map the output to [0, 1].
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
            sizes.append((halved(sizes[-1][0]), halved(sizes[-1][1])))
        widths = [image_channels, *channels]
        start = (widths[-1], *sizes[-1])
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, widths[-1] * sizes[-1][0] * sizes[-1][1]),
            Unflatten(start),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(inplace=True),
        ]
        for level in range(len(channels), 0, -1):
            # The output padding inverts `halved`: 1 if the size was even, 0 if it was odd.
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
        """Map latents (B, latent_dim) to float images (B, C, H, W)."""
        return self.layers(latent)


def classifier(latent_dim: int, num_classes: int, hidden: Sequence[int] = ()) -> nn.Sequential:
    """Return the classifier f_c on the latent, by default a single layer (LAMAE paper, Section 3.1.1).

    Parameters
    ----------
    latent_dim, num_classes : int
        Lengths of the latent vector and of the logits.
    hidden : sequence of int
        Widths of the hidden layers. Each has batch normalisation and ReLU.

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
