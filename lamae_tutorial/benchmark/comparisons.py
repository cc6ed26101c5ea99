"""Means over the rows of a table, and differences between its scores, paired by seed.

A table holds an in-distribution set with its held-out classes, or with the OoD sets that one detector was scored on.
:func:`means`, :func:`paired_differences` and :func:`ablations` return numbers in [0, 1]. :func:`comparison_tables`
returns text for a report.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from lamae_tutorial.benchmark.records import Result
from lamae_tutorial.benchmark.tables import Row, Table, aggregate, p_text, percent

LEVEL = 0.95  # of the intervals

_FIELDS = ("detector", "score", "variant", "epochs")
_MEANS = ("table", "id", "title", *_FIELDS, "mean", "std", "worst_row", "worst", "rows", "seeds", "incomplete")
_DIFFERENCES = ("table", "id", "reference", "rival", "difference", "low", "high", "rows", "seeds", "p", "p_holm")

_Place = tuple[str, int, int]  # a row of a table: the OoD set and the numbers of its ID and OoD images


@dataclass(frozen=True)
class _Line:
    """A score in a table: its title there and its rows."""

    title: str
    rows: tuple[Row, ...]

    def by_seed(self) -> dict[int, dict[_Place, float]]:
        """Return the AUROC of each row, by seed."""
        found: dict[int, dict[_Place, float]] = {}
        for row in self.rows:
            for result in row.results:
                found.setdefault(result.seed, {})[_place(row)] = result.auroc
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class _Compared:
    """A table: its rows, and the scores that have some of them."""

    name: str
    id: str
    places: list[_Place]
    lines: list[_Line]

    def complete(self) -> dict[str, dict[int, NDArray[np.float64]]]:
        """Return the AUROCs of each title in the order of the rows, by seed, for the seeds that have all rows."""
        return {
            line.title: {
                seed: np.array([of_place[place] for place in self.places])
                for seed, of_place in line.by_seed().items()
                if len(of_place) == len(self.places)
            }
            for line in self.lines
        }


def means(results: Iterable[Result]) -> pd.DataFrame:
    """Return the mean AUROC of each score over all rows of each table, and its worst row.

    Returns
    -------
    DataFrame
        A line for each table and title (detector, score and variant). `mean` and `std` are taken over seeds, of the
        mean over rows. `worst_row` is the row with the lowest mean over seeds, which is `worst`. `rows` is the number
        of rows in the table. Only seeds with all of them count: `seeds` is their number. `incomplete` is a dict of the
        others, with the number of rows that each has. Without a complete seed the numbers are not-a-number.

    Raises
    ------
    ValueError
        Two scores of one row come from different data, or two rows of one score from different recipes. See also
        :func:`lamae_tutorial.benchmark.tables.aggregate`.
    """
    lines = []
    for table in _compared(aggregate(results)):
        complete = table.complete()
        for line in table.lines:
            of_seed = complete[line.title]
            values = np.array([*of_seed.values()] or [np.full(len(table.places), math.nan)])  # (seeds, rows)
            of_row = values.mean(0)
            worst = int(np.argmin(of_row))
            lines.append(
                {
                    "table": table.name,
                    "id": table.id,
                    "title": line.title,
                    **{name: getattr(line.rows[0], name) for name in _FIELDS},
                    "mean": of_row.mean(),
                    "std": values.mean(1).std(ddof=1) if len(of_seed) > 1 else math.nan,
                    "worst_row": table.places[worst][0] if of_seed else "",
                    "worst": of_row[worst],
                    "rows": len(table.places),
                    "seeds": len(of_seed),
                    "incomplete": {
                        seed: len(of_place) for seed, of_place in line.by_seed().items() if seed not in of_seed
                    },
                }
            )
    return pd.DataFrame(lines, columns=list(_MEANS))


def paired_differences(results: Iterable[Result], reference: str = "best") -> pd.DataFrame:
    """Return how far a reference is above each rival in the mean AUROC over all rows of a table, seed by seed.

    Parameters
    ----------
    results : iterable of Result
    reference : str
        A title as in :func:`means`, or "best": in each table the title with the highest mean.

    Returns
    -------
    DataFrame
        A line for each rival in the tables in which the reference has a complete seed. `difference` is the mean over
        the seeds that are complete for both; `seeds` is their number. `low` and `high` are its 95% t interval, `p` is
        that of the paired t test, and `p_holm` is corrected for the number of rivals (Holm 1979). With one seed, these
        four are not-a-number. Rivals without a complete seed are left out; :func:`means` has them.

    Raises
    ------
    ValueError
        No table has the reference with all rows. Otherwise as in :func:`means`.
    """
    lines = []
    for table in _compared(aggregate(results)):
        lines += _against(table, next(iter(_best_first(table)), "") if reference == "best" else reference)
    if reference != "best" and not any(line["reference"] == reference for line in lines):
        raise ValueError(f"no table has {reference!r} with all rows and a rival; `means` lists the titles")
    return _differences_frame(lines)


def ablations(results: Iterable[Result]) -> pd.DataFrame:
    """Return what each changed setting costs: a detector with its own settings minus the variant, seed by seed.

    A variant is compared on the rows that it was run on, by the scores that are in the papers or are the default.

    Returns
    -------
    DataFrame
        As :func:`paired_differences`, with the variant as `rival`. `p_holm` is corrected for the number of variants.
    """
    groups: dict[tuple[Any, ...], dict[str, list[Row]]] = {}  # rows by variant
    for row in aggregate(results):
        if row.is_main:
            key = (row.id, row.known, row.detector, row.score, row.default_score, row.epochs)
            groups.setdefault(key, {}).setdefault(row.variant, []).append(row)
    lines = []
    for of_variant in groups.values():
        usual = of_variant.pop("", [])
        for rows in of_variant.values():
            places = {_place(row) for row in rows}
            for table in _compared([*(row for row in usual if _place(row) in places), *rows]):
                lines += _against(table, usual[0].title if usual else "")
    return _differences_frame(lines)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p-values corrected for their number (Holm 1979). Those that are not-a-number are not counted."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)[: np.isfinite(values).sum()]  # not-a-number comes last
    corrected = np.full_like(values, math.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def comparison_tables(results: Iterable[Result]) -> list[Table]:
    """Return the first tables of a report: means, differences from the best, and what changed settings cost."""
    given = list(results)
    shown = [
        Table(
            "Means over each table",
            "The mean AUROC over all rows of a table (held-out classes or OoD sets), in percent, mean ± standard "
            "deviation over seeds. Worst row: the row with the lowest mean over the same seeds. A seed counts only if "
            "it has all rows. A detector without such a seed has no mean, and the most rows of a seed are given.",
            _mean_texts(means(given)),
        ),
        Table(
            "Paired differences",
            "How far the title with the highest mean of a table is above the others in the mean over all rows, in "
            "percentage points, with a 95% t interval over seeds. Each difference is taken between runs with the same "
            "seed on the same rows. One seed has no interval and no p. p: paired t test, with Holm's correction for "
            "the number of comparisons in the table. The same numbers chose the best one, which flatters its lead.",
            _difference_texts(paired_differences(given), "best", "against"),
        ),
        Table(
            "Ablations",
            "How far a detector with its own settings is above the same detector with changed settings, as in the "
            "table before, on the rows that the changed one was run on. p is corrected for the number of changes.",
            _difference_texts(ablations(given), "detector", "changed"),
        ),
    ]
    return [table for table in shown if len(table.frame)]


def _place(row: Row) -> _Place:
    return row.ood, row.n_id, row.n_ood


def _compared(rows: Sequence[Row]) -> list[_Compared]:
    """Divide rows into tables: by ID set, known or own data, held-out classes or OoD sets, and protocol."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        held_out = row.results[0].held_out
        # The sizes of held-out classes differ. "balanced" cuts both sets of a row to one size, "test-only" does not.
        sizes = row.n_id == row.n_ood if held_out else row.n_id
        groups.setdefault((row.id, row.known, held_out, sizes), []).append(row)
    parts = []
    for (_, _, held_out, _), group in groups.items():
        parts += [group] if held_out else _linked(group)
    names = _unique(parts, _table_name, _sets, lambda part: "known" if part[0].known else "own", _sizes)
    return [_table(name, part) for name, part in zip(names, parts, strict=True)]


def _linked(rows: Sequence[Row]) -> list[list[Row]]:
    """Divide rows: two OoD sets belong together if a detector with the same settings was scored on both."""
    detectors: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        detectors.setdefault((row.detector, row.variant, row.epochs), []).append(row)
    parts: list[tuple[set[_Place], list[Row]]] = []
    for members in detectors.values():
        places = {_place(row) for row in members}
        joined = [part for part in parts if part[0] & places]
        together = [row for _, of_part in joined for row in of_part] + members
        parts = [part for part in parts if not part[0] & places]
        parts.append((places.union(*(of_part for of_part, _ in joined)), together))
    return [members for _, members in parts]


def _table(name: str, rows: Sequence[Row]) -> _Compared:
    scores: dict[tuple[Any, ...], list[Row]] = {}
    data: dict[_Place, set[str]] = {}
    for row in rows:
        scores.setdefault((row.detector, row.score, row.default_score, row.variant, row.epochs), []).append(row)
        data.setdefault(_place(row), set()).update(result.data for result in row.results if result.data)
    for place, found in data.items():
        if len(found) > 1:
            raise ValueError(f"{name}: scores on {place[0]} come from different data; report each folder separately")
    of_score = list(scores.values())
    titles = _unique(
        of_score, lambda part: part[0].title, lambda part: f"{part[0].epochs} epochs", lambda part: part[0].score
    )
    for title, part in zip(titles, of_score, strict=True):
        recipes = sorted({result.recipe for row in part for result in row.results})
        if len(recipes) > 1:
            raise ValueError(
                f"{name}: {title} comes from different recipes of the detector ({', '.join(map(str, recipes))}); "
                "report each folder separately, or run the older cells again"
            )
    lines = [_Line(title, tuple(part)) for title, part in zip(titles, of_score, strict=True)]
    return _Compared(name, rows[0].id, list(data), lines)


def _unique(
    parts: Sequence[Sequence[Row]], name: Callable[[Sequence[Row]], str], *more: Callable[[Sequence[Row]], str]
) -> list[str]:
    """Return a name for each part. To equal names is added what tells them apart."""
    names = [name(part) for part in parts]
    for further in more:
        said: dict[str, set[str]] = {}
        for each, part in zip(names, parts, strict=True):
            said.setdefault(each, set()).add(further(part))
        names = [
            f"{each}, {further(part)}" if len(said[each]) > 1 else each for each, part in zip(names, parts, strict=True)
        ]
    return names


def _table_name(rows: Sequence[Row]) -> str:
    first, number = rows[0], len({row.ood for row in rows})
    if first.results[0].held_out:
        return first.results[0].scenario if number == 1 else f"{first.id}, {number} held-out classes"
    return f"{first.id}: {first.ood}" if number == 1 else f"{first.id}, {number} OoD sets"


def _sets(rows: Sequence[Row]) -> str:
    return ", ".join(dict.fromkeys(row.ood for row in rows))


def _sizes(rows: Sequence[Row]) -> str:
    return f"{rows[0].n_id} + {rows[0].n_ood} images"


def _best_first(table: _Compared) -> dict[str, dict[int, NDArray[np.float64]]]:
    """Return the titles with a complete seed, the highest mean first; of equal ones, the one with more seeds."""
    complete = [(title, of_seed) for title, of_seed in table.complete().items() if of_seed]
    return dict(sorted(complete, key=lambda line: (-np.mean([*line[1].values()]), -len(line[1]))))


def _against(table: _Compared, reference: str) -> list[dict[str, Any]]:
    """Return a line of numbers for each rival of the reference that has a complete seed."""
    complete = _best_first(table)
    of_reference = complete.pop(reference, {})
    lines = []
    for rival, of_rival in complete.items():
        if of_reference:
            shared = [seed for seed in of_reference if seed in of_rival]
            differences = np.array([of_reference[seed].mean() - of_rival[seed].mean() for seed in shared])
            ends = {"table": table.name, "id": table.id, "reference": reference, "rival": rival}
            lines.append({**ends, "rows": len(table.places), "seeds": len(shared), **_paired_t(differences)})
    return lines


def _paired_t(differences: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean, its t interval, and the p of the t test of the mean 0."""
    n = len(differences)
    mean = float(differences.mean()) if n else math.nan
    if n < 2:
        return {"difference": mean, "low": math.nan, "high": math.nan, "p": math.nan}
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    half = error * float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else float(mean == 0)
    return {"difference": mean, "low": mean - half, "high": mean + half, "p": p}


def _differences_frame(lines: Sequence[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(lines, columns=list(_DIFFERENCES)).astype({"p_holm": float})
    for _, family in frame.groupby(["table", "reference"]):
        frame.loc[family.index, "p_holm"] = holm(family["p"])
    return frame


def _mean_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return each table's means, the highest first. A detector's scores without a mean share a line."""
    lines: list[dict[str, str]] = []
    for name, of_table in frame.groupby("table", sort=False):
        incomplete: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for line in of_table.sort_values("mean", ascending=False, kind="stable").to_dict("records"):
            seeds = f"{line['seeds']}" + (f", {len(line['incomplete'])} incomplete" if line["incomplete"] else "")
            if not line["seeds"]:
                rows = f"{max(line['incomplete'].values())} of {line['rows']}"
                incomplete.setdefault((line["detector"], line["variant"], line["epochs"], rows, seeds), []).append(line)
                continue
            lines.append(
                {
                    "table": name,
                    "detector": line["title"],
                    "mean AUROC": percent(line["mean"], line["std"]),
                    "worst row": f"{percent(line['worst'])} ({line['worst_row']})",
                    "seeds": seeds,
                }
            )
        for (*_, rows, seeds), alike in incomplete.items():
            title = alike[0]["title"] + (f" and {len(alike) - 1} more of its scores" if len(alike) > 1 else "")
            missing = {"mean AUROC": f"- ({rows} rows)", "worst row": "-"}
            lines.append({"table": name, "detector": title, **missing, "seeds": seeds})
    return pd.DataFrame(lines)


def _difference_texts(frame: pd.DataFrame, reference: str, rival: str) -> pd.DataFrame:
    lines = []
    for line in frame.to_dict("records"):
        interval = "no interval"
        if line["seeds"] > 1:
            interval = f"{_points(line['low'])} to {_points(line['high'])}"
        lines.append(
            {
                "table": line["table"],
                reference: line["reference"],
                rival: line["rival"],
                "difference": f"{_points(line['difference'])} ({interval})" if line["seeds"] else "-",
                "seeds": str(line["seeds"]),
                "p": p_text(line["p_holm"]) if line["seeds"] > 1 else "-",
            }
        )
    return pd.DataFrame(lines)


def _points(difference: float) -> str:
    return f"{round(100 * difference, 2) + 0:.2f}"  # + 0 turns -0.0 into 0.0
