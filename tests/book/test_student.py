"""Students' notebooks have stubs instead of solutions, and no other cell needs a name that a solution defines."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent.parent
CHAPTERS = sorted((ROOT / "book" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("student")
    subprocess.run([sys.executable, ROOT / "tools" / "student.py", *CHAPTERS, "--out", out], check=True)
    return out


def names(source: str, context: type[ast.expr_context]) -> set[str]:
    code = "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("%"))
    code = code.replace('if "google.colab" in sys.modules:', "")
    tree = ast.parse(code)
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
    if context is ast.Store:
        found |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        found |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return found


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_solutions_are_stubs(path: Path, folder: Path) -> None:
    full, student = nbformat.read(path, as_version=4), nbformat.read(folder / path.name, as_version=4)
    nbformat.validate(student)
    text = "\n".join(cell.source for cell in student.cells if cell.cell_type == "markdown")
    code = [cell for cell in student.cells if cell.cell_type == "code"]
    assert text.count("{exercise-start}") == text.count("{exercise-end}") == 3
    assert "{solution" not in text and "## Summary" in text
    assert sum(cell.source.startswith("# Your solution of ex-") for cell in code) == 3
    assert not any(cell.outputs for cell in code)
    kept = {cell.source for cell in code}
    solutions = [cell.source for cell in full.cells if cell.cell_type == "code" and cell.source not in kept]
    assert len(solutions) >= 3
    made = set().union(*(names(source, ast.Store) for source in solutions))
    made -= set().union(*(names(source, ast.Store) for source in kept))
    used = set().union(*(names(source, ast.Load) for source in kept))
    assert not made & used, "the rest of the chapter needs names that a solution defines"


def test_students_have_the_diagrams(folder: Path) -> None:
    text = "".join((folder / path.name).read_text() for path in CHAPTERS)
    shown = re.findall(r"\]\((\S+\.svg)\)", text)
    assert len(shown) >= 6
    assert all((folder / name).is_file() for name in shown)
