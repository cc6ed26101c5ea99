"""What `lamae score` does: score your own images and write a table, in constant memory.

Worker processes decode the files, and arrays are read piece by piece. If a file cannot be scored, its row says why, and
the other files are still scored. The table is first written to a hidden file in the same folder and renamed when it is
complete, so an interrupted run can be resumed.
"""

import csv
import glob
import hashlib
import heapq
import json
import os
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lamae_tutorial.complexity import shannon_entropy
from lamae_tutorial.data.images import ImageShape
from lamae_tutorial.data.readers import (
    DAMAGE,
    IMAGE_SUFFIXES,
    channels_hint,
    check_regular,
    cover,
    files_below,
    is_hidden,
    is_picture,
    open_image,
    read_header,
)
from lamae_tutorial.data.writing import check_file, only_process, write_file
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.detectors.reconstruction import CORRECTED

COLUMNS = (
    "path",
    "score",
    "corrected_score",
    "complexity",
    "p_value",
    "verdict",
    "predicted_class",
    "problem",
)
_SCORES_KEPT = 100_000
_BLOCK = 10_000  # rows of a block of a .parquet file
TABLE_SUFFIXES = (".csv", ".parquet")


@dataclass
class Summary:
    """The result of :func:`score_images`.

    Attributes
    ----------
    images, outliers, problems : int
        Numbers of all rows, of rows with the verdict "ood", and of rows without a score.
    suspects : list of (float, str, uint8 tensor (C, H, W))
        Score, path and pixels of the images of this run with the highest scores, highest first.
    scores : list of float
        At most 100,000 scores, taken evenly from the whole table.
    resumed : int
        Number of the first rows that an interrupted run had written.
    """

    images: int = 0
    outliers: int = 0
    problems: int = 0
    suspects: list[tuple[float, str, Tensor]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    resumed: int = 0


def score_images(
    detector: Detector,
    source: str,
    out: Path,
    *,
    alpha: float = 0.05,
    batch_size: int = 256,
    workers: int = 0,
    resize: bool = False,
    resume: bool = False,
    suspects: int = 24,
    ignore: Collection[Path] = (),
) -> Summary:
    """Score a folder, a glob pattern, an image, an `.npy` or an `.npz` file, and write one row per image.

    Parameters
    ----------
    detector : Detector
        Fitted and calibrated.
    source : str
        A folder (with its subfolders), a pattern such as ``"*.png"``, or a file. Arrays are (N, H, W) or
        (N, H, W, 1 or 3), uint8 or float in [0, 1]. Files are decoded by the rules of
        :func:`lamae_tutorial.load_images`; for a detector of grey images, colour becomes grey. Hidden files and folders
        have no rows, and a folder that is linked several times is scored once.
    out : Path
        A new file, `.csv` or `.parquet` (which needs pyarrow). Its columns are `COLUMNS`. "verdict" is "ood" if the
        p-value is at most alpha, else "id". "problem" says why an image has no score.
    alpha : float
        Share of in-distribution images that may be called OoD, in (0, 1).
    batch_size : int
    workers : int
        Number of processes that decode image files; 0 decodes in this process.
    resize : bool
        Resize images of another size with :func:`lamae_tutorial.data.readers.cover`. Otherwise they count as problems.
    resume : bool
        Continue an interrupted run with the same detector and settings. If files of the source were changed, added or
        removed since then, the rows before the first of them are kept, and the others are scored again. If they are
        array files, all rows are.
    suspects : int
        Number of images to keep in :attr:`Summary.suspects`.
    ignore : collection of Path
        Files that are not scored, for example a report in the folder of the source.

    Returns
    -------
    Summary

    Raises
    ------
    FileNotFoundError
        There is no image, or the folder of `out` does not exist.
    FileExistsError
        `out` exists.
    ValueError
        `out` has another ending, another process writes it, a parameter is out of range, the calibration has too few
        images for `alpha`, or an array has another shape or type.
    """
    value: Any
    for name, value, lowest in (("batch_size", batch_size, 1), ("workers", workers, 0), ("suspects", suspects, 0)):
        if not isinstance(value, Integral) or value < lowest:
            raise ValueError(f"{name} must be a whole number >= {lowest}; got {value!r}")
    if out.suffix not in TABLE_SUFFIXES:
        raise ValueError(f"{out}: the name of the table must end in {' or '.join(TABLE_SUFFIXES)}")
    check_file(out)
    if out.suffix == ".parquet":
        _import_pyarrow()
    detector.check_alpha(alpha)
    with only_process(out):
        if out.exists():
            raise FileExistsError(f"{out} exists; name another file, or delete it")
        return _score(detector, source, out, alpha, batch_size, workers, resize, resume, suspects, ignore)


def _score(
    detector: Detector,
    source: str,
    out: Path,
    alpha: float,
    batch_size: int,
    workers: int,
    resize: bool,
    resume: bool,
    suspects: int,
    ignore: Collection[Path],
) -> Summary:
    """Score and write, with parameters that were checked."""
    images: _Files | _Arrays
    ignored = {path.name: path.resolve() for path in ignore}
    files = [path for path in _listed(source) if path.name not in ignored or path.resolve() != ignored[path.name]]
    if not files:
        raise FileNotFoundError(f"{source}: there is no other file than {', '.join(map(str, ignore))}")
    if all(path.suffix.lower() in (".npy", ".npz") for path in files):
        images = _Arrays(files, detector.image_shape_)
    else:
        images = _Files(files, detector.image_shape_, resize)
    key = json.dumps([_digest(detector), alpha, resize, COLUMNS])
    part = out.with_name(f".{out.name}.{hashlib.sha256(key.encode()).hexdigest()[:12]}.part")
    listing, states = part.with_suffix(".files"), _states(files)
    done, size = 0, 0
    if resume and part.exists() and listing.exists():
        same = _unchanged(listing, states)
        most = same if len(images) == len(files) else len(images) if same == len(files) else 0
        done, size = _complete_rows(part, most)
    result = Summary(resumed=done)
    with part.open("r+b" if size else "wb") as raw:
        raw.truncate(size)
    write_file(listing, states.tobytes())
    with part.open("a", newline="", encoding="utf-8", errors="surrogateescape") as file:
        if not size:
            _write_rows(file, [COLUMNS])
        progress = tqdm(total=len(images), initial=done, unit="image", disable=None)
        for names, problems, batch in images.batches(done, batch_size, workers):
            rows = _rows(detector, names, problems, batch, alpha)
            _write_rows(file, rows)
            file.flush()
            _note_suspects(result.suspects, names, problems, batch, rows, suspects)
            progress.update(len(rows))
        progress.close()
        os.fsync(file.fileno())
    step = -(-len(images) // _SCORES_KEPT)
    for number, row in enumerate(read_rows(part)):
        if row["score"] and number % step == 0:
            result.scores.append(float(row["score"]))
        result.images += 1
        result.outliers += row["verdict"] == "ood"
        result.problems += bool(row["problem"])
    result.suspects.sort(key=lambda suspect: -suspect[0])
    if out.suffix == ".parquet":
        table = part.with_suffix(".parquet")
        try:
            _write_parquet(part, table)
            table.replace(out)
        finally:
            table.unlink(missing_ok=True)
        part.unlink()
    else:
        part.replace(out)
    listing.unlink()
    return result


def read_rows(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a `.csv` table."""
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield from csv.DictReader(file)


def _write_rows(file: IO[str], rows: Iterable[Sequence[str | float]]) -> None:
    usual = csv.writer(file, lineterminator="\n")
    # The csv module does not quote "\r" by itself, but takes it for the end of a line.
    quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        (quoting if "\r" in f"{row[0]}{row[-2]}{row[-1]}" else usual).writerow(row)


def _rows(
    detector: Detector, names: list[str], problems: list[str], images: Tensor, alpha: float
) -> list[list[str | float]]:
    """Return one row per name. `images` are the images without a problem, in the order of the names."""
    values: Iterator[tuple[Any, ...]] = iter(())
    if len(images):
        nothing = [""] * len(images)
        scores = detector.scores(images)
        labels = detector.classify(images) if detector.classifies else None
        p_values = detector.p_values(images, scores)
        values = zip(
            scores[detector.calibration_kind_].tolist(),
            scores[CORRECTED].tolist() if CORRECTED in scores else nothing,
            shannon_entropy(images).tolist(),
            p_values.tolist(),
            ["ood" if p <= alpha else "id" for p in p_values],
            nothing if labels is None else [detector.class_names_[label] for label in labels],
            strict=True,
        )
    return [
        [name, *([""] * 6 if problem else next(values)), problem] for name, problem in zip(names, problems, strict=True)
    ]


def _note_suspects(
    kept: list[tuple[float, str, Tensor]],
    names: list[str],
    problems: list[str],
    images: Tensor,
    rows: list[list[str | float]],
    most: int,
) -> None:
    """Keep the highest scores in a heap, with the smallest entry first; the name decides between equal scores."""
    scored = [(row[1], name) for row, name, problem in zip(rows, names, problems, strict=True) if not problem]
    for (score, name), image in zip(scored, images, strict=True):
        if len(kept) < most or float(score) > kept[0][0]:
            pixels = image if image.dtype == torch.uint8 else (image * 255).round().to(torch.uint8)
            heapq.heappush(kept, (float(score), name, pixels.clone()))
            if len(kept) > most:
                heapq.heappop(kept)


# Sources: batches of (names, problems, images without a problem) -----------------------------------------------------

_Batch = tuple[list[str], list[str], Tensor]


def _listed(source: str) -> list[Path]:
    """Return the files of a path or a pattern, sorted."""
    path = Path(source)
    if path.is_dir():
        files = files_below(path)
    elif path.exists() or path.is_symlink():
        files = [path]
    else:
        files = _matching(path)
    if not files:
        raise FileNotFoundError(f"{source} is not an existing file, and no file matches it as a pattern")
    return files


def _matching(pattern: Path) -> list[Path]:
    """Return the files that match a pattern. "**" follows no links; hidden parts only match if they are written out."""
    parts = [*pattern.parts, "*"] if pattern.name == "**" else list(pattern.parts)
    fixed = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    if fixed == len(parts):
        return []
    base = Path(*parts[:fixed])
    return sorted(
        path
        for path in base.glob(str(Path(*parts[fixed:])))
        if not path.is_dir() and not any(is_hidden(part) and part not in parts for part in path.relative_to(base).parts)
    )


class _Files(Dataset[tuple[NDArray[np.uint8] | None, str]]):
    """Image files, decoded by the workers of a DataLoader."""

    def __init__(self, files: list[Path], image_shape: ImageShape, resize: bool) -> None:
        self.files, self.image_shape, self.resize = files, image_shape, resize

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8] | None, str]:
        """Return the pixels (C, H, W) and an empty string, or None and the problem."""
        path = self.files[number]
        channels, height, width = self.image_shape
        if not is_picture(path):
            return None, f"not an image file: the name must end in one of {' '.join(sorted(IMAGE_SUFFIXES))}"
        try:
            image = open_image(path).convert("L" if channels == 1 else "RGB")
        except ValueError as error:
            return None, str(error)
        if image.size != (width, height):
            if not self.resize:
                return None, f"is {image.size[0]} x {image.size[1]} pixels; the detector expects {width} x {height}"
            image = cover(image, (height, width))
        return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1), ""

    def batches(self, skip: int, batch_size: int, workers: int) -> Iterator[_Batch]:
        rest = torch.utils.data.Subset(self, range(skip, len(self)))
        loader = DataLoader(rest, batch_size, num_workers=workers, collate_fn=list, multiprocessing_context=None)
        for start, items in zip(range(skip, len(self), batch_size), loader, strict=True):
            pixels = [image for image, _ in items if image is not None]
            images = torch.from_numpy(np.stack(pixels)) if pixels else torch.empty(0)
            names = [str(path) for path in self.files[start : start + len(items)]]
            yield names, [problem for _, problem in items], images


class _Arrays:
    """`.npy` and `.npz` files, read piece by piece."""

    def __init__(self, files: list[Path], image_shape: ImageShape) -> None:
        self.image_shape = image_shape
        self.parts = [part for path in files for part in _array_parts(path)]
        channels, height, width = image_shape
        for part in self.parts:
            if part.shape[1:] not in ((height, width, channels), (height, width)[: 2 if channels == 1 else 0]):
                raise ValueError(
                    f"{part.name}: images must have the shape (N, {height}, {width}, {channels}), as in training; "
                    f"got {part.shape}{channels_hint(part.shape)}"
                )
            if part.dtype != np.uint8 and part.dtype.kind != "f":
                raise ValueError(f"{part.name}: images must be uint8, or float in [0, 1]; got {part.dtype}")
        if not len(self):
            raise ValueError(f"{', '.join(map(str, files))}: no image in it")

    def __len__(self) -> int:
        return sum(part.shape[0] for part in self.parts)

    def batches(self, skip: int, batch_size: int, workers: int) -> Iterator[_Batch]:
        channels, height, width = self.image_shape
        for part in self.parts:
            start = min(skip, part.shape[0])
            skip -= start
            for array in part.read(start, batch_size):
                if array.dtype != np.uint8:
                    array = array.astype(np.float32)
                images = torch.from_numpy(array.reshape(-1, height, width, channels).transpose(0, 3, 1, 2).copy())
                problems = [""] * len(images)
                if images.dtype != torch.uint8:
                    bad = ~((images >= 0) & (images <= 1)).flatten(1).all(1)
                    problems = ["float pixels must lie in [0, 1]" if is_bad else "" for is_bad in bad.tolist()]
                    images = images[~bad]
                yield [f"{part.name}[{start + row}]" for row in range(len(problems))], problems, images
                start += len(problems)


@dataclass(frozen=True)
class _ArrayPart:
    """One array of a file. `member` is its name inside an `.npz` file, else empty."""

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def name(self) -> str:
        return f"{self.path}:{self.member.removesuffix('.npy')}" if self.member else str(self.path)

    def read(self, start: int, batch_size: int) -> Iterator[NDArray[Any]]:
        """Yield batches of the images, beginning with image `start`."""
        if not self.member:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
            for first in range(start, len(array), batch_size):
                yield array[first : first + batch_size]
            return
        each = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        first = start
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                read_header(stream)
                stream.seek(start * each, 1)
                for first in range(start, self.shape[0], batch_size):
                    wanted = min(batch_size, self.shape[0] - first) * each
                    raw = stream.read(wanted)
                    if len(raw) < wanted:
                        raise EOFError("the file ends too early")
                    yield np.frombuffer(raw, self.dtype).reshape(-1, *self.shape[1:])
        except DAMAGE as error:
            raise ValueError(f"{self.name}: damaged after image {first} ({error})") from error


def _array_parts(path: Path) -> list[_ArrayPart]:
    """Return the image arrays of a file. In an `.npz` file with names x... (Keras layout) these are the images."""
    check_regular(path)
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return [_ArrayPart(path, "", array.shape, array.dtype)]
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
            parts = []
            for member in [name for name in members if name.startswith("x")] or members:
                with archive.open(member) as stream:
                    shape, fortran, dtype = read_header(stream)
                if fortran:
                    raise ValueError("the array has Fortran order; save it with numpy.ascontiguousarray")
                parts.append(_ArrayPart(path, member, shape, dtype))
    except DAMAGE as error:
        raise ValueError(f"{path}: the arrays cannot be read ({error})") from error
    if not parts:
        raise ValueError(f"{path}: the file holds no array")
    return parts


# The table -----------------------------------------------------------------------------------------------------------


def _states(files: list[Path]) -> NDArray[np.uint32]:
    """Return a checksum of each file's name, size and times: it changes if the file is rewritten."""
    states = []
    for path in map(str, files):
        try:
            stat = os.stat(path)  # noqa: PTH116 (a Path takes longer)
            state = f"{path}\0{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        except OSError:
            state = path
        states.append(zlib.crc32(os.fsencode(state)))
    return np.array(states, np.uint32)


def _unchanged(listing: Path, states: NDArray[np.uint32]) -> int:
    """Return how many of the first files are as they were when this listing was written."""
    before = np.fromfile(listing, np.uint32)
    count = min(len(before), len(states))
    return int(np.append(np.flatnonzero(before[:count] != states[:count]), count)[0])


def _complete_rows(part: Path, most: int) -> tuple[int, int]:
    """Return the number of complete image rows, at most `most`, and their size in bytes with the header.

    (0, 0) without a header.
    """
    rows, size, pending = -1, 0, b""
    with part.open("rb") as file:
        for line in file:
            if rows == most:
                break
            pending += line
            if line.endswith(b"\n") and pending.count(b'"') % 2 == 0:  # a quoted name may contain a newline
                rows, size, pending = rows + 1, size + len(pending), b""
    return (rows, size) if rows >= 0 else (0, 0)


def _digest(detector: Detector) -> str:
    """Return a hash that identifies a fitted detector."""
    told = [detector.get_params(), detector.calibration_kind_, detector.class_names_]
    digest = hashlib.sha256(json.dumps(told, default=str).encode())
    for value in detector.network_.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    digest.update(detector.calibration_.scores.tobytes())
    if detector.calibration_.groups is not None:
        digest.update(detector.calibration_.groups.tobytes())
    return digest.hexdigest()


def _import_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ValueError("a .parquet table needs pyarrow; run: pip install pyarrow, or write a .csv table") from error
    return pyarrow


def _write_parquet(part: Path, table: Path) -> None:
    """Convert a `.csv` table to `.parquet`, block by block. Its texts are UTF-8, so other bytes are shown as text."""
    pyarrow = _import_pyarrow()
    numbers = {"score", "corrected_score", "complexity", "p_value"}
    schema = pyarrow.schema([(name, pyarrow.float64() if name in numbers else pyarrow.string()) for name in COLUMNS])
    rows = read_rows(part)
    with table.open("wb") as file, pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while block := list(islice(rows, _BLOCK)):
            columns = {
                name: [
                    (float(row[name]) if row[name] else None) if name in numbers else _utf8(row[name]) for row in block
                ]
                for name in COLUMNS
            }
            writer.write_table(pyarrow.table(columns, schema))


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
