"""Images and labels as tensors: sets of images, checks, the split into training and validation, change of shape.

Stored images are uint8 (N, C, H, W): 0 is black, 255 is full intensity. All images that come from outside pass
:func:`check_images`, and all labels pass :func:`check_labels`.
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional as F

from lamae_tutorial.data.parameters import SEED, Rule, check

ImageShape = tuple[int, int, int]  # (channels, height, width)

MISSING = -1  # marks a missing label
VALIDATION_SHARE = 0.1  # share of the ID training images (LAMAE paper, Section 4.1)
_FEWEST = 4  # smallest number of images to train on
_MOST_SIDE = 2**14  # pixels
_MOST_BYTES = 2**36  # of all images together


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels.

    Attributes
    ----------
    name : str
        Name of the set in tables and messages.
    images : uint8 tensor (N, C, H, W)
        C is 1 (grey) or 3 (colour).
    labels : int64 tensor (N,) or None
        Indices into `classes`.
    classes : tuple of str
        Names of the classes; empty if there are no labels.
    known : bool
        Whether this is a set of the catalogue, or a part of one. Only results of known sets are compared with a
        paper's numbers, because a user's own file may also be called `mnist.npz`.
    """

    name: str
    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    known: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"{self.name}: images must be uint8 of shape (N, 1 or 3, H, W); "
                f"got {images.dtype} of shape {tuple(images.shape)}"
            )
        if len(images) == 0:
            raise ValueError(f"{self.name}: holds no images; expected at least one")
        if labels is not None and (labels.dtype != torch.int64 or labels.shape != images.shape[:1]):
            raise ValueError(
                f"{self.name}: labels must be int64 of shape ({len(images)},), one per image; "
                f"got {labels.dtype} of shape {tuple(labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"ImageSet({self.name!r}, {len(self)} images of {self.image_shape}, {len(self.classes)} classes)"

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width of one image."""
        return shape_of(self.images)

    @cached_property
    def sha256(self) -> str:
        """Hash of the shape, the pixels and the labels, in hexadecimal."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().data)
        if self.labels is not None:
            digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()

    def subset(self, which: Tensor | NDArray[Any]) -> "ImageSet":
        """Return the images at these indices (or where this boolean mask is True), with their labels."""
        which = torch.as_tensor(which)
        labels = None if self.labels is None else self.labels[which]
        return replace(self, images=self.images[which], labels=labels)


Images = ImageSet | Tensor | NDArray[Any] | list[Any]
Labels = Tensor | NDArray[Any] | list[int]
Validation = ImageSet | tuple[Images, Labels | None]

IMAGE_SHAPE = Rule(
    f"be (1 or 3, height, width), with sides of 1 to {_MOST_SIDE} pixels",
    lambda shape: (
        len(shape) == 3
        and shape[0] in (1, 3)
        and all(isinstance(size, int | np.integer) and 1 <= size <= _MOST_SIDE for size in shape[1:])
    ),
)


def check_image_shape(image_shape: ImageShape, n: int) -> ImageShape:
    """Return the shape of `n` images to be made. Raise a ValueError if it is none, or before too much is allocated."""
    check("image_shape", image_shape, IMAGE_SHAPE)
    channels, height, width = (int(size) for size in image_shape)
    if n * channels * height * width > _MOST_BYTES:
        raise ValueError(
            f"{n} images of the shape {image_shape} would need {n * channels * height * width / 2**30:,.0f} GiB; "
            f"at most {_MOST_BYTES / 2**30:.0f} GiB are allowed: choose fewer or smaller images"
        )
    return channels, height, width


def check_images(images: Images, image_shape: ImageShape | None = None) -> Tensor:
    """Return the images as a uint8 or float32 tensor (N, C, H, W) without gradients.

    Parameters
    ----------
    images : ImageSet, tensor, array or list, (N, C, H, W)
        uint8, or floats of any kind in [0, 1], or whole numbers of another kind in 0..255. Such whole numbers that are
        all 0 or 1 are refused: they may be meant as black and white.
    image_shape : (int, int, int), optional
        The shape of each image.

    Raises
    ------
    ValueError
        The images do not have four dimensions, a dimension is 0, they differ in shape from `image_shape`, their
        channels stand last, they have another type or range (not-a-number included), or values are masked.
    """
    if torch.is_inference_mode_enabled():  # its tensors could not be trained on
        with torch.inference_mode(False):
            return check_images(images, image_shape)
    tensor = _as_tensor(images)
    _check_shape(tensor, image_shape, "permute" if isinstance(images, Tensor) else "transpose")
    if tensor.is_floating_point():
        tensor = tensor.float()
        low, high = map(float, tensor.aminmax())
        if not (low >= 0 and high <= 1):  # not-a-number fails this too
            advice = "divide them by 255" if low >= 0 and 1 < high <= 255 else "bring them into this range"
            raise ValueError(f"float images must lie in [0, 1]; got values from {low} to {high}: {advice}")
    elif tensor.dtype != torch.uint8:
        levels = tensor.real.long()
        low, high = int(levels.min()), int(levels.max())
        if tensor.dtype == torch.bool or tensor.is_complex() or not (low >= 0 and 1 < high <= 255):
            raise ValueError(
                "images must be uint8, or float in [0, 1], or whole numbers in 0..255 with more than 0 and 1; "
                f"got {tensor.dtype} from {low} to {high}: multiply black and white images by 255"
            )
        tensor = levels.to(torch.uint8)
    return tensor


def _as_tensor(images: Images) -> Tensor:
    """Images as a plain, dense tensor of their own type and shape."""
    if isinstance(images, ImageSet):
        images = images.images
    if isinstance(images, Tensor):
        if images.layout != torch.strided or images.is_quantized or images.is_meta or images.is_nested:
            raise ValueError(f"images must be a dense tensor that holds values; got {images.layout}, {images.device}")
        plain = type(images) is Tensor and not images.requires_grad
        tensor = images if plain else images.detach().as_subclass(Tensor)
        return tensor.clone() if tensor.is_inference() else tensor
    array = _as_array(images, "images")
    if (array.dtype.kind == "f" and array.dtype.itemsize > 8) or (array.dtype.kind == "u" and array.dtype.itemsize > 1):
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)  # types that PyTorch lacks
    array = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _as_array(values: object, name: str) -> NDArray[Any]:
    """NumPy's array of numbers or bools. Raise a ValueError for anything else, and for masked values."""
    if isinstance(values, list | tuple) and any(isinstance(value, Tensor) for value in values):
        values = [np.asarray(torch.as_tensor(value).detach().cpu()) for value in values]
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{name} must be one array of numbers, all of one shape; got {type(values).__name__}: {error}"
        ) from error
    if np.ma.is_masked(values):
        raise ValueError(f"{name} must have no masked values: fill them, or leave the images out")
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name} must be numbers; got {type(values).__name__} of {array.dtype}, {array.shape}")
    return array


def _check_shape(images: Tensor, image_shape: ImageShape | None, turn: str) -> None:
    shape = tuple(images.shape)
    if len(shape) == 4 and 0 not in shape:
        # No detector is for images with more than 4 channels and a width of at most 4: these are channels.
        last = (shape[3] in (1, 3) and shape[1] not in (1, 3)) or shape[3] <= 4 < shape[1]
        if shape[1:] == image_shape or (image_shape is None and not last):
            return
        advice = f", which looks like (N, H, W, C): pass images.{turn}(0, 3, 1, 2)" if last else ""
    elif len(shape) == 3:
        advice = ": pass images[:, None] for grey images (N, H, W), or images[None] for one image (C, H, W)"
    elif len(shape) in (1, 2):
        advice = ": one number, or one row of numbers, per image is no image" + " (are these the labels?)" * (
            len(shape) < 2
        )
    else:
        advice = ""
    expected = "(N, C, H, W)" if image_shape is None else f"(N, {', '.join(map(str, image_shape))})"
    raise ValueError(f"images must have the shape {expected}, N >= 1; got {shape}{advice}")


def check_labels(labels: Labels, n: int, lowest: int = 0, num_classes: int | None = None) -> Tensor:
    """Return the labels as an int64 tensor (n,) on the CPU.

    Whole numbers of any type are taken, also floats such as 2.0.

    Raises
    ------
    ValueError
        The labels are not n whole numbers, or a label is below `lowest`, or `num_classes` is given and a label is not
        below it.
    """
    if isinstance(labels, Tensor):
        tensor = labels.detach().cpu()
        labels = (tensor.double() if tensor.is_floating_point() else tensor).numpy()
    try:
        array = _as_array(labels, "labels")
    except ValueError as error:
        raise ValueError(f"{error}; number the classes: np.unique(labels, return_inverse=True)[1]") from error
    if array.shape != (n,) or array.dtype.kind not in "iuf" or (array != np.floor(array)).any():
        advice = ""
        if array.shape == (n, 1):
            advice = ": pass labels.ravel()"
        elif array.dtype.kind == "b":
            advice = ": pass labels.astype(int)"
        elif array.dtype.kind == "f" and np.isnan(array).any():
            advice = " with NaN: give labels to these images, leave them out or, for SSVAE, mark them with -1"
        raise ValueError(
            f"labels must be {n} whole numbers, one per image; got {array.dtype} of shape {array.shape}{advice}"
        )
    low, high = int(array.min()), int(array.max())
    if low < lowest or high >= (2**31 if num_classes is None else num_classes):
        expected = f">= {lowest}"
        if num_classes is not None:
            expected = f"in {lowest}..{num_classes - 1}, the classes of the training images"
        raise ValueError(f"labels must be {expected}; got labels from {low} to {high}")
    return torch.from_numpy(array.astype(np.int64))


def count_classes(labels: Tensor) -> int:
    """Return the number of classes S. Every class 0..S-1 must occur, and S must be at least 2."""
    present = torch.unique(labels[labels != MISSING]).tolist()
    if present != list(range(len(present))):
        shown = f"[{', '.join(map(str, present[:20]))}{', ...' * (len(present) > 20)}]"
        raise ValueError(f"labels must be 0..S-1 with no class missing; got the classes {shown}: renumber them")
    if len(present) < 2:
        raise ValueError(
            f"there are labels of {len(present)} classes; a detector that uses labels needs at least two classes"
        )
    return len(present)


def stratified_split(labels: Tensor | None, n: int, share: float, random_state: int) -> tuple[Tensor, Tensor]:
    """Divide the indices 0..n-1 at random, stratified by label if each class has enough images.

    Returns
    -------
    rest, part : int64 tensors, sorted
        `part` holds `share` (in 0..1) of the indices.
    """
    check("random_state", random_state, SEED)
    stratify = None
    if labels is not None and len(labels):
        counts = torch.unique(labels, return_counts=True)[1]
        part = round(n * share)
        # Stratification needs two images per class, and room for one image of each class on both sides.
        if counts.min() >= 2 and len(counts) <= min(part, n - part):
            stratify = labels.numpy()
    rest, part = train_test_split(np.arange(n), test_size=share, random_state=random_state, stratify=stratify)
    return torch.from_numpy(np.sort(rest)), torch.from_numpy(np.sort(part))


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Training and validation images of one shape. They have been checked.

    Attributes
    ----------
    images, validation_images : uint8 or float tensor (N, C, H, W)
        On the CPU.
    labels, validation_labels : int64 tensor (N,) or None
        Classes 0..S-1; -1 marks a missing label. None for detectors that use no labels.
    num_classes : int
        S; 0 without labels.
    seed : int
        Seed of the split and of the order of the images.
    """

    images: Tensor
    labels: Tensor | None
    validation_images: Tensor
    validation_labels: Tensor | None
    num_classes: int
    seed: int

    @property
    def image_shape(self) -> ImageShape:
        """Channels, height and width of one image."""
        return shape_of(self.images)


def training_data(
    images: Images,
    labels: Labels | None,
    validation: Validation | None,
    seed: int,
    *,
    labels_may_be_missing: bool = False,
) -> TrainingData:
    """Check the arguments of `fit`, and hold back validation images if none are given.

    Parameters
    ----------
    images
        See :func:`check_images`.
    labels : int (N,) or None
        None for a detector that uses no labels. The labels of `validation` are then ignored.
    validation : ImageSet, or pair of images and labels, or None
        None holds back 10% of the images, stratified by label.
    seed : int
        Seed of that split.
    labels_may_be_missing : bool
        Whether -1 is allowed as a label. It marks a missing one.

    Raises
    ------
    ValueError
        Images or labels have the wrong form, there are fewer than four images or two classes, or a class has no image.
    """
    tensor = check_images(images)
    if len(tensor) < _FEWEST:
        raise ValueError(f"training needs at least {_FEWEST} images; got {len(tensor)}")
    lowest = MISSING if labels_may_be_missing else 0
    targets = None if labels is None else check_labels(labels, len(tensor), lowest)
    num_classes = 0 if targets is None else count_classes(targets)
    if validation is None:
        rest, part = stratified_split(targets, len(tensor), VALIDATION_SHARE, seed)
        held_back, held_back_targets = tensor[part], None if targets is None else targets[part]
        tensor, targets = tensor[rest], None if targets is None else targets[rest]
    else:
        if not (isinstance(validation, ImageSet) or (isinstance(validation, tuple | list) and len(validation) == 2)):
            raise ValueError(
                f"validation must be an ImageSet, or a pair of images and labels; got {type(validation).__name__}"
            )
        pair = (validation.images, validation.labels) if isinstance(validation, ImageSet) else validation
        held_back, held_back_targets = check_images(pair[0], shape_of(tensor)), None
        if targets is not None:
            if pair[1] is None:
                raise ValueError("the training images have labels, so the validation images need labels too; got none")
            held_back_targets = check_labels(pair[1], len(held_back), lowest, num_classes)
    return TrainingData(tensor, targets, held_back, held_back_targets, num_classes, seed)


def bring_to_shape(images: Tensor, image_shape: ImageShape) -> Tensor:
    """Bring images to another shape.

    Smaller images are padded with zeros on all sides: 28 x 28 pixels end up in the middle of 32 x 32. Larger images are
    shrunk by area averaging. Grey is copied to three channels. Colour becomes grey by torchvision's luma weights:
    0.2989 red, 0.587 green, 0.114 blue.

    Parameters
    ----------
    images : uint8 tensor (N, C, H, W)
    image_shape : (int, int, int)
        Channels (1 or 3), height, width.

    Returns
    -------
    uint8 tensor (N, *image_shape)
    """
    channels, height, width = check_image_shape(image_shape, len(images))
    if images.shape[1] == 3 and channels == 1:
        from torchvision.transforms.v2.functional import rgb_to_grayscale  # imported here because it is slow

        images = rgb_to_grayscale(images.float()).round().to(torch.uint8)  # for uint8 it cuts off instead of rounding
    small = (min(images.shape[2], height), min(images.shape[3], width))
    if images.shape[2:] != small:
        images = F.interpolate(images.float(), small, mode="area").round().to(torch.uint8)
    top, left = (height - small[0]) // 2, (width - small[1]) // 2
    images = F.pad(images, (left, width - small[1] - left, top, height - small[0] - top))
    return images.expand(-1, channels, -1, -1).contiguous() if images.shape[1] < channels else images


def shape_of(images: Tensor) -> ImageShape:
    """Return channels, height and width of images (N, C, H, W)."""
    channels, height, width = images.shape[1:]
    return channels, height, width
