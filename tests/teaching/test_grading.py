"""`lamae grade`: a table in which each student has what the answers deserve, whatever the notebooks hold."""

import csv
import json
import socket
import time
from pathlib import Path

import pytest

from lamae_tutorial.cli import main
from lamae_tutorial.teaching import grading

IMPORT = "import numpy as np"  # not `check`, whose import takes seconds: grading does not use the notebook's
RIGHT = """def auroc_from_ranks(id_scores, ood_scores):
    return np.mean([(o > i) + (o == i) / 2 for o in ood_scores for i in id_scores])


check("1.1", auroc_from_ranks)"""
STUB = RIGHT.replace("return np.mean", "...\n    return None\n    np.mean")


def notebook(*sources: str) -> str:
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": source} for source in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def hand_in(folder: Path, name: str, *sources: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook(*sources))


def table(out: Path, name: str) -> list[dict[str, str]]:
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "out"


HONEST = {
    "ann/01.ipynb": ((IMPORT, RIGHT), "1", ""),
    "ben_01_autoencoder.ipynb": ((IMPORT, STUB), "0", "It returns nothing so far"),
    # An earlier cell that fails, a long training that the answer does not need, and output without end.
    "cleo/01.ipynb": (("1 / 0", "while True: pass", IMPORT, 'print("x" * 10**7)\n' + RIGHT), "1", ""),
    # The answer's names come from cells that do not show it.
    "dan/01.ipynb": ((IMPORT, 'exec("half = 2")', RIGHT.replace("/ 2", "/ half")), "1", ""),
    # A stub above one's own cell.
    "eve/01.ipynb": ((IMPORT, STUB, RIGHT.replace("auroc_from_ranks", "mine")), "1", ""),
}
HOSTILE = {
    "check/01.ipynb": ((IMPORT, f"def check(*_): print('right')\n{STUB}"), "0", "It returns nothing so far"),
    "frames/01.ipynb": (
        (IMPORT, "import gc, sys\n" + RIGHT.replace("return", "sys._getframe(1).f_locals['wanted']\n    return")),
        "0",
        "It stopped with KeyError: 'wanted'",
    ),
    "exit/01.ipynb": ((IMPORT, "import sys\nsys.exit()\n" + RIGHT), "0", "stopped with SystemExit"),
    "killed/01.ipynb": ((IMPORT, "import os\nos._exit(3)\n" + RIGHT), "0", "its process ended before its answer came"),
    "pipe/01.ipynb": (
        (
            IMPORT,
            "import contextlib, os\nfor pipe in range(3, 40):\n    with contextlib.suppress(OSError):\n"
            "        os.write(pipe, b'{}\\n')\n" + RIGHT,
        ),
        "0",
        "its code disturbed the pipe",
    ),
    "syntax/01.ipynb": ((IMPORT, RIGHT.replace("]", "")), "0", "stopped with SyntaxError"),
    "raises/01.ipynb": (
        (IMPORT, RIGHT.replace("return", "raise SystemExit(0)\n    return")),
        "0",
        "It stopped with SystemExit",
    ),
    "other/thesis.ipynb": (("print('hello')",), "", "has none of the exercises"),
}


def test_honest_and_hostile_notebooks(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = folders
    for name, (sources, _, _) in {**HONEST, **HOSTILE}.items():
        hand_in(folder, name, *sources)
    assert main(["grade", str(folder), "--out", str(out)]) == 0
    marks = {row["student"]: row["1.1"] for row in table(out, "grades.csv")}
    reasons = {row["student"]: row["reason"] for row in table(out, "answers.csv")}
    for name, (_, mark, reason) in {**HONEST, **HOSTILE}.items():
        student = name.partition("/")[0].removesuffix("_01_autoencoder.ipynb")
        assert (marks[student], reason in reasons[student]) == (mark, True), (student, reasons[student])
        assert mark != "1" or reasons[student] == ""
    printed = capsys.readouterr().out
    assert "Traceback" not in printed and "check/01.ipynb: 1.1: It returns nothing so far" in printed


TAMPER = """import torch
from torch.nn import functional as F
from lamae_tutorial import metrics
from lamae_tutorial.teaching import exercises
exercises.check = exercises.expect_close = np.allclose = torch.equal = lambda *a, **b: True
metrics.auroc = lambda *a: 0"""
TENSORS = """def top_k(latents, slots, k, temperature):
    cosines = F.normalize(latents, dim=1) @ F.normalize(slots, dim=1).T
    masked = cosines.masked_fill(cosines < cosines.topk(k, dim=1).values[:, -1:], -torch.inf)
    return (masked / temperature).softmax(1)


def glued(images):
    half = images.shape[3] // 2
    images[..., half:] = images.roll(-1, 0)[..., half:]
    return images


check("2.2", top_k)
check("5.2", glued)"""


def test_tensors_with_gradients_pass_and_tampering_does_not(folders: tuple[Path, Path]) -> None:
    folder, out = folders
    hand_in(folder, "ann/all.ipynb", IMPORT, TAMPER, RIGHT.replace("return", "return 0 *"), TENSORS)
    reasons = {each.exercise: each.reason for each in grading.grade(folder, out, progress=False)}
    assert "should be 0.833; got 0." in reasons["1.1"]
    assert reasons["2.2"] == ""
    assert reasons["5.2"].startswith("It changes the images that it was given")


def test_a_loop_without_end(folders: tuple[Path, Path]) -> None:
    folder, out = folders
    hand_in(folder, "ann/01.ipynb", IMPORT, "while True: pass\n" + RIGHT)
    (outcome,) = grading.grade(folder, out, timeout=4, progress=False)
    assert not outcome.right and outcome.reason == "took longer than 4 s and was stopped"


def test_messy_folders(folders: tuple[Path, Path]) -> None:
    folder, out = folders
    (folder / "empty").mkdir()
    for name in (".DS_Store", "ann/.ipynb_checkpoints/old.ipynb", "__MACOSX/x.ipynb"):
        hand_in(folder, name)
    hand_in(folder, "=1+1/other.ipynb", "x = 1")
    hand_in(folder, "ann/a.ipynb", IMPORT, STUB)
    hand_in(folder, "ann/b.ipynb", IMPORT, RIGHT)
    (folder / "ann" / "essay.docx").write_bytes(b"PK")
    (folder / "ann" / "link.ipynb").symlink_to(folder / "ann" / "b.ipynb")
    for name, text in {"cut": '{"cells": [', "list": "[]", "deep": "[" * 10**5, "old": '{"worksheets": []}'}.items():
        (folder / f"{name}.ipynb").write_text(text)
    assert main(["grade", str(folder), "--out", str(out)]) == 0
    assert {row["student"]: row["1.1"] for row in table(out, "grades.csv")} == {
        **{"'=1+1": "", "ann": "1", "cut": "", "deep": "", "empty": "", "list": "", "old": ""}
    }
    reasons = {row["file"]: row["reason"] for row in table(out, "answers.csv")}
    assert reasons.pop("ann/b.ipynb") == "" and all(reasons.values())
    assert reasons["empty"] == "an empty folder" and reasons["ann/essay.docx"] == "not a notebook"
    assert "link" in reasons["ann/link.ipynb"] and "cannot be read" in reasons["cut.ipynb"]
    assert not any("checkpoints" in file for file in reasons)


def test_it_continues_and_looks_at_what_changed(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = folders
    hand_in(folder, "ann_01_autoencoder.ipynb", "a")
    hand_in(folder, "ben_01_autoencoder.ipynb", "b")
    graded = []

    def answers(cells: list[str], *_: object) -> dict[str, tuple[bool, str, bool]]:
        graded.append(cells[0])
        if cells == ["b"] and graded.count("b") == 1:
            raise KeyboardInterrupt
        return {"1.1": (cells == ["c"], "late", cells != ["b"])}

    monkeypatch.setattr(grading, "_answers", answers)
    with pytest.raises(KeyboardInterrupt):
        grading.grade(folder, out, progress=False)
    assert [row["student"] for row in table(out, "grades.csv")] == ["ann"]
    grading.grade(folder, out, progress=False)
    grading.grade(folder, out, progress=False)
    assert graded == ["a", "b", "b", "b"], "a notebook that did not come to its end is graded again"
    hand_in(folder, "ann_01_autoencoder.ipynb", "c")
    grading.grade(folder, out, progress=False)
    assert graded[4:] == ["c", "b"]
    assert [row["1.1"] for row in table(out, "grades.csv")] == ["1", "0"]


def test_what_a_notebook_sees(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = folders
    monkeypatch.setenv("SECRET", "x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        look = f"""
import os, pathlib, socket, subprocess
subprocess.run(["umount", {str(folder)!r}])
seen = ["an empty folder"] if not os.listdir() else []
seen += ["secrets"] if "SECRET" in os.environ else []
seen += ["submissions"] if os.listdir({str(folder)!r}) else []
seen += ["grades"] if os.listdir({str(out)!r}) else []
try:
    socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 2)
    seen.append("network")
except OSError:
    pass
subprocess.Popen(["sleep", "43.21"], start_new_session=True)
def look(*_):
    raise RuntimeError(seen)
check("1.1", look)
"""
        hand_in(folder, "ann/01.ipynb", look)
        outcomes = grading.grade(folder, out, progress=False)
    more = [] if grading.isolated() else ["submissions", "grades", "network"]
    assert [each.reason for each in outcomes] == [f"It stopped with RuntimeError: {['an empty folder', *more]}"]
    if grading.isolated():
        time.sleep(0.5)
        assert not any(b"43.21" in path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline"))


def test_folders_that_cannot_be_graded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", str(tmp_path / "no")]) == 2
    (tmp_path / "in").mkdir()
    assert main(["grade", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 2
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "is empty" in capsys.readouterr().err
