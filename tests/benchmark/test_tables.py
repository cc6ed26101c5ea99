"""Reports on the files of a small grid, in each format."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from lamae_tutorial.benchmark import figures, tables
from lamae_tutorial.benchmark.experiments import CellSpec, ScenarioSpec
from lamae_tutorial.benchmark.grid import run_grid
from lamae_tutorial.benchmark.records import read_records, record_files
from lamae_tutorial.benchmark.tables import aggregate
from lamae_tutorial.cli import main

WITHOUT_1 = ScenarioSpec("digits", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cells")
    cells = [CellSpec(WITHOUT_1, name, seed, 2) for seed in (0, 1) for name in ("memae", "lamae")]
    cells.append(replace(cells[1], parameters=(("slots_per_class", 1),)))
    whole = ScenarioSpec("digits", ood=("constant", "noise"), protocol="test-only")
    cells.append(CellSpec(whole, "autoencoder", 0, 2))
    assert run_grid(cells, folder, device="cpu").failed == []
    return folder


def delong_by_all_pairs(
    first_id: np.ndarray, first_ood: np.ndarray, second_id: np.ndarray, second_ood: np.ndarray
) -> tuple[float, float]:
    """Return the difference of the AUROCs and DeLong's p, from a matrix of all pairs (OoD, ID)."""
    first, second = (
        (ood[:, None] > inside) + 0.5 * (ood[:, None] == inside)
        for inside, ood in ((first_id, first_ood), (second_id, second_ood))
    )
    gain = first - second
    variance = sum(gain.mean(axis).var(ddof=1) / gain.shape[1 - axis] for axis in (0, 1))
    return gain.mean(), 2 * norm.sf(abs(gain.mean()) / np.sqrt(variance))


def test_tests_are_delongs_on_the_kept_scores(folder: Path) -> None:
    records = read_records(record_files([folder]))
    table = {table.title: table for table in tables.report_tables(records)}[
        "The best of each OoD set against the others"
    ]
    rows = {row.title: row for row in aggregate(records) if row.ood == "digits-1"}
    best = max(rows.values(), key=lambda row: row.mean["auroc"])
    other = next(row for row in rows.values() if row.n == 2 and row is not best)
    lines = table.frame.values.tolist()
    (line,) = [line for line in lines if line[:4] == ["digits", "digits-1", best.title, other.title]]
    tests = []
    for one in best.results:
        for two in other.results:
            if one.seed == two.seed:
                scores = []
                for result in (one, two):
                    with np.load(records[result].with_suffix(".npz")) as arrays:
                        scores += [arrays[f"score/{result.score}/{name}"] for name in ("id", "ood/digits-1")]
                tests.append(delong_by_all_pairs(*scores))
    difference = 100 * np.mean([difference for difference, _ in tests])
    p = max(p for _, p in tests)
    assert line[4:] == [str(len(tests)), f"{difference:.1f}", "< 0.001" if p < 0.001 else f"{p:.3f}"]
    assert "not tested" not in tables.as_markdown(tables.report_tables(records))


def test_without_scores_the_tests_are_left_out(folder: Path, tmp_path: Path) -> None:
    for file in folder.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (table,) = tables.report_tables(read_records(record_files([tmp_path])))
    assert table.title == "Ours beside the papers'"
    assert f"{len(table.frame)} rows are not tested: their scores (.npz) were not kept" in table.note


def test_seeds_without_scores_are_left_out_of_the_tests(folder: Path, tmp_path: Path) -> None:
    for file in (*folder.glob("*-memae-seed*"), *folder.glob("*-lamae-seed1*")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    next(tmp_path.glob("*-memae-seed0*.npz")).unlink()
    records = read_records(record_files([tmp_path]))
    main, *_, tests = tables.report_tables(records)
    against = tests.frame[(tests.frame["best"] == "MemAE") | (tests.frame["against"] == "MemAE")]
    assert list(against["seeds"]) and set(against["seeds"]) == {"1"}
    assert "not tested" not in main.note


def test_scores_of_other_images_are_not_compared(folder: Path, tmp_path: Path) -> None:
    for file in (*folder.glob("*-memae-seed0*"), *folder.glob("*-lamae-seed0*")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = next(tmp_path.glob("*-memae-seed0*.npz"))
    with np.load(path) as saved:
        arrays = dict(saved)
    arrays["entropy/id"] = arrays["entropy/id"][::-1]
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="were not scored on the same images"):
        tables.report_tables(read_records(record_files([tmp_path])))


def test_correlation_is_over_all_images_with_the_mean_error(folder: Path) -> None:
    records = read_records(record_files([folder]))
    ((seed, of_set),) = tables.correlations(records).items()
    epochs, values = of_set["digits"]
    path = next(folder.glob("*autoencoder*.npz"))
    with np.load(path) as arrays:
        np.testing.assert_array_equal(
            values, [arrays["entropy/id"], arrays["score/error/id"] / 64, arrays["score/error/id"]]
        )
    assert (seed, epochs) == (0, 2)
    expected = f"{np.corrcoef(*values[:2])[0, 1]:.4f}"
    table = tables.report_tables(records)[-1]
    assert table.frame.values.tolist() == [["digits", "2", "1", expected, expected, "-"]]


def test_correlation_joins_sets_of_different_epochs(tmp_path: Path) -> None:
    together = []
    for name, epochs in (("mnist", 20), ("mnist", 3), ("cifar10", 4)):
        entropy, error = np.random.default_rng(epochs).random((2, 30))
        cell = {"detector": "autoencoder", "epochs": epochs, "seed": 0}
        cell["scenario"] = {"id": name, "held_out": None, "protocol": "test-only"}
        path = tmp_path / f"{name}{epochs}.json"
        shape = [1, 2, 2] if name == "mnist" else [3, 2, 2]
        path.write_text(json.dumps([{"cell": cell, "image_shape": shape, "results": []}]))
        np.savez(path.with_suffix(".npz"), **{"score/error/id": error, "entropy/id": entropy})
        if epochs > 3:
            together.append([entropy, error / np.prod(shape), error])
    records = {path: path for path in tmp_path.glob("*.json")}
    table = tables._correlation_table(records)
    mean, total = np.corrcoef(np.concatenate(together, axis=1))[0, 1:]
    line = ["cifar10, mnist", "4, 20", "1", f"{mean:.4f}", f"{total:.4f}", "0.7952"]
    assert table.frame.values.tolist() == [line]


def test_csv_has_the_numbers_in_full(folder: Path) -> None:
    rows = aggregate(read_records(record_files([folder])))
    lines = list(csv.DictReader(io.StringIO(tables.as_csv(rows))))
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert float(line["auroc_mean"]) == row.mean["auroc"] and line["kind"] == row.kind
        assert line["auroc_std"] == ("" if row.n == 1 else str(row.std["auroc"]))
        assert (line["title"], line["detector"], line["score"]) == (row.title, row.detector, row.score)


def test_latex_and_markdown() -> None:
    frame = pd.DataFrame([["fashion_mnist", "50.0 ± 1.0", "< 0.001"]], columns=["OoD", "AUROC", "error+ & msp"])
    table = tables.Table("Title", "Note.", frame)
    start = "## Title\n\nNote.\n\n| OoD           | AUROC      | error+ & msp   |\n"
    assert tables.as_markdown([table]).startswith(start)
    assert r"OoD & AUROC & error+ \& msp \\" in tables.as_latex([table])
    assert r"fashion\_mnist & 50.0 $\pm$ 1.0 & $<$ 0.001 \\" in tables.as_latex([table])


def test_html_is_escaped_and_whole() -> None:
    long = "<b>" + "x" * 200
    text = tables.as_html(pd.DataFrame({"path": [long], "ours is": ["below"]}))
    assert "<td>&lt;b&gt;" + "x" * 200 + "</td>" in text and '<td class="below">below</td>' in text


def test_figures(folder: Path) -> None:
    drawn = figures.figures(read_records(record_files([folder])))
    assert list(drawn) == [
        "auroc-digits",
        "reconstructions-digits-1",
        "densities-digits-1",
        "memory-size",
        "entropy-error",
    ]
    assert len(drawn["reconstructions-digits-1"].axes) == 6 * 8
    aurocs = [text.get_text() for text in drawn["auroc-digits"].axes[0].get_yticklabels()]
    assert "digits-1  LAMAE+ [slots_per_class=1]" in aurocs and not [text for text in aurocs if "cosine" in text]
    (sizes,) = drawn["memory-size"].axes
    assert [text.get_text() for text in sizes.get_xticklabels()] == ["1", "10"]


def test_reconstructions_are_drawn_of_held_out_classes_alone(tmp_path: Path) -> None:
    cells = [CellSpec(ScenarioSpec("digits", ood=("noise",)), name, 0, 1) for name in ("memae", "lamae")]
    done = run_grid(cells, tmp_path, device="cpu")
    with np.load(done.finished[0].with_suffix(".npz")) as arrays:
        assert "reconstruction/ood/noise" in arrays
    assert list(figures.figures(read_records(done.finished))) == ["auroc-digits"]


def test_the_page_needs_nothing_else(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report" / "page.html"
    assert main(["report", str(folder), "--format", "html", "--out", str(out)]) == 0
    assert "10 figures" in capsys.readouterr().out
    text = out.read_text()
    assert text.count('src="data:image/svg+xml;base64,') == 5 == text.count("<img")
    assert not re.search(r'(src|href)="(?!data:)|url\(|@import', text)
    assert "<td>LAMAE+ [slots_per_class=1]</td>" in text
    kinds = sorted(path.suffix for path in out.parent.iterdir())
    assert kinds == [".html"] + [".png"] * 5 + [".svg"] * 5


def test_report_of_folders_files_and_failures(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "digits.failed").write_text("{}")
    path = next(folder.glob("*-lamae-seed1*.json"))
    (tmp_path / path.name).write_bytes(path.read_bytes())
    assert main(["report", str(tmp_path), str(path)]) == 0
    printed = capsys.readouterr()
    (ours,) = [section for section in printed.out.split("## ") if section.startswith("Ours beside the papers'")]
    assert ours.count("| digits-1 | LAMAE+ ") == 1  # the same record twice counts once
    assert "left out, because it failed" in printed.err
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no records (.json) there" in capsys.readouterr().err
    path = tmp_path / "notes.json"
    path.write_text(json.dumps({"a": 1}))
    assert main(["report", str(tmp_path)]) == 2
    assert "notes.json: not the results of a run" in capsys.readouterr().err
