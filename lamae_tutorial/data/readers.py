"""Readers of image files: .npz, idx, CIFAR-10's batches and folders of pictures.

Each reader takes a path and a split, and returns arrays. It raises FileNotFoundError if files are missing and
ValueError if they are damaged. Only CIFAR-10's batches are unpickled, and only if they have the published checksums.
"""

import gzip
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from lzma import LZMAError
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from sklearn.datasets import load_digits

from lamae_tutorial.data.images import stratified_split

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64] | None]  # images (N, H, W, C), labels (N,)

# The errors that zipfile, NumPy and similar libraries raise for damaged files.
DAMAGE = (
    zipfile.BadZipFile,
    ValueError,
    EOFError,
    OSError,
    zlib.error,
    LZMAError,
    KeyError,
    NotImplementedError,
    MemoryError,  # a header announces more data than there are
    SyntaxError,  # a header is parsed as Python
    tokenize.TokenError,
    TypeError,
    OverflowError,
)

_UNKNOWN_MEMORY = 2**34  # assumed if the system does not say

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


def read_digits(split: str) -> Arrays:
    digits = load_digits()
    # The 17 levels 0..16 become 17 levels in 0..255, so the entropy does not change.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return _divide((images, digits.target.astype(np.int64)), split)


def npz_count(path: Path, key: str) -> int:
    """Return the number of images under this key of an `.npz` file (0 if there are none). Only the header is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{key}.npy" not in archive.namelist():
                return 0
            with archive.open(f"{key}.npy") as member:
                version = np.lib.format.read_magic(member)
                read_header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                return int(read_header(member)[0][0])
    except DAMAGE as error:
        raise ValueError(f"{path}: not a readable .npz file ({error})") from error


def read_npz(path: Path, split: str) -> Arrays:
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = set(archive.files)
            wanted = [part for part in ("train", "test") if split in (part, "all") and f"x_{part}" in names]
            divided = "x_test" in names
            if not divided and "x_train" in names:
                wanted = ["train"]
            for member in archive.zip.infolist():
                _check_memory(member.file_size)
            if not wanted:
                raise ValueError(
                    f"holds no split {split!r}: expected x_train and x_test (Keras layout); got {sorted(names)}"
                )
            arrays = _join(
                _checked(archive[f"x_{part}"], archive[f"y_{part}"] if f"y_{part}" in names else None)
                for part in wanted
            )
    except DAMAGE as error:
        raise ValueError(f"{path}: {error}") from error
    return arrays if divided else _divide(arrays, split)


def _check_memory(size: int) -> None:
    """Refuse an array that does not fit into memory before it is unpacked: a small file may announce a huge array."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else _UNKNOWN_MEMORY
    if size > memory // 2:
        raise ValueError(
            f"holds an array of {size / 2**30:.1f} GiB, more than half of the {memory / 2**30:.1f} GiB of memory here"
        )


def _checked(images: NDArray[Any], labels: NDArray[Any] | None) -> Arrays:
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 with values 0..255; got {images.dtype}")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must have the shape (N, H, W) or (N, H, W, 1 or 3); got {images.shape}")
    if labels is not None:
        if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(images):
            raise ValueError(f"expected {len(images)} integer labels, one per image; got {labels.dtype} {labels.shape}")
        labels = labels.reshape(-1).astype(np.int64)
    return images, labels


_IDX_FILES = {"train": "train", "test": "t10k"}


def read_idx_folder(folder: Path, split: str) -> Arrays:
    parts = [stem for part, stem in _IDX_FILES.items() if split in (part, "all")]
    return _join(
        _checked(_read_idx(folder / f"{stem}-images-idx3-ubyte", 3), _read_idx(folder / f"{stem}-labels-idx1-ubyte", 1))
        for stem in parts
    )


def _read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Read one file in MNIST's format, plain or as `.gz`: magic number 0 0 8 ndim, big-endian sizes, bytes."""
    packed = path.with_name(path.name + ".gz")
    if not path.is_file():
        if not packed.is_file():
            raise FileNotFoundError(2, "no such file", str(path))
        path = packed
    size = 4 + 4 * ndim
    try:
        with gzip.open(path) if path == packed else path.open("rb") as file:
            header = file.read(size)
            if header[:4] != bytes([0, 0, 8, ndim]) or len(header) < size:
                begin = header[:4].hex()
                raise ValueError(f"not an idx file of bytes with {ndim} dimensions: it begins with {begin!r}")
            shape = tuple(int(length) for length in np.frombuffer(header, ">u4", ndim, offset=4))
            _check_memory(prod(shape))
            content = file.read(prod(shape) + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a readable .gz file ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if len(content) != prod(shape):
        follow = f"{len(content)} follow" if len(content) < prod(shape) else "more follow"
        raise ValueError(f"{path}: its header announces {prod(shape)} bytes {shape}, but {follow}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def read_cifar10(folder: Path, split: str) -> Arrays:
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    import torchvision

    def part(train: bool) -> Arrays:
        try:  # The files are pickles. torchvision opens them only if they have the published checksums.
            data = torchvision.datasets.CIFAR10(folder.parent, train=train)
        except RuntimeError as error:
            raise ValueError(f"{folder}: its files are incomplete or not the published ones ({error})") from error
        return _checked(data.data, np.asarray(data.targets))

    return _join(part(train) for train in (True, False) if split in ("all", "train" if train else "test"))


def read_celeba(folder: Path, split: str) -> Arrays:
    """Read the central square of the aligned photographs at 32 x 32; `list_eval_partition.txt` gives the split."""
    partition = folder / "list_eval_partition.txt"
    if not partition.is_file():
        raise FileNotFoundError(2, "no such file", str(partition))
    wanted = {"train": "0", "test": "2"}
    rows = [line.split() for line in partition.read_text().splitlines() if line.strip()]
    names = [
        row[0] for row in rows if len(row) == 2 and row[1] in (wanted.get(split), *(("0", "2") * (split == "all")))
    ]
    images = []
    for name in names:
        path = folder / "img_align_celeba" / name
        photograph = open_image(path).convert("RGB")
        width, height = photograph.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        square = photograph.resize((32, 32), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        images.append(np.asarray(square))
    if not images:
        raise ValueError(f"{partition}: names no image of the split {split!r}")
    return np.stack(images), None


def read_notmnist_small(folder: Path, split: str) -> Arrays:
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    if split == "train":
        raise ValueError(f"{folder}: notMNIST_small is a test set; it holds no split 'train'")
    return _read_images(folder)[0]


def read_class_folders(folder: Path, split: str, size: tuple[int, int] | None) -> tuple[Arrays, tuple[str, ...]]:
    parts = [folder / part for part in ("train", "test")]
    if not all(part.is_dir() for part in parts):
        arrays, classes = _read_images(folder, size)
        return _divide(arrays, split), classes
    read = [_read_images(part, size) for part in parts if split in (part.name, "all")]
    if len({classes for _, classes in read}) > 1:
        raise ValueError(f"{folder}: train/ and test/ have different class folders")
    return _join(arrays for arrays, _ in read), read[0][1]


def _read_images(folder: Path, size: tuple[int, int] | None = None) -> tuple[Arrays, tuple[str, ...]]:
    """Read all images of a folder of class folders, or of a folder of images without labels.

    Broken files are left out with a warning.
    """
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    images: list[Image.Image] = []
    labels: list[int] = []
    broken: list[str] = []
    for label, name in enumerate(classes or ("",)):
        for path in sorted((folder / name).iterdir()):
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            try:
                image = open_image(path)
            except ValueError as error:
                broken.append(str(error))
                continue
            if size is not None:
                image = cover(image, size)
            if images and image.size != images[0].size:
                raise ValueError(
                    f"{path}: is {image.size[0]} x {image.size[1]} pixels, the images before it are "
                    f"{images[0].size[0]} x {images[0].size[1]}; bring them to one size (size=, --resize)"
                )
            images.append(image)
            labels.append(label)
    if broken:
        warnings.warn(f"{folder}: left out {len(broken)} broken files: " + "; ".join(broken), stacklevel=2)
    if not images:
        raise ValueError(f"{folder}: no readable image in it or in its class folders {list(classes)}")
    mode = "L" if all(image.mode in ("1", "L") for image in images) else "RGB"
    stacked = np.stack([np.asarray(image.convert(mode)) for image in images])
    return _checked(stacked, np.asarray(labels) if classes else None), classes


def cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image at this height and width: scaled until it covers them, then cut around the middle."""
    height, width = size
    image = image if image.mode == "L" else image.convert("RGB")  # images with a palette cannot be scaled
    return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)


def open_image(path: Path) -> Image.Image:
    """Return a decoded image. A damaged file, another type or a size above Pillow's limit raises a ValueError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return image
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise ValueError(f"{path}: not a readable image ({error})") from error


def _divide(arrays: Arrays, split: str) -> Arrays:
    """Return a split of a source without one: 80:20, always the same."""
    if split == "all":
        return arrays
    images, labels = arrays
    if len(images) < 2:
        raise ValueError(f'one image cannot be divided into train and test; ask for split="all" instead of {split!r}')
    both = stratified_split(None if labels is None else torch.from_numpy(labels), len(images), 0.2, random_state=0)
    which = both[split == "test"].numpy()
    return images[which], None if labels is None else labels[which]


def _join(parts: Iterable[Arrays]) -> Arrays:
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), None if labels[0] is None else np.concatenate(labels)
