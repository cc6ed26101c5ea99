"""The registry of all detector classes. Defining a class registers it (`Detector.__init_subclass__`)."""

import hashlib
from importlib.metadata import entry_points
from importlib.util import MAGIC_NUMBER
from types import CodeType, FunctionType
from typing import Any

ENTRY_POINTS = "lamae_tutorial.detectors"  # the group in which an installed package names its detectors
_OWN = __name__.partition(".")[0] + "."

_classes: dict[tuple[str, str], type[Any]] = {}  # by name and module


def register(new: type[Any]) -> None:
    """Add a class. It replaces a class of the same name and module.

    Raises
    ------
    TypeError
        A detector of this package has the same name. Names must differ because saved detectors are found by name.
    """
    taken = [module for name, module in _classes if name == new.__name__ and module.startswith(_OWN)]
    if taken and new.__module__ not in taken:
        raise TypeError(f"{new.__module__}.{new.__name__}: this package has a detector of that name: rename yours")
    _classes[new.__name__, new.__module__] = new


def find_class(name: str, module: str) -> type[Any]:
    """Return the class with this name from this module or, if only one class has this name, from any module.

    If no class with this name is known, the entry points of installed packages are loaded first.

    Raises
    ------
    LookupError
        No class has this name, or several classes of other modules have it.
    """
    if not _modules(name):
        for point in entry_points(group=ENTRY_POINTS):
            point.load()
    modules = _modules(name)
    if module not in modules:
        if len(modules) != 1:
            others = f" (this name is known from {', '.join(modules)})" if modules else ""
            raise LookupError(f"its class {name} of the module {module} is not known{others}: import {module} first")
        (module,) = modules
    return _classes[name, module]


def _modules(name: str) -> list[str]:
    return [module for known, module in _classes if known == name]


def code_of(kind: type[Any]) -> str | None:
    """Return the version of Python's bytecode and a hash of a class's methods; None for a class of this package.

    Methods of its bases outside this package count too; comments and the text of docstrings do not.
    """
    bases = [base for base in kind.__mro__ if (base.__name__, base.__module__) in _classes]
    foreign = [base for base in bases if not base.__module__.startswith(_OWN)]
    methods = [
        (name, _parts(method.__code__, method.__doc__))
        for base in foreign
        for name, method in sorted(vars(base).items())
        if isinstance(method, FunctionType) and not name.startswith("__")
    ]
    return f"{MAGIC_NUMBER.hex()} {hashlib.sha256(repr(methods).encode()).hexdigest()}" if foreign else None


def same_code(saved: object, kind: type[Any]) -> bool:
    """Whether a class has the code that :func:`code_of` returned, as far as the bytecode of this Python shows it."""
    code = code_of(kind)
    return not isinstance(saved, str) or code is None or saved.split()[:1] != code.split()[:1] or saved == code


def _parts(code: CodeType, doc: str | None = None) -> tuple[object, ...]:
    constants = [
        _parts(value)
        if isinstance(value, CodeType)
        else sorted(map(repr, value))  # its order changes from process to process
        if isinstance(value, frozenset)
        else repr(value)
        for value in code.co_consts
        if doc is None or value != doc
    ]
    return code.co_code, code.co_names, constants
