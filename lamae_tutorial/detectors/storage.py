"""Detectors on disk: a folder with `config.json` and `model.safetensors`. Nothing in it is executed or unpickled."""

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
    """Write both files, whole or not at all.

    Parameters
    ----------
    folder : path
        New or empty, or one written before, which is replaced.
    config : mapping
        Values for JSON; of a function its name is written, for reading.
    tensors : mapping of str to tensor

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    FileExistsError
        There is something else of that name.
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
    """Refuse a place that holds something else than a saved detector."""
    if target.exists() and (not target.is_dir() or {entry.name for entry in target.iterdir()} - {CONFIG, WEIGHTS}):
        raise FileExistsError(f"{target} exists and is not a saved detector; name another folder")


def read_folder(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors written by :func:`write_folder`.

    Raises
    ------
    FileNotFoundError
        No such folder.
    ValueError
        A file is missing or damaged, the two do not belong together, or the format is newer than this version.
    """
    source = Path(folder)
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder; a saved detector is one, with {CONFIG} and {WEIGHTS}")
    try:
        config = json.loads((source / CONFIG).read_text())
        if config["format"] > FORMAT:
            raise ValueError(f"format {config['format']} is newer than this version reads ({FORMAT}); upgrade")
        if _digest(source / WEIGHTS) != config["sha256"]:
            raise ValueError(f"{WEIGHTS} is not the file that {CONFIG} was written with")
        return config, load_file(source / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"{source}: not a saved detector, or a damaged one: {error}") from error


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _plain(value: object) -> object:
    """NumPy's values as Python's; anything else, such as a function, as its name."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return getattr(value, "__name__", repr(value))
