"""Train and evaluate one cell: one scenario, one detector and one seed.

The results hold the metrics of each score on each OoD set. If the detector both rebuilds and classifies images, one
more score combines the two (:func:`lamae_tutorial.conformal.fisher`). Post-hoc detectors add theirs if they are asked
for (:mod:`lamae_tutorial.benchmark.baselines`).
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamae_tutorial.benchmark.baselines import post_hoc_scores, takes_post_hoc
from lamae_tutorial.benchmark.experiments import CellSpec, ScenarioSpec
from lamae_tutorial.benchmark.records import (
    Arrays,
    Cell,
    Result,
    cell_arrays,
    cell_record,
    data_hash,
    scored_sets,
    set_key,
)
from lamae_tutorial.benchmark.settings import new_detector, variant
from lamae_tutorial.complexity import shannon_entropy
from lamae_tutorial.conformal import Calibration, fisher
from lamae_tutorial.data.catalogue import load_images
from lamae_tutorial.data.scenarios import Scenario, cross_dataset, leave_one_class_out
from lamae_tutorial.detectors import Detector, find_detector
from lamae_tutorial.detectors.together import fit_together
from lamae_tutorial.metrics import summary

Outcome = tuple[dict[str, Any], Arrays]  # a cell's record and arrays
Scores = Mapping[str, NDArray[np.float64]]  # by kind

TPR = 0.95
JOINED = ("error+", "msp")  # the scores of the reconstruction and of the classifier

_kept_images = lru_cache(maxsize=6)(load_images)


def run_cells(
    scenario_of_seed: Callable[[int], Scenario],
    detectors: Sequence[str],
    seeds: Sequence[int],
    *,
    epochs: int,
    device: str = "auto",
) -> Iterator[Cell]:
    """Train and evaluate each detector for each seed. Yield each cell as soon as it is finished.

    The detectors get the settings of :data:`lamae_tutorial.benchmark.settings.SETTINGS` for the in-distribution set.

    Parameters
    ----------
    scenario_of_seed : callable (seed) -> Scenario
        The seed draws the validation images. It is also the detector's `random_state`.
    detectors : sequence of str
        See :func:`lamae_tutorial.detectors.find_detector`.
    seeds : sequence of int
    epochs, device
        See :class:`lamae_tutorial.Detector`.
    """
    for seed in seeds:
        scenario = scenario_of_seed(seed)
        for name in detectors:
            detector = new_detector(name, _set_name(scenario), epochs=epochs, random_state=seed, device=device)
            yield run_cell(scenario, detector, seed)


def run_cell(scenario: Scenario, detector: Detector, seed: int, post_hoc: bool = False) -> Cell:
    """Train a detector on a scenario's ID images and evaluate it."""
    detector.fit(scenario.train.images, scenario.train.labels, scenario.validation)
    return evaluate(detector, scenario, seed, post_hoc)


def evaluate(detector: Detector, scenario: Scenario, seed: int, post_hoc: bool = False) -> Cell:
    """Score all test sets of a scenario with a fitted detector and, if wanted, with post-hoc detectors as well."""
    sets = scored_sets(scenario)
    by_set = {key: detector.scores(part.images) for key, part in sets.items()}
    scores = {kind: {key: kinds[kind] for key, kinds in by_set.items()} for kind in detector.score_kinds}
    if set(JOINED) <= set(detector.score_kinds) and "joint" not in detector.score_kinds:
        scores[" & ".join(JOINED)] = _joined(detector.scores(scenario.validation.images), by_set)
    if post_hoc and takes_post_hoc(type(detector)):
        scores |= post_hoc_scores(detector, scenario.train, sets)
    entropy = {key: shannon_entropy(part.images).numpy() for key, part in sets.items()}
    changed = variant(type(detector), detector.get_params(), _set_name(scenario))
    results = []
    for kind, of_set in scores.items():
        for ood, part in scenario.ood.items():
            inside, outside = of_set[set_key()], of_set[set_key(ood)]
            metrics = summary(inside, outside, TPR)
            results.append(
                Result(
                    scenario=scenario.name,
                    id=scenario.train.name,
                    ood=ood,
                    detector=detector.title,
                    score=kind,
                    default_score=detector.score_kinds[0],
                    seed=seed,
                    n_id=len(inside),
                    n_ood=len(outside),
                    auroc=metrics.auroc,
                    auprc_ood=metrics.auprc_ood,
                    auprc_id=metrics.auprc_id,
                    fpr95=metrics.fpr_at_tpr,
                    variant=changed,
                    epochs=detector.epochs,
                    id_entropy=float(entropy[set_key()].mean()),
                    ood_entropy=float(entropy[set_key(ood)].mean()),
                    known=scenario.train.known and scenario.test.known and part.known,
                    held_out=ood == scenario.held_out,
                    recipe=detector.recipe,
                    data=data_hash(scenario, ood),
                )
            )
    accuracy = None
    if detector.classifies and scenario.test.labels is not None:
        predicted = detector.classify(scenario.test.images)
        accuracy = float((predicted == scenario.test.labels.numpy()).mean())
    return Cell(scenario, detector, seed, scores, results, entropy, accuracy)


def load_scenario(
    scenario: ScenarioSpec, seed: int, root: str | None = None, load: Callable[..., Any] = load_images
) -> Scenario:
    """Load the images of a scenario given by names. The seed draws its validation images."""
    settings: dict[str, Any] = {"protocol": scenario.protocol, "random_state": seed, "root": root, "load": load}
    if scenario.held_out is not None:
        return leave_one_class_out(scenario.id, scenario.held_out, **settings)
    return cross_dataset(scenario.id, scenario.ood, **settings)


@lru_cache(maxsize=1)
def kept_scenario(scenario: ScenarioSpec, seed: int, root: str | None) -> Scenario:
    """Return the same as :func:`load_scenario`. The last scenario and the last sets that were read are kept."""
    return load_scenario(scenario, seed, root, load=_kept_images)


def forget_images() -> None:
    """Drop what :func:`kept_scenario` keeps, because files may change before the next run."""
    kept_scenario.cache_clear()
    _kept_images.cache_clear()


def cell_key(cell: CellSpec) -> str:
    """Return the name of a cell's files. It ends with a hash of scenario, detector, settings and recipe, not device."""
    detector = _detector(cell)
    settings = detector.get_params()
    del settings["device"], settings["verbose"]
    content = {"scenario": asdict(cell.scenario), "detector": cell.detector, "settings": settings}
    kind = find_detector(cell.detector)
    # Cells that are older than recipes and post-hoc detectors keep their names.
    if kind.recipe != 1:
        content["recipe"] = kind.recipe
    if cell.post_hoc and takes_post_hoc(kind):
        content["post_hoc"] = True
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    held_out = "" if cell.scenario.held_out is None else f"-without-{cell.scenario.held_out}"
    return f"{_file_name(f'{cell.scenario.id}{held_out}-{cell.detector}')}-seed{cell.seed}-{digest}"


def compute(cell: CellSpec, root: str | None, device: str) -> Outcome:
    """Train and evaluate one cell. Return its record and its arrays."""
    scenario = kept_scenario(cell.scenario, cell.seed, root)
    return _outcome(cell, run_cell(scenario, _detector(cell, device=device, verbose=False), cell.seed, cell.post_hoc))


def compute_together(cells: Sequence[CellSpec], root: str | None, device: str) -> list[Outcome]:
    """Train cells that differ only in their seed side by side. Evaluate each one as :func:`compute` does."""
    scenarios = [kept_scenario(cell.scenario, cell.seed, root) for cell in cells]
    detectors = [_detector(cell, device=device, verbose=False) for cell in cells]
    fit_together(detectors, [(scenario.train, scenario.validation) for scenario in scenarios])
    seeds = [cell.seed for cell in cells]
    outcomes = []
    for cell, scenario, detector in zip(cells, scenarios, detectors, strict=True):
        record, arrays = _outcome(cell, evaluate(detector, scenario, cell.seed, cell.post_hoc))
        outcomes.append(({**record, "side_by_side": seeds}, arrays))
    return outcomes


def _outcome(cell: CellSpec, trained: Cell) -> Outcome:
    return {**cell_record(trained), "cell": asdict(cell)}, cell_arrays(trained)


def _detector(cell: CellSpec, **further: Any) -> Detector:
    parameters = {**dict(cell.parameters), "epochs": cell.epochs, "random_state": cell.seed}
    return new_detector(cell.detector, cell.scenario.id, **parameters, **further)


def _set_name(scenario: Scenario) -> str:
    """Return the ID set whose settings are used. A user's own set gets none of the papers', whatever its name."""
    return scenario.train.name if scenario.train.known else ""


def _joined(validation: Scores, by_set: Mapping[str, Scores]) -> dict[str, NDArray[np.float64]]:
    """Return Fisher's combination of the p-values of both scores, by test set."""
    calibrations = {kind: Calibration(validation[kind]) for kind in JOINED}
    return {
        key: fisher(*(calibration.p_values(kinds[kind]) for kind, calibration in calibrations.items()))
        for key, kinds in by_set.items()
    }


def _file_name(text: str) -> str:
    """Replace characters that are not allowed in a file name, because a set may be given as a path."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[-100:].lstrip("._-")
