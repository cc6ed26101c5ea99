"""The named image sets: where their files are searched for, and how to get them.

Nothing is downloaded unless you ask for it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path

from lamae_tutorial.data.images import ImageSet, ImageShape
from lamae_tutorial.data.readers import (
    Arrays,
    read_celeba,
    read_cifar10,
    read_class_folders,
    read_digits,
    read_idx_folder,
    read_notmnist_small,
    read_npz,
)
from lamae_tutorial.data.synthetic import SPLITS, SYNTHETIC


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
        One of "digits" (included in scikit-learn), "mnist", "fashion_mnist", "cifar10", "celeba", "notmnist",
        "constant", "noise"; or the path of an `.npz` file in Keras layout, of a folder of class folders (with or
        without `train/` and `test/` above them), or of a folder of images.
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

    Raises
    ------
    FileNotFoundError
        The data were not found. The message lists the places that were searched and the command that gets the data.
    ValueError
        The name or the split is unknown, or a file is damaged, truncated or has the wrong shape. The message names it.
    ConnectionError
        The download failed.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    path = Path(name)
    if size is not None and not path.is_dir():
        raise ValueError(f"size is only for a folder of images; {name} is not a folder: leave size out")
    if name in SYNTHETIC:
        return SYNTHETIC[str(name)](split=split, **synthetic)
    if synthetic:
        raise ValueError(f"{', '.join(synthetic)}: only {' and '.join(SYNTHETIC)} take further arguments, not {name}")
    if name == "digits":
        return _image_set("digits", read_digits(split), _DIGITS, known=True)
    if name in DATA_SETS:
        return _load_named(str(name), split, data_root(root), download)
    if path.suffix != ".npz" and not path.is_dir():
        raise ValueError(
            f"unknown image set {str(name)!r}: neither one of {', '.join([*DATA_SETS, 'digits', *SYNTHETIC])} "
            "nor the path of an .npz file or of a folder of images"
        )
    if path.suffix == ".npz":
        return _image_set(path.stem, read_npz(path, split))
    return _image_set(path.name, *read_class_folders(path, split, size))


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
            return _image_set(name, read(place, split), spec.classes, known=True)
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


def _image_set(name: str, arrays: Arrays, classes: tuple[str, ...] = (), known: bool = False) -> ImageSet:
    images, labels = arrays
    if labels is None:
        classes = ()
    elif not classes:
        values, labels = np.unique(labels, return_inverse=True)
        classes = tuple(str(value) for value in values)
    elif labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"{name}: labels must lie in 0..{len(classes) - 1}; got {labels.min()}..{labels.max()}")
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    targets = None if labels is None else torch.from_numpy(labels.astype(np.int64))
    return ImageSet(name, tensor, targets, classes, known=known)
