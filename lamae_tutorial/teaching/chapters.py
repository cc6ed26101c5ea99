"""Runs the chapters of the book with a profile, by papermill, and keeps the executed copies and their pictures.

The chapters are not part of the installed package: they lie in the project's folder `book`.
"""

import base64
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ChapterRun:
    """What has become of a chapter.

    Attributes
    ----------
    name : str
        E.g. "03_lamae".
    notebook : Path
        The executed copy; up to the cell that failed, if one did.
    pictures : list of Path
    error : str
        Of the cell that failed; empty if none did.
    """

    name: str
    notebook: Path
    pictures: list[Path]
    error: str


def book_folder(folder: Path | None = None) -> Path:
    """The folder with the chapters: the one given, else `book` here or beside the package.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        What runs them is not installed.
    """
    if find_spec("papermill") is None:
        raise ValueError("running chapters needs papermill: pip install 'lamae-tutorial[book]'")
    candidates = [Path("book"), Path(__file__).parent.parent.parent / "book"] if folder is None else [folder]
    for candidate in candidates:
        if any((candidate / "notebooks").glob("*.ipynb")):
            return candidate.resolve()
    raise FileNotFoundError(
        f"no chapters in {' or '.join(map(str, candidates))}: the installed package does not carry them. "
        "Get the project (git clone, or its source archive) and start this in its folder, or name its folder `book` "
        "by --book."
    )


def find_chapters(folder: Path, chapter: str | None = None) -> list[Path]:
    """The notebooks of a book, or the one chapter that is named: "3", "03", "lamae" or "03_lamae".

    Raises
    ------
    ValueError
        No chapter, or more than one, has that name.
    """
    notebooks = sorted((folder / "notebooks").glob("*.ipynb"))
    if chapter is None:
        return notebooks
    found = [
        path
        for path in notebooks
        for number, _, name in [path.stem.partition("_")]
        if chapter in (path.stem, name, number, number.lstrip("0"))
    ]
    if len(found) != 1:
        raise ValueError(f"no chapter {chapter}; there are {', '.join(path.stem for path in notebooks)}")
    return found


def run_chapters(
    notebooks: Sequence[Path], out: Path, parameters: Mapping[str, Any], *, progress: bool = True
) -> list[ChapterRun]:
    """Execute copies of chapters with other parameters. One that fails does not stop the others.

    Parameters
    ----------
    notebooks : sequence of Path
    out : Path
        Gets `NAME.ipynb` and the pictures `NAME/*.png`, in place of those of an earlier run.
    parameters : mapping
        Must be parameters of each of the notebooks.
    progress : bool
        Show it on stderr.

    Raises
    ------
    ValueError
        A notebook does not have one of the parameters (before any runs).
    """
    import papermill

    for path in notebooks:
        known = papermill.inspect_notebook(path)
        unknown = [name for name in parameters if name not in known]
        if unknown:
            raise ValueError(f"{path.stem} has no parameter {', '.join(unknown)}; it has {', '.join(known)}")
    out.mkdir(parents=True, exist_ok=True)
    runs = []
    for number, path in enumerate(notebooks, 1):
        if progress:
            print(f"{path.stem} ({number} of {len(notebooks)})", file=sys.stderr, flush=True)
        copy, error = out / path.name, ""
        try:
            papermill.execute_notebook(
                path, copy, dict(parameters), cwd=path.parent, kernel_name="python3", progress_bar=progress
            )
        except papermill.exceptions.PapermillExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}"
        runs.append(ChapterRun(path.stem, copy, save_pictures(copy, out / path.stem), error))
    return runs


def read_profile(folder: Path, profile: str) -> dict[str, Any]:
    """The parameters in `profiles/PROFILE.yaml` of a book.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    import yaml

    path = folder / "profiles" / f"{profile}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def parse_parameters(pairs: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Names and values as the command line has them; values are read as YAML: 4 is a number, yes a truth value."""
    import yaml

    return {name: yaml.safe_load(value) for name, value in pairs}


def save_pictures(notebook: Path, folder: Path) -> list[Path]:
    """Write the pictures among a notebook's outputs, under the names that its figures have; returns the files."""
    import nbformat

    for old in folder.glob("*.png"):
        old.unlink()
    files = []
    for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells):
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name", f"cell-{number:02}")
        pictures = [
            output.data["image/png"] for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
        ]
        for index, picture in enumerate(pictures):
            folder.mkdir(parents=True, exist_ok=True)
            files.append(folder / f"{name}{f'-{index + 1}' if index else ''}.png")
            files[-1].write_bytes(base64.b64decode(picture))
    return files
