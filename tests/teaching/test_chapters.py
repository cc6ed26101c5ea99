"""`lamae book run`: it finds chapters by name, checks parameters, and keeps copies and pictures."""

from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lamae_tutorial.cli import main
from lamae_tutorial.teaching import chapters as book

DRAW = """
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot([number])
"""
IN_STYLE = f"""
from lamae_tutorial.teaching.notebook import book_style
book_style()
{DRAW}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a book of two chapters. The second chapter fails if its number is below 0."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mini.yaml").write_text("profile: mini\n")
    (tmp_path / "diagrams").mkdir()
    (tmp_path / "diagrams" / "box.svg").write_text("<svg/>")
    parameters = 'profile: str = "fast"\nnumber: int = 1\ndata_dir: str = ""'
    for name, sources in {
        "01_drawn": ["%matplotlib inline", DRAW, IN_STYLE],
        "02_checked": ["print(profile, data_dir)\nassert number > 0, 'too low'"],
    }.items():
        cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
        for cell, figure in zip(cells[2:], ("fig-one", "fig-two"), strict=False):
            cell.metadata["mystnb"] = {"figure": {"name": figure}}
        cells.append(new_markdown_cell("![A box.](../diagrams/box.svg)"))
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    return tmp_path


def test_runs_a_chapter_and_keeps_copy_and_pictures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    before = (folder / "notebooks" / "01_drawn.ipynb").read_bytes()
    assert main(["book", "run", "1", "--profile", "mini", "--book", str(folder), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "01_drawn.ipynb: 2 pictures" in printed.out and "01_drawn (1 of 1)" in printed.err
    assert (out / "01_drawn" / "fig-one.png").read_bytes().startswith(b"\x89PNG")
    picture = ElementTree.parse(out / "01_drawn" / "fig-two.svg").getroot()
    assert float(picture.get("width").removesuffix("pt")) == 5 * 72
    assert (folder / "notebooks" / "01_drawn.ipynb").read_bytes() == before
    assert nbformat.read(out / "01_drawn.ipynb", as_version=4).cells[-1].source == "![A box.](diagrams/box.svg)"
    assert (out / "diagrams" / "box.svg").read_text() == "<svg/>"


def test_a_failing_chapter_is_named_and_the_others_run(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["book", "run", "--book", str(folder), "--out", str(tmp_path / "out"), "-p", "number", "-1"]
    assert main([*arguments, "--data", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "01_drawn.ipynb: 2 pictures" in printed
    assert "02_checked.ipynb: failed, AssertionError: too low" in printed
    copy = nbformat.read(tmp_path / "out" / "02_checked.ipynb", as_version=4)
    assert any(f"mini {tmp_path}" in str(cell.get("outputs")) for cell in copy.cells)


def test_wrong_parameters_and_names_end_before_anything_runs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["book", "run", "--book", str(folder), "--out", str(tmp_path / "out")]
    assert main([*arguments, "-p", "nmber", "2"]) == 2
    assert "has no parameter nmber; it has profile, number, data_dir" in capsys.readouterr().err
    assert main([*arguments, "7"]) == 2
    assert "no chapter 7; there are 01_drawn, 02_checked" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_the_book_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["book", "run", "--book", str(tmp_path)]) == 2
    assert "run this command in its folder" in capsys.readouterr().err


def test_chapters_by_name() -> None:
    folder = book.book_folder()
    for name in ("3", "03", "lamae", "03_lamae"):
        assert [path.stem for path in book.find_chapters(folder, name)] == ["03_lamae"]
    assert len(book.find_chapters(folder)) > 4
    for profile in ("mini", "fast", "paper"):
        assert book.read_profile(folder, profile) == {"profile": profile}
