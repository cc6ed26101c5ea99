"""Run chapters in place and store their text outputs for git, without pictures, HTML, scripts or timings.

Run: python tools/notebooks.py NOTEBOOK ...

A notebook is written only after all of its cells have run.
"""

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient

KEPT_METADATA = {"tags", "mystnb"}
# Outputs of quizzes and explorers are long and contain names that change in each run.
DROPPED = ("image/", "application/vnd.jupyter.widget", "application/javascript", "text/html")


def run(path: Path) -> None:
    """Execute a notebook with the kernel of this Python and normalise it."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        coalesce_streams=True,  # otherwise the stored output would depend on timing
        resources={"metadata": {"path": path.parent}},
    ).execute()
    normalise(notebook)
    temporary = path.with_name(f".{path.name}.part")
    nbformat.write(notebook, temporary)
    temporary.replace(path)


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Remove pictures, timings and all metadata except tags and MyST-NB's, in place."""
    notebook.metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_METADATA}
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for kind in [kind for kind in data if kind.startswith(DROPPED)]:
                del data[kind]
            if "metadata" in output:
                output.metadata = {key: value for key, value in output.metadata.items() if key == "scrapbook"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        print(path, flush=True)
        run(path)


if __name__ == "__main__":
    main()
