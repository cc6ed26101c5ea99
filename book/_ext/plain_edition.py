"""Writes the plain edition of the chapters, for Jupyter and Colab.

Both show Markdown, but not the roles and directives of MyST. So each chapter
is written a second time, to `plain/NAME.ipynb` beside the pages, with plain
Markdown in their place. All numbers come from Sphinx, so they are the page's.
The page's buttons for Colab and for the download lead to this copy.
"""

import json
import re
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import urljoin

from docutils import nodes
from myst_nb.core.variables import format_plain_text
from myst_nb.ext.glue.crossref import read_glue_cache
from plain_markdown import PlainChapter
from sphinx.addnodes import pending_xref

REFERENCES = {
    "numref": ("std", "numref"),
    "ref": ("std", "ref"),
    "doc": ("std", "doc"),
    "eq": ("math", "eq"),
    "cite:t": ("cite", "t"),
    "cite:p": ("cite", "p"),
}


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


class BuiltChapter(PlainChapter):
    """A chapter as Sphinx knows it.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        It has read all pages.
    name : str
        Of the chapter's document, e.g. "notebooks/03_lamae".
    """

    def __init__(self, app: Any, name: str) -> None:
        super().__init__(name)
        self.app, self.env = app, app.env
        self.page = site(app) + app.builder.get_target_uri(name)

    @property
    def opening(self) -> str:
        return (
            f"A chapter to run. [Its page]({self.page}) has the same text "
            "with all figures; the numbers in the text are from the run of "
            f"the page. {self.env.metadata[self.name]['time']}"
        )

    def measured(self, key: str, form: str) -> str:
        data = read_glue_cache(
            self.env.mystnb_config.output_folder, self.name
        )
        return format_plain_text(data[key]["data"]["text/plain"], form)

    def number(self, role: str, label: str) -> str:
        return self.resolved(role, label).astext()

    def reference(self, role: str, target: str, title: str) -> str:
        if role not in REFERENCES:
            raise self.error(f"the role {role}")
        return self.linked(self.resolved(role, target, title))

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
    source = json.loads(Path(app.env.doc2path(page)).read_bytes())
    copy = BuiltChapter(app, page).notebook(source)
    path.write_text(
        json.dumps(copy, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    for group in context["header_buttons"]:
        for button in group.get("buttons", []):
            if button["text"] == "Colab":
                button["url"] = colab(app) + path.name
            elif button["text"] == ".ipynb":
                button["url"] = context["pathto"](name, resource=True)


def setup(app: Any) -> dict[str, Any]:
    app.connect("html-page-context", write_and_link, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
