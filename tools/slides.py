"""Make slides of the chapters, which need no network: runs/slides/index.html.

A deck, `book/slides/NAME.md`, is Markdown. A heading starts a slide. Lines with `>` are its speaker's notes and begin
with its minutes: `> 5 min. Ask first.` Items with `*` appear one by one, items with `-` at once. A line of its own
shows a part of the executed chapter:

    {figure} fig-ae-failure       the figure of this name
    {diagram} autoencoder         book/diagrams/autoencoder.svg
    {equation} eq-error           the equation with this label
    {code} train                  the definition of a function, a class or a variable, or a part of it: `DenseVAE.loss`
    {code} pairs .. fpr95         from the statement that defines the first to the one that defines the second
    {output} show_results(        what the one cell showed whose code contains this text
    {quiz} 2                      the second question of the chapter's quiz; the answer follows at the next key

Numbers come from the chapter too and are written as there: {glue:text}`ae_auroc:.1f`.

Run: python tools/slides.py DECK ... --out DIR
"""

import argparse
import ast
import html
import json
import re
import shutil
import sys
import textwrap
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import dropwhile
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from myst_nb.core.variables import format_plain_text
from npm import package
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from lamae_tutorial.teaching.quizzes import QUIZZES

BOOK = Path(__file__).parent.parent / "book"
EXECUTED = BOOK / "_build" / "jupyter_execute" / "notebooks"
REVEAL = ("reset.css", "reveal.css", "theme/white.css", "reveal.js", "plugin/notes.js", "plugin/zoom.js")
MATHJAX = ("tex-svg-full.js", "a11y/assistive-mml.js")
HIGHLIGHTER = HtmlFormatter(style="a11y-high-contrast-light", cssclass="code")
PART = re.compile(r"^\{(figure|diagram|equation|code|output|quiz)\} (.+)$", re.M)
GLUE = re.compile(r"\{glue:text\}`(\w[^`:]*)(?::([^`]+))?`")
MINUTES = re.compile(r"(\d+) min\. ")


@dataclass
class Slide:
    title: str
    minutes: int
    notes: str
    media: list[str]  # figures and the like, beside the text
    text: str


@dataclass
class Chapter:
    """An executed chapter, and the pictures that its slides have taken from it so far."""

    name: str  # "01_autoencoder"
    notebook: nbformat.NotebookNode
    numbers: dict[str, str]  # as Python prints them
    pictures: dict[str, str] = field(default_factory=dict)  # SVG by file name

    @classmethod
    def read(cls, name: str) -> "Chapter":
        glued = json.loads((EXECUTED / f"{name}.glue.json").read_text())
        numbers = {key: each["data"]["text/plain"] for key, each in glued.items()}
        return cls(name, nbformat.read(EXECUTED / f"{name}.ipynb", as_version=4), numbers)

    @property
    def title(self) -> str:
        return self.notebook.cells[0].source.partition("\n")[0].removeprefix("# ")

    @property
    def prose(self) -> str:
        return "\n\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")

    @property
    def code_cells(self) -> list[Any]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    def number(self, name: str, form: str | None) -> str:
        if name not in self.numbers:
            raise ValueError(f"the chapter has no number {name}")
        return format_plain_text(self.numbers[name], form or "")

    def figure(self, name: str) -> str:
        for cell in self.code_cells:
            mystnb = cell.metadata.get("mystnb", {})
            if mystnb.get("figure", {}).get("name") == name:
                (svg,) = (
                    each.data["image/svg+xml"] for each in cell.outputs if "image/svg+xml" in each.get("data", {})
                )
                return self.picture(f"{self.name}-{name}.svg", svg, mystnb.image.alt)
        raise ValueError(f"the chapter has no figure {name}")

    def diagram(self, name: str) -> str:
        found = re.search(rf"!\[([^]]+)\]\(\.\./diagrams/{name}\.svg\)", self.prose)
        if not found:
            raise ValueError(f"the chapter has no diagram {name}")
        return self.picture(f"{name}.svg", (BOOK / "diagrams" / f"{name}.svg").read_text("utf-8"), found[1])

    def picture(self, file: str, svg: str, alt: str) -> str:
        self.pictures[file] = svg
        return f'<img src="figures/{file}" alt="{html.escape(alt)}">'

    def equation(self, label: str) -> str:
        found = re.search(rf"```{{math}}\n:label: {label}\n(.+?)```", self.prose, re.S)
        if not found:
            raise ValueError(f"the chapter has no equation {label}")
        without_stop = re.sub(r"\s*[.,]\s*(\\end\{gathered\}\s*)?$", r"\1", found[1])
        return f"\\[{html.escape(without_stop)}\\]"

    def code(self, names: str) -> str:
        first, _, last = names.partition(" .. ")
        for cell in self.code_cells:
            lines = cell.source.splitlines()
            statements = [] if "%pip" in cell.source else ast.parse(cell.source).body
            owner, _, method = first.rpartition(".")
            if owner:
                statements = [part for each in statements if owner in defined(each) for part in each.body]
            found = list(dropwhile(lambda each, name=method: name not in defined(each), statements))
            end = next((each for each in found if (last or method) in defined(each)), None)
            if end:
                start = min(each.lineno for each in [found[0], *getattr(found[0], "decorator_list", [])])
                chosen = textwrap.dedent("\n".join(lines[start - 1 : end.end_lineno]))
                return highlight(chosen.replace("\n\n\n", "\n\n"), PythonLexer(), HIGHLIGHTER)
        raise ValueError(f"the chapter has no code {names}")

    def output(self, text: str) -> str:
        shown = [shown_by(cell) for cell in self.code_cells if text in cell.source and cell.outputs]
        if len(shown) != 1:
            raise ValueError(f"not one but {len(shown)} cells with an output contain: {text}")
        parts = []
        for data in shown[0]:
            if "text/html" in data:  # a table or an explorer; the slides have their own style
                table = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.S)
                parts.append(re.sub(r'(<(?:table|caption|tr|th|td)\b[^>]*?) style="[^"]*"', r"\1", table))
            else:
                parts.append(f"<pre>{html.escape(data['text/plain'])}</pre>")
        return "".join(parts)

    def quiz(self, number: str) -> str:
        questions = QUIZZES[self.name.partition("_")[2]]
        if not 1 <= int(number) <= len(questions):
            raise ValueError(f"the quiz has no question {number}")
        question = questions[int(number) - 1]
        answers = "".join(f"<li>{html.escape(each['answer'])}</li>" for each in question["answers"])
        letter, right = next(pair for pair in zip("ABCDE", question["answers"], strict=False) if pair[1]["correct"])
        return (
            f'<p class="question">{html.escape(question["question"])}</p><ol type="A">{answers}</ol>'
            f'<p class="fragment answer"><strong>{letter}.</strong> {html.escape(right["feedback"])}</p>'
        )


def shown_by(cell: Any) -> list[dict[str, str]]:
    """Return what a cell has shown or printed, by MIME type."""
    return [each.get("data") or {"text/plain": each.text} for each in cell.outputs]


def defined(statement: ast.stmt) -> set[str]:
    """Return the names that a statement defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    names = (each for each in ast.walk(statement) if isinstance(each, ast.Name))
    return {each.id for each in names if isinstance(each.ctx, ast.Store)}


def markdown() -> MarkdownIt:
    """Return a renderer with mathematics, in which items with `*` appear one by one."""

    def step(self: Any, tokens: Any, index: int, options: Any, env: Any) -> str:
        if tokens[index].markup == "*":
            tokens[index].attrJoin("class", "fragment")
        return self.renderToken(tokens, index, options, env)

    def math(source: str, options: Any) -> str:
        left, right = (r"\[", r"\]") if options["display_mode"] else (r"\(", r"\)")
        return left + html.escape(source) + right

    renderer = MarkdownIt("commonmark", {"html": True}).enable("table").use(dollarmath_plugin, renderer=math)
    renderer.add_render_rule("list_item_open", step)
    return renderer


MARKDOWN = markdown()


def read_deck(text: str, chapter: Chapter) -> list[Slide]:
    """Return a deck's slides, with what they show of the chapter.

    Raises
    ------
    ValueError
        A slide has no minutes, or asks for what the chapter does not have. The message names both.
    """
    slides = []
    for part in re.split(r"^(?=##? )", text, flags=re.M):
        if part.strip():
            heading, _, rest = part.partition("\n")
            try:
                slides.append(read_slide(heading.lstrip("# "), rest, chapter))
            except ValueError as error:
                raise ValueError(f"{chapter.name}.md, slide “{heading.lstrip('# ')}”: {error}") from error
    return slides


def read_slide(title: str, text: str, chapter: Chapter) -> Slide:
    title, text = (GLUE.sub(lambda found: chapter.number(found[1], found[2]), part) for part in (title, text))
    text = re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", text)
    notes = " ".join(re.findall(r"^> ?(.*)$", text, re.M))
    minutes = MINUTES.match(notes)
    if not minutes:
        raise ValueError("its notes must begin with its minutes: > 5 min. ...")
    media, in_text = [], []

    def show(found: re.Match[str]) -> str:
        shown = f'<div class="{found[1]}">{getattr(chapter, found[1])(found[2].strip())}</div>'
        printed = found[1] == "output" and ("<pre>" in shown or "{code}" in text)
        if printed or found[1] in ("code", "equation", "quiz"):
            in_text.append(shown)
            return f"\n<!--{len(in_text) - 1}-->\n"  # not yet the part itself, which is no Markdown
        media.append(shown)
        return ""

    body = MARKDOWN.render(PART.sub(show, re.sub(r"^>.*\n?", "", text, flags=re.M)))
    return Slide(
        title=MARKDOWN.renderInline(title),
        minutes=int(minutes[1]),
        notes=MARKDOWN.render(notes),
        media=media,
        text=re.sub(r"<!--(\d+)-->", lambda found: in_text[int(found[1])], body),
    )


def make(decks: list[Path], out: Path) -> None:
    """Write the slides of these decks, with all that they load, into an empty folder.

    Raises
    ------
    FileNotFoundError
        The book is not built.
    ValueError
        A deck has a mistake; see `read_deck`.
    """
    if not EXECUTED.is_dir():
        raise FileNotFoundError("the slides show the executed chapters, and the book is not built; run: make book")
    templates = Environment(loader=FileSystemLoader(BOOK / "slides"), trim_blocks=True)
    shutil.rmtree(out, ignore_errors=True)
    (out / "figures").mkdir(parents=True)
    chapters = []
    for deck in decks:
        chapter = Chapter.read(deck.stem)
        slides = read_deck(deck.read_text("utf-8"), chapter)
        page = templates.get_template("deck.html").render(title=chapter.title, slides=slides)
        (out / f"{chapter.name}.html").write_text(page, "utf-8")
        for file, svg in chapter.pictures.items():
            (out / "figures" / file).write_text(svg, "utf-8")
        minutes = sum(slide.minutes for slide in slides)
        chapters.append((chapter.name, chapter.title, len(slides), minutes))
        print(f"{chapter.name}: {len(slides)} slides, {minutes} minutes")
    (out / "index.html").write_text(templates.get_template("index.html").render(chapters=chapters), "utf-8")
    copy_libraries(out)


def copy_libraries(out: Path) -> None:
    """Copy what the pages load: reveal.js, MathJax and our style."""
    (mathjax,) = find_spec("sphinx-mathjax-offline").submodule_search_locations
    for source, target, files in (
        (package("reveal.js") / "dist", out / "reveal", REVEAL),
        (Path(mathjax) / "static" / "mathjax", out / "mathjax", MATHJAX),
    ):
        for file in files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / file, target / file)
    style = (BOOK / "slides" / "slides.css").read_text("utf-8")
    (out / "slides.css").write_text(f"{style}\n{HIGHLIGHTER.get_style_defs('.code')}\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("decks", nargs="+", type=Path, metavar="DECK")
    parser.add_argument("--out", type=Path, default=Path("runs/slides"))
    arguments = parser.parse_args()
    try:
        make(arguments.decks, arguments.out)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    print(f"The slides: file://{arguments.out.resolve()}/index.html")


if __name__ == "__main__":
    main()
