"""The page where readers draw: the detector in the browser gives the results of the package."""
# ruff: noqa: F811

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.support.wait import WebDriverWait
from sphinx.errors import ExtensionError
from test_browser import DESK, HTML, NOT_OURS, PHONE, address, browser, opened, pytestmark  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "book" / "_ext"))
import draw_page

# Lines through points of the paper, whose sides have the length 1.
FOUR = [[(0.35, 0.12), (0.25, 0.55), (0.75, 0.55)], [(0.65, 0.15), (0.62, 0.9)]]
SCRIBBLE = [[(0.1, 0.8), (0.25, 0.2), (0.4, 0.8), (0.55, 0.2), (0.7, 0.8), (0.85, 0.2)]]
EXAMPLES = ("digit", "blank", "noise", "letter")
# From a disk the theme's icons may not be read, as on every page.
FROM_A_DISK = (*NOT_OURS, "/webfonts/", "Failed to load resource: net::ERR_FAILED")


@pytest.fixture(scope="module", params=["disk", "server"])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    browser.get_log("browser")  # discard messages of earlier pages
    place = HTML.as_uri() if request.param == "disk" else address
    yield opened(browser, place, "draw", PHONE if request.param == "disk" else DESK)
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not [message for message in severe if not any(known in message for known in FROM_A_DISK)]


def settled(page: Any) -> dict[str, Any]:
    """Return what the page knows of its image, when it has judged it."""
    busy = "return document.querySelector('.draw-answer').ariaBusy"
    WebDriverWait(page, 60, 0.05).until(lambda page: page.execute_script(busy) == "false")
    return page.execute_script("return document.querySelector('.draw').result")


def in_view(page: Any, selector: str) -> Any:
    """Return an element that the theme's header does not cover."""
    element = page.find_element("css selector", selector)
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    return element


def drawn(page: Any, strokes: list[list[tuple[float, float]]], kind: str = "mouse") -> dict[str, Any]:
    paper = in_view(page, ".draw-paper")
    actions = ActionChains(page)
    actions.w3c_actions = ActionBuilder(page, mouse=PointerInput(kind, kind), duration=0)
    pointer = actions.w3c_actions.pointer_action
    for stroke in strokes:
        for number, place in enumerate(stroke):
            x, y = (round((each - 0.5) * paper.size["width"]) for each in place)
            pointer.move_to(paper, x, y)
            if not number:
                pointer.pointer_down()
        pointer.pointer_up()
    actions.perform()
    return settled(page)


def press(page: Any, name: str) -> dict[str, Any]:
    in_view(page, f".draw button[value={name}]").click()
    return settled(page)


def said(page: Any) -> str:
    return page.find_element("css selector", ".draw-answer").text


@pytest.mark.parametrize("kind", ["mouse", "touch"])
def test_a_four_is_accepted_and_a_scribble_is_not(page: Any, kind: str) -> None:
    assert press(page, "clear") is None
    four = drawn(page, FOUR, kind)
    assert four["name"] == "4" and four["p"] > draw_page.ALPHA and not four["rejected"]
    assert "Class 4" in said(page) and "Accepted" in said(page)
    assert press(page, "clear") is None and "Draw a digit" in said(page)
    scribble = drawn(page, SCRIBBLE, kind)
    assert scribble["p"] <= draw_page.ALPHA and scribble["rejected"]
    assert "Out-of-distribution" in said(page)


def test_the_image_is_like_mnists(page: Any) -> None:
    """A small drawing in a corner becomes the large one's image: 20 pixels high, with its mass in the middle."""
    press(page, "clear")
    large = np.reshape(drawn(page, FOUR)["image"], (28, 28))
    press(page, "clear")
    small = drawn(page, [[(0.5 * x, 0.5 * y) for x, y in stroke] for stroke in FOUR])
    assert np.abs(large - np.reshape(small["image"], (28, 28))).mean() < 5
    rows = np.flatnonzero(large.max(1) > 127)
    assert 19 <= np.ptp(rows) + 1 <= 21
    middle = np.arange(28) + 0.5
    for axis in (0, 1):
        assert large.sum(axis) @ middle / large.sum() == pytest.approx(14, abs=0.25)


def test_results_are_those_of_the_package(page: Any) -> None:
    results = [press(page, name) for name in EXAMPLES]
    press(page, "clear")
    results.append(drawn(page, FOUR))
    images = np.reshape([result["image"] for result in results], (-1, 1, 28, 28)).astype(np.uint8)
    detector, digits = draw_page.detector_and_digits()
    np.testing.assert_array_equal(images[0], digits[0])
    assert not images[1].any()
    found = {key: [result[key] for result in results] for key in ("name", "score", "p", "rejected", "reconstruction")}
    assert found["name"] == [detector.class_names_[number] for number in detector.classify(images)]
    np.testing.assert_allclose(found["score"], detector.score(images, draw_page.SCORE), rtol=1e-4)
    np.testing.assert_allclose(found["p"], detector.p_values(images), atol=1e-4)
    assert found["rejected"] == (detector.predict(images, draw_page.ALPHA) == -1).tolist()
    np.testing.assert_allclose(found["reconstruction"], detector.reconstruct(images).flatten(1), atol=1e-4)


def test_the_examples_are_as_the_text_says() -> None:
    detector, digits = draw_page.detector_and_digits()
    rejected = detector.predict(digits, draw_page.ALPHA) == -1
    assert rejected[draw_page.HELD_OUT] and 2 <= rejected.sum() <= 3, "the 1, and a known digit by mistake"
    blank, noise = torch.zeros(1, 1, 28, 28), torch.rand(1, 1, 28, 28, generator=torch.manual_seed(0))
    assert (detector.predict(torch.cat([blank, noise]), draw_page.ALPHA) == -1).all()
    error = detector.calibrate(digits, "error")
    assert error.p_values(blank) == 1, "the error alone accepts a blank page"


def test_a_build_without_npm_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(name: str) -> Path:
        raise OSError("Name or service not known")

    monkeypatch.setattr(draw_page.npm, "package", unreachable)
    with pytest.raises(ExtensionError, match=r"run `python tools/npm.py onnxruntime-web`"):
        draw_page.fetch(None)
