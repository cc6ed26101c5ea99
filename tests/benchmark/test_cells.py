"""Cells, their results and what is written of them."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from lamae_tutorial import ImageSet, Scenario, complexity_normalized, leave_one_class_out, plots, summary
from lamae_tutorial.benchmark import cells as benchmark
from lamae_tutorial.benchmark.cells import Cell, check_new_folder, run_cells, write_run


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return list(
        run_cells(
            lambda seed: leave_one_class_out("digits", 1, random_state=seed),
            ["autoencoder", "lamae"],
            [0, 1],
            epochs=2,
            device="cpu",
        )
    )


def test_a_cell_holds_plain_and_normalised_scores(cells: list[Cell]) -> None:
    assert [(cell.seed, *cell.scores) for cell in cells] == [
        (seed, *titles)
        for seed in (0, 1)
        for titles in (
            ("AE", "AE+", "AE (cosine)"),
            ("LAMAE", "LAMAE+", "LAMAE (cosine)", "LAMAE (energy)", "LAMAE (msp)", "LAMAE (error+ & msp)"),
        )
    ]
    cell = cells[1]
    ood = cell.scenario.ood["digits-1"].images
    np.testing.assert_array_equal(cell.scores["LAMAE"]["digits-1"], cell.detector.score(ood))
    np.testing.assert_array_equal(
        cell.scores["LAMAE+"]["digits-1"], complexity_normalized(cell.detector.score(ood), ood)
    )
    np.testing.assert_array_equal(cell.scores["LAMAE (msp)"]["digits-1"], cell.detector.score(ood, "msp"))
    result = cell.results[1]
    metrics = summary(cell.scores["LAMAE+"]["id"], cell.scores["LAMAE+"]["digits-1"])
    assert (result.detector, result.ood, result.seed, result.n_ood) == ("LAMAE+", "digits-1", 0, 182)
    assert (result.auroc, result.auprc_ood, result.auprc_id, result.fpr95) == (
        metrics.auroc,
        metrics.auprc_ood,
        metrics.auprc_id,
        metrics.fpr_at_tpr,
    )


def test_reconstruction_and_classifier_are_joined_on_validation_images(cells: list[Cell]) -> None:
    cell = cells[1]
    ood, validation = cell.scenario.ood["digits-1"].images, cell.scenario.validation.images
    by_hand = 0.0
    for kind in ("error+", "msp"):
        inside, outside = cell.detector.score(validation, kind), cell.detector.score(ood, kind)
        p_values = (1 + (inside >= outside[:, None]).sum(1)) / (1 + len(inside))
        by_hand = by_hand - np.log(p_values)
    np.testing.assert_allclose(cell.scores["LAMAE (error+ & msp)"]["digits-1"], by_hand)


def test_cifar10_has_the_papers_networks() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 32, 32), generator=rng, dtype=torch.uint8)
    part = ImageSet("cifar10", images, torch.arange(40) % 10, tuple("abcdefghij"))
    scenario = Scenario("cifar10", part, part, part, {"noise": ImageSet("noise", images.flip(0))})
    cells = list(run_cells(lambda seed: scenario, ["memae", "lamae"], [0], epochs=1, device="cpu"))
    memae, lamae = (cell.detector.network_ for cell in cells)
    assert memae.memory.slots.shape == (500, 64)
    assert lamae.memory.slots.shape == (10, 50, 64) and lamae.skip[0].out_features == 16
    widths = [layer.out_channels for layer in lamae.encoder.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert widths == [64, 128, 128, 256]


def test_detectors_of_a_seed_see_the_same_images(cells: list[Cell]) -> None:
    assert cells[0].scenario is cells[1].scenario
    assert not torch.equal(cells[0].scenario.validation.images, cells[2].scenario.validation.images)


def test_a_run_is_written_with_its_provenance(cells: list[Cell], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    write_run(folder, cells, plots.to_png(plots.run_figure(cells[:2])))
    assert sorted(path.name for path in folder.iterdir()) == ["figure.png", "results.json", "scores.npz"]
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    records = json.loads((folder / "results.json").read_text())
    assert len(records) == 4
    record = records[1]
    assert (record["detector"], record["seed"], record["epochs_run"]) == ("LAMAE", 0, 2)
    right = cells[1].detector.classify(cells[1].scenario.test.images) == cells[1].scenario.test.labels.numpy()
    assert (records[0]["accuracy"], record["accuracy"]) == (None, right.mean())
    assert record["settings"]["epochs"] == 2 and record["best_epoch"] in (1, 2)
    assert record["results"][1]["auroc"] == cells[1].results[1].auroc
    source = record["provenance"]
    assert set(source) == {"versions", "commit", "device", "threads"}
    assert source["versions"]["torch"] == torch.__version__.split("+")[0] and source["device"].startswith("cpu")
    with np.load(folder / "scores.npz") as scores:
        np.testing.assert_array_equal(scores["seed1/LAMAE+/id"], cells[3].scores["LAMAE+"]["id"])
        assert len(scores.files) == 2 * (3 + 6) * 2


def test_the_commit_is_the_checkouts(tmp_path: Path) -> None:
    here = Path(__file__).parent
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    commit = benchmark.provenance(torch.device("cpu"))["commit"]
    if head.returncode == 0:
        assert commit.removesuffix("+changes") == head.stdout.strip()
    else:
        assert commit is None


def test_a_run_never_overwrites(cells: list[Cell], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(FileExistsError, match="is not an empty folder"):
            write_run(folder, cells, b"")
    with pytest.raises(PermissionError, match="is not a writable folder"):
        check_new_folder(tmp_path / "mine.txt" / "below")
    empty = tmp_path / "empty"
    empty.mkdir()
    write_run(empty, cells[:1], b"png")
    assert (empty / "figure.png").read_bytes() == b"png"


def test_a_run_that_cannot_be_written_leaves_nothing(
    cells: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="No space"):
        write_run(tmp_path / "run", cells, b"")
    assert list(tmp_path.iterdir()) == []
