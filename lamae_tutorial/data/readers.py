"""Readers of image files: .npz, idx, CIFAR-10's batches and folders of pictures.

Each reader takes a path and a split, and returns arrays. It raises FileNotFoundError if files are missing and
ValueError if they are damaged. Only CIFAR-10's batches are unpickled, and only if they have the published checksums.
"""

import gzip
import hashlib
import os
import stat
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from lzma import LZMAError
from math import prod
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.datasets import load_digits

from lamae_tutorial.data.images import stratified_split

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64] | None]  # images (N, H, W, C), labels (N,)
Named = tuple[Arrays, tuple[str, ...]]  # labels are indices into the names of the classes

# The errors that zipfile, NumPy and similar libraries raise for damaged files.
DAMAGE = (
    zipfile.BadZipFile,
    ValueError,
    EOFError,
    OSError,
    zlib.error,
    LZMAError,
    LookupError,
    RuntimeError,  # an encrypted or unknown member
    struct.error,
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


def read_mini_mnist(split: str) -> Arrays:
    return read_npz(Path(__file__).with_name("mini_mnist.npz"), split)


def npz_count(path: Path, key: str) -> int:
    """Return the number of images under this key of an `.npz` file (0 if there are none). Only the header is read."""
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _npz_shape(archive, key)[0] if f"{key}.npy" in archive.namelist() else 0
    except DAMAGE as error:
        raise ValueError(f"{path}: not a readable .npz file ({error})") from error


def read_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the shape, the order (Fortran or not) and the type of an array from the start of a stream."""
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("an array holds Python objects, which are not unpickled; save numbers")
    if any(length < 0 for length in shape):
        raise ValueError(f"an array has the shape {shape} in its header")
    return shape, fortran, dtype


def _npz_shape(archive: zipfile.ZipFile, key: str) -> tuple[int, ...]:
    with archive.open(f"{key}.npy") as member:
        return read_header(member)[0]


def check_regular(path: Path) -> None:
    """Refuse everything but a regular file: reading a pipe or a device may never end.

    Raises
    ------
    FileNotFoundError
    ValueError
        A pipe, a device, a socket or a folder.
    """
    try:
        kind = os.stat(path).st_mode  # noqa: PTH116 (each image comes here: faster)
    except FileNotFoundError:
        raise FileNotFoundError(2, "no such file", str(path)) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not stat.S_ISREG(kind):
        raise ValueError(f"{path}: not a regular file")


def read_npz(path: Path, split: str) -> Arrays:
    """Read a known set. Its labels are the numbers in the file."""
    arrays, values, divided = _read_npz(path, split)
    if arrays[1] is not None:
        if values.dtype != np.int64:
            raise ValueError(f"{path}: labels must be integers; got {values.dtype}")
        arrays = arrays[0], values[arrays[1]]
    return arrays if divided else _divide(arrays, split)


def read_own_npz(path: Path, split: str) -> Named:
    """Read your own set. Its classes are the sorted values of the labels of all splits."""
    arrays, values, divided = _read_npz(path, split)
    return arrays if divided else _divide(arrays, split), tuple(map(str, values.tolist()))


def _read_npz(path: Path, split: str) -> tuple[Arrays, NDArray[Any], bool]:
    """Return images with labels, the sorted values of the labels of all splits, and whether the file has a test split.

    Labels are indices into these values.
    """
    check_regular(path)
    try:
        with path.open("rb") as file, NpzFile(file, allow_pickle=False) as stored:
            for member in stored.zip.infolist():
                check_memory(member.file_size)
            names = set(stored.files)
            parts = [part for part in ("train", "test") if f"x_{part}" in names]
            divided = "x_test" in names
            wanted = [part for part in parts if not divided or split in (part, "all")]
            if not wanted:
                raise ValueError(
                    f"holds no split {split!r}: expected x_train and x_test (Keras layout); got {sorted(names)}"
                )
            shapes = {f"x_{part}": _npz_shape(stored.zip, f"x_{part}") for part in parts}
            for shape in shapes.values():
                _check_shape(shape)
            if len({(*shape[1:3], shape[3:] == (3,)) for shape in shapes.values()}) > 1:
                raise ValueError("images of one set must have one size and number of channels; got " + _both(shapes))
            labels = {part: _labels(stored, part, shapes[f"x_{part}"][0]) for part in parts if f"y_{part}" in names}
            if len({values.dtype.kind for values in labels.values()}) > 1:
                kinds = ", ".join(f"y_{part} of {values.dtype}" for part, values in labels.items())
                raise ValueError(f"labels of different kinds cannot be aligned; got {kinds}")
            values = np.unique(np.concatenate(list(labels.values()))) if labels else np.empty(0, np.int64)
            aligned = {part: np.searchsorted(values, of_part) for part, of_part in labels.items()}
            if 0 < len(aligned.keys() & set(wanted)) < len(wanted):
                without = ", ".join(f"x_{part}" for part in wanted if part not in aligned)
                raise ValueError(f"{without} has no labels, but the other split has: load one split")
            images = np.concatenate([_checked(stored[f"x_{part}"]) for part in wanted])
    except DAMAGE as error:
        raise ValueError(f"{path}: {error}") from error
    left_out = sorted(name for name in names if name.startswith("x_") and name not in shapes)
    if left_out:
        warnings.warn(f"{path}: left out {', '.join(left_out)}: only x_train and x_test are read", stacklevel=4)
    found = [aligned[part].astype(np.int64) for part in wanted if part in aligned]
    return (images, np.concatenate(found) if found else None), values, divided


def check_memory(size: int, what: str = "holds an array") -> None:
    """Refuse an array that does not fit into memory before it is unpacked: a small file may announce a huge array."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else _UNKNOWN_MEMORY
    if size > memory // 2:
        raise ValueError(
            f"{what} of {size / 2**30:.1f} GiB, more than half of the {memory / 2**30:.1f} GiB of memory here"
        )


def _both(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(
        f"{name} of {shape[2]} x {shape[1]} pixels, {'colour' if shape[3:] == (3,) else 'grey'}"
        for name, shape in shapes.items()
    )


def _labels(stored: Any, part: str, n: int) -> NDArray[Any]:
    """Return the labels of one split, (N,): int64 or strings."""
    labels = np.asarray(stored[f"y_{part}"])
    if labels.shape not in ((n,), (n, 1)):
        hint = "; save argmax(1) of one-hot labels" if labels.ndim == 2 and len(labels) == n else ""
        raise ValueError(
            f"y_{part}: expected {n} integer labels, one per image; got {labels.dtype} {labels.shape}{hint}"
        )
    labels = labels.reshape(n)
    if labels.dtype.kind not in "iubUS":
        raise ValueError(f"y_{part}: labels must be integers or strings; got {labels.dtype}: save y.astype(int)")
    if labels.dtype.kind in "US":
        return labels.astype(str)
    if labels.dtype == np.uint64 and n and labels.max() > np.iinfo(np.int64).max:
        raise ValueError(f"y_{part}: the label {labels.max()} is too large; the largest is {np.iinfo(np.int64).max}")
    return labels.astype(np.int64)


def _checked(images: NDArray[Any]) -> NDArray[np.uint8]:
    if images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 with values 0..255; got {images.dtype}")
    _check_shape(images.shape)
    return images[..., None] if images.ndim == 3 else images


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) not in (3, 4) or 0 in shape[1:] or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise ValueError(
            f"images must have the shape (N, H, W) or (N, H, W, 1 or 3); got {shape}{channels_hint(shape)}"
        )


def channels_hint(shape: tuple[int, ...]) -> str:
    """Return the line that helps if the channels seem to come first."""
    return (
        ": if the channels come first, save x.transpose(0, 2, 3, 1)" if len(shape) == 4 and shape[1] in (1, 3) else ""
    )


_IDX_FILES = {"train": "train", "test": "t10k"}


def read_idx_folder(folder: Path, split: str) -> Arrays:
    parts = [stem for part, stem in _IDX_FILES.items() if split in (part, "all")]
    read = []
    for stem in parts:
        images = _read_idx(folder / f"{stem}-images-idx3-ubyte", 3)
        labels = _read_idx(folder / f"{stem}-labels-idx1-ubyte", 1)
        if len(labels) != len(images):
            raise ValueError(
                f"{folder}: expected {len(images)} integer labels, one per {stem} image; got {len(labels)}"
            )
        read.append((_checked(images), labels.astype(np.int64)))
    return _join(read)


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
            check_memory(prod(shape))
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
        return _checked(data.data), np.asarray(data.targets)

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
    return _read_images(_Tree(folder), tuple("ABCDEFGHIJ"))


def is_divided(path: Path) -> bool:
    """Return whether your own folder or `.npz` file has test images."""
    if is_folder(path):
        return all((path / part).is_dir() for part in ("train", "test"))
    return path.suffix == ".npz" and npz_count(path, "x_test") > 0


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_class_folders(folder: Path, split: str, size: tuple[int, int] | None) -> Named:
    """Read a folder of class folders or of images, or a folder with both `train/` and `test/` of this kind."""
    parts = [folder / part for part in ("train", "test")]
    divided = is_divided(folder)
    trees = {part.name: _Tree(part) for part in parts} if divided else {"": _Tree(folder)}
    classes = tuple(sorted({name for tree in trees.values() for name in tree.files if name}))
    wanted = [tree for name, tree in trees.items() if not divided or split in (name, "all")]
    if divided:
        folders, files = visible(folder)
        others = [*files, *(path for entry in folders if entry not in parts for path in files_below(entry))]
        beside = Counter(path.relative_to(folder).parts[0] for path in others if is_picture(path))
        if beside:
            _warn(folder, [f"left out {_count(beside.total(), 'image')} beside train/ and test/ ({', '.join(beside)})"])
    read = [_read_images(tree, classes, size) for tree in wanted]
    for tree, (images, _) in zip(wanted, read, strict=True):
        _say_duplicates(tree.folder, images)
    shapes = {tree.folder.name: images.shape for tree, (images, _) in zip(wanted, read, strict=True)}
    if len({shape[1:] for shape in shapes.values()}) > 1:
        raise ValueError(f"{folder}: images of one set must have one size and number of channels; got {_both(shapes)}")
    arrays = _join(read)
    return arrays if divided else _divide(arrays, split), classes


_RESIZE = "bring them to one size (size=, --resize)"


class _Tree:
    """The image files of a folder by class. The class of images without a class folder is "".

    `left_out` describes the other entries. Hidden entries do not count.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left_out: list[str] = []
        others = Counter[str]()
        folders, files = visible(folder)
        within = {"": files}
        nested: list[Path] = []
        for inner in folders:
            deeper, within[inner.name] = visible(inner)
            nested += [path for below in deeper for path in files_below(below) if is_picture(path)]
        for paths in within.values():
            others.update(path.suffix.lower() or "none" for path in paths if not is_picture(path))
        self.files = {name: [path for path in paths if is_picture(path)] for name, paths in within.items()}
        loose = self.files.pop("")
        self.without = [name for name, paths in self.files.items() if not paths]
        self.files = {name: paths for name, paths in self.files.items() if paths}
        if self.files and loose:
            self.left_out.append(f"{_count(len(loose), 'image')} beside the class folders (the first: {loose[0].name})")
        elif loose:
            self.files[""] = loose
        if nested:
            self.left_out.append(f"{_count(len(nested), 'image')} in nested folders (the first: {nested[0]})")
        if others:
            self.left_out.append(f"{_count(others.total(), 'file')} of other types ({', '.join(sorted(others))})")
        if self.without:
            self.left_out.append(f"folders without an image: {', '.join(map(repr, self.without))}")


def visible(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the sorted folders and files of a folder, without hidden ones and links to this folder or one above."""
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            path = folder / entry.name
            link = entry.is_symlink()
            if not (is_folder(path) if link else entry.is_dir()):
                files.append(path)
            elif not (link and _is_above(path, folder)):
                folders.append(path)
    return sorted(folders), sorted(files)


def is_hidden(name: str) -> bool:
    """Return whether a name begins with a dot, or is that of the folder that macOS adds to archives."""
    return name.startswith(".") or name == "__MACOSX"


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _is_above(link: Path, folder: Path) -> bool:
    here, target = folder.resolve(), link.resolve()
    return target == here or target in here.parents


def files_below(folder: Path) -> list[Path]:
    """Return the sorted files below a folder, without hidden ones. Links are followed, but no folder is read twice."""
    seen: set[Path] = set()

    def walk(at: Path) -> Iterator[Path]:
        if at.resolve() not in seen:
            seen.add(at.resolve())
            folders, files = visible(at)
            yield from files
            for below in folders:
                yield from walk(below)

    return sorted(walk(folder))


def _read_images(tree: _Tree, classes: tuple[str, ...], size: tuple[int, int] | None = None) -> Arrays:
    """Decode the images of a tree. Labels are indices into `classes`. A warning counts what is left out."""
    foreign = {name: len(paths) for name, paths in tree.files.items() if classes and name not in classes}
    if foreign:
        found = ", ".join(
            f"{_count(n, 'image')} in {name!r}" if name else f"{n} in none" for name, n in foreign.items()
        )
        raise ValueError(f"{tree.folder}: the class folders are {', '.join(classes)}; got {found}")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    broken: list[str] = []
    total = sum(map(len, tree.files.values()))
    for name, paths in tree.files.items():
        before = len(images)
        for path in paths:
            try:
                image = open_image(path)
            except ValueError as error:
                broken.append(str(error))
                continue
            pixels = np.asarray(image if size is None else cover(image, size))
            if not images:
                check_memory(total * pixels.size, f"{tree.folder}: its images need an array")
            elif pixels.shape[:2] != images[0].shape[:2]:
                here, there = (f"{shape[1]} x {shape[0]}" for shape in (pixels.shape, images[0].shape))
                raise ValueError(f"{path}: is {here} pixels, the images before it are {there}; {_RESIZE}")
            images.append(pixels)
            labels.append(classes.index(name) if classes else 0)
        if name and len(images) == before:
            raise ValueError(
                f"{tree.folder}: class {name!r}: none of its {len(paths)} images is readable: {broken[-1]}"
            )
    said = [f"left out {what}" for what in tree.left_out]
    if broken:
        some = "; ".join(broken[:_NAMED]) + ("; ..." if len(broken) > _NAMED else "")
        said = [f"left out {_count(len(broken), 'broken file')}: {some}", *said]
    if not images:
        raise ValueError("; ".join([f"{tree.folder}: no readable image in it or in its class folders", *said]))
    colour = sum(pixels.ndim == 3 for pixels in images)
    if 0 < colour < len(images):
        said.append(f"{len(images) - colour} grey and {colour} colour images: all are read as colour")
    if said:
        _warn(tree.folder, said)
    stacked = np.stack([_colour(pixels) for pixels in images] if colour else images)
    return _checked(stacked), np.asarray(labels) if classes else None


_NAMED = 10  # broken files in a warning


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + "s" * (n != 1)


def _warn(folder: Path, said: list[str]) -> None:
    warnings.warn(f"{folder}: {'; '.join(said)}", stacklevel=5)


def _colour(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, -1)


def _say_duplicates(folder: Path, images: NDArray[np.uint8]) -> None:
    repeated = len(images) - len({hashlib.sha1(image.tobytes()).digest() for image in images})
    if repeated:
        _warn(folder, [f"{_count(repeated, 'image')} with the same pixels as another one, kept"])


def check_size(size: Any) -> tuple[int, int]:
    """Return the height and width to which images are brought as integers."""
    try:
        height, width = (index(side) for side in size)
    except (TypeError, ValueError):
        raise ValueError(f"size must be two integers, (height, width); got {size!r}") from None
    if min(height, width) < 1 or height * width > _MOST_PIXELS:
        raise ValueError(f"size must be (height, width) with at most {_MOST_PIXELS} pixels; got {(height, width)}")
    return height, width


_MOST_PIXELS = 2**26  # 8192 x 8192


def cover(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the image at this height and width: scaled until it covers them, then cut around the middle."""
    height, width = size
    return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)


def open_image(path: Path) -> Image.Image:
    """Return a decoded image, grey (mode "L") or colour ("RGB"), by the rules of :func:`lamae_tutorial.load_images`.

    Raises
    ------
    ValueError
        The file is damaged, of another type, not a regular file or above Pillow's size limit, or its levels have no
        known scale.
    """
    try:
        check_regular(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about faults that it can read over
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                white = _white(image)
                _turn(image)
                return _grey_or_colour(image, white)
    except Exception as error:  # decoders may raise anything for damaged bytes
        raise ValueError(f"{path}: not a readable image ({error})") from error


def _turn(image: Image.Image) -> None:
    if image.info or hasattr(image, "tag_v2"):  # else there are no EXIF data
        with suppress(Exception):  # damaged EXIF data do not tell the orientation
            ImageOps.exif_transpose(image, in_place=True)


def _white(image: Image.Image) -> float:
    """Return the level of white of an image as it was read."""
    if image.mode == "F":
        return 1
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # some versions of Pillow read 16 bits as I
        raise ValueError("32-bit integers have no known level of white: save 8 or 16 bits")
    if image.mode.startswith("I"):
        return 2.0 ** getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))[0] - 1
    return 255


def _grey_or_colour(image: Image.Image, white: float) -> Image.Image:
    mode = image.mode
    if white != 255:
        levels = np.asarray(image, np.float64)
        if not (levels.min() >= 0 and levels.max() <= white):  # not-a-number fails this too
            raise ValueError(f"its levels must lie in 0..{white:g}; got {levels.min():g} to {levels.max():g}")
        return Image.fromarray(np.rint(levels * (255 / white)).astype(np.uint8))
    if "transparency" in image.info or mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        seen = image.convert("RGBA")
        black = Image.new("RGBA", seen.size, (0, 0, 0, 255))
        flat = Image.alpha_composite(black, seen)
        return flat.getchannel("R") if mode in ("1", "L", "LA", "La") else flat.convert("RGB")
    return image if mode in ("L", "RGB") else image.convert("L" if mode == "1" else "RGB")


_BITS_PER_SAMPLE = 258  # TIFF


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
