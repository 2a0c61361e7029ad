"""The user's own function made so that each of its expressions can be watched and changed.

Compiled once: every arithmetic expression of the body passes a hook, which hands its value on unless a
change of that place is being tried. So thousands of small changes cost a call each, and no compilation.
"""

from __future__ import annotations

import ast
import copy
import operator
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

import numpy as np

from chalkgrad.diagnose.capture import duplicate
from chalkgrad.diagnose.own_source import tree_of
from chalkgrad.diagnose.own_variables import plain

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "Pow": operator.pow,
    "MatMult": operator.matmul,
}
REDUCED = ("sum", "mean", "max", "min")
"""Functions of all entries along some axes."""
HOOK = "__watched__"

Scope = Mapping[str, Any]
Change = Callable[[list[Any], Scope], Any]
"""From the values of a place's operands and the variables in scope to the changed value."""


@dataclass(slots=True)
class Place:
    """One expression of the user's text.

    Attributes:
        node: Its syntax.
        kind: The operation ("Add", ...), "sum", "mean", "max" or "min" for such a call, "entries" for
            those of an array that a statement writes, "" for any other expression.
        statement: The number of the statement that holds it.
        line: The statement's line in the file.
        above: The number of the place of which it is an operand; -1 if there is none.
        target: The variable that the statement assigns; empty if it is none.
        stored: The part of an array that it assigns, as dx[i, j]; empty if it is none, or is added to.
        operands: What the operands were in the first run; the value itself where there is no operation.
        value: What it was.
        scope: The variables at that time.
        step: The number of the statement of the function's body that holds it, loops and all.
        looped: Whether it stands in a loop.
        augments: The operation of x *= e whose e it is; empty otherwise.
    """

    node: ast.expr
    kind: str
    statement: int
    line: int
    above: int = -1
    target: str = ""
    stored: str = ""
    operands: list[Any] = field(default_factory=list)
    value: Any = None
    scope: dict[str, Any] = field(default_factory=dict)
    step: int = 0
    looped: bool = False
    augments: str = ""


class Watched:
    """A function with hooks.

    Args:
        places: Its expressions.
        names: The globals that it sees.
        body: Its statements, each as written and with hooks.

    Attributes:
        function: The new function, of the same arguments.
        active: The changes that are being tried, by place.
        recording: Whether the values of all places are kept.
        left: The variables when it last returned.
        begun: The variables with which it last began.
        passes: How often the places of each statement were passed while they were recorded.
    """

    def __init__(
        self, places: list[Place], names: dict[str, Any], body: list[tuple[ast.stmt, ast.stmt]]
    ) -> None:
        self.function: Callable[..., Any] = print
        self.places = places
        self.names = names
        self.body = body
        self.begun: dict[str, Any] = {}
        self.active: dict[int, Change] = {}
        self.recording = False
        self.left: dict[str, Any] = {}
        self.passes: Counter[int] = Counter()

    @staticmethod
    def of(function: Any) -> Watched | None:
        """The watched twin of a plain function; None where its source cannot be read or does not fit."""
        own = plain(function)
        tree = tree_of(own)
        if own is not function or not isinstance(own, FunctionType) or not isinstance(tree, ast.FunctionDef):
            return None
        refused = ast.While | ast.Yield | ast.YieldFrom | ast.Await | ast.Global | ast.Nonlocal | ast.Import
        if own.__code__.co_freevars or any(isinstance(n, refused) for n in ast.walk(tree)):
            return None  # what may not end, or reaches outside, is not run in another form
        made = copy.deepcopy(tree)
        made.decorator_list = []
        hooks = _Hooks(frozenset(own.__code__.co_varnames))
        made.body = [hooks.top(s) for s in made.body]
        body = list(zip(tree.body, made.body, strict=True))
        made.body = [ast.Expr(_call("begin")), *made.body]
        module = ast.fix_missing_locations(ast.Module([made], []))
        names = dict(own.__globals__)
        watched = Watched(hooks.places, names, body)
        names[HOOK] = watched
        try:
            with warnings.catch_warnings():  # what the text is warned about was said when it was read
                warnings.simplefilter("ignore")
                exec(compile(module, "<watched>", "exec"), names)
        except Exception:  # noqa: BLE001 (a default may need what is gone by now)
            return None
        watched.function = names[tree.name]
        watched.function.__dict__.update(own.__dict__)  # how a method's function is called
        return watched

    def at(self, place: int, value: Any) -> Any:
        """The value of an expression, or what it is changed to."""
        return self._passed(place, [value], value) if self.recording or place in self.active else value

    def op(self, place: int, kind: str, left: Any, right: Any) -> Any:
        """The result of an operation, or what it is changed to."""
        if place in self.active:
            return self._passed(place, [left, right], None)
        value = OPERATIONS[kind](left, right)
        return self._passed(place, [left, right], value) if self.recording else value

    def reduced(self, place: int, kind: str, operand: Any, **how: Any) -> Any:
        """A sum or mean, or what it is changed to."""
        if place in self.active:
            return self._passed(place, [operand, how], None)
        value = getattr(np, kind)(operand, **how)
        return self._passed(place, [operand, how], value) if self.recording else value

    def applied(self, place: int, function: Callable[..., Any], operand: Any, **how: Any) -> Any:
        """What a function makes of one argument, or what it is changed to."""
        value = function(operand, **how)
        seen = self.recording or place in self.active
        return self._passed(place, [value, operand], value) if seen else value

    @staticmethod
    def cut(start: Any, stop: Any, step: Any) -> slice:
        """start:stop:step."""
        return slice(start, stop, step)

    def begin(self) -> None:
        """The variables with which it begins are remembered."""
        if self.recording:
            self.begun = {n: duplicate(v) for n, v in sys._getframe(1).f_locals.items()}

    def end(self, value: Any) -> Any:
        """What is returned; the variables are remembered."""
        self.left = dict(sys._getframe(1).f_locals)
        return value

    def _passed(self, place: int, operands: list[Any], value: Any) -> Any:
        scope = sys._getframe(2).f_locals
        change = self.active.get(place)
        if change is not None:
            return change(operands, scope)
        one = self.places[place]
        self.passes[one.step] += 1
        one.operands, one.value, one.scope = operands, value, dict(scope)
        return value


class _Hooks(ast.NodeTransformer):
    """Puts the hooks in."""

    def __init__(self, variables: frozenset[str]) -> None:
        self.variables = variables
        self.places: list[Place] = []
        self.statement = 0
        self.above = -1
        self.target = ""
        self.stored = ""
        self.augments = ""
        self.step = -1
        self.loops = 0

    def visit_For(self, node: ast.For) -> ast.AST:
        self.above, self.target = -1, ""
        node.iter = self.visit(node.iter)
        self.loops += 1
        node.body = [self.visit(s) for s in node.body]
        self.loops -= 1
        return node

    def top(self, statement: ast.stmt) -> ast.stmt:
        """A statement of the body itself, with hooks."""
        self.step += 1
        found = self.visit(statement)
        assert isinstance(found, ast.stmt)
        return found

    def _place(self, node: ast.expr, kind: str) -> ast.expr:
        above, self.above = self.above, -1
        place = Place(copy.deepcopy(node), kind, self.statement, node.lineno, above, self.target)
        place.step, place.looped = self.step, self.loops > 0
        place.stored, self.stored = self.stored, ""  # the whole of what is assigned comes first
        place.augments, self.augments = self.augments, ""
        self.places.append(place)
        return ast.Constant(len(self.places) - 1)

    def _operand(self, node: ast.expr, of: int | None = None) -> ast.expr:
        """An operand of a place, of the last one if none is named."""
        self.above = len(self.places) - 1 if of is None else of
        found = self.visit(node)
        self.above = -1
        assert isinstance(found, ast.expr)
        return found

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.statement += 1
        self.target = node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
        self.stored = ast.unparse(node.targets[0]) if isinstance(node.targets[0], ast.Subscript) else ""
        self.above = -1
        if not (_size_of(node.value) or isinstance(node.targets[0], ast.Tuple)):
            node.value = self.visit(node.value)
        self.stored = ""
        for target in node.targets:
            self._entries(target)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.statement += 1
        self.target, self.above = "", -1
        self.augments = type(node.op).__name__
        node.value = self.visit(node.value)
        self.augments = ""
        self._entries(node.target)
        return node

    def _entries(self, target: ast.expr) -> None:
        """A hook around the entries that are written: dx[rows, y]."""
        if isinstance(target, ast.Subscript):
            self.above = -1
            place, entries = self._place(target, "entries"), _explicit(target.slice)
            condition = isinstance(entries, ast.Compare)  # dx[x < 0] = 0
            target.slice = _call("at", place, self.visit(entries) if condition else entries)

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.statement += 1
        self.target, self.above = "", -1
        if node.value is not None:
            match node.value:
                case ast.Tuple() | ast.List():
                    node.value.elts = [self.visit(e) for e in node.value.elts]
                case ast.Call(ast.Name("dict"), []):
                    for keyword in node.value.keywords:
                        keyword.value = self.visit(keyword.value)
                case _:
                    node.value = self.visit(node.value)
            node.value = _call("end", node.value)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        kind = type(node.op).__name__
        if kind not in OPERATIONS:
            return node
        place = self._place(node, kind)
        number = len(self.places) - 1
        left, right = self._operand(node.left, number), self._operand(node.right, number)
        return _call("op", place, ast.Constant(kind), left, right)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if method in REDUCED and isinstance(node.func, ast.Attribute):
            parts = reduction(node)
            if parts is not None:
                place = self._place(node, method)
                call = _call("reduced", place, ast.Constant(method), self.visit(parts[0]))
                call.keywords = parts[1]
                return call
        place = self._place(node, "")
        whose = node.func.value if isinstance(node.func, ast.Attribute) else None
        if _dotted(node.func).startswith("np.") and len(node.args) == 1 and all(
            k.arg is not None for k in node.keywords
        ) and not isinstance(node.args[0], ast.Tuple | ast.Starred):  # fmt: skip
            call = _call("applied", place, node.func, self.visit(node.args[0]))
            call.keywords = node.keywords
            return call
        if whose is not None and not (isinstance(whose, ast.Name) and whose.id not in self.variables):
            assert isinstance(node.func, ast.Attribute)
            node.func.value = self.visit(node.func.value)
        node.args = [self.visit(a) if not isinstance(a, ast.Tuple | ast.Starred) else a for a in node.args]
        return _call("at", place, node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if node.attr != "T":
            return node
        place = self._place(node, "T")
        node.value = self._operand(node.value)
        return _call("at", place, node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if not isinstance(node.ctx, ast.Load):
            return node
        place = self._place(node, "")
        node.value = self._operand(node.value)
        return _call("at", place, node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return _call("at", self._place(node, ""), node) if isinstance(node.ctx, ast.Load) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        place = self._place(node, "")
        node.operand = self._operand(node.operand)
        return _call("at", place, node)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        place = self._place(node, "compare")
        number = len(self.places) - 1
        sides = []
        for side in (node.left, *node.comparators):
            self.above = number
            sides.append(self.visit(side))
        self.above = -1
        node.left, *node.comparators = sides
        return _call("at", place, node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            return node
        return _call("at", self._place(node, "number"), node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return node

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return node


def _size_of(value: ast.expr) -> bool:
    """Whether an expression is the shape of an array, or made of shapes alone."""
    text = ast.unparse(value)
    return ".shape" in text and not re.search(r"[^\W\d]", re.sub(r"[\w.]+\.shape(\[[^\]]*\])?", "", text))


def _explicit(entries: ast.expr) -> ast.expr:
    """Entries as a value: slice(a, b, c) for a:b:c."""
    match entries:
        case ast.Slice(lower, upper, step):
            return _call("cut", *(e or ast.Constant(None) for e in (lower, upper, step)))
        case ast.Tuple(elts):
            return ast.Tuple([_explicit(e) for e in elts], ast.Load())
    return entries


def reduction(node: ast.Call) -> tuple[ast.expr, list[ast.keyword]] | None:
    """What a sum or a mean is taken of, and how: x.sum(0), np.sum(x, axis=0); None for any other call."""
    if not isinstance(node.func, ast.Attribute) or any(isinstance(a, ast.Starred) for a in node.args):
        return None
    whole = ast.unparse(node.func.value) == "np" and bool(node.args)
    operand, *axis = node.args if whole else [node.func.value, *node.args]
    if len(axis) > 1:
        return None
    return operand, [*(ast.keyword("axis", a) for a in axis), *node.keywords]


def _dotted(node: ast.expr) -> str:
    """A name with dots, as np.linalg.inv; empty for a method of what is computed, as np.abs(x).astype."""
    if isinstance(node, ast.Attribute):
        return f"{whose}.{node.attr}" if (whose := _dotted(node.value)) else ""
    return node.id if isinstance(node, ast.Name) else ""


def _call(method: str, *arguments: ast.expr) -> ast.Call:
    target = ast.Attribute(ast.Name(HOOK, ast.Load()), method, ast.Load())
    return ast.Call(target, list(arguments), [])
