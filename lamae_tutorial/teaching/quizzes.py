"""The questions at the end of the chapters, with feedback on each answer: read from `quizzes.yaml`.

:func:`lamae_tutorial.teaching.notebook.quiz` shows them. They are kept out of the notebooks, where a reader would see
the right answer before the question.
"""

from pathlib import Path
from typing import Any

import yaml

_BY_CHAPTER = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))

QUIZZES: dict[str, list[dict[str, Any]]] = {  # in the form of `jupyterquiz`
    chapter: [
        {"question": each["question"], "type": "multiple_choice", "answers": each["answers"]} for each in questions
    ]
    for chapter, questions in _BY_CHAPTER.items()
}
