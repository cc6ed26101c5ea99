"""Paragraphs after the parameters in a docstring become notes.

Napoleon would take them for another parameter.
"""

from typing import Any


def name_the_notes(
    app: object,
    what: str,
    name: str,
    thing: object,
    options: object,
    lines: list[str],
) -> None:
    """Put a heading over the first paragraph among parameters."""
    in_section = False
    for number in range(1, len(lines)):
        line, before = lines[number], lines[number - 1]
        after = lines[number + 1] if number + 1 < len(lines) else ""
        if before and line and set(line) == {"-"}:
            in_section = before in ("Parameters", "Attributes")
        elif (
            in_section
            and line
            and not before
            and not line.startswith(" ")
            and not after.startswith((" ", "-"))
        ):
            lines[number:number] = ["Notes", "-----"]
            return


def setup(app: Any) -> dict[str, Any]:
    app.connect(
        "autodoc-process-docstring", name_the_notes, priority=400
    )  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
