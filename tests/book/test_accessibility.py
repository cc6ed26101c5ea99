"""axe-core finds no violation of WCAG 2 (level AA) on any page of the built book: light, dark, and on a phone.

All that a click unfolds is open, and quizzes have answers. Skips like `test_browser.py`, and where axe-core is missing.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_browser import DESK, PAGES, PHONE, address, browser, opened, pytestmark

__all__ = ["address", "browser", "pytestmark"]  # fixtures

TOOL = Path(__file__).parent.parent.parent / "tools" / "npm.py"
LEVEL_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
OPEN_ALL = """
document.querySelectorAll('article details').forEach(each => each.open = true);
document.querySelectorAll('article button.toggle-button').forEach(each => each.click());
document.querySelectorAll('.MCButton').forEach(each => each.click());
"""
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations'], ...arguments[0]}).then(found => done(
  found.violations.map(each => [each.id, each.nodes.map(node => node.html.slice(0, 120))])
));
"""


@pytest.fixture(scope="module")
def axe() -> str:
    ended = subprocess.run([sys.executable, TOOL, "axe-core"], capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(ended.stderr)
    return (Path(ended.stdout.strip()) / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_no_violation(browser: Any, address: str, axe: str, page: str) -> None:
    colours, tags = {"color-contrast": {"enabled": False}}, {"type": "tag", "values": LEVEL_AA}
    for size, theme, options in (
        (DESK, "light", {"runOnly": tags}),
        (DESK, "dark", {"runOnly": ["color-contrast"]}),
        (PHONE, "light", {"runOnly": tags, "rules": colours}),
    ):
        opened(browser, address, page, size, theme)
        browser.execute_script(OPEN_ALL)
        browser.execute_script(axe)
        assert browser.execute_async_script(RUN, options) == [], (size, theme)
