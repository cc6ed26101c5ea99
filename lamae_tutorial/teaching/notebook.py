"""Helpers of the chapters: figures, numbers in their text, quizzes, committed records and models, photographs."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from IPython.core.getipython import get_ipython
from IPython.display import HTML, display
from IPython.utils.capture import capture_output
from matplotlib import rcParams
from torch import Tensor

from lamae_tutorial.data.images import bring_to_shape
from lamae_tutorial.detectors import Detector
from lamae_tutorial.plots import BOOK_STYLE
from lamae_tutorial.teaching.quizzes import QUIZZES

# Dark enough for white text, and different also for readers who cannot tell red from green.
_QUIZ_COLOURS = {
    "--jq-multiple-choice-bg": "#004a76",
    "--jq-many-choice-bg": "#004a76",
    "--jq-numeric-bg": "#004a76",
    "--jq-correct-color": "#00664b",
    "--jq-incorrect-color": "#9a3d00",
}
_PACKAGE = Path(__file__).parent.parent


def book_style() -> None:
    """Draw this notebook's figures as SVG, with text that can be read on a phone.

    Figures should be at most 5 inches wide, with panels in rows.
    """
    rcParams.update(BOOK_STYLE)
    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats  # would create a shell if there is none

        set_matplotlib_formats("svg", bbox_inches=None)


def glue(name: str, value: float | str) -> None:
    """Store a number under a name. The chapter's text shows it with ``{glue:text}``.

    Without MyST-NB (on Colab) nothing is stored, because the text is not rendered.

    Parameters
    ----------
    name : str
    value : float or str
    """
    try:
        from myst_nb import glue as store
    except ImportError:
        return
    store(name, value if isinstance(value, str) else float(value), display=False)


def quiz(chapter: str) -> None:
    """Display a chapter's multiple-choice questions with feedback.

    Without `jupyterquiz` (on Colab), each answer unfolds to show its feedback.

    Parameters
    ----------
    chapter : str
        A key of :data:`lamae_tutorial.teaching.quizzes.QUIZZES`.
    """
    questions = QUIZZES[chapter]
    try:
        from jupyterquiz import display_quiz
    except ImportError:
        display(HTML(_folded(questions)))
        return
    with capture_output() as captured:
        display_quiz(questions, shuffle_answers=False, max_width=720, colors=_QUIZ_COLOURS)
    for output in captured.outputs:
        # While MathJax is loading, its version is undefined, and jupyterquiz's `version[0]` would raise an error.
        safe = {kind: text.replace("version[0]", "String(version)[0]") for kind, text in output.data.items()}
        display(safe, raw=True)


def _folded(questions: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for number, each in enumerate(questions, 1):
        items = "".join(
            f"<li><details><summary>{html.escape(answer['answer'])}</summary>"
            f"{'Right' if answer['correct'] else 'No'}: {html.escape(answer['feedback'])}</details></li>"
            for answer in each["answers"]
        )
        parts.append(f"<p>{number}. {html.escape(each['question'])}</p><ul>{items}</ul>")
    return "".join(parts)


def committed(folder: str, pattern: str = "*.json") -> list[Path]:
    """Return the files of records that the project keeps in `book/results`, wherever a chapter runs.

    They are read from the checkout; where the package is installed without one, as on Colab, it contains them.

    Parameters
    ----------
    folder : str
        A folder in `book/results`, e.g. "fast".
    pattern : str
        Of the files' names, e.g. "mnist-without-*.json".

    Returns
    -------
    list of Path
        Sorted; never empty.

    Raises
    ------
    FileNotFoundError
        There are no such records.
    """
    for place in _places("results"):
        if files := sorted((place / folder).glob(pattern)):
            return files
    raise FileNotFoundError(
        f"no records {folder}/{pattern} in {' or '.join(map(str, _places('results')))}; install the package from its "
        "repository"
    )


def checkpoint(name: str) -> Detector:
    """Load one of the trained detectors that the project keeps in `book/models`, wherever a chapter runs.

    Parameters
    ----------
    name : str
        E.g. "lamae-mnist-without-1". The file `record.json` in its folder says how it was trained; `tools/models.py`
        trains all.

    Raises
    ------
    FileNotFoundError
        There is no such model.
    """
    for place in _places("models"):
        if (place / name).is_dir():
            return Detector.load(place / name)
    raise FileNotFoundError(
        f"no model {name} in {' or '.join(map(str, _places('models')))}; install the package from its repository"
    )


def _places(kind: str) -> list[Path]:
    return [_PACKAGE.parent / "book" / kind, _PACKAGE / kind]


def photo_patches(size: int, random_state: int = 0) -> Tensor:
    """Return square grey patches of the two photographs in scikit-learn, in random order.

    Parameters
    ----------
    size : int
        Height and width. Patches of up to 8 pixels lie side by side. Larger patches overlap and start every 8 pixels.
    random_state : int
        Seed of the order.

    Returns
    -------
    uint8 tensor (N, 1, size, size)
        About 8,000 patches.
    """
    from sklearn.datasets import load_sample_images

    parts = []
    for photo in load_sample_images().images:
        image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None]
        grey = bring_to_shape(image, (1, *photo.shape[:2]))[0, 0]
        step = min(size, 8)
        parts.append(grey.unfold(0, size, step).unfold(1, size, step).flatten(0, 1))
    patches = torch.cat(parts)[:, None]
    return patches[torch.randperm(len(patches), generator=torch.Generator().manual_seed(random_state))]
