"""The compiled step against the NumPy step: losses × activations × rules × types × sizes."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from chalkgrad.emit.kernels import compile_step
from chalkgrad.emit.together import together
from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.train.optimisers import RULES
from tests.emit.kernels.networks import (
    ACTIVATIONS,
    CLIPPED,
    COUNTING,
    LOSSES,
    Case,
    assert_given_up_steps_leave_nothing,
    assert_same,
    assert_same_bits,
    gives_up_whole_steps,
    two_layers,
)

ROOT = Path(__file__).resolve().parents[3]
TYPES = (np.float32, np.float64)
SIZES = (9, 35, 5)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation, dtype):
    case = Case(two_layers(activation, "softmax"), SIZES, rows=70, batch=40, dtype=dtype)
    assert_same(case, case.compile())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss, dtype):
    case = Case(two_layers("tanh", loss), SIZES, rows=70, batch=40, rule="momentum", dtype=dtype)
    assert_same(case, case.compile())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rule", RULES)
def test_rules(rule, dtype):
    case = Case(two_layers("relu", "softmax"), SIZES, rows=70, batch=40, rule=rule, dtype=dtype)
    assert_same(case, case.compile())


@settings(max_examples=24, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40)),
    batch=st.integers(1, 90),
    rows=st.integers(1, 120),
    dtype=st.sampled_from(TYPES),
    activation=st.sampled_from(["tanh", "sigmoid"]),
    rule=st.sampled_from(["sgd", CLIPPED, COUNTING]),
)
def test_sizes(sizes, batch, rows, dtype, activation, rule):
    case = Case(two_layers(activation, "mse"), sizes, rows=rows, batch=batch, rule=rule, dtype=dtype)
    assert_same(case, case.compile())


@pytest.mark.parametrize("rule", ["sgd", CLIPPED])
@pytest.mark.parametrize("sizes", [(300, 520, 10), (270, 40, 33)])
def test_blocked_sums(sizes, rule):
    """More k than one block holds, in all three products."""
    case = Case(two_layers("relu", "softmax"), sizes, rows=700, batch=400, rule=rule)
    assert_same(case, case.compile())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("sizes", [(9, 35, 5), (13, 7, 3), (1, 1, 1), (41, 37, 17), (65, 101, 10)])
def test_numbers_of_all_parameters(sizes, dtype):
    """Tiles past the last row and lanes past the last column are no parameters."""
    case = Case(two_layers("tanh", "mse"), sizes, rows=70, batch=33, rule=COUNTING, dtype=dtype)
    assert_same(case, case.compile())


def test_the_step_says_when_it_has_two_phases():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=80, batch=40)
    fused = case.compile()
    case.rule = CLIPPED
    kept = case.compile()
    assert not fused.two_phases
    assert kept.two_phases
    # Each gradient is kept as its parameter lies, and nothing is kept where it is used at once.
    assert {kind for kind, _ in kept.layout.places} >= {"parameter gradient", "partial sum_of_all"}
    assert "parameter gradient" not in {kind for kind, _ in fused.layout.places}


def test_memory_is_kept_between_calls():
    """Two calls of one step equal one call of two, the memories stored and loaded in between."""
    case = Case(two_layers("relu", "softmax"), SIZES, rows=80, batch=40)
    whole, after = case.run(case.compile())
    step = case.compile()
    first = step.run(case.data, case.order[:40], 40, scalars=case.scalars)
    between = {n: v.copy() for n, v in case.parameters.items()}
    memories = {m: {n: np.empty_like(v) for n, v in between.items()} for m in ("m", "v")}
    step.store(between, memories)
    other = case.compile()
    other.load(between, memories)
    second = other.run(case.data, case.order[40:], 40, scalars=case.scalars, steps_before=1)
    assert [*first, *second] == list(whole)
    other.store(between)
    for name, value in after.items():
        assert (between[name] == value).all()


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("activation", ["relu", "layer norm", "batch norm"])
@pytest.mark.parametrize("rule", ["adam", CLIPPED])
def test_threads_change_no_bit(activation, threads, rule):
    """Batches of enough panels that whoever is ready takes pieces of the work, and a small last one."""
    case = Case(two_layers(activation, "penalty"), (40, 170, 10), rows=1250, batch=600, rule=rule)
    assert_same_bits(case, case.compile(), case.compile(threads=threads))


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("activation", ["relu", "batch norm"])
@pytest.mark.parametrize("rule", ["adam", CLIPPED])
def test_steps_that_are_given_up_leave_nothing_behind(activation, threads, rule):
    case = Case(two_layers(activation, "softmax"), (40, 170, 10), rows=1250, batch=600, rule=rule)
    assert_given_up_steps_leave_nothing(case, threads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rule", ["adam", CLIPPED])
def test_steps_are_given_up_anywhere_where_nobody_needs_the_parameters(threads, rule):
    """Few observations and many parameters: most of the time goes to updates."""
    case = Case(two_layers("relu", "softmax"), (300, 700, 200), rows=8, batch=8, rule=rule)
    assert not all(gives_up_whole_steps(case, threads, kept=False) for _ in range(30))


MANY_ENDS = """
import sys, time, threading
import numpy as np
from chalkgrad.emit import together
from tests.emit.kernels.networks import CLIPPED, Case, two_layers

together.LOOK_SECONDS = 1e-4
rule = CLIPPED if sys.argv[2] == "clipped" else "adam"
case = Case(two_layers("relu", "softmax"), (20, 40, 5), rows=64, batch=32, rule=rule)
step, order = case.compile(threads=int(sys.argv[1])), np.tile(case.order, 20_000)
rng, now = np.random.default_rng(0), time.perf_counter
for _ in range(300):
    end = now() + rng.uniform(0, 1e-3)
    taken = step.run(case.data, order, 32, scalars=case.scalars, ended=lambda: now() > end, kept=False)
    assert len(taken) < 40_000
print("done")
"""


@pytest.mark.parametrize("rule", ["adam", "clipped"])
@pytest.mark.parametrize("threads", ["2", "3"])
def test_whoever_gives_a_step_up_leaves_nobody_waiting(threads, rule):
    """A thread that hears of an end a moment later than another must not miss a meeting with it."""
    command = [sys.executable, "-c", MANY_ENDS, threads, rule]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.stdout == "done\n", done.stderr


def test_all_steps_are_taken_where_nobody_ends_them():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=80, batch=40)
    losses, _ = case.run(case.compile())
    looked = case.compile().run(case.data, case.order, 40, scalars=case.scalars, ended=lambda: False)
    assert list(losses) == list(looked)


def test_who_waits_for_steps_waits_until_nobody_writes():
    """An exception in the waiting thread, such as a second Ctrl-C, does not leave work behind."""
    working = []

    def work(number):
        working.append(number)
        time.sleep(0.1)
        working.remove(number)

    def look():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(work, 2, look)
    assert not working


@pytest.mark.parametrize("rule", ["adam", CLIPPED])
def test_nothing_is_written_between_buffers(rule):
    case = Case(two_layers("tanh", "softmax"), (33, 17, 3), rows=75, batch=37, rule=rule)
    step = case.compile(zone=64, threads=2)
    free = np.ones(step.layout.total, bool)
    for place, numbers in step.layout.places.values():
        free[place : place + numbers] = False
    assert free.sum() >= 64 * len(step.layout.places)
    step.arena[free] = 123.5
    case.run(step)
    assert (step.arena[free] == 123.5).all()


def test_the_callers_arrays_are_only_read():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=50, batch=20)
    before = {n: v.copy() for n, v in (case.data | case.parameters).items()}
    case.run(case.compile())
    assert all((before[n] == v).all() for n, v in (case.data | case.parameters).items())


def test_denormals_count_again_after_a_run():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=50, batch=20)
    case.run(case.compile())
    assert np.float32(1e-40) * np.float32(1.0) > 0


def test_a_diverged_run_shows():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=60, batch=20, rule="sgd")
    case.data["x"][case.order[25]] = np.nan
    losses, _ = case.run(case.compile())
    assert np.isfinite(losses[0])
    assert np.isnan(losses[1:]).all()


def test_refusals():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=50, batch=20)
    step = case.compile()
    for order, batch in (([], 20), ([50], 20), ([-1], 20), ([0], 0), ([0], 21)):
        with pytest.raises(ShapeError):
            step.run(case.data, np.array(order, np.int64), batch, scalars=case.scalars)
    with pytest.raises(ShapeError, match="W1 has the shape"):
        step.load({**case.parameters, "W1": case.parameters["W1"].T})


def test_what_no_kernel_covers_is_refused_by_name():
    program = read_formula("f[i,j] = sum(d, x[i,d] * W[d,j])\nL = sum(i, j, f[i,j] * sum(h, W[h,j]))")
    case = Case(two_layers("relu", "softmax"), SIZES, rows=50, batch=20)
    case.program, case.parameters = program, {"W": np.ones((9, 5), np.float32)}
    with pytest.raises(UnsupportedError, match="no kernel"):
        case.compile()


def test_shapes_must_agree():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=50, batch=20)
    case.parameters["W2"] = case.parameters["W2"][:-1]
    with pytest.raises(ShapeError, match="W2 has the shape"):
        case.compile()
    assert callable(compile_step)
