"""The one check of parameters: what a value must be, and the error that says so.

A `Rule` holds for a value or does not. A class lists the rules of its own parameters in `parameter_rules`, and
:func:`check_parameters` reads the lists of a class and its bases. NumPy's numbers are as good as Python's.
"""

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

Rules = Mapping[str, "Rule"]

_LARGEST = 2**31 - 1


class Rule(NamedTuple):
    """What a value must be: `text` completes "NAME must ...", and `holds` tests it."""

    text: str
    holds: Callable[[Any], bool]


def number(text: str, holds: Callable[[float], bool]) -> Rule:
    """A finite number (not a bool) of which `holds` is true."""
    return Rule(
        text,
        lambda value: isinstance(value, Real) and not _is_bool(value) and math.isfinite(value) and holds(float(value)),
    )


def whole(low: int, high: int = _LARGEST, text: str | None = None) -> Rule:
    """A whole number (not a bool, not 2.0) in low..high."""
    range_ = f">= {low}" if high == _LARGEST else f"in {low}..{high}"
    return Rule(
        text or f"be a whole number {range_}",
        lambda value: isinstance(value, Integral) and not _is_bool(value) and low <= int(value) <= high,
    )


def several(rule: Rule, text: str, low: int = 0, high: int = 16) -> Rule:
    """A sequence (list, tuple or array) of `low` to `high` values of which `rule` holds."""
    return Rule(
        text,
        lambda values: (
            isinstance(values, list | tuple | np.ndarray)
            and low <= len(values) <= high
            and all(rule.holds(value) for value in values)
        ),
    )


def one_of(*names: str | None) -> Rule:
    """One of these names."""
    quoted = [f'"{name}"' if isinstance(name, str) else str(name) for name in names]
    listed = f"be {', '.join(quoted[:-1])} or {quoted[-1]}"
    text = f"be one of {', '.join(map(str, names))}" if len(names) > 2 and None not in names else listed
    return Rule(text, lambda value: (value is None or isinstance(value, str)) and value in names)


def optional(rule: Rule, text: str | None = None) -> Rule:
    """None, or a value of which `rule` holds."""
    return Rule(text or rule.text, lambda value: value is None or rule.holds(value))


POSITIVE = number("be > 0", lambda value: value > 0)
NOT_NEGATIVE = number("be >= 0", lambda value: value >= 0)
SHARE = number("lie in (0, 1)", lambda value: 0 < value < 1)
SIZE = whole(1, 65536)  # of a layer
SIZES = several(SIZE, "be a sequence of at most 16 whole numbers in 1..65536")
SEED = whole(0, 2**32 - 1)
FLAG = Rule("be True or False", lambda value: isinstance(value, bool | np.bool_ | int))


def check(name: str, value: object, rule: Rule) -> None:
    """Raise a ValueError with the name, what is allowed and what came if a rule does not hold."""
    try:
        holds = bool(rule.holds(value))
    except (TypeError, ValueError, OverflowError):
        holds = False
    if not holds:
        came = repr(value)
        raise ValueError(f"{name} must {rule.text}; got {came if len(came) <= 80 else came[:77] + '...'}")


def check_parameters(owner: object) -> None:
    """Check the attributes of an object by the `parameter_rules` of its class and of the class's bases.

    A class that lists no rule for a parameter leaves it unchecked; a class that lists it again changes the rule.
    """
    rules: dict[str, Rule] = {}
    for kind in reversed(type(owner).__mro__):
        rules |= vars(kind).get("parameter_rules", {})
    for name, rule in rules.items():
        check(name, getattr(owner, name), rule)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)
