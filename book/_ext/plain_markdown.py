"""Makes a chapter plain: without the roles and directives of MyST.

Jupyter and Colab show Markdown, but not MyST. This module knows its grammar.
Where numbers, references and addresses come from is left to subclasses: to
Sphinx for the plain edition, to a count for the students' notebooks. It needs
Python alone.
"""

import re
from abc import ABC, abstractmethod
from typing import Any

FOLDED = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
ADMONITIONS = {"admonition", "note", "tip", "warning", "important", "hint"}
BLOCK = re.compile(
    r"^(?P<fence>`{3,})(?P<head>[^\n]*)\n(?P<body>.*?)^(?P=fence)`* *(\n|\Z)",
    re.M | re.S,
)
DIRECTIVE = re.compile(r"\{(?P<name>[\w-]+)\} *(?P<argument>.*)")
OPTION = re.compile(r":([\w-]+): *(.*)\n")
INLINE = re.compile(
    r"\{(?P<role>[\w:-]+)\}`(?P<content>[^`]+)`"
    r"|(?P<code>(?P<ticks>`+)(?!`)((?!\n\n).)+?(?<!`)(?P=ticks)(?!`))"
    r"|\]\((?P<target>[^\s)]+)\)"
    r"|^\([\w-]+\)=\n",
    re.M | re.S,
)
TITLED = re.compile(r"(?P<title>.+?)\s*<(?P<target>.+)>", re.S)
EMPTY = re.compile(r"<details>\n<summary>[^<]*</summary>\s*</details>\s*")

Cell = dict[str, Any]


class PlainChapter(ABC):
    """A chapter that is made plain, from its first cell to its last.

    Parameters
    ----------
    name : str
        Shown in errors.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.solution = ""  # the title of the one that is not yet closed

    @property
    @abstractmethod
    def opening(self) -> str:
        """Return the sentences below the title."""

    @abstractmethod
    def number(self, role: str, label: str) -> str:
        """Return "Fig. 3.1", "Exercise 3.2" or, for the role eq, "(3.1)"."""

    @abstractmethod
    def reference(self, role: str, target: str, title: str) -> str:
        """Return what a role shows, with its own title if that is given."""

    @abstractmethod
    def measured(self, key: str, form: str) -> str:
        """Return a number of the chapter's run."""

    @abstractmethod
    def address(self, target: str) -> str:
        """Return where a link leads: to a page, a picture or a label."""

    def notebook(self, source: dict[str, Any]) -> dict[str, Any]:
        """Return the plain notebook. It has no outputs."""
        cells: list[Cell] = []
        for cell in source["cells"]:
            make = self.code if cell["cell_type"] == "code" else self.text
            cells += make({**cell, "source": "".join(cell["source"])})
        title, _, rest = cells[0]["source"].partition("\n")
        cells[0]["source"] = f"{title}\n\n*{self.opening}*\n{rest}"
        kept = {"kernelspec", "language_info"} & set(source["metadata"])
        return {
            "cells": cells,
            "metadata": {
                key: source["metadata"][key] for key in sorted(kept)
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        }

    def code(self, cell: Cell) -> list[Cell]:
        """Return a code cell, and its figure's caption in one below."""
        tags = cell["metadata"].get("tags", [])
        metadata: dict[str, Any] = {"tags": tags} if tags else {}
        source = cell["source"]
        if self.solution:
            source = f"# @title {self.solution}\n{source}"
        if self.solution or FOLDED & set(tags):
            metadata["jupyter"] = {"source_hidden": True}
            metadata["cellView"] = "form"  # the same on Colab
        cells = [code_cell(source, cell["id"], metadata)]
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        if figure:
            number = self.number("numref", figure["name"])
            caption = f"**{number}:** {self.inline(figure['caption'])}"
            cells.append(text_cell(caption, f"{cell['id']}-caption"))
        return cells

    def text(self, cell: Cell) -> list[Cell]:
        """Return a Markdown cell, or nothing if it becomes empty.

        A solution may start in one cell and end in another.
        """
        start = self.fold() if self.solution else ""
        source = start + self.markdown(cell["source"])
        if self.solution:
            source += "\n\n</details>"
        source = EMPTY.sub("", source).strip()
        return [text_cell(source, cell["id"])] if source else []

    def fold(self) -> str:
        return f"<details>\n<summary>{self.solution}</summary>\n\n"

    def markdown(self, source: str) -> str:
        """Return plain Markdown."""
        parts, end = [], 0
        for block in BLOCK.finditer(source):
            parts += [self.inline(source[end : block.start()])]
            directive = DIRECTIVE.fullmatch(block["head"].strip())
            parts += [
                self.directive(**directive.groupdict(), body=block["body"])
                if directive
                else block[0]
            ]
            end = block.end()
        return "".join([*parts, self.inline(source[end:])])

    def directive(self, name: str, argument: str, body: str) -> str:
        options = {}
        while option := OPTION.match(body):
            options[option[1]] = option[2]
            body = body[option.end() :]
        label, body = options.get("label", ""), body.strip()
        if name == "math":
            if r"\\" in body:  # as Sphinx does
                body = f"\\begin{{split}}\n{body}\n\\end{{split}}"
            if label:
                number = self.number("eq", label).strip("()")
                body += f" \\tag{{{number}}}"
            return f"$$\n{body}\n$$\n"
        if name == "exercise-start":
            number = self.number("numref", label)
            return f"**{number}: {self.inline(argument)}**\n\n"
        if name == "solution-start":
            number = self.number("numref", argument)
            self.solution = f"Solution to {number}"
            return self.fold()
        if name == "solution-end":
            self.solution = ""
            return "\n\n</details>\n"
        if name == "exercise-end":
            return ""
        if name in ADMONITIONS:
            title = self.inline(argument) or name.capitalize()
            text = f"**{title}**\n\n{self.markdown(body)}"
            quoted = "\n".join(
                f"> {line}".rstrip() for line in text.split("\n")
            )
            return f"{quoted}\n"
        raise self.error(f"the directive {name}")

    def inline(self, text: str) -> str:
        """Return text with plain roles and links that lead somewhere."""
        return INLINE.sub(self.plain, text)

    def plain(self, found: re.Match[str]) -> str:
        if found["role"]:
            return self.role(found["role"], found["content"])
        if found["target"]:
            return f"]({self.address(found['target'])})"
        return found["code"] or ""  # a target of references disappears

    def role(self, role: str, content: str) -> str:
        if role == "glue:text":
            key, _, form = content.partition(":")
            return self.measured(key, form or "s")
        titled = TITLED.fullmatch(content)
        target, title = (
            titled.group("target", "title") if titled else (content, "")
        )
        return self.reference(role, target, title)

    def error(self, what: str) -> Exception:
        return ValueError(
            f"{self.name}: the plain edition has no rule for {what}"
        )


def code_cell(source: str, name: str, metadata: dict[str, Any]) -> Cell:
    return {
        "cell_type": "code",
        "id": name,
        "metadata": metadata,
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def text_cell(source: str, name: str) -> Cell:
    return {
        "cell_type": "markdown",
        "id": name,
        "metadata": {},
        "source": source,
    }
