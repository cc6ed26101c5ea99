"""Grade students' notebooks: run their answers apart from the checks, and write a table of students and exercises.

What is stored in a notebook counts for nothing: neither its outputs nor its own `check`. Each notebook's code runs in a
process of its own, see :mod:`lamae_tutorial.teaching.sandbox`, and the checks run here. They call an answer through a
pipe and compare the values that come back.

That process has a time limit, limits of memory, file size and processes, an empty folder, and few variables of the
environment. On Linux, if users may make namespaces (:func:`isolated` says so), it also has no network, it sees neither
the submissions nor the grades, and all that it started ends with it. It can still read and write whatever else the
grader's account can: use an account or a container without secrets. And no program can tell who wrote an answer: the
solutions are in the book.
"""

import csv
import functools
import hashlib
import io
import json
import os
import pkgutil
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn, cast

import numpy as np
import torch

import lamae_tutorial
from lamae_tutorial.data.writing import make_folder, only_process, readable, write_file
from lamae_tutorial.teaching import exercises
from lamae_tutorial.teaching.sandbox import MOST_BYTES, decode, encode, name_of

_MOST_BYTES = 50_000_000  # of a notebook
_CHAPTER = re.compile(r"(.+?)[-_ ]+\d\d_[a-z]+\b.*")  # alice_03_lamae.ipynb
_HIDE = 'for folder in "$1" "$2"; do mount -t tmpfs none "$folder" || exit 1; done; shift 2; '
# The second namespace has no rights over the first one's mounts, so a notebook cannot unmount what hides the folders.
_APART = ["unshare", "--user", "--map-root-user"]
_ALONE = [*_APART, "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


@dataclass(frozen=True)
class Outcome:
    """What was found for one exercise of one notebook, or for a file that holds none.

    Attributes
    ----------
    student : str
    file : str
        Path in the folder of submissions.
    exercise : str
        E.g. "3.2"; empty if there is none.
    right : bool
    reason : str
        Why it is not right; empty if it is.
    digest : str
        SHA-256 of the file, by which a later run knows it; empty if the file shall be graded again.
    """

    student: str
    file: str
    exercise: str
    right: bool
    reason: str
    digest: str


class _Ended(Exception):
    """A notebook's process is gone."""


def exercises_with_a_check() -> list[str]:
    """Return the numbers of all exercises that can be graded, e.g. "3.2"."""
    chapters = [each.name for each in pkgutil.iter_modules(exercises.__path__)]
    numbers = [
        (int(chapter.removeprefix("chapter_")), int(name.removeprefix("exercise_")))
        for chapter in chapters
        for name in vars(import_module(f"{exercises.__name__}.{chapter}"))
        if name.startswith("exercise_")
    ]
    return [f"{chapter}.{number}" for chapter, number in sorted(numbers)]


@functools.cache
def isolated() -> bool:
    """Whether notebooks run without network and without sight of the submissions, in namespaces of Linux."""
    if shutil.which("unshare") is None:
        return False
    probe = [*_ALONE, "sh", "-c", f"mount -t tmpfs none /tmp && exec {' '.join(_APART)} true"]
    return subprocess.run(probe, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def grade(folder: Path, out: Path, *, timeout: float = 120, progress: bool = True) -> list[Outcome]:
    """Grade all notebooks in a folder. If it was stopped, it continues: what is graded and unchanged is not run again.

    Parameters
    ----------
    folder : Path
        A folder for each student, or notebooks that are called STUDENT_CHAPTER.ipynb, e.g. alice_03_lamae.ipynb.
    out : Path
        Folder for `grades.csv`, a row for each student, and `answers.csv`, a row for each answer and file, with reason.
        Both are written after each notebook.
    timeout : float
        Seconds that one notebook may take.
    progress : bool
        Show the progress on stderr.

    Returns
    -------
    list of Outcome
        In the order of `answers.csv`.

    Raises
    ------
    FileNotFoundError
        There is no such folder, or nothing in it.
    ValueError
        The folder holds `out` or this program, which notebooks must not see or must see.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    program = [Path(lamae_tutorial.__file__), Path(sys.prefix), Path(tempfile.gettempdir()), Path.cwd() / out]
    if within := [path for path in program if path.resolve().is_relative_to(folder.resolve())]:
        raise ValueError(f"{folder} holds {within[0]}; put the submissions into a folder of their own")
    files = sorted(_submissions(folder))
    if not files:
        raise FileNotFoundError(f"{folder} is empty")
    make_folder(out)
    with only_process(out, inside=True):
        known = _read(out / "answers.csv")
        done: list[Outcome] = []
        for number, (student, path, problem) in enumerate(files, 1):
            name = _line(path.relative_to(folder))
            if progress:
                print(f"{name} ({number} of {len(files)})", file=sys.stderr, flush=True)
            if problem:
                done.append(Outcome(student, name, "", False, problem, ""))
            else:
                done += _graded(student, name, path, known, [folder.resolve(), out.resolve()], timeout)
            _write(done, out)
    return done


def _submissions(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield each file with its student and, if it is no notebook, what is wrong with it."""
    for entry in folder.iterdir():
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_dir() and not entry.is_symlink():
            student, files = entry.name, [path for path in entry.rglob("*") if not path.is_dir() or path.is_symlink()]
            files = [path for path in files if not re.search(r"[/\\](\.|__)", str(path.relative_to(folder)))]
            if not files:
                yield _line(student), entry, "an empty folder"
        else:
            chapter = _CHAPTER.fullmatch(entry.stem)
            student, files = chapter[1] if chapter else entry.stem, [entry]
        for path in files:
            problem = ""
            if path.is_symlink() or not path.is_file():
                problem = "a link or a device, which is not followed"
            elif path.suffix.lower() != ".ipynb":
                problem = "not a notebook"
            elif path.stat().st_size > _MOST_BYTES:
                problem = f"larger than {_MOST_BYTES // 1_000_000} MB: its outputs should be cleared"
            yield _line(student), path, problem


def _graded(
    student: str, name: str, path: Path, known: Sequence[Outcome], hidden: Sequence[Path], timeout: float
) -> list[Outcome]:
    try:
        content = path.read_bytes()
        cells = _code(content)
    except (OSError, ValueError, RecursionError) as error:
        return [Outcome(student, name, "", False, _line(f"cannot be read: {error}"), "")]
    digest = hashlib.sha256(content).hexdigest()
    if earlier := [each for each in known if (each.student, each.file, each.digest) == (student, name, digest)]:
        return earlier
    found = _answers(cells, hidden, timeout)
    return [
        Outcome(student, name, exercise, right, _line(reason), digest if final else "")
        for exercise, (right, reason, final) in sorted(found.items())
    ]


def _code(content: bytes) -> list[str]:
    """Return the sources of a notebook's code cells."""
    try:
        cells = json.loads(content)["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a notebook of format 4 ({type(error).__name__}: {error})") from None


def _answers(
    cells: Sequence[str], hidden: Sequence[Path], timeout: float, whole: bool = False
) -> dict[str, tuple[bool, str, bool]]:
    """Run a notebook. Return of each exercise whether it is right, why not, and whether another run would say the same.

    If an exercise is checked several times, one right answer is enough.
    """
    found: dict[str, tuple[bool, str, bool]] = {}
    nothing = {"": (False, "", False)}
    with _sandbox(hidden, timeout) as process:
        try:
            process.send({"cells": cells, "whole": whole})
            graded = exercises_with_a_check()
            answers = [each for each in process.receive()["answers"] if each["exercise"] in graded]
            if not answers:
                return {"": (False, "has none of the exercises that have a check", True)}
            found = {each["exercise"]: (False, "", False) for each in answers}
            run = process.receive()
            errors, left_out = run["errors"], run["left_out"] is True
            for exercise, expression in [(each["exercise"], each["expression"]) for each in answers]:
                if not found[exercise][0]:
                    found[exercise] = (*_verdict(process, exercise, expression, errors), True)
        except _Ended as end:
            return {key: each if each[2] else (False, str(end), False) for key, each in (found or nothing).items()}
        except (KeyError, TypeError, ValueError, RecursionError, AttributeError):
            return dict.fromkeys(found or nothing, (False, "its code disturbed the pipe to the grader", True))
    if left_out and any(not right and "NameError" in reason for right, reason, _ in found.values()):
        # Its names may come from cells that looked as if they were not needed.
        return _answers(cells, hidden, timeout, whole=True)
    return found


def _verdict(process: "_Process", exercise: str, expression: str, errors: Sequence[str]) -> tuple[bool, str]:
    answer = _Answer(process, expression)
    try:
        kind = process.call({"expression": expression})
    except _Raised as error:
        return False, "; ".join([*map(str, errors[:2]), f"{type(error.error).__name__}: {error}"])
    verdict = exercises.check(exercise, answer if kind["callable"] is True else decode(kind["value"]))
    process.check_alive()
    return verdict.right, verdict.message


class _Raised(Exception):
    """An answer raised an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _Answer:
    """A student's function, as the checks see it: called here, it runs there."""

    def __init__(self, process: "_Process", expression: str) -> None:
        self.process, self.expression = process, expression

    def __call__(self, *arguments: Any) -> Any:
        order = {"expression": self.expression, "arguments": [encode(each) for each in arguments]}
        try:
            reply = self.process.call(order)
        except _Raised as raised:
            raise raised.error from None
        for mine, theirs in zip(arguments, reply["arguments"], strict=True):
            _copy(mine, decode(theirs))
        return decode(reply["value"])


def _copy(mine: Any, theirs: Any) -> None:
    """Change an argument as the answer did: some checks look whether it did."""
    if isinstance(mine, torch.Tensor) and isinstance(theirs, torch.Tensor) and mine.shape == theirs.shape:
        with torch.no_grad():
            mine.copy_(theirs)
    elif isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray) and mine.shape == theirs.shape:
        mine[...] = theirs


class _Process:
    """A sandbox's process, and the messages to it and from it."""

    def __init__(self, process: "subprocess.Popen[bytes]", timeout: float) -> None:
        self.process, self.timeout = process, timeout
        self.deadline = time.monotonic() + timeout
        self.ended = ""
        self.lines: queue.Queue[bytes] = queue.Queue(1)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with cast(IO[bytes], self.process.stdout) as replies:
            while line := replies.readline(MOST_BYTES):
                self.lines.put(line)
        self.lines.put(b"")

    def send(self, message: Any) -> None:
        pipe = cast(IO[bytes], self.process.stdin)
        with suppress(OSError):  # whether it still reads shows when it should answer
            pipe.write(json.dumps(message).encode() + b"\n")
            pipe.flush()

    def receive(self) -> Any:
        try:
            line = self.lines.get(timeout=max(0, self.deadline - time.monotonic()))
        except queue.Empty:
            self.end(f"took longer than {self.timeout:g} s and was stopped")
        if not line:
            self.end("")
        if not line.endswith(b"\n"):
            self.end("an answer returned too much")
        return json.loads(line)

    def call(self, order: Any) -> Any:
        self.check_alive()
        self.send(order)
        reply = self.receive()
        if "error" in reply:
            kind = name_of(reply["error"], "Exception")
            error = NotImplementedError if kind == "NotImplementedError" else type(kind, (Exception,), {})
            raise _Raised(error(str(reply["message"])))
        return reply

    def end(self, reason: str) -> NoReturn:
        """Say how the process ended, now and at each later call: a check takes the error for the answer's own."""
        if not reason:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            reason = f"its process ended before its answer came (exit code {self.process.poll()})"
        self.ended = reason
        raise _Ended(reason)

    def check_alive(self) -> None:
        if self.ended:
            raise _Ended(self.ended)

    def close(self) -> None:
        """Kill the process, and what it started as far as the system can tell."""
        if self.process.poll() is None:
            with suppress(OSError):
                if sys.platform != "win32":
                    os.killpg(self.process.pid, signal.SIGKILL)
                else:
                    self.process.kill()
        self.process.wait()
        with suppress(OSError):
            cast(IO[bytes], self.process.stdin).close()
        with suppress(queue.Empty):  # where a process escaped, it still holds the pipe
            while self.lines.get(timeout=1):
                pass


@contextmanager
def _sandbox(hidden: Sequence[Path], timeout: float) -> Iterator[_Process]:
    package = Path(lamae_tutorial.__file__).parent.parent
    command = [sys.executable, "-m", "lamae_tutorial.teaching.sandbox"]
    if isolated():
        command = [*_ALONE, "sh", "-c", f'{_HIDE}exec {" ".join(_APART)} "$@"', "sh", *map(str, hidden), *command]
    with tempfile.TemporaryDirectory(prefix="lamae-", ignore_cleanup_errors=True) as home:
        kept = {key: os.environ[key] for key in ("PATH", "LAMAE_DATA", "SYSTEMROOT") if key in os.environ}
        place = dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR"), home)
        settings = {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONUTF8": "1"}
        work = Path(home, "work")
        work.mkdir()
        running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=work,
            env=kept | place | settings,
            start_new_session=True,
        )
        process = _Process(running, timeout)
        try:
            yield process
        finally:
            process.close()


def grades(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Return the table of students and exercises, with a header: 1 for a right answer, 0 for another, else empty."""
    columns = exercises_with_a_check()
    rows = []
    for student in sorted({each.student for each in outcomes}):
        own = [each for each in outcomes if each.student == student]
        best = {each: [str(int(one.right)) for one in own if one.exercise == each] for each in columns}
        marks = [max(best[each], default="") for each in columns]
        rows.append([student, *marks, str(marks.count("1"))])
    return [["student", *columns, "points"], *rows]


def _write(outcomes: Sequence[Outcome], out: Path) -> None:
    header = [field.name for field in fields(Outcome)]
    rows = [[int(value) if isinstance(value, bool) else value for value in astuple(each)] for each in outcomes]
    write_file(out / "answers.csv", _as_csv([header, *rows]))
    write_file(out / "grades.csv", _as_csv(grades(outcomes)))


def _as_csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _read(path: Path) -> list[Outcome]:
    """Return what an earlier run found; nothing if there was none."""
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Outcome(row["student"], row["file"], row["exercise"], row["right"] == "1", row["reason"], row["digest"])
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError, csv.Error):
        raise ValueError(f"{path} is not a table of lamae grade; name another folder with --out") from None


def _line(text: object) -> str:
    """Return one line, as short as a table needs, that a spreadsheet does not take for a formula."""
    line = readable(" ".join(str(text).split()))[:400]
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
