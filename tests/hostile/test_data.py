"""Messy folders, files and labels: a right result, or an error that says what came. One line a case."""

# ruff: noqa: E501, RUF021

import os
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image

from lamae_tutorial import (
    AutoEncoder,
    Detector,
    ImageSet,
    constant_images,
    cross_dataset,
    leave_one_class_out,
    load_images,
    noise_images,
)
from lamae_tutorial.cli import main
from lamae_tutorial.own_images.scoring import read_rows, score_images

SIDE = 6


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A case that waits for ever fails."""

    def stop(*_: object) -> None:
        pytest.fail("the case hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def png(path: Path, value: Any = 0, mode: str = "L", size: tuple[int, int] = (SIDE, SIDE), **save: Any) -> Path:
    """Write a picture of one value, or one that Pillow has made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (value if isinstance(value, Image.Image) else Image.new(mode, size, value)).save(path, **save)
    return path


def tree(folder: Path, *names: str, start: int = 0, count: int = 5, mode: str = "L") -> Path:
    """Class folders; the k-th picture of all has the grey value `start + k`."""
    for number, name in enumerate(names):
        for i in range(count):
            value = start + number * count + i
            png(folder / name / f"{value}.png", value if mode == "L" else (value, 0, 9), mode)
    return folder


def npz(path: Path, **parts: Any) -> Path:
    """Labels by the name of a part. The pictures of label number k have the grey value 10 * k (of train and test)."""
    content: dict[str, Any] = {}
    for part, labels in parts.items():
        labels = np.asarray(labels)
        values = np.unique(np.concatenate([np.asarray(other).ravel() for other in parts.values()]))
        pixels = 10 * np.searchsorted(values, labels.ravel()[: len(labels)])
        content[f"x_{part}"] = np.broadcast_to(pixels[:, None, None], (len(labels), SIDE, SIDE)).astype(np.uint8)
        content[f"y_{part}"] = labels
    np.savez(path, **content)
    return path


def greys(images: ImageSet) -> dict[str, list[int]]:
    """The grey values of the pictures, by class."""
    assert images.labels is not None
    by_class: dict[str, set[int]] = {name: set() for name in images.classes}
    for image, label in zip(images.images, images.labels.tolist(), strict=True):
        by_class[images.classes[label]].add(int(image[0, 0, 0]))
    return {name: sorted(values) for name, values in by_class.items()}


def pixel(path: Path, place: tuple[int, int] = (0, 0), split: str = "all") -> list[int]:
    """The channels of one pixel of the first picture of a folder."""
    return load_images(path, split).images[0, :, place[0], place[1]].tolist()


def held_out(path: Path, wanted: Any, **options: Any) -> dict[str, list[int]]:
    """The grey values of the ID classes of all parts, and of the OoD set."""
    scenario = leave_one_class_out(path, wanted, **options)
    result: dict[str, list[int]] = {}
    for part in (scenario.train, scenario.validation, scenario.test):
        for name, values in greys(part).items():
            result[name] = sorted({*result.get(name, []), *values})
    return {**result, **{name: sorted(part.images.unique().tolist()) for name, part in scenario.ood.items()}}


@dataclass
class Warns:
    """A result that comes with a warning."""

    message: str
    result: Any


Case = tuple[str, Callable[[Path], Any], Any]


def check(case: Case, folder: Path) -> None:
    _, act, expected = case
    if isinstance(expected, tuple) and isinstance(expected[0], type):
        with pytest.raises(expected[0], match=expected[1]):
            act(folder)
    elif isinstance(expected, Warns):
        with pytest.warns(UserWarning, match=expected.message):
            assert act(folder) == expected.result
    else:
        assert act(folder) == expected


def table(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case[0] for case in cases])


L3 = np.repeat([0, 1, 2], 20)  # three classes of twenty
NO_ZERO = np.repeat([1, 2], 20)

LABELS: list[Case] = [
    ("test part lacks class 0", lambda f: greys(load_images(npz(f / "a.npz", train=L3, test=NO_ZERO), "test")), {"0": [], "1": [10], "2": [20]}),
    ("hold out 1, test part lacks 0", lambda f: held_out(npz(f / "a.npz", train=L3, test=NO_ZERO), 1), {"0": [0], "2": [20], "a-1": [10]}),
    ("train part lacks 0, which is held out", lambda f: held_out(npz(f / "a.npz", train=NO_ZERO, test=L3), 0), {"1": [10], "2": [20], "a-0": [0]}),
    ("train part lacks a class that is ID", lambda f: held_out(npz(f / "a.npz", train=NO_ZERO, test=L3), 1), (ValueError, r"0 \(20 test images\)")),
    ("ID set of a cross: train lacks a class", lambda f: cross_dataset(npz(f / "a.npz", train=NO_ZERO, test=L3), ["noise"]), (ValueError, r"0 \(20 test images\)")),
    ("held-out class is not in the test part", lambda f: held_out(npz(f / "a.npz", train=L3, test=NO_ZERO), 0, protocol="test-only"), (ValueError, r"20 training.*0 test")),
    ("labels 1..3, hold out 3", lambda f: held_out(npz(f / "a.npz", train=L3 + 1), 3), {"1": [0], "2": [10], "a-3": [20]}),
    ("labels 1..3, hold out 0", lambda f: held_out(npz(f / "a.npz", train=L3 + 1), 0), (ValueError, r"no class 0; it has 1 .*2 .*3")),
    ("labels 10, 20, 30, hold out 20", lambda f: held_out(npz(f / "a.npz", train=10 * L3 + 10), 20), {"10": [0], "30": [20], "a-20": [10]}),
    ("labels 10, 20, 30, hold out 1", lambda f: held_out(npz(f / "a.npz", train=10 * L3 + 10), 1), (ValueError, "no class 1; it has 10")),
    ("labels 10, 20, 30, hold out the text 1", lambda f: held_out(npz(f / "a.npz", train=10 * L3 + 10), "1"), (ValueError, "no class '1'; it has 10")),
    ("NumPy's number", lambda f: held_out(npz(f / "a.npz", train=L3 + 1), np.int64(3))["a-3"], [20]),
    ("a truth value is no class", lambda f: held_out(npz(f / "a.npz", train=L3), True), (ValueError, "held_out_class.*True")),
    ("a float is no class", lambda f: held_out(npz(f / "a.npz", train=L3), 1.5), (ValueError, r"held_out_class.*1\.5")),
    ("None is no class", lambda f: held_out(npz(f / "a.npz", train=L3), None), (ValueError, "held_out_class.*None")),
    ("negative labels", lambda f: held_out(npz(f / "a.npz", train=L3 - 1), -1), {"0": [10], "1": [20], "a--1": [0]}),
    ("huge labels", lambda f: held_out(npz(f / "a.npz", train=L3 * 2**60, test=NO_ZERO * 2**60), 2**60)[f"a-{2**60}"], [10]),
    ("labels above int64", lambda f: load_images(npz(f / "a.npz", train=L3.astype(np.uint64) + np.uint64(2**63))), (ValueError, r"a\.npz.*too large")),
    ("float labels", lambda f: load_images(npz(f / "a.npz", train=L3 / 2)), (ValueError, r"a\.npz.*y_train.*float64")),
    ("text labels", lambda f: held_out(npz(f / "a.npz", train=np.array(["cat", "dog", "owl"])[L3]), "dog"), {"cat": [0], "owl": [20], "a-dog": [10]}),
    ("text labels in the test part alone", lambda f: load_images(npz(f / "a.npz", train=L3, test=L3.astype(str))), (ValueError, r"y_train.*int64.*y_test.*<U")),
    ("truth values", lambda f: held_out(npz(f / "a.npz", train=L3 > 0, test=np.arange(9) > 3), 1), {"0": [0], "a-1": [10]}),
    ("no ID test image is left", lambda f: held_out(npz(f / "a.npz", train=L3, test=[1, 1]), 1), (ValueError, "needs ID images.*40 and 0 ID")),
    ("one-hot labels", lambda f: load_images(npz(f / "a.npz", train=np.eye(3, dtype=int)[L3])), (ValueError, r"\(60, 3\).*argmax")),
    ("labels (N, 1)", lambda f: greys(load_images(npz(f / "a.npz", train=L3[:, None]), "all")), {"0": [0], "1": [10], "2": [20]}),
    ("more labels than images", lambda f: np.savez(f / "a.npz", x_train=np.zeros((3, 4, 4), np.uint8), y_train=np.zeros(4, int)) or load_images(f / "a.npz"), (ValueError, r"expected 3 .*\(4,\)")),
    ("labels of the training part alone", lambda f: np.savez(f / "a.npz", x_train=np.zeros((3, 4, 4), np.uint8), y_train=np.zeros(3, int), x_test=np.zeros((3, 4, 4), np.uint8)) or load_images(f / "a.npz", "all"), (ValueError, "x_test has no labels")),
    ("sizes of train and test differ", lambda f: np.savez(f / "a.npz", x_train=np.zeros((3, 4, 4), np.uint8), x_test=np.zeros((3, 5, 4), np.uint8)) or load_images(f / "a.npz"), (ValueError, r"4 x 4.*4 x 5")),
    ("train grey, test colour", lambda f: np.savez(f / "a.npz", x_train=np.zeros((3, 4, 4), np.uint8), x_test=np.zeros((3, 4, 4, 3), np.uint8)) or load_images(f / "a.npz"), (ValueError, r"grey.*colour")),
    ("a third part is said", lambda f: len(load_images(npz(f / "a.npz", train=L3, test=L3, val=L3[:7]), "all")), Warns("x_val", 120)),
    ("class folders: test lacks A", lambda f: (tree(f / "o/train", "A", "B", "C"), tree(f / "o/test", "B", "C", start=50)) and greys(load_images(f / "o", "test")), {"A": [], "B": [50, 51, 52, 53, 54], "C": [55, 56, 57, 58, 59]}),
    ("class folders: hold out B, test lacks A", lambda f: (tree(f / "o/train", "A", "B", "C"), tree(f / "o/test", "B", "C", start=50)) and held_out(f / "o", "B", protocol="test-only")["o-B"], [50, 51, 52, 53, 54]),
    ("class folders: a class of test that train lacks", lambda f: (tree(f / "o/train", "A", "B"), tree(f / "o/test", "A", "B", "Z", start=50)) and leave_one_class_out(f / "o", "A"), (ValueError, r"Z \(5 test images\)")),
    ("class folders: that class is held out", lambda f: (tree(f / "o/train", "A", "C"), tree(f / "o/test", "A", "B", "C", start=50)) and held_out(f / "o", "B")["o-B"], [55, 56, 57, 58, 59]),
    ("an empty class of test keeps its number", lambda f: (tree(f / "o/train", "A", "B"), tree(f / "o/test", "B", start=50), (f / "o/test/A").mkdir()) and greys(load_images(f / "o", "test"))["B"], Warns("without an image: 'A'", [50, 51, 52, 53, 54])),
    ("folders 1, 2, 3: hold out 1", lambda f: list(leave_one_class_out(tree(f / "o", "1", "2", "3"), 1).ood), ["o-1"]),
    ("folders 01, 02, 10: hold out 1", lambda f: list(leave_one_class_out(tree(f / "o", "01", "02", "10"), 1).ood), ["o-01"]),
    ("folders 1 and 01: 1 is ambiguous", lambda f: leave_one_class_out(tree(f / "o", "1", "01", "2"), 1), (ValueError, "ambiguous")),
    ("folders 1 and cat: 1 is ambiguous", lambda f: leave_one_class_out(tree(f / "o", "1", "cat"), 1), (ValueError, "ambiguous")),
    ("folders 1 and cat: the text 1 is the name", lambda f: list(leave_one_class_out(tree(f / "o", "1", "cat"), "1").ood), ["o-1"]),
    ("folders cat and dog: 1 is dog", lambda f: list(leave_one_class_out(tree(f / "o", "cat", "dog"), 1).ood), ["o-dog"]),
    ("one name of a set for a list of names", lambda f: cross_dataset("digits", "noise"), (ValueError, r"ood_names.*\['noise'\]")),
]  # fmt: skip


@table(LABELS)
def test_labels_and_splits(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def in_folder(folder: Path, act: Callable[[], Any]) -> Any:
    before = Path.cwd()
    os.chdir(folder)
    try:
        return act()
    finally:
        os.chdir(before)


def summary(images: ImageSet) -> tuple[str, int, bool]:
    return images.name, len(images), images.known


NAMES: list[Case] = [
    ("./digits is the folder", lambda f: in_folder(f, lambda: tree(f / "digits", "A", "B") and summary(load_images("./digits", "all"))), ("digits", 10, False)),
    ("digits/ is the folder", lambda f: in_folder(f, lambda: tree(f / "digits", "A", "B") and summary(load_images("digits/", "all"))), ("digits", 10, False)),
    ("a Path is the folder", lambda f: in_folder(f, lambda: tree(f / "digits", "A", "B") and summary(load_images(Path("digits"), "all"))), ("digits", 10, False)),
    ("digits is the known set, and that is said", lambda f: in_folder(f, lambda: tree(f / "digits", "A", "B") and summary(load_images("digits", "all"))), Warns(r"\./digits", ("digits", 1797, True))),
    ("noise is the known set, and that is said", lambda f: in_folder(f, lambda: tree(f / "noise", "A", "B") and summary(load_images("noise", n=3))), Warns(r"\./noise", ("noise", 3, True))),
    ("a folder called mnist as OoD", lambda f: [(part.name, part.known) for part in cross_dataset("digits", [tree(f / "mnist", "A", "B")]).ood.values()], [("mnist", False)]),
    ("a folder called own.npz", lambda f: summary(load_images(tree(f / "own.npz", "A", "B"), "all")), ("own.npz", 10, False)),
    ("the folder one is in has its name", lambda f: in_folder(tree(f / "here", "A", "B"), lambda: load_images(".", "all").name), "here"),
    ("an empty name", lambda f: load_images(""), (ValueError, "unknown image set ''")),
    ("a name with a null byte", lambda f: load_images("a\0b"), (ValueError, "unknown image set")),
    ("a name that is too long", lambda f: load_images("x" * 5000), (ValueError, "unknown image set")),
    ("no name", lambda f: load_images(None), (ValueError, "name must be.*None")),
    ("a picture is no set", lambda f: load_images(png(f / "a.png")), (ValueError, "unknown image set")),
    ("an .npz that is not there", lambda f: load_images(f / "gone.npz"), (FileNotFoundError, r"gone\.npz")),
    ("fit of mnist.npz has no settings of mnist", lambda f: in_folder(f, lambda: npz(f / "mnist.npz", train=L3) and main(["fit", "--data", "mnist.npz", "--detector", "pixelcnn", "--epochs", "1", "--out", "m", "--device", "cpu"])) or Detector.load(f / "m", "cpu").levels, 256),
]  # fmt: skip


@table(NAMES)
def test_names(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def sixteen(*values: int) -> Image.Image:
    pixels = np.resize(np.array(values, np.uint16), (SIDE, SIDE))
    return Image.fromarray(pixels)


def floats(*values: float) -> Image.Image:
    return Image.fromarray(np.resize(np.array(values, np.float32), (SIDE, SIDE)))


def half_clear(mode: str) -> Image.Image:
    """Left half opaque 200, right half clear 200: what is clear must not be seen."""
    image = Image.new("RGBA", (SIDE, SIDE), (200, 200, 200, 255))
    image.paste((200, 200, 200, 0), (SIDE // 2, 0, SIDE, SIDE))
    return image.convert(mode)


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    return exif


def marked() -> Image.Image:
    """Black but for the lower left corner, which EXIF orientation 6 brings to the upper left."""
    image = Image.new("L", (SIDE, SIDE))
    image.putpixel((0, SIDE - 1), 255)
    return image


def palette_with_a_clear_colour() -> Image.Image:
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, 90, 80, 70, 9, 9, 9])
    image.putpixel((1, 0), 0)
    return image


def bytes_in(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def link(path: Path, target: str | Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def own(folder: Path) -> Path:
    return tree(folder / "o", "A", "B")


def two_frames() -> Any:
    return {"save_all": True, "append_images": [Image.new("L", (SIDE, SIDE), 99)]}


AB = {"A": [0, 1, 2, 3, 4], "B": [5, 6, 7, 8, 9]}

FILES: list[Case] = [
    ("16-bit PNG is scaled", lambda f: load_images(png(f / "o/a.png", sixteen(0, 257, 30000, 65535)).parent, "all").images[0, 0, 0, :4].tolist(), [0, 1, 117, 255]),
    ("16-bit TIFF is scaled", lambda f: load_images(png(f / "o/a.tif", sixteen(0, 257, 30000, 65535)).parent, "all").images[0, 0, 0, :4].tolist(), [0, 1, 117, 255]),
    ("float TIFF in 0..1 is scaled", lambda f: load_images(png(f / "o/a.tif", floats(0, 0.5, 1)).parent, "all").images[0, 0, 0, :3].tolist(), [0, 128, 255]),
    ("float TIFF beyond 1 is refused", lambda f: load_images(png(f / "o/a.tif", floats(0, 0.5, 400)).parent, "all"), (ValueError, r"a\.tif.*400")),
    ("float TIFF with NaN is refused", lambda f: load_images(png(f / "o/a.tif", floats(0, np.nan)).parent, "all"), (ValueError, r"a\.tif.*nan")),
    ("32-bit whole numbers are refused", lambda f: load_images(png(f / "o/a.tif", Image.fromarray(np.full((6, 6), 70000, np.int32))).parent, "all"), (ValueError, r"a\.tif.*32-bit")),
    ("EXIF orientation is applied", lambda f: pixel(png(f / "o/a.png", marked(), exif=turned()).parent), [255]),
    ("RGBA lies on black", lambda f: (pixel(png(f / "o/a.png", half_clear("RGBA")).parent), pixel(f / "o", (0, SIDE - 1))), ([200] * 3, [0] * 3)),
    ("LA lies on black and stays grey", lambda f: (pixel(png(f / "o/a.png", half_clear("LA")).parent), pixel(f / "o", (0, SIDE - 1))), ([200], [0])),
    ("half-clear is mixed", lambda f: pixel(png(f / "o/a.png", (200, 100, 50, 128), "RGBA").parent), [100, 50, 25]),
    ("palette with a clear colour", lambda f: (pixel(png(f / "o/a.png", palette_with_a_clear_colour(), transparency=1).parent), pixel(f / "o", (0, 1))), ([0] * 3, [0] * 3)),
    ("palette", lambda f: pixel(png(f / "o/a.png", palette_with_a_clear_colour()).parent), [90, 80, 70]),
    ("grey PNG with a clear level", lambda f: pixel(png(f / "o/a.png", 7, transparency=7).parent), [0]),
    ("CMYK", lambda f: pixel(png(f / "o/a.tif", (0, 255, 0, 0), "CMYK").parent), [255, 0, 255]),
    ("bilevel is 0 and 255", lambda f: pixel(png(f / "o/a.png", 1, "1").parent), [255]),
    ("bilevel stays grey when resized", lambda f: load_images(png(f / "o/a.png", 1, "1").parent, "all", size=(3, 3)).image_shape, (1, 3, 3)),
    ("animated GIF: the first frame", lambda f: pixel(png(f / "o/a.gif", 7, **two_frames()).parent), [7] * 3),
    ("animated WebP: the first frame", lambda f: pixel(png(f / "o/a.webp", (7, 7, 7), "RGB", lossless=True, **two_frames()).parent), [7] * 3),
    ("grey and colour in one set are said", lambda f: load_images((png(own(f) / "A/z.png", (1, 2, 3), "RGB"), f / "o")[1], "all").image_shape, Warns("10 grey and 1 colour", (3, 6, 6))),
    ("two sizes are said with both", lambda f: load_images((png(own(f) / "B/z.png", size=(4, 7)), f / "o")[1], "all"), (ValueError, "4 x 7.*6 x 6")),
    ("train and test of two sizes", lambda f: (tree(f / "o/train", "A", "B"), png(f / "o/test/A/a.png", size=(4, 7))) and load_images(f / "o", "all"), (ValueError, "6 x 6.*4 x 7")),
    ("a truncated file is left out", lambda f: (own(f), bytes_in(f / "o/A/z.png", (f / "o/A/0.png").read_bytes()[:45])) and greys(load_images(f / "o", "all")), Warns(r"left out 1 broken file.*z\.png", AB)),
    ("a file of zero bytes is left out", lambda f: bytes_in(own(f) / "A/z.png") and greys(load_images(f / "o", "all")), Warns(r"left out 1 broken file.*z\.png", AB)),
    ("a named pipe is never opened", lambda f: pipe(own(f) / "A/z.png") and greys(load_images(f / "o", "all")), Warns(r"z\.png.*not a regular file", AB)),
    ("a named pipe as .npz", lambda f: load_images(pipe(f / "a.npz")), (ValueError, "not a regular file")),
    ("a device behind a link", lambda f: link(own(f) / "A/z.png", "/dev/zero") and greys(load_images(f / "o", "all")), Warns(r"z\.png.*not a regular file", AB)),
    ("a device as .npz", lambda f: load_images(link(f / "a.npz", "/dev/zero")), (ValueError, "not a regular file")),
    ("a link to itself", lambda f: link(own(f) / "A/z.png", "z.png") and greys(load_images(f / "o", "all")), Warns(r"left out 1 broken file.*z\.png", AB)),
    ("a dangling link", lambda f: link(own(f) / "A/z.png", "gone.png") and greys(load_images(f / "o", "all")), Warns(r"left out 1 broken file.*z\.png", AB)),
    ("a link to the folder above is no class", lambda f: link(own(f) / "C", "..") and greys(load_images(f / "o", "all")), AB),
    ("a link to the folder itself is no class", lambda f: link(own(f) / "C", ".") and greys(load_images(f / "o", "all")), AB),
    ("a linked class folder is a class", lambda f: link(own(f) / "C", tree(f / "else", "X", start=50) / "X") and greys(load_images(f / "o", "all"))["C"], [50, 51, 52, 53, 54]),
    ("hidden folders are no classes", lambda f: [tree(own(f), name, start=90) for name in (".ipynb_checkpoints", "__MACOSX", ".git")] and greys(load_images(f / "o", "all")), AB),
    ("hidden files are no images", lambda f: bytes_in(own(f) / "A/._0.png", b"Mac") and greys(load_images(f / "o", "all")), AB),
    ("other types are counted", lambda f: (bytes_in(own(f) / "A/Thumbs.db"), bytes_in(f / "o/notes.txt")) and greys(load_images(f / "o", "all")), Warns(r"2 files of other types \(\.db, \.txt\)", AB)),
    ("empty classes are named", lambda f: (own(f) / "Aa").mkdir() or greys(load_images(f / "o", "all")), Warns("without an image.*'Aa'", AB)),
    ("a class of broken files is named", lambda f: bytes_in(own(f) / "Aa/z.png") and load_images(f / "o", "all"), (ValueError, "'Aa'.*none of its 1 ")),
    ("loose images are counted", lambda f: png(own(f) / "z.png", 77) and greys(load_images(f / "o", "all")), Warns("1 image beside the class folders", AB)),
    ("nested folders are counted", lambda f: tree(own(f) / "A", "inner", start=60) and greys(load_images(f / "o", "all")), Warns("5 images in nested folders", AB)),
    ("an empty folder beside images", lambda f: (f / "o/cache").mkdir(parents=True) or png(f / "o/a.png", 9) and pixel(f / "o"), Warns("without an image.*'cache'", [9])),
    ("folders beside train and test are counted", lambda f: (tree(f / "o/train", "A", "B"), tree(f / "o/test", "A", "B", start=50), tree(f / "o/val", "A", start=80)) and len(load_images(f / "o", "all")), Warns("5 images.*val", 20)),
    ("train without test", lambda f: tree(f / "o/train", "A", "B") and load_images(f / "o", "all"), (ValueError, "no readable image.*nested")),
    ("duplicates are counted", lambda f: png(own(f) / "B/z.png", 3) and len(load_images(f / "o", "all")), Warns("1 image with the same pixels", 11)),
    ("a folder without anything", lambda f: (f / "o").mkdir() or load_images(f / "o"), (ValueError, "no readable image")),
    ("an absurd size", lambda f: load_images(own(f), size=(10**6, 10**6)), (ValueError, "size.*1000000")),
    ("size 0", lambda f: load_images(own(f), size=(0, 5)), (ValueError, r"size.*\(0, 5\)")),
    ("size of one number", lambda f: load_images(own(f), size=5), (ValueError, "size.*5")),
    ("size of floats", lambda f: load_images(own(f), size=(5.5, 5)), (ValueError, r"size.*5\.5")),
    ("size of NumPy's numbers", lambda f: load_images(own(f), "all", size=np.array([3, 4])).image_shape, (1, 3, 4)),
    ("an .npz that is an .npy", lambda f: np.save(f / "a.npy", np.zeros(3)) or (f / "a.npy").rename(f / "a.npz") and load_images(f / "a.npz"), (ValueError, r"a\.npz")),
    ("channels first", lambda f: np.savez(f / "a.npz", x_train=np.zeros((4, 3, 8, 8), np.uint8)) or load_images(f / "a.npz"), (ValueError, r"transpose\(0, 2, 3, 1\)")),
    ("16-bit arrays", lambda f: np.savez(f / "a.npz", x_train=np.zeros((4, 8, 8), np.uint16)) or load_images(f / "a.npz"), (ValueError, "uint16")),
    ("an array of no image", lambda f: np.savez(f / "a.npz", x_train=np.zeros((0, 8, 8), np.uint8)) or load_images(f / "a.npz", "all"), (ValueError, "no image")),
    ("no synthetic image", lambda f: noise_images(0), (ValueError, "n must be.*0")),
    ("a trillion synthetic images", lambda f: noise_images(10**12), (ValueError, "GiB")),
    ("synthetic images of two channels", lambda f: constant_images(3, (2, 5, 5)), (ValueError, r"image_shape.*\(2, 5, 5\)")),
    ("synthetic images of another split", lambda f: noise_images(3, split="val"), (ValueError, "split must be one of.*'val'")),
]  # fmt: skip


@table(FILES)
def test_files(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_images_that_memory_cannot_hold_are_refused_at_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sysconf", lambda name: 4096)  # a machine with 16 MiB
    with pytest.raises(ValueError, match=r"its images need an array of 0\.\d GiB, more than half"):
        load_images(own(tmp_path), size=(1000, 1000))


@pytest.fixture(scope="module")
def detector() -> Detector:
    images = noise_images(60, (1, SIDE, SIDE), split="train").images
    return AutoEncoder(epochs=1, random_state=0, device="cpu", verbose=False).fit(images).calibrate(images)


def scored(detector: Detector, source: Path | str) -> dict[str, str]:
    """The problem of each row ("": none), by path."""
    with tempfile.TemporaryDirectory() as folder:
        score_images(detector, str(source), Path(folder) / "out.csv")
        rows = list(read_rows(Path(folder) / "out.csv"))
    assert all(bool(row["score"]) != bool(row["problem"]) for row in rows)
    return {row["path"]: row["problem"] for row in rows}


def complexities(detector: Detector, source: Path) -> list[float]:
    out = source.parent / "out.csv"
    score_images(detector, str(source), out)
    return [round(float(row["complexity"]), 3) for row in read_rows(out)]


ARRAY = np.zeros((4, SIDE, SIDE), np.float64)

SCORE: list[tuple[str, Callable[[Path, Detector], Any], Any]] = [
    ("hidden folders are never scored", lambda f, d: [tree(own(f), name) for name in (".git", "__MACOSX", ".ipynb_checkpoints")] and len(scored(d, f / "o")), 10),
    ("hidden folders are not matched", lambda f, d: tree(own(f), "__MACOSX") and len(scored(d, f"{f}/o/**/*.png")), 10),
    ("a source below a hidden folder", lambda f, d: len(scored(d, tree(f / ".cache/o", "A"))), 5),
    ("a link loop ends", lambda f, d: link(own(f) / "A/loop", "..") and len(scored(d, f / "o")), 10),
    ("a link above ends", lambda f, d: link(own(f) / "up", "../..") and len(scored(d, f / "o")), 10),
    ("two link loops in a pattern end", lambda f, d: (link(own(f) / "A/l", ".."), link(f / "o/B/l", "..")) and len(scored(d, f"{f}/o/**/*.png")), 10),
    ("a linked folder is scored", lambda f, d: link(own(f) / "C", tree(f / "else", "X") / "X") and len(scored(d, f / "o")), 15),
    ("a dangling link has a row", lambda f, d: "not a readable image" in scored(d, link(own(f) / "z.png", "gone.png").parent)[f"{f}/o/z.png"], True),
    ("a link to itself has a row", lambda f, d: "not a readable image" in scored(d, link(own(f) / "z.png", "z.png").parent)[f"{f}/o/z.png"], True),
    ("a pipe has a row", lambda f, d: "not a regular file" in scored(d, pipe(own(f) / "z.png").parent)[f"{f}/o/z.png"], True),
    ("a pipe as .npy", lambda f, d: scored(d, pipe(f / "z.npy")), (ValueError, "not a regular file")),
    ("a pipe as .npz", lambda f, d: scored(d, pipe(f / "z.npz")), (ValueError, "not a regular file")),
    ("16 bits are not clipped", lambda f, d: complexities(d, png(f / "a.png", sixteen(*range(0, 65535, 2000)))), [5.003]),
    ("EXIF, alpha and palette as in fit", lambda f, d: [complexities(d, png(f / n / "a.png", i, **s)) for n, i, s in (("1", half_clear("RGBA"), {}), ("2", palette_with_a_clear_colour(), {"transparency": 1}))], [[1.0], [-0.0]]),
    ("an array of no image", lambda f, d: np.save(f / "a.npy", ARRAY[:0]) or scored(d, f / "a.npy"), (ValueError, "no image")),
    ("big-endian floats", lambda f, d: np.savez(f / "a.npz", x=ARRAY.astype(">f8")) or list(scored(d, f / "a.npz").values()), [""] * 4),
    ("long doubles", lambda f, d: np.save(f / "a.npy", ARRAY.astype(np.longdouble)) or list(scored(d, f / "a.npy").values()), [""] * 4),
    ("the ending in capitals", lambda f, d: np.save(f / "a.npy", ARRAY) or (f / "a.npy").rename(f / "a.NPY") and list(scored(d, f / "a.NPY").values()), [""] * 4),
    ("channels first", lambda f, d: np.save(f / "a.npy", ARRAY[:, None]) or scored(d, f / "a.npy"), (ValueError, r"transpose\(0, 2, 3, 1\)")),
]  # fmt: skip


@pytest.mark.parametrize("case", SCORE, ids=[case[0] for case in SCORE])
def test_scored_files(case: Any, detector: Detector, tmp_path: Path) -> None:
    check((case[0], lambda folder: case[1](folder, detector), case[2]), tmp_path)


def fit_source(folder: Path, source: Path, *more: str) -> Any:
    out = folder / "model"
    command = [
        "fit",
        "--data",
        str(source),
        "--detector",
        "lamae",
        "--epochs",
        "1",
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    return main([*command, *more]) or tuple(Detector.load(out, "cpu").class_names_)


FIT: list[Case] = [
    ("fit names the classes of train alone", lambda f: (tree(f / "o/train", "A", "C", count=20), tree(f / "o/test", "A", "B", "C", start=50)) and fit_source(f, f / "o"), Warns("no training image has the class 'B'", ("A", "C"))),
    ("fit of an absurd size", lambda f: fit_source(f, own(f), "--resize", "1000000"), 2),
    ("fit of one-hot labels", lambda f: fit_source(f, npz(f / "a.npz", train=np.eye(3, dtype=int)[L3])), 2),
]  # fmt: skip


@table(FIT)
def test_fit(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


def test_fit_never_sees_test_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path / "o/train", "A", "B", count=20)
    tree(tmp_path / "o/test", "A", "B", start=100)
    assert fit_source(tmp_path, tmp_path / "o") == ("A", "B")
    assert "40 images" in capsys.readouterr().out


PARTS = st.fixed_dictionaries(
    {},
    optional={
        name: arrays_of.arrays(
            st.sampled_from([np.uint8, np.int64, np.float32, np.bool_, np.dtype("U2")]),
            arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
        )
        for name in ("x_train", "y_train", "x_test", "y_test", "x", "other")
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=PARTS, split=st.sampled_from(["train", "test", "all"]))
def test_any_arrays_come_out_as_they_are_or_are_refused(tmp_path: Path, parts: dict[str, Any], split: str) -> None:
    np.savez(tmp_path / "a.npz", **parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            images = load_images(tmp_path / "a.npz", split)
        except (ValueError, FileNotFoundError):
            return
    given_images = np.concatenate(
        [
            parts[name].reshape(-1, *images.images.permute(0, 2, 3, 1).shape[1:])
            for name in ("x_train", "x_test")
            if name in parts
        ]
    )
    came = images.images.permute(0, 2, 3, 1).numpy()
    assert {image.tobytes() for image in came} <= {image.tobytes() for image in given_images}
    if split == "all":
        assert came.tobytes() == given_images.tobytes()
        if images.labels is not None:
            labels = np.concatenate([parts[name].ravel() for name in ("y_train", "y_test") if name in parts])
            assert [images.classes[label] for label in images.labels] == [
                str(label if labels.dtype != bool else int(label)) for label in labels
            ]


def picture(kind: int, value: int) -> bytes:
    content = BytesIO()
    if kind == 0:
        Image.new("L", (3, 3), value).save(content, "png")
    elif kind == 1:
        Image.new("RGBA", (3, 3), (value, value, value, value)).save(content, "png")
    elif kind == 2:
        Image.new("L", (4, 3), value).save(content, "png")
    return content.getvalue()[: None if kind < 3 else 9]


NAMED = st.sampled_from(["train/A", "train/B", "test/A", "test", "A", "B", "A/inner", ".git", "__MACOSX", ""])
TREES = st.dictionaries(
    st.tuples(NAMED, st.sampled_from(["1.png", "2.PNG", "3.txt", ".4.png"])),
    st.tuples(st.sampled_from([0, 0, 0, 0, 1, 2, 3]), st.integers(0, 255)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(content=TREES, split=st.sampled_from(["train", "test", "all"]))
def test_any_small_tree_comes_out_as_it_is_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: dict[Any, Any], split: str
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    for (place, name), (kind, value) in content.items():
        bytes_in(folder / place / name, picture(kind, value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            images = load_images(folder, split)
        except (ValueError, FileNotFoundError):
            return
    visible = {
        (place, name): (kind, value)
        for (place, name), (kind, value) in content.items()
        if place not in (".git", "__MACOSX") and name in ("1.png", "2.PNG") and kind < 3
    }
    expected = {round(value * value / 255) if kind == 1 else value for kind, value in visible.values()}
    assert len(images) <= len(visible)
    assert all(min(abs(value - other) for other in expected) <= 1 for value in images.images.unique().tolist())
    assert not {".git", "__MACOSX", "inner"} & set(images.classes)
    if images.labels is not None:
        for image, label in zip(images.images, images.labels, strict=True):
            homes = [
                value if kind != 1 else round(value * value / 255)
                for (place, _), (kind, value) in visible.items()
                if place.split("/")[-1] == images.classes[label]
            ]
            assert min(abs(int(image[0, 0, 0]) - value) for value in homes) <= 1
