"""Every link of the built book leads somewhere: to a file that is there, and to a place on its page.

Other sites are not asked. The tests skip if the book is not built; `test_plain.py` has the links of the plain edition.
"""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

HTML = Path(__file__).parent.parent.parent / "book" / "_build" / "html"
PAGES = sorted(path for path in HTML.rglob("*.html") if "_static" not in path.parts)

pytestmark = pytest.mark.skipif(not (HTML / "intro.html").exists(), reason="the book is not built: make book")


class Page(HTMLParser):
    """The links of a page, and the places on it to which links can lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.add(value or "")
            elif name == "id" or (tag, name) == ("a", "name"):
                self.places.add(value or "")


@cache
def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def broken(path: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    found = []
    for link in read(path).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        lost = target.suffix == ".html" and target.exists() and unquote(parts.fragment) not in read(target).places
        if lost or not target.is_file():
            found.append(link)
    return sorted(found)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(HTML)))
def test_every_link_leads_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_a_lost_page_picture_or_place_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.html").write_text('<h1 id="there">')
    page = tmp_path / "page.html"
    page.write_text(
        '<a href="other.html#there"><a href="other.html#gone"><a href="gone.html"><img src="gone.svg">'
        '<a href="#here"><p id="here"><a href="#gone"><a href="https://example.org/gone">'
    )
    assert broken(page) == ["#gone", "gone.html", "gone.svg", "other.html#gone"]
