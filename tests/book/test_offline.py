"""The offline edition opens from a folder, without a server and without a network.

The tests skip if the book is not built or Chromium is missing. Slides, PDF and wheel have tests of their own.
"""

import html
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import offline  # noqa: E402

HTML = ROOT / "book" / "_build" / "html"
SLIDES = ROOT / "runs" / "slides"
HARMLESS = ("THEBE_JS_URL", "Got invalid theme mode")  # messages of Jupyter Book itself

pytestmark = [
    pytest.mark.skipif(not (HTML / "intro.html").exists(), reason="the book is not built: make book"),
    pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="no Chromium"),
]


@pytest.fixture(scope="module")
def edition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked zip, with stand-ins for what another command makes."""
    folder = tmp_path_factory.mktemp("offline")
    parts = {name: folder / name for name in ("slides", "student", "book.pdf", "lamae_tutorial-0-py3-none-any.whl")}
    for name, file in (("slides", "index.html"), ("student", "01_autoencoder.ipynb")):
        parts[name].mkdir()
        (parts[name] / file).write_text("<!DOCTYPE html><title>Stand-in</title><link rel=icon href='data:,'>")
    for name in ("book.pdf", "lamae_tutorial-0-py3-none-any.whl"):
        parts[name].write_bytes(b"stand-in")
    offline.write(HTML, *parts.values(), folder / "edition.zip")
    with zipfile.ZipFile(folder / "edition.zip") as archive:
        assert {Path(name).parts[0] for name in archive.namelist()} == {offline.FOLDER}
        archive.extractall(folder / "a b")  # a stick's path may have spaces
    return folder / "a b" / offline.FOLDER


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
    yield driver
    driver.quit()


def complaints(browser: Any) -> list[str]:
    """Return what was asked of the network, what failed to load and what the console says, since the last call."""
    found = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    for entry in browser.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        if event["method"] == "Network.loadingFailed":
            found.append(event["params"]["errorText"])
        elif event["method"] == "Network.requestWillBeSent":
            address = event["params"]["request"]["url"]
            if not address.startswith(("file:", "data:", "blob:")):
                found.append(address)
    return [each for each in found if not any(known in each for known in HARMLESS)]


def pages(folder: Path) -> list[Path]:
    return [page for page in sorted(folder.rglob("*.html")) if "_static" not in page.relative_to(folder).parts]


def test_every_page_opens_without_a_network(browser: Any, edition: Path) -> None:
    assert len(pages(edition)) > 20
    for page in pages(edition):
        browser.get(page.as_uri())
        assert complaints(browser) == [], page


def test_a_request_to_the_network_is_seen(browser: Any, edition: Path) -> None:
    page = edition / "asks.html"
    page.write_text("<img src='https://example.org/picture.png'>")
    browser.get(page.as_uri())
    assert any("example.org" in each for each in complaints(browser))
    page.unlink()


def test_the_search_finds_chapters(browser: Any, edition: Path) -> None:
    browser.get((edition / "book" / "search.html").as_uri() + "?q=memory")
    chapters = "ul.search a[href*='02_memae']"
    WebDriverWait(browser, 20).until(lambda driver: driver.find_elements("css selector", chapters))
    link = browser.find_element("css selector", chapters)
    assert Path(unquote(urlsplit(link.get_attribute("href")).path)).is_file()
    assert complaints(browser) == []


def test_every_link_within_the_edition_leads_somewhere(edition: Path) -> None:
    for page in pages(edition):
        text = re.sub(r"<script[^>]*>.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in set(re.findall(r'\s(?:href|src)="([^"]+)"', text)):
            path = unquote(urlsplit(html.unescape(target)).path)
            if path and not re.match(r"\w+:", target):
                assert not path.startswith("/") and (page.parent / path).exists(), (page, target)
