"""The user's own line beside the right one, in the user's own names, where the source can be read."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from chalkgrad.diagnose.names import match, match_key
from chalkgrad.diff import for_code
from chalkgrad.emit.module_text import source
from chalkgrad.emit.names import identifier
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Program


class OwnSource:
    """What can be read of a user's function.

    Args:
        function: The backward.
        program: The layer's forward.
    """

    def __init__(self, function: Callable[..., Any], program: Program) -> None:
        self.program = program
        self.tree = _tree(function)

    def line(self, argument: str) -> str:
        """The last line that computes an input's gradient; empty if it cannot be told."""
        element = self._element(argument)
        if element is None or self.tree is None:
            return ""
        if not isinstance(element, ast.Name):
            return ast.unparse(element)
        found = ""
        for node in ast.walk(self.tree):
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AugAssign)
                else []
            )
            if any(isinstance(t, ast.Name) and t.id == element.id for t in targets):
                found = ast.unparse(node)
        return found

    def right_line(self, argument: str) -> str:
        """The derivation's code for it in the user's names; empty where these cannot be told."""
        if self.tree is None:
            return ""
        theirs = {n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name)}
        arguments = [a.arg for a in self.tree.args.args]
        theirs |= set(arguments)
        ours = emitted_lines(self.program).get(argument, "")
        names = {identifier(t.name): self._theirs(t.name, theirs) for t in self.program.inputs}
        outputs = [t for t in self.program.outputs if t.dtype == "float"]
        for place, t in enumerate(outputs):
            names[identifier(f"d{t.name}")] = arguments[place] if place < len(arguments) else None
        element = self._element(argument)
        own = f"d{identifier(argument)}"
        names[own] = element.id if isinstance(element, ast.Name) else own
        used = {
            n.id
            for n in (ast.walk(ast.parse(ours)) if ours else ())
            if isinstance(n, ast.Name) and n.id != "np"
        }
        if not ours or any((names.get(u) or (u if u in theirs else None)) is None for u in used):
            return ""
        return re.sub(r"[^\W\d]\w*", lambda m: names.get(m[0]) or m[0], ours)

    def _theirs(self, name: str, theirs: set[str]) -> str | None:
        if name in theirs:
            return name
        return next((n for n in sorted(theirs) if match(n, [name]) == name), None)

    def _element(self, argument: str) -> ast.expr | None:
        """The expression that is returned for an input."""
        if self.tree is None:
            return None
        returns = [n for n in ast.walk(self.tree) if isinstance(n, ast.Return) and n.value is not None]
        value = returns[-1].value if returns else None
        names = [t.name for t in self.program.inputs]
        floats = [t.name for t in self.program.inputs if t.dtype == "float"]
        if isinstance(value, ast.Dict):
            for key, element in zip(value.keys, value.values, strict=True):
                if isinstance(key, ast.Constant) and match_key(str(key.value), names) == argument:
                    return element
            return None
        if isinstance(value, ast.Tuple | ast.List):
            return self._placed(argument, value.elts, names, floats)
        return value if floats == [argument] else None

    def _placed(
        self, argument: str, elements: Sequence[ast.expr], names: list[str], floats: list[str]
    ) -> ast.expr | None:
        order = names if len(elements) == len(names) else floats
        if argument not in order or len(elements) < len(order):
            return None
        return elements[order.index(argument)]


def _tree(function: Callable[..., Any]) -> ast.FunctionDef | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return None
    return next((n for n in tree.body if isinstance(n, ast.FunctionDef)), None)


@lru_cache(64)
def emitted_lines(program: Program) -> dict[str, str]:
    """The code of each input's gradient, where it is one assignment."""
    try:
        safe, backward = for_code(program)
        tree = ast.parse(source(safe, backward, "layer"))
    except (ChalkgradError, SyntaxError):
        return {}
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree.body[-1]):
        for t in program.inputs:
            own = f"d{identifier(t.name)}"
            if isinstance(node, ast.Assign | ast.AugAssign) and re.match(rf"{own}\b", ast.unparse(node)):
                found.setdefault(t.name, []).append(ast.unparse(node))
    return {name: lines[0] for name, lines in found.items() if len(lines) == 1}
