"""The named image sets: where their files are searched for, and how to get them.

Nothing is downloaded unless you ask for it.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path

from lamae_tutorial.data.images import ImageSet, ImageShape
from lamae_tutorial.data.readers import (
    Arrays,
    Named,
    check_size,
    is_divided,
    is_folder,
    read_celeba,
    read_cifar10,
    read_class_folders,
    read_digits,
    read_idx_folder,
    read_mini_mnist,
    read_notmnist_small,
    read_npz,
    read_own_npz,
)
from lamae_tutorial.data.synthetic import SYNTHETIC, check_split


def load_images(
    name: str | os.PathLike[str],
    split: str = "train",
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    size: tuple[int, int] | None = None,
    **synthetic: Any,
) -> ImageSet:
    """Load a known set of images by its name, or your own images by their path.

    Parameters
    ----------
    name : str or path
        One of "digits" (included in scikit-learn), "mini_mnist" (5,000 images of MNIST, included in this package),
        "mnist", "fashion_mnist", "cifar10", "celeba", "notmnist", "constant", "noise"; or the path of an `.npz` file in
        Keras layout, of a folder of class folders (with or without `train/` and `test/` above them), or of a folder of
        images. A string that is one of these names always means the known set; if the current folder has a file or
        folder of this name, a warning says so. Write "./digits", "digits/" or ``Path("digits")`` for the folder.
    split : {"train", "test", "all"}
        A source without a split (digits, a folder without `train/` and `test/`, an `.npz` file without `x_test`) is
        divided 80:20, stratified by label, and always in the same way.
    root : path, optional
        The folder of the data. By default the environment variable LAMAE_DATA, else the platform's cache folder.
        First `<name>.npz` is searched for, then the folder that torchvision writes. notMNIST is searched for in
        `notMNIST_small` (PNG files), then in `notMNIST/raw` (idx files).
    download : bool
        Download a missing set with torchvision, which checks its checksum.
    size : (int, int), optional
        For a folder only: height and width for :func:`lamae_tutorial.data.readers.cover`. By default all images must
        have the same size.
    **synthetic
        For "constant" and "noise" only: see :func:`lamae_tutorial.constant_images` and
        :func:`lamae_tutorial.noise_images`.

    Returns
    -------
    ImageSet

    Notes
    -----
    Rules for your own sets. A warning counts what is left out. `lamae score` decodes image files by the same rules.

    ============================  =====================================================================================
    classes                       Those of all splits together: the labels of an `.npz` (integers, booleans as 0 and 1,
                                  or strings, (N,) or (N, 1)), or the names of the folders. A split without images of a
                                  class keeps the numbers of the other classes.
    left out                      Hidden files and folders, `__MACOSX`, links to a folder above, other file types, empty
                                  class folders, images in nested folders or beside class folders.
    broken files, pipes, devices  Left out. A class without a readable image is refused.
    arrays                        uint8, (N, H, W) or (N, H, W, 1 or 3).
    16-bit and float images       Scaled to 0..255 from 0..65535 and 0..1, never clipped. Other ranges are refused.
    transparency                  Composited on black.
    EXIF orientation              Applied.
    animations, several pages     The first image is read.
    palettes, CMYK                Read as colour.
    bilevel                       Read as grey, 0 and 255.
    grey and colour in one set    All are read as colour, with a warning.
    different sizes               Refused without `size`.
    duplicates                    Kept, with a warning.
    ============================  =====================================================================================

    Raises
    ------
    FileNotFoundError
        The data were not found. The message lists the places that were searched and the command that gets the data.
    ValueError
        The name or the split is unknown, or a file is damaged, truncated or has the wrong shape. The message names it.
    ConnectionError
        The download failed.
    """
    check_split(split)
    if not isinstance(name, str | os.PathLike):
        raise ValueError(f"name must be a string or a path; got {name!r}")
    path = Path(name)
    known = name in KNOWN
    if known:
        _say_namesake(path, data_root(root))
    folder = not known and name != "" and is_folder(path)
    if size is not None:
        if not folder:
            raise ValueError(f"size is only for a folder of images; {name} is not a folder: leave size out")
        size = check_size(size)
    if name in SYNTHETIC:
        return SYNTHETIC[str(name)](split=split, **synthetic)
    if synthetic:
        raise ValueError(f"{', '.join(synthetic)}: only {' and '.join(SYNTHETIC)} take further arguments, not {name}")
    if name in EMBEDDED:
        return _image_set(str(name), (EMBEDDED[str(name)].read(split), _DIGITS), known=True)
    if name in DATA_SETS:
        return _load_named(str(name), split, data_root(root), download)
    if folder:
        return _image_set(_base(path), read_class_folders(path, split, size))
    if path.suffix == ".npz":
        return _image_set(path.stem, read_own_npz(path, split))
    raise ValueError(
        f"unknown image set {str(name)!r}: neither one of {', '.join([*DATA_SETS, *EMBEDDED, *SYNTHETIC])} "
        "nor the path of an .npz file or of a folder of images"
    )


def training_images(
    name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
) -> ImageSet:
    """Return the images that a detector may be trained on, with the classes that they have.

    A set with a split gives its training images, a set without one (such as digits) all of its images. A warning names
    the classes that only the test images have; they are left out.

    Parameters and errors are the same as in :func:`load_images`.
    """
    if name in KNOWN:
        divided = name in DATA_SETS or (name in EMBEDDED and EMBEDDED[str(name)].divided)
    else:
        divided = is_divided(Path(name))
    images = load_images(name, "train" if divided else "all", root, size=size)
    if images.labels is None:
        return images
    present, labels = torch.unique(images.labels, return_inverse=True)
    classes = tuple(images.classes[label] for label in present.tolist())
    missing = [label for label in range(len(images.classes)) if label not in present.tolist()]
    if missing:
        warnings.warn(
            f"{images.name}: no training image has the class "
            + ", ".join(repr(images.classes[label]) for label in missing)
            + "; left out",
            stacklevel=2,
        )
    return replace(images, labels=labels, classes=classes)


def _base(path: Path) -> str:
    """Return the name of a folder, also of "." and ".."."""
    return path.resolve().name if path.name in ("", "..") else path.name


def _say_namesake(path: Path, root: Path) -> None:
    name = str(path)
    own_place = name in DATA_SETS and any(
        place.absolute().is_relative_to(path.absolute()) for place in places(name, root)
    )
    if path.exists() and not own_place:
        warnings.warn(
            f"{name} means the known set; write ./{name} for the file or folder of this name here", stacklevel=3
        )


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of the data: the argument, else LAMAE_DATA, else the platform's cache folder."""
    return Path(root or os.environ.get("LAMAE_DATA") or user_cache_path("lamae_tutorial")).expanduser()


@dataclass(frozen=True)
class DataSet:
    """What is known about a named set before any file is read. The counts are those of the published set.

    Some images are stored with the results, unless `may_be_passed_on` is False.
    """

    shape: ImageShape
    train: int
    test: int
    classes: tuple[str, ...]
    folders: tuple[tuple[str, Callable[[Path, str], Arrays]], ...]
    torchvision: str | None
    hint: str = ""
    may_be_passed_on: bool = True


_DIGITS = tuple("0123456789")

_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATA_SETS = {
    "mnist": DataSet((1, 28, 28), 60_000, 10_000, _DIGITS, (("MNIST/raw", read_idx_folder),), "MNIST"),
    "fashion_mnist": DataSet(
        (1, 28, 28), 60_000, 10_000, _FASHION, (("FashionMNIST/raw", read_idx_folder),), "FashionMNIST"
    ),
    "cifar10": DataSet((3, 32, 32), 50_000, 10_000, _CIFAR10, (("cifar-10-batches-py", read_cifar10),), "CIFAR10"),
    "celeba": DataSet((3, 32, 32), 162_770, 19_962, (), (("celeba", read_celeba),), "CelebA", may_be_passed_on=False),
    "notmnist": DataSet(
        (1, 28, 28),
        0,
        18_724,
        tuple("ABCDEFGHIJ"),
        (("notMNIST_small", read_notmnist_small), ("notMNIST/raw", read_idx_folder)),
        None,
        "unpack notMNIST_small.tar.gz (yaroslavvb.blogspot.com/2011/09/notmnist-dataset.html) in that folder",
    ),
}


@dataclass(frozen=True)
class Embedded:
    """A named set of digits that is installed with a package, so that it is never missing.

    `divided` says whether the set has test images of its own.
    """

    shape: ImageShape
    train: int
    test: int
    read: Callable[[str], Arrays]
    package: str
    divided: bool


EMBEDDED = {
    "digits": Embedded((1, 8, 8), 1437, 360, read_digits, "scikit-learn", divided=False),
    "mini_mnist": Embedded((1, 28, 28), 4000, 1000, read_mini_mnist, "lamae-tutorial", divided=True),
}


KNOWN = {*EMBEDDED, *DATA_SETS, *SYNTHETIC}


def places(name: str, root: Path) -> list[Path]:
    """Return the places where the files of a named set are searched for, in this order."""
    return [root / f"{name}.npz", *(root / folder for folder, _ in DATA_SETS[name].folders)]


def found(name: str, root: Path) -> Path | None:
    """Return the first of these places that exists, or None."""
    return next((place for place in places(name, root) if place.exists()), None)


def how_to_get(name: str, root: Path) -> str:
    """Return the command that downloads a named set, or the steps to take if there is no such command."""
    spec = DATA_SETS[name]
    return f"lamae datasets --download {name} --data {root}" if spec.torchvision else spec.hint


def _load_named(name: str, split: str, root: Path, download: bool) -> ImageSet:
    spec = DATA_SETS[name]
    readers = [read_npz, *(read for _, read in spec.folders)]
    missing = []
    for place, read in zip(places(name, root), readers, strict=True):
        try:
            return _image_set(name, (read(place, split), spec.classes), known=True)
        except FileNotFoundError as error:
            missing.append(str(error.filename))
    if download and spec.torchvision:
        import torchvision

        try:
            getattr(torchvision.datasets, spec.torchvision)(root, download=True)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(f"{name} could not be downloaded to {root}: {error}") from error
        return _load_named(name, split, root, download=False)
    raise FileNotFoundError(
        f"{name} was not found. These places were searched:\n"
        + "".join(f"  {place}\n" for place in missing)
        + f"Get it:  {how_to_get(name, root)}\nIf you have it, name its folder with LAMAE_DATA, root= or --data."
    )


def _image_set(name: str, read: Named, known: bool = False) -> ImageSet:
    (images, labels), classes = read
    if labels is None:
        classes = ()
    elif len(labels) and (labels.min() < 0 or labels.max() >= len(classes)):
        raise ValueError(f"{name}: labels must lie in 0..{len(classes) - 1}; got {labels.min()}..{labels.max()}")
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    targets = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    return ImageSet(name, tensor, targets, classes, known=known)
