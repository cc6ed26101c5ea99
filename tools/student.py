"""Write the chapters for students: plain Markdown, a stub in place of each solution, no outputs.

Run: python tools/student.py --out DIR

They are made of the chapters in git, so that nothing has to be installed or built: the numbers of figures, equations
and exercises are counted, and the measured numbers in the text are those that the chapters store. The diagrams lie
beside them.
"""

import argparse
import ast
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from address import ROOT, current

BOOK = ROOT / "book"
sys.path.insert(0, str(BOOK / "_ext"))
from plain_markdown import Cell, PlainChapter, code_cell, text_cell  # noqa: E402

SITE = "https://{}.github.io/{}/".format(*current().split("/")[-2:])
NUMBERED = re.compile(r"`{3,}\{(?P<kind>math|exercise-start)\}[^\n]*\n:label: *(?P<label>\S+)")
ENTRY = re.compile(r"@\w+\{(?P<key>\w+),\s*author = \{(?P<authors>.+)\},\n(.*\n)*?  year = \{(?P<year>\d+)\}")
STUB = re.compile("\0(.*?)\0")


class Book:
    """What the chapters refer to: numbers, titles and pages."""

    def __init__(self) -> None:
        self.chapters = {path.stem: json.loads(path.read_bytes()) for path in sorted(BOOK.glob("notebooks/*.ipynb"))}
        self.numbers: dict[str, str] = {}
        self.pages = {
            label: f"{SITE}{page.stem}.html#{label}"
            for page in BOOK.glob("*.md")
            for label in re.findall(r"^\(([\w-]+)\)=$", page.read_text(encoding="utf-8"), re.M)
        }
        for name, chapter in self.chapters.items():
            counts = {"Fig. {}": 0, "Exercise {}": 0, "({})": 0}
            for form, label in labels(chapter):
                counts[form] += 1
                self.numbers[label] = form.format(f"{int(name[:2])}.{counts[form]}")
                self.pages[label] = f"{name}.ipynb"
        text = (BOOK / "references.bib").read_text(encoding="utf-8")
        self.works = {entry["key"]: (authors(entry["authors"]), entry["year"]) for entry in ENTRY.finditer(text)}

    def title(self, document: str) -> str:
        """Return the title of a chapter or page."""
        name = document.removeprefix("../")
        if name in self.chapters:
            first = "".join(self.chapters[name]["cells"][0]["source"])
        else:
            first = (BOOK / f"{name}.md").read_text(encoding="utf-8")
        return re.search("^# (.+)", first, re.M)[1]


def labels(chapter: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the form of the number and the label of all that is numbered in a chapter, in order."""
    found = []
    for cell in chapter["cells"]:
        if cell["cell_type"] == "code":
            if figure := cell["metadata"].get("mystnb", {}).get("figure"):
                found.append(("Fig. {}", figure["name"]))
        else:
            for each in NUMBERED.finditer("".join(cell["source"])):
                found.append(("({})" if each["kind"] == "math" else "Exercise {}", each["label"]))
    return found


def authors(text: str) -> str:
    """Return the last names of a work's authors, as the book cites them."""
    names = [name.partition(",")[0] for name in text.split(" and ")]
    return " and ".join(names) if len(names) < 3 else f"{names[0]} et al."


class StudentChapter(PlainChapter):
    """A chapter without its solutions, in a folder with the others and their diagrams."""

    def __init__(self, book: Book, name: str) -> None:
        super().__init__(name)
        self.book = book
        self.diagrams: set[str] = set()
        self.has_stub = False  # the exercise that is read brings a cell to write in
        self.values = {
            output["metadata"]["scrapbook"]["name"]: "".join(output["data"]["application/papermill.record/text/plain"])
            for cell in book.chapters[name]["cells"]
            for output in cell.get("outputs", [])
            if "scrapbook" in output.get("metadata", {})
        }

    @property
    def opening(self) -> str:
        return (
            f"[The chapter's page]({SITE}notebooks/{self.name}.html) has all figures, and the solutions. Write your "
            "answers in the cells that say so. `check` tells you whether yours is right, and gives a hint if not."
        )

    def code(self, cell: Cell) -> list[Cell]:
        if self.solution:
            return []
        self.has_stub |= "\ncheck(" in cell["source"]
        return super().code(cell)

    def text(self, cell: Cell) -> list[Cell]:
        """Return the text with a cell to write in for each solution that starts in it, unless its exercise has one."""
        parts = STUB.split("".join(made["source"] for made in super().text(cell)))
        cells = []
        for number, part in enumerate(parts):
            if number % 2:
                cells.append(code_cell(f"# Your answer to {part}\n", f"{cell['id']}-answer-{number}", {}))
            elif text := re.sub("<details>.*?</details>", "", part, flags=re.S).strip():
                cells.append(text_cell(text, f"{cell['id']}-{number}" if number else cell["id"]))
        return cells

    def directive(self, name: str, argument: str, body: str) -> str:
        made = super().directive(name, argument, body)
        if name == "exercise-start":
            self.has_stub = False
        if name == "solution-start" and not self.has_stub:
            return f"\0{self.number('numref', argument)}\0{made}"
        return made

    def number(self, role: str, label: str) -> str:
        return self.book.numbers[label]

    def reference(self, role: str, target: str, title: str) -> str:
        if role in ("numref", "eq"):
            return self.number(role, target)
        if role == "doc":
            return f"[{title or self.book.title(target)}]({self.address(target)})"
        works = sorted(self.book.works[key] for key in target.split(","))
        if role == "cite:t":
            return ", ".join(f"{names} [{year}]" for names, year in works)
        if role == "cite:p":
            return f"[{', '.join(f'{names}, {year}' for names, year in works)}]"
        raise self.error(f"the role {role}")

    def measured(self, key: str, form: str) -> str:
        text = self.values[key]
        return text.strip("'\"") if form == "s" else format(ast.literal_eval(text), form)

    def address(self, target: str) -> str:
        if re.match(r"\w+:", target):
            return target
        if target.startswith("../diagrams/"):
            self.diagrams.add(target.removeprefix("../"))
            return target.removeprefix("../")
        if target in self.book.pages:
            return self.book.pages[target]
        name, hash_, anchor = target.removeprefix("../").partition("#")
        if name in self.book.chapters:
            return f"{name}.ipynb"
        if (BOOK / f"{name}.md").is_file():
            return f"{SITE}{name}.html{hash_}{anchor}"
        raise self.error(f"the link to {target}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/student"), help="(default: %(default)s)")
    out = parser.parse_args().out
    book = Book()
    (out / "diagrams").mkdir(parents=True, exist_ok=True)
    for name, source in book.chapters.items():
        chapter = StudentChapter(book, name)
        notebook = json.dumps(chapter.notebook(source), indent=1, ensure_ascii=False)
        (out / f"{name}.ipynb").write_text(notebook + "\n", encoding="utf-8")
        for diagram in chapter.diagrams:
            shutil.copy(BOOK / diagram, out / diagram)
        print(out / f"{name}.ipynb")


if __name__ == "__main__":
    main()
