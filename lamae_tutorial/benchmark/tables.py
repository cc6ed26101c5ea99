"""Means, deviations and intervals over seeds, beside the papers' numbers, and the tables of a report.

Every table is a pandas DataFrame. :func:`results_frame` and :func:`rows_frame` hold numbers for further work.
:func:`report_tables` holds text, rounded as in the papers. pandas writes Markdown, LaTeX, HTML and CSV.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lamae_tutorial.benchmark.records import Arrays, Result, array_key, read_file, reading, saved_arrays
from lamae_tutorial.benchmark.reported import CORRELATION, Reported, reported
from lamae_tutorial.data.writing import readable
from lamae_tutorial.metrics import DeLong, bootstrap_interval, delong

METRICS = {"auroc": "AUROC", "auprc_ood": "AUPRC (OoD)", "fpr95": "FPR95"}
ROUNDING = 0.0005  # the papers round to tenths of a percent

Mark = Literal["above", "within", "below"]
_MARKDOWN = re.compile(r"\||<(?=[A-Za-z/!?])|&(?=#?\w+;)")  # what would end a cell, or be read as HTML


@dataclass(frozen=True)
class Row:
    """One score of a detector on one OoD set, over several seeds.

    Attributes
    ----------
    id, ood, detector, score, default_score, variant, epochs, n_id, n_ood, known
        As in :class:`~lamae_tutorial.benchmark.records.Result`; the same in all results of the row.
    n : int
        Number of seeds.
    mean, std : dict of str to float
        By metric (a key of `METRICS`), in [0, 1]. The sample standard deviation is not-a-number for one seed.
    interval : (float, float) or None
        95% bootstrap interval of the mean AUROC over the seeds; None for one seed.
    kind : str
        Kind of OoD in the LAMAE paper's taxonomy (Section 3.2.2): "S" (semantic) or "NS+S" (also non-semantic), then
        "P" (plain) or "F" (fancy) by mean entropy, e.g. "S+P" for a simple held-out digit. Empty if unknown.
    paper : Reported or None
    results : tuple of Result
        One per seed.
    """

    id: str
    ood: str
    detector: str
    score: str
    default_score: str
    variant: str
    epochs: int
    n_id: int
    n_ood: int
    known: bool
    n: int
    mean: dict[str, float]
    std: dict[str, float]
    interval: tuple[float, float] | None
    kind: str
    paper: Reported | None
    results: tuple[Result, ...]

    @property
    def title(self) -> str:
        """The title of the score with the changed settings of the detector: "LAMAE", "LAMAE+ [beta=2]"."""
        title = self.results[0].title
        return f"{title} [{self.variant}]" if self.variant else title

    @property
    def is_main(self) -> bool:
        """Whether the title is that of the papers: the detector's name, perhaps with a "+"."""
        return self.results[0].is_main

    @property
    def mark(self) -> Mark | None:
        """Whether our AUROC is above, within or below the paper's; None without a paper's number.

        Within: the means differ by at most the larger of both deviations, or by rounding.
        """
        if self.paper is None:
            return None
        difference = self.mean["auroc"] - self.paper.auroc_mean
        allowed = max(value for value in (self.std["auroc"], self.paper.auroc_std, ROUNDING) if not math.isnan(value))
        if abs(difference) <= allowed + 1e-9:
            return "within"
        return "above" if difference > 0 else "below"


_ALIKE = ("id", "ood", "detector", "score", "default_score", "variant", "epochs", "n_id", "n_ood", "known")


def aggregate(results: Iterable[Result]) -> list[Row]:
    """Return one row per OoD set and score, sorted by set. Other settings, epochs or test images make another row.

    Raises
    ------
    ValueError
        The results of one row come from different recipes or different data, or two results of one seed differ.
    """
    groups: dict[tuple[Any, ...], dict[int, Result]] = {}
    for result in results:
        key = tuple(getattr(result, name) for name in _ALIKE)
        if groups.setdefault(key, {}).setdefault(result.seed, result) != result:
            raise ValueError(
                f"{result.scenario}, {result.title} on {result.ood}: there are two different results of seed "
                f"{result.seed}; report each folder separately"
            )
    rows = []
    for key, group in groups.items():
        alike = dict(zip(_ALIKE, key, strict=True))
        members = tuple(group.values())
        _check_origin(members)
        values = {metric: [getattr(result, metric) for result in members] for metric in METRICS}
        names = (alike["id"], alike["ood"], alike["detector"], alike["score"], alike["variant"])
        rows.append(
            Row(
                **alike,
                n=len(members),
                mean={metric: float(np.mean(numbers)) for metric, numbers in values.items()},
                std={
                    metric: float(np.std(numbers, ddof=1)) if len(members) > 1 else math.nan
                    for metric, numbers in values.items()
                },
                interval=bootstrap_interval(values["auroc"]) if len(members) > 1 else None,
                kind=_kind(members),
                paper=reported(*names) if alike["known"] else None,
                results=members,
            )
        )
    sets = list(dict.fromkeys((row.id, row.ood) for row in rows))
    return sorted(rows, key=lambda row: sets.index((row.id, row.ood)))


def _check_origin(results: Sequence[Result]) -> None:
    """Raise a ValueError if the results must not be averaged: another recipe or other data."""
    recipes = sorted({result.recipe for result in results})
    data = sorted({result.data for result in results} - {""})
    for what, found in (("recipes of the detector", recipes), ("data", data)):
        if len(found) > 1:
            raise ValueError(
                f"{results[0].title} on {results[0].ood} ({results[0].scenario}): the results come from different "
                f"{what} ({', '.join(map(str, found))}); report each folder separately, or run the older cells again"
            )


def results_frame(results: Iterable[Result]) -> pd.DataFrame:
    """Return results as numbers: a line for each, with its title and all of its fields."""
    return pd.DataFrame([{"title": result.title, **asdict(result)} for result in results])


def rows_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Return rows as numbers in [0, 1]: a line for each, with mean, deviation, interval and the paper's numbers."""
    return pd.DataFrame(
        [
            {
                **{name: getattr(row, name) for name in ("id", "ood", "kind", "title", "detector", "score", "variant")},
                **{name: getattr(row, name) for name in ("epochs", "n_id", "n_ood")},
                "seeds": row.n,
                **{
                    f"{metric}_{what}": value[metric]
                    for metric in METRICS
                    for what, value in (("mean", row.mean), ("std", row.std))
                },
                "auroc_low": row.interval[0] if row.interval else math.nan,
                "auroc_high": row.interval[1] if row.interval else math.nan,
                "paper_mean": row.paper.auroc_mean if row.paper else math.nan,
                "paper_std": row.paper.auroc_std if row.paper else math.nan,
                "mark": row.mark or "",
            }
            for row in rows
        ]
    )


def results_table(results: Iterable[Result]) -> str:
    """Return results in percent as a Markdown table: mean ± standard deviation over seeds.

    The paper's AUROC has a column if the paper reports any of these rows. The ID set, its origin (known or own), epochs
    and numbers of test images have one if rows differ in them.
    """
    rows = aggregate(results)
    columns = _columns(rows)
    if any(row.paper for row in rows):
        columns["paper's AUROC"] = [_paper(row) for row in rows]
    return markdown(pd.DataFrame(columns))


def accuracy_line(records: Iterable[Path]) -> str:
    """Return the accuracy of each detector's classifier on the ID test images in percent; "" without classifiers."""
    groups: dict[str, list[float]] = {}
    for path in records:
        with reading(path):
            for record in read_file(path):
                if record["accuracy"] is not None:
                    groups.setdefault(record["results"][0]["detector"], []).append(float(record["accuracy"]))
    return ", ".join(f"{title} {_mean_std(values)}" for title, values in groups.items())


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that is padded to be readable as text."""
    return markdown(pd.DataFrame(rows, columns=list(header)))


def markdown(frame: pd.DataFrame) -> str:
    """Return a table of texts as Markdown. Only what Markdown would take for something else is escaped."""
    shown = _mapped(frame, lambda text: _MARKDOWN.sub(r"\\\g<0>", readable(text)))
    return shown.to_markdown(index=False, disable_numparse=True)


def _mapped(frame: pd.DataFrame, function: Callable[[str], str]) -> pd.DataFrame:
    """Apply a function to the texts and to the names of the columns."""
    cells = [[function(text) for text in row] for row in frame.to_numpy().tolist()]
    return pd.DataFrame(cells, columns=[function(name) for name in frame.columns])


@dataclass(frozen=True)
class Table:
    """A table of the report: a title, a note on how to read it, and the cells as text."""

    title: str
    note: str
    frame: pd.DataFrame


def report_tables(records: dict[Result, Path]) -> list[Table]:
    """Return the tables of a report on records, see :func:`lamae_tutorial.benchmark.records.read_records`."""
    rows = aggregate(records)
    arrays = {path: saved for path in dict.fromkeys(records.values()) if (saved := saved_arrays(path)) is not None}
    without = sum(all(records[result] not in arrays for result in row.results) for row in rows)
    tables = [
        _main_table(rows, without),
        _counts_table(rows),
        _tests_table(rows, records, arrays),
        _correlation_table(records),
    ]
    return [table for table in tables if len(table.frame)]


def as_markdown(tables: Sequence[Table]) -> str:
    """Return tables as Markdown."""
    return "\n\n".join(f"## {table.title}\n\n{table.note}\n\n{markdown(table.frame)}" for table in tables)


def as_latex(tables: Sequence[Table]) -> str:
    """Return tables as LaTeX tabulars that need no packages."""
    return "\n\n".join(f"% {table.title}. {table.note}\n{_latex(table.frame)}" for table in tables)


def as_html(frame: pd.DataFrame) -> str:
    """Return a table as HTML. Cells "above" and "below" have the class of the same name."""
    with pd.option_context("display.max_colwidth", None):  # without this, long texts are cut
        text = _mapped(frame, readable).to_html(index=False, border=0)
    for mark in ("above", "below"):
        text = text.replace(f"<td>{mark}</td>", f'<td class="{mark}">{mark}</td>')
    return f'<div class="table">\n{text}\n</div>'


def as_csv(rows: Sequence[Row]) -> str:
    """Return one line per row, with unrounded numbers in [0, 1]."""
    text = rows_frame(rows).to_csv(index=False, lineterminator="\n")
    return text.replace("\r", r"\r").encode("utf-8", "backslashreplace").decode()  # readers take \r for an end of line


def correlations(records: dict[Result, Path]) -> dict[int, dict[str, tuple[int, NDArray[np.float64]]]]:
    """Return entropy and reconstruction error of the autoencoder's ID test images (experiment `entropy-error`).

    Returns
    -------
    dict of int to dict of str to (int, array (3, N))
        By seed and name of the ID set: the number of epochs (the largest one if there are several), and an array with
        the entropy in bits, the mean squared error over an image's values, and the summed squared error. Only the mean
        can be compared between images of different sizes.
    """
    found: dict[int, dict[str, tuple[int, NDArray[np.float64]]]] = {}
    for path in dict.fromkeys(records.values()):
        with reading(path):
            for record in read_file(path):
                cell = record.get("cell")
                if cell is None or cell["detector"] != "autoencoder" or cell["scenario"]["protocol"] != "test-only":
                    continue
                arrays = saved_arrays(path)
                if arrays is not None and cell["scenario"]["held_out"] is None:
                    error = arrays[array_key("score/error")]
                    values = np.stack([arrays[array_key("entropy")], error / math.prod(record["image_shape"]), error])
                    of_seed, name, epochs = found.setdefault(cell["seed"], {}), cell["scenario"]["id"], cell["epochs"]
                    if name not in of_seed or epochs > of_seed[name][0]:
                        of_seed[name] = epochs, values
    return found


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the columns of a table of rows as text. Some columns appear only if rows differ in them."""

    def needed(*names: str) -> bool:
        pairs = {(row.id, row.ood) for row in rows}
        return len(pairs) < len({(row.id, row.ood, *(getattr(row, name) for name in names)) for row in rows})

    columns: dict[str, list[str]] = {"ID": [row.id for row in rows]} if len({row.id for row in rows}) > 1 else {}
    columns |= {"OoD": [row.ood for row in rows], "detector": [row.title for row in rows]}
    if needed("known"):
        columns["data"] = ["known" if row.known else "own" for row in rows]
    if len({row.epochs for row in rows}) > 1:
        columns["epochs"] = [str(row.epochs) for row in rows]
    if needed("n_id", "n_ood"):
        columns["images"] = [f"{row.n_id} + {row.n_ood}" for row in rows]
    columns["seeds"] = [str(row.n) for row in rows]
    for metric, title in METRICS.items():
        columns[title] = [percent(row.mean[metric], row.std[metric]) for row in rows]
    return columns


def _main_table(rows: Sequence[Row], without_scores: int) -> Table:
    columns = _columns(rows)
    columns["95% interval"] = [
        "-" if row.interval is None else f"{100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f}" for row in rows
    ]
    columns["kind"] = [row.kind or "-" for row in rows]
    columns["paper's AUROC"] = [_paper(row) for row in rows]
    columns["ours is"] = [row.mark or "-" for row in rows]
    return Table(
        "Ours beside the papers'",
        "In percent, mean ± standard deviation over seeds. 95% interval: bootstrap of the mean AUROC over the seeds; "
        "it means little for few seeds. Within: the means differ by at most the larger of both deviations, or by "
        "rounding (0.05). Kind: S is semantic, NS+S also non-semantic; P is plain and F fancy, by the mean entropy of "
        "the test images."
        + (f" {without_scores} rows are not tested: their scores (.npz) were not kept." if without_scores else ""),
        pd.DataFrame(columns),
    )


def _counts_table(rows: Sequence[Row]) -> Table:
    groups: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        if row.paper is not None:
            groups.setdefault((row.id, row.title, row.epochs), []).append(row)
    lines = []
    for (id_name, title, epochs), group in groups.items():
        ours = np.mean([row.mean["auroc"] for row in group])
        papers = np.mean([row.paper.auroc_mean for row in group if row.paper])
        line = {"ID": id_name, "detector": title, "epochs": str(epochs), "OoD sets": str(len(group))}
        lines.append(line | {"mean AUROC": f"{100 * ours:.1f}", "paper's mean": f"{100 * papers:.1f}", **_marks(group)})
    if lines:
        compared = [row for group in groups.values() for row in group]
        lines.append({**dict.fromkeys(lines[0], ""), "ID": "all", "OoD sets": str(len(compared)), **_marks(compared)})
    return Table(
        "Above, within and below the papers",
        "Means over the OoD sets that were run, in percent.",
        pd.DataFrame(lines),
    )


def _marks(rows: Sequence[Row]) -> dict[str, str]:
    marks = [row.mark for row in rows]
    return {mark: str(marks.count(mark)) for mark in ("above", "within", "below")}


def _tests_table(rows: Sequence[Row], records: dict[Result, Path], arrays: dict[Path, Arrays]) -> Table:
    """Test the best row of each OoD set against the others, for the seeds whose scores were kept."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        kept = tuple(result for result in row.results if records[result] in arrays)
        if kept:
            tested = replace(row, results=kept)
            groups.setdefault((row.id, row.ood, row.known, row.epochs, row.n_id, row.n_ood), []).append(tested)
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
            lines.append(
                {
                    "ID": row.id,
                    "OoD": row.ood,
                    "best": best.title,
                    "against": row.title,
                    "seeds": str(len(tests)),
                    "difference": f"{100 * difference:.1f}",
                    "largest p": p_text(largest),
                }
            )
    return Table(
        "The best of each OoD set against the others",
        "DeLong's test of two AUROCs on the same images, one test per seed. Difference: the mean over the seeds, in "
        "percentage points. Largest p: small only if the test finds a difference in every seed. Seeds: their number, "
        "where the scores of both were kept. Not corrected for the number of tests.",
        pd.DataFrame(lines),
    )


def _paired_test(first: Result, first_arrays: Arrays, second: Result, second_arrays: Arrays) -> DeLong:
    scores = []
    for result, arrays in ((first, first_arrays), (second, second_arrays)):
        for ood in (None, first.ood):
            if not np.array_equal(arrays[array_key("entropy", ood)], first_arrays[array_key("entropy", ood)]):
                raise ValueError(
                    f"{first.title} and {second.title} on {first.ood}, seed {first.seed}, were not scored on the "
                    "same images; report each folder separately"
                )
            scores.append(arrays[array_key(f"score/{result.score}", ood)])
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
        mean, total = (
            f"{np.mean(values):.4f}" + (f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else "")
            for values in zip(*found, strict=True)
        )
        paper = f"{CORRELATION:.4f}" if names == "cifar10, mnist" else "-"
        line = {"sets": names, "epochs": epochs, "seeds": str(len(found)), "mean error": mean, "summed error": total}
        lines.append({**line, "paper's": paper})
    return Table(
        "Entropy and reconstruction error",
        "Pearson's correlation of entropy and error over the ID test images of all sets. Each set has its own "
        "autoencoder. Mean error: mean over an image's values. Summed error: their sum, which grows with the size of "
        "the images.",
        pd.DataFrame(lines),
    )


def _kind(results: Sequence[Result]) -> str:
    entropies = [
        (result.id_entropy, result.ood_entropy)
        for result in results
        if result.id_entropy is not None and result.ood_entropy is not None
    ]
    if not entropies:
        return ""
    inside, outside = np.mean(entropies, axis=0)
    return f"{'S' if results[0].held_out else 'NS+S'}+{'P' if outside < inside else 'F'}"


def _paper(row: Row) -> str:
    """Return the paper's AUROC in percent, or "-"."""
    return "-" if row.paper is None else percent(row.paper.auroc_mean, row.paper.auroc_std)


def _mean_std(values: Sequence[float]) -> str:
    return percent(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan)


def p_text(p: float) -> str:
    """Return a p-value as text."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(mean: float, std: float = math.nan) -> str:
    """Return a share in percent, with its standard deviation unless that is not-a-number."""
    return f"{100 * mean:.1f}" + ("" if math.isnan(std) else f" ± {100 * std:.1f}")


def _latex(frame: pd.DataFrame) -> str:
    styled = (
        _mapped(frame, readable)
        .style.hide(axis="index")
        .format(escape="latex")
        .format_index(escape="latex", axis="columns")
    )
    rules = [{"selector": f"{place}rule", "props": ":hline;"} for place in ("top", "mid", "bottom")]
    text = styled.set_table_styles(rules).to_latex(column_format="l" * len(frame.columns))
    for sign, command in {"±": r"$\pm$", "<": "$<$", ">": "$>$", "|": "$|$"}.items():
        text = text.replace(sign, command)
    return text.rstrip()
