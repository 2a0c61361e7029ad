"""Edits of a backward's syntax tree that make it wrong, each with the causes that describe it."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from chalkgrad.diff.normal_form import normal_form
from chalkgrad.expr.nodes import Apply
from chalkgrad.expr.ops import walk
from chalkgrad.layers import GALLERY

TERM = frozenset({"missing_term", "missing_path"})


@dataclass(frozen=True)
class Edit:
    """One possible edit: apply it to a fresh copy of the tree to get the spoiled text."""

    what: str
    labels: frozenset[str]
    statement: int
    apply: Callable[[ast.Module], None]
    masked: Edit | None = None
    """For an edit inside a condition, the edit that makes the condition true everywhere."""


def backward_of(tree: ast.Module) -> ast.FunctionDef:
    return next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.endswith("_backward"))


def sites(tree: ast.Module) -> Iterator[tuple[int, int, ast.AST]]:
    """(statement, number, node) for every expression node of the backward's assignments."""
    for place, statement in enumerate(backward_of(tree).body):
        if isinstance(statement, ast.Assign | ast.AugAssign):
            for number, node in enumerate(ast.walk(statement)):
                yield place, number, node


def swap(place: int, number: int, new: Callable[[Any], ast.AST]) -> Callable[[ast.Module], None]:
    """Replace one node of one statement."""

    def apply(tree: ast.Module) -> None:
        statement = backward_of(tree).body[place]
        target = list(ast.walk(statement))[number]
        for parent in ast.walk(statement):
            for field, value in ast.iter_fields(parent):
                if value is target:
                    setattr(parent, field, new(target))
                elif isinstance(value, list) and any(v is target for v in value):
                    setattr(parent, field, [new(v) if v is target else v for v in value])

    return apply


def expression(text: str, **names: ast.AST) -> ast.expr:
    """An expression with placeholders."""
    tree = ast.parse(text, mode="eval").body

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return copy.deepcopy(names.get(node.id, node))

    filled = Fill().visit(tree)
    assert isinstance(filled, ast.expr)
    return filled


def size_names(tree: ast.Module) -> set[str]:
    """Names that hold sizes: those assigned from .shape."""
    return {
        n.id
        for s in ast.walk(backward_of(tree))
        if isinstance(s, ast.Assign) and ".shape" in ast.unparse(s.value)
        for t in s.targets
        for n in ast.walk(t)
        if isinstance(n, ast.Name)
    }


def edits(tree: ast.Module, layer: str, shapes: dict[str, tuple[int, ...]]) -> list[Edit]:
    """All single edits of a backward."""
    sizes, masks = size_names(tree), masks_of(tree)
    found: list[Edit] = []
    for place, number, node in sites(tree):
        statement = backward_of(tree).body[place]
        if isinstance(statement, ast.Assign) and ".shape" in ast.unparse(statement.value):
            continue
        if isinstance(statement, ast.Assign) and ast.unparse(statement.value) == "cache":
            continue
        below = {n for d in ast.walk(statement) if isinstance(d, ast.BinOp) and isinstance(d.op, ast.Div)
                 for n in ast.walk(d.right)}  # fmt: skip
        inside = next((c for c, n in enumerate(ast.walk(statement)) if isinstance(n, ast.Compare)
                       and n is not node and any(k is node for k in ast.walk(n))), None)  # fmt: skip
        true = _true(place, inside) if inside is not None else None
        sliced = any(k is node for s in ast.walk(statement) if isinstance(s, ast.Slice) for k in ast.walk(s))
        for what, labels, new in _node_edits(node, sizes, masks, layer, shapes, node in below):
            told = frozenset(labels | {"shape"} if sliced else labels)  # another slice is another shape
            found.append(Edit(f"{what}: {ast.unparse(node)[:60]}", told, place,
                              swap(place, number, new), true))  # fmt: skip
    return found + _whole_edits(tree, layer, shapes)


def masks_of(tree: ast.Module) -> set[str]:
    """Names that hold conditions."""
    return {
        t.id
        for s in backward_of(tree).body
        if isinstance(s, ast.Assign) and isinstance(s.value, ast.Compare)
        for t in s.targets
        if isinstance(t, ast.Name)
    }


def _true(place: int, number: int) -> Edit:
    """The edit that makes a condition true everywhere."""
    new = swap(place, number, lambda n: expression("np.ones_like(M, dtype=bool)", M=n))
    return Edit("mask dropped", frozenset({"missing_mask"}), place, new)


Node = Callable[[Any], ast.AST]


def _node_edits(
    node: ast.AST, sizes: set[str], masks: set[str], layer: str, shapes: dict[str, tuple[int, ...]],
    divides: bool,
) -> Iterator[tuple[str, set[str], Node]]:  # fmt: skip
    parameters = {t.name for t, _ in GALLERY[layer].program.parameters}
    factor = partial(_factor, sizes=sizes, masks=masks, parameters=parameters, shapes=shapes, divides=divides)
    match node:
        case ast.Call(func=ast.Attribute(attr="sum"), keywords=[_, *_]):
            yield "sum dropped", {"missing_sum"}, lambda n: n.func.value
            yield "sum to mean", {"mean_for_sum"}, _mean
        case ast.BinOp(left=left, op=ast.Div(), right=ast.Name(id=name)) if name in sizes:
            yield "division by size dropped", {"sum_for_mean"}, lambda n: n.left
        case ast.BinOp(op=ast.Div(), right=right):
            names = {n.id for n in ast.walk(right) if isinstance(n, ast.Name)}
            label = {"sum_for_mean"} if names and names <= sizes else {"missing_factor"}
            if any(isinstance(n, ast.Pow) for n in ast.walk(right)) and names <= sizes:
                label = {"missing_factor", "constant_factor"}  # 1 / sqrt(D) is no mean
            label = label if names else {"constant_factor"}
            yield "divisor dropped", label, lambda n: n.left
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            if not (isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult)):  # one factor at a time
                yield "left factor dropped", factor(left), lambda n: n.right
            yield "right factor dropped", factor(right), lambda n: n.left
            if not _mask(right, masks) and not _numeric(right, sizes) and "np.sign" not in ast.unparse(right):
                # A parameter once too often is a constant ratio, too.
                label = {"extra_factor"} | ({"constant_factor"} if _names(right) <= parameters else set())
                yield "right factor twice", label, lambda n: expression("A * B", A=n, B=n.right)
        case ast.BinOp(op=ast.Add()):
            yield "left summand dropped", _summand(node.left, node.right), lambda n: n.right
            one = ast.unparse(node.left) in ("1", "1.0")  # s * (1 + x) without x is s without (1 + x)
            yield (
                "right summand dropped",
                _summand(node.right, node.left) | ({"missing_factor"} if one else set()),
                lambda n: n.left,
            )
            yield "plus to minus", {"sign"}, lambda n: ast.BinOp(n.left, ast.Sub(), n.right)
        case ast.BinOp(op=ast.Sub()):
            yield "left summand dropped", set(TERM), lambda n: ast.UnaryOp(ast.USub(), n.right)
            # In y * (1 - y), the term -y left out is the factor (1 - y) left out: one text, two names.
            one = ast.unparse(node.left) in ("1", "1.0")
            more = {"missing_factor"} if one else set()
            more |= {"missing_mask"} if one and _mask(node.right, masks) else set()  # 1 - M is a mask
            yield "right summand dropped", _summand(node.right, node.left) | more, lambda n: n.left
            yield "minus to plus", {"sign"}, lambda n: ast.BinOp(n.left, ast.Add(), n.right)
        case ast.BinOp(op=ast.Pow(), right=ast.Constant(value=2)):
            yield "square dropped", {"missing_factor"}, lambda n: n.left
        case ast.UnaryOp(op=ast.USub()):
            yield "minus dropped", {"sign"}, lambda n: n.operand
        case ast.Attribute(attr="T"):
            yield "transpose dropped", {"transpose"}, lambda n: n.value
        case ast.Compare():
            yield "mask dropped", {"missing_mask"}, lambda n: expression("np.ones_like(M, dtype=bool)", M=n)
        case ast.Name(id=name, ctx=ast.Load()) if name in shapes and name not in sizes:
            yield from _other_names(name, layer, shapes)
        case ast.Constant(value=float() | int() as value) if isinstance(value, float) and value not in (0, 1):
            yield "constant doubled", {"constant_factor"}, lambda n: ast.Constant(2 * n.value)


def _summand(dropped: ast.AST, kept: ast.AST) -> set[str]:
    """What dropping a summand is called: of A - A * M, it is dropping the factor 1 - M."""
    parts = (dropped.left, dropped.right) if isinstance(dropped, ast.BinOp) else ()
    factored = any(ast.unparse(p) == ast.unparse(kept) for p in parts)
    return {*TERM, "missing_factor", "missing_mask"} if factored else set(TERM)


def _mean(node: Any) -> ast.AST:
    node = copy.deepcopy(node)
    node.func.attr = "mean"
    return node


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _mask(node: ast.AST, masks: set[str]) -> bool:
    """Whether a factor is a condition, or the complement of one."""
    text = ast.unparse(node)
    cast = [n.value for n in ast.walk(node) if isinstance(n, ast.Attribute) and n.attr == "astype"]
    names = {n.id for n in cast if isinstance(n, ast.Name)}
    told = text in masks or bool(names & masks)
    return any(isinstance(n, ast.Compare) for n in ast.walk(node)) or told or text == "mask"


def _partly(node: ast.AST, masks: set[str]) -> bool:
    """Whether a sum holds a mask in some of its terms only, as c + x * (c > 0)."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and not all(
        _mask(t, masks) or isinstance(t, ast.Constant) for t in (node.left, node.right)
    )  # fmt: skip


def _numeric(node: ast.AST, sizes: set[str]) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in sizes)


def _factor(
    node: ast.AST, *, sizes: set[str], masks: set[str], parameters: set[str],
    shapes: dict[str, tuple[int, ...]], divides: bool,
) -> set[str]:  # fmt: skip
    """What dropping a factor is called."""
    one = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and ast.unparse(node.left) == "1"
    if _mask(node, masks):
        # A mask of numbers is a factor like others; the complement of one is a difference, too.
        plain = {"missing_factor"} if ast.unparse(node) in shapes or _partly(node, masks) else set()
        return {"missing_mask"} | plain | ({"missing_factor", *TERM} if one else set())
    if isinstance(node, ast.Constant):
        return {"constant_factor"}
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        return {"constant_factor", "sign"}
    if isinstance(node, ast.Name) and node.id in sizes:  # N * G without N is G, 1/N times what it should be
        return {"sum_for_mean"} if divides else {"missing_factor", "constant_factor"}
    if not _names(node):  # (2 * np.pi) ** 0.5
        return {"constant_factor"}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _names(node) <= sizes:
        return {"missing_factor", "sum_for_mean"}  # 1 / (N * K) * G without its factor, as G / (N * K)
    if _names(node) <= parameters:  # a parameter is a constant ratio
        return {"missing_factor", "constant_factor"}
    return {"missing_factor", *TERM} if one else {"missing_factor"}


def _other_names(
    name: str, layer: str, shapes: dict[str, tuple[int, ...]]
) -> Iterator[tuple[str, set[str], Node]]:
    others = [
        o
        for o in shapes
        if o.isidentifier() and o != name and shapes[o] == shapes[name] and len(shapes[o]) > 0
    ]
    for other in sorted(others)[:3]:
        labels = {"wrong_operand"}
        if _activation(layer, name, other):
            labels = {"preactivation"}
        elif _activation(layer, name, other, far=True):  # by way of other values, either name is right
            labels = {"wrong_operand", "preactivation"}
        yield f"{name} to {other}", labels, lambda n, o=other: ast.Name(o, ast.Load())


def _activation(layer: str, one: str, other: str, *, far: bool = False) -> bool:
    """Whether one name is a nonlinear function of the other in the layer's own formula, or, with `far`,
    by way of others."""
    program = normal_form(GALLERY[layer].program)
    for a, b in ((one, other), (other, one)):
        waiting, seen, applied = [a], set(), False
        while waiting:
            d = program.definition(waiting.pop())
            if d is None or d.target.name in seen:
                continue
            seen.add(d.target.name)
            nonlinear = [n for n in walk(d.body) if isinstance(n, Apply) and n.fn not in ("sqrt", "sign")]
            applied = applied or bool(nonlinear)
            inside = {t.tensor.name for n in nonlinear for t in walk(n) if hasattr(t, "tensor")}
            reads = {t.tensor.name for t in walk(d.body) if hasattr(t, "tensor")} if far else inside
            if applied and b in reads:
                return True
            waiting += sorted(reads) if far else []
    return False


def is_data(layer: str, place: int) -> bool:
    """Whether an input is a loss's target or a running statistic, whose gradient nobody needs to return."""
    program = GALLERY[layer].program
    if {"μ", "v"} <= {t.name for t in program.inputs}:
        return program.inputs[place].name in ("μ", "v")
    return not program.outputs[0].axes and program.inputs[place].name == "t"


def _whole_edits(tree: ast.Module, layer: str, shapes: dict[str, tuple[int, ...]]) -> list[Edit]:
    """Edits of whole statements and of the result."""
    function = backward_of(tree)
    found: list[Edit] = []
    returned = function.body[-1]
    assert isinstance(returned, ast.Return)
    assert isinstance(returned.value, ast.Tuple)
    names = [e.id if isinstance(e, ast.Name) else None for e in returned.value.elts]
    up = function.args.args[0].arg
    last = len(function.body) - 1

    def result(position: int, text: str) -> Callable[[ast.Module], None]:
        def apply(t: ast.Module) -> None:
            back = backward_of(t).body[-1]
            assert isinstance(back, ast.Return)
            assert isinstance(back.value, ast.Tuple)
            back.value.elts[position] = expression(text, A=back.value.elts[position])

        return apply

    def insert(text: str, at: int) -> Callable[[ast.Module], None]:
        def apply(t: ast.Module) -> None:
            body = backward_of(t).body
            body[at:at] = ast.parse(text).body

        return apply

    for place, name in enumerate(names):
        if name is None:
            continue
        shape = shapes.get("return " + str(place), ())
        found += [
            Edit(f"{name} negated", frozenset({"sign"}), last + place, result(place, "-A")),
            Edit(f"{name} doubled", frozenset({"constant_factor"}), last + place, result(place, "2 * A")),
            Edit(f"{name} halved", frozenset({"constant_factor"}), last + place, result(place, "A / 2")),
            *(
                Edit(f"{name} is None", frozenset({"shape"}), last + place, result(place, "None"))
                for _ in range(not is_data(layer, place))
            ),
            Edit(f"{name} noisy", frozenset({"nondeterministic"}), last + place,
                 result(place, "A + 1e-3 * np.random.randn(*np.shape(A))")),
            Edit(f"{name} in half precision", frozenset({"precision"}), last + place,
                 result(place, "np.asarray(A, np.float16).astype(float)")),
        ]  # fmt: skip
        if len(shape) >= 1:
            found.append(Edit(f"{name} extra axis", frozenset({"shape"}), last + place,
                              result(place, "np.asarray(A)[None]")))  # fmt: skip
            found.append(Edit(f"{name} summed", frozenset({"extra_sum"}), last + place,
                              result(place, "A.sum(axis=0)")))  # fmt: skip
            found.append(Edit(f"{name} summed, axis kept", frozenset({"extra_sum"}), last + place,
                              result(place, "0 * A + A.sum(axis=0, keepdims=True)")))  # fmt: skip
        if len(shape) == 2:
            found.append(
                Edit(f"{name} transposed", frozenset({"transpose"}), last + place, result(place, "A.T"))
            )
    arrays = [p for p, n in enumerate(names) if n is not None]
    if len(arrays) > 1:

        def exchanged(t: ast.Module) -> None:
            back = backward_of(t).body[-1]
            assert isinstance(back, ast.Return)
            assert isinstance(back.value, ast.Tuple)
            e = back.value.elts
            e[arrays[0]], e[arrays[-1]] = e[arrays[-1]], e[arrays[0]]

        same = shapes.get(f"return {arrays[0]}") == shapes.get(f"return {arrays[-1]}")
        labels = {"wrong_argument"} if same else {"wrong_argument", "shape"}
        found.append(Edit("first and last gradient exchanged", frozenset(labels), -1, exchanged))
    if shapes.get(up):
        found.append(
            Edit("upstream halved in place", frozenset({"mutates_input"}), -2, insert(f"{up} *= 0.5", last))
        )
        found.append(
            Edit("upstream spoiled first", frozenset({"mutates_input"}), -2, insert(f"{up} *= 0.5", 0))
        )
    cached = [n for n in shapes if n != up and len(shapes[n]) > 0 and n in _cached(function)]
    for name in cached[:2]:
        found.append(Edit(f"{name} spoiled in place", frozenset({"mutates_input"}), -2,
                          insert(f"{name} += 1", last)))  # fmt: skip
    return found


def _cached(function: ast.FunctionDef) -> set[str]:
    for s in function.body:
        if isinstance(s, ast.Assign) and ast.unparse(s.value) == "cache":
            return {n.id for t in s.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return set()
