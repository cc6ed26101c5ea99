"""Results, their means and deviations, and the papers' numbers."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lamae_tutorial.benchmark.records import Result, read_results, score_title
from lamae_tutorial.benchmark.reported import Reported, reported, reported_complexity
from lamae_tutorial.benchmark.tables import aggregate, results_frame, results_table, rows_frame, text_table


def result(detector: str, score: str, seed: int, auroc: float, ood: str = "mnist-1") -> Result:
    numbers = (10, 10, auroc, auroc / 2, 0.3, 1 - auroc)
    return Result("mnist without 1", "mnist", ood, detector, score, "error", seed, *numbers, known=True)


RESULTS = [
    result("LAMAE", "error+", 0, 0.90),
    result("AE", "error", 0, 0.2),
    result("LAMAE", "error+", 1, 0.94),
    result("AE", "error", 0, 0.3, "own"),
]


@pytest.mark.parametrize(
    ("fields", "title", "is_main"),
    [
        (("LAMAE", "error", "error"), "LAMAE", True),
        (("LAMAE", "error+", "error"), "LAMAE+", True),
        (("LAMAE", "energy", "error"), "LAMAE (energy)", False),
        (("LAMAE", "error+ & msp", "error"), "LAMAE (error+ & msp)", False),
        (("LAMAE", "ViM (post-hoc)", "error"), "LAMAE: ViM (post-hoc)", False),
        (("Difference", "outlier", "outlier"), "Difference", True),
        (("Difference", "error+", "outlier"), "Difference (error+)", False),
        (("Mine (two) [x]", "f", "f"), "Mine (two) [x]", True),
    ],
)
def test_titles_are_made_of_fields(fields: tuple[str, str, str], title: str, is_main: bool) -> None:
    one = replace(RESULTS[0], detector=fields[0], score=fields[1], default_score=fields[2])
    assert score_title(*fields) == one.title == title
    assert one.is_main == aggregate([one])[0].is_main == is_main


def test_aggregate() -> None:
    rows = aggregate(RESULTS)
    assert [(row.ood, row.title, row.n) for row in rows] == [
        ("mnist-1", "LAMAE+", 2),
        ("mnist-1", "AE", 1),
        ("own", "AE", 1),
    ]
    assert rows[0].mean == pytest.approx({"auroc": 0.92, "auprc_ood": 0.46, "fpr95": 0.08})
    assert rows[0].std["auroc"] == pytest.approx(0.04 / math.sqrt(2))
    assert math.isnan(rows[1].std["auroc"])
    assert rows[0].paper == Reported(0.901, 0.025, 3)
    assert rows[2].paper is None


def test_table() -> None:
    lines = results_table(RESULTS).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[2] == ["mnist-1", "LAMAE+", "2", "92.0 ± 2.8", "46.0 ± 1.4", "8.0 ± 2.8", "90.1 ± 2.5"]
    assert cells[3] == ["mnist-1", "AE", "1", "20.0", "10.0", "80.0", "12.7 ± 0.1"]
    assert cells[4][-1] == "-"
    assert "paper" not in results_table(RESULTS[3:])
    assert len({len(line) for line in lines}) == 1


def test_frames_hold_numbers() -> None:
    frame = rows_frame(aggregate(RESULTS))
    assert list(frame.title) == ["LAMAE+", "AE", "AE"] and list(frame.score) == ["error+", "error", "error"]
    assert (
        frame.auroc_mean[0] == pytest.approx(0.92) and frame.paper_mean[0] == 0.901 and math.isnan(frame.auroc_std[1])
    )
    frame = results_frame(RESULTS)
    assert frame.auroc.mean() == pytest.approx((0.9 + 0.2 + 0.94 + 0.3) / 4)
    assert list(frame.title) == ["LAMAE+", "AE", "LAMAE+", "AE"]


def test_marks_have_the_larger_deviation_as_their_measure() -> None:
    # The paper's LAMAE+ on mnist-1: 90.1 ± 2.5; its AE: 12.7 ± 0.1.
    def mark(detector: str, score: str, *aurocs: float) -> str | None:
        return aggregate([result(detector, score, seed, auroc) for seed, auroc in enumerate(aurocs)])[0].mark

    marks = [mark("LAMAE", "error+", auroc) for auroc in (0.875, 0.876, 0.926, 0.927)]
    assert marks == ["below", "within", "within", "above"]
    assert mark("AE", "error", 0.130) == "above"
    assert mark("AE", "error", 0.110, 0.150) == "within"  # 13.0 ± 2.8
    assert mark("LAMAE", "energy", 0.9) is None


def test_a_papers_number_is_for_known_sets_alone() -> None:
    own = replace(RESULTS[0], known=False)
    rows = aggregate([RESULTS[0], RESULTS[2], own])
    assert [(row.known, row.n, row.paper is None) for row in rows] == [(True, 2, False), (False, 1, True)]
    assert "own" in results_table([RESULTS[0], own]) and "data" not in results_table(RESULTS)


def test_intervals_and_kinds() -> None:
    def with_entropy(seed: int, ood: str, inside: float, outside: float) -> Result:
        entropies = {"id_entropy": inside, "ood_entropy": outside}
        return replace(
            result("AE", "error", seed, 0.2 + seed / 10, ood), held_out=ood in ("mnist-0", "mnist-1"), **entropies
        )

    rows = aggregate(
        [
            with_entropy(0, "mnist-1", 1.6, 0.9),
            with_entropy(1, "mnist-1", 1.6, 0.9),
            with_entropy(0, "mnist-0", 1.5, 1.9),
            with_entropy(0, "mnist-like", 1.5, 0.0),  # not a held-out class, despite its name
            result("AE", "error", 0, 0.5, "noise"),
        ]
    )
    assert [row.kind for row in rows] == ["S+P", "S+F", "NS+S+P", ""]
    assert rows[0].interval == pytest.approx((0.2, 0.3)) and rows[1].interval is None


def test_other_settings_epochs_and_images_are_other_rows() -> None:
    changed = [
        replace(RESULTS[0], variant="beta=2", auroc=0.5),
        replace(RESULTS[0], epochs=20, auroc=0.6),
        replace(RESULTS[0], n_id=7, auroc=0.7),
    ]
    rows = aggregate([RESULTS[0], *changed, RESULTS[0]])
    assert [(row.title, row.epochs, row.n_id, row.n, row.mean["auroc"]) for row in rows] == [
        ("LAMAE+", 0, 10, 1, 0.9),
        ("LAMAE+ [beta=2]", 0, 10, 1, 0.5),
        ("LAMAE+", 20, 10, 1, 0.6),
        ("LAMAE+", 0, 7, 1, 0.7),
    ]
    assert [row.paper is None for row in rows] == [False, True, False, False]
    header = results_table([RESULTS[0], *changed]).splitlines()[0]
    assert "epochs" in header and "images" in header
    with pytest.raises(ValueError, match=r"LAMAE\+ on mnist-1: there are two different results of seed 0"):
        aggregate([RESULTS[0], replace(RESULTS[0], auroc=0.91)])


def test_recipes_and_data_are_not_mixed() -> None:
    one, two = RESULTS[0], replace(RESULTS[2], recipe=2)
    with pytest.raises(ValueError, match=r"LAMAE\+ on mnist-1 .* different recipes of the detector \(1, 2\)"):
        aggregate([one, two])
    assert aggregate([replace(one, recipe=2), two])[0].n == 2
    hashed = [replace(result, data=data) for result, data in zip((one, RESULTS[2]), ("abc", "def"), strict=True)]
    with pytest.raises(ValueError, match=r"LAMAE\+ on mnist-1 .* different data \(abc, def\)"):
        aggregate(hashed)
    assert aggregate([hashed[0], RESULTS[2]])[0].n == 2  # RESULTS[2] has no hash, like old records


def test_a_setting_that_is_not_todays_is_named(tmp_path: Path) -> None:
    settings = {"epochs": 20, "beta": 2.0, "slots_per_class": 10, "device": "cpu", "of_the_past": 1}
    path = tmp_path / "cell.json"
    path.write_text(json.dumps([{"detector": "LAMAE", "settings": settings, "results": [asdict(RESULTS[0])]}]))
    (read,) = read_results([path])
    assert (read.variant, read.epochs) == ("beta=2.0", 20)


def test_the_variant_of_a_users_own_class_is_the_stored_one(tmp_path: Path) -> None:
    stored = asdict(replace(RESULTS[0], variant="width=3"))
    path = tmp_path / "cell.json"
    path.write_text(json.dumps([{"detector": "Mine", "settings": {"epochs": 7, "beta": 2}, "results": [stored]}]))
    (read,) = read_results([path])
    assert (read.variant, read.epochs) == ("width=3", 7)


def test_results_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(
        json.dumps([{"detector": "LAMAE", "settings": {"epochs": 0}, "results": [asdict(one) for one in RESULTS]}])
    )
    assert read_results([path]) == RESULTS
    for damaged in ("{", "[{}]", '[{"results": [{"auroc": 1}]}]'):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"results\.json: not the results of a run"):
            read_results([path])


def test_text_table() -> None:
    assert text_table(["a", "bb"], [["ccc", "1.50"]]) == "| a   | bb   |\n|:----|:-----|\n| ccc | 1.50 |"


def test_reported_numbers() -> None:
    assert reported("mnist", "mnist-9", "LAMAE", "error+") == Reported(0.898, 0.020, 3)  # Table 1 prints 89.7
    assert reported("mnist", "mnist-1", "GODIN", "h") == Reported(0.864, 0.050, 1)
    assert reported("cifar10", "celeba", "MemAE", "error") == Reported(0.700, 0.0, 2)
    assert reported("mnist", "mnist-1", "VAE", "error") == Reported(0.272, 0.013, 1)
    assert reported("mnist", "mnist-1", "SSVAE", "probability") == Reported(0.095, 0.006, 1)
    assert reported("mnist", "mnist-1", "SSVAE", "error") is None
    assert reported("digits", "digits-1", "AE", "error") is None
    assert reported("mnist", "cifar10", "VAE", "error").auroc_mean == 0.9643
    assert reported("cifar10", "mnist", "Difference", "outlier", "auxiliary=None").auroc_mean == 0.5624
    assert reported("cifar10", "mnist", "Difference", "outlier").auroc_mean == 0.5908
    mean = sum(reported("mnist", f"mnist-{digit}", "LAMAE", "error+").auroc_mean for digit in range(10)) / 10
    assert round(100 * mean, 1) == 95.7
    assert len(reported_complexity()) == 10
