"""Write and read what is kept of a trained detector: its results, their origin and its scores.

A cell (one scenario, one detector, one seed) has two files: the record `KEY.json` and the arrays `KEY.npz`. The record
stores everything in fields. A title such as "LAMAE+" is made from fields for display and is never parsed.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamae_tutorial.benchmark.provenance import provenance
from lamae_tutorial.benchmark.settings import known_class, variant
from lamae_tutorial.data.catalogue import DATA_SETS
from lamae_tutorial.data.images import ImageSet
from lamae_tutorial.data.readers import DAMAGE
from lamae_tutorial.data.scenarios import Scenario
from lamae_tutorial.data.writing import readable, write_file
from lamae_tutorial.detectors import Detector

Arrays = dict[str, NDArray[Any]]

POST_HOC = " (post-hoc)"  # ends the kind of a score that another method made of the features of a trained classifier
EXAMPLES = 8  # number of images and reconstructions kept per set


@dataclass(frozen=True)
class Result:
    """Metrics of one score on one OoD set, each in [0, 1].

    Attributes
    ----------
    scenario, id, ood : str
        Names of the scenario and of its two sets.
    detector : str
        Title of the detector, as in the papers' tables, e.g. "LAMAE".
    score : str
        The kind of score, see :attr:`lamae_tutorial.Detector.score_kinds`. "error+ & msp" combines two, see
        :func:`lamae_tutorial.conformal.fisher`. "ViM (post-hoc)" is another method's score of the detector's features,
        see :mod:`lamae_tutorial.benchmark.baselines`.
    default_score : str
        The detector's default kind.
    seed : int
    n_id, n_ood : int
        Numbers of test images.
    auroc, auprc_ood, auprc_id, fpr95 : float
        See :mod:`lamae_tutorial.metrics`; fpr95 is the share of OoD images accepted if 95% of ID images are accepted.
    variant : str
        Settings that differ from the detector's settings for this ID set, see
        :func:`lamae_tutorial.benchmark.settings.variant`.
    epochs : int
        Maximum number of epochs; 0 if unknown.
    id_entropy, ood_entropy : float or None
        Mean entropy of the test images in bits; None if unknown.
    known : bool
        Whether both sets belong to the catalogue. Only then is the result compared with a paper's number.
    recipe : int
        The detector's recipe. Another recipe gives other numbers for the same settings.
    held_out : bool
        Whether the OoD set is a class of the ID set.
    data : str
        Hash of the sets that the images come from; empty if unknown.
    """

    scenario: str
    id: str
    ood: str
    detector: str
    score: str
    default_score: str
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
    known: bool = False
    held_out: bool = False
    recipe: int = 1
    data: str = ""

    @property
    def title(self) -> str:
        """The name of the score in tables, see :func:`score_title`."""
        return score_title(self.detector, self.score, self.default_score)

    @property
    def is_main(self) -> bool:
        """Whether the title is that of the papers: the detector's name, perhaps with a "+"."""
        return self.score == self.default_score or _is_corrected(self.score, self.default_score)


def score_title(detector: str, score: str, default_score: str) -> str:
    """Return a score's name for tables: "LAMAE", "LAMAE+" (the corrected error) or e.g. "LAMAE (energy)".

    A score with brackets of its own follows a colon: "LAMAE: ViM (post-hoc)".
    """
    if score == default_score:
        return detector
    if _is_corrected(score, default_score):
        return f"{detector}+"
    return f"{detector}: {score}" if "(" in score else f"{detector} ({score})"


def _is_corrected(score: str, default_score: str) -> bool:
    return (score, default_score) == ("error+", "error")


@dataclass(frozen=True)
class Cell:
    """A trained detector with its scores and results.

    Attributes
    ----------
    scenario : Scenario
    detector : Detector
        The fitted detector.
    seed : int
    scores : dict of str to dict of str to float64 array (N,)
        Scores by kind and test set, e.g. `cell.scores["error+"]["ood/noise"]`, see :func:`set_key`.
    results : list of Result
    entropy : dict of str to float64 array (N,)
        Entropy of each image in bits, by test set.
    accuracy : float or None
        Share of ID test images that are classified correctly, in [0, 1]; None without a classifier or labels.
    """

    scenario: Scenario
    detector: Detector
    seed: int
    scores: dict[str, dict[str, NDArray[np.float64]]]
    results: list[Result]
    entropy: dict[str, NDArray[np.float64]]
    accuracy: float | None


def set_key(ood: str | None = None) -> str:
    """Return the key of a test set in scores and arrays: "id" for the in-distribution set, "ood/NAME" for others."""
    return "id" if ood is None else f"ood/{readable(ood)}"


def array_key(what: str, ood: str | None = None) -> str:
    """Return the name of an array in a cell's file.

    Parameters
    ----------
    what : str
        "score/KIND" ("score/error+"), "entropy", "image" or "reconstruction".
    ood : str, optional
        The OoD set; by default the ID test set.
    """
    return f"{what}/{set_key(ood)}"


def scored_sets(scenario: Scenario) -> dict[str, ImageSet]:
    """Return the test sets of a scenario by their keys, see :func:`set_key`."""
    return {set_key(): scenario.test, **{set_key(name): part for name, part in scenario.ood.items()}}


def data_hash(scenario: Scenario, ood: str) -> str:
    """Return a short hash of a scenario's ID sets and one of its OoD sets; "" if no hash is known."""
    wanted = (f"{scenario.train.name} train", f"{scenario.test.name} test", ood)
    hashes = {name: scenario.data[name] for name in wanted if name in scenario.data}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()[:12] if hashes else ""


def cell_record(cell: Cell) -> dict[str, Any]:
    """Return a cell's results and their origin, as plain values for JSON."""
    detector, history = cell.detector, cell.detector.history_
    last_stage = history[-1].get("stage") if history else None
    losses = [epoch["validation_loss"] for epoch in history if epoch.get("stage") == last_stage]
    return {
        "scenario": cell.scenario.name,
        "detector": type(detector).__name__,
        "recipe": detector.recipe,
        "seed": cell.seed,
        "settings": detector.get_params(),
        "epochs_run": len(losses),
        "best_epoch": int(np.argmin(losses)) + 1 if losses else None,
        "training_seconds": sum(epoch["seconds"] for epoch in history),
        "training_images": len(cell.scenario.train),
        "data": cell.scenario.data,
        "provenance": provenance(detector.network_device()),
        "image_shape": list(cell.scenario.image_shape),
        "accuracy": cell.accuracy,
        "results": [asdict(result) for result in cell.results],
    }


def cell_arrays(cell: Cell) -> Arrays:
    """Return a cell's scores and entropies, and some images of each test set with their reconstructions.

    Images of a set that may not be passed on, such as CelebA, are left out.
    """
    arrays: Arrays = {
        f"score/{kind}/{key}": values for kind, of_set in cell.scores.items() for key, values in of_set.items()
    }
    arrays |= {f"entropy/{key}": values for key, values in cell.entropy.items()}
    for key, part in scored_sets(cell.scenario).items():
        if part.name in DATA_SETS and not DATA_SETS[part.name].may_be_passed_on:
            continue
        some = part.images[np.linspace(0, len(part) - 1, min(EXAMPLES, len(part))).astype(int)]
        arrays[f"image/{key}"] = some.numpy()
        if cell.detector.rebuilds:
            rebuilt = cell.detector.reconstruct(some)
            arrays[f"reconstruction/{key}"] = (rebuilt * 255).round().byte().numpy()
    return arrays


def write_cell(folder: Path, key: str, record: Mapping[str, Any], arrays: Arrays) -> None:
    """Write `KEY.npz`, then `KEY.json`. If the record exists, the cell is finished."""
    packed = BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    write_file(folder / f"{key}.npz", packed.getvalue())
    write_file(folder / f"{key}.json", (json.dumps([record], indent=1) + "\n").encode())


def record_files(paths: Iterable[Path]) -> list[Path]:
    """Return these record files and those in these folders.

    Raises
    ------
    FileNotFoundError
        A path does not exist, or a folder holds no record.
    """
    files = []
    for path in paths:
        here = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.exists() else []
        if not here:
            raise FileNotFoundError(f"{path}: no records (.json) there; `lamae benchmark` or `lamae run` writes them")
        files += here
    return files


def check_same_data(files: Iterable[Path], hashes: Mapping[str, str]) -> None:
    """Check that finished cells were made from these images: a user's own set may have changed since then.

    Parameters
    ----------
    files : iterable of Path
        Record files. Missing files and records without hashes are skipped.
    hashes : mapping of str to str
        Hashes of the present images, see :class:`lamae_tutorial.Scenario`.

    Raises
    ------
    ValueError
        A record was made from other images.
    """
    for path in files:
        for record in read_file(path) if path.exists() else []:
            with reading(path):
                changed = [name for name, value in record.get("data", {}).items() if hashes.get(name) != value]
            if changed:
                raise ValueError(f"{path} was made from other images of {', '.join(changed)}: name another folder")


def read_records(files: Iterable[Path]) -> dict[Result, Path]:
    """Return each result with its file.

    Raises
    ------
    ValueError
        A file does not hold records. The message names it.
    """
    return {result: path for path in files for result, _ in _results_of(path)}


def read_settings(files: Iterable[Path]) -> dict[Result, dict[str, Any]]:
    """Return each result with all settings of its detector. Errors are the same as in :func:`read_records`."""
    return {result: settings for path in files for result, settings in _results_of(path)}


def read_results(files: Iterable[Path]) -> list[Result]:
    """Return the results in files of `lamae run --out` or `lamae benchmark`. Errors as in :func:`read_records`."""
    return list(read_records(files))


def saved_arrays(record: Path) -> Arrays | None:
    """Return the arrays beside a cell's record, see :func:`array_key`; None if the file does not exist."""
    path = record.with_suffix(".npz")
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = _Saved(path, dict(arrays))
    except (*DAMAGE, AttributeError, TypeError) as error:
        raise DamagedError(f"{path}: not the scores of a run ({error}); delete it to report without them") from error
    return found


class _Saved(dict[str, NDArray[Any]]):
    """Checked arrays of a file. One that is missing is an error that names the file."""

    def __init__(self, path: Path, arrays: Arrays) -> None:
        super().__init__(arrays)
        self.path = path
        lengths: dict[str, int] = {}  # by the set of images
        for name, array in arrays.items():
            what, _, rest = name.partition("/")
            if what not in ("score", "entropy"):
                if array.dtype != np.uint8 or array.ndim != 4:
                    raise ValueError(f"{name} must be uint8 (N, C, H, W); got {array.dtype} {array.shape}")
                continue
            if array.dtype.kind != "f" or array.ndim != 1 or not np.isfinite(array).all():
                raise ValueError(f"{name} must be finite numbers (N,); got {array.dtype} {array.shape}")
            if lengths.setdefault(rest.partition("/")[2] if what == "score" else rest, len(array)) != len(array):
                raise ValueError(f"{name} has another length than other arrays of these images")

    def __missing__(self, name: str) -> NDArray[Any]:
        raise DamagedError(f"{self.path}: the array {name} is missing; delete the file to report without its scores")


class DamagedError(ValueError):
    """A file does not hold what it should. The message names it."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a foreign or damaged record file causes in this block into an error that names the file."""
    try:
        yield
    except DamagedError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        told = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DamagedError(f"{path}: not the results of a run, or of another version ({told})") from error


def read_file(path: Path) -> list[dict[str, Any]]:
    """Return the records in a file; a DamagedError if it does not hold any."""
    with reading(path):
        if not path.is_file():
            raise ValueError("it is not a file")
        records = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
            raise ValueError("expected a list of records")
    return list(records)


def _checked(result: Result) -> Result:
    """Check the types and ranges of a result that was read."""
    for field in fields(Result):
        value = getattr(result, field.name)
        whole = isinstance(value, int) and field.type not in (str, bool)
        if not (whole or isinstance(value, field.type)):  # type: ignore[arg-type]
            raise ValueError(f"{field.name} is {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field.name} is {value!r}")
    for name in ("auroc", "auprc_ood", "auprc_id", "fpr95"):
        if not -1e-9 <= getattr(result, name) <= 1 + 1e-9:
            raise ValueError(f"{name} must lie in [0, 1]; got {getattr(result, name)!r}")
    return result


def _results_of(path: Path) -> Iterator[tuple[Result, dict[str, Any]]]:
    with reading(path):
        for record in read_file(path):
            settings, detector = record["settings"], known_class(record["detector"])
            if not record["results"]:
                raise ValueError("it has no results")
            for values in record["results"]:
                read = _checked(Result(**{**values, "epochs": settings["epochs"]}))
                if detector is not None:
                    # Compared with today's settings: a record with older settings gets its own row.
                    set_of_record = record["cell"]["scenario"]["id"] if "cell" in record else read.id
                    read = replace(read, variant=variant(detector, settings, set_of_record))
                yield read, settings
