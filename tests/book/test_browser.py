"""The built book in a real browser: headless Chromium opens every page of `book/_build/html`.

The tests skip if the book is not built or Chromium is missing. `make test` installs Chromium if it may
(`tools/browser.sh`).
"""

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

BOOK = Path(__file__).parent.parent.parent / "book"
HTML = BOOK / "_build" / "html"
PAGES = re.findall(r"(?:root|file): (\S+)", (BOOK / "_toc.yml").read_text())
CHAPTERS = [page.removeprefix("notebooks/") for page in PAGES if page.startswith("notebooks/")]
WITHOUT_EXPLORER = ("03_lamae", "05_difference", "06_benchmark", "08_rivals")
PHONE, DESK = (390, 844), (1280, 900)
# Messages of Jupyter Book itself: a constant is declared twice, no theme is stored at the first visit, no icon.
NOT_OURS = ("THEBE_JS_URL", "Got invalid theme mode", "favicon.ico")

pytestmark = [
    pytest.mark.skipif(not (HTML / "intro.html").exists(), reason="the book is not built: make book"),
    pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no Chromium"),
]
each_page = pytest.mark.parametrize("page", PAGES)
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS)


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(HTML)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    # Only this machine's name is resolved, because a page must not need other hosts.
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def opened(browser: Any, address: str, page: str, size: tuple[int, int] = DESK, theme: str = "light") -> Any:
    """Open a page with a viewport of this size. The window itself cannot be narrower than 500 pixels."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE},
    )
    browser.get(f"{address}/{page}.html")
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    return browser


@each_page
def test_no_javascript_error(browser: Any, address: str, page: str) -> None:
    browser.get_log("browser")  # discard messages of earlier pages
    opened(browser, address, page)
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [message for message in severe if not any(known in message for known in NOT_OURS)]


@each_page
def test_no_sideways_scroll_on_a_phone(browser: Any, address: str, page: str) -> None:
    opened(browser, address, page, PHONE)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= PHONE[0]
    assert cut_tables(browser) == []


@each_page
def test_no_table_is_cut_on_a_desk(browser: Any, address: str, page: str) -> None:
    opened(browser, address, page, (1300, 900))
    assert cut_tables(browser) == []


def cut_tables(browser: Any) -> list[str]:
    """Return the starts of the tables that are wider than the boxes around them."""
    return browser.execute_script(
        """
        const cut = [];
        for (const table of document.querySelectorAll('article table')) {
          for (let box = table; box.tagName != 'ARTICLE'; box = box.parentElement) {
            if (box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).display != 'inline') {
              cut.push(table.textContent.trim().slice(0, 60));
              break;
            }
          }
        }
        return cut;
        """
    )


def test_records_can_be_searched_and_sorted(browser: Any, address: str) -> None:
    opened(browser, address, "tables")
    count = "return document.querySelector('.records-search output').textContent"
    everything = browser.execute_script(count)
    browser.find_element("css selector", ".records-search input").send_keys("mnist-1 lamae+")
    shown, total = map(int, browser.execute_script(count).split(" rows")[0].split(" of "))
    assert everything == f"{total} of {total} rows" and 0 < shown < total
    rows = browser.execute_script(
        "return [...document.querySelectorAll('article tbody tr')].filter(row => row.offsetHeight)"
        ".map(row => row.textContent.toLowerCase())"
    )
    assert len(rows) == shown and all("mnist-1" in row and "lamae+" in row for row in rows)
    for order, sign in (("ascending", 1), ("descending", -1)):
        buttons = "[...document.querySelectorAll('#ours-beside-the-papers th button')]"
        button = f"{buttons}.find(each => each.textContent == 'AUROC')"
        browser.execute_script(f"{button}.focus()")
        browser.switch_to.active_element.send_keys(Keys.ENTER)
        state, numbers = browser.execute_script(
            f"const head = {button}.parentElement;"
            "const rows = [...head.closest('table').tBodies[0].rows];"
            "return [head.ariaSort, rows.map(row => parseFloat(row.cells[head.cellIndex].textContent))]"
        )
        assert state == order and len(set(numbers)) > 50
        assert numbers == sorted(numbers, key=lambda number, sign=sign: sign * number)


@each_chapter
def test_every_picture_is_drawn_and_has_words(browser: Any, address: str, chapter: str) -> None:
    opened(browser, address, f"notebooks/{chapter}")
    pictures = browser.execute_script(
        "return [...document.querySelectorAll('figure img, .cell_output img, article p > img')]"
        ".map(each => { each.loading = 'eager'; return [each.complete && each.naturalWidth, each.alt]; })"
    )
    assert len(pictures) >= 3
    assert all(width > 0 for width, _ in pictures)
    assert all(len(alt) > 20 for _, alt in pictures)


@each_chapter
def test_solutions_are_folded_and_open(browser: Any, address: str, chapter: str) -> None:
    opened(browser, address, f"notebooks/{chapter}")
    before, after = browser.execute_script(
        "const boxes = [...document.querySelectorAll('div.solution')];"
        "const texts = box => [...box.querySelectorAll('p:not(.admonition-title)')];"
        "const visible = each => getComputedStyle(each).visibility == 'visible';"
        "const seen = () => boxes.map(box => texts(box).some(visible));"
        "const before = seen(); boxes.forEach(box => box.querySelector('.admonition-title').click());"
        "return [before, seen()]"
    )
    assert before == [False] * 3
    assert after == [True] * 3


@each_chapter
def test_a_quiz_answers(browser: Any, address: str, chapter: str) -> None:
    opened(browser, address, f"notebooks/{chapter}")
    feedback = browser.execute_script(
        "document.querySelector('.MCButton').click();"
        "return [...document.querySelectorAll('.Feedback')].map(each => each.textContent).find(text => text) || ''"
    )
    assert len(feedback) > 10


@each_chapter
def test_a_slider_moves_its_picture(browser: Any, address: str, chapter: str) -> None:
    opened(browser, address, f"notebooks/{chapter}")
    shown = browser.execute_script(
        "const box = document.querySelector('.lamae-explorer');"
        "if (!box) { return null; }"
        "const control = box.querySelector('input');"
        "const pictures = [...box.querySelectorAll('img')];"
        "const seen = () => pictures.filter(each => each.offsetHeight > 0).map(each => each.title);"
        "const states = [];"
        "for (const at of [control.min, control.max]) {"
        "  control.value = at; control.dispatchEvent(new Event('input', {bubbles: true}));"
        "  states.push([seen(), box.querySelector('output').textContent]);"
        "}"
        "return states"
    )
    if chapter in WITHOUT_EXPLORER:
        assert shown is None
        return
    (first, first_label), (last, last_label) = shown
    assert first == [first_label] and last == [last_label] and first != last


@each_chapter
def test_explorers_belong_to_the_page_in_the_dark(browser: Any, address: str, chapter: str) -> None:
    opened(browser, address, f"notebooks/{chapter}", theme="dark")
    grounds = browser.execute_script(
        "return [...document.querySelectorAll('.lamae-explorer, .lamae-table')]"
        ".map(each => getComputedStyle(each.closest('.text_html')).backgroundColor)"
    )
    assert set(grounds) <= {"rgba(0, 0, 0, 0)"}


@each_page
def test_page_weighs_less_than_a_megabyte(page: str) -> None:
    assert (HTML / f"{page}.html").stat().st_size < 1_000_000
