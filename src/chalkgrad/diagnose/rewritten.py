"""A line of the user's text with one of its expressions written otherwise."""

from __future__ import annotations

import ast
import copy
from collections.abc import Container


def rewritten(statement: ast.stmt, node: ast.expr, new: str, known: Container[str]) -> tuple[str, str]:
    """The line that holds an expression, as it is and with the expression written otherwise.

    Both are empty where the new text reads a value that the text has no variable for.
    """
    try:
        written = ast.parse(new, mode="eval").body
    except SyntaxError:
        return "", ""
    if any(isinstance(n, ast.Name) and n.id not in known for n in ast.walk(written)):
        return "", ""
    kinds = ast.Assign | ast.AugAssign | ast.Return | ast.Expr
    lines = [s for s in ast.walk(statement) if isinstance(s, kinds)]
    line = next((s for s in lines if any(_same(n, node) for n in ast.walk(s))), None)
    if line is None:
        return "", ""
    right = _Put(node, written).visit(copy.deepcopy(line))
    return ast.unparse(line), ast.unparse(ast.fix_missing_locations(right))


def _same(one: ast.AST, other: ast.expr) -> bool:
    """Whether two nodes are the same place of a text."""
    places = [(getattr(n, "lineno", 0), getattr(n, "col_offset", 0), getattr(n, "end_lineno", 0),
               getattr(n, "end_col_offset", 0)) for n in (one, other)]  # fmt: skip
    return type(one) is type(other) and places[0] == places[1]


class _Put(ast.NodeTransformer):
    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self.old = old
        self.new = new

    def visit(self, node: ast.AST) -> ast.AST:
        if _same(node, self.old):
            return self.new
        found = self.generic_visit(node)
        assert isinstance(found, ast.AST)
        if isinstance(found, ast.BinOp) and isinstance(self.new, ast.Constant) and self.new.value == 1:
            if isinstance(found.op, ast.Mult | ast.Div) and found.right is self.new:
                return found.left  # dx rather than dx / 1
            if isinstance(found.op, ast.Mult) and found.left is self.new:
                return found.right
        return found
