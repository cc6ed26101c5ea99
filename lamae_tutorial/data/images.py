"""Images as tensors: what a set of them is, how one is checked, divided and brought to another shape.

Images at rest are uint8 (N, C, H, W) with 0 black and 255 full intensity.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional as F

ImageShape = tuple[int, int, int]  # (channels, height, width)

Images = Tensor | NDArray[Any]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels.

    Attributes
    ----------
    name : str
        What the set is called in tables and messages.
    images : uint8 tensor (N, C, H, W)
        C is 1 (grey) or 3 (colour).
    labels : int64 tensor (N,) or None
        Indices into `classes`.
    classes : tuple of str
        Names of the classes; empty where there are no labels.
    """

    name: str
    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"{self.name}: images must be uint8 of shape (N, 1 or 3, H, W); "
                f"got {images.dtype} of shape {tuple(images.shape)}"
            )
        if len(images) == 0:
            raise ValueError(f"{self.name}: holds no image")
        if labels is not None and (labels.dtype != torch.int64 or labels.shape != images.shape[:1]):
            raise ValueError(
                f"{self.name}: labels must be int64 of shape ({len(images)},), one an image; "
                f"got {labels.dtype} of shape {tuple(labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ImageSet({self.name!r}, {len(self)} images of {self.image_shape}, {len(self.classes)} classes)"

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, which: Tensor | NDArray[Any]) -> "ImageSet":
        """The images at these indices (or under this boolean mask), with their labels."""
        which = torch.as_tensor(which)
        labels = None if self.labels is None else self.labels[which]
        return ImageSet(self.name, self.images[which], labels, self.classes)


def check_images(images: Images, image_shape: ImageShape | None = None) -> Tensor:
    """Images as uint8 or float32 tensor (N, C, H, W).

    Raises
    ------
    ValueError
        Another number of dimensions, an empty one, another shape than `image_shape`, another type than uint8 or float,
        or floats outside [0, 1] (not-a-number included).
    """
    tensor = torch.as_tensor(images)
    expected = "(N, C, H, W)" if image_shape is None else f"(N, {', '.join(map(str, image_shape))})"
    if tensor.ndim != 4 or 0 in tensor.shape or (image_shape is not None and tuple(tensor.shape[1:]) != image_shape):
        raise ValueError(f"images must have the shape {expected}, N >= 1; got {tuple(tensor.shape)}")
    if tensor.dtype == torch.uint8:
        return tensor
    if not tensor.is_floating_point():
        raise ValueError(f"images must be uint8, or float in [0, 1]; got {tensor.dtype}")
    low, high = float(tensor.min()), float(tensor.max())
    if not (low >= 0 and high <= 1):  # not-a-number fails this too
        raise ValueError(f"float images must lie in [0, 1]; got values from {low} to {high}")
    return tensor.float()


def stratified_split(labels: Tensor | None, n: int, share: float, random_state: int) -> tuple[Tensor, Tensor]:
    """Divide the indices 0..n-1 at random, with equal shares of each class where there are labels.

    Returns
    -------
    rest, part : int64 tensors, sorted
        `part` holds `share` (in 0..1) of the indices.
    """
    stratify = None
    if labels is not None and len(labels):
        counts = torch.unique(labels, return_counts=True)[1]
        part = round(n * share)
        # Stratification needs two images a class, and room for each class on both sides.
        if counts.min() >= 2 and len(counts) <= min(part, n - part):
            stratify = labels.numpy()
    rest, part = train_test_split(np.arange(n), test_size=share, random_state=random_state, stratify=stratify)
    return torch.from_numpy(np.sort(rest)), torch.from_numpy(np.sort(part))


def bring_to_shape(images: Tensor, image_shape: ImageShape) -> Tensor:
    """Bring images to another shape by a fixed rule.

    Smaller images are padded with zeros on all sides (28 x 28 in the middle of 32 x 32); larger ones are shrunk by area
    averaging. Grey is copied to three channels; colour becomes grey by torchvision's luma weights: 0.2989 red,
    0.587 green, 0.114 blue.

    Parameters
    ----------
    images : uint8 tensor (N, C, H, W)
    image_shape : (int, int, int)
        Channels (1 or 3), height, width.

    Returns
    -------
    uint8 tensor (N, *image_shape)
    """
    channels, height, width = image_shape
    if channels not in (1, 3) or height < 1 or width < 1:
        raise ValueError(f"image_shape must be (1 or 3, height, width); got {image_shape}")
    if images.shape[1] == 3 and channels == 1:
        from torchvision.transforms.v2.functional import rgb_to_grayscale  # here: slow to import

        images = rgb_to_grayscale(images.float()).round().to(torch.uint8)  # of uint8 it would cut off, not round
    small = (min(images.shape[2], height), min(images.shape[3], width))
    if images.shape[2:] != small:
        images = F.interpolate(images.float(), small, mode="area").round().to(torch.uint8)
    top, left = (height - small[0]) // 2, (width - small[1]) // 2
    images = F.pad(images, (left, width - small[1] - left, top, height - small[0] - top))
    return images.expand(-1, channels, -1, -1).contiguous() if images.shape[1] < channels else images
