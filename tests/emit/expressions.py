"""Random well-formed expressions and arrays for them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
)

N, D, K = Range("N"), Range("D"), Range("K")
LETTERS = {N: ("i", "n", "m"), D: ("d", "e", "c"), K: ("k", "j", "l")}

x = Tensor("x", (N, D))
W = Tensor("W", (D, K))
b = Tensor("b", (K,))
g = Tensor("g", (N, K))
q = Tensor("q", (K, K))
h = Tensor("h", (N, D, K))
s = Tensor("s", ())
y = Tensor("y", (N,), "int")
t = Tensor("t", (N,), "int")
mask = Tensor("mask", (N, K), "bool")
eps = Tensor("eps", (), "float", "parameter")

INPUTS = (x, W, b, g, q, h, s, y, t, mask)
FLOATS = (x, W, b, g, q, h, s)
LABELS = {y: K, t: D}


def arrays(sizes: Mapping[Range, int], seed: int, dtype: type = np.float64) -> dict[Tensor, np.ndarray]:
    """A value for every input."""
    rng = np.random.default_rng(seed)
    found = {}
    for tensor in INPUTS:
        shape = tuple(sizes[r] for r in tensor.axes)
        if tensor in LABELS:
            found[tensor] = rng.integers(sizes[LABELS[tensor]], size=shape)
        elif tensor.dtype == "bool":
            found[tensor] = rng.random(shape) < 0.5
        else:
            found[tensor] = np.asarray(rng.uniform(-1, 1, shape), dtype)
    return found


def bound(of: Range, scope: tuple[Index, ...]) -> Index:
    """An index over the range whose name is not in scope."""
    taken = {i.name for i in scope}
    return Index(next(c for c in (*LETTERS[of], "u", "v", "w", "z") if c not in taken), of)


@st.composite
def leaves(draw: st.DrawFn, scope: tuple[Index, ...]) -> Expr:
    ranges = {i.range for i in scope}
    options = [tensor for tensor in INPUTS if set(tensor.axes) <= ranges] + [eps]
    choice = draw(st.sampled_from([*options, *options, "number", "size", "same", "label", "sign", "gather"]))
    if isinstance(choice, Tensor):
        return Access(
            choice, tuple(draw(st.sampled_from([i for i in scope if i.range is r])) for r in choice.axes)
        )
    over = [i for i in scope if i.range is K]
    rows = [i for i in scope if i.range is N]
    if choice == "same" and len(over) > 1:
        return Indicator("==", over[0], over[1])
    if choice == "label" and over and rows:
        return Indicator("==", draw(st.sampled_from(over)), Access(y, (draw(st.sampled_from(rows)),)))
    if choice == "gather" and rows:
        row = draw(st.sampled_from(rows))
        return Access(g, (row, Access(y, (row,))))
    if choice == "sign" and over and rows:
        return Indicator(
            draw(st.sampled_from(["<", ">", "<=", ">="])), Access(g, (rows[0], over[0])), Const(Fraction(0))
        )
    if choice == "size":
        return Size(draw(st.sampled_from([N, D, K])))
    return Const(
        draw(st.sampled_from([Fraction(2), Fraction(-1), Fraction(1, 2), Fraction(1, 3), Fraction(-3, 7)]))
    )


@st.composite
def expressions(draw: st.DrawFn, scope: tuple[Index, ...], depth: int = 3) -> Expr:
    """An expression whose free indices are in scope, with values of moderate size."""
    if depth == 0:
        return draw(leaves(scope))
    smaller = expressions(scope, depth - 1)
    match draw(
        st.sampled_from(
            ["leaf", "add", "mul", "mul", "fn", "sum", "sum", "max", "quotient", "power", "where"]
        )
    ):
        case "add":
            return Add(tuple(draw(st.lists(smaller, min_size=2, max_size=3))))
        case "mul":
            return Mul(tuple(draw(st.lists(smaller, min_size=2, max_size=3))))
        case "fn":
            return Apply(draw(st.sampled_from(["tanh", "relu", "abs", "sin", "sigmoid"])), (draw(smaller),))
        case "sum":
            index = bound(draw(st.sampled_from([N, D, K])), scope)
            return Sum((index,), draw(expressions((*scope, index), depth - 1)))
        case "max":
            index = bound(draw(st.sampled_from([N, D, K])), scope)
            op = draw(st.sampled_from(["max", "min", "prod"]))
            return Reduce(op, (index,), Apply("tanh", (draw(expressions((*scope, index), depth - 1)),)))
        case "quotient":
            below = Add((Const(Fraction(2)), Pow(Apply("tanh", (draw(smaller),)), Const(Fraction(2)))))
            power = Const(draw(st.sampled_from([Fraction(-1), Fraction(-1, 2), Fraction(-2)])))
            return Mul((draw(smaller), Pow(below, power)))
        case "power":
            return Pow(Apply("sin", (draw(smaller),)), Const(Fraction(2)))
        case "where":
            condition = Indicator(">", draw(smaller), Const(Fraction(1, 10)))
            return Apply("where", (condition, draw(smaller), draw(smaller)))
    return draw(leaves(scope))
