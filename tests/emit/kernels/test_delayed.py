"""Updates between the multiplications of the next tile, by any processor; means in one multiplication."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from llvmlite import ir

from chalkgrad.emit.kernels import delayed, reference
from chalkgrad.emit.kernels.targets import host
from chalkgrad.emit.kernels.tile import FIRST, LAST, Between, Shape, put_tile
from chalkgrad.emit.kernels.update import moving
from chalkgrad.emit.kernels.writer import I64, Writer
from chalkgrad.train.optimisers import RULES, UpdateRule
from tests.emit.kernels.networks import CLIPPED, Case, assert_same, assert_same_bits, two_layers
from tests.emit.kernels.test_bounds import assert_touches_nothing_else
from tests.emit.kernels.test_kernels import call, number_type, red_zones_hold, store_all, zoned
from tests.emit.kernels.test_orientation import CHOICES, FEWEST, NAMES, lying


def one_multiplier(double=False):
    """The machine at hand as if it multiplied one vector a cycle, with panels of one vector, as on Zen 4."""
    here = host(double)
    return replace(here, multipliers=1, vectors=1, rows=min(8, here.lanes), most=min(16, here.lanes))


@pytest.fixture
def updates(monkeypatch):
    """Which tiles' updates are delayed while the test compiles."""
    found = []
    made = delayed.Delayed.__init__

    def noted(self, *arguments):
        made(self, *arguments)
        found.append(self.pieces)

    monkeypatch.setattr(delayed.Delayed, "__init__", noted)
    return found


def compiled(case, names=frozenset(), **options):
    with lying(names):
        return case.compile(target=one_multiplier(case.dtype == np.float64), **options)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rules(rule, dtype, updates):
    case = Case(two_layers("tanh", "penalty"), (29, 35, 5), rows=150, batch=64, rule=rule, dtype=dtype)
    step = compiled(case)
    assert len(updates) >= 2  # of two weights, each with whole panels and perhaps a last one
    assert_same(case, step)


def test_rules_that_need_all_gradients_are_not_delayed(updates):
    case = Case(two_layers("relu", "softmax"), (29, 35, 5), rows=100, batch=64, rule=CLIPPED)
    assert_same(case, compiled(case))
    assert not updates


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(st.integers(FEWEST, 70), st.integers(1, 70), st.integers(1, 40)),
    batch=st.integers(1, 90),
    rows=st.integers(1, 120),
    dtype=st.sampled_from([np.float32, np.float64]),
    names=st.sampled_from([frozenset(), *CHOICES]),
    rule=st.sampled_from(["sgd", "adam"]),
    threads=st.sampled_from([1, 2, 3]),
)
def test_sizes(sizes, batch, rows, dtype, names, rule, threads):
    """Tiles of any height, last ones that are not full, batches too small for it, shares of one tile."""
    case = Case(two_layers("tanh", "mse"), sizes, rows=rows, batch=batch, rule=rule, dtype=dtype)
    assert_same(case, compiled(case, names, threads=threads))


@pytest.mark.parametrize("names", [frozenset(), *CHOICES], ids=["none", *NAMES])
@pytest.mark.parametrize("sizes", [(300, 520, 10), (270, 40, 33)])
def test_blocked_sums(sizes, names, updates):
    """More observations than a block has: a tile's update runs in whichever block is worked on next."""
    case = Case(two_layers("relu", "softmax"), sizes, rows=700, batch=400, rule="sgd")
    assert_same(case, compiled(case, names))
    assert updates


@pytest.mark.parametrize("names", [frozenset(), *CHOICES], ids=["none", *NAMES])
@pytest.mark.parametrize("batch", [128, 600])
def test_threads_change_no_bit(names, batch):
    case = Case(two_layers("relu", "penalty"), (40, 170, 10), rows=1250, batch=batch)
    for threads in (2, 3):
        assert_same_bits(case, compiled(case, names), compiled(case, names, threads=threads))


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.tuples(st.integers(FEWEST, 40), st.integers(1, 40), st.integers(2, 40)),
    rows=st.integers(1, 90),
    batch=st.integers(1, 90),
    at_end=st.booleans(),
    names=st.sampled_from([frozenset(), *CHOICES]),
)
def test_nothing_beside_the_arrays_is_touched(sizes, rows, batch, at_end, names):
    case = Case(two_layers("relu", "softmax"), sizes, rows=rows, batch=min(batch, rows), rule="sgd")
    step = compiled(case, names, zone=0)
    assert_touches_nothing_else(case, step, at_end)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("due", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_pieces_of_other_work(rows, due, double):
    """Each piece once, in its order, and the sums as if there were none; blocks of several groups of k."""
    target = one_multiplier(double)
    dtype, panel, groups = number_type(target), target.panel, 3
    rng = np.random.default_rng(rows)
    vector = rng.standard_normal((groups * panel, panel)).astype(dtype)
    scalar = rng.standard_normal((groups * panel, rows)).astype(dtype)
    module, pointer = ir.Module("tile"), Writer(ir.Module("x"), target, "x", []).pointer
    names = ("arena", "vector", "scalar", "pieces")
    w = Writer(module, target, "tile", [*((name, pointer) for name in names), ("due", I64)])
    shape = Shape(rows, 1, "along", panel, rows * panel)

    def write(w, piece):
        """The piece's own number, beside the number of those that came before it."""
        count = w.number_at(w["slots"])
        w.b.store(w.b.fadd(count, ir.Constant(w.number, 1.0)), w.at(w["slots"]))
        w.b.store(count, w.at(w["slots"], w.add(piece, 1)))

    places = (w["arena"], w["pieces"], w["vector"], w["scalar"], groups, 0, w["arena"], FIRST | LAST, 0, 0, 0)
    put_tile(w, shape, store_all, places, between=Between(w["due"], rows, write))
    w.end()
    packed = np.concatenate([scalar[g * panel : (g + 1) * panel].T.ravel() for g in range(groups)])
    arrays = [np.zeros(rows * panel), vector, packed, np.zeros(1 + panel)]
    zones = [zoned(a, dtype) for a in arrays]
    call(module, target, "tile", *(view for _, view in zones), rows if due else 0)
    out, pieces = zones[0][1].reshape(rows, panel), zones[3][1]
    tolerance = 200 * np.finfo(dtype).eps
    np.testing.assert_allclose(out, reference.tile(vector, scalar), rtol=0, atol=tolerance)
    expected = [rows, *range(rows)] if due else [0]
    assert list(pieces) == expected + [0] * (1 + panel - len(expected))
    assert all(red_zones_hold(*zone) for zone in zones)


# -- means


def lines(rule):
    """The bodies of a rule's lines, by name."""
    return {d.target.name: d.body for d in RULES[rule].program.definitions}


def body(formula):
    """The line of a rule of two constants."""
    rule = UpdateRule("own", f"w2[i] = {formula}", (), (("a", 0.5), ("b", 0.5)), "")
    (line,) = rule.program.definitions
    return line.body


def test_means_take_one_multiplication():
    assert str(moving(lines("adam")["m2"])) == "m[i] + (1 - beta1) * (g[i] - m[i])"
    assert str(moving(lines("adam")["v2"])) == "v[i] + (1 - beta2) * (g[i]^2 - v[i])"
    assert str(moving(lines("rmsprop")["c2"])) == "c[i] + (1 - rho) * (g[i]^2 - c[i])"


@pytest.mark.parametrize("formula", ["a * w[i] + (1 - a) * g[i]", "(1 - a) * g[i] + a * w[i]"])
def test_either_order_of_the_terms(formula):
    assert str(moving(body(formula))) == "w[i] + (1 - a) * (g[i] - w[i])"


def test_means_within_a_line():
    assert str(moving(body("w[i] - lr * (a * w[i] + (1 - a) * g[i])^2"))) == (
        "w[i] - lr * (w[i] + (1 - a) * (g[i] - w[i]))^2"
    )


@pytest.mark.parametrize("rule", RULES)
def test_other_lines_stay(rule):
    for name, line in lines(rule).items():
        if name not in ("m2", "v2", "c2") or rule in ("momentum", "nesterov"):
            assert moving(line) == line


@pytest.mark.parametrize(
    "formula", ["a * w[i] + (1 + a) * g[i]", "a * w[i] + (1 - b) * g[i]", "a * w[i] - (1 - a) * g[i]",
                "w[i] * g[i] + (1 - w[i]) * g[i]", "a * w[i] + (1 - a) * g[i] + g[i]"],
)  # fmt: skip
def test_what_is_no_mean_stays(formula):
    assert moving(body(formula)) == body(formula)


@given(x=st.floats(-1e3, 1e3, width=32), y=st.floats(-1e3, 1e3, width=32), a=st.floats(0, 1, width=32))
def test_a_mean_is_right_on_the_scale_of_the_larger_number(x, y, a):
    """What is rounded: 1 − a, the difference, and the multiply-add, which rounds once."""
    x, y, exact = np.float32(x), np.float32(y), float(a) * float(x) + (1 - float(a)) * float(y)
    found = np.float32(float(x) + float(np.float32(1 - float(a))) * float(np.float32(y - x)))
    assert abs(float(found) - exact) <= 3 * np.finfo(np.float32).eps * max(abs(x), abs(y)) + 1e-40
