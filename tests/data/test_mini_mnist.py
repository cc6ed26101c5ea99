"""`mini_mnist`, the images of MNIST in the package: its file, its source, and that no paper's number applies to it."""

import hashlib
import importlib.util
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch

from lamae_tutorial import DETECTORS, ImageSet, cross_dataset, leave_one_class_out, load_images
from lamae_tutorial.benchmark.cells import run_cell
from lamae_tutorial.benchmark.settings import new_detector
from lamae_tutorial.benchmark.tables import aggregate
from lamae_tutorial.data.catalogue import EMBEDDED, training_images

FILE = Path(str(files("lamae_tutorial.data") / "mini_mnist.npz"))
SCRIPT = Path(__file__).parent.parent.parent / "tools/mini_mnist.py"
PER_CLASS = {"train": 400, "test": 100}


def rows(images: ImageSet) -> list[bytes]:
    """Return the label and the pixels of each image."""
    return [bytes([label]) + image.numpy().tobytes() for image, label in zip(images.images, images.labels, strict=True)]


def test_the_file_is_the_committed_one_and_reads_without_the_package() -> None:
    assert FILE.stat().st_size <= 800_000
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == (
        "c3dfc3952b572b231ae34472bda884f0105ffeeea6485ce287468186ae0b8f87"
    )
    with np.load(FILE, allow_pickle=False) as arrays:
        found = {key: (arrays[key].shape, arrays[key].dtype.name) for key in arrays.files}
    assert found == {
        "x_train": ((4000, 28, 28), "uint8"),
        "y_train": ((4000,), "uint8"),
        "x_test": ((1000, 28, 28), "uint8"),
        "y_test": ((1000,), "uint8"),
    }
    source = FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert all(words in source for words in ("Yann LeCun", "Corinna Cortes", "CC BY-SA 3.0", "**Changes.**"))


def test_each_class_has_its_number_and_no_image_is_twice(no_data: Path) -> None:
    parts = {part: load_images("mini_mnist", part, root=no_data) for part in PER_CLASS}
    for part, images in parts.items():
        assert (images.name, images.known, images.classes) == ("mini_mnist", True, tuple("0123456789"))
        assert images.images.shape == (10 * PER_CLASS[part], *EMBEDDED["mini_mnist"].shape)
        assert torch.bincount(images.labels).tolist() == [PER_CLASS[part]] * 10
        assert len(set(images.labels[:50].tolist())) == 10  # the first images show every class
    assert (EMBEDDED["mini_mnist"].train, EMBEDDED["mini_mnist"].test) == tuple(map(len, parts.values()))
    everything = load_images("mini_mnist", "all")
    assert rows(everything) == rows(parts["train"]) + rows(parts["test"])
    assert len(torch.unique(everything.images.flatten(1), dim=0)) == 5000


def test_each_image_is_one_of_mnist_of_the_same_label_and_part(mnist_train: ImageSet, mnist_test: ImageSet) -> None:
    for part, mnist in (("train", mnist_train), ("test", mnist_test)):
        assert set(rows(load_images("mini_mnist", part))) <= set(rows(mnist))


def test_the_script_makes_the_file_again(
    mnist_test: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("mini_mnist", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.OUT.samefile(FILE)
    monkeypatch.setattr(sys, "argv", ["mini_mnist.py", str(tmp_path / "again.npz")])
    script.main()
    assert (tmp_path / "again.npz").read_bytes() == FILE.read_bytes()
    assert f"again.npz: {FILE.stat().st_size} bytes" in capsys.readouterr().out


def test_its_own_test_images_are_used() -> None:
    assert len(training_images("mini_mnist")) == 4000
    scenario = leave_one_class_out("mini_mnist", 1)
    assert len(scenario.train) + len(scenario.validation) == 3600
    assert len(scenario.test) == len(scenario.ood["mini_mnist-1"]) == 500
    crossed = cross_dataset("digits", ["mini_mnist"], protocol="test-only")
    assert torch.equal(crossed.ood["mini_mnist"].images, load_images("mini_mnist", "test").images)


def test_no_number_and_no_setting_of_mnist_applies() -> None:
    scenario = leave_one_class_out("mini_mnist", 1)
    cell = run_cell(scenario, new_detector("autoencoder", "mini_mnist", epochs=1, device="cpu", verbose=False), 0)
    as_mnist = [replace(result, id="mnist", ood="mnist-1") for result in cell.results]
    assert any(row.paper for row in aggregate(as_mnist))
    assert not any(row.paper for row in aggregate(cell.results))
    for name, detector in DETECTORS.items():
        assert new_detector(name, "mini_mnist").get_params() == detector().get_params()
