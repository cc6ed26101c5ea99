"""Writes the plain edition of the chapters, for Jupyter and Colab.

Both show Markdown, but not the roles and directives of MyST. So each chapter
is written a second time, to `plain/NAME.ipynb` beside the pages, with plain
Markdown in their place. All numbers come from Sphinx, so they are the page's.
The page's buttons for Colab and for the download lead to this copy.
"""

import re
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import urljoin

import nbformat
from docutils import nodes
from myst_nb.core.variables import format_plain_text
from myst_nb.ext.glue.crossref import read_glue_cache
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.addnodes import pending_xref
from sphinx.errors import ExtensionError

FOLDED = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
ADMONITIONS = {"admonition", "note", "tip", "warning", "important", "hint"}
REFERENCES = {
    "numref": ("std", "numref"),
    "ref": ("std", "ref"),
    "doc": ("std", "doc"),
    "eq": ("math", "eq"),
    "cite:t": ("cite", "t"),
    "cite:p": ("cite", "p"),
}
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


def site(app: Any) -> str:
    """Return the book's public address, on GitHub Pages."""
    owner, name = app.config.html_theme_options["repository_url"].split("/")[
        -2:
    ]
    return f"https://{owner}.github.io/{name}/"


def colab(app: Any) -> str:
    """Return where Colab opens the plain edition: on its branch."""
    owner, name = app.config.html_theme_options["repository_url"].split("/")[
        -2:
    ]
    return (
        f"https://colab.research.google.com/github/{owner}/{name}/blob/plain/"
    )


class Chapter:
    """A chapter that is made plain, from its first cell to its last.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        It has read all pages.
    name : str
        Of the chapter's document, e.g. "notebooks/03_lamae".
    """

    def __init__(self, app: Any, name: str) -> None:
        self.app, self.env, self.name = app, app.env, name
        self.page = site(app) + app.builder.get_target_uri(name)
        self.solution = ""  # the title of the one that is not yet closed

    def notebook(self) -> nbformat.NotebookNode:
        """Return the plain notebook. It has no outputs."""
        source = nbformat.read(self.env.doc2path(self.name), as_version=4)
        cells = []
        for cell in source.cells:
            make = self.code if cell.cell_type == "code" else self.text
            cells += make(cell)
        title, _, rest = cells[0].source.partition("\n")
        cells[0].source = (
            f"{title}\n\n*A chapter to run. [Its page]({self.page}) has the "
            "same text with all figures; the numbers in the text are from "
            "the run of the page.*\n\n"
            f"*{self.env.metadata[self.name]['time']}*\n{rest}"
        )
        kept = {"kernelspec", "language_info"} & set(source.metadata)
        metadata = {key: source.metadata[key] for key in kept}
        return new_notebook(cells=cells, metadata=metadata)

    def code(self, cell: Any) -> list[Any]:
        """Return a code cell, and its figure's caption in one below."""
        tags = cell.metadata.get("tags", [])
        metadata: dict[str, Any] = {"tags": tags} if tags else {}
        source = cell.source
        if self.solution:
            source = f"# @title {self.solution}\n{source}"
        if self.solution or FOLDED & set(tags):
            metadata["jupyter"] = {"source_hidden": True}
            metadata["cellView"] = "form"  # the same on Colab
        cells = [new_code_cell(source, metadata=metadata, id=cell.id)]
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            number = self.resolved("numref", figure.name).astext()
            caption = f"**{number}:** {self.inline(figure.caption)}"
            cells.append(new_markdown_cell(caption, id=f"{cell.id}-caption"))
        return cells

    def text(self, cell: Any) -> list[Any]:
        """Return a Markdown cell, or nothing if it becomes empty.

        A solution may start in one cell and end in another.
        """
        start = self.fold() if self.solution else ""
        source = start + self.markdown(cell.source)
        if self.solution:
            source += "\n\n</details>"
        source = EMPTY.sub("", source).strip()
        return [new_markdown_cell(source, id=cell.id)] if source else []

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
                number = self.resolved("eq", label).astext().strip("()")
                body += f" \\tag{{{number}}}"
            return f"$$\n{body}\n$$\n"
        if name == "exercise-start":
            number = self.resolved("numref", label).astext()
            return f"**{number}: {self.inline(argument)}**\n\n"
        if name == "solution-start":
            number = self.resolved("numref", argument).astext()
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
        """Return text with plain roles and absolute links."""
        return INLINE.sub(self.plain, text)

    def plain(self, found: re.Match[str]) -> str:
        if found["role"]:
            return self.role(found["role"], found["content"])
        if found["target"]:
            return f"]({self.address(found['target'])})"
        return found["code"] or ""  # a target of references disappears

    def role(self, role: str, content: str) -> str:
        if role == "glue:text":
            return self.measured(content)
        if role not in REFERENCES:
            raise self.error(f"the role {role}")
        titled = TITLED.fullmatch(content)
        target, title = (
            titled.group("target", "title") if titled else (content, "")
        )
        return self.linked(self.resolved(role, target, title))

    def measured(self, content: str) -> str:
        """Return a number of the page's run."""
        key, _, form = content.partition(":")
        data = read_glue_cache(
            self.env.mystnb_config.output_folder, self.name
        )
        return format_plain_text(data[key]["data"]["text/plain"], form or "s")

    def resolved(
        self, role: str, target: str, title: str = ""
    ) -> nodes.Element:
        """Return what stands for a reference on the page."""
        domain, kind = REFERENCES[role]
        text = nodes.inline(title, title)
        node = pending_xref(
            "",
            text,
            refdoc=self.name,
            refdomain=domain,
            reftype=kind,
            reftarget=target,
            refexplicit=bool(title),
        )
        found = self.env.get_domain(domain).resolve_xref(
            self.env, self.name, self.app.builder, kind, target, node, text
        )
        if found is None:
            raise self.error(f"{{{role}}}`{target}`")
        return found

    def linked(self, node: nodes.Node) -> str:
        """Return a node as Markdown, with links to other pages only."""
        if not isinstance(node, nodes.Element):
            return node.astext()
        text = "".join(map(self.linked, node.children))
        uri = node.get("refuri", "")
        return f"[{text}]({urljoin(self.page, uri)})" if uri else text

    def address(self, target: str) -> str:
        """Return an absolute address: of a page, a picture or a label."""
        if re.match(r"\w+:", target):
            return target
        builder = self.app.builder
        path, hash_, anchor = target.partition("#")
        file = normpath(join(dirname(self.name), path))
        document = re.sub(r"\.(md|ipynb)$", "", file)
        labels = self.env.get_domain("std").anonlabels
        if path and document in self.env.found_docs:
            uri = builder.get_target_uri(document) + hash_ + anchor
        elif file in builder.images:
            uri = f"{builder.imagedir}/{builder.images[file]}"
        elif target in labels:
            document, anchor = labels[target]
            uri = f"{builder.get_target_uri(document)}#{anchor}"
        else:
            raise self.error(f"the link to {target}")
        return site(self.app) + uri

    def error(self, what: str) -> ExtensionError:
        return ExtensionError(
            f"{self.name}: the plain edition has no rule for {what}"
        )


def write_and_link(
    app: Any, page: str, template: str, context: dict[str, Any], tree: object
) -> None:
    """Write a chapter's plain notebook, and lead its page's buttons there."""
    documents = app.env.found_docs
    if page not in documents or not app.env.doc2path(page).endswith(".ipynb"):
        return
    name = f"plain/{Path(page).name}.ipynb"
    path = Path(app.outdir, name)
    path.parent.mkdir(exist_ok=True)
    nbformat.write(Chapter(app, page).notebook(), path)
    for group in context["header_buttons"]:
        for button in group.get("buttons", []):
            if button["text"] == "Colab":
                button["url"] = colab(app) + path.name
            elif button["text"] == ".ipynb":
                button["url"] = context["pathto"](name, resource=True)


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-page-context", write_and_link, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
