"""Means over tables and paired differences, on results made by hand."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from lamae_tutorial.benchmark.comparisons import ablations, comparison_tables, holm, means, paired_differences
from lamae_tutorial.benchmark.records import Result
from lamae_tutorial.cli import main


def result(detector: str, seed: int, ood: str, auroc: float, **changes: object) -> Result:
    usual = Result("mnist without 0", "mnist", ood, detector, "error", "error", seed, 10, 10, auroc, 0.5, 0.5, 0.5)
    return replace(usual, **{"held_out": True, "known": True, **changes})


def grid(detector: str, aurocs: list[list[float]], **changes: object) -> list[Result]:
    """Return results of held-out digits: a list for each seed, with the AUROC of each digit."""
    return [
        result(detector, seed, f"mnist-{digit}", auroc, **changes)
        for seed, of_seed in enumerate(aurocs)
        for digit, auroc in enumerate(of_seed)
    ]


RNG = np.random.default_rng(0)
OWN = RNG.uniform(0.9, 1.0, (5, 3)).tolist()  # 5 seeds, 3 digits
RIVALS = {name: RNG.uniform(0.85, 0.98, (5, 3)).tolist() for name in ("A", "B", "C")}
RESULTS = [
    *grid("Own", OWN),
    *(one for name, values in RIVALS.items() for one in grid(name, values)),
]


def test_means_are_over_rows_first_and_then_over_seeds() -> None:
    frame = means(RESULTS).set_index("title")
    assert list(frame.index) == ["Own", "A", "B", "C"] and set(frame["table"]) == {"mnist, 3 held-out classes"}
    of_seed = np.mean(OWN, axis=1)
    line = frame.loc["Own"]
    assert (line["mean"], line["std"]) == pytest.approx((of_seed.mean(), of_seed.std(ddof=1)))
    of_row = np.mean(OWN, axis=0)
    assert line["worst_row"] == f"mnist-{of_row.argmin()}" and line["worst"] == pytest.approx(of_row.min())
    assert (line["rows"], line["seeds"], line["incomplete"]) == (3, 5, {})


def test_seeds_with_missing_rows_do_not_count() -> None:
    some = [one for one in RESULTS if not (one.detector == "A" and one.seed == 1 and one.ood == "mnist-2")]
    some += grid("New", [[1.0, 1.0]])  # the best, but not on all digits
    frame = means(some).set_index("title")
    assert (frame.loc["A", "seeds"], frame.loc["A", "incomplete"]) == (4, {1: 2})
    assert frame.loc["A", "mean"] == pytest.approx(np.delete(np.array(RIVALS["A"]), 1, 0).mean())
    assert (frame.loc["New", "seeds"], frame.loc["New", "incomplete"]) == (0, {0: 2})
    assert math.isnan(frame.loc["New", "mean"]) and frame.loc["New", "worst_row"] == ""
    pairs = paired_differences(some).set_index("rival")
    assert set(pairs["reference"]) == {"Own"} and "New" not in pairs.index
    own, rival = (np.delete(np.array(values), 1, 0).mean(1) for values in (OWN, RIVALS["A"]))
    assert pairs.loc["A", "seeds"] == 4
    assert pairs.loc["A", ["difference", "p"]].tolist() == pytest.approx(
        [(own - rival).mean(), ttest_rel(own, rival).pvalue]
    )


def test_differences_are_those_of_the_paired_t_test() -> None:
    frame = paired_differences(RESULTS).set_index("rival")
    assert set(frame.index) == {"A", "B", "C"} and set(frame["reference"]) == {"Own"}
    for name, values in RIVALS.items():
        own, rival = np.mean(OWN, axis=1), np.mean(values, axis=1)
        interval = ttest_1samp(own - rival, 0).confidence_interval(0.95)
        found = frame.loc[name, ["difference", "low", "high", "p"]].tolist()
        assert found == pytest.approx([np.mean(own - rival), *interval, ttest_rel(own, rival).pvalue])
    p = frame["p"].sort_values()
    assert frame["p_holm"][p.index[0]] == pytest.approx(min(3 * p.iloc[0], 1))
    assert frame["p_holm"][p.index[1]] == pytest.approx(min(max(3 * p.iloc[0], 2 * p.iloc[1]), 1))


def test_holm_by_hand() -> None:
    corrected = holm([0.04, 0.01, math.nan, 0.03, 0.9])
    assert corrected == pytest.approx([0.09, 0.04, math.nan, 0.09, 0.9], nan_ok=True)
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8]) and len(holm([])) == 0


def test_any_title_can_be_the_reference() -> None:
    frame = paired_differences(RESULTS, "B").set_index("rival")
    assert set(frame.index) == {"Own", "A", "C"}
    assert frame.loc["Own", "difference"] == pytest.approx(np.mean(RIVALS["B"]) - np.mean(OWN))
    with pytest.raises(ValueError, match="no table has 'D'"):
        paired_differences(RESULTS, "D")


def test_only_shared_seeds_are_compared() -> None:
    late = [replace(one, seed=one.seed + 3) for one in grid("Late", RIVALS["A"])]  # seeds 3 to 7
    frame = paired_differences([*grid("Own", OWN), *late], "Own")
    own, rival = np.mean(OWN, axis=1)[3:], np.mean(RIVALS["A"], axis=1)[:2]
    assert frame.loc[0, ["seeds", "difference"]].tolist() == pytest.approx([2, np.mean(own - rival)])
    never = [replace(one, seed=one.seed + 9) for one in late]
    frame = paired_differences([*grid("Own", OWN), *never], "Own")
    assert frame.loc[0, "seeds"] == 0 and frame.loc[0, ["difference", "p", "p_holm"]].isna().all()
    _, table = comparison_tables([*grid("Own", OWN), *never])
    assert table.frame.iloc[0, 3:].tolist() == ["-", "0", "-"]


def test_one_seed_has_no_interval() -> None:
    results = [*grid("Own", OWN[:1]), *grid("A", RIVALS["A"][:1])]
    (line,) = paired_differences(results, "Own").to_dict("records")
    assert line["difference"] == pytest.approx(np.mean(OWN[0]) - np.mean(RIVALS["A"][0]))
    assert all(math.isnan(line[name]) for name in ("low", "high", "p", "p_holm")) and line["seeds"] == 1
    _, table = comparison_tables(results)
    assert table.frame["difference"][0].endswith("(no interval)") and table.frame["p"][0] == "-"
    assert "One seed has no interval" in table.note


def test_differences_without_spread() -> None:
    results = [*grid("Own", [[0.75]] * 3), *grid("same", [[0.75]] * 3), *grid("lower", [[0.5]] * 3)]
    frame = paired_differences(results).set_index("rival")
    assert frame.loc["same", ["difference", "low", "high", "p"]].tolist() == [0, 0, 0, 1]
    assert frame.loc["lower", ["difference", "low", "high", "p"]].tolist() == [0.25, 0.25, 0.25, 0]


def test_sets_that_no_detector_shares_are_separate_tables() -> None:
    def against(detector: str, oods: str, n: int = 10, **changes: object) -> list[Result]:
        return [result(detector, 0, ood, 0.5, **{"held_out": False, "n_id": n, "n_ood": n, **changes}) for ood in oods]

    results = [*against("A", "ab"), *against("B", "bc"), *against("A", "a", 20), *against("C", "d")]
    results += against("A", "ace", 30)
    results += [*grid("A", [[0.5, 0.6]]), *against("C", "d", known=False)]
    results += [result("A", 0, f"mnist-{digit}", 0.5, n_id=90) for digit in range(2)]  # protocol "test-only"
    frame = means(results)
    found = {name: (of_table["rows"].iloc[0], list(of_table["title"])) for name, of_table in frame.groupby("table")}
    assert found == {
        "mnist, 3 OoD sets, a, b, c": (3, ["A", "B"]),
        "mnist, 3 OoD sets, a, c, e": (3, ["A"]),
        "mnist: a": (1, ["A"]),
        "mnist: d, known": (1, ["C"]),
        "mnist: d, own": (1, ["C"]),
        "mnist, 2 held-out classes, 10 + 10 images": (2, ["A"]),
        "mnist, 2 held-out classes, 90 + 10 images": (2, ["A"]),
    }


def test_equal_titles_are_told_apart() -> None:
    frame = means([*grid("A", [[0.5]]), *grid("A", [[0.6]], epochs=5)])
    assert list(frame["title"]) == ["A, 0 epochs", "A, 5 epochs"]
    (line,) = paired_differences([*grid("A", [[0.5]]), *grid("A", [[0.6]], epochs=5)]).to_dict("records")
    assert (line["reference"], line["rival"], line["table"]) == ("A, 5 epochs", "A, 0 epochs", "mnist without 0")


def test_results_that_must_not_be_compared() -> None:
    with pytest.raises(ValueError, match="scores on mnist-0 come from different data"):
        means([*grid("A", [[0.5]], data="x"), *grid("B", [[0.5]], data="y")])
    assert len(means([*grid("A", [[0.5]], data="x"), *grid("B", [[0.5]], data="")])) == 2
    with pytest.raises(ValueError, match=r"A comes from different recipes of the detector \(1, 2\)"):
        means([result("A", 0, "mnist-0", 0.5), result("A", 0, "mnist-1", 0.5, recipe=2)])


def test_ablations_are_on_the_rows_of_the_variant() -> None:
    two = [of_seed[1:] for of_seed in RIVALS["A"]]
    changed = [replace(one, ood=f"mnist-{int(one.ood[-1]) + 1}") for one in grid("Own", two, variant="depth=1")]
    other = grid("Own", RIVALS["B"], variant="width=2")
    energy = [*grid("Own", OWN, score="energy"), *grid("Own", OWN, variant="width=2", score="energy")]  # no main score
    frame = ablations([*RESULTS, *changed, *other, *energy]).set_index("rival")
    assert set(frame["reference"]) == {"Own"} and set(frame.index) == {"Own [depth=1]", "Own [width=2]"}
    own, rival = np.mean(np.array(OWN)[:, 1:], axis=1), np.mean(two, axis=1)
    line = frame.loc["Own [depth=1]"]
    assert (line["table"], line["rows"]) == ("mnist, 2 held-out classes", 2)
    assert line[["difference", "p"]].tolist() == pytest.approx([np.mean(own - rival), ttest_rel(own, rival).pvalue])
    assert frame.loc["Own [width=2]", "difference"] == pytest.approx(np.mean(OWN) - np.mean(RIVALS["B"]))
    assert len(ablations([*changed, *other])) == 0
    several = ablations([*grid("Own", OWN), *other, *grid("Own", RIVALS["C"], variant="width=3")])
    assert list(several["p_holm"]) == pytest.approx(list(holm(several["p"]))) and len(several) == 2


def test_the_report_begins_with_the_comparisons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Detectors that are in no paper stand beside those that are."""
    results = [
        *grid("LAMAE", [[0.9, 0.95], [0.92, 0.95]], score="error+"),
        *grid("LAMAE", [[0.8, 0.85], [0.82, 0.85]], score="ViM (post-hoc)"),
        *grid("Mine", [[0.99, 0.97], [0.98, 0.97]], score="distance", default_score="distance"),
        *grid("Trivial", [[0.5, 0.6], [0.5, 0.6]], score="total_variation"),
        *grid("Trivial", [[0.7]], score="ink"),
        *grid("Trivial", [[0.7]], score="entropy"),
    ]
    record = {"detector": "Foreign", "settings": {"epochs": 1}, "results": [asdict(one) for one in results]}
    (tmp_path / "cell.json").write_text(json.dumps([record]))
    assert main(["report", str(tmp_path)]) == 0
    sections = dict(section.split("\n", 1) for section in capsys.readouterr().out.split("## ")[1:])
    assert list(sections) == [
        "Means over each table",
        "Paired differences",
        "Ours beside the papers'",
        "Above, within and below the papers",
    ]
    cells = {
        name: [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| m")]
        for name, text in sections.items()
    }
    assert [line[1:] for line in cells["Means over each table"]] == [
        ["Mine", "97.8 ± 0.4", "97.0 (mnist-1)", "2"],
        ["LAMAE+", "93.0 ± 0.7", "91.0 (mnist-0)", "2"],
        ["LAMAE: ViM (post-hoc)", "83.0 ± 0.7", "81.0 (mnist-0)", "2"],
        ["Trivial (total_variation)", "55.0 ± 0.0", "50.0 (mnist-0)", "2"],
        ["Trivial (ink) and 1 more of its scores", "- (1 of 2 rows)", "-", "0, 1 incomplete"],
    ]
    assert [line[1:5] for line in cells["Paired differences"]] == [
        ["Mine", "LAMAE+", "4.75 (-4.78 to 14.28)", "2"],
        ["Mine", "LAMAE: ViM (post-hoc)", "14.75 (5.22 to 24.28)", "2"],
        ["Mine", "Trivial (total_variation)", "42.75 (39.57 to 45.93)", "2"],
    ]
    of_zero = {line[1]: line[-2:] for line in cells["Ours beside the papers'"] if line[0] == "mnist-0"}
    assert of_zero["LAMAE+"][0] not in ("", "-")
    assert of_zero["Mine"] == of_zero["Trivial (ink)"] == of_zero["LAMAE: ViM (post-hoc)"] == ["-", "-"]
