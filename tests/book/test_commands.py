"""The commands that the pages show can be run, and they make the committed records."""

import argparse
import re
import shlex
from itertools import chain
from pathlib import Path

import nbformat
import pytest

from lamae_tutorial.benchmark.cells import cell_key
from lamae_tutorial.benchmark.experiments import CellSpec, ScenarioSpec, experiment_cells
from lamae_tutorial.benchmark.profiles import PROFILES
from lamae_tutorial.cli import _parser

ROOT = Path(__file__).parent.parent.parent
BOOK = ROOT / "book"
PAGES = [ROOT / "README.md", *sorted(BOOK.glob("*.md")), *sorted((BOOK / "notebooks").glob("*.ipynb"))]


def commands(page: Path, program: str) -> list[list[str]]:
    """Return the arguments of a program in the lines of code on a page."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    blocks = re.findall(r"^```(?:bash|text)\n(.*?)^```|((?:^    .*\n)+)", text, re.M | re.S)
    lines = "".join(chain.from_iterable(blocks)).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.split()[:1] == [program]]


def cells(options: argparse.Namespace) -> list[CellSpec]:
    if options.name == "benchmark":
        given = {name: getattr(options, name) for name in ("seeds", "epochs", "detectors", "post_hoc")}
        return experiment_cells(options.experiment, PROFILES[options.profile], **given)
    scenario = ScenarioSpec(options.id, options.held_out, tuple(options.ood or ()), options.protocol)
    return [CellSpec(scenario, name, 0, options.epochs, post_hoc=options.post_hoc) for name in options.detectors]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_can_be_run(page: Path) -> None:
    for arguments in commands(page, "lamae"):
        _parser().parse_args(arguments)
    for script, *_ in commands(page, "python"):
        assert (ROOT / script).is_file()


def test_commands_make_the_committed_records() -> None:
    shown = [*commands(BOOK / "reproduction.md", "lamae"), *commands(BOOK / "beyond.md", "lamae")]
    options = [_parser().parse_args(arguments) for arguments in shown]
    made = {cell_key(cell) for each in options if each.name in ("benchmark", "run") for cell in cells(each)}
    # Those in `beyond` are of an earlier recipe, as its page says, and those in `choices` have names of their own.
    committed = {path.stem for name in ("fast", "mini", "joined") for path in (BOOK / "results" / name).glob("*.json")}
    assert len(committed) > 250
    assert committed <= made
