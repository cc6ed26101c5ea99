"""Ours beside the papers': means and deviations over seeds, as a table of text."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamae_tutorial.benchmark import Cell, Result
from lamae_tutorial.reported import Reported, reported

METRICS = ("auroc", "auprc_ood", "fpr95")


@dataclass(frozen=True)
class Row:
    """One detector's score on one OoD set over several seeds.

    Attributes
    ----------
    id, ood, detector : str
    n : int
        Number of seeds.
    mean, std : dict of str to float
        Of each of `METRICS`, in [0, 1]; the standard deviation (of the sample) is not-a-number for one seed.
    paper : Reported or None
    """

    id: str
    ood: str
    detector: str
    n: int
    mean: dict[str, float]
    std: dict[str, float]
    paper: Reported | None


def read_results(files: Iterable[Path]) -> list[Result]:
    """The results in `results.json` files written by `lamae run --out`.

    Raises
    ------
    ValueError
        A file is no such file; it is named.
    """
    results = []
    for path in files:
        try:
            for record in json.loads(path.read_text(encoding="utf-8")):
                results += [Result(**values) for values in record["results"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not the results of a run: {error}") from error
    return results


def aggregate(results: Sequence[Result]) -> list[Row]:
    """One row for each OoD set and detector, set by set."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.id, result.ood, result.detector), []).append(result)
    rows = []
    for (id_name, ood, detector), group in groups.items():
        values = {metric: [getattr(result, metric) for result in group] for metric in METRICS}
        rows.append(
            Row(
                id=id_name,
                ood=ood,
                detector=detector,
                n=len(group),
                mean={metric: float(np.mean(numbers)) for metric, numbers in values.items()},
                std={
                    metric: float(np.std(numbers, ddof=1)) if len(group) > 1 else math.nan
                    for metric, numbers in values.items()
                },
                paper=reported(id_name, ood, detector),
            )
        )
    sets = list(dict.fromkeys(row.ood for row in rows))
    return sorted(rows, key=lambda row: sets.index(row.ood))


def results_table(results: Sequence[Result]) -> str:
    """Results with one ID set in percent, mean ± standard deviation over seeds.

    The paper's AUROC stands beside them if it has any of these rows.
    """
    rows = aggregate(results)
    header = ["OoD", "detector", "seeds", "AUROC", "AUPRC (OoD)", "FPR95"]
    lines = [
        [row.ood, row.detector, str(row.n), *(_percent(row.mean[metric], row.std[metric]) for metric in METRICS)]
        for row in rows
    ]
    if any(row.paper for row in rows):
        header.append("paper's AUROC")
        for line, row in zip(lines, rows, strict=True):
            line.append("-" if row.paper is None else _percent(row.paper.auroc_mean, row.paper.auroc_std))
    return text_table(header, lines)


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


def _mean_std(values: Sequence[float]) -> str:
    return _percent(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan)


def _percent(mean: float, std: float) -> str:
    return f"{100 * mean:.1f}" + ("" if math.isnan(std) else f" ± {100 * std:.1f}")
