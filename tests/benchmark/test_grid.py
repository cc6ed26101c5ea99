"""The files of cells: complete or absent, computed once, and computed again if a setting changes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lamae_tutorial import LAMAE, leave_one_class_out
from lamae_tutorial.benchmark import grid
from lamae_tutorial.benchmark.cells import cell_key
from lamae_tutorial.benchmark.experiments import CellSpec, ScenarioSpec
from lamae_tutorial.benchmark.grid import run_grid
from lamae_tutorial.benchmark.records import read_results

WITHOUT_1 = ScenarioSpec("digits", "1")
CELLS = [CellSpec(WITHOUT_1, name, 0, epochs=2) for name in ("autoencoder", "lamae", "godin")]
COMMAND = [sys.executable, "-m", "lamae_tutorial.cli", "benchmark"]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    done = run_grid(CELLS, folder, device="cpu")
    assert [path.name for path in done.finished] == [f"{cell_key(cell)}.json" for cell in CELLS]
    assert done.failed == []
    return folder


def test_a_cell_leaves_its_record_and_its_scores(folder: Path) -> None:
    assert set(content(folder)) == {f"{cell_key(cell)}{end}" for cell in CELLS for end in (".json", ".npz")}
    path = folder / f"{cell_key(CELLS[1])}.json"
    (record,) = json.loads(path.read_text())
    scenario = leave_one_class_out("digits", 1, random_state=0)
    detector = LAMAE(epochs=2, random_state=0, device="cpu", verbose=False)
    detector.fit(scenario.train.images, scenario.train.labels, scenario.validation)
    ood = scenario.ood["digits-1"].images
    assert record["image_shape"] == [1, 8, 8]
    assert record["cell"]["scenario"] == {"id": "digits", "held_out": "1", "ood": [], "protocol": "balanced"}
    assert [result.epochs for result in read_results([path])] == [2] * 6
    with np.load(path.with_suffix(".npz")) as arrays:
        np.testing.assert_array_equal(arrays["score/error/ood/digits-1"], detector.score(ood))
        entropy = [arrays["entropy/id"].mean(), arrays["entropy/ood/digits-1"].mean()]
        assert [record["results"][0][name] for name in ("id_entropy", "ood_entropy")] == entropy
        shown = arrays["image/ood/digits-1"]
        rebuilt = detector.reconstruct(shown).numpy() * 255
        assert shown.shape == (8, 1, 8, 8)
        np.testing.assert_allclose(arrays["reconstruction/ood/digits-1"], rebuilt, atol=0.51)
    with np.load(folder / f"{cell_key(CELLS[2])}.npz") as arrays:  # GODIN does not rebuild images
        assert not [name for name in arrays if name.startswith("reconstruction/")]


def test_seeds_side_by_side(folder: Path, tmp_path: Path) -> None:
    broken = replace(CELLS[0], parameters=(("reduction", "median"),))
    dsebm = replace(CELLS[0], detector="dsebm")  # cannot be stacked
    cells = [replace(cell, seed=seed) for cell in (CELLS[1], dsebm, broken) for seed in (0, 1)]
    done = run_grid(cells, tmp_path, device="cpu", side_by_side=True)
    assert [path.name for path in done.failed] == [f"{cell_key(cell)}.failed" for cell in cells[4:]]
    records = [json.loads(path.read_text())[0] for path in done.finished]
    assert [record["seed"] for record in records] == [0, 1, 0, 1]
    assert [record.get("side_by_side") for record in records] == [[0, 1], [0, 1], None, None]
    (alone,) = json.loads((folder / f"{cell_key(CELLS[1])}.json").read_text())
    assert records[0]["settings"] == alone["settings"]
    assert records[0]["results"][0]["auroc"] == pytest.approx(alone["results"][0]["auroc"], abs=0.02)
    assert records[1]["results"][0]["auroc"] != records[0]["results"][0]["auroc"]


def test_finished_cells_are_not_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(folder)
    monkeypatch.setattr(grid, "compute", lambda *_: pytest.fail("ran again"))
    assert len(run_grid(CELLS, folder).finished) == 3
    assert content(folder) == before


def test_a_changed_setting_makes_a_new_cell() -> None:
    cell = CELLS[1]
    changes = [
        {"seed": 1},
        {"epochs": 3},
        {"detector": "memae"},
        {"parameters": (("beta", 2.0),)},
        {"scenario": ScenarioSpec("digits", "2")},
        {"scenario": ScenarioSpec("digits", "1", protocol="test-only")},
        {"scenario": ScenarioSpec("digits", ood=("noise",))},
    ]
    keys = {cell_key(cell), *(cell_key(replace(cell, **change)) for change in changes)}
    assert len(keys) == 8
    usual = cell_key(replace(cell, parameters=(("slots_per_class", 10),)))  # 10 is LAMAE's default
    assert usual == cell_key(cell)
    assert cell_key(cell).startswith("digits-without-1-lamae-seed0-")


def test_a_changed_default_makes_a_new_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cell_key(CELLS[1])
    assert LAMAE.__init__.__kwdefaults__["beta"] == 1.0
    monkeypatch.setitem(LAMAE.__init__.__kwdefaults__, "beta", 2.0)
    assert cell_key(CELLS[1]) != before


RECORDS = Path(__file__).parents[2] / "book/results/fast"


@pytest.mark.parametrize("end", ["lamae-seed0-*", "godin-seed1-*", "vae-seed2-*"])
def test_committed_cells_keep_their_names(end: str) -> None:
    (path,) = RECORDS.glob(f"mnist-without-7-{end}.json")
    (record,) = json.loads(path.read_text())
    described = record["cell"]
    scenario = ScenarioSpec(**{**described["scenario"], "ood": tuple(described["scenario"]["ood"])})
    assert f"{cell_key(CellSpec(**{**described, 'scenario': scenario, 'parameters': ()}))}.json" == path.name


def test_another_recipe_makes_a_new_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cell_key(CELLS[1])
    monkeypatch.setattr(LAMAE, "recipe", 2)
    assert cell_key(CELLS[1]) != before


def test_any_name_makes_a_files_name() -> None:
    paths = ["/data/my images/own.npz", "/data/my_images/own.npz", "../own.npz", "ü" * 300 + ".npz"]
    keys = [cell_key(replace(CELLS[0], scenario=ScenarioSpec(path, "a/b"))) for path in paths]
    keys.append(cell_key(replace(CELLS[0], detector="lamae_tutorial.detectors.lamae:LAMAE")))
    assert len(set(keys)) == 5
    for key in keys:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*-seed0-[0-9a-f]{12}", key) and len(key) < 150
    assert keys[0].startswith("data_my_images_own.npz-without-a_b-autoencoder-seed0-")


def test_a_failing_cell_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    broken = replace(CELLS[0], parameters=(("reduction", "median"),))
    done = run_grid([broken, CELLS[2]], tmp_path, device="cpu")
    assert [path.name for path in done.failed] == [f"{cell_key(broken)}.failed"]
    assert [path.name for path in done.finished] == [f"{cell_key(CELLS[2])}.json"]
    failure = json.loads(done.failed[0].read_text())
    assert failure["error"] == 'ValueError: reduction must be "sum" or "mean"; got \'median\''
    assert "check_parameters" in failure["traceback"]


def test_failed_cells_run_again_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(grid, "compute", fails)
        assert len(run_grid(CELLS[2:], tmp_path, device="cpu").failed) == 1
    assert len(run_grid(CELLS[2:], tmp_path, device="cpu").failed) == 1
    done = run_grid(CELLS[2:], tmp_path, device="cpu", retry_failed=True)
    assert (len(done.finished), done.failed) == (1, [])
    assert not list(tmp_path.glob("*.failed"))


@pytest.mark.parametrize("written", [0, 1])
def test_half_written_cells_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """The disk is full when the first or the second file of a cell is written."""
    calls = []

    def full(file: int) -> None:
        calls.append(file)
        if len(calls) > written:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            run_grid(CELLS[2:], tmp_path, device="cpu")
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"] * written
    assert len(run_grid(CELLS[2:], tmp_path, device="cpu").finished) == 1
    assert len(content(tmp_path)) == 2


def test_missing_data_and_unknown_detectors_end_it_before_anything_runs(tmp_path: Path, no_data: Path) -> None:
    cells = [CELLS[0], CellSpec(ScenarioSpec("mnist", ood=("fashion_mnist",)), "lamae", 0, 1)]
    with pytest.raises(FileNotFoundError, match=r"mnist, fashion_mnist: not found in (.|\n)*--download mnist"):
        run_grid(cells, tmp_path / "out", root=str(no_data))
    with pytest.raises(ValueError, match="unknown detector lame; there are"):
        run_grid([CELLS[0], replace(CELLS[0], detector="lame")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [*COMMAND, "table3", "--profile", "smoke", "--epochs", "10", "--out", str(tmp_path), "--device", "cpu"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while len(list(tmp_path.glob("*.json"))) < 3:
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    running.stderr.close()
    before = {name: text for name, text in content(tmp_path).items() if name.endswith(".json")}
    assert 3 <= len(before) < 9
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    after = content(tmp_path)
    assert {name: after[name] for name in before} == before
    assert ended.stderr.count("digits without 1, seed") == 9 - len(before)
    assert sorted(Path(name).suffix for name in after) == [".json"] * 9 + [".npz"] * 9
    results = read_results(sorted(tmp_path.glob("*.json")))
    trained = [(result.title, result.seed) for result in results if result.title in ("AE", "MemAE", "LAMAE")]
    assert sorted(trained) == [(title, seed) for title in ("AE", "LAMAE", "MemAE") for seed in (0, 1, 2)]
    assert "9 of 9 cells finished" in ended.stdout
    assert "| digits-1 | LAMAE+" in ended.stdout
