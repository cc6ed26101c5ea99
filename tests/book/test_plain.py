"""The plain edition of the built book: what a reader on Colab or in Jupyter gets has no markup that they do not show.

The tests skip if the book is not built.
"""

import html
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent.parent
HTML = ROOT / "book" / "_build" / "html"
CHAPTERS = sorted((ROOT / "book" / "notebooks").glob("*.ipynb"))
OWNER, NAME = yaml.safe_load((ROOT / "book/_config.yml").read_text())["repository"]["url"].split("/")[-2:]
SITE = f"https://{OWNER}.github.io/{NAME}/"
# A role, a directive, an option and a target of references, as Markdown without MyST renders them.
RAW = r"\{[\w:-]+\}<code>|language-\{|<code>\{|^(<p>)?:[\w-]+:|\([\w-]+\)=$"

pytestmark = pytest.mark.skipif(not (HTML / "intro.html").exists(), reason="the book is not built: make book")
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def plain(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(HTML / "plain" / path.name, as_version=4)


def text(notebook: nbformat.NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def page(path: Path) -> str:
    return (HTML / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")


@each_chapter
def test_no_raw_role_or_directive(path: Path) -> None:
    notebook = plain(path)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or "mystnb" in cell.metadata for cell in notebook.cells)
    show = MarkdownIt("commonmark").enable("table").render
    assert re.search(RAW, show(text(nbformat.read(path, as_version=4))), re.M), "the pattern finds none in the source"
    assert not re.search(RAW, show(text(notebook)), re.M)


@each_chapter
def test_every_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((\S+?)\)", text(plain(path)))
    assert any(link.endswith(".svg") for link in links) == ("](../diagrams/" in path.read_text())
    for link in links:
        assert link.startswith("https://")
        if link.startswith(SITE):
            name, _, anchor = link.removeprefix(SITE).partition("#")
            target = HTML / name
            assert target.is_file(), link
            assert not anchor or f'id="{anchor}"' in target.read_text(encoding="utf-8"), link


@each_chapter
def test_numbers_are_those_of_the_page(path: Path) -> None:
    source, copy, shown = text(nbformat.read(path, as_version=4)), text(plain(path)), page(path)
    equations = re.findall(r'class="eqno">\(([\d.]+)\)', shown)
    assert re.findall(r"\\tag\{([\d.]+)\}", copy) == equations != []
    figures = [html.unescape(each).strip() for each in re.findall(r'class="caption-number">(.+?)</span>', shown)]
    in_copy = re.findall(r"^\*\*(Fig.+?):\*\*", copy, re.M)
    assert in_copy == [each for each in figures if each.startswith("Fig")] != []
    measured = re.findall(r'class="pasted-text">(.*?)</span>', shown)
    before = re.findall(r"([^\n`(){}\[\]]*)\{glue:text\}`", source)
    assert len(measured) == len(before) > 5
    for context, number in zip(before, measured, strict=True):
        assert context + html.unescape(number) in copy


@each_chapter
def test_exercises_and_folded_solutions_are_all_there(path: Path) -> None:
    source, notebook = text(nbformat.read(path, as_version=4)), plain(path)
    copy = text(notebook)
    exercises = re.findall(r"^\*\*(Exercise [\d.]+): ", copy, re.M)
    assert len(set(exercises)) == len(exercises) == source.count("{exercise-start}")
    folded = re.findall(r"<summary>Solution to (.+?)</summary>", copy)
    titled = [
        (cell.source.split("\n")[0].removeprefix("# @title Solution to "), cell.metadata)
        for cell in notebook.cells
        if cell.source.startswith("# @title Solution")
    ]
    assert all(meta.jupyter.source_hidden and meta.cellView == "form" for _, meta in titled)
    assert set(exercises) == set(folded) | {title for title, _ in titled}
    for cell in notebook.cells:
        assert cell.source.count("<details>") == cell.source.count("</details>")


@each_chapter
def test_the_pages_buttons_lead_to_it(path: Path) -> None:
    links = re.findall(r'href="(\S+?\.ipynb)"', page(path))
    colab = [link for link in links if "colab" in link]
    assert colab == [f"https://colab.research.google.com/github/{OWNER}/{NAME}/blob/plain/{path.name}"]
    assert f"../plain/{path.name}" in links
    assert not any("_sources" in link for link in links)


def test_it_runs_in_an_empty_folder(tmp_path: Path) -> None:
    (shortest,) = (path for path in CHAPTERS if path.stem == "07_threshold")
    copy = HTML / "plain" / shortest.name
    papermill.execute_notebook(copy, tmp_path / "out.ipynb", cwd=tmp_path, kernel_name="python3", progress_bar=False)


def test_the_workflow_pushes_it_to_the_branch_that_colab_opens(tmp_path: Path) -> None:
    deploy = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["deploy"]
    (script,) = (step["run"] for step in deploy["steps"] if "run" in step)
    assert deploy["permissions"]["contents"] == "write"
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    for turn in ("first", "second"):
        (tmp_path / turn).mkdir()
        subprocess.run(
            ["tar", "-cf", tmp_path / turn / "artifact.tar", "-C", HTML, "./plain", "./intro.html"], check=True
        )
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "REMOTE": str(remote), "GITHUB_SHA": turn}
        subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path / turn, env=environment, check=True)
    ask = ["git", "--git-dir", remote]
    branch = subprocess.run(
        [*ask, "ls-tree", "--name-only", "plain"], capture_output=True, text=True, check=True
    ).stdout
    assert branch.split() == [path.name for path in CHAPTERS]
    commits = subprocess.run([*ask, "log", "--format=%s", "plain"], capture_output=True, text=True, check=True).stdout
    assert commits == "Plain edition of second\n"


@each_chapter
def test_students_read_the_same(path: Path, tmp_path: Path) -> None:
    """Their notebooks are made without Sphinx: what is counted and looked up there must be what Sphinx knows."""
    subprocess.run([sys.executable, ROOT / "tools" / "student.py", "--out", tmp_path], check=True)

    def without_links(cell: nbformat.NotebookNode) -> str:
        source = re.sub(r"<details>.*?</details>", "", cell.source.replace("\xa0", " "), flags=re.S)
        return re.sub(r"\[([^\[\]]*)\]\([^)]*\)", r"\1", source).strip()

    source, mine = text(nbformat.read(path, as_version=4)), nbformat.read(tmp_path / path.name, as_version=4)
    theirs = {cell.id: without_links(cell) for cell in plain(path).cells if cell.cell_type == "markdown"}
    read = [cell for cell in mine.cells[1:] if cell.cell_type == "markdown"]
    assert len(read) > 15 and "{numref}" in source
    for cell in read:
        assert without_links(cell) in theirs[re.sub(r"-\d$", "", cell.id) if cell.id not in theirs else cell.id]
