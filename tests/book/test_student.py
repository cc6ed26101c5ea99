"""Students' notebooks: stubs instead of solutions, nothing else missing, and checks that answer kindly."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from lamae_tutorial.teaching.sandbox import checks, names_of, needed

ROOT = Path(__file__).parent.parent.parent
CHAPTERS = sorted((ROOT / "book" / "notebooks").glob("*.ipynb"))

each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("student")
    # -E -S: Python alone, without any package
    subprocess.run([sys.executable, "-E", "-S", ROOT / "tools" / "student.py", "--out", out], check=True)
    return out


def code(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@each_chapter
def test_solutions_are_gone_and_all_else_is_there(path: Path, folder: Path) -> None:
    student = nbformat.read(folder / path.name, as_version=4)
    nbformat.validate(student)
    text = "\n".join(cell.source for cell in student.cells if cell.cell_type == "markdown")
    number = int(path.stem[:2])
    assert re.findall(r"^\*\*Exercise ([\d.]+): ", text, re.M) == [f"{number}.{each}" for each in (1, 2, 3)]
    assert "<details>" not in text and "Solution" not in text and "## Summary" in text
    assert not any(cell.get("outputs") for cell in student.cells)
    full, kept = code(path), code(folder / path.name)
    answers = [source for source in kept if source.startswith("# Your answer to Exercise")]
    own = [source for source in kept if source not in answers]
    assert own == [source for source in full if source in own], "a cell is missing, or in another place"
    assert len(answers) + sum("...  # your code" in source for source in own) == 3
    assert len(full) - len(own) >= 3


@each_chapter
def test_no_cell_needs_a_solution(path: Path, folder: Path) -> None:
    kept = set(code(folder / path.name))
    last: dict[str, bool] = {}  # name -> whether a solution defined it last
    for source in code(path):
        stored, loaded = names_of(source)
        assert source not in kept or not [name for name in loaded - stored if last.get(name)], source
        last |= dict.fromkeys(stored, source not in kept)


@each_chapter
def test_checks_say_not_yet_to_stubs_and_right_to_solutions(path: Path) -> None:
    """Runs the statements that the answers need; nbval runs all, with the stubs and the solutions."""
    transform = TransformerManager().transform_cell
    statements = [ast.unparse(each) for source in code(path) for each in ast.parse(transform(source)).body]
    space: dict[str, Any] = {}
    verdicts = []
    for number in needed(statements, {number for number, each in enumerate(statements) if checks(each)}):
        exec(statements[number], space)
        for exercise, answer in checks(statements[number]):
            verdicts.append(space["check"](exercise, eval(answer, space)))
    assert [verdict.right for verdict in verdicts] == [False, True]
    assert verdicts[0].message == "It returns nothing so far: does it end with `return`?"


def test_all_that_the_notebooks_read_lies_beside_them(folder: Path) -> None:
    read = [nbformat.read(folder / path.name, as_version=4) for path in CHAPTERS]
    text = "".join(cell.source for notebook in read for cell in notebook.cells if cell.cell_type == "markdown")
    linked = set(re.findall(r"\]\(([^)\s:]+)\)", text))
    assert len([name for name in linked if name.endswith(".svg")]) == 6
    assert all((folder / name).is_file() for name in linked)
    assert not any(re.search(r"""["']\.\.?/""", source) for path in CHAPTERS for source in code(path))
