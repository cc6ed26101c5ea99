"""Adds to each chapter what nobody should have to type.

Below the title: the time to read it, and how long its code ran. In each
figure's caption: a link to the code. At the end: the command that runs it.
"""

from typing import Any

from docutils import nodes
from myst_nb.core.execute.base import ExecutionResult
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.addnodes import pending_xref

WORDS_A_MINUTE = 200


def add(app: Any, doctree: nodes.document) -> None:
    """Add all three to a chapter that has just been read."""
    name = app.env.docname
    if not name.startswith("notebooks/"):
        return
    sections = list(doctree.findall(nodes.section))
    cells = of_kind(doctree, "cell_code")
    words = app.env.metadata[name]["wordcount"]["words"]  # MyST's own count
    for cell in cells:
        if "hide_mode" not in cell:
            words += sum(len(code.astext().split()) for code in sources(cell))
    run = NbMetadataCollector.get_exec_data(app.env, name)
    time = time_of(words, run)
    app.env.metadata[name]["time"] = time  # for the plain edition
    sections[0].insert(1, nodes.paragraph("", time, classes=["muted"]))
    for cell in cells:
        for source in sources(cell):
            for figure in cell.findall(nodes.figure):
                link_to_code(figure, source)
    sections[-1] += command(name, any(map(reads_records, cells)))


def time_of(words: int, run: ExecutionResult | None) -> str:
    """Return the sentences on the time."""
    read = f"About {round(words / WORDS_A_MINUTE)} minutes to read."
    if run is None or run["runtime"] is None:  # built without running
        return read
    seconds = round(run["runtime"])
    return f"{read} Its code ran in {seconds} seconds for this page."


def link_to_code(figure: nodes.figure, source: nodes.Element) -> None:
    """Let a figure's caption end in a link. It opens folded code."""
    label = f"code-of-{figure['names'][0]}"
    source["ids"].append(label)
    (caption,) = figure.findall(nodes.caption)
    link = nodes.reference("", "Code", refid=label, classes=["figure-code"])
    caption += [nodes.Text(" "), link]


def command(name: str, records: bool) -> nodes.paragraph:
    """Return the chapter's last line."""
    number = int(name.removeprefix("notebooks/").partition("_")[0])
    line = nodes.paragraph(classes=["muted"])
    line += nodes.literal("", f"lamae book run {number}")
    line += nodes.Text(" runs this chapter in a checkout of the project.")
    if records:
        line += nodes.Text(" The records that it reads were made by ")
        line += pending_xref(
            "",
            nodes.inline("", "other commands"),
            refdomain="std",
            reftype="ref",
            reftarget="commands",
            refexplicit=True,
            refdoc=name,
        )
        line += nodes.Text(".")
    return line


def of_kind(tree: nodes.Element, kind: str) -> list[nodes.Element]:
    found = tree.findall(nodes.container)
    return [each for each in found if each.get("nb_element") == kind]


def sources(cell: nodes.Element) -> list[nodes.Element]:
    return of_kind(cell, "cell_code_source")


def reads_records(cell: nodes.Element) -> bool:
    return any("committed(" in code.astext() for code in sources(cell))


def setup(app: Any) -> dict[str, Any]:
    app.connect("doctree-read", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
