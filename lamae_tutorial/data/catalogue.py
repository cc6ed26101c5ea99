"""The named image sets: where their files are looked for, and how to get them.

Nothing is downloaded unless asked for.
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
    """Load a set of images by its name, or one's own by its path.

    Parameters
    ----------
    name : str or path
        One of "digits" (embedded in scikit-learn), "mnist", "fashion_mnist", "cifar10", "celeba", "notmnist",
        "constant", "noise"; or the path of an `.npz` file in Keras layout, of a folder of class folders (with
        or without `train/` and `test/` above them), or of a folder of images. A text that is one of these names is
        always the known set, with a warning if there is a file or folder of that name here; "./digits", "digits/" or
        a `Path` is the folder.
    split : {"train", "test", "all"}
        A source that is not divided (digits, a folder without `train/` and `test/`, an `.npz` without
        `x_test`) is divided 80:20, stratified by label, in the same way at each call.
    root : path, optional
        The folder of the data. By default the environment variable LAMAE_DATA, else the platform's cache folder.
        Looked for there: `<name>.npz`, then torchvision's own folders (and for notMNIST the folder
        `notMNIST_small` of PNG files, then its idx files in `notMNIST/raw`).
    download : bool
        Fetch a set that was not found, through torchvision, which holds it against its checksum.
    size : (int, int), optional
        For a folder only: height and width for :func:`lamae_tutorial.data.readers.cover`. By default the images must be
        of one size.
    **synthetic
        For "constant" and "noise" only: see :func:`lamae_tutorial.constant_images` and
        :func:`lamae_tutorial.noise_images`.

    Returns
    -------
    ImageSet

    Notes
    -----
    Rules for your own sets. What is left out is counted in a warning; `lamae score` decodes files by the same rules.

    =============================  ===================================================================================
    classes                        of all parts together: the labels in an `.npz` (whole numbers, truth values as 0 and
                                   1, or texts; (N,) or (N, 1)), or the names of the folders. A part that lacks a class
                                   keeps the numbers of the others.
    not images, not classes        hidden files and folders (`.git`, `__MACOSX`), links to a folder above, other file
                                   types, empty folders, images in nested folders or beside class folders
    broken files, pipes, devices   left out; if nothing of a class is readable, the set is refused
    pixels of an `.npz`            uint8, (N, H, W) or (N, H, W, 1 or 3)
    16 bits, floats                scaled, never clipped: 0..65535 and 0..1 to 0..255; other ranges are refused
    transparency                   laid on black
    EXIF orientation               applied
    animations, several pages      the first picture
    palette, CMYK                  colour
    bilevel                        grey, 0 and 255
    grey and colour in one set     all are read as colour
    different sizes                refused without `size`
    the same image twice           kept
    =============================  ===================================================================================

    Raises
    ------
    FileNotFoundError
        The data are in none of the places, which the message lists, with the command that gets them.
    ValueError
        An unknown name or split, or a damaged, truncated or wrongly shaped file, which the message names.
    ConnectionError
        The download failed.
    """
    check_split(split)
    if not isinstance(name, str | os.PathLike):
        raise ValueError(f"name must be a text or a path; got {name!r}")
    path = Path(name)
    known = name in KNOWN
    if known:
        _say_namesake(path, data_root(root))
    folder = not known and name != "" and is_folder(path)
    if size is not None:
        if not folder:
            raise ValueError(f"size brings the images of a folder to one size; {name} is no folder")
        size = check_size(size)
    if name in SYNTHETIC:
        return SYNTHETIC[str(name)](split=split, **synthetic)
    if synthetic:
        raise ValueError(f"{', '.join(synthetic)}: only {' and '.join(SYNTHETIC)} take further arguments, not {name}")
    if name == "digits":
        return _image_set("digits", (read_digits(split), _DIGITS), known=True)
    if name in DATA_SETS:
        return _load_named(str(name), split, data_root(root), download)
    if folder:
        return _image_set(_base(path), read_class_folders(path, split, size))
    if path.suffix == ".npz":
        return _image_set(path.stem, read_own_npz(path, split))
    raise ValueError(
        f"unknown image set {str(name)!r}: neither one of {', '.join([*DATA_SETS, 'digits', *SYNTHETIC])} "
        "nor the path of an .npz file or of a folder of class folders"
    )


def training_images(
    name: str | os.PathLike[str], root: str | os.PathLike[str] | None = None, size: tuple[int, int] | None = None
) -> ImageSet:
    """The images of a set that a detector of one's own may be trained on, with the classes that they have.

    Of a known set and of one with a test part these are the training images; of any other one all images.
    A warning names the classes of the test part alone, which are left out.

    Parameters and errors are those of :func:`load_images`.
    """
    divided = name in KNOWN or is_divided(Path(name))
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
    """What a folder is called, "." and ".." included."""
    return path.resolve().name if path.name in ("", "..") else path.name


def _say_namesake(path: Path, root: Path) -> None:
    name = str(path)
    own_place = name in DATA_SETS and any(
        place.absolute().is_relative_to(path.absolute()) for place in places(name, root)
    )
    if path.exists() and not own_place:
        warnings.warn(f"{name} is the known set; the file or folder of this name here is ./{name}", stacklevel=3)


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder in which data are looked for: the argument, else LAMAE_DATA, else the platform's cache folder."""
    return Path(root or os.environ.get("LAMAE_DATA") or user_cache_path("lamae_tutorial")).expanduser()


@dataclass(frozen=True)
class DataSet:
    """What is known of a named set before any file is read; the counts are those of the published set.

    Results are kept with some of the images, but not of a set that may not be passed on.
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


KNOWN = {"digits", *DATA_SETS, *SYNTHETIC}


def places(name: str, root: Path) -> list[Path]:
    """Where the files of a named set are looked for, in this order."""
    return [root / f"{name}.npz", *(root / folder for folder, _ in DATA_SETS[name].folders)]


def found(name: str, root: Path) -> Path | None:
    """The first of the places that exists."""
    return next((place for place in places(name, root) if place.exists()), None)


def how_to_get(name: str, root: Path) -> str:
    """The command that gets a named set, or what to do where there is none."""
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
        f"{name} was not found. Looked for:\n"
        + "".join(f"  {place}\n" for place in missing)
        + f"Get it:  {how_to_get(name, root)}\nOr name the folder that has it by LAMAE_DATA, root= or --data."
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
