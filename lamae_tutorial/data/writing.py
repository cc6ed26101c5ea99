"""How results are written: one process for each output, complete files, and names that survive in any format."""

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":  # where nothing is locked
    import fcntl

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def readable(text: str) -> str:
    r"""Return a name as any format can show it in one line: `\n` for a newline, `\udcff` for the byte ff."""
    return _UNREADABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def write_file(path: Path, content: bytes) -> None:
    """Write a file completely or not at all. Devices and pipes are written to directly."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    new = target.with_name(f".{target.name}.tmp")
    try:
        with new.open("wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def check_file(path: Path) -> None:
    """Check, before any work, that :func:`write_file` can write this file.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    IsADirectoryError
        The path is a folder.
    OSError
        Nothing can be written there.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is not a folder; create it first")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    target = path.resolve()
    if not target.exists() or target.is_file():
        probe = target.with_name(f".{target.name}.tmp")
        probe.touch()
        probe.unlink()


def make_folder(path: Path) -> None:
    """Make a folder, if it does not exist. Raise a NotADirectoryError if a part of its path is a file."""
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{there} is not a folder; name another one")
    path.mkdir(parents=True, exist_ok=True)


@contextmanager
def only_process(output: Path, inside: bool = False) -> Iterator[None]:
    """Keep other processes from writing the same output.

    A locked file says which process it is. The system frees the lock when the process ends, however it ends, so a file
    that was left behind locks nothing.

    Parameters
    ----------
    output : Path
    inside : bool
        The output is a folder, and the locked file lies in it. Otherwise it lies beside the output.

    Raises
    ------
    ValueError
        Another process writes this output.
    OSError
        Nothing can be written there.
    """
    whole = output.resolve()
    path = whole / ".lock" if inside else whole.with_name(f".{whole.name}.lock")
    file = _locked(path, output)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} ({' '.join(map(readable, sys.argv))})")
        file.flush()
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        file.close()


def _locked(path: Path, output: Path) -> IO[str]:
    """Open and lock a file."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            if sys.platform == "win32":
                return file
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:  # its process has just removed it
            pass
        except BlockingIOError:
            file.seek(0)
            holder = file.read()
            file.close()
            raise ValueError(f"{output} is being written by {holder}: wait for it, or name another output") from None
        file.close()
