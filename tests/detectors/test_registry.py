"""Detectors are found by name in this package, in a user's module and in an installed package."""

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import contributed
import pytest
import torch

from lamae_tutorial import Detector
from lamae_tutorial.detectors import AutoEncoder, find_detector, registry


def test_by_name_and_by_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_detector("autoencoder") is AutoEncoder
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("found_here.py").write_text(contributed.block("python").replace("PCA", "FoundHere"))
    kind = find_detector("found_here:FoundHere")
    assert issubclass(kind, Detector) and kind.title == "FoundHere"
    for name, message in [
        ("lame", "unknown detector lame; there are autoencoder, .*, and module:Class"),
        ("no_such_module:Mine", "no_such_module:Mine cannot be imported: No module named"),
        ("found_here:Mine", "found_here:Mine cannot be imported: module .* has no attribute"),
        ("found_here:Plane", "found_here:Plane must be a class derived from lamae_tutorial.Detector; got <class"),
        ("found_here:torch", "found_here:torch must be a class"),
    ]:
        with pytest.raises(ValueError, match=message):
            find_detector(name)


def test_by_the_entry_point_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = contributed.detectors()["mydetectors:PCA"]
    point = EntryPoint("plane", "mydetectors:PCA", registry.ENTRY_POINTS)
    for module in ("lamae_tutorial.detectors", "lamae_tutorial.detectors.registry"):
        monkeypatch.setattr(f"{module}.entry_points", lambda group: [point] if group == registry.ENTRY_POINTS else [])
    assert find_detector("plane") is kind
    with pytest.raises(ValueError, match=r"unknown detector lame; there are autoencoder, .*, plane, and module:Class"):
        find_detector("lame")
    monkeypatch.delitem(registry._classes, ("PCA", "mydetectors"))
    monkeypatch.setattr(EntryPoint, "load", lambda self: registry.register(kind))
    assert registry.find_class("PCA", "mydetectors") is kind  # loaded when a saved detector needs it


def test_the_packages_own_names_are_taken() -> None:
    with pytest.raises(TypeError, match=r"mine\.LAMAE: this package has a detector of that name: rename yours"):
        type("LAMAE", (AutoEncoder,), {"__module__": "mine"})
    assert registry.find_class("LAMAE", "mine").__module__ == "lamae_tutorial.detectors.lamae"


def test_classes_of_one_name_are_told_apart_by_their_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {})
    first, second = (type("Mine", (), {"__module__": module}) for module in ("one", "two"))
    registry.register(first)
    assert registry.find_class("Mine", "__main__") is first
    registry.register(second)
    assert registry.find_class("Mine", "one") is first and registry.find_class("Mine", "two") is second
    with pytest.raises(LookupError, match=r"of the module three is not known \(this name is known from one, two\)"):
        registry.find_class("Mine", "three")


def test_a_saved_class_is_never_imported_from_its_folder(bars, tmp_path: Path) -> None:
    kind = contributed.detectors()["mydetectors:PCA"]
    model = kind(device="cpu").fit(bars[0]).save(tmp_path / "model")
    (tmp_path / "mydetectors.py").write_text(contributed.block("python"))
    load = f"from lamae_tutorial import Detector; Detector.load({str(model)!r}, 'cpu')"
    alone = subprocess.run([sys.executable, "-c", load], cwd=tmp_path, capture_output=True, text=True, check=False)
    message = "its class PCA of the module mydetectors is not known: import mydetectors first"
    assert message in alone.stderr
    loaded = f"import mydetectors; {load}; print('loaded')"
    knows = subprocess.run([sys.executable, "-c", loaded], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert knows.stdout == "loaded\n"


def test_a_class_without_training_says_what_is_missing(bars) -> None:
    class Untrained(Detector):
        title, score_kinds = "Untrained", ("error",)

        def build_network(self, image_shape, num_classes):
            return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))

        def score_batch(self, network, images):
            return {"distance": network(images).squeeze(1)}

    detector = Untrained(device="cpu", epochs=1, verbose=False)
    with pytest.raises(TypeError, match="Untrained has neither `loss` nor `train_network`: write one of them"):
        detector.fit(bars[0])
    Untrained.train_network = lambda self, network, data: []
    with pytest.raises(ValueError, match="names the scores error in score_kinds, but score_batch returns distance"):
        detector.fit(bars[0])
