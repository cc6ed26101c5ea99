"""Detectors on disk: a folder with `config.json` and `model.safetensors`. Nothing in it is executed or unpickled."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from sklearn.utils.validation import check_is_fitted

from lamae_tutorial.conformal import Calibration
from lamae_tutorial.detectors import DETECTORS
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.training.loop import resolve_device

FORMAT = 1
_SCORES, _GROUPS = "calibration.scores", "calibration.groups"  # beside the network's tensors
_FILES = {"config.json", "model.safetensors"}
Kind = TypeVar("Kind", bound=Detector)


def save(detector: Detector, folder: str | os.PathLike[str]) -> Path:
    """Write a fitted detector, whole or not at all.

    Parameters
    ----------
    detector : Detector
    folder : path
        New or empty, or a detector saved before, which is replaced.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    sklearn.exceptions.NotFittedError
    FileExistsError
        There is something else of that name.
    """
    check_is_fitted(detector, "network_")
    target = Path(folder)
    check_target(target)
    config = {
        "format": FORMAT,
        "detector": type(detector).__name__,
        "parameters": detector.get_params(),
        "image_shape": detector.image_shape_,
        "num_classes": detector.num_classes_,
        "class_names": detector.class_names_,
        "seed": detector.seed_,
        "calibration_kind": detector.calibration_kind_,
        "history": detector.history_,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as work:
        new, old = Path(work) / "new", Path(work) / "old"
        new.mkdir()
        state = {name: value.cpu().contiguous() for name, value in detector.network_.state_dict().items()}
        calibration = detector.calibration_
        state[_SCORES] = torch.from_numpy(calibration.scores)
        if calibration.groups is not None:
            state[_GROUPS] = torch.from_numpy(calibration.groups)
        save_file(state, new / "model.safetensors")
        config["sha256"] = hashlib.sha256((new / "model.safetensors").read_bytes()).hexdigest()
        (new / "config.json").write_text(json.dumps(config, indent=1, default=_name) + "\n")
        if target.exists():
            target.rename(old)
        new.rename(target)
    return target


def _name(value: object) -> str:
    """What is written of a parameter that is a function: its name, for reading; scoring does not need it."""
    return getattr(value, "__name__", repr(value))


def check_target(target: Path) -> None:
    """Refuse a place that holds something else than a saved detector."""
    if target.exists() and (not target.is_dir() or {entry.name for entry in target.iterdir()} - _FILES):
        raise FileExistsError(f"{target} exists and is not a saved detector; name another folder")


def load(folder: str | os.PathLike[str], kind: type[Kind], device: str = "auto") -> Kind:
    """Read a detector written by :func:`save`.

    Parameters
    ----------
    folder : path
    kind : type
        The class expected, or a base class of it.
    device : str
        Where the network is put, see :class:`Detector`.

    Returns
    -------
    Detector
        Of the class that was saved.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        The folder is damaged, foreign or of a newer version.
    """
    source = Path(folder)
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder; a saved detector is one, with {sorted(_FILES)}")
    target_device = resolve_device(device)
    try:
        config = json.loads((source / "config.json").read_text())
        if config["format"] > FORMAT:
            raise ValueError(f"format {config['format']} is newer than this version reads ({FORMAT}); upgrade")
        kinds = {known.__name__: known for known in DETECTORS.values() if issubclass(known, kind)}
        if config["detector"] not in kinds:
            raise ValueError(f"holds a {config['detector']!r}; expected one of {', '.join(kinds)}")
        detector = kinds[config["detector"]](**{**config["parameters"], "device": device})
        channels, height, width = (int(size) for size in config["image_shape"])
        detector.image_shape_ = (channels, height, width)
        detector.num_classes_ = int(config["num_classes"])
        detector.class_names_ = tuple(str(name) for name in config["class_names"])
        if len(detector.class_names_) != detector.num_classes_:
            raise ValueError(f"names {len(detector.class_names_)} of {detector.num_classes_} classes")
        detector.seed_ = int(config["seed"])
        detector.calibration_kind_ = str(config["calibration_kind"])
        detector.history_ = list(config["history"])
        weights = source / "model.safetensors"
        if hashlib.sha256(weights.read_bytes()).hexdigest() != config["sha256"]:
            raise ValueError("model.safetensors is not the file that config.json was written with")
        state = load_file(weights)
        groups = state.pop(_GROUPS, None)
        detector.calibration_ = Calibration(state.pop(_SCORES).numpy(), None if groups is None else groups.numpy())
        with torch.random.fork_rng(devices=[]):
            with torch.device("meta"):  # the shapes are compared before anything is allocated
                expected = detector.build_network(detector.image_shape_, detector.num_classes_).state_dict()
            shapes = {name: tuple(value.shape) for name, value in state.items()}
            if shapes != {name: tuple(value.shape) for name, value in expected.items()}:
                raise ValueError("the weights do not fit the parameters in config.json")
            network = detector.build_network(detector.image_shape_, detector.num_classes_)
        network.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"{source}: not a saved detector, or a damaged one: {error}") from error
    detector.network_ = network.to(target_device).to(memory_format=torch.channels_last).eval()
    return detector
