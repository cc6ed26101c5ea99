"""Carries the detector of the drawing page, and what runs it in a browser.

They are written to `draw/` beside the pages: onnxruntime-web from npm's
registry, the detector as ONNX, and the page's own script. Browsers do not
let a page read other files from a disk, so both are text inside scripts.
"""

import base64
import gzip
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from sphinx.errors import ExtensionError

from lamae_tutorial.data.catalogue import load_images
from lamae_tutorial.detectors import Detector
from lamae_tutorial.detectors.base import ALPHA
from lamae_tutorial.own_images.export import export_onnx
from lamae_tutorial.teaching.notebook import checkpoint

BOOK = Path(__file__).parent.parent
sys.path.insert(0, str(BOOK.parent / "tools"))
import npm  # noqa: E402

from models import HELD_OUT  # noqa: E402

SCORE = "error+"


def detector_and_digits() -> tuple[Detector, torch.Tensor]:
    """Return the detector and ten digits of MNIST, uint8 (10, 1, 28, 28).

    The detector is calibrated with the test images of mini_mnist, which its
    training has not seen, without the held-out digit and without the ten.
    """
    detector = checkpoint(f"lamae-mnist-without-{HELD_OUT}")
    names = [str(digit) for digit in range(10) if digit != HELD_OUT]
    detector.class_names_ = tuple(names)
    test = load_images("mini_mnist", split="test")
    first = [test.labels.tolist().index(digit) for digit in range(10)]
    kept = test.labels != HELD_OUT
    kept[first] = False
    return detector.calibrate(test.images[kept], SCORE), test.images[first]


def exported() -> dict[str, Any]:
    """Return what the page's script knows of the detector."""
    detector, digits = detector_and_digits()
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(detector, Path(folder, "detector.onnx"), ALPHA)
        model = path.read_bytes()
    return {
        "model": as_text(model),
        "classes": detector.class_names_,
        "score": SCORE,
        "alpha": ALPHA,
        "calibrated": len(detector.calibration_.scores),
        "digits": [as_text(digit.numpy().tobytes()) for digit in digits],
    }


def fetch(app: object) -> Path:
    """Get onnxruntime-web, before any chapter runs. Return its files."""
    try:
        return npm.package("onnxruntime-web") / "dist"
    except (OSError, ValueError) as error:
        raise ExtensionError(
            "the page where readers draw needs onnxruntime-web from npm's "
            f"registry, once: {error}. Where there is a network, run "
            "`python tools/npm.py onnxruntime-web`; it keeps the package in "
            f"{npm.FOLDER}, which can be copied"
        ) from error


def runtime(folder: Path) -> str:
    """Return onnxruntime-web as one script, in its build for a CPU only."""
    wasm = (folder / "ort-wasm-simd-threaded.wasm").read_bytes()
    parts = {
        "wasm": as_text(gzip.compress(wasm, mtime=0)),
        "module": (folder / "ort-wasm-simd-threaded.mjs").read_text("utf-8"),
    }
    script = (folder / "ort.wasm.min.js").read_text("utf-8")
    return f"{script}\nconst RUNTIME = {json.dumps(parts)};\n"


def as_text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def write(app: Any, exception: Exception | None) -> None:
    if exception is not None:
        return
    folder = Path(app.outdir, "draw")
    folder.mkdir(exist_ok=True)
    (folder / "runtime.js").write_text(runtime(fetch(app)), "utf-8")
    detector = f"const DETECTOR = {json.dumps(exported())};\n"
    (folder / "detector.js").write_text(detector, "utf-8")
    shutil.copy(BOOK / "draw" / "draw.js", folder)


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", fetch)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
