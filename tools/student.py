"""Write the chapters for students, with a stub in place of each solution and without outputs.

Run: python tools/student.py NOTEBOOK ... --out DIR

The diagrams that the chapters show are copied into DIR as well.
"""

import argparse
import re
from pathlib import Path

import nbformat

from lamae_tutorial.teaching.chapters import copy_diagrams

START = re.compile(r"```\{solution-start\} (\S+)")
END = re.compile(r"```\{solution-end\}\s*```\n*")


def without_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a copy in which each solution is one stub cell. A solution starts and ends in a Markdown cell."""
    cells = []
    inside = ""  # the exercise whose solution is being left out
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if not inside:
                cells.append(nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata, id=cell.id))
            continue
        kept, rest = [], cell.source
        while rest:
            mark = (END if inside else START).search(rest)
            if not inside:
                kept.append(rest[: mark.start()] if mark else rest)
            rest = rest[mark.end() :] if mark else ""
            if mark:
                inside = "" if inside else mark.group(1)
                if inside:
                    _add_text(cells, "".join(kept), cell.id)
                    kept = []
                    stub = nbformat.v4.new_code_cell(f"# Your solution of {inside}\n...", id=f"stub-{inside}")
                    cells.append(stub)
        _add_text(cells, "".join(kept), cell.id)
    if inside:
        raise ValueError(f"the solution of {inside} has no end; add {{solution-end}} to a Markdown cell")
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)


def _add_text(cells: list[nbformat.NotebookNode], source: str, name: str) -> None:
    if source.strip():
        cells.append(nbformat.v4.new_markdown_cell(source.strip("\n"), id=f"{name}-{len(cells)}"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/student"), help="(default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for path in options.notebooks:
        nbformat.write(without_solutions(nbformat.read(path, as_version=4)), options.out / path.name)
        copy_diagrams(path, options.out / path.name)
        print(options.out / path.name)


if __name__ == "__main__":
    main()
