"""Single kernels against their interpretation in NumPy, on memory with red zones around every array."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from llvmlite import ir

from chalkgrad.emit.kernels import machine, reference
from chalkgrad.emit.kernels.estimates import has_estimates, quotient, root
from chalkgrad.emit.kernels.functions import FUNCTIONS, apply
from chalkgrad.emit.kernels.layout import Layout
from chalkgrad.emit.kernels.moving import write_gather, write_turn
from chalkgrad.emit.kernels.parts import UNIFORM
from chalkgrad.emit.kernels.passes import number_pointer
from chalkgrad.emit.kernels.targets import host
from chalkgrad.emit.kernels.tile import ARGUMENTS, FIRST, LAST, Shape, write_tile
from chalkgrad.emit.kernels.writer import I64, Writer
from chalkgrad.expr.nodes import Range, Tensor
from chalkgrad.primitives import PRIMITIVES

RED = 7e7


def number_type(target):
    return np.float64 if target.double else np.float32


def zoned(values, dtype=np.float64):
    """The values on a vector's boundary between two red zones; (whole, view)."""
    values = np.asarray(values, dtype)
    whole = np.full(values.size + 96, RED, dtype)
    start = -whole.ctypes.data // whole.itemsize % (64 // whole.itemsize) + 32
    view = whole[start : start + values.size]
    view[:] = values.ravel()
    return whole, view


def red_zones_hold(whole, view):
    inside = np.zeros(whole.size, bool)
    start = (view.ctypes.data - whole.ctypes.data) // whole.itemsize
    inside[start : start + view.size] = True
    return bool((whole[~inside] == whole.dtype.type(RED)).all())


def call(module, target, name, *arguments):
    code = machine.object_code(str(module), target)
    loaded, address = machine.load(code, "chalkgrad_" + name)
    values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(values))(address)(*values)
    del loaded  # the code stays in memory as long as this does


def store_all(w, rows):
    for r, row in enumerate(rows):
        for v, value in enumerate(row):
            w.store(value, w["arena"], w["offset"], (r * len(row) + v) * w.target.lanes)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("fewer", [0, 1, 3, None])
@pytest.mark.parametrize(("layout", "multiple"), [("across", 1), ("across", 2), ("across", 4), ("along", 1)])
def test_tile(layout, multiple, fewer, double):
    """Two blocks of k, several k without a jump, and an incomplete last group where k lies along."""
    target = host(double)
    rows = 1 if fewer is None else target.most - fewer
    dtype, panel = number_type(target), target.panel
    rng = np.random.default_rng(rows)
    depth = 2 * panel + 3 if layout == "along" else 21 // multiple * multiple
    vector = rng.standard_normal((depth, panel)).astype(dtype)
    scalar = rng.standard_normal((depth, rows)).astype(dtype)
    wanted = reference.tile(vector, scalar)
    module = ir.Module("tile")
    tail_width = target.lanes
    shape = (
        Shape(rows, target.vectors, "across", panel, blocked=True, multiple=multiple)
        if layout == "across"
        else Shape(rows, target.vectors, "along", panel, rows * panel, (tail_width, 3), blocked=True)
    )
    write_tile(module, target, "tile", shape, store_all)
    if layout == "across":
        packed = np.zeros((depth, panel), dtype)
        packed[:, :rows] = scalar
    else:
        groups = [scalar[g * panel : (g + 1) * panel].T for g in range(2)]
        last = np.zeros((rows, tail_width), dtype)
        last[:, :3] = scalar[2 * panel :].T
        packed = np.concatenate([*(g.ravel() for g in groups), last.ravel()])
    (red_v, v), (red_s, s) = zoned(vector, dtype), zoned(packed, dtype)
    (red_o, out), (red_p, sums) = zoned(np.zeros(rows * panel), dtype), zoned(np.zeros(rows * panel), dtype)
    assert len(ARGUMENTS) == 11

    def run(first, count, flags, at_scalar):
        call(
            module, target, "tile", out, 0, v[first * panel :], s[at_scalar:], count, 0, sums, flags, 0, 0, 0
        )  # fmt: skip

    if layout == "across":
        first = 10 // multiple * multiple
        run(0, first, FIRST, 0)
        run(first, depth - first, LAST, first * panel)
    else:
        run(0, 1, FIRST, 0)
        run(panel, 1, LAST, rows * panel)
    np.testing.assert_allclose(out.reshape(rows, panel), wanted, rtol=0, atol=200 * np.finfo(dtype).eps)
    assert all(red_zones_hold(*pair) for pair in ((red_v, v), (red_s, s), (red_o, out), (red_p, sums)))


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize(("observations", "size"), [(1, 1), (33, 5), (40, 17), (64, 50), (40, 64)])
def test_gather_and_turn(observations, size, vectors, double):
    target = replace(host(double), vectors=vectors)
    dtype = number_type(target)
    rng = np.random.default_rng(0)
    n, d = Range("N"), Range("D")
    x = Tensor("x", (n, d))
    layout = Layout(target, {n: observations, d: size}, n)
    rows = rng.standard_normal((90, size)).astype(dtype)
    order = rng.integers(0, 90, observations)
    place, goal = layout.features(x), layout.turned(x)
    arena = zoned(np.zeros(layout.total), dtype)
    module = ir.Module("move")
    write_gather(module, layout, x, "gather")
    both = size >= target.lanes
    if both:
        write_gather(module, layout, x, "gather_both", turned=True)
    write_turn(module, layout, x, "turn")
    view = arena[1]
    call(module, target, "gather", view, rows, order, 0, layout.blocks, observations)
    padded, panel = layout.padded(d), target.panel
    got = view[place : place + layout.capacity * padded].reshape(layout.blocks, padded, panel)
    wanted = reference.features(reference.gather(rows, order), target, padded)
    lanes = np.arange(layout.capacity).reshape(layout.blocks, 1, panel) < observations
    assert (np.where(lanes, got, 0)[:, :size] == wanted[:, :size]).all()
    assert np.isfinite(got).all()
    way = [("turn", (0, 0, 0, layout.blocks, observations))]
    if both:  # rows into panels of columns as they are, without turning anything
        way.append(("gather_both", (rows, order, 0, layout.blocks, observations)))
    for name, arguments in way:
        view[goal : goal + layout.capacity * padded] = 3
        call(module, target, name, view, *arguments)
        turned_panels_hold(view, goal, reference.gather(rows, order), layout)
    assert red_zones_hold(*arena)


def turned_panels_hold(view, goal, value, layout):
    target, size = layout.target, value.shape[1]
    for q, panel_wanted in enumerate(reference.turned(value, target, layout.capacity)):
        start = goal + q * target.panel * layout.capacity
        found = view[start : start + panel_wanted.size].reshape(panel_wanted.shape)
        used = min(size - q * target.panel, panel_wanted.shape[1])
        assert (found[:, :used] == panel_wanted[:, :used]).all()


def elementwise(target, write, *arguments):
    """The function over whole vectors, as the machine computes it."""
    module = ir.Module("elementwise")
    pointer = number_pointer(target)
    names = [f"in{n}" for n in range(len(arguments))]
    w = Writer(module, target, "map", [*((n, pointer) for n in names), ("out", pointer), ("count", I64)])
    with w.loop(0, w["count"], target.lanes) as i:
        w.store(write(w, *(w.load(w[n], i.index) for n in names)), w["out"], i.index)
    w.end()
    views = [zoned(a, number_type(target))[1] for a in arguments]
    out = zoned(np.zeros(len(arguments[0])), number_type(target))[1]
    call(module, target, "map", *views, out, len(arguments[0]))
    return out.copy()


RANGES = {
    "exp": (-80, 80), "expm1": (-10, 30), "log": (1e-30, 1e4), "log1p": (-0.9, 1e3), "tanh": (-12, 12),
    "sigmoid": (-60, 60), "softplus": (-60, 60), "silu": (-60, 60), "sqrt": (0, 100), "gelu": (-4, 6),
    "erf": (-7, 7),
}  # fmt: skip


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"pi", UNIFORM}))
def test_functions(name, double):
    """Within a few units in the last place of the reference in higher precision."""
    target = host(double)
    dtype = number_type(target)
    low, high = RANGES.get(name, (-3, 3))
    x = np.linspace(low, high, 4096).astype(dtype)
    arguments = [x, x[::-1].copy(), np.roll(x, 1024)][: PRIMITIVES[name].arity]
    got = elementwise(target, lambda w, *a: apply(w, name, list(a)), *arguments)
    wide = [a.astype(np.float64 if name in ("gelu", "erf") else np.longdouble) for a in arguments]
    stable = {
        "expm1": np.expm1,
        "log1p": np.log1p,
        "softplus": lambda v: np.maximum(v, 0) + np.log1p(np.exp(-np.abs(v))),
    }.get(name, PRIMITIVES[name].reference)
    wanted = stable(*wide)
    # gelu loses digits where 1 + erf cancels, in the formula itself.
    atol = 8 * np.finfo(dtype).eps if name == "gelu" else 0
    np.testing.assert_allclose(got, wanted.astype(np.float64), rtol=8 * np.finfo(dtype).eps, atol=atol)


@pytest.mark.parametrize("double", [False, True])
def test_special_arguments(double):
    target = host(double)
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 1e30, -1e30] * 8)
    with np.errstate(all="ignore"):
        for name, wanted in (
            ("exp", np.exp(x)), ("log", np.log(x)), ("tanh", np.tanh(x)), ("relu", np.maximum(x, 0)),
            ("erf", PRIMITIVES["erf"].reference(x)), ("sigmoid", 1 / (1 + np.exp(-x))),
            ("softplus", np.logaddexp(0, x)),
        ):  # fmt: skip
            got = elementwise(target, lambda w, a, name=name: apply(w, name, [a]), x)
            np.testing.assert_allclose(got, wanted.astype(number_type(target)), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("double", [False, True])
def test_far_from_zero(double):
    """There erf is 1 to the last bit, so that gelu vanishes on one side and is x on the other."""
    target = host(double)
    x = np.concatenate([np.linspace(9, 60, 56), np.logspace(2, 30, 8)])
    got = {n: elementwise(target, lambda w, a, n=n: apply(w, n, [a]), -x) for n in ("erf", "gelu")}
    assert (got["erf"] == -1).all()
    assert np.abs(got["gelu"]).max() < 1e-17
    assert (elementwise(target, lambda w, a: apply(w, "gelu", [a]), x) == x.astype(number_type(target))).all()


@pytest.mark.parametrize("multipliers", [1, 2])
@pytest.mark.parametrize("double", [False, True])
def test_newtons_quotient_and_root(double, multipliers):
    """With one multiplier the root is the processor's own."""
    target = replace(host(double), multipliers=multipliers)
    dtype = number_type(target)
    x = np.concatenate([np.logspace(-30, 30, 2040), [0, np.inf, np.nan, 1, 4, 9, 16, 25]]).astype(dtype)
    three = dtype(3)
    with np.errstate(all="ignore"):
        for write, wanted in (
            (lambda w, a: root(w, a) if has_estimates(w) else apply(w, "sqrt", [a]), np.sqrt(x)),
            (
                lambda w, a: quotient(w, w.splat(3.0), a) if has_estimates(w) else w.b.fdiv(w.splat(3.0), a),
                three / x,
            ),
        ):
            got = elementwise(target, write, x)
            np.testing.assert_allclose(got, wanted, rtol=3 * np.finfo(dtype).eps)
        negative = elementwise(
            target, lambda w, a: root(w, a) if has_estimates(w) else apply(w, "sqrt", [a]), -x[:2040]
        )
    assert np.isnan(negative).all()
