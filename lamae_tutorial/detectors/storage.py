"""Saved detectors: a folder with `config.json` and `model.safetensors`. Loading executes and unpickles nothing."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lamae_tutorial.data.parameters import SEED, Rule, check, whole

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_MOST_BYTES = 2**24  # of config.json; that of a thousand epochs has about 150,000
_SIDE = whole(1, 2**20)
_TEXT = Rule("be text", lambda value: isinstance(value, str))

CONFIG_RULES = {
    "detector": _TEXT,
    "module": _TEXT,
    "parameters": Rule("be a mapping", lambda value: isinstance(value, dict)),
    "image_shape": Rule(
        f"be three whole numbers in 1..{2**20}",
        lambda value: isinstance(value, list) and len(value) == 3 and all(_SIDE.holds(size) for size in value),
    ),
    "num_classes": whole(0),
    "class_names": Rule(
        "be a list of text", lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value)
    ),
    "seed": SEED,
    "calibration_kind": _TEXT,
    "history": Rule(
        "be a list of mappings", lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value)
    ),
}


def write_folder(folder: str | os.PathLike[str], config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    """Write both files, completely or not at all.

    Parameters
    ----------
    folder : path
        A new or empty folder, or one with a saved detector, which is replaced.
    config : mapping
        Values for JSON. Functions are written as their name, for information only.
    tensors : mapping of str to tensor

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    FileExistsError
        The path holds something else.
    """
    target = Path(folder)
    check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as work:
        new, old = Path(work) / "new", Path(work) / "old"
        new.mkdir()
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, new / WEIGHTS)
        content = {"format": FORMAT, **config, "sha256": _digest(new / WEIGHTS)}
        (new / CONFIG).write_text(json.dumps(content, indent=1, default=_plain) + "\n")
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    return target


def check_target(target: Path) -> None:
    """Raise an OSError if a detector cannot be saved here.

    Raises
    ------
    FileExistsError
        The path holds anything but a saved detector.
    NotADirectoryError
        A part of the path is a file.
    PermissionError
        The folder around it is read-only.
    """
    taken = target.is_symlink() or target.exists()
    if taken and (not target.is_dir() or (any(target.iterdir()) and not _is_saved(target))):
        raise FileExistsError(f"{target} exists and is not a saved detector; name another folder")
    around = next(folder for folder in target.absolute().parents if folder.exists())
    if not around.is_dir():
        raise NotADirectoryError(f"{around} is a file, not a folder; name another folder for the detector")
    if not os.access(around, os.W_OK | os.X_OK):
        raise PermissionError(f"{around} is read-only; name another folder for the detector")


def _is_saved(folder: Path) -> bool:
    """Whether a folder holds both files of a saved detector, and nothing else."""
    if {entry.name for entry in folder.iterdir()} != {CONFIG, WEIGHTS}:
        return False
    try:
        return {"format", "detector", "module", "parameters", "sha256"} <= _read_config(folder).keys()
    except (OSError, ValueError):
        return False


def read_folder(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the configuration and the tensors that :func:`write_folder` wrote.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        A file is missing or damaged, the files do not belong together, or this version is too old for the format.
    """
    source = Path(folder)
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder; expected a folder with {CONFIG} and {WEIGHTS}")
    try:
        config = _read_config(source)
        check("format", config["format"], whole(1))
        if config["format"] > FORMAT:
            raise ValueError(f"it has format {config['format']}; this version reads formats up to {FORMAT}: upgrade it")
        if not (source / WEIGHTS).is_file():
            raise ValueError(f"it has no file {WEIGHTS}")
        if _digest(source / WEIGHTS) != config["sha256"]:
            raise ValueError(f"{WEIGHTS} does not belong to {CONFIG}: its SHA-256 differs")
        return config, load_file(source / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"{source} is not a saved detector, or it is damaged: {error}") from error


def _read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json`. Raise an OSError or a ValueError if it is none."""
    file = folder / CONFIG
    if not file.is_file():  # a pipe would never end
        raise ValueError(f"it has no file {CONFIG}")
    if file.stat().st_size > _MOST_BYTES:
        raise ValueError(f"its {CONFIG} has {file.stat().st_size:,} bytes; at most {_MOST_BYTES:,} are read")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError(f"its {CONFIG} is nested too deeply") from error
    if not isinstance(config, dict):
        raise ValueError(f"its {CONFIG} must hold a mapping; got {type(config).__name__}")
    return config


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _plain(value: object) -> object:
    """Turn NumPy values into Python values, and anything else, such as a function, into its name."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return getattr(value, "__name__", repr(value))
