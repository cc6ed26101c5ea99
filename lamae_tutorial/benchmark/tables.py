"""The report over records as tables: ours beside the papers', counts, paired tests and the entropy's correlation."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamae_tutorial.benchmark.cells import Result
from lamae_tutorial.benchmark.records import METRICS, Row, aggregate, columns_of, paper_of, text_table
from lamae_tutorial.benchmark.reported import CORRELATION
from lamae_tutorial.metrics import DeLong, delong


@dataclass(frozen=True)
class Table:
    """A table of the report: a title, a sentence on how to read it, and the cells as text."""

    title: str
    note: str
    header: list[str]
    lines: list[list[str]]


def report_tables(records: dict[Result, Path]) -> list[Table]:
    """All tables of a report over records, see :func:`lamae_tutorial.benchmark.records.read_records`."""
    rows = aggregate(records)
    arrays = {path: saved for path in dict.fromkeys(records.values()) if (saved := saved_arrays(path)) is not None}
    without = sum(all(records[result] not in arrays for result in row.results) for row in rows)
    tables = [
        _main_table(rows, without),
        _counts_table(rows),
        _tests_table(rows, records, arrays),
        _correlation_table(records),
    ]
    return [table for table in tables if table.lines]


def as_markdown(tables: Sequence[Table]) -> str:
    """Tables as Markdown."""
    return "\n\n".join(
        f"## {table.title}\n\n{table.note}\n\n{text_table(table.header, table.lines)}" for table in tables
    )


def as_latex(tables: Sequence[Table]) -> str:
    """Tables as LaTeX tabulars, without packages."""
    return "\n\n".join(
        "\n".join(
            [
                f"% {table.title}. {table.note}",
                rf"\begin{{tabular}}{{{'l' * len(table.header)}}}",
                r"\hline",
                rf"{_latex_line(table.header)} \hline",
                *(_latex_line(line) for line in table.lines),
                r"\hline",
                r"\end{tabular}",
            ]
        )
        for table in tables
    )


def as_csv(rows: Sequence[Row]) -> str:
    """One line a row, with the numbers in full, in [0, 1]."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    metrics = [f"{metric}_{what}" for metric in METRICS for what in ("mean", "std")]
    header = ["id", "ood", "kind", "detector", "epochs", "n_id", "n_ood", "seeds", *metrics]
    writer.writerow([*header, "auroc_low", "auroc_high", "paper_mean", "paper_std", "mark"])
    for row in rows:
        numbers = [value[metric] for metric in METRICS for value in (row.mean, row.std)]
        paper = [math.nan, math.nan] if row.paper is None else [row.paper.auroc_mean, row.paper.auroc_std]
        low, high = row.interval or (math.nan, math.nan)
        cells = [row.id, row.ood, row.kind, row.detector, row.epochs, row.n_id, row.n_ood, row.n]
        cells += ["" if math.isnan(number) else number for number in (*numbers, low, high, *paper)]
        writer.writerow([*cells, row.mark or ""])
    return text.getvalue()


def correlations(records: dict[Result, Path]) -> dict[int, dict[str, tuple[int, NDArray[np.float64]]]]:
    """Entropy and reconstruction error of the autoencoder's ID test images, for the experiment `entropy-error`.

    Returns
    -------
    dict of int to dict of str to (int, array (3, N))
        By seed and the name of the ID set: the epochs, of which sets may have different numbers (the largest counts);
        and entropy in bits, squared error as mean over an image's values, so that images of different sizes can be held
        beside each other, and as their sum.
    """
    found: dict[int, dict[str, tuple[int, NDArray[np.float64]]]] = {}
    for path in dict.fromkeys(records.values()):
        for record in json.loads(path.read_text(encoding="utf-8")):
            cell = record.get("cell")
            if cell is None or cell["detector"] != "autoencoder" or cell["scenario"]["protocol"] != "test-only":
                continue
            arrays = saved_arrays(path)
            if arrays is not None and cell["scenario"]["held_out"] is None:
                error = arrays["AE/id"]
                values = np.stack([arrays["entropy/id"], error / math.prod(record["image_shape"]), error])
                of_seed, name, epochs = found.setdefault(cell["seed"], {}), cell["scenario"]["id"], cell["epochs"]
                if name not in of_seed or epochs > of_seed[name][0]:
                    of_seed[name] = epochs, values
    return found


def saved_arrays(record: Path) -> dict[str, NDArray[Any]] | None:
    """The scores, entropies and examples that lie beside a cell's record; None if there are none."""
    path = record.with_suffix(".npz")
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def _main_table(rows: Sequence[Row], without_scores: int) -> Table:
    columns = columns_of(rows)
    columns["95% interval"] = [
        "-" if row.interval is None else f"{100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f}" for row in rows
    ]
    columns["kind"] = [row.kind or "-" for row in rows]
    columns["paper's AUROC"] = [paper_of(row) for row in rows]
    columns["ours is"] = [row.mark or "-" for row in rows]
    return Table(
        "Ours beside the papers'",
        "In percent, mean ± standard deviation over seeds. 95% interval: bootstrap of the mean AUROC over the seeds, "
        "so of little worth where they are few. Within: the means differ by no more than the larger of both "
        "deviations, or by rounding (0.05). Kind: S semantic, NS+S also non-semantic; P plain, F fancy by the mean "
        "entropy of the test images."
        + (f" {without_scores} rows are not tested: their scores (.npz) were not kept." if without_scores else ""),
        list(columns),
        [list(line) for line in zip(*columns.values(), strict=True)],
    )


def _counts_table(rows: Sequence[Row]) -> Table:
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        if row.paper is not None:
            groups.setdefault((row.id, row.detector, row.epochs), []).append(row)
    header = ["ID", "detector", "epochs", "OoD sets", "mean AUROC", "paper's mean", "above", "within", "below"]
    lines = []
    for (id_name, detector, epochs), group in groups.items():
        ours = np.mean([row.mean["auroc"] for row in group])
        papers = np.mean([row.paper.auroc_mean for row in group if row.paper])
        lines.append([id_name, detector, str(epochs), str(len(group)), f"{100 * ours:.1f}", f"{100 * papers:.1f}"])
        lines[-1] += _counts(group)
    if lines:
        compared = [row for group in groups.values() for row in group]
        lines.append(["all", "", "", str(len(compared)), "", "", *_counts(compared)])
    return Table(
        "Above, within and below the papers", "Means over the OoD sets that were run, in percent.", header, lines
    )


def _counts(rows: Sequence[Row]) -> list[str]:
    marks = [row.mark for row in rows]
    return [str(marks.count(mark)) for mark in ("above", "within", "below")]


def _tests_table(
    rows: Sequence[Row], records: dict[Result, Path], arrays: dict[Path, dict[str, NDArray[Any]]]
) -> Table:
    """The best of each OoD set against each other one, for the seeds whose scores were kept."""
    groups: dict[tuple[str, str, int, int, int], list[Row]] = {}
    for row in rows:
        kept = tuple(result for result in row.results if records[result] in arrays)
        if kept:
            tested = replace(row, results=kept)
            groups.setdefault((row.id, row.ood, row.epochs, row.n_id, row.n_ood), []).append(tested)
    lines = []
    for group in groups.values():
        best = max(group, key=lambda row: row.mean["auroc"])
        for row in group:
            pairs = [(one, two) for one in best.results for two in row.results if one.seed == two.seed]
            if row is best or not pairs:
                continue
            tests = [_paired_test(one, arrays[records[one]], two, arrays[records[two]]) for one, two in pairs]
            difference = float(np.mean([test.difference for test in tests]))
            largest = max(test.p for test in tests)
            lines.append([row.id, row.ood, best.detector, row.detector, str(len(tests)), f"{100 * difference:.1f}"])
            lines[-1].append("< 0.001" if largest < 0.001 else f"{largest:.3f}")
    return Table(
        "The best of each OoD set against the others",
        "DeLong's test of two AUROCs on the same images, seed by seed: the mean difference in points, and the largest "
        "p, which is small only if the test finds a difference in every seed. Seeds: with scores of both. Not "
        "corrected for the number of tests.",
        ["ID", "OoD", "best", "against", "seeds", "difference", "largest p"],
        lines,
    )


def _paired_test(
    first: Result, first_arrays: dict[str, NDArray[Any]], second: Result, second_arrays: dict[str, NDArray[Any]]
) -> DeLong:
    scores = []
    for result, arrays in ((first, first_arrays), (second, second_arrays)):
        for name in ("id", first.ood):
            if not np.array_equal(arrays[f"entropy/{name}"], first_arrays[f"entropy/{name}"]):
                raise ValueError(
                    f"{first.detector} and {second.detector} on {first.ood}, seed {first.seed}, were not scored on the "
                    "same images; report their folders apart"
                )
            scores.append(arrays[f"{result.detector}/{name}"])
    return delong(*scores)


def _correlation_table(records: dict[Result, Path]) -> Table:
    groups: dict[tuple[tuple[str, int], ...], list[NDArray[np.float64]]] = {}
    for of_set in correlations(records).values():
        joined = np.concatenate([values for _, values in of_set.values()], axis=1)
        sets = tuple(sorted((name, epochs) for name, (epochs, _) in of_set.items()))
        groups.setdefault(sets, []).append(np.corrcoef(joined)[0, 1:])
    lines = []
    for sets, found in groups.items():
        names, epochs = (", ".join(map(str, part)) for part in zip(*sets, strict=True))
        shown = [
            f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")
            for values in zip(*found, strict=True)
        ]
        paper = f"{CORRELATION:.4f}" if names == "cifar10, mnist" else "-"
        lines.append([names, epochs, str(len(found)), *shown, paper])
    return Table(
        "Entropy and reconstruction error",
        "Pearson's correlation over the ID test images of all sets together, each with an autoencoder of its own; the "
        "error as mean over an image's values, and as their sum, which grows with the size of the images.",
        ["sets", "epochs", "seeds", "mean error", "summed error", "paper's"],
        lines,
    )


def _latex_line(cells: Sequence[str]) -> str:
    text = " & ".join(cells)
    for plain, escaped in (("_", r"\_"), ("%", r"\%"), ("±", r"$\pm$"), ("<", "$<$")):
        text = text.replace(plain, escaped)
    return rf"{text} \\"
