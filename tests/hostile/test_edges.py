"""Hostile use of the command line, of tables and pages, of records and of exported models: a line for each case."""

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lamae_tutorial import LAMAE, AutoEncoder, Detector
from lamae_tutorial.benchmark import page, tables
from lamae_tutorial.benchmark.records import Result
from lamae_tutorial.cli import main
from lamae_tutorial.own_images.export import export_onnx
from lamae_tutorial.own_images.scoring import read_rows, score_images

EPOCHS = {"epochs": 2, "batch_size": 32, "random_state": 0, "device": "cpu", "verbose": False}


def run(*arguments: object) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Pictures of three kinds: (count, 8, 8)."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (count, 8, 8))
    for number, image in enumerate(images):
        image[(slice(None), slice(2, 6), slice(None, None, 3))[number % 3]] += 150 if number % 3 else 90
    return images.astype(np.uint8)


def write_pngs(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What every case may read and none may change: a model, pictures, a set in classes and a folder of records."""
    root = tmp_path_factory.mktemp("shared")
    images = pictures(240)
    labels = np.arange(240) % 3
    AutoEncoder(**EPOCHS).fit(torch.from_numpy(images)[:, None]).save(root / "model")
    write_pngs(root / "in", pictures(12, 1))
    for label in range(3):
        write_pngs(root / "set" / f"class {label}", images[labels == label])
    np.savez(root / "own.npz", x_train=images, y_train=labels)
    settings = ["--detectors", "autoencoder,memae", "--epochs", 1, "--device", "cpu"]
    assert run("run", "--id", root / "own.npz", "--held-out", 2, *settings, "--out", root / "records") == 0
    return {path.stem: path for path in root.iterdir()}


@pytest.fixture
def place(shared: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which a case runs. What is shared must come out as it was."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    os.mkfifo(tmp_path / "pipe.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAMAE_DATA", str(tmp_path))
    before = listing(shared["in"].parent)
    yield tmp_path
    assert listing(shared["in"].parent) == before


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}


def check_error(code: int, printed: tuple[str, str], expected: int, words: str) -> None:
    """One line on stderr with these words, and no traceback."""
    err = printed[1]
    assert code == expected, printed
    assert re.search(words, err), err
    assert "Traceback" not in err and "Error:" not in err
    lines = [line for line in err.splitlines() if not line.startswith(("usage:", "  ")) and "it/s" not in line]
    assert len([line for line in lines if line.startswith("lamae ")]) == 1, err


# The command line: arguments, exit code, words of the message --------------------------------------------------------

SCORE = "score {model} {in} --workers 0"
FIT = "fit --data {set} --epochs 1"
RUN = "run --id digits --held-out 1 --epochs 1"
OPTIONS = [
    (f"{RUN} --epochs 1e9", 2, "whole number.*got '1e9'"),
    (f"{RUN} --epochs 99999999999999999999", 2, "--epochs: expected a whole number"),
    (f"{RUN} --seeds 1000000000", 2, "--seeds: expected a whole number"),
    (f"{RUN} --epochs -3", 2, "got '-3'"),
    (f"{RUN} --detectors ''", 2, "expected one name or more"),
    (f"{RUN} --device nonsense", 2, "device 'nonsense' is not usable"),
    (f"{RUN} --device ''", 2, "--device: expected a name or a path; got nothing"),
    ("run --id '' --held-out 1", 2, "--id: expected a name or a path; got nothing"),
    ("run --id digits --ood , --epochs 1", 2, "expected one name or more"),
    (f"{RUN} --out ''", 2, "--out: expected a name or a path; got nothing"),
    (f"{RUN} --out file", 2, "file.*not a folder"),
    (f"{RUN} --out file/below", 2, "file.*not a folder"),
    (f"{RUN} --out /proc/none", 2, "/proc/none"),
    (f"{FIT} --seed -1 --out m", 2, "--seed: expected a whole number"),
    (f"{FIT} --seed 1.5 --out m", 2, "--seed: expected a whole number"),
    (f"{FIT} --resize 0 --out m", 2, "--resize: expected a whole number"),
    (f"{FIT} --score nonsense --out m", 2, "LANCE has the scores joint.*got 'nonsense'"),
    (f"{FIT} --detector autoencoder --per-class --out m", 2, "AutoEncoder has no classifier"),
    (f"{FIT} --detector '' --out m", 2, "--detector: expected a name or a path; got nothing"),
    (f"{FIT} --out file", 2, "file exists and is not a saved detector"),
    (f"{FIT} --out folder", 2, "folder exists and is not a saved detector"),
    (f"{FIT} --out file/m", 2, "file.*not a folder"),
    (f"{FIT} --out /proc/none/m", 2, "/proc/none"),
    (f"{FIT} --out ''", 2, "got nothing"),
    (f"{SCORE} --alpha nan --out o.csv", 2, r"alpha must lie in \(0, 1\); got nan"),
    (f"{SCORE} --alpha 0 --out o.csv", 2, r"alpha must lie in \(0, 1\)"),
    (f"{SCORE} --alpha 2 --out o.csv", 2, r"alpha must lie in \(0, 1\)"),
    (f"{SCORE} --workers -1 --out o.csv", 2, "--workers: expected a whole number"),
    (f"{SCORE} --workers 1000000 --out o.csv", 2, "--workers: expected a whole number"),
    (f"{SCORE} --batch-size 0 --out o.csv", 2, "--batch-size: expected a whole number"),
    (f"{SCORE} --batch-size 1000000000000000000000 --out o.csv", 2, "--batch-size: expected a whole number"),
    ("score {model} '' --out o.csv", 2, "INPUT: expected a name or a path; got nothing"),
    (f"{SCORE} --out o.csv --report o.csv", 2, "o.csv: the name of the page must end in .html"),
    (f"{SCORE} --out o.csv --report {{in}}/000.png", 2, "the name of the page must end in .html"),
    (f"{SCORE} --out o.csv --report folder/none/p.html", 2, "folder/none"),
    (f"{SCORE} --out o.csv --report /proc/p.html", 2, "/proc"),
    (f"{SCORE} --out folder", 2, "must end in .csv or .parquet"),
    (f"{SCORE} --out none/o.csv", 2, "none is not a folder"),
    (f"{SCORE} --out /proc/o.csv", 2, "/proc"),
    (f"{SCORE} --out /dev/full", 2, "must end in .csv or .parquet"),
    (f"{SCORE} --out o.csv --detector none.such:Class", 2, "none"),
    ("score file {in} --out o.csv", 2, "file is not a folder"),
    ("report {records} --out folder", 2, "folder.*is a folder"),
    ("report {records} --out file/r.md", 2, "file.*not a folder"),
    ("report {records} --out /dev/full", 1, "No space left"),
    ("report {records} --out /proc/none.md", 2, "/proc"),
    ("report pipe.json", 2, "pipe.json"),
    ("report folder", 2, "folder: no records"),
    ("benchmark table3 --profile smoke --epochs 1 --seeds 1 --out file", 2, "file.*not a folder"),
]


@pytest.mark.parametrize(("line", "code", "words"), OPTIONS)
def test_options(
    line: str,
    code: int,
    words: str,
    shared: dict[str, Path],
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Detector, "train_network", lambda *_: pytest.fail("trained before the check"))
    monkeypatch.setattr(Detector, "scores", lambda *_: pytest.fail("scored before the check"))
    before = listing(place)
    arguments = [word.strip("'").format(**shared) for word in line.split()]
    with deadline(20):
        ended = run(*arguments)
    check_error(ended, capsys.readouterr(), code, words)
    assert listing(place) == before


@contextmanager
def deadline(seconds: float, error: type[BaseException] = TimeoutError) -> Iterator[None]:
    """Raise an error in the block when this time is over."""

    def ring(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_duplicates_are_one(shared: dict[str, Path], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "--id", "digits", "--detectors", "autoencoder,autoencoder", "--epochs", "1", "--out", "o"]
    assert run(*line, "--ood", "noise,constant,noise") == 0
    assert run(*line, "--ood", "noise,constant") == 0
    assert len(list(Path("o").glob("*.json"))) == 1


# Whatever fails ------------------------------------------------------------------------------------------------------

FAILURES = [
    (KeyError("deep"), 1, "fault of lamae.*LAMAE_DEBUG=1"),
    (TypeError("deep"), 1, "fault of lamae.*LAMAE_DEBUG=1"),
    (RecursionError("deep"), 1, "fault of lamae.*LAMAE_DEBUG=1"),
    (MemoryError(), 1, "not enough memory"),
    (ValueError("two\nlines"), 2, "two lines"),
    (NotADirectoryError(20, "Not a directory", "x"), 2, "Not a directory: 'x'"),
    (OSError(28, "No space left on device"), 1, "No space left on device"),
    (ValueError(), 2, "ValueError"),
]


@pytest.mark.parametrize(("error", "code", "words"), FAILURES, ids=repr)
@pytest.mark.parametrize("debug", [False, True])
def test_any_error_is_one_line(
    error: Exception,
    code: int,
    words: str,
    debug: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("lamae_tutorial.data.catalogue.data_root", fail)
    if debug:
        monkeypatch.setenv("LAMAE_DEBUG", "1")
    assert run("datasets") == code
    err = capsys.readouterr().err
    assert re.search(f"lamae datasets: .*{words}", err)
    assert ("Traceback" in err) == debug and (debug or err.count("\n") == 1)


SHELL = [
    ("datasets | true", 0, ""),
    ("datasets > /dev/full", 1, "No space left on device"),
    ("datasets >&-", 0, ""),
]


@pytest.mark.parametrize(("line", "code", "words"), SHELL)
def test_in_a_shell(line: str, code: int, words: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m lamae_tutorial.cli {line}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == code
    assert words in ended.stderr and "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr
    assert ended.stderr.count("\n") <= 1


# Writing -------------------------------------------------------------------------------------------------------------


def score_line(shared: dict[str, Path], source: object, out: object, *more: object) -> list[object]:
    return ["score", shared["model"], source, "--out", out, "--workers", 0, "--device", "cpu", "--batch-size", 2, *more]


@contextmanager
def held_by_another(command: list[object], until: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command in another process; the block runs when that process stands still at this function."""
    code = f"""
import sys, time
from lamae_tutorial import cli
module, name = "{until}".rsplit(".", 1)
__import__(module)
def wait(*_, **__):
    print("here", flush=True)
    time.sleep(60)
setattr(sys.modules[module], name, wait)
sys.exit(cli.main({[str(word) for word in command]}))
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    try:
        while "here" not in (line := other.stdout.readline()):
            assert line, "the other process ended"
        yield other
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


LOCKED = [
    ("score", "lamae_tutorial.own_images.scoring._rows"),
    ("fit", "lamae_tutorial.own_images.fit.fit_images"),
    ("run", "lamae_tutorial.benchmark.grid.compute"),
]


@pytest.mark.parametrize(("name", "until"), LOCKED)
def test_two_processes_with_one_output(
    name: str, until: str, shared: dict[str, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = {
        "score": score_line(shared, shared["in"], "o.csv"),
        "fit": ["fit", "--data", shared["set"], "--detector", "autoencoder", "--epochs", 1, "--out", "o"],
        "run": ["run", "--id", "digits", "--held-out", 1, "--detectors", "autoencoder", "--epochs", 1, "--out", "o"],
    }[name]
    with held_by_another(command, until) as other:
        check_error(run(*command), capsys.readouterr(), 2, rf"is being written by process {other.pid}\b")
    assert run(*command) == 0, "the lock of a dead process is taken over"
    assert not [path.name for path in place.rglob(".*")]


def test_a_full_disk_ends_with_1_and_resumes(
    shared: dict[str, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*score_line(shared, shared["in"], "whole.csv")) == 0
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limits[1]))
    try:
        code = run(*score_line(shared, shared["in"], "o.csv"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    check_error(code, capsys.readouterr(), 1, "File too large")
    assert not Path("o.csv").exists()
    assert run(*score_line(shared, shared["in"], "o.csv", "--resume")) == 0
    same_tables("o.csv", "whole.csv")


def same_tables(*names: str) -> None:
    pd.testing.assert_frame_equal(*(pd.read_csv(name) for name in names), rtol=1e-5)


@pytest.mark.parametrize("number", range(6))
def test_ctrl_c_leaves_nothing_half_written(
    number: int, shared: dict[str, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*score_line(shared, shared["in"], "whole.csv")) == 0
    with deadline(0.003 * 2**number, KeyboardInterrupt):
        try:
            code = run(*score_line(shared, shared["in"], "o.csv", "--report", "p.html"))
        except KeyboardInterrupt:
            code = 130
    if code:  # mostly 130, but the interrupted call of a library may have raised another error
        assert not Path("p.html").exists() or Path("p.html").read_text().endswith("</html>\n")
        if not Path("o.csv").exists():
            assert run(*score_line(shared, shared["in"], "o.csv", "--resume")) == 0
    same_tables("o.csv", "whole.csv")
    assert "Traceback" not in capsys.readouterr().err


def rewritten(source: Path) -> None:
    Image.fromarray(pictures(1, 9)[0].T).save(source / "001.png")


def rewritten_with_its_time(source: Path) -> None:
    time = (source / "001.png").stat().st_mtime_ns
    Image.fromarray(pictures(1, 9)[0].T).save(source / "001.png")
    os.utime(source / "001.png", ns=(time, time))


def gone(source: Path) -> None:
    (source / "001.png").unlink()


def added(source: Path) -> None:
    Image.fromarray(pictures(1, 9)[0].T).save(source / "0005.png")


def rewritten_array(source: Path) -> None:
    np.save(source.with_suffix(".npy"), pictures(12, 3))


CHANGES = [rewritten, rewritten_with_its_time, gone, added, rewritten_array]


@pytest.mark.parametrize("change", CHANGES)
def test_resume_after_the_source_changed(
    change: Callable[[Path], None], shared: dict[str, Path], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path("source")
    write_pngs(source, pictures(12, 1))
    np.save("source.npy", pictures(12, 1))
    given = "source.npy" if change is rewritten_array else source
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        assert run(*score_line(shared, given, "o.csv")) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    change(source)
    assert run(*score_line(shared, given, "o.csv", "--resume")) == 0
    assert run(*score_line(shared, given, "whole.csv")) == 0
    same_tables("o.csv", "whole.csv")


def test_an_output_inside_the_input_is_not_scored(shared: dict[str, Path], place: Path) -> None:
    write_pngs(Path("source"), pictures(4, 1))
    line = ["--report", "source/p.html"]
    assert run(*score_line(shared, "source", "source/o.csv", *line)) == 0
    Path("source/o.csv").unlink()
    assert run(*score_line(shared, "source/*", "source/o.csv", *line)) == 0
    assert [Path(row["path"]).name for row in read_rows(Path("source/o.csv"))] == [
        f"00{number}.png" for number in range(4)
    ]


@pytest.mark.parametrize(
    "wrong", [{"workers": -1}, {"batch_size": 0}, {"batch_size": 1.5}, {"suspects": -1}, {"alpha": np.nan}]
)
def test_parameters_of_score_images(wrong: dict[str, float], shared: dict[str, Path], place: Path) -> None:
    detector = AutoEncoder.load(shared["model"], "cpu")
    with pytest.raises(ValueError, match=next(iter(wrong))):
        score_images(detector, str(shared["in"]), Path("o.csv"), **wrong)
    assert not list(place.glob(".*")) and not Path("o.csv").exists()


# Names ---------------------------------------------------------------------------------------------------------------

NAMES = [
    "a|b",
    "a&b",
    "a#b",
    "<b>x",
    "a\nb",
    "a\rb",
    "a\\b",
    "$a$b$",
    "a_b^c",
    "50%",
    "~{x}",
    os.fsdecode(b"\xff\xfe"),
    "&lt;",
    "\x01",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_in_tables(name: str) -> None:
    table = tables.Table("T", "N.", pd.DataFrame({"OoD": [name, "plain"], "AUROC": ["1.0", "2.0"]}))
    markdown = tables.as_markdown([table])
    markdown.encode()
    lines = markdown.splitlines()[4:]
    assert len(lines) == 4 and all(len(re.split(r"(?<!\\)\|", line)) == 4 for line in lines)
    assert not re.search(r"(?<!\\)(<b>|&lt;)", markdown)
    latex = tables.as_latex([table])
    latex.encode()
    assert len(latex.splitlines()) == 9 and not re.search(r"(?<!\\)[#%]", latex.partition("\n")[2])
    assert "|" not in latex.replace("$|$", "")
    html = page.as_html(f"Scores of {name}", [table], {})
    html.encode()
    assert "<b>" not in html and html.count("<td>") == 4
    if name.isprintable():
        assert f"<td>{name}</td>" in unescape(html)
    if name in ("a|b", "a&b", "a#b"):
        assert tables.text_table(["x"], [[name]]).count(name.replace("|", "\\|")) == 1


def result(**changes: object) -> Result:
    usual = ("own without 2", "own", "own-2", "AE", "error", "error", 0, 10, 10, 0.9, 0.9, 0.9, 0.1)
    return Result(**{**asdict(Result(*usual)), **changes})


@pytest.mark.parametrize("name", [*NAMES, "../up", "x" * 300, "_under"], ids=ascii)
def test_names_in_reports(name: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r").mkdir()
    record = {"detector": "AutoEncoder", "settings": {"epochs": 1}}
    results = [asdict(result(id=name, ood=f"{name}-2", scenario=name, seed=seed)) for seed in (0, 1)]
    Path("r/cell.json").write_text(json.dumps([{**record, "results": results}]))
    for kind, end in (("markdown", "md"), ("csv", "csv"), ("latex", "tex"), ("html", "html")):
        assert run("report", "r", "--format", kind) == 0, capsys.readouterr().err
        assert run("report", "r", "--format", kind, "--out", f"o/r.{end}") == 0, capsys.readouterr().err
        Path(f"o/r.{end}").read_text(encoding="utf-8")
    with Path("o/r.csv").open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert line["id"].encode() == name.replace("\r", "\\r").encode("utf-8", "backslashreplace")
    assert len(list(Path("o").iterdir())) == 4 + 2 and set(Path().iterdir()) >= {Path("o")}
    assert not Path("up-auroc").exists() and not list(Path().glob("up*"))


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_names_of_scored_files(end: str, shared: dict[str, Path], place: Path) -> None:
    names = [name.replace("/", "_") for name in NAMES]
    Path("source").mkdir()
    for number, name in enumerate(names):
        Image.fromarray(pictures(20, 1)[number]).save(Path("source", f"{name}.png"))
    out = Path(os.fsdecode(b"o\xff." + end.encode()))
    assert run(*score_line(shared, "source", out, "--report", "p.html")) == 0
    text = Path("p.html").read_text(encoding="utf-8")
    assert "<b>" not in text and text.endswith("</html>\n")
    if end == "csv":
        assert {Path(row["path"]).stem for row in read_rows(out)} == set(names)
    else:
        import pyarrow.parquet

        with out.open("rb") as file:
            found = {Path(path).stem for path in pyarrow.parquet.read_table(file)["path"].to_pylist()}
        assert found == {name.encode("utf-8", "backslashreplace").decode() for name in names}


def test_a_run_of_a_set_with_a_name_of_bytes(
    place: Path, shared: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(os.fsdecode(b"a|\xff\n$x$.npz"))
    path.write_bytes(shared["own"].read_bytes())
    line = ["run", "--id", path, "--held-out", 2, "--detectors", "autoencoder", "--epochs", 1]
    assert run(*line, "--out", "o") == 0, capsys.readouterr().err
    assert run("report", "o", "--out", "r.md") == 0


# Reports -------------------------------------------------------------------------------------------------------------


def edit(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edited(file: Path) -> None:
        (record,) = json.loads(file.read_text())
        changed = change(record)
        file.write_text(json.dumps([record if changed is None else changed]))

    return edited


def edit_arrays(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def edited(file: Path) -> None:
        with np.load(file.with_suffix(".npz")) as saved:
            arrays = dict(saved)
        change(arrays)
        np.savez(file.with_suffix(".npz"), **arrays)

    return edited


def write(text: str, end: str = ".json") -> Callable[[Path], None]:
    return lambda file: (file.with_suffix(end).write_text(text), None)[1]


def cut(file: Path) -> None:
    raw = file.with_suffix(".npz").read_bytes()
    file.with_suffix(".npz").write_bytes(raw[: len(raw) // 2])


def change_all_of(name: str, value: object) -> Callable[[dict], None]:
    return lambda record: [one.update({name: value}) for one in record["results"]][:0]


DAMAGES = {
    "an empty file": (write(""), ".json"),
    "an empty list": (write("[]"), ".json"),
    "an empty record": (write("{}"), ".json"),
    "numbers": (write("[1, 2]"), ".json"),
    "a text": (write('"abc"'), ".json"),
    "deep": (write("[" * 100_000), ".json"),
    "no results": (edit(lambda record: record.update(results=[])), ".json"),
    "results are text": (edit(lambda record: record.update(results="abc")), ".json"),
    "no settings": (edit(lambda record: record.pop("settings") and None), ".json"),
    "settings are a list": (edit(lambda record: record.update(settings=[1])), ".json"),
    "no detector": (edit(lambda record: record.pop("detector") and None), ".json"),
    "another version": (edit(change_all_of("new_field", 1)), ".json"),
    "NaN": (edit(change_all_of("auroc", float("nan"))), ".json"),
    "AUROC 17": (edit(change_all_of("auroc", 17)), ".json"),
    "AUROC text": (edit(change_all_of("auroc", "0.5")), ".json"),
    "ID a list": (edit(change_all_of("id", ["own"])), ".json"),
    "seed a text": (edit(change_all_of("seed", "a")), ".json"),
    "cell a list": (edit(lambda record: record.update(cell=[])), ".json"),
    "cell without a scenario": (edit(lambda record: record["cell"].pop("scenario") and None), ".json"),
    "scenario without a protocol": (edit(lambda record: record["cell"]["scenario"].pop("protocol") and None), ".json"),
    "binary": (lambda file: file.write_bytes(bytes(range(256))) and None, ".json"),
    "cut arrays": (cut, ".npz"),
    "no arrays in it": (write("", ".npz"), ".npz"),
    "arrays are text": (write("abc", ".npz"), ".npz"),
    "a score is missing": (edit_arrays(lambda arrays: arrays.pop("score/error/id")), ".npz"),
    "entropy is missing": (
        edit_arrays(lambda arrays: [arrays.pop(name) for name in list(arrays) if "entropy" in name]),
        ".npz",
    ),
    "scores of another length": (edit_arrays(lambda arrays: arrays.update({"score/error/id": np.ones(3)})), ".npz"),
    "scores are NaN": (edit_arrays(lambda arrays: arrays["score/error/id"].fill(np.nan)), ".npz"),
    "scores are text": (edit_arrays(lambda arrays: arrays.update({"score/error/id": np.array(["a"])})), ".npz"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_records(name: str, shared: dict[str, Path], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, end = DAMAGES[name]
    Path("r").mkdir()
    for file in shared["records"].glob("*-seed0-*"):
        Path("r", file.name).write_bytes(file.read_bytes())
    victim = sorted(Path("r").glob("*.json"))[0]
    damage(victim)
    for kind in ("markdown", "html"):
        code = run("report", "r", "--format", kind, "--out", "o.txt")
        check_error(code, capsys.readouterr(), 2, re.escape(victim.with_suffix(end).name))
        assert not Path("o.txt").exists()


@pytest.mark.parametrize("end", [".json", ".npz"])
def test_a_report_does_not_overwrite_its_input(
    end: str, shared: dict[str, Path], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next(shared["records"].glob(f"*{end}"))
    check_error(run("report", shared["records"], "--out", file), capsys.readouterr(), 2, "is an input")


def test_a_damaged_cell_is_named_before_training(
    shared: dict[str, Path], place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["benchmark", "table3", "--profile", "smoke", "--epochs", 1, "--seeds", 1, "--out", "o"]
    assert run(*line, "--detectors", "autoencoder") == 0
    (file,) = Path("o").glob("*.json")
    file.write_text("")
    capsys.readouterr()
    monkeypatch.setattr("lamae_tutorial.benchmark.grid.compute", lambda *_: pytest.fail("trained"))
    check_error(run(*line, "--detectors", "autoencoder,memae"), capsys.readouterr(), 2, file.name)


# ONNX ----------------------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def session_of(path: Path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def lamae() -> LAMAE:
    images = torch.from_numpy(pictures(300))[:, None]
    detector = LAMAE(**EPOCHS).fit(images[:150], torch.arange(150) % 3)
    detector.class_names_ = ("a|b", "ü", "c")
    return detector


@pytest.mark.parametrize(
    ("kind", "per_class", "alpha"),
    [("error", False, 0.05), ("error+", False, 0.2), ("error+", True, 0.1), ("msp", False, 0.05), ("msp", True, 0.3)],
)
def test_p_values_and_verdicts_of_an_exported_model(
    lamae: LAMAE, kind: str, per_class: bool, alpha: float, tmp_path: Path
) -> None:
    images = torch.from_numpy(pictures(300))[:, None]
    lamae.calibrate(images[150:], kind, per_class)
    session = session_of(export_onnx(lamae, tmp_path / "m.onnx", alpha=alpha))
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8))
    for batch in (images, noise, noise[:1]):  # the calibration images too: ties count
        p_values, is_ood = session.run(["p_value", "is_ood"], {"images": batch.float().numpy() / 255})
        expected = lamae.p_values(batch)
        equal = np.isclose(p_values, expected, rtol=1e-6)  # scores that differ by rounding may change their places
        assert equal.mean() > 0.99 and np.abs(p_values - expected).max() < 0.05
        np.testing.assert_array_equal(is_ood[equal], (lamae.predict(batch, alpha) == -1)[equal])
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["class_names"]) == ["a|b", "ü", "c"] and json.loads(told["image_shape"]) == [1, 8, 8]
    assert (float(told["alpha"]), told["score"]) == (alpha, kind)


BAD_PIXELS = [np.nan, np.inf, -np.inf, -0.01, 1.01, 255, -1e30]


def test_a_bad_image_never_gets_a_finite_score(lamae: LAMAE, tmp_path: Path) -> None:
    images = torch.from_numpy(pictures(300))[:, None]
    lamae.calibrate(images[150:])
    session = session_of(export_onnx(lamae, tmp_path / "m.onnx"))
    good = images[: len(BAD_PIXELS)].float().numpy() / 255
    bad = good.copy()
    for image, value in zip(bad, BAD_PIXELS, strict=True):
        image[0, 3, 3] = value
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(None, {"images": good}), strict=True))
    found = dict(zip(names, session.run(None, {"images": np.concatenate([bad, good])}), strict=True))
    for name, values in found.items():
        wrong, right = values[: len(bad)], values[len(bad) :]
        np.testing.assert_allclose(right, expected[name], rtol=1e-4, atol=1e-5)
        if name == "is_ood":
            assert wrong.all(), "never accepted"
        elif name == "predicted_class":
            assert (wrong == -1).all()
        else:
            assert np.isnan(wrong).all(), name


EXPORTS = [
    ({"alpha": 0.0}, "m.onnx", ValueError, r"alpha must lie in \(0, 1\)"),
    ({"alpha": 0.001}, "m.onnx", ValueError, "no p-value is as low as alpha = 0.001"),
    ({}, "none/m.onnx", FileNotFoundError, "none is not a folder"),
    ({}, "folder", IsADirectoryError, "folder is a folder"),
]


@pytest.mark.parametrize(("settings", "name", "kind", "words"), EXPORTS)
def test_exports_that_are_refused(
    settings: dict[str, float],
    name: str,
    kind: type[Exception],
    words: str,
    place: Path,
    lamae: LAMAE,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: pytest.fail("exported before the check"))
    before = listing(place)
    with pytest.raises(kind, match=words):
        export_onnx(lamae, Path(name), **settings)
    assert listing(place) == before
