"""A line of the user's text with one of its expressions written otherwise."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Container, Sequence

LEFT_OUT = "(leave this line out)"
"""What a line that does nothing any more should be."""

NOTHING = {ast.Mult: 1, ast.Div: 1, ast.Add: 0, ast.Sub: 0}


def tidy(text: str) -> str:
    """An expression without brackets that it does not need; other text as it is."""
    try:
        return ast.unparse(ast.parse(text, mode="eval"))
    except SyntaxError:
        return text


def rewritten(
    statement: ast.stmt, changes: Sequence[tuple[ast.expr, str]], known: Container[str]
) -> tuple[str, str]:
    """The line that holds the first expression, as it is and with those of its expressions written otherwise.

    Both are empty where a new text reads a value that the text has no variable for.
    """
    try:
        written = [(old, ast.parse(new, mode="eval").body) for old, new in changes]
    except SyntaxError:
        return "", ""
    if any(isinstance(n, ast.Name) and n.id not in known for _, w in written for n in ast.walk(w)):
        return "", ""
    line = _line_of(statement, changes[0][0])
    if line is None:
        return "", ""
    right: ast.AST = copy.deepcopy(line)
    for old, new in reversed(written):  # inner ones, which stand later, first
        right = _Put(old, new).visit(right)
    match right:
        case ast.AugAssign(op=op, value=ast.Constant(value)) if value == NOTHING.get(type(op)):
            return ast.unparse(line), LEFT_OUT
    yours, fix = ast.unparse(line), ast.unparse(ast.fix_missing_locations(_added_to(right)))
    return (
        (yours.splitlines()[0], fix.splitlines()[0]) if isinstance(line, ast.For | ast.If) else (yours, fix)
    )


def quoted(statement: ast.stmt, node: ast.expr, new: str) -> tuple[str, str]:
    """An expression and what it should be, with as much around it as tells it from others of its line."""
    line, text = _line_of(statement, node), ast.unparse(node)
    around = [n for n in ast.walk(line) if isinstance(n, ast.expr)] if line is not None else []
    texts = Counter(ast.unparse(n) for n in around)
    if texts[text] < 2:
        return text, tidy(new)
    try:
        put = ast.parse(new, mode="eval").body
    except SyntaxError:
        return text, tidy(new)
    inner = (n for n in reversed(around) if any(_same(m, node) for m in ast.walk(n)))
    whole = next((n for n in inner if texts[ast.unparse(n)] < 2), None)
    if whole is None:
        return text, tidy(new)
    right = ast.fix_missing_locations(_Put(node, put).visit(copy.deepcopy(whole)))
    return ast.unparse(whole), ast.unparse(right)


def of_method(yours: str, fix: str) -> tuple[str, str]:
    """The `return` of a method, which stands for a dictionary of gradients in what was made of it."""
    *before, new = fix.splitlines() or [""]
    try:
        old, other = (ast.parse(line).body for line in (yours, new))
    except SyntaxError:
        return yours, fix
    match old, other:
        case [ast.Return(ast.Dict(values=one))], [ast.Return(ast.Dict(values=two))] if len(one) == len(two):
            apart = [(ast.unparse(a), ast.unparse(b)) for a, b in zip(one, two, strict=True)]
            apart = [(a, b) for a, b in apart if a != b]
            if len(apart) == 1:
                return f"return {apart[0][0]}", "\n".join([*before, f"return {apart[0][1]}"])
    return yours, fix


def _line_of(statement: ast.stmt, node: ast.expr) -> ast.stmt | None:
    """The line of a statement that holds an expression: of a loop or condition the first."""
    kinds = ast.Assign | ast.AugAssign | ast.Return | ast.Expr
    lines = [s for s in ast.walk(statement) if isinstance(s, kinds)]
    heads = [_head(s) for s in ast.walk(statement) if isinstance(s, ast.For | ast.If)]
    return next((s for s in (*lines, *heads) if any(_same(n, node) for n in ast.walk(s))), None)


def _head(block: ast.For | ast.If) -> ast.For | ast.If:
    """A loop or a condition without what it holds."""
    head = copy.copy(block)
    head.body, head.orelse = [ast.Pass()], []
    return head


def _added_to(line: ast.AST) -> ast.AST:
    """x += e for x = x + e."""
    match line:
        case ast.Assign(
            targets=[ast.Name() | ast.Subscript() as target], value=ast.BinOp(left, ast.Add(), right)
        ):
            if ast.unparse(target) == ast.unparse(left):
                return ast.AugAssign(target, ast.Add(), right)
    return line


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
