"""The papers' tables and figures: each is a list of cells.

A cell is one scenario, one detector with its parameters, and one seed. This module only describes cells; `cells.py`
runs one, and `grid.py` runs many. It does not import PyTorch, so `--help` answers at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lamae_tutorial.benchmark.profiles import Profile


@dataclass(frozen=True)
class ScenarioSpec:
    """A scenario by name: a class of a data set held out, or other data sets as OoD.

    Attributes
    ----------
    id : str
        The in-distribution set, see :func:`lamae_tutorial.load_images`.
    held_out : str or None
        The class that is OoD. Give either this or `ood`.
    ood : tuple of str
        The OoD sets.
    protocol : {"balanced", "test-only"}
        See :mod:`lamae_tutorial.data.scenarios`.
    """

    id: str
    held_out: str | None = None
    ood: tuple[str, ...] = ()
    protocol: str = "balanced"

    def __post_init__(self) -> None:
        if (self.held_out is None) != bool(self.ood):
            raise ValueError(f"a scenario needs a held-out class or OoD sets; got {self.held_out!r} and {self.ood}")


@dataclass(frozen=True)
class CellSpec:
    """One scenario, one detector and one seed.

    Attributes
    ----------
    scenario : ScenarioSpec
    detector : str
        See :func:`lamae_tutorial.detectors.find_detector`.
    seed : int
        Draws the validation images and everything random in the detector.
    epochs : int
    parameters : tuple of (str, value)
        Parameters that differ from the detector's settings for this in-distribution set.
    post_hoc : bool
        Whether the detector's features are also scored by :mod:`lamae_tutorial.benchmark.baselines`. Ignored for a
        detector without the features of a classifier.
    """

    scenario: ScenarioSpec
    detector: str
    seed: int
    epochs: int
    parameters: tuple[tuple[str, Any], ...] = ()
    post_hoc: bool = False


def _held_out(
    classes: Iterable[int], detectors: Iterable[str], profile: Profile, data_set: str | None = None
) -> list[CellSpec]:
    scenarios = [ScenarioSpec(data_set or profile.data_set, str(label)) for label in classes]
    return [
        CellSpec(scenario, name, 0, _epochs(name, scenario.id, profile)) for scenario in scenarios for name in detectors
    ]


_CLASSIFIERS = ("classifier", "lance")
_RIVALS = (*_CLASSIFIERS, "trivial")  # in none of the papers

# VAE(e) and VAE(p) are two scores of one trained detector; so are SSVAE(e) and SSVAE(p), and LAMAE and LAMAE+.
_COMPARED = ("autoencoder", "vae", "ssvae", "memae", "godin", "lamae", *_RIVALS)


def _table1(profile: Profile) -> list[CellSpec]:
    return _held_out(profile.held_out_classes, _COMPARED, profile)


def _table2(profile: Profile) -> list[CellSpec]:
    return [
        CellSpec(ScenarioSpec(id_name, ood=ood), name, 0, _epochs(name, id_name, profile))
        for id_name, ood in profile.cross
        for name in _COMPARED
    ]


def _table3(profile: Profile) -> list[CellSpec]:
    return _held_out(profile.held_out_classes, ("autoencoder", "memae", "lamae"), profile)


def _reconstructions(profile: Profile) -> list[CellSpec]:
    return _held_out([profile.reconstructed_class], ("memae", "lamae"), profile)


def _figure5(profile: Profile) -> list[CellSpec]:
    (cell,) = _held_out([profile.memory_class], ["lamae"], profile)
    return [replace(cell, parameters=(("slots_per_class", size),)) for size in profile.memory_sizes]


def _entropy_error(profile: Profile) -> list[CellSpec]:
    # "test-only" scores all test images. The correlation does not use the OoD sets, but a scenario needs some.
    return [
        CellSpec(
            ScenarioSpec(name, ood=("constant", "noise"), protocol="test-only"),
            "autoencoder",
            0,
            _epochs("autoencoder", name, profile),
        )
        for name in profile.correlated
    ]


def _difference(profile: Profile) -> list[CellSpec]:
    epochs = dict.fromkeys(("dsebm", "vae", "difference"), profile.difference_epochs)
    epochs = {"pixelcnn": profile.pixelcnn_epochs, **epochs}
    return [
        CellSpec(ScenarioSpec(id_name, ood=(ood,)), name, 0, count)
        for id_name, ood in profile.difference
        for name, count in epochs.items()
    ]


def _difference_ablation(profile: Profile) -> list[CellSpec]:
    full = _difference(profile)[-1]
    without = (("auxiliary", None), ("noise_augmentation", 0.0))
    return [*(replace(full, parameters=(change,)) for change in without), full]


def _beyond(profile: Profile) -> list[CellSpec]:
    return [
        cell
        for data_set in profile.beyond
        for cell in _held_out(profile.held_out_classes, ("lamae", *_RIVALS), profile, data_set)
    ]


def _all(profile: Profile) -> list[CellSpec]:
    return [cell for plan in EXPERIMENTS.values() if plan is not _all for cell in plan(profile)]


def _epochs(detector: str, id_name: str, profile: Profile) -> int:
    if detector in _CLASSIFIERS:
        return profile.cifar10_classifier_epochs if id_name == "cifar10" else profile.classifier_epochs
    return profile.cifar10_epochs if id_name == "cifar10" else profile.epochs


# Each function returns the cells with seed 0.
EXPERIMENTS: dict[str, Callable[[Profile], list[CellSpec]]] = {
    "table1": _table1,
    "table2": _table2,
    "table3": _table3,
    "figure3": _reconstructions,
    "figure4": _reconstructions,  # densities of the same detectors' errors
    "figure5": _figure5,
    "entropy-error": _entropy_error,
    "difference": _difference,
    "difference-ablation": _difference_ablation,
    "beyond": _beyond,
    "all": _all,
}


def experiment_cells(
    name: str,
    profile: Profile,
    *,
    seeds: int | None = None,
    epochs: int | None = None,
    detectors: Sequence[str] | None = None,
    post_hoc: bool = False,
) -> list[CellSpec]:
    """Return the cells of a table or figure, each once. Sorting by scenario and seed avoids loading images twice.

    Parameters
    ----------
    name : str
        A key of `EXPERIMENTS`.
    profile : Profile
    seeds, epochs : int, optional
        Replace the profile's numbers.
    detectors : sequence of str, optional
        Run only these. A detector that the experiment does not contain runs on each of its scenarios, once for each
        number of epochs there, with the detector's own settings.
    post_hoc : bool
        See :class:`CellSpec`.

    Returns
    -------
    list of CellSpec
    """
    plan = EXPERIMENTS[name](profile)
    scenarios = list(dict.fromkeys(cell.scenario for cell in plan))
    if detectors is not None:
        there = {cell.detector for cell in plan}
        others = [detector for detector in detectors if detector not in there]
        plan = [cell for cell in plan if cell.detector in detectors] + [
            replace(cell, detector=other, parameters=()) for other in others for cell in plan
        ]
    cells = dict.fromkeys(
        replace(cell, seed=seed, epochs=epochs or cell.epochs, post_hoc=post_hoc)
        for cell in plan
        for seed in range(seeds or profile.seeds)
    )
    return sorted(cells, key=lambda cell: (scenarios.index(cell.scenario), cell.seed))
