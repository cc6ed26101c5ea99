"""Cells, their results, records and arrays."""

import json
import subprocess
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lamae_tutorial import (
    ImageSet,
    Scenario,
    auroc,
    complexity_normalized,
    leave_one_class_out,
    load_images,
    noise_images,
    summary,
)
from lamae_tutorial.benchmark.cells import compute, evaluate, run_cells
from lamae_tutorial.benchmark.experiments import CellSpec, ScenarioSpec
from lamae_tutorial.benchmark.provenance import provenance
from lamae_tutorial.benchmark.records import Cell, Result, array_key, cell_arrays, cell_record


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
        (seed, *kinds)
        for seed in (0, 1)
        for kinds in (
            ("error", "error+", "cosine"),
            ("error", "error+", "cosine", "energy", "msp", "error+ & msp"),
        )
    ]
    titles = ["LAMAE", "LAMAE+", "LAMAE (cosine)", "LAMAE (energy)", "LAMAE (msp)", "LAMAE (error+ & msp)"]
    assert [result.title for result in cells[1].results] == titles
    assert [result.is_main for result in cells[1].results] == [True] * 2 + [False] * 4
    cell = cells[1]
    ood = cell.scenario.ood["digits-1"].images
    key = "ood/digits-1"
    np.testing.assert_array_equal(cell.scores["error"][key], cell.detector.score(ood))
    np.testing.assert_array_equal(cell.scores["error+"][key], complexity_normalized(cell.detector.score(ood), ood))
    np.testing.assert_array_equal(cell.scores["msp"][key], cell.detector.score(ood, "msp"))
    result = cell.results[1]
    metrics = summary(cell.scores["error+"]["id"], cell.scores["error+"][key])
    assert (result.detector, result.score, result.default_score) == ("LAMAE", "error+", "error")
    assert (result.ood, result.seed, result.n_ood, result.known) == ("digits-1", 0, 182, True)
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
    np.testing.assert_allclose(cell.scores["error+ & msp"]["ood/digits-1"], by_hand)


def test_cifar10_has_the_papers_networks() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 3, 32, 32), generator=rng, dtype=torch.uint8)
    part = ImageSet("cifar10", images, torch.arange(40) % 10, tuple("abcdefghij"), known=True)
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


def test_a_record_says_where_its_numbers_come_from(cells: list[Cell]) -> None:
    record = json.loads(json.dumps(cell_record(cells[1])))
    assert (record["detector"], record["recipe"], record["seed"], record["epochs_run"]) == ("LAMAE", 1, 0, 2)
    right = cells[1].detector.classify(cells[1].scenario.test.images) == cells[1].scenario.test.labels.numpy()
    assert (cell_record(cells[0])["accuracy"], record["accuracy"]) == (None, right.mean())
    assert record["settings"]["epochs"] == 2 and record["best_epoch"] in (1, 2)
    assert record["results"][1]["auroc"] == cells[1].results[1].auroc
    train, test = load_images("digits", "train"), load_images("digits", "test")
    assert record["data"] == {"digits train": train.sha256, "digits test": test.sha256}
    assert {len(result.data) for result in cells[1].results} == {12}
    source = record["provenance"]
    assert set(source) == {"versions", "commit", "device", "processor", "threads"}
    assert source["versions"]["torch"] == torch.__version__.split("+")[0] and source["device"].startswith("cpu")


def test_a_detector_in_closed_form_leaves_a_record(cells: list[Cell]) -> None:
    cell = cells[0]
    detector = copy(cell.detector)
    detector.history_, detector.network_ = [], torch.nn.Identity()
    record = cell_record(replace(cell, detector=detector))
    assert (record["epochs_run"], record["best_epoch"], record["training_seconds"]) == (0, None, 0)
    assert record["provenance"]["device"].startswith("cpu")
    assert record["provenance"]["processor"].endswith(f"({torch.backends.cpu.get_cpu_capability()})")


def test_arrays_are_named_by_score_and_set(cells: list[Cell]) -> None:
    cell = cells[1]
    arrays = cell_arrays(cell)
    np.testing.assert_array_equal(arrays["score/error+/id"], cell.scores["error+"]["id"])
    np.testing.assert_array_equal(arrays["entropy/ood/digits-1"], cell.entropy["ood/digits-1"])
    assert array_key("score/error+", "digits-1") == "score/error+/ood/digits-1"
    assert len(arrays) == 2 * (6 + 1 + 2)  # two sets: scores, entropy, images and reconstructions


def test_an_ood_set_may_be_called_id(cells: list[Cell]) -> None:
    scenario = replace(cells[0].scenario, ood={"id": replace(noise_images(50, (1, 8, 8)), name="id")})
    cell = evaluate(cells[0].detector, scenario, 0)
    arrays = cell_arrays(cell)
    assert len(arrays["score/error/id"]) == len(scenario.test) and len(arrays["score/error/ood/id"]) == 50
    by_hand = auroc(arrays["score/error/id"], arrays["score/error/ood/id"])
    assert cell.results[0].auroc == by_hand


def test_no_image_is_kept_of_a_set_that_may_not_be_passed_on(cells: list[Cell]) -> None:
    faces = replace(noise_images(20, (1, 8, 8)), name="celeba")
    scenario = replace(cells[0].scenario, ood={"celeba": faces, "noise": noise_images(20, (1, 8, 8))})
    arrays = cell_arrays(evaluate(cells[0].detector, scenario, 0))
    assert "score/error/ood/celeba" in arrays
    assert {name for name in arrays if name.startswith(("image", "reconstruction"))} == {
        f"{what}/{part}" for what in ("image", "reconstruction") for part in ("id", "ood/noise")
    }


def test_results_of_ones_own_sets_are_not_known(cells: list[Cell], tmp_path: Path) -> None:
    """A file with the name of a known set gets neither the paper's settings nor its numbers."""
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.integers(0, 256, (200, 8, 8), dtype=np.uint8), "y_train": np.arange(200) % 10}
    np.savez(tmp_path / "mnist.npz", **arrays)
    own = CellSpec(ScenarioSpec(str(tmp_path / "mnist.npz"), "1"), "pixelcnn", 0, 1, (("features", 4), ("layers", 2)))
    record, _ = compute(own, None, "cpu")
    result = Result(**record["results"][0])
    assert (result.id, result.ood, result.known) == ("mnist", "mnist-1", False)
    assert "levels" not in result.variant and record["settings"]["levels"] == 256
    assert {result.known for cell in cells for result in cell.results} == {True}
    mixed = replace(cells[0].scenario, ood={"own": ImageSet("own", noise_images(20, (1, 8, 8)).images)})
    assert not evaluate(cells[0].detector, mixed, 0).results[0].known


def test_the_commit_is_the_checkouts(tmp_path: Path) -> None:
    here = Path(__file__).parent
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    commit = provenance(torch.device("cpu"))["commit"]
    if head.returncode == 0:
        assert commit.removesuffix("+changes") == head.stdout.strip()
    else:
        assert commit is None
