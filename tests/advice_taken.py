"""A text with the advice of a report taken: each line that is quoted is written as it should be."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from chalkgrad.diagnose.report import Fault

LEFT_OUT = "(leave this line out)"


def advice_taken(text: str, faults: Sequence[Fault], name: str) -> tuple[str, set[str]]:
    """The text, and the inputs for whose gradients every fault came with lines to write."""
    lines = [line.encode() for line in text.splitlines()]  # columns count bytes
    before: dict[int, list[bytes]] = {}
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    function = next(n for n in functions if n.name == (name or "backward"))  # of a class, its method
    changes = dict.fromkeys((f.yours, f.fix) for f in faults if f.yours and f.fix)
    pairs = dict.fromkeys(pair for yours, fix in changes for pair in _one_by_one(yours, fix))
    for yours, fix in sorted(pairs, key=lambda p: _place(function, p[0])[0], reverse=True):
        (first, left), (last, right) = _place(function, yours)
        indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
        *more, new = (b"pass" if fix == LEFT_OUT else fix.encode()).splitlines()
        before.setdefault(first, []).extend(indent + one for one in more)
        lines[first : last + 1] = [lines[first][:left] + new + lines[last][right:], *[b""] * (last - first)]
    whole = [one for n, line in enumerate(lines) for one in (*before.get(n, ()), line)]
    given = {f.argument for f in faults if f.argument is not None and f.fix}
    return b"\n".join(whole).decode(), {a for a in given if all(f.yours for f in faults if f.argument == a)}


def _one_by_one(yours: str, fix: str) -> list[tuple[str, str]]:
    old, new = yours.splitlines(), fix.splitlines()
    return list(zip(old, new, strict=True)) if len(old) > 1 and len(old) == len(new) else [(yours, fix)]


def _place(function: ast.FunctionDef, text: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where a line, the head of a loop, or what is returned stands: from row and column to row and column."""
    for node in ast.walk(function):
        head = isinstance(node, ast.For | ast.If) and ast.unparse(node).splitlines()[0] == text
        if head:
            assert isinstance(node, ast.For | ast.If)
            return (node.lineno - 1, node.col_offset), (node.lineno - 1, 10_000)
        if isinstance(node, ast.stmt | ast.expr) and ast.unparse(node) == text:
            return (node.lineno - 1, node.col_offset), ((node.end_lineno or 0) - 1, node.end_col_offset or 0)
    raise AssertionError(f"no line of the text is {text!r}")
