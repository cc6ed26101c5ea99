"""Runs of detectors on scenarios, and the results they leave.

A cell is one scenario, one detector and one seed. Its results hold the metrics of each OoD set for each score of the
detector and, for detectors that judge by a reconstruction, for the complexity-normalised score of the same
training ("+").
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lamae_tutorial.benchmark.profiles import SETTINGS
from lamae_tutorial.benchmark.provenance import provenance
from lamae_tutorial.complexity import complexity_normalized, shannon_entropy
from lamae_tutorial.conformal import Calibration, fisher
from lamae_tutorial.data.images import ImageSet
from lamae_tutorial.data.scenarios import Scenario
from lamae_tutorial.detectors import DETECTORS
from lamae_tutorial.detectors.base import Detector
from lamae_tutorial.metrics import summary

TPR = 0.95
_OF_THE_RUN = {"epochs", "random_state", "device", "verbose"}  # settings that make no other detector


@dataclass(frozen=True)
class Result:
    """Metrics of one score on one OoD set, each in [0, 1].

    Attributes
    ----------
    scenario, id, ood : str
        Names of the scenario and of its two sets.
    detector : str
        The title used in the paper's tables; with "+" for the complexity-normalised score, and with the score's name in
        brackets where it is not the default: "LAMAE", "LAMAE+", "LAMAE (energy)". "LAMAE (error+ & msp)" joins two, see
        :func:`lamae_tutorial.conformal.fisher`.
    seed : int
    n_id, n_ood : int
        Numbers of test images.
    auroc, auprc_ood, auprc_id, fpr95 : float
        See :mod:`lamae_tutorial.metrics`; fpr95 is the share of OoD accepted when 95% of ID is.
    variant : str
        Settings of the detector that are not its own for this ID set, see :func:`variant`.
    epochs : int
        That were asked for; 0: unknown.
    id_entropy, ood_entropy : float or None
        Mean entropy of the test images in bits; None: unknown.
    """

    scenario: str
    id: str
    ood: str
    detector: str
    seed: int
    n_id: int
    n_ood: int
    auroc: float
    auprc_ood: float
    auprc_id: float
    fpr95: float
    variant: str = ""
    epochs: int = 0
    id_entropy: float | None = None
    ood_entropy: float | None = None


@dataclass(frozen=True)
class Cell:
    """A trained detector with its scores and results.

    Attributes
    ----------
    scenario : Scenario
    detector : Detector
        Fitted.
    seed : int
    scores : dict of str to dict of str to float64 array (N,)
        By title of the score (e.g. "LAMAE+"), then by the name of the test set; the ID test set is named "id".
    results : list of Result
    entropy : dict of str to float64 array (N,)
        Of each image in bits, by the name of the test set.
    accuracy : float or None
        Share of the ID test images that are classified rightly, in [0, 1]; None without a classifier or labels.
    """

    scenario: Scenario
    detector: Detector
    seed: int
    scores: dict[str, dict[str, NDArray[np.float64]]]
    results: list[Result]
    entropy: dict[str, NDArray[np.float64]]
    accuracy: float | None


def run_cells(
    scenario_of_seed: Callable[[int], Scenario],
    detectors: Sequence[str],
    seeds: Sequence[int],
    *,
    epochs: int,
    device: str = "auto",
) -> Iterator[Cell]:
    """Train and evaluate each detector for each seed, yielding a cell as soon as it is finished.

    Detectors get what :data:`lamae_tutorial.benchmark.profiles.SETTINGS` says for the in-distribution set.

    Parameters
    ----------
    scenario_of_seed : callable (seed) -> Scenario
        The seed draws the validation images as well as the detector's randomness.
    detectors : sequence of str
        Keys of `DETECTORS`.
    seeds : sequence of int
    epochs, device
        See :class:`lamae_tutorial.Detector`.
    """
    for seed in seeds:
        scenario = scenario_of_seed(seed)
        for name in detectors:
            detector = new_detector(name, scenario.train.name, epochs=epochs, random_state=seed, device=device)
            yield run_cell(scenario, detector, seed)


def new_detector(name: str, id_name: str, **parameters: Any) -> Detector:
    """A detector with its settings for an in-distribution set, and with these parameters.

    Parameters
    ----------
    name : str
        A key of `DETECTORS`.
    id_name : str
        See :data:`lamae_tutorial.benchmark.profiles.SETTINGS`.
    **parameters
        Of the detector; they count before the settings.

    Raises
    ------
    ValueError
        There is no such detector.
    """
    if name not in DETECTORS:
        raise ValueError(f"unknown detector {name}; there are {', '.join(DETECTORS)}")
    return DETECTORS[name](**{**SETTINGS.get(id_name, {}).get(name, {}), **parameters})


def variant(class_name: str, settings: Mapping[str, Any], id_name: str) -> str:
    """What is changed in a detector against its settings for an in-distribution set: "beta=2, latent_dim=16".

    Without what belongs to the run: epochs, seed, device and verbosity. A setting that today's detector does not have,
    or the other way round, is not looked at.

    Parameters
    ----------
    class_name : str
        E.g. "LAMAE".
    settings : mapping
        Parameters of the detector, as in a record.
    id_name : str
    """
    for name, detector in DETECTORS.items():
        if detector.__name__ == class_name:
            usual = json.loads(json.dumps(new_detector(name, id_name).get_params()))
            mine = json.loads(json.dumps(dict(settings)))
            return ", ".join(
                f"{key}={mine[key]}"
                for key in sorted(mine.keys() & usual.keys() - _OF_THE_RUN)
                if mine[key] != usual[key]
            )
    return ""


def run_cell(scenario: Scenario, detector: Detector, seed: int) -> Cell:
    """Train a detector on a scenario's ID images and evaluate it."""
    detector.fit(scenario.train.images, scenario.train.labels, scenario.validation)
    return evaluate(detector, scenario, seed)


def evaluate(detector: Detector, scenario: Scenario, seed: int) -> Cell:
    """Score all test sets of a scenario with a fitted detector."""
    sets = {"id": scenario.test, **scenario.ood}
    by_set = {name: detector.scores(part.images) for name, part in sets.items()}
    default, *others = detector.score_kinds
    scores = {detector.title: {name: kinds[default] for name, kinds in by_set.items()}}
    if detector.rebuilds:
        title = detector.title if default == "error" else f"{detector.title} (error)"
        scores[f"{title}+"] = {name: kinds["error+"] for name, kinds in by_set.items()}
        others.remove("error+")
    for kind in others:
        scores[f"{detector.title} ({kind})"] = {name: kinds[kind] for name, kinds in by_set.items()}
    if {"error+", "msp"} <= set(detector.score_kinds):
        scores[f"{detector.title} (error+ & msp)"] = _joint(detector, scenario.validation, sets, by_set)
    entropy = {name: shannon_entropy(part.images).numpy() for name, part in sets.items()}
    changed = variant(type(detector).__name__, detector.get_params(), scenario.train.name)
    results = []
    for title, of_set in scores.items():
        for ood in scenario.ood:
            metrics = summary(of_set["id"], of_set[ood], TPR)
            results.append(
                Result(
                    scenario=scenario.name,
                    id=scenario.train.name,
                    ood=ood,
                    detector=title,
                    seed=seed,
                    n_id=len(of_set["id"]),
                    n_ood=len(of_set[ood]),
                    auroc=metrics.auroc,
                    auprc_ood=metrics.auprc_ood,
                    auprc_id=metrics.auprc_id,
                    fpr95=metrics.fpr_at_tpr,
                    variant=changed,
                    epochs=detector.epochs,
                    id_entropy=float(entropy["id"].mean()),
                    ood_entropy=float(entropy[ood].mean()),
                )
            )
    accuracy = None
    if detector.classifies and scenario.test.labels is not None:
        accuracy = float((detector.classify(scenario.test.images) == scenario.test.labels.numpy()).mean())
    return Cell(scenario, detector, seed, scores, results, entropy, accuracy)


def _joint(
    detector: Detector,
    validation: ImageSet,
    sets: Mapping[str, ImageSet],
    by_set: Mapping[str, Mapping[str, NDArray[np.float64]]],
) -> dict[str, NDArray[np.float64]]:
    """Reconstruction and classifier joined: Fisher's score of the p-values of "error+" and "msp"."""

    def both(images: Tensor, kinds: Mapping[str, NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        return [complexity_normalized(kinds["error"], images), kinds["msp"]]

    calibrations = [Calibration(part) for part in both(validation.images, detector.scores(validation.images))]
    return {
        name: fisher(
            *(
                calibration.p_values(values)
                for calibration, values in zip(calibrations, both(sets[name].images, kinds), strict=True)
            )
        )
        for name, kinds in by_set.items()
    }


def cell_record(cell: Cell) -> dict[str, Any]:
    """A cell's results and how they came about, as plain values for JSON."""
    detector = cell.detector
    last_stage = detector.history_[-1].get("stage")
    losses = [epoch["validation_loss"] for epoch in detector.history_ if epoch.get("stage") == last_stage]
    return {
        "scenario": cell.scenario.name,
        "detector": type(detector).__name__,
        "seed": cell.seed,
        "settings": detector.get_params(),
        "epochs_run": len(losses),
        "best_epoch": int(np.argmin(losses)) + 1,
        "training_seconds": sum(epoch["seconds"] for epoch in detector.history_),
        "training_images": len(cell.scenario.train),
        "provenance": provenance(detector.network_device()),
        "image_shape": list(cell.scenario.image_shape),
        "accuracy": cell.accuracy,
        "results": [asdict(result) for result in cell.results],
    }


def score_arrays(cell: Cell) -> dict[str, NDArray[np.float64]]:
    """The scores by "TITLE/SET", e.g. "LAMAE+/id"."""
    return {f"{title}/{name}": values for title, of_set in cell.scores.items() for name, values in of_set.items()}


def cell_line(results: Sequence[Result]) -> str:
    """A cell in one line: AUROC in percent of the detector's default score, which is the first of its results."""
    first = results[0]
    title = f"{first.detector} [{first.variant}]" if first.variant else first.detector
    areas = ", ".join(
        f"{result.ood} {100 * result.auroc:.1f}" for result in results if result.detector == first.detector
    )
    return f"{first.scenario}, seed {first.seed}, {title}, AUROC: {areas}"


def write_run(folder: Path, cells: Sequence[Cell], figure: bytes) -> None:
    """Write `results.json`, `scores.npz` and `figure.png` into a new or empty folder, whole or not at all."""
    check_new_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as work:
        new = Path(work) / "new"
        new.mkdir()
        (new / "results.json").write_text(json.dumps([cell_record(cell) for cell in cells], indent=1) + "\n")
        arrays = {f"seed{cell.seed}/{key}": values for cell in cells for key, values in score_arrays(cell).items()}
        np.savez_compressed(new / "scores.npz", **arrays)  # type: ignore[arg-type]
        (new / "figure.png").write_bytes(figure)
        if folder.exists():
            folder.rmdir()
        new.rename(folder)


def check_new_folder(folder: Path) -> None:
    """Refuse a path that holds something or cannot be written, before any work is done."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not an empty folder; name another one")
    parent = next(parent for parent in folder.absolute().parents if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise PermissionError(f"{folder} cannot be made: {parent} is not a writable folder")
