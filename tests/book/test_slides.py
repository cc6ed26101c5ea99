"""The decks of `book/slides`: what they show is in the chapters, they keep to the plan, and fit the screen."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

BOOK = Path(__file__).parent.parent.parent / "book"
sys.path.insert(0, str(BOOK.parent / "tools"))
import slides  # noqa: E402

DECKS = sorted((BOOK / "slides").glob("*.md"))
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="360" height="220"><circle cx="99" cy="99" r="9"/></svg>'
each_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda deck: deck.stem)


def plan() -> dict[str, int]:
    """Return the minutes of each chapter in the instructor's plan."""
    minutes: dict[str, int] = {}
    chapter = ""
    for line in (BOOK / "instructors.md").read_text("utf-8").splitlines():
        if found := re.match(r"\* - .*\(notebooks/(\w+)\)", line):
            chapter = found[1]
        elif line.startswith("* - the project"):
            chapter = ""
        elif chapter and (found := re.match(r"  - (\d+)$", line)):
            minutes[chapter] = minutes.get(chapter, 0) + int(found[1])
    return minutes


def picture() -> Any:
    return new_output("display_data", {"image/svg+xml": SVG})


def stored(name: str) -> slides.Chapter:
    """Return a chapter as git has it. It has no pictures, and its numbers are all 1."""
    notebook = nbformat.read(BOOK / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if "figure" in cell.metadata.get("mystnb", {}):
            cell.outputs = [picture()]
        elif "show(" in cell.source:  # an explorer
            cell.outputs = [new_output("display_data", {"text/html": "<p>An explorer</p>"})]
    chapter = slides.Chapter(name, notebook, {})
    chapter.numbers = {glued[1]: "1.0" for glued in slides.GLUE.finditer(chapter.prose)}
    return chapter


@each_deck
def test_a_deck_shows_its_chapter_in_the_minutes_of_the_plan(deck: Path) -> None:
    chapter, text = stored(deck.stem), deck.read_text("utf-8")
    made = slides.read_deck(text, chapter)
    assert 12 <= len(made) <= 25
    assert sum(slide.minutes for slide in made) == plan()[deck.stem]
    assert any(slide.title.startswith("Predict") for slide in made)
    assert made[-1].title == "Summary" and len(re.findall(r"^\{quiz\}", text, re.M)) == 1
    for name in re.findall(r"diagrams/(\w+)\.svg", chapter.prose):
        assert f"{{diagram}} {name}\n" in text


@each_deck
def test_a_slide_has_few_words_and_lines(deck: Path) -> None:
    for slide in slides.read_deck(deck.read_text("utf-8"), stored(deck.stem)):
        code = "".join(re.findall(r'<div class="code">.*?</pre>', slide.text, re.S))
        words = re.sub(r'<div class="(?:code|output|quiz)">.*|<[^>]+>', " ", slide.text, flags=re.S).split()
        assert code.count("\n") <= 18, slide.title
        assert len(words) <= 60, slide.title


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        ("{figure} fig-none", "no figure fig-none"),
        ("{diagram} none", "no diagram none"),
        ("{equation} eq-none", "no equation eq-none"),
        ("{code} none", "no code none"),
        ("{code} train .. none", "no code train .. none"),
        ("{output} no such text", "not one but 0 cells"),
        ("{quiz} 99", "no question 99"),
        ("{glue:text}`ae_none:.1f`", "no number ae_none"),
    ],
)
def test_what_the_chapter_does_not_have_is_named(part: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape("01_autoencoder.md, slide “A title”: ") + f".*{complaint}"):
        slides.read_deck(f"# A title\n\n{part}\n\n> 1 min. Say it.\n", stored("01_autoencoder"))


def test_each_slide_needs_its_minutes() -> None:
    with pytest.raises(ValueError, match="minutes"):
        slides.read_deck("# A title\n\n> Say it.\n", stored("01_autoencoder"))


def test_code_is_found_by_its_names() -> None:
    source = "import os\n\n@keep\ndef one(x):\n    return x\n\nclass Two:\n    def three(self):\n        return 3\n"
    source += "four = 4\nfor five in range(4):\n    six = five\nseven = 7"
    chapter = slides.Chapter("01_small", new_notebook(cells=[new_code_cell(source)]), {})

    def shown(names: str) -> str:
        return re.sub("<[^>]+>", "", chapter.code(names)).strip()

    assert shown("one") == "@keep\ndef one(x):\n    return x"
    assert shown("Two.three") == "def three(self):\n    return 3"
    assert shown("four .. six") == "four = 4\nfor five in range(4):\n    six = five"


DECK = """# One

$a^2$

> 1 min. Wait.

## Two

{figure} fig-one

- {glue:text}`one:.1f` %
* later

> 2 min. Ask.

## Three

{quiz} 1

> 1 min. Ask.
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no Chromium")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")  # no network
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield driver
    driver.quit()


def made(decks: list[Path], out: Path) -> Path:
    try:
        slides.make(decks, out)
    except OSError as error:
        pytest.skip(f"reveal.js is not here and cannot be downloaded: {error}")
    return out


def opened(browser: Any, page: Path) -> None:
    browser.get(f"file://{page}")
    ready = "return window.Reveal && Reveal.isReady()"
    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(ready))


def too_large(browser: Any) -> list[str]:
    """Return the slides of which a part does not fit its place."""
    return browser.execute_script(
        """
        const parts = 'section.present, section.present :is(.body, .media, .text, .output, pre)';
        return Reveal.getSlides().filter((slide, index) => {
          Reveal.slide(index);
          return [...document.querySelectorAll(parts)].some(part =>
            part.scrollHeight > part.clientHeight + 1 || part.scrollWidth > part.clientWidth + 1);
        }).map(slide => slide.querySelector('h1, h2').textContent);
        """
    )


def test_a_deck_opens_without_a_network(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mystnb = {"figure": {"name": "fig-one", "caption": "."}, "image": {"alt": "A dot."}}
    cell = new_code_cell("draw()", metadata={"mystnb": mystnb}, outputs=[picture()])
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Small"), cell]), tmp_path / "01_autoencoder.ipynb")
    (tmp_path / "01_autoencoder.glue.json").write_text('{"one": {"data": {"text/plain": "41.96"}}}')
    (tmp_path / "01_autoencoder.md").write_text(DECK)
    monkeypatch.setattr(slides, "EXECUTED", tmp_path)
    page = made([tmp_path / "01_autoencoder.md"], tmp_path / "out") / "01_autoencoder.html"
    opened(browser, page)
    assert browser.find_elements(By.CSS_SELECTOR, "section.present mjx-container svg")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT)
    image = browser.find_element(By.CSS_SELECTOR, "section.present img")
    assert image.get_attribute("naturalWidth") == "360" and image.get_attribute("alt") == "A dot."
    assert image.size["height"] > 400
    assert browser.find_element(By.CSS_SELECTOR, "section.present .text").text == "42.0 %"
    body.send_keys(Keys.ARROW_RIGHT)
    assert "later" in browser.find_element(By.CSS_SELECTOR, "section.present .text").text
    body.send_keys(Keys.ARROW_RIGHT)
    answer = browser.find_element(By.CSS_SELECTOR, "section.present .answer")
    assert not answer.is_displayed()
    body.send_keys(Keys.ARROW_RIGHT)
    assert answer.is_displayed() and len(answer.text) > 10
    assert too_large(browser) == []
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_every_slide_of_the_book_fits(browser: Any, tmp_path: Path) -> None:
    if not slides.EXECUTED.is_dir():
        pytest.skip("the book is not built: make book")
    out = made(DECKS, tmp_path / "out")
    large = {}
    for deck in DECKS:
        opened(browser, out / f"{deck.stem}.html")
        large[deck.stem] = too_large(browser)
    assert large == {name: [] for name in large}
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    links = re.findall(r'href="([^"]+)"', (out / "index.html").read_text("utf-8"))
    assert links == [f"{deck.stem}.html" for deck in DECKS]
