"""The process in which `lamae grade` runs a student's notebook, and the only place where a student's code runs.

The grader keeps the checks to itself. It sends this process the notebook's cells, and then the arguments of each call
of an answer; what comes back are values: numbers, arrays and texts as JSON. Nothing that a student's code does here can
reach the check's expected values or its comparison. Gradients do not pass, only whether a tensor requires them.

Run by :mod:`lamae_tutorial.teaching.grading`: python -m lamae_tutorial.teaching.sandbox
"""

import ast
import base64
import json
import os
import re
import symtable
import sys
import warnings
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

MOST_BYTES = 2**26  # of one message
_CALL = re.compile(r"""^check\(\s*["'](\d+\.\d+)["']\s*,\s*([^\n]+)\)""", re.M)
_LIMITS = {"RLIMIT_DATA": 2**32, "RLIMIT_FSIZE": 2**26, "RLIMIT_NPROC": 4096, "RLIMIT_CORE": 0}


def checks(source: str) -> list[tuple[str, str]]:
    """Return the exercises that a cell checks, each with the answer as an expression."""
    tree = _parsed(source)
    if tree is None:
        return _CALL.findall(source)  # the reader is told about the error when the cell runs
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 2]
    return [
        (str(exercise.value), ast.unparse(answer))
        for call in calls
        for exercise, answer in [call.args]
        if getattr(call.func, "id", getattr(call.func, "attr", "")) == "check" and isinstance(exercise, ast.Constant)
    ]


def needed(sources: Sequence[str], targets: Collection[int]) -> list[int]:
    """Return the cells to run for some of them: these, and all before them that define a name that is needed.

    A chapter trains networks for a minute; its exercises mostly need the imports alone.
    """
    names: set[str] = set()
    found = []
    for number in reversed(range(len(sources))):
        stored, loaded = names_of(sources[number])
        if number in targets or stored & names:
            found.append(number)
            names |= loaded
    return found[::-1]


def names_of(source: str) -> tuple[set[str], set[str]]:
    """Return the global names that a cell defines or changes, and those that it reads. Nothing if it is no Python."""
    tree = _parsed(source)
    if tree is None:
        return set(), set()
    stored: set[str] = set()
    loaded: set[str] = set()
    scopes = [symtable.symtable(ast.unparse(tree), "cell", "exec")]
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        for symbol in scope.get_symbols():
            if symbol.is_global() or scope.get_type() == "module":
                if symbol.is_assigned() or symbol.is_imported():
                    stored.add(symbol.get_name())
                if symbol.is_referenced():
                    loaded.add(symbol.get_name())
    for node in ast.walk(tree):  # x.y = ... and x[y] = ... change x
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            place: ast.expr = node
            while isinstance(place, ast.Attribute | ast.Subscript):
                place = place.value
            if isinstance(place, ast.Name):
                stored.add(place.id)
    return stored, loaded


def _parsed(source: str) -> ast.Module | None:
    from IPython.core.inputtransformer2 import TransformerManager

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(TransformerManager().transform_cell(source))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def encode(value: Any) -> Any:
    """Return what JSON can hold of a value: numbers, texts, arrays, tensors, lists of them; else the type's name."""
    torch = sys.modules.get("torch")
    if value is None or value is ...:
        return None
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and len(value) < 10_000:
        return {"items": [encode(each) for each in value]}
    is_tensor, grad = False, False
    if torch is not None and isinstance(value, torch.Tensor):
        is_tensor, grad = True, bool(value.requires_grad)
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if (
        not isinstance(value, np.ndarray | np.generic)
        or value.dtype.kind not in "biuf"
        or value.nbytes > MOST_BYTES // 2
    ):
        return {"other": type(value).__name__}
    return {
        "array": base64.b64encode(np.ascontiguousarray(value).tobytes()).decode(),
        "dtype": value.dtype.str,
        "shape": list(value.shape),
        "tensor": is_tensor,
        "grad": grad,
    }


def decode(value: Any) -> Any:
    """Return the value that was encoded. It may come from a student's code: what is malformed raises a ValueError."""
    if not isinstance(value, dict):
        return value
    if "items" in value:
        return [decode(each) for each in value["items"]]
    if "other" in value:
        return type(name_of(value["other"], "object"), (), {})()
    try:
        if not re.fullmatch(r"[<|>][biuf]\d+", value["dtype"]):
            raise ValueError(value["dtype"])
        content = np.frombuffer(base64.b64decode(value["array"]), np.dtype(value["dtype"]))
        array = content.reshape(value["shape"]).copy()
        if not value["tensor"]:
            return array
        import torch

        tensor = torch.from_numpy(array)
        return tensor.requires_grad_() if value["grad"] and tensor.is_floating_point() else tensor
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"no array: {error}") from None


def name_of(text: Any, default: str) -> str:
    """Return a type's name that came from a student's code, or the default if it is none."""
    return text if isinstance(text, str) and text.isidentifier() and len(text) < 60 else default


def _limit() -> None:
    with suppress(ImportError):  # not on Windows
        import resource

        for name, most in _LIMITS.items():
            kind = getattr(resource, name)
            now = resource.getrlimit(kind)[1]
            most = most if now == resource.RLIM_INFINITY else min(most, now)
            with suppress(ValueError, OSError):
                resource.setrlimit(kind, (most, most))


def _answers(cells: Sequence[str]) -> tuple[list[dict[str, str]], set[int]]:
    """Return the answers that cells check, and the numbers of these cells."""
    found = [(number, each) for number, source in enumerate(cells) for each in checks(source)]
    answers = [{"exercise": exercise, "expression": expression} for _, (exercise, expression) in found]
    return answers, {number for number, _ in found}


def _run(cells: Sequence[str], chosen: Iterable[int]) -> tuple[dict[str, Any], list[str]]:
    """Run some of the cells, all of them even if one fails. Return the names and the errors."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    errors = []
    for number in chosen:
        done = shell.run_cell(cells[number], silent=True)
        error = done.error_before_exec or done.error_in_exec
        if error is not None:
            errors.append(f"code cell {number + 1} stopped with {type(error).__name__}: {error}"[:300])
    return shell.user_ns, errors


def main() -> None:
    """Serve one notebook. What its code prints or reads goes nowhere."""
    _limit()
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)

    def reply(message: Any) -> None:
        replies.write(json.dumps(message).encode() + b"\n")
        replies.flush()

    order = json.loads(requests.readline())
    cells = order["cells"]
    answers, targets = _answers(cells)
    reply({"answers": answers})
    upto = range(max(targets, default=-1) + 1)
    chosen = list(upto) if order["whole"] else needed(cells, targets)
    names, errors = _run(cells, chosen)
    reply({"errors": errors, "left_out": len(chosen) < len(upto)})
    for line in requests:
        order = json.loads(line)
        try:
            answer = eval(order["expression"], names)
            if "arguments" not in order:
                reply({"callable": callable(answer), "value": encode(answer)})
                continue
            arguments = [decode(each) for each in order["arguments"]]
            value = encode(answer(*arguments))
            reply({"value": value, "arguments": [encode(each) for each in arguments]})
        except BaseException as error:  # a student's code may raise anything, SystemExit too
            reply({"error": type(error).__name__, "message": f"{error}"[:300]})


if __name__ == "__main__":
    main()
