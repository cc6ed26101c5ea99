"""Run the chapters of the book with papermill and keep the executed copies and their pictures.

The chapters are not part of the installed package. They are in the folder `book` of the project.
"""

import base64
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ChapterRun:
    """The result of running a chapter.

    Attributes
    ----------
    name : str
        E.g. "03_lamae".
    notebook : Path
        The executed copy. If a cell failed, it ends there.
    pictures : list of Path
    error : str
        The error of the failed cell; empty if no cell failed.
    """

    name: str
    notebook: Path
    pictures: list[Path]
    error: str


def book_folder(folder: Path | None = None) -> Path:
    """Return the folder with the chapters: `folder` if given, else `book` in the current folder or beside the package.

    Raises
    ------
    FileNotFoundError
        There are no chapters.
    ValueError
        papermill is not installed.
    """
    if find_spec("papermill") is None:
        raise ValueError("running chapters needs papermill; run: pip install 'lamae-tutorial[book]'")
    candidates = [Path("book"), Path(__file__).parent.parent.parent / "book"] if folder is None else [folder]
    for candidate in candidates:
        if any((candidate / "notebooks").glob("*.ipynb")):
            return candidate.resolve()
    raise FileNotFoundError(
        f"no chapters in {' or '.join(map(str, candidates))}: the installed package does not contain them. Get the "
        "project with git clone and run this command in its folder, or pass its folder `book` with --book"
    )


def find_chapters(folder: Path, chapter: str | None = None) -> list[Path]:
    """Return all notebooks of a book, or the one chapter with this name: "3", "03", "lamae" or "03_lamae".

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
    """Execute copies of chapters with other parameters. If one fails, the others still run.

    Parameters
    ----------
    notebooks : sequence of Path
    out : Path
        Folder for `NAME.ipynb`, the pictures `NAME/*.svg` (or `*.png`) and the diagrams. They replace those of an
        earlier run.
    parameters : mapping
        Each notebook must have all of these parameters.
    progress : bool
        Show the progress on stderr.

    Raises
    ------
    ValueError
        A notebook lacks one of the parameters. No notebook has run then.
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
        copy_diagrams(path, copy)
        runs.append(ChapterRun(path.stem, copy, save_pictures(copy, out / path.stem), error))
    return runs


def copy_diagrams(notebook: Path, copy: Path) -> None:
    """Copy the diagrams that a chapter shows from `../diagrams` into `diagrams` beside its copy, and link those."""
    text = copy.read_text(encoding="utf-8")
    for name in set(re.findall(r"\.\./(diagrams/[\w-]+\.svg)", text)):
        (copy.parent / "diagrams").mkdir(exist_ok=True)
        shutil.copy(notebook.parent.parent / name, copy.parent / name)
    copy.write_text(text.replace("../diagrams/", "diagrams/"), encoding="utf-8")


def read_profile(folder: Path, profile: str) -> dict[str, Any]:
    """Read the parameters in `profiles/PROFILE.yaml` of a book.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    import yaml

    path = folder / "profiles" / f"{profile}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def parse_parameters(pairs: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Convert names and values of the command line. Values are read as YAML: 4 is a number, yes is True."""
    import yaml

    return {name: yaml.safe_load(value) for name, value in pairs}


def save_pictures(notebook: Path, folder: Path) -> list[Path]:
    """Write the pictures in a notebook's outputs, under the names of its figures, and return the files.

    A picture that the notebook has as SVG and as PNG becomes an SVG file.
    """
    import nbformat

    for old in [*folder.glob("*.png"), *folder.glob("*.svg")]:
        old.unlink()
    files: list[Path] = []
    for number, cell in enumerate(nbformat.read(notebook, as_version=4).cells):
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name", f"cell-{number:02}")
        outputs = [output.get("data", {}) for output in cell.get("outputs", [])]
        pictures = [data for data in outputs if "image/svg+xml" in data or "image/png" in data]
        for index, data in enumerate(pictures):
            folder.mkdir(parents=True, exist_ok=True)
            svg = data.get("image/svg+xml")
            files.append(folder / f"{name}{f'-{index + 1}' if index else ''}.{'svg' if svg else 'png'}")
            files[-1].write_bytes(svg.encode() if svg else base64.b64decode(data["image/png"]))
    return files
