"""The command line, in this process and as an installed command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lamae_tutorial import __version__
from lamae_tutorial.benchmark import cells, grid
from lamae_tutorial.benchmark.experiments import CellSpec, ScenarioSpec
from lamae_tutorial.cli import main


def run(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as end:  # argparse exits this way
        return int(end.code or 0)


def test_run_prints_the_table_and_writes_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    code = run("run", "--id", "digits", "--held-out", "1", "--epochs", "1", "--seeds", "2", "--out", str(out))
    printed = capsys.readouterr()
    assert code == 0
    rows = [line.split("|")[2:4] for line in printed.out.splitlines() if line.startswith("| digits")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["AE", "2"],
        ["AE+", "2"],
        ["AE (cosine)", "2"],
        ["LAMAE", "2"],
        ["LAMAE+", "2"],
        ["LAMAE (cosine)", "2"],
        ["LAMAE (energy)", "2"],
        ["LAMAE (msp)", "2"],
        ["LAMAE (error+ & msp)", "2"],
    ]
    assert "Accuracy on ID test images: LAMAE " in printed.out
    assert "±" in printed.out and "seed 1, LAMAE, AUROC: digits-1 " in printed.err
    records = [json.loads(path.read_text())[0] for path in out.glob("*.json")]
    assert sorted((record["detector"], record["seed"]) for record in records) == [
        (name, seed) for name in ("AutoEncoder", "LAMAE") for seed in (0, 1)
    ]
    assert len(list(out.glob("*.npz"))) == 4
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert f"Written: {out}: 4 cells (.json, .npz), figure.png" in printed.out


def test_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = []

    def train(scenario, detector, seed, post_hoc):
        trained.append((detector.title, seed))
        if trained == [("AE", 0), ("LAMAE", 0)]:
            raise RuntimeError("out of memory")
        return run_cell(scenario, detector, seed, post_hoc)

    run_cell = cells.run_cell
    monkeypatch.setattr(cells, "run_cell", train)
    arguments = ["run", "--id", "digits", "--held-out", "1", "--epochs", "1", "--out", str(tmp_path)]
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert "| digits-1 | AE " in printed.out and "LAMAE" not in printed.out
    assert "lamae-seed0" in printed.err and "failed: RuntimeError: out of memory" in printed.err
    assert run(*arguments, "--seeds", "2") == 0
    assert trained == [("AE", 0), ("LAMAE", 0), ("LAMAE", 0), ("AE", 1), ("LAMAE", 1)]
    assert "| digits-1 | LAMAE+ " in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.json"))) == 4 and not list(tmp_path.glob("*.failed"))
    assert run("report", str(tmp_path)) == 0


def test_a_run_does_not_go_on_with_other_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "own.npz", tmp_path / "out"
    arguments = ["run", "--id", str(path), "--held-out", "2", "--epochs", "1", "--detectors", "memae"]
    for seed in (0, 1):
        images = np.random.default_rng(seed).integers(0, 256, (60, 6, 6), dtype=np.uint8)
        np.savez(path, x_train=images, y_train=np.arange(60) % 3)
        assert run(*arguments, "--out", str(out)) == (2 if seed else 0)
    assert "was made from other images of own train, own test: name another folder" in capsys.readouterr().err
    assert run(*arguments, "--out", str(tmp_path / "another")) == 0


def test_a_run_without_a_folder_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run("run", "--id", "digits", "--held-out", "1", "--detectors", "godin", "--epochs", "1") == 0
    assert list(tmp_path.iterdir()) == []


def test_run_across_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "--id", "digits", "--ood", "constant, noise", "--detectors", "autoencoder", "--epochs", "1") == 0
    rows = [line.split("|")[1:3] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [[cell.strip() for cell in row] for row in rows] == [
        [ood, detector] for ood in ("constant", "noise") for detector in ("AE", "AE+", "AE (cosine)")
    ]


def test_own_npz_by_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "own.npz"
    np.savez(path, x_train=rng.integers(0, 256, (60, 6, 6), dtype=np.uint8), y_train=np.arange(60) % 3)
    assert run("run", "--id", str(path), "--held-out", "2", "--epochs", "1") == 0
    assert "| own-2 | LAMAE+" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--id", "digits", "--held-out", "11"], "digits has no class '11'; it has 0 (0)"),
        (["run", "--id", "digits", "--held-out", "1", "--detectors", "lame"], "unknown detector lame; there are"),
        (["run", "--id", "mnits", "--held-out", "1"], "unknown image set 'mnits'"),
        (["run", "--id", "digits", "--held-out", "1", "--device", "gpu"], "device 'gpu' is not usable"),
        (["run", "--id", "digits", "--held-out", "1", "--epochs", "0"], "expected a whole number >= 1; got '0'"),
        (["run", "--id", "digits", "--ood", ","], "expected one name or more"),
        (["run", "--id", "digits"], "one of the arguments --held-out --ood is required"),
        (["run", "--id", "digits", "--held-out", "1", "--ood", "noise"], "not allowed with"),
        (["benchmark", "table4"], "invalid choice: 'table4'"),
        (["benchmark", "table3", "--detectors", "lamae,lame"], "unknown detector lame; there are"),
        (["benchmark", "table3", "--workers", "2", "--scheduler", "tcp://localhost:1"], "not allowed with"),
        (["datasets", "--download", "mnits"], "unknown image set 'mnits'"),
        ([], "required: COMMAND"),
    ],
)
def test_bad_arguments_end_with_2_and_say_why(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def test_benchmark_ends_with_1_when_a_cell_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(scenario, detector, seed, post_hoc):
        if detector.title == "MemAE":
            raise RuntimeError("out of memory")
        return run_cell(scenario, detector, seed, post_hoc)

    run_cell = cells.run_cell
    monkeypatch.setattr(cells, "run_cell", train)
    arguments = ["benchmark", "table3", "--profile", "smoke", "--seeds", "1", "--epochs", "1", "--out", str(tmp_path)]
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert "2 of 3 cells finished" in printed.out and "1 cells failed" in printed.err
    rows = next(part for part in printed.out.split("##") if "| OoD " in part).splitlines()
    assert [line.split("|")[2].strip() for line in rows if "digits" in line] == [
        *("AE", "AE+", "AE (cosine)"),
        *("LAMAE", "LAMAE+", "LAMAE (cosine)", "LAMAE (energy)", "LAMAE (msp)", "LAMAE (error+ & msp)"),
    ]
    monkeypatch.undo()
    assert run(*arguments) == 1  # the failure stays recorded
    assert run(*arguments, "--retry-failed") == 0
    assert "| digits-1 | MemAE+" in capsys.readouterr().out


def test_missing_data_and_taken_folders_end_with_2_before_training(
    no_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("run", "--id", "mnist", "--held-out", "1", "--data", str(no_data)) == 2
    assert "lamae datasets --download mnist" in capsys.readouterr().err
    (tmp_path / "taken.txt").write_text("mine")
    assert run("run", "--id", "digits", "--held-out", "1", "--out", str(tmp_path / "taken.txt")) == 2
    printed = capsys.readouterr()
    assert "taken.txt" in printed.err and "seed" not in printed.err


def test_datasets_lists_what_is_there_and_how_to_get_the_rest(
    no_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(
        no_data / "fashion_mnist.npz", x_train=np.zeros((7, 28, 28), np.uint8), x_test=np.zeros((3, 28, 28), np.uint8)
    )
    assert run("datasets", "--data", str(no_data)) == 0
    lines = {line.split("|")[1].strip(): line for line in capsys.readouterr().out.splitlines() if "|" in line}
    assert "7 + 3" in lines["fashion_mnist"] and "fashion_mnist.npz" in lines["fashion_mnist"]
    assert "60000 + 10000" in lines["mnist"] and "lamae datasets --download mnist" in lines["mnist"]
    assert "notMNIST_small.tar.gz" in lines["notmnist"] and "1437 + 360" in lines["digits"]
    mini = [cell.strip() for cell in lines["mini_mnist"].split("|")[1:-1]]
    assert mini == ["mini_mnist", "1 x 28 x 28", "4000 + 1000", "embedded in lamae-tutorial"]
    (no_data / "mnist.npz").write_bytes(b"damaged")
    assert run("datasets", "--data", str(no_data)) == 2


def test_demo_has_the_smoke_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run_grid(cells, folder, **_):
        seen.extend(cells)
        return grid.Grid([], [])

    monkeypatch.setattr(grid, "run_grid", run_grid)
    assert run("demo") == 0
    assert seen == [
        CellSpec(ScenarioSpec("digits", "1"), name, seed, 40) for seed in (0, 1, 2) for name in ("autoencoder", "lamae")
    ]


def test_any_detector_runs_on_an_experiments_scenarios(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["benchmark", "table3", "--profile", "smoke", "--seeds", "1", "--epochs", "1", "--out", str(tmp_path)]
    assert run(*arguments, "--detectors", "godin") == 0
    printed = capsys.readouterr()
    assert "1 of 1 cells finished" in printed.out and "| GODIN" in printed.out


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["benchmark", "--help"], ["--version"]])
def test_help_does_not_import_torch(arguments: list[str]) -> None:
    code = f"""
import sys
from lamae_tutorial.benchmark.experiments import CellSpec, ScenarioSpec
from lamae_tutorial.cli import main
try:
    main({arguments})
except SystemExit:
    assert "torch" not in sys.modules
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "lamae" in ended.stdout


def test_the_installed_command(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("lamae")
    ended = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ended.stdout == f"lamae-tutorial {__version__}\n"
