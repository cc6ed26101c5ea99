"""Draw the images of `mini_mnist` from MNIST, and write them as small as deflate can.

Run: python tools/mini_mnist.py [OUT]

MNIST is searched for where LAMAE_DATA says. The file does not depend on the machine: Python's own random numbers draw
the images, the dates in the archive are fixed, and Zopfli packs it. zlib would give a file that is larger by 5% and
differs between builds of zlib.
"""

import argparse
import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import zopfli.zlib
from numpy.typing import NDArray

from lamae_tutorial import load_images

SEED = 0
PER_CLASS = {"train": 400, "test": 100}
OUT = Path(__file__).parent.parent / "lamae_tutorial/data/mini_mnist.npz"


def draw() -> dict[str, NDArray[np.uint8]]:
    """Return images (N, 28, 28) and labels (N,) of both parts by Keras' names, in MNIST's order."""
    generator = random.Random(SEED)
    arrays = {}
    for part, count in PER_CLASS.items():
        mnist = load_images("mnist", part)
        labels = mnist.labels.numpy()
        shuffled = sorted(range(len(mnist)), key=lambda _: generator.random())
        drawn = sorted(index for label in range(10) for index in [i for i in shuffled if labels[i] == label][:count])
        arrays[f"x_{part}"] = mnist.images[drawn, 0].numpy()
        arrays[f"y_{part}"] = labels[drawn].astype(np.uint8)
    return arrays


def pack(arrays: dict[str, NDArray[np.uint8]]) -> bytes:
    """Return an .npz file: a zip archive, which Python's zipfile cannot fill with Zopfli's output."""
    files = directory = b""
    for key, array in arrays.items():
        name, stream = f"{key}.npy".encode(), BytesIO()
        np.lib.format.write_array(stream, array, version=(1, 0))
        content = stream.getvalue()
        packed = zopfli.zlib.compress(content, numiterations=5)[2:-4]  # without zlib's header and checksum
        date = (0, 1 << 5 | 1)  # midnight, 1 January 1980
        sizes = (zlib.crc32(content), len(packed), len(content), len(name), 0)
        entry = struct.pack("<5H3L2H", 20, 0, 8, *date, *sizes)  # version 2.0, no flags, deflate
        directory += b"PK\1\2" + struct.pack("<H", 20) + entry + struct.pack("<3H2L", 0, 0, 0, 0, len(files)) + name
        files += b"PK\3\4" + entry + name + packed
    count = len(arrays)
    return files + directory + b"PK\5\6" + struct.pack("<4H2LH", 0, 0, count, count, len(directory), len(files), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=OUT, metavar="OUT", help="(default: %(default)s)")
    out = parser.parse_args().out
    out.write_bytes(pack(draw()))
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
