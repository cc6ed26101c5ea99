"""The classes of all detectors; a class joins when it is defined (`Detector.__init_subclass__`)."""

from importlib.metadata import entry_points
from typing import Any

ENTRY_POINTS = "lamae_tutorial.detectors"  # the group in which an installed package names its detectors
_OWN = __name__.partition(".")[0] + "."

_classes: dict[tuple[str, str], type[Any]] = {}  # by name and module


def register(new: type[Any]) -> None:
    """Add a class, in place of one of its name in its module.

    Raises
    ------
    TypeError
        One of the package's own detectors has that name: a saved detector is found by it.
    """
    taken = [module for name, module in _classes if name == new.__name__ and module.startswith(_OWN)]
    if taken and new.__module__ not in taken:
        raise TypeError(f"{new.__module__}.{new.__name__}: this package has a detector of that name; choose another")
    _classes[new.__name__, new.__module__] = new


def find_class(name: str, module: str) -> type[Any]:
    """The class of this name that was defined in this module or, if there is but one of that name, anywhere.

    Those of installed packages are looked for only if none of that name was defined so far.

    Raises
    ------
    LookupError
        There is none, or several in other modules.
    """
    if not _modules(name):
        for point in entry_points(group=ENTRY_POINTS):
            point.load()
    modules = _modules(name)
    if module not in modules:
        if len(modules) != 1:
            known = f"several, of {', '.join(modules)}, are" if modules else "none is"
            raise LookupError(f"holds a {name} of the module {module}; of that name {known} known: import it first")
        (module,) = modules
    return _classes[name, module]


def _modules(name: str) -> list[str]:
    return [module for known, module in _classes if known == name]
