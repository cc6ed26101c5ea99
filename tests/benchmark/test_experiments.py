"""Tables and figures as lists of cells."""

import pytest

from lamae_tutorial.benchmark.experiments import EXPERIMENTS, CellSpec, ScenarioSpec, experiment_cells
from lamae_tutorial.benchmark.profiles import PROFILES
from lamae_tutorial.benchmark.reported import reported

PAPER = PROFILES["paper"]
SCORES = {
    "autoencoder": ("AE", "error"),
    "vae": ("VAE", "error"),
    "ssvae": ("SSVAE", "error"),
    "memae": ("MemAE", "error"),
    "godin": ("GODIN", "h"),
    "lamae": ("LAMAE", "error+"),
    "pixelcnn": ("PixelCNN", "nll"),
    "dsebm": ("DSEBM", "energy"),
    "difference": ("Difference", "outlier"),
}
RIVALS = {"classifier", "lance", "trivial"}  # in none of the papers


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("table1", 10 * 9 * 10),  # the papers' six, Classifier, LANCE and the trivial scores
        ("table2", 2 * 9 * 10),
        ("table3", 10 * 3 * 10),
        ("figure3", 2 * 10),
        ("figure5", 7 * 10),
        ("entropy-error", 2 * 10),
        ("difference", 2 * 4 * 10),
        ("difference-ablation", 3 * 10),
        ("beyond", 2 * 10 * 4 * 10),
        # Table 1 also contains the cells of table 3 and of the figures, except those of figure 5, which sets the memory
        # size. "difference" also contains the full model of the ablation.
        ("all", 900 + 180 + 70 + 20 + 80 + 20 + 800),
    ],
)
def test_each_has_the_papers_cells(name: str, cells: int) -> None:
    assert len(experiment_cells(name, PAPER)) == cells


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "difference", "difference-ablation"])
def test_the_paper_has_a_number_for_each_cell_of_its_tables(name: str) -> None:
    for cell in experiment_cells(name, PAPER, seeds=1):
        if cell.detector in RIVALS:
            continue
        ood = cell.scenario.ood or (f"mnist-{cell.scenario.held_out}",)
        detector, score = SCORES[cell.detector]
        if (name, detector) == ("table1", "SSVAE"):
            score = "probability"
        changed = ", ".join(f"{key}={value}" for key, value in cell.parameters)
        for ood_name in ood:
            assert reported(cell.scenario.id, ood_name, detector, score, changed) is not None, (cell, ood_name)


def test_epochs_are_the_papers() -> None:
    epochs = {(cell.scenario.id, cell.detector): cell.epochs for cell in experiment_cells("table2", PAPER)}
    assert epochs["fashion_mnist", "lamae"] == 200 and epochs["cifar10", "lamae"] == 500
    assert epochs["fashion_mnist", "lance"] == 20 and epochs["cifar10", "classifier"] == 40
    assert {cell.epochs for cell in experiment_cells("difference", PAPER)} == {100}
    assert {cell.epochs for cell in experiment_cells("all", PAPER, epochs=3)} == {3}


def test_cells_come_scenario_by_scenario() -> None:
    cells = experiment_cells("table3", PROFILES["fast"], seeds=2, detectors=["lamae", "memae"])
    first = ScenarioSpec("mnist", "0")
    assert cells[:5] == [
        CellSpec(first, "memae", 0, 20),
        CellSpec(first, "lamae", 0, 20),
        CellSpec(first, "memae", 1, 20),
        CellSpec(first, "lamae", 1, 20),
        CellSpec(ScenarioSpec("mnist", "1"), "memae", 0, 20),
    ]


def test_every_profile_has_every_experiment() -> None:
    for profile in PROFILES.values():
        for name in EXPERIMENTS:
            assert experiment_cells(name, profile)


def test_any_detector_runs_on_an_experiments_scenarios() -> None:
    first = ScenarioSpec("mnist", "0")
    cells = experiment_cells("table3", PAPER, seeds=1, detectors=["godin", "lamae"])
    assert len(cells) == 2 * 10
    assert cells[:2] == [CellSpec(first, "lamae", 0, 200), CellSpec(first, "godin", 0, 200)]
    # The experiment's parameters apply only to its own detector: one cell instead of seven sizes.
    assert experiment_cells("figure5", PAPER, seeds=1, detectors=["mine:Mine"]) == [
        CellSpec(first, "mine:Mine", 0, 200)
    ]
    fast = experiment_cells("difference", PROFILES["fast"], seeds=1, detectors=["lamae"])
    planned = [(id_name, epochs) for id_name in ("mnist", "cifar10") for epochs in (1, 5)]
    assert [(cell.scenario.id, cell.epochs) for cell in fast] == planned


def test_half_scenarios_are_refused() -> None:
    with pytest.raises(ValueError, match="a held-out class or OoD sets"):
        ScenarioSpec("mnist")
    with pytest.raises(ValueError, match="a held-out class or OoD sets"):
        ScenarioSpec("mnist", "1", ("noise",))
