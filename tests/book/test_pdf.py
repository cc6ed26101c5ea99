"""The PDF of the built book. It is printed once; the test skips if the book is not built or Chromium is missing."""

import re
import shutil
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import pdf  # noqa: E402

HTML = ROOT / "book" / "_build" / "html"

pytestmark = [
    pytest.mark.skipif(not (HTML / "intro.html").exists(), reason="the book is not built: make book"),
    pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no Chromium"),
]


def letters(text: str) -> str:
    """Return a text without what the breaking of lines can change."""
    return re.sub(r"\W", "", unicodedata.normalize("NFKC", text))


def outline(reader: PdfReader, entries: list[Any], level: int = 1) -> list[tuple[int, str, int]]:
    """Return level, title and number of the page of each bookmark."""
    found = []
    for entry in entries:
        if isinstance(entry, list):
            found += outline(reader, entry, level + 1)
        else:
            found.append((level, entry.title.strip(), reader.get_destination_page_number(entry) + 1))
    return found


def captions() -> list[str]:
    """Return the captions on the pages, without formulas."""
    return [
        " ".join(
            text
            for text in caption.find_all(string=True)
            if not text.find_parent(class_=("math", "headerlink", "figure-code"))
        )
        for page in HTML.rglob("*.html")
        if "_static" not in page.parts
        for caption in BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select("article figcaption")
        if not caption.select(".math")
    ]


def test_the_whole_book(tmp_path: Path) -> None:
    pdf.write(HTML, tmp_path / "book.pdf")
    reader = PdfReader(tmp_path / "book.pdf")
    pages = [page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(tmp_path / "book.pdf")]
    text = letters("".join(pages))

    assert reader.metadata is not None
    assert (reader.metadata.title, reader.metadata.author) == (pdf.CONFIG["title"], pdf.CONFIG["author"])
    assert reader.trailer["/Root"]["/Lang"] == "en-GB"
    assert 150 < len(pages) < 400

    bookmarks = outline(reader, reader.outline)
    chapters = [title for level, title, _ in bookmarks if level == 1 and title[0].isdigit()]
    assert [title.split(".")[0] for title in chapters] == list("12345678")
    # The contents: each heading, with the number of its page.
    place, last = 0, next(page for _, title, page in bookmarks if title.startswith("Out-of-distribution"))
    contents = letters("".join(pages[2 : last - 1]))
    for _, title, page in bookmarks:
        assert letters(title) in letters(pages[page - 1]), title
        line = letters(title) + str(page)
        assert line in contents[place:], line
        place = contents.index(line, place)
    # The number on each page, but not on the title's.
    numbered = [re.search(rf"^{number}\s*$", page, re.M) is not None for number, page in enumerate(pages, 1)]
    assert all(numbered[2:]) and not any(numbered[:2])

    assert len(captions()) > 40
    for caption in captions():
        assert letters(caption) in text, caption
    assert not re.search(r"\{glue:|\{numref\}|\{doc\}|```|:label:|\\\(|\\begin\{", "".join(pages))
    # Exercises and solutions lead to each other.
    places = pdf.places(reader)
    first = next(page for _, title, page in bookmarks if title == "Solutions")
    solutions = {name: page for name, page in places.items() if name.endswith("-solution")}
    assert len(solutions) == 3 * 8 and min(solutions.values()) >= first
    for name, page in solutions.items():
        exercise = places[name.removesuffix("-solution")]
        assert exercise < first
        assert f"Solution: page {page}" in pages[exercise - 1] + pages[exercise] + pages[exercise + 1]
        assert f", page {exercise}\r\n" in pages[page - 1]
    links = [
        annotation.get_object()
        for page in reader.pages
        for annotation in page.get("/Annots", [])
        if "/Dest" in annotation.get_object()
    ]
    assert len(links) > 500
    assert {str(link["/Dest"]).removeprefix("/") for link in links} <= set(places)

    for page in reader.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            assert embedded(font.get_object())


def embedded(font: Any) -> bool:
    """Type 3 fonts are drawings; of all others the file must be there."""
    if font["/Subtype"] == "/Type3":
        return True
    inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
    descriptor = inner["/FontDescriptor"].get_object()
    return any(file in descriptor for file in ("/FontFile", "/FontFile2", "/FontFile3"))
