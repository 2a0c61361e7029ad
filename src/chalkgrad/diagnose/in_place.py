"""Where a function writes into an array of its caller's: `dx = dout`, then `dx[x < 0] = 0`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from chalkgrad.diagnose.own_source import tree_of

VIEWS = frozenset({"reshape", "ravel", "view", "transpose", "squeeze", "swapaxes", "asarray"})
"""Methods, and functions of NumPy, that give the same memory again."""

WRITING = frozenset(
    {"fill", "sort", "itemset", "partition", "clip_", "mul_", "add_", "zero_", "masked_fill_"}
)
"""Methods that change their array."""


@dataclass(frozen=True, slots=True)
class Write:
    """A statement that writes into an argument.

    Attributes:
        text: What it does, in words.
        yours: The line to change.
        fix: That line as it should be.
    """

    text: str
    yours: str
    fix: str


def write_into(
    function: Callable[..., Any] | None, names: Collection[str], copy: str = "copy"
) -> Write | None:
    """The first statement of a function's text that writes into one of its arguments, or what they hold.

    Args:
        function: The user's.
        names: The arguments that are changed; where none of them is an argument's name, any may be it.
        copy: The method that copies an array; PyTorch calls it clone.
    """
    tree = tree_of(function) if function is not None else None
    if not isinstance(tree, ast.FunctionDef):
        return None
    own = [a.arg for a in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs)]
    text = _Text({n: (n, None) for n in own if n in names or not set(own) & set(names)}, copy)
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.stmt)]
    for node in sorted(nodes, key=lambda n: n.lineno):
        found = text.written(node)
        if found:
            return text.told(node, found)
        text.follow(node)
    return None


class _Text:
    """Which variables are arguments, or share their memory, while a text is read.

    Attributes:
        known: By variable the argument, and the assignment that made the variable.
    """

    def __init__(self, known: dict[str, tuple[str, ast.Assign | None]], copy: str) -> None:
        self.known, self.copy = known, copy

    def follow(self, node: ast.stmt) -> None:
        """What an assignment makes of its variables."""
        if not isinstance(node, ast.Assign):
            return
        whose = self._shared(node.value)
        for target in node.targets:
            alone = isinstance(target, ast.Name)
            for name in [target] if alone else target.elts if isinstance(target, ast.Tuple) else []:
                if isinstance(name, ast.Name):
                    self.known.pop(name.id, None)
                    if whose:
                        self.known[name.id] = whose, node if alone else None

    def _shared(self, value: ast.expr) -> str:
        """The argument whose memory an expression shares; empty if none."""
        match value:
            case ast.Name(name) if name in self.known:
                return self.known[name][0]
            case ast.Subscript(of) | ast.Attribute(of, "T"):
                return self._shared(of)
            case ast.Call(ast.Attribute(ast.Name("np"), verb), [of, *_]) if verb in VIEWS:
                return self._shared(of)
            case ast.Call(ast.Attribute(of, verb)) if verb in VIEWS:
                return self._shared(of)
        return ""

    def written(self, node: ast.stmt) -> str:
        """The variable that a statement writes into, where that is an argument."""
        match node:
            case ast.Assign(targets):
                bases = [t.value for t in targets if isinstance(t, ast.Subscript)]
            case ast.AugAssign(target):
                bases = [target.value if isinstance(target, ast.Subscript) else target]
            case ast.Expr(ast.Call(ast.Attribute(ast.Attribute(), "at"), [of, *_])):  # np.add.at(dout, ...)
                bases = [of]
            case ast.Expr(ast.Call(ast.Attribute(of, verb))) if verb in WRITING:
                bases = [of]
            case _:
                bases = []
        calls = [n for n in ast.walk(node) if isinstance(n, ast.Call)] if not hasattr(node, "body") else []
        bases += [k.value for c in calls for k in c.keywords if k.arg == "out"]
        names = [b.id for b in bases if isinstance(b, ast.Name) and b.id in self.known]
        return names[0] if names else ""

    def told(self, node: ast.stmt, name: str) -> Write:
        """The line in words, and what to write instead."""
        whose, made = self.known[name]
        line = ast.unparse(node)
        told = f"line {node.lineno}, {line}, writes into {name}"
        told += f", which is {whose} itself" if made is not None and name != whose else ""
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            fix = ast.Assign(
                [node.target], ast.BinOp(ast.Name(name, ast.Load()), node.op, node.value), lineno=0
            )
            return Write(told, line, ast.unparse(fix))
        if made is not None:
            return Write(told, ast.unparse(made), f"{name} = {ast.unparse(made.value)}.{self.copy}()")
        return Write(told, line, f"{name} = {name}.{self.copy}()\n{line}")
