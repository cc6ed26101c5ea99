"""Named image sets as tensors: where the files are looked for, and clear errors when they are not there or damaged.

Images at rest are uint8 (N, C, H, W) with 0 black and 255 full intensity. Nothing is downloaded unless asked for.
"""

import gzip
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from lzma import LZMAError
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from platformdirs import user_cache_path
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from lamae_tutorial.networks import ImageShape

SPLITS = ("train", "test", "all")

Images = Tensor | NDArray[Any]

_Arrays = tuple[NDArray[np.uint8], NDArray[np.int64] | None]  # images (N, H, W, C), labels (N,)


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
        or without `train/` and `test/` above them), or of a folder of images.
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
        For a folder only: height and width to which its images are brought by :func:`cover`. By default they must be
        of one size.
    **synthetic
        For "constant" and "noise" only: see :func:`constant_images` and :func:`noise_images`.

    Returns
    -------
    ImageSet

    Raises
    ------
    FileNotFoundError
        The data are in none of the places, which the message lists, with the command that gets them.
    ValueError
        An unknown name or split, or a damaged, truncated or wrongly shaped file, which the message names.
    ConnectionError
        The download failed.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    path = Path(name)
    if size is not None and not path.is_dir():
        raise ValueError(f"size brings the images of a folder to one size; {name} is no folder")
    if name in SYNTHETIC:
        return SYNTHETIC[str(name)](split=split, **synthetic)
    if synthetic:
        raise ValueError(f"{', '.join(synthetic)}: only {' and '.join(SYNTHETIC)} take further arguments, not {name}")
    if name == "digits":
        return _image_set("digits", _read_digits(split), _DIGITS)
    if name in DATA_SETS:
        return _load_named(str(name), split, data_root(root), download)
    if path.suffix != ".npz" and not path.is_dir():
        raise ValueError(
            f"unknown image set {str(name)!r}: neither one of {', '.join([*DATA_SETS, 'digits', *SYNTHETIC])} "
            "nor the path of an .npz file or of a folder of class folders"
        )
    if path.suffix == ".npz":
        return _image_set(path.stem, _read_npz(path, split))
    return _image_set(path.name, *_read_class_folders(path, split, size))


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder in which data are looked for: the argument, else LAMAE_DATA, else the platform's cache folder."""
    return Path(root or os.environ.get("LAMAE_DATA") or user_cache_path("lamae_tutorial")).expanduser()


def constant_images(
    n: int = 10_000,
    image_shape: ImageShape = (1, 28, 28),
    random_state: int = 0,
    colour: bool = False,
    split: str = "test",
) -> ImageSet:
    """Images of one value each, drawn uniformly from 0..255 ("Constant" of the LAMAE paper, Section 4.1).

    Parameters
    ----------
    n : int
        Number of images.
    image_shape : (int, int, int)
        Channels (1 or 3), height, width.
    random_state : int
        Seed. Each split has a stream of its own.
    colour : bool
        Draw one value per channel; otherwise all channels of an image are alike, which is what the paper has.
    split : {"train", "test", "all"}

    Returns
    -------
    ImageSet
        Without labels.
    """
    rng = np.random.default_rng([random_state, SPLITS.index(split)])
    channels = image_shape[0]
    values = rng.integers(0, 256, (n, channels if colour else 1, 1, 1), dtype=np.uint8)
    return ImageSet("constant", torch.from_numpy(values).expand(n, *image_shape).contiguous())


def noise_images(
    n: int = 10_000,
    image_shape: ImageShape = (1, 28, 28),
    random_state: int = 0,
    split: str = "test",
) -> ImageSet:
    """Images of independent uniform values from 0..255 ("Noise" of the LAMAE paper, Section 4.1).

    Parameters and result are those of :func:`constant_images`.
    """
    rng = np.random.default_rng([random_state, SPLITS.index(split)])
    return ImageSet("noise", torch.from_numpy(rng.integers(0, 256, (n, *image_shape), dtype=np.uint8)))


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


# Named sets ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataSet:
    """What is known of a named set before any file is read; the counts are those of the published set."""

    shape: ImageShape
    train: int
    test: int
    classes: tuple[str, ...]
    folders: tuple[tuple[str, Callable[[Path, str], _Arrays]], ...]
    torchvision: str | None
    hint: str = ""


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


def npz_count(path: Path, key: str) -> int:
    """Number of images under this key of an `.npz` file (0: none), from its header alone."""
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


def _load_named(name: str, split: str, root: Path, download: bool) -> ImageSet:
    spec = DATA_SETS[name]
    readers = [_read_npz, *(read for _, read in spec.folders)]
    missing = []
    for place, read in zip(places(name, root), readers, strict=True):
        try:
            return _image_set(name, read(place, split), spec.classes)
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


def _image_set(name: str, arrays: _Arrays, classes: tuple[str, ...] = ()) -> ImageSet:
    images, labels = arrays
    if labels is None:
        classes = ()
    elif not classes:
        values, labels = np.unique(labels, return_inverse=True)
        classes = tuple(str(value) for value in values)
    elif labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"{name}: labels must lie in 0..{len(classes) - 1}; got {labels.min()}..{labels.max()}")
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return ImageSet(name, tensor, None if labels is None else torch.from_numpy(labels.astype(np.int64)), classes)


def _divide(arrays: _Arrays, split: str) -> _Arrays:
    """The split of a source that comes undivided: 80:20, always the same."""
    if split == "all":
        return arrays
    images, labels = arrays
    if len(images) < 2:
        raise ValueError(f'one image cannot be divided into train and test; ask for split="all" instead of {split!r}')
    both = stratified_split(None if labels is None else torch.from_numpy(labels), len(images), 0.2, random_state=0)
    which = both[split == "test"].numpy()
    return images[which], None if labels is None else labels[which]


def _join(parts: Iterable[_Arrays]) -> _Arrays:
    images, labels = zip(*parts, strict=True)
    return np.concatenate(images), None if labels[0] is None else np.concatenate(labels)


# Readers: (path, split) -> arrays. FileNotFoundError where files are absent, ValueError where they are damaged ---

# What damaged files make zipfile, NumPy and their like raise.
DAMAGE = (
    zipfile.BadZipFile,
    ValueError,
    EOFError,
    OSError,
    zlib.error,
    LZMAError,
    KeyError,
    NotImplementedError,
    MemoryError,  # a header that announces more than there is
    SyntaxError,  # a header is parsed as Python
    tokenize.TokenError,
    TypeError,
    OverflowError,
)
_UNKNOWN_MEMORY = 2**34  # where the system does not tell


def _read_digits(split: str) -> _Arrays:
    digits = load_digits()
    # Levels 0..16 are spread over 0..255 one to one: 17 levels remain, so that entropy does not change.
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return _divide((images, digits.target.astype(np.int64)), split)


def _read_npz(path: Path, split: str) -> _Arrays:
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
    """Refuse what memory cannot hold before it is unpacked: a small file may announce a huge array."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else _UNKNOWN_MEMORY
    if size > memory // 2:
        raise ValueError(
            f"holds an array of {size / 2**30:.1f} GiB, more than half of the {memory / 2**30:.1f} GiB here"
        )


def _checked(images: NDArray[Any], labels: NDArray[Any] | None) -> _Arrays:
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 with values 0..255; got {images.dtype}")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must have the shape (N, H, W) or (N, H, W, 1 or 3); got {images.shape}")
    if labels is not None:
        if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(images):
            raise ValueError(f"{len(images)} images need as many integer labels; got {labels.dtype} {labels.shape}")
        labels = labels.reshape(-1).astype(np.int64)
    return images, labels


_IDX_FILES = {"train": "train", "test": "t10k"}


def _read_idx_folder(folder: Path, split: str) -> _Arrays:
    parts = [stem for part, stem in _IDX_FILES.items() if split in (part, "all")]
    return _join(
        _checked(_read_idx(folder / f"{stem}-images-idx3-ubyte", 3), _read_idx(folder / f"{stem}-labels-idx1-ubyte", 1))
        for stem in parts
    )


def _read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """One file of the MNIST format, plain or as `.gz`: magic 0 0 8 ndim, big-endian sizes, bytes."""
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
                raise ValueError(f"not an idx file of bytes with {ndim} dimensions; it begins with {begin!r}")
            shape = tuple(int(length) for length in np.frombuffer(header, ">u4", ndim, offset=4))
            _check_memory(prod(shape))
            content = file.read(prod(shape) + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: not a readable .gz file ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if len(content) != prod(shape):
        follow = f"{len(content)} follow" if len(content) < prod(shape) else "more follow"
        raise ValueError(f"{path}: its header announces {prod(shape)} bytes {shape}, {follow}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_cifar10(folder: Path, split: str) -> _Arrays:
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    import torchvision

    def part(train: bool) -> _Arrays:
        try:  # The files are pickles: torchvision opens them only if their checksums are the published ones.
            data = torchvision.datasets.CIFAR10(folder.parent, train=train)
        except RuntimeError as error:
            raise ValueError(f"{folder}: its files are incomplete or not the published ones ({error})") from error
        return _checked(data.data, np.asarray(data.targets))

    return _join(part(train) for train in (True, False) if split in ("all", "train" if train else "test"))


def _read_celeba(folder: Path, split: str) -> _Arrays:
    """Central square of the aligned photographs, brought to 32 x 32; divided by `list_eval_partition.txt`."""
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


def _read_notmnist_small(folder: Path, split: str) -> _Arrays:
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    if split == "train":
        raise ValueError(f"{folder}: notMNIST_small is a test set; it holds no split 'train'")
    return _read_images(folder)[0]


def _read_class_folders(folder: Path, split: str, size: tuple[int, int] | None) -> tuple[_Arrays, tuple[str, ...]]:
    parts = [folder / part for part in ("train", "test")]
    if not all(part.is_dir() for part in parts):
        arrays, classes = _read_images(folder, size)
        return _divide(arrays, split), classes
    read = [_read_images(part, size) for part in parts if split in (part.name, "all")]
    if len({classes for _, classes in read}) > 1:
        raise ValueError(f"{folder}: train/ and test/ have different class folders")
    return _join(arrays for arrays, _ in read), read[0][1]


IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


def _read_images(folder: Path, size: tuple[int, int] | None = None) -> tuple[_Arrays, tuple[str, ...]]:
    """All images of a folder of class folders, or of a folder of images, which then have no labels.

    Broken files are reported by a warning and left out.
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
                    f"{path}: is {image.size[0]} x {image.size[1]} pixels, the images before it "
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
    """An image brought to this height and width: scaled until it covers them, then cut around the middle."""
    height, width = size
    image = image if image.mode == "L" else image.convert("RGB")  # a palette cannot be scaled
    return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)


def open_image(path: Path) -> Image.Image:
    """A decoded image file; a ValueError that names it if it is damaged, foreign or larger than Pillow's limit."""
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


_DIGITS = tuple("0123456789")
_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATA_SETS = {
    "mnist": DataSet((1, 28, 28), 60_000, 10_000, _DIGITS, (("MNIST/raw", _read_idx_folder),), "MNIST"),
    "fashion_mnist": DataSet(
        (1, 28, 28), 60_000, 10_000, _FASHION, (("FashionMNIST/raw", _read_idx_folder),), "FashionMNIST"
    ),
    "cifar10": DataSet((3, 32, 32), 50_000, 10_000, _CIFAR10, (("cifar-10-batches-py", _read_cifar10),), "CIFAR10"),
    "celeba": DataSet((3, 32, 32), 162_770, 19_962, (), (("celeba", _read_celeba),), "CelebA"),
    "notmnist": DataSet(
        (1, 28, 28),
        0,
        18_724,
        tuple("ABCDEFGHIJ"),
        (("notMNIST_small", _read_notmnist_small), ("notMNIST/raw", _read_idx_folder)),
        None,
        "unpack notMNIST_small.tar.gz (yaroslavvb.blogspot.com/2011/09/notmnist-dataset.html) in that folder",
    ),
}
SYNTHETIC: dict[str, Callable[..., ImageSet]] = {"constant": constant_images, "noise": noise_images}
