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

FORMAT = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"


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
        new.rename(target)
    return target


def check_target(target: Path) -> None:
    """Raise a FileExistsError if a path holds anything but a saved detector."""
    if target.exists() and (not target.is_dir() or {entry.name for entry in target.iterdir()} - {CONFIG, WEIGHTS}):
        raise FileExistsError(f"{target} exists and is not a saved detector; name another folder")


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
        config = json.loads((source / CONFIG).read_text())
        if config["format"] > FORMAT:
            raise ValueError(f"it has format {config['format']}; this version reads formats up to {FORMAT}: upgrade it")
        if _digest(source / WEIGHTS) != config["sha256"]:
            raise ValueError(f"{WEIGHTS} does not belong to {CONFIG}: its SHA-256 differs")
        return config, load_file(source / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"{source} is not a saved detector, or it is damaged: {error}") from error


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _plain(value: object) -> object:
    """Turn NumPy values into Python values, and anything else, such as a function, into its name."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return getattr(value, "__name__", repr(value))
