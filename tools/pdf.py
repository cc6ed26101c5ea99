"""Write the whole book as one PDF, from the pages that `make book` has built.

The pages become one document: a title page, the contents, the pages in their order, and an appendix with the solutions
and the answers to the questions. Headless Chromium prints it twice, because only the printed document says on which
page a heading lies.

Run: python tools/pdf.py [--html DIR] [--out FILE]
"""

import argparse
import base64
import io
import json
import posixpath
import re
import shutil
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader, PdfWriter
from pypdf.generic import Fit
from selenium import webdriver

from lamae_tutorial import __version__

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
CONFIG = yaml.safe_load((BOOK / "_config.yml").read_text(encoding="utf-8"))
TOC = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # the same on every machine
LANGUAGE = "en-GB"
TEXT_WIDTH = 582  # of a page in CSS pixels, from pdf.css
PATIENCE = 900  # seconds for one step of the browser
PRINT = {"preferCSSPageSize": True, "printBackground": True}
# Waits for formulas and fonts; then names what a page cannot hold.
WIDE = """
const [width, done] = arguments;
document.body.style.width = `${width}px`;
MathJax.startup.promise.then(() => document.fonts.ready).then(() => {
  const wide = [...document.querySelectorAll('article *')]
    .filter(each => each.getBoundingClientRect().right > width + 1)
    .map(each => `${each.tagName}.${each.className} ${each.textContent.slice(0, 60)}`);
  document.body.style.width = '';
  done(wide.slice(0, 9));
});
"""
QUESTIONS = re.compile(r"questions\w+\s*=\s*(\[.*\]);\n")  # of a quiz, in its script
NOT_PRINTED = ("tables",)  # pages of records to be searched and sorted: a fifth of the PDF, in tiny print
# What works on a screen only. Folded code draws or checks; it is in the notebooks.
ON_SCREEN = (
    ".headerlink, .figure-code, script, style, details.hide, input, .records-search, .toctree-wrapper, img[hidden]"
)


def pages(entry: dict[str, Any]) -> list[str]:
    """Return the names of an entry of the table of contents and of those below it."""
    below = [*entry.get("chapters", []), *entry.get("sections", [])]
    names = [*([entry["file"]] if "file" in entry else []), *(name for each in below for name in pages(each))]
    return [name for name in names if name not in NOT_PRINTED]


def place(page: str, anchor: str = "") -> str:
    """Return the name of a place in the PDF. Pages are divided into places by their own names."""
    return "-".join(re.sub(r"[^\w.-]", "-", part) for part in (page.rpartition("/")[2], anchor) if part)


def page_number(to: str) -> str:
    """Return a link whose text becomes the number of the page on which a place lies."""
    return f'<a class="page" href="#{to}">000</a>'


def marked(text: str) -> str:
    """Return a text of a quiz as HTML."""
    return re.sub("`(.+?)`", r"<code>\1</code>", escape(text))


class Document:
    """The book in one HTML document.

    Parameters
    ----------
    html : Path
        Folder of the built pages.
    """

    def __init__(self, html: Path) -> None:
        self.html = html
        self.pages = [TOC["root"], *(name for part in TOC["parts"] for name in pages(part))]
        self.styles: list[str] = []
        self.contents: list[str] = []  # its lines
        self.bookmarks: list[tuple[int, str, str]] = []  # level, place, title
        self.body: list[str] = []
        self.solutions = ["<h1 id='solutions'>Solutions</h1>"]
        self.add_page(TOC["root"])
        for part in TOC["parts"]:
            self.contents.append(f"<p class='part'>{escape(part['caption'])}</p>")
            for page in pages(part):
                self.add_page(page)
        self.contents.append("<p class='part'>Appendix</p>")
        self.add("solutions", soup("".join(self.solutions)))

    def add_page(self, page: str) -> None:
        """Add a page, and keep its solutions for the appendix."""
        article = soup((self.html / f"{page}.html").read_text(encoding="utf-8")).article
        assert article is not None
        moved = self.without_answers(article, place(page))
        self.for_print(article, page)
        moved = [self.solution(each) for each in article.select("div.solution")] + moved
        if moved:
            heading = escape(article.h1.get_text().strip())
            self.solutions += [f"<h2 id='{place(page)}-solutions'>{heading}</h2>", *moved]
        self.add(place(page), article)

    def add(self, name: str, article: Tag) -> None:
        """Add an article. It starts on a new page; its title stands above each of its pages."""
        title = article.h1.get_text().strip()
        self.styles.append(f"@page in-{name} {{ @top-right {{ content: {json.dumps(title, ensure_ascii=False)} }} }}")
        self.body.append(f"<article style='page: in-{name}'>{article.decode_contents()}</article>")
        for heading in article.select("h1, h2"):
            text = heading.get_text().strip()
            link = f"<a href='#{heading['id']}'>{escape(text)}</a>"
            self.contents.append(f"<p class='{heading.name}'>{link}<i></i>{page_number(heading['id'])}</p>")
            self.bookmarks.append((int(heading.name[1]), heading["id"], text))

    def without_answers(self, article: Tag, name: str) -> list[str]:
        """Turn a page's quiz into a list of questions, and return the answers."""
        for script in article.select("div.cell script"):
            found = QUESTIONS.search(script.get_text())
            if found is None:
                continue
            asked, answered = "", ""
            for question in json.loads(found[1]):
                choices = "".join(f"<li>{marked(each['answer'])}</li>" for each in question["answers"])
                asked += f"<li>{marked(question['question'])}<ol>{choices}</ol></li>"
                said = "".join(
                    f"<li>{'<b>' * each['correct']}{marked(each['feedback'])}{'</b>' * each['correct']}</li>"
                    for each in question["answers"]
                )
                answered += f"<li>{marked(question['question'])}<ol>{said}</ol></li>"
            script.find_parent(class_="cell").replace_with(
                soup(
                    f"<ol class='quiz' id='quiz'>{asked}</ol>"
                    f"<p class='turn'>Answers: page {page_number('answers')}</p>"  # the page's own names: see for_print
                )
            )
            title = f"Answers to the questions on page {page_number(f'{name}-quiz')}"
            return [f"<h3 id='{name}-answers'>{title}</h3><ol class='quiz'>{answered}</ol>"]
        return []

    def solution(self, box: Tag) -> str:
        """Return the solution of an exercise, and leave in its place the number of its page."""
        exercise = box.select_one(".admonition-title a")
        name, to = escape(exercise.get_text().strip()), exercise["href"].removeprefix("#")
        box.select_one(".admonition-title").decompose()
        text = box.decode_contents()
        box.replace_with(soup(f"<p class='turn'>Solution: page {page_number(f'{to}-solution')}</p>"))
        return f"<h3 id='{to}-solution'>{name}, page {page_number(to)}</h3>{text}"

    def for_print(self, article: Tag, page: str) -> None:
        """Remove what works on a screen only, and let names and links be those of the PDF."""
        for each in article.select(ON_SCREEN):
            each.decompose()
        for cell in article.select("div.cell"):
            if not cell.get_text(strip=True) and not cell.find("img"):
                cell.decompose()
        for each in article.select("[id]"):
            each["id"] = place(page, each["id"])
        for heading in article.select("h1, h2, h3"):
            named = heading.parent.attrs.pop("id", "")  # the section's, which may start on the page before
            heading["id"] = place(page) if heading.name == "h1" else named
        for image in article.select("img[src]:not([src^='data:'])"):
            image["src"] = (self.html / posixpath.dirname(page) / image["src"]).resolve().as_uri()
        for link in article.select("a[href]"):
            self.link(link, page)

    def link(self, link: Tag, page: str) -> None:
        """Let a link lead to a place in the PDF, or show its address. What is neither becomes text."""
        target, _, anchor = link["href"].partition("#")
        name = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)).removesuffix(".html")
        if re.match("https?:", target):
            address = link["href"].partition("//")[2].rstrip("/")
            if address not in link.get_text():
                link["data-address"] = address
        elif not target or name in self.pages:
            link["href"] = "#" + place(name if target else page, anchor)
        else:
            link.unwrap()

    def __str__(self) -> str:
        static = (self.html / "_static").resolve().as_uri()
        faces = "".join(
            f"@font-face {{ font-family: {family}; src: url({(FONTS / file).as_uri()}); {style} }}\n"
            for family, file, style in (
                ("Text", "STIXGeneral.ttf", ""),
                ("Text", "STIXGeneralItalic.ttf", "font-style: italic"),
                ("Text", "STIXGeneralBol.ttf", "font-weight: bold"),
                ("Text", "STIXGeneralBolIta.ttf", "font-weight: bold; font-style: italic"),
                ("Code", "DejaVuSansMono.ttf", ""),
                ("Code", "DejaVuSansMono-Bold.ttf", "font-weight: bold"),
                ("Signs", "DejaVuSans.ttf", ""),
            )
        )
        title, author = escape(CONFIG["title"]), escape(CONFIG["author"])
        address = CONFIG["repository"]["url"]
        return f"""<!DOCTYPE html>
<html lang="{LANGUAGE}" data-theme="light">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="{static}/pygments.css">
<style>
{faces}{Path(__file__).with_suffix(".css").read_text(encoding="utf-8")}{chr(10).join(self.styles)}
</style>
<script>
window.MathJax = {{options: {{
  ignoreHtmlClass: "mathjax_ignore", processHtmlClass: "math", menuOptions: {{settings: {{assistiveMml: false}}}}
}}}};
</script>
<script defer src="{static}/mathjax/tex-chtml.js"></script>
</head>
<body class="mathjax_ignore">
<section class="title">
<p class="name">{title}</p>
<img src="{(BOOK / "diagrams" / "lamae.svg").as_uri()}" alt="">
<p>{author}</p>
<p>Version {__version__}, {CONFIG["copyright"]}</p>
</section>
<section class="about">
<p>This is the book of <a href="{address}">{address.partition("//")[2]}</a>, printed from its pages.
Code that only draws or checks is left out; the notebooks have it. A picture under a slider is shown
in one of its states. Solutions and answers are at the end. The tables of all records are on the
web page only.</p>
<p>{escape(CONFIG["html"]["extra_footer"])}</p>
</section>
<nav><h1 id="contents">Contents</h1>
{chr(10).join(self.contents)}</nav>
{chr(10).join(self.body)}
</body>
</html>
"""


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def printed(document: str) -> bytes:
    """Print a document with the numbers of its pages.

    Raises
    ------
    ValueError
        Something is wider than a page.
    """
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))) as driver,
    ):
        driver.command_executor.client_config.timeout = PATIENCE
        driver.set_page_load_timeout(PATIENCE)
        driver.set_script_timeout(PATIENCE)
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
        page = Path(folder, "book.html")
        numbers: dict[str, int] = {}
        for _ in range(4):  # numbers of another length can move a heading
            page.write_text(numbered(document, numbers), encoding="utf-8")
            driver.get(page.as_uri())
            if wide := driver.execute_async_script(WIDE, TEXT_WIDTH):
                raise ValueError(f"wider than a page: {wide}")
            # A page that is printed again may break elsewhere, so each print has its own load.
            pdf = driver.execute_cdp_cmd("Page.printToPDF", PRINT)
            content = base64.b64decode(pdf["data"])
            before, numbers = numbers, places(PdfReader(io.BytesIO(content)))
            if numbers == before:
                return content
    raise RuntimeError("the numbers of the pages do not settle")


def numbered(document: str, numbers: dict[str, int]) -> str:
    """Return a document with the numbers of pages that are known."""
    return re.sub(
        r'(<a class="page" href="#([^"]+)">)[^<]*',
        lambda link: f"{link[1]}{numbers.get(link[2], '000')}",
        document,
    )


def places(reader: PdfReader) -> dict[str, int]:
    """Return the number of the page of each place that a link leads to."""
    return {
        name.removeprefix("/"): reader.get_destination_page_number(place) + 1
        for name, place in reader.named_destinations.items()
    }


def write(html: Path, out: Path) -> None:
    """Write the pages in a folder as one PDF."""
    book = Document(html)
    writer = PdfWriter(io.BytesIO(printed(str(book))), incremental=True)
    writer.add_metadata({"/Title": CONFIG["title"], "/Author": CONFIG["author"], "/Creator": "lamae-tutorial"})
    writer.page_mode = "/UseOutlines"
    targets = writer.named_destinations
    above: dict[int, Any] = {}
    for level, name, title in book.bookmarks:  # Chromium's own have the words of some titles twice
        at = targets[f"/{name}"]
        page, fit = writer.get_destination_page_number(at), Fit.xyz(left=at.left, top=at.top)
        above[level] = writer.add_outline_item(
            title=title, page_number=page, parent=above.get(level - 1), fit=fit, is_open=False
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    writer.write(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--html", type=Path, default=BOOK / "_build" / "html", help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/lamae-tutorial.pdf"), help="(default: %(default)s)")
    options = parser.parse_args()
    if not (options.html / f"{TOC['root']}.html").exists():
        sys.exit(f"no pages in {options.html}; run: make book")
    write(options.html, options.out)
    print(f"{options.out} ({options.out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
