"""The plan for instructors adds up, and each question has an answer."""

import re
from pathlib import Path

BOOK = Path(__file__).parent.parent.parent / "book"
PLAN = (BOOK / "instructors.md").read_text(encoding="utf-8")


def test_five_sessions_of_90_minutes_have_all_chapters() -> None:
    table = re.search(r"`{5}\{list-table\}.*?`{5}", PLAN, re.S)[0]
    sessions = re.split(r"\* - \*\*\d\. ", table)[1:]
    assert [sum(map(int, re.findall(r"^  - (\d+)$", session, re.M))) for session in sessions] == [90] * 5
    chapters = [path.stem for path in sorted((BOOK / "notebooks").glob("*.ipynb"))]
    assert re.findall(r"\(notebooks/(\w+)\)", table) == chapters


def test_each_question_has_points_and_an_answer() -> None:
    points = re.findall(r"^(\d+)\. \*\((\d+)", PLAN[PLAN.index("## Exam-style questions") :], re.M)
    assert f"{sum(int(each) for _, each in points)} points" in PLAN
    answers = (BOOK / "instructors_solutions.md").read_text(encoding="utf-8")
    assert re.findall(r"^(\d+)\. ", answers, re.M) == [number for number, _ in points]
