"""Damage good files at random and read them. A reader must accept a file or refuse it with a documented error.

Run: python tools/fuzz_readers.py [--files N] [--seed S]

The good files are an .npz, plain and gzipped idx files, a folder of pictures, an .npy and a saved detector. The script
changes, cuts off, repeats or zeroes some of their bytes, and prints how many files were read and refused. If a reader
raises another error than ValueError or FileNotFoundError, the script prints it and exits with code 1.
"""

import argparse
import gzip
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lamae_tutorial import AutoEncoder, Detector, load_images
from lamae_tutorial.own_images.scoring import read_rows, score_images

Read = Callable[[Path], object]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        counts = fuzz(Path(work), options.files, options.seed)
    for (name, what), count in sorted(counts.items()):
        print(f"{name:14} {what:8} {count}")
    return int(any(what == "CRASHED" for _, what in counts))


def fuzz(work: Path, files: int, seed: int) -> Counter[tuple[str, str]]:
    """Damage and read this many files; return the numbers of outcomes by kind of source."""
    warnings.simplefilter("ignore")  # readers warn about files that they leave out
    generator = random.Random(seed)
    sources = good_sources(work / "good")
    counts: Counter[tuple[str, str]] = Counter()
    for number in range(files):
        name, (source, read) = list(sources.items())[number % len(sources)]
        copy = work / "damaged" / source.name
        shutil.rmtree(work / "damaged", ignore_errors=True)
        shutil.copytree(source, copy) if source.is_dir() else (copy.parent.mkdir(), shutil.copy(source, copy))
        victim = generator.choice(sorted(path for path in [copy, *copy.rglob("*")] if path.is_file()))
        victim.write_bytes(damaged(victim.read_bytes(), generator))
        try:
            read(copy)
            counts[name, "read"] += 1
        except (ValueError, FileNotFoundError):
            counts[name, "refused"] += 1
        except Exception:
            counts[name, "CRASHED"] += 1
            print(f"{name}, {victim.name}, file {number} of seed {seed}:", file=sys.stderr)
            traceback.print_exc()
    return counts


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Return the bytes with one to four changes."""
    raw = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        # Half of the changes are in the first 200 bytes, where the headers are.
        reach = len(raw) if generator.random() < 0.5 else min(200, len(raw))
        place = generator.randrange(reach + 1)
        kind = generator.randrange(4)
        if kind == 0 and place < len(raw):
            raw[place] = generator.randrange(256)
        elif kind == 1:
            del raw[place:]
        elif kind == 2:
            raw[place:place] = raw[max(0, place - 20) : place]
        else:
            raw[place : place + 8] = bytes(len(raw[place : place + 8]))
    return bytes(raw)


def good_sources(folder: Path) -> dict[str, tuple[Path, Read]]:
    """Write small good files of each kind; return them with the functions that read them."""
    folder.mkdir()
    digits = load_images("digits", "test")
    images, labels = digits.images[:40, 0].numpy(), digits.labels[:40].numpy().astype(np.uint8)
    np.savez_compressed(folder / "keras.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    np.save(folder / "array.npy", images)
    for name, pack in (("plain", lambda raw: raw), ("packed", gzip.compress)):
        raw_folder = folder / name / "MNIST" / "raw"
        raw_folder.mkdir(parents=True)
        for stem in ("train", "t10k"):
            suffix = ".gz" if name == "packed" else ""
            pixels = bytes([0, 0, 8, 3]) + np.array(images.shape, ">u4").tobytes() + images.tobytes()
            classes = bytes([0, 0, 8, 1]) + np.array([len(labels)], ">u4").tobytes() + labels.tobytes()
            (raw_folder / f"{stem}-images-idx3-ubyte{suffix}").write_bytes(pack(pixels))
            (raw_folder / f"{stem}-labels-idx1-ubyte{suffix}").write_bytes(pack(classes))
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "pictures" / str(label % 2)
        place.mkdir(parents=True, exist_ok=True)
        suffix = ("png", "jpg", "bmp", "gif", "tif", "webp")[number % 6]
        Image.fromarray(image).save(place / f"{number}.{suffix}")
    detector = AutoEncoder(epochs=1, random_state=0, device="cpu", verbose=False).fit(digits.images)
    detector.save(folder / "model")

    def score(source: Path) -> None:
        out = source.parent / "out.csv"
        score_images(detector, str(source), out)
        rows = sum(1 for _ in read_rows(out))
        assert rows == sum(path.is_file() for path in source.rglob("*")) or source.is_file()

    return {
        "npz": (folder / "keras.npz", load_images),
        "idx": (folder / "plain", lambda path: load_images("mnist", "all", path)),
        "idx.gz": (folder / "packed", lambda path: load_images("mnist", "all", path)),
        "pictures": (folder / "pictures", lambda path: load_images(path, "all")),
        "model": (folder / "model", lambda path: Detector.load(path, "cpu")),
        "score npz": (folder / "keras.npz", score),
        "score npy": (folder / "array.npy", score),
        "score pictures": (folder / "pictures", score),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
