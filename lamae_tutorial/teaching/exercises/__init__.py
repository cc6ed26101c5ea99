"""Checks of the chapters' implementation tasks: they say what is wrong with an answer, and hint.

A chapter's tasks stand in the module of its number, as functions `exercise_N` that take the reader's answer and raise
:class:`NotYet` with a message.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lamae_tutorial.training.state import plain_torch


class NotYet(Exception):
    """An answer is not right. The message says what came, what was expected, and hints."""


@dataclass(frozen=True)
class Verdict:
    """What :func:`check` found.

    Attributes
    ----------
    exercise : str
        E.g. "3.2".
    right : bool
    message : str
        What is wrong, and a hint; empty if the answer is right.
    """

    exercise: str
    right: bool
    message: str = ""

    def __repr__(self) -> str:
        return f"Exercise {self.exercise}: " + ("right." if self.right else f"not yet. {self.message}")

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"  # wraps, as text in an output does not


def check(exercise: str, answer: object) -> Verdict:
    """Check the answer to an implementation task of a chapter.

    Parameters
    ----------
    exercise : str
        Number of the exercise, e.g. "3.2".
    answer : callable
        The function or class that the exercise asks for.

    Returns
    -------
    Verdict
        In a notebook it is shown if it is the cell's last expression. Errors in the answer do not stop the notebook.

    Raises
    ------
    ValueError
        There is no such exercise with a check.
    """
    chapter, _, number = str(exercise).partition(".")
    name = f"{__name__}.chapter_{chapter}"
    checks = vars(import_module(name)) if chapter.isdecimal() and find_spec(name) else {}
    function = checks.get(f"exercise_{number}")
    if function is None:
        raise ValueError(f'no exercise {exercise!r} has a check; name it as the chapter does, e.g. "3.2"')
    if not callable(answer):
        return Verdict(exercise, False, f"Pass the function itself, without calling it; got {_kind(answer)}.")
    try:
        with plain_torch(), warnings.catch_warnings():
            function(answer)
    except NotYet as wrong:
        return Verdict(exercise, False, str(wrong))
    except NotImplementedError:
        return Verdict(exercise, False, "Nothing is written there so far.")
    except Exception as error:  # of the reader's code, whatever it is
        return Verdict(exercise, False, f"It stopped with {type(error).__name__}: {error}")
    return Verdict(exercise, True)


def expect_close(
    got: Any,
    wanted: Any,
    what: str,
    hint: str = "",
    tolerance: float = 1e-4,
    typical: Mapping[str, Any] | None = None,
) -> None:
    """Raise NotYet unless `got` is a number, array or tensor with the shape and values of `wanted`.

    Parameters
    ----------
    got : object
        What the answer returned.
    wanted : float, array or tensor
    what : str
        What was returned for what, e.g. "For two equal slots, the weights".
    hint : str
        Shown if the values differ.
    tolerance : float
        Largest absolute difference that is right.
    typical : mapping of str to float, array or tensor, optional
        What typical mistakes return, by the hint that is shown instead of `hint` if it came.
    """
    if got is None or got is ...:
        raise NotYet("It returns nothing so far: does it end with `return`?")
    try:
        values = _numbers(got)
    except (TypeError, ValueError):
        raise NotYet(f"{what} should be numbers; got {_kind(got)}.") from None
    target = _numbers(wanted)
    for found, mistake in (typical or {}).items():
        wrong = _numbers(mistake)
        if wrong.shape == values.shape and np.allclose(values, wrong, rtol=0, atol=tolerance, equal_nan=True):
            hint = found
            break
    if values.shape != target.shape:
        raise NotYet(f"{what} should have the shape {target.shape}; got {values.shape}.")
    if not np.isfinite(values).all():
        raise NotYet(f"{what} should be finite; got {_short(values)}. {hint}".rstrip())
    if np.abs(values - target).max(initial=0) > tolerance:
        raise NotYet(f"{what} should be {_short(target)}; got {_short(values)}. {hint}".rstrip())


def _numbers(values: Any) -> NDArray[np.float64]:
    return values.detach().cpu().double().numpy() if isinstance(values, Tensor) else np.asarray(values, float)


def _short(values: Any) -> str:
    return np.array2string(np.asarray(values), precision=3, threshold=8, edgeitems=2, separator=", ").replace("\n", "")


def _kind(value: Any) -> str:
    return "nothing" if value is None or value is ... else f"{type(value).__name__}"
