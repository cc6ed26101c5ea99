"""Rules for the notebooks in git; one chapter runs with other parameters, and each first cell runs as on Colab.

nbval tests that every chapter runs and prints its stored output (`make test`).
"""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

BOOK = Path(__file__).parent.parent.parent / "book"
ADDRESS = yaml.safe_load((BOOK / "_config.yml").read_text())["repository"]["url"]
CHAPTERS = sorted((BOOK / "notebooks").glob("*.ipynb"))
SHORTEST = BOOK / "notebooks" / "07_threshold.ipynb"

each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def test_there_are_chapters() -> None:
    assert [path.stem for path in CHAPTERS] == re.findall(r"file: notebooks/(\S+)", (BOOK / "_toc.yml").read_text())
    assert len(CHAPTERS) >= 7


@each_chapter
def test_stored_as_git_should_have_it(path: Path) -> None:
    assert path.stat().st_size < 200_000
    code = cells(path, "code")
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make notebooks`"
    kept = {"tags", "mystnb"}
    for cell in code:
        assert set(cell.metadata) <= kept
        for output in cell.outputs:
            assert output.output_type in ("stream", "display_data", "execute_result")
            assert output.get("name") != "stderr"
            text = {"text/plain", "application/papermill.record/text/plain"}
            assert output.output_type == "stream" or set(output.data) <= text


@each_chapter
def test_parameters_and_first_cell(path: Path) -> None:
    code = cells(path, "code")
    assert [("parameters" in tags(cell)) for cell in code] == [False, True] + [False] * (len(code) - 2)
    assert all(": " in line for line in code[1].source.splitlines()), "annotate parameters"
    assert "held_out_class" in papermill.inspect_notebook(path)


@each_chapter
def test_every_figure_can_be_read_aloud(path: Path) -> None:
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    for cell in cells(path, "code"):
        draws = "plt.figure" in cell.source or "plt.subplots" in cell.source
        assert draws == ("mystnb" in cell.metadata), cell.source[:80]
        if draws:
            settings = cell.metadata.mystnb
            assert len(settings.image.alt) > 40 and settings.figure.caption
            assert f"{{numref}}`{settings.figure.name}`" in text, f"the text never refers to {settings.figure.name}"


@each_chapter
def test_a_chapter_has_its_sections(path: Path) -> None:
    text = "\n".join(cell.source for cell in cells(path, "markdown"))
    for part in ("After this chapter you can", "You need", "Predict before you run", "When it fails", "Summary"):
        assert part in text
    assert text.count("{exercise-start}") == text.count("{solution-start}") == 3
    words = len(text.split())
    assert 1_200 < words < 3_000, words


def test_a_chapter_runs_with_other_parameters(tmp_path: Path) -> None:
    papermill.execute_notebook(
        SHORTEST,
        tmp_path / "out.ipynb",
        {"held_out_class": 4},
        cwd=tmp_path,
        kernel_name="python3",
        progress_bar=False,
    )


@each_chapter
def test_first_cell_installs_the_package_on_colab_and_nothing_elsewhere(path: Path) -> None:
    first = cells(path, "code")[0].source
    code = f"""
import sys, types
from IPython.core.interactiveshell import InteractiveShell
shell, installed = InteractiveShell.instance(), []
shell.register_magic_function(installed.append, "line", "pip")
assert shell.run_cell({first!r}).success and installed == []
sys.modules["google.colab"] = types.ModuleType("google.colab")
assert shell.run_cell({first!r}).success and installed == ["install --quiet git+{ADDRESS}"], installed
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("path", sorted((BOOK / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_profiles_name_parameters_that_exist(path: Path) -> None:
    parameters = yaml.safe_load(path.read_text())
    assert parameters["profile"] == path.stem
    for chapter in CHAPTERS:
        assert set(parameters) <= set(papermill.inspect_notebook(chapter))
