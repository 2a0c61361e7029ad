"""The user's function with lines of its text written otherwise, as a reader of a report would write them."""

from __future__ import annotations

import ast
import copy
import functools
import types
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice, product
from typing import Any

from chalkgrad.diagnose.own_source import tree_of
from chalkgrad.diagnose.own_variables import plain
from chalkgrad.diagnose.rewritten import LEFT_OUT

Change = tuple[str, str]
"""A line, or what is returned for an input, as it is and as it should be; lines in front may define names."""

CHOICES = 8
"""Ways tried to tell which of several equal lines is meant."""

LINES = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Return | ast.Expr
HEADS = ast.For | ast.If


def applied(function: Any, changes: Sequence[Change]) -> Iterator[Any]:
    """The function with the changes made, once for each place that a change may mean.

    Nothing where its source cannot be read, a line is not found, or a new one is no Python.
    """
    tree = _as_function(tree_of(function))
    if tree is None:
        return
    nodes = list(ast.walk(tree))
    try:
        written = [ast.parse(_whole(new)).body for _, new in changes]
    except SyntaxError:
        return
    places = [_places(nodes, old) for old, _ in changes]
    for chosen in islice(product(*places), CHOICES):
        if len(set(chosen)) < len(chosen):
            continue
        other = copy.deepcopy(tree)
        same = list(ast.walk(other))
        put = _Put({id(same[n]): new for n, new in zip(chosen, written, strict=True)})
        try:
            made = _compiled(function, put.visit(other))
        except Exception:  # noqa: BLE001 (a default of the user's may need what is gone by now)
            continue
        if made is not None:
            yield made


def _as_function(tree: ast.FunctionDef | ast.Lambda | None) -> ast.FunctionDef | None:
    """A lambda as a function of one line."""
    if not isinstance(tree, ast.Lambda):
        return tree
    body: list[ast.stmt] = [ast.copy_location(ast.Return(tree.body), tree.body)]
    return ast.copy_location(ast.FunctionDef("backward", tree.args, body, []), tree)


def _whole(text: str) -> str:
    """Text that can be parsed: the head of a loop needs a body."""
    if text == LEFT_OUT:
        return "pass"
    return f"{text}\n    pass" if text.endswith(":") else text


def _places(nodes: Sequence[ast.AST], text: str) -> list[int]:
    """The nodes that are written as a text: lines, or else the last of the expressions."""
    heads = [n for n, node in enumerate(nodes) if isinstance(node, HEADS)]
    lines = [n for n, node in enumerate(nodes) if isinstance(node, LINES)]
    found = [n for n in lines if ast.unparse(nodes[n]) == text]
    found += [n for n in heads if ast.unparse(nodes[n]).splitlines()[0] == text]
    if not found:
        within = {id(e) for n in lines if isinstance(nodes[n], ast.Return) for e in ast.walk(nodes[n])}
        found = [n for n, e in enumerate(nodes)
                 if isinstance(e, ast.expr) and id(e) in within and ast.unparse(e) == text]  # fmt: skip
    return found


class _Put(ast.NodeTransformer):
    """Puts statements in place of a statement or of an expression, whose value the last one gives."""

    def __init__(self, new: dict[int, list[ast.stmt]]) -> None:
        self.new = new
        self.before: list[ast.stmt] = []

    def visit(self, node: ast.AST) -> Any:
        new = self.new.get(id(node))
        if new is None:
            found = self.generic_visit(node)
            if isinstance(node, ast.stmt) and self.before:
                found, self.before = [*self.before, node], []  # type: ignore[assignment]
            return found
        if isinstance(node, HEADS):
            self.generic_visit(node)
            return _with_head(node, new[-1])
        if isinstance(node, ast.stmt):
            return new
        self.before += new[:-1]
        return getattr(new[-1], "value", node)


def _with_head(node: ast.For | ast.If, head: ast.stmt) -> ast.stmt:
    """A loop or a condition of which the first line is another."""
    match node, head:
        case ast.For(), ast.For(target, through):
            node.target, node.iter = target, through
        case ast.If(), ast.If(test):
            node.test = test
    return node


def _compiled(function: Any, tree: ast.FunctionDef) -> Any:
    """A function of another text that is called as the user's is; None where that is of an unknown kind."""
    own = plain(function)
    tree.decorator_list = []
    ast.fix_missing_locations(tree)
    names = dict(own.__globals__)
    for name, cell in zip(own.__code__.co_freevars, own.__closure__ or (), strict=False):
        names[name] = cell.cell_contents
    with warnings.catch_warnings():  # what the text is warned about was said when it was read
        warnings.simplefilter("ignore")
        exec(compile(ast.Module([tree], []), "<applied>", "exec"), names)
    made = names[tree.name]
    made.__dict__.update({**own.__dict__, "__tree__": tree} if hasattr(own, "__tree__") else own.__dict__)
    return _like(function, own, made)


def _like(function: Any, own: Any, made: Any) -> Any:
    """What is to the made function as `function` is to its own."""
    if function is own:
        return made
    if isinstance(function, functools.partial):
        return functools.partial(_like(function.func, own, made), *function.args, **function.keywords)
    if isinstance(function, types.MethodType):
        return types.MethodType(made, function.__self__)
    if hasattr(function, "bwd") and hasattr(function, "fwd"):  # jax.custom_vjp
        other = copy.copy(function)
        other.bwd = made
        return other
    if isinstance(function, type):  # torch.autograd.Function
        return type(function)(function.__name__, (function,), {"backward": staticmethod(made)})
    return None
