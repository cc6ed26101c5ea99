"""Tables of the chapters: HTML that fits a phone, and plain text where HTML is not shown.

The styles are in the table itself, so that it looks alike in the book, in Jupyter and on Colab, light and dark.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from lamae_tutorial.benchmark.records import Result
from lamae_tutorial.benchmark.tables import METRICS, aggregate, markdown, percent

MOST_COLUMNS = 6  # that a phone can show
MARKS = {"above": "▲ above", "within": "● within", "below": "▼ below"}
_COLOURS = {"▲ above": "#0072B2", "● within": "#5C6370", "▼ below": "#B34700"}  # behind white text, in any theme
_CELL = "padding: 0.2em 0.4em; text-align: left; vertical-align: top; white-space: normal"


@dataclass(frozen=True, repr=False)
class BookTable:
    """A table of texts. Notebooks show it if it is the last expression of a cell.

    Attributes
    ----------
    frame : DataFrame
        Texts, in at most six columns. The first column names the row.
    caption : str
    """

    frame: pd.DataFrame
    caption: str = ""

    def __post_init__(self) -> None:
        if len(self.frame.columns) > MOST_COLUMNS:
            names = ", ".join(self.frame.columns)
            raise ValueError(f"a phone shows at most {MOST_COLUMNS} columns; leave out some of {names}")

    def __repr__(self) -> str:
        return markdown(self.frame) + (f"\n\n{self.caption}" if self.caption else "")

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="{_CELL}">{escape(name)}</th>' for name in self.frame.columns)
        body = "".join(
            f'<tr><th scope="row" style="{_CELL}; font-weight: normal">{_content(first)}</th>'
            + "".join(f'<td style="{_CELL}">{_content(text)}</td>' for text in rest)
            + "</tr>\n"
            for first, *rest in self.frame.to_numpy().tolist()
        )
        caption = f'<caption style="caption-side: bottom; text-align: left">{escape(self.caption)}</caption>\n'
        return (
            '<table class="dataframe lamae-table" style="border-collapse: collapse; font-size: 0.9em">\n'
            f"{caption if self.caption else ''}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"
        )


def show_results(
    results: Iterable[Result],
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] = ("auroc",),
    paper: bool = True,
) -> BookTable:
    """Return results in percent as a table: mean ± standard deviation over seeds, and the paper's AUROC beside it.

    What all rows share is said in the caption or left out: the number of seeds, the epochs, and a single OoD set.

    Parameters
    ----------
    results : iterable of Result
    rows : sequence of str, optional
        Titles of the scores to show, in this order: "AE", "LAMAE+". All by default.
    columns : sequence of str
        Keys of :data:`lamae_tutorial.benchmark.tables.METRICS`: "auroc", "auprc_ood", "fpr95".
    paper : bool
        Compare with the paper's AUROC where it reports one. Within: the means differ by at most the larger of both
        deviations, or by rounding.

    Raises
    ------
    ValueError
        The table would have more than six columns.
    """
    found = aggregate(results)
    if rows is not None:
        sets = list(dict.fromkeys((row.id, row.ood) for row in found))
        found = sorted(
            (row for row in found if row.title in rows),
            key=lambda row: (sets.index((row.id, row.ood)), rows.index(row.title)),
        )
    several = {name: len({getattr(row, name) for row in found}) > 1 for name in ("id", "ood", "epochs", "n")}
    cells: dict[str, list[str]] = {}
    if several["id"] or several["ood"]:
        cells["OoD"] = [f"{row.ood} (ID {row.id})" if several["id"] else row.ood for row in found]
    cells["detector"] = [
        f"{row.title}, {_count(row.epochs, 'epoch')}" if several["epochs"] else row.title for row in found
    ]
    if several["n"]:
        cells["seeds"] = [str(row.n) for row in found]
    for metric in columns:
        cells[METRICS[metric]] = [percent(row.mean[metric], row.std[metric]) for row in found]
    caption = "In percent" + (", mean ± standard deviation" if any(row.n > 1 for row in found) else "")
    if found and not several["n"]:
        caption += f" of {_count(found[0].n, 'seed')}"
    caption += "."
    if paper and any(row.paper for row in found):
        cells["paper's AUROC"] = [
            percent(row.paper.auroc_mean, row.paper.auroc_std) if row.paper else "-" for row in found
        ]
        cells["ours is"] = [MARKS[row.mark] if row.mark else "-" for row in found]
        caption += " Within: the means differ by at most the larger deviation."
    return BookTable(pd.DataFrame(cells), caption)


def _content(text: str) -> str:
    if text in _COLOURS:
        style = (
            f"background: {_COLOURS[text]}; color: white; border-radius: 0.3em; padding: 0 0.3em; white-space: nowrap"
        )
        return f'<span style="{style}">{text}</span>'
    # Settings may wrap after a sign, numbers only before the deviation.
    return re.sub(r"(?<=[_=\[])", "<wbr>", escape(text).replace("± ", "±&nbsp;"))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
