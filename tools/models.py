"""Train the small checkpoints of the book, `book/models/NAME`, on MNIST without the "1".

Run: python tools/models.py [--data DIR] [--out DIR]

Beside each detector lies `record.json` with its settings, versions and AUROC, in the form of `lamae run`. A second
entry, "mini_mnist", holds the AUROC on the test images of mini_mnist, which are in the package: `test_models.py`
computes it again. A model whose folder exists is left as it is.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from lamae_tutorial.benchmark.cells import run_cell
from lamae_tutorial.benchmark.records import cell_record
from lamae_tutorial.benchmark.settings import new_detector
from lamae_tutorial.data.catalogue import load_images
from lamae_tutorial.data.scenarios import leave_one_class_out
from lamae_tutorial.data.writing import write_file
from lamae_tutorial.detectors import Detector
from lamae_tutorial.metrics import auroc

HELD_OUT = 1
EPOCHS = 20
DETECTORS = ("autoencoder", "lamae")
MODELS = Path(__file__).parent.parent / "book" / "models"


def on_mini_mnist(detector: Detector) -> dict[str, float]:
    """Return the AUROC of each score on mini_mnist's test images, the held-out digit against the others."""
    test = load_images("mini_mnist", split="test")
    outside = test.labels == HELD_OUT
    scores = detector.scores(test.images)
    return {kind: auroc(values[~outside], values[outside]) for kind, values in scores.items()}


def train(name: str, folder: Path, data: Path | None) -> None:
    scenario = leave_one_class_out("mnist", HELD_OUT, random_state=0, root=data)
    cell = run_cell(scenario, new_detector(name, "mnist", epochs=EPOCHS, random_state=0, device="cpu"), 0)
    folder = cell.detector.save(folder)
    record: dict[str, Any] = {**cell_record(cell), "mini_mnist": on_mini_mnist(cell.detector)}
    write_file(folder / "record.json", (json.dumps(record, indent=1) + "\n").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the images (default: LAMAE_DATA, or the cache)")
    parser.add_argument("--out", type=Path, default=MODELS, help="(default: %(default)s)")
    options = parser.parse_args()
    for name in DETECTORS:
        folder = options.out / f"{name}-mnist-without-{HELD_OUT}"
        if not folder.exists():
            train(name, folder, options.data)
        print(folder)


if __name__ == "__main__":
    main()
