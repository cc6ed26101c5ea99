"""Ours beside the papers': records are read and become rows of means, deviations and intervals over seeds."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lamae_tutorial.benchmark.cells import Cell, Result, variant
from lamae_tutorial.benchmark.reported import Reported, reported
from lamae_tutorial.metrics import bootstrap_interval

METRICS = {"auroc": "AUROC", "auprc_ood": "AUPRC (OoD)", "fpr95": "FPR95"}
ROUNDING = 0.0005  # the papers print tenths of a percent

Mark = Literal["above", "within", "below"]


@dataclass(frozen=True)
class Row:
    """One detector's score on one OoD set over several seeds.

    Attributes
    ----------
    id, ood, detector : str
        The detector with what was changed in it: "LAMAE", "LAMAE+ [beta=2]".
    epochs : int
        That were asked for; 0: unknown.
    n_id, n_ood : int
        Numbers of test images.
    n : int
        Number of seeds.
    mean, std : dict of str to float
        Of each of `METRICS`, in [0, 1]; the standard deviation (of the sample) is not-a-number for one seed.
    interval : (float, float) or None
        95% bootstrap interval of the mean AUROC over the seeds; None for one seed.
    kind : str
        Of the LAMAE paper's taxonomy (Section 3.2.2): "S" semantic or "NS+S" also non-semantic, "P" plain or "F" fancy
        by the mean entropy of the test images, "S+P" for a simple digit that was held out. Empty if that is unknown.
    paper : Reported or None
    results : tuple of Result
        One a seed.
    """

    id: str
    ood: str
    detector: str
    epochs: int
    n_id: int
    n_ood: int
    n: int
    mean: dict[str, float]
    std: dict[str, float]
    interval: tuple[float, float] | None
    kind: str
    paper: Reported | None
    results: tuple[Result, ...]

    @property
    def mark(self) -> Mark | None:
        """Where our AUROC stands: within the larger of both deviations (and rounding) of the paper's, or outside."""
        if self.paper is None:
            return None
        difference = self.mean["auroc"] - self.paper.auroc_mean
        allowed = max(value for value in (self.std["auroc"], self.paper.auroc_std, ROUNDING) if not math.isnan(value))
        if abs(difference) <= allowed + 1e-9:
            return "within"
        return "above" if difference > 0 else "below"


def record_files(paths: Iterable[Path]) -> list[Path]:
    """The record files among these files and in these folders.

    Raises
    ------
    FileNotFoundError
        A path does not exist or holds none.
    """
    files = []
    for path in paths:
        here = sorted(path.glob("*.json")) if path.is_dir() else [path] if path.exists() else []
        if not here:
            raise FileNotFoundError(f"{path}: no records (.json) there; `lamae benchmark` and `lamae run` write some")
        files += here
    return files


def read_records(files: Iterable[Path]) -> dict[Result, Path]:
    """Each result with the file in which it stands.

    Raises
    ------
    ValueError
        A file holds no records; it is named.
    """
    results = {}
    for path in files:
        try:
            for record in json.loads(path.read_text(encoding="utf-8")):
                for values in record["results"]:
                    settings, id_name = record["settings"], values["id"]
                    # Held against today's settings: one that was changed since then makes a row of its own.
                    changed = variant(record["detector"], settings, id_name)
                    results[Result(**{**values, "variant": changed, "epochs": settings["epochs"]})] = path
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not the results of a run: {error}") from error
    return results


def read_results(files: Iterable[Path]) -> list[Result]:
    """The results in files written by `lamae run --out` and `lamae benchmark`, see :func:`read_records`."""
    return list(read_records(files))


def aggregate(results: Iterable[Result]) -> list[Row]:
    """One row for each OoD set and detector, set by set. Other settings, epochs or test images make another row.

    Raises
    ------
    ValueError
        Two results of one seed that should be alike differ.
    """
    groups: dict[tuple[str, str, str, str, int, int, int], dict[int, Result]] = {}
    for result in results:
        key = (result.id, result.ood, result.detector, result.variant, result.epochs, result.n_id, result.n_ood)
        if groups.setdefault(key, {}).setdefault(result.seed, result) != result:
            raise ValueError(
                f"{result.scenario}, {result.detector} on {result.ood}: there are two different results of seed "
                f"{result.seed}; report their folders apart"
            )
    rows = []
    for (id_name, ood, detector, changed, epochs, n_id, n_ood), group in groups.items():
        values = {metric: [getattr(result, metric) for result in group.values()] for metric in METRICS}
        rows.append(
            Row(
                id=id_name,
                ood=ood,
                detector=f"{detector} [{changed}]" if changed else detector,
                epochs=epochs,
                n_id=n_id,
                n_ood=n_ood,
                n=len(group),
                mean={metric: float(np.mean(numbers)) for metric, numbers in values.items()},
                std={
                    metric: float(np.std(numbers, ddof=1)) if len(group) > 1 else math.nan
                    for metric, numbers in values.items()
                },
                interval=bootstrap_interval(values["auroc"]) if len(group) > 1 else None,
                kind=_kind(list(group.values())),
                paper=reported(id_name, ood, detector, changed),
                results=tuple(group.values()),
            )
        )
    sets = list(dict.fromkeys((row.id, row.ood) for row in rows))
    return sorted(rows, key=lambda row: sets.index((row.id, row.ood)))


def results_table(results: Iterable[Result]) -> str:
    """Results in percent, mean ± standard deviation over seeds.

    The paper's AUROC stands beside them if it has any of these rows. What distinguishes rows (ID sets, epochs, numbers
    of test images) has a column where it is needed.
    """
    rows = aggregate(results)
    columns = columns_of(rows)
    if any(row.paper for row in rows):
        columns["paper's AUROC"] = [paper_of(row) for row in rows]
    return text_table(list(columns), list(zip(*columns.values(), strict=True)))


def accuracy_line(cells: Sequence[Cell]) -> str:
    """Accuracy of each detector's classifier on the ID test images in percent; empty if there is none."""
    groups: dict[str, list[float]] = {}
    for cell in cells:
        if cell.accuracy is not None:
            groups.setdefault(cell.detector.title, []).append(cell.accuracy)
    return ", ".join(f"{title} {_mean_std(values)}" for title, values in groups.items())


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads well as text."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def columns_of(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The columns of a table of rows as text, those that only tell rows apart where they are needed."""
    columns: dict[str, list[str]] = {"ID": [row.id for row in rows]} if len({row.id for row in rows}) > 1 else {}
    columns |= {"OoD": [row.ood for row in rows], "detector": [row.detector for row in rows]}
    if len({row.epochs for row in rows}) > 1:
        columns["epochs"] = [str(row.epochs) for row in rows]
    if len({(row.id, row.ood) for row in rows}) < len({(row.id, row.ood, row.n_id, row.n_ood) for row in rows}):
        columns["images"] = [f"{row.n_id} + {row.n_ood}" for row in rows]
    columns["seeds"] = [str(row.n) for row in rows]
    for metric, title in METRICS.items():
        columns[title] = [_percent(row.mean[metric], row.std[metric]) for row in rows]
    return columns


def _kind(results: Sequence[Result]) -> str:
    entropies = [
        (result.id_entropy, result.ood_entropy)
        for result in results
        if result.id_entropy is not None and result.ood_entropy is not None
    ]
    if not entropies:
        return ""
    inside, outside = np.mean(entropies, axis=0)
    semantic = "S" if results[0].ood.startswith(f"{results[0].id}-") else "NS+S"
    return f"{semantic}+{'P' if outside < inside else 'F'}"


def paper_of(row: Row) -> str:
    """The paper's AUROC in percent, or "-"."""
    return "-" if row.paper is None else _percent(row.paper.auroc_mean, row.paper.auroc_std)


def _mean_std(values: Sequence[float]) -> str:
    return _percent(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan)


def _percent(mean: float, std: float) -> str:
    return f"{100 * mean:.1f}" + ("" if math.isnan(std) else f" ± {100 * std:.1f}")
