"""axe-core finds no violation of WCAG 2 (level AA) on any page of the built book: light, dark, and on a phone.

All that a click unfolds is open, and quizzes have answers. To save time, what repeats a hundred times on a page is
tested a few times: rows of a table, kinds of words in code, formulas, and entries of the package's page. The tests skip
like those in `test_browser.py`, and if axe-core is missing.
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
ON_A_PHONE = ["scrollable-region-focusable", "target-size", "meta-viewport"]  # the others do not depend on the width
PREPARE = """
document.querySelectorAll('article details').forEach(each => each.open = true);
document.querySelectorAll('article button.toggle-button').forEach(each => each.click());
document.querySelectorAll('.MCButton').forEach(each => each.click());

document.querySelectorAll('article tbody tr:nth-child(n + 6), article dl.py:nth-of-type(n + 4)')
  .forEach(each => each.remove());
[...document.querySelectorAll('mjx-container')].slice(3).forEach(each => each.replaceChildren('x'));
const seen = new Set();
for (const each of document.querySelectorAll('pre span')) {
  if (seen.has(each.className)) { each.replaceWith(...each.childNodes); }
  seen.add(each.className);
}
"""
RUN = """
const [theme, options, done] = arguments;
document.documentElement.dataset.theme = theme;
axe.run({resultTypes: ['violations'], ...options}).then(found => done(
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
    opened(browser, address, page, PHONE)
    browser.execute_script(PREPARE + axe)
    assert browser.execute_async_script(RUN, "light", {"runOnly": ON_A_PHONE}) == []
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": DESK[0], "height": DESK[1], "deviceScaleFactor": 1, "mobile": False},
    )
    assert browser.execute_async_script(RUN, "light", {"runOnly": {"type": "tag", "values": LEVEL_AA}}) == []
    assert browser.execute_async_script(RUN, "dark", {"runOnly": ["color-contrast"]}) == []
