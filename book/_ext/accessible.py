"""Mends HTML of the theme, MyST-NB and docutils for screen readers.

A repair that finds nothing any more is an error: take it out.
"""

from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

REPAIRS = {
    # The arrow in the side bar has no name.
    '<summary><span class="toctree-toggle"': (
        '<summary aria-label="Pages below"><span class="toctree-toggle"'
    ),
    # A bibliography is a list, and the role of its entries is deprecated.
    ' role="doc-biblioentry"': ' role="listitem"',
    # The label of folded code hides the text that it shows.
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # The button's label leaves out the keys that the button shows.
    'search-button__button" title="Search" aria-label="Search"': (
        'search-button__button" title="Search"'
    ),
}


def repair(app: Any, error: Exception | None) -> None:
    if error or app.builder.format != "html":
        return
    unused = set(REPAIRS)
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        found = [old for old in REPAIRS if old in text]
        for old in found:
            text = text.replace(old, REPAIRS[old])
        if found:
            path.write_text(text, encoding="utf-8")
        unused -= set(found)
    if unused:
        raise ExtensionError(f"nothing to repair: {', '.join(unused)}")


def setup(app: Any) -> dict[str, Any]:
    app.connect("build-finished", repair)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
