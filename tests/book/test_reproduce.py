"""Each chapter of the built book says how long it takes and which command runs it, and its figures lead to their code.

The tests skip like those in `test_browser.py`.
"""

import re
from typing import Any

from test_browser import HTML, address, browser, each_chapter, opened, pytestmark

__all__ = ["address", "browser", "pytestmark"]  # fixtures


@each_chapter
def test_time_and_command_are_on_the_page(chapter: str) -> None:
    text = re.sub(r"<(?!p\b)[^>]*>", "", (HTML / "notebooks" / f"{chapter}.html").read_text(encoding="utf-8"))
    time, command = re.findall(r'<p class="muted">(.*)', text)
    found = re.fullmatch(r"About (\d+) minutes to read\. Its code ran in \d+ seconds for this page\.", time)
    assert found and 5 < int(found[1]) < 40
    assert command.startswith(f"lamae book run {int(chapter[:2])} runs this chapter")


@each_chapter
def test_each_figure_leads_to_its_code(browser: Any, address: str, chapter: str) -> None:
    opened(browser, address, f"notebooks/{chapter}")
    links = "[...document.querySelectorAll('.cell_output figure')].map(each => each.querySelector('a.figure-code'))"
    shown = f"return {links}.map(each => document.querySelector(each.hash).checkVisibility())"
    before = browser.execute_script(shown)
    assert len(before) >= 3 and not all(before), "some code is folded"
    for index in range(len(before)):
        browser.execute_script(f"{links}[{index}].click()")
    assert all(browser.execute_script(shown))
