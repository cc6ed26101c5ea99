"""Tables of the chapters: ours beside the paper's, as text and as HTML."""

import re

import pandas as pd
import pytest

from lamae_tutorial.benchmark.records import Result
from lamae_tutorial.teaching.tables import MARKS, BookTable, show_results


def result(detector: str, score: str, seed: int, auroc: float, ood: str = "mnist-1") -> Result:
    numbers = (10, 10, auroc, auroc / 2, 0.3, 1 - auroc)
    return Result("mnist without 1", "mnist", ood, detector, score, "error", seed, *numbers, known=True)


RESULTS = [
    *(result("LAMAE", "error+", seed, 0.90 + seed / 50) for seed in (0, 1)),
    *(result("AE", "error", seed, 0.2) for seed in (0, 1)),
    *(result("AE", "error+", seed, 0.1) for seed in (0, 1)),
    *(result("LAMAE", "energy", seed, 0.98) for seed in (0, 1)),
]


def test_results_beside_the_papers() -> None:
    table = show_results(RESULTS, rows=["AE", "AE+", "LAMAE+", "LAMAE (energy)"])
    assert table.frame.to_numpy().tolist() == [
        ["AE", "20.0 ± 0.0", "12.7 ± 0.1", "▲ above"],
        ["AE+", "10.0 ± 0.0", "27.0 ± 0.3", "▼ below"],
        ["LAMAE+", "91.0 ± 1.4", "90.1 ± 2.5", "● within"],
        ["LAMAE (energy)", "98.0 ± 0.0", "-", "-"],
    ]
    assert "deviation of 2 seeds" in table.caption and table.caption in repr(table)
    assert list(show_results(RESULTS, paper=False).frame) == ["detector", "AUROC"]


def test_a_column_appears_only_if_rows_differ_in_it() -> None:
    table = show_results(
        [*RESULTS[:2], result("AE", "error", 0, 0.3, "mnist-4")], columns=("auroc", "fpr95"), paper=False
    )
    assert list(table.frame) == ["OoD", "detector", "seeds", "AUROC", "FPR95"]
    assert "seed" not in table.caption
    with pytest.raises(ValueError, match=r"at most 6 columns; leave out some of OoD, .* FPR95"):
        BookTable(table.frame.assign(one="", two=""))


def test_html_is_escaped_and_marks_can_be_read() -> None:
    page = BookTable(pd.DataFrame({"a<b": ["x&y", "z", "z"], "ours is": list(MARKS.values())}), "<c>")._repr_html_()
    assert "a&lt;b" in page and "x&amp;y" in page and "&lt;c&gt;" in page
    colours = re.findall(r"background: #(\w+); color: white", page)
    assert len(colours) == 3
    for colour in colours:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        assert 1.05 / (0.05 + 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]) >= 4.5  # WCAG, level AA
