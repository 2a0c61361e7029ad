"""Products of bfloat16: operands in words of two numbers, and steps against NumPy that rounds the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

from llvmlite import ir

from chalkgrad.emit.kernels import orientation, reference
from chalkgrad.emit.kernels.layout import HALVES, PAIRS, TURNED, Layout
from chalkgrad.emit.kernels.packing import write_value, write_weight
from chalkgrad.emit.kernels.targets import avx2, host
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Range, Tensor
from tests.emit.kernels.networks import (
    ACTIVATIONS,
    CLIPPED,
    COUNTING,
    LOSSES,
    Case,
    assert_given_up_steps_leave_nothing,
    assert_same,
    assert_same_bits,
    two_layers,
)
from tests.emit.kernels.test_bounds import assert_touches_nothing_else
from tests.emit.kernels.test_kernels import call, red_zones_hold, zoned
from tests.emit.kernels.test_shared_columns import LARGE, compiled


def paired_host():
    try:
        return host().with_pairs()
    except UnsupportedError:
        return None


needs_instructions = pytest.mark.skipif(paired_host() is None, reason="the processor has no AVX-512 BF16")
SIZES = (9, 35, 5)


def words_at(view, place, *shape):
    return view[place : place + int(np.prod(shape))].view(np.uint32).reshape(shape)


def even_and_odd(value):
    """What the words of an axis are made of: every other entry, a zero last where there is no odd one."""
    value = np.concatenate([value, np.zeros((len(value) % 2, *value.shape[1:]), value.dtype)])
    return value[::2], value[1::2]


@needs_instructions
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize(("observations", "size"), [(1, 1), (33, 5), (40, 17), (64, 50), (47, 64)])
def test_values_in_words(observations, size, vectors):
    target = replace(paired_host(), vectors=vectors)
    n, d = Range("N"), Range("D")
    t, layout = Tensor("t", (n, d)), Layout(target, {n: observations, d: size}, n)
    place, kinds = layout.features(t), (PAIRS, HALVES, TURNED)
    places = {kind: layout.packed(kind, t) for kind in kinds}
    arena, view = zoned(np.zeros(layout.total), np.float32)
    padded, panel, capacity = layout.padded(d), target.panel, layout.capacity
    value = np.random.default_rng(0).standard_normal((capacity, size)).astype(np.float32)
    features = reference.features(value, target, padded)
    view[place : place + features.size] = features.ravel()
    module = ir.Module("pack")
    write_value(module, layout, t, kinds, "pack")
    call(module, target, "pack", view, 0, 0, 0, layout.blocks, observations)

    got = words_at(view, places[PAIRS], layout.blocks, padded // 2, panel)
    for p in range(layout.blocks):
        wanted = reference.words(*even_and_odd(features[p, :size]))
        np.testing.assert_array_equal(got[p, : len(wanted)], wanted)
    got = words_at(view, places[HALVES], layout.blocks, padded, panel // 2)
    np.testing.assert_array_equal(
        got[:, :size], reference.words(features[:, :size, ::2], features[:, :size, 1::2])
    )
    value[observations:] = 0
    panels = reference.turned(value, target, capacity)
    for q, columns in enumerate(panels):
        width, used = columns.shape[1], min(panel, size - q * panel)
        start = places[TURNED] + q * panel * capacity // 2
        got = words_at(view, start, capacity // 2, width)
        np.testing.assert_array_equal(got[:, :used], reference.words(columns[::2], columns[1::2])[:, :used])
    assert red_zones_hold(arena, view)


@needs_instructions
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize(("rows", "size"), [(1, 1), (33, 5), (40, 17), (64, 50), (7, 64)])
def test_weights_in_words(rows, size, vectors):
    target = replace(paired_host(), vectors=vectors)
    n, d, h = Range("N"), Range("D"), Range("H")
    t = Tensor("W", (d, h), "float", "input")
    layout = Layout(target, {n: 40, d: rows, h: size}, n)
    places = {kind: layout.packed(kind, t) for kind in (PAIRS, HALVES)}
    layout.parameter(t)
    arena, view = zoned(np.zeros(layout.total), np.float32)
    value = np.random.default_rng(1).standard_normal((rows, size)).astype(np.float32)
    start, depth, panel = layout.parameter(t), layout.padded(d), target.panel
    view[start : start + depth * layout.padded(h)] = np.nan  # what stands in the padding is in no word
    for own, theirs in layout.pieces(view, t, value):
        own[...] = theirs
    module = ir.Module("pack")
    _, count = write_weight(module, layout, t, (PAIRS, HALVES), "pack")
    for q in range(count):  # a panel at a time, as threads share them out
        call(module, target, "pack", view, q, q + 1)
    panels = reference.columns(value, target, rows)
    assert len(panels) == count
    for q, columns in enumerate(panels):
        width, used = columns.shape[1], min(panel, size - q * panel)
        begin = q * panel * depth // 2
        got = words_at(view, places[PAIRS] + begin, -(-rows // 2), width)
        wanted = reference.words(*even_and_odd(columns))
        np.testing.assert_array_equal(got[:, :used], wanted[:, :used])
        got = words_at(view, places[HALVES] + begin, rows, width // 2)
        np.testing.assert_array_equal(got, reference.words(columns[:, ::2], columns[:, 1::2]))
    assert red_zones_hold(arena, view)


@needs_instructions
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    case = Case(two_layers(activation, "softmax"), SIZES, rows=70, batch=40, rule="sgd", paired=True)
    assert_same(case, case.compile())


@needs_instructions
@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss):
    case = Case(two_layers("tanh", loss), SIZES, rows=70, batch=40, rule="momentum", paired=True)
    assert_same(case, case.compile())


@needs_instructions
@settings(max_examples=24, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40)),
    batch=st.integers(1, 90),
    rows=st.integers(1, 120),
    rule=st.sampled_from(["sgd", CLIPPED, COUNTING]),
    flipped=st.sampled_from([(), ("W1",), ("W2",), ("W1", "W2")]),
    threads=st.integers(1, 2),
)
def test_sizes(sizes, batch, rows, rule, flipped, threads):
    few = min(rows, 2 * batch)  # what one step rounds otherwise, the next ones carry on
    case = Case(two_layers("tanh", "mse"), sizes, rows=few, batch=batch, rule=rule, paired=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHALKGRAD_CACHE", "")
        patch.setattr(orientation, "flipped", lambda found, layout: frozenset(flipped))
        step = case.compile(threads=threads)
    assert_same(case, step)


@needs_instructions
@pytest.mark.parametrize("rule", ["sgd", CLIPPED])
@pytest.mark.parametrize("sizes", [(600, 1100, 10), (270, 40, 33)])
def test_blocked_sums(sizes, rule):
    """More k than one block holds, in all three products."""
    case = Case(two_layers("relu", "softmax"), sizes, rows=1400, batch=1200, rule=rule, paired=True)
    assert_same(case, case.compile())


@needs_instructions
@pytest.mark.parametrize("activation", ["relu", "batch norm"])
@pytest.mark.parametrize("sizes", [SIZES, LARGE])
def test_any_number_of_threads_gives_the_same_bits(sizes, activation):
    case = Case(two_layers(activation, "softmax"), sizes, rows=90, batch=40, paired=True)
    one = case.compile()
    assert_same(case, case.compile(threads=2))
    for threads in (2, 3):
        assert_same_bits(case, one, case.compile(threads=threads))
        one = case.compile()
    if activation == "relu":
        assert_same_bits(case, case.compile(), compiled(case, threads=2))


@needs_instructions
@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("sizes", [SIZES, (1, 1, 2), (41, 37, 17)])
def test_nothing_else_is_touched(sizes, at_end):
    case = Case(two_layers("relu", "softmax"), sizes, rows=50, batch=33, rule="sgd", paired=True)
    assert_touches_nothing_else(case, case.compile(), at_end)


@needs_instructions
def test_given_up_steps_leave_nothing():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=80, batch=40, paired=True)
    assert_given_up_steps_leave_nothing(case, 2)


@needs_instructions
def test_numbers_that_float32_holds_and_bfloat16_does_not_are_rounded_and_stay_finite():
    case = Case(two_layers("relu", "softmax"), SIZES, rows=70, batch=40, paired=True)
    exact = Case(two_layers("relu", "softmax"), SIZES, rows=70, batch=40)
    (losses, _), (others, _) = case.run(case.compile()), exact.run(exact.compile())
    assert 0 < np.abs(losses / others - 1).max() < 0.01


def test_other_processors_and_types_are_refused():
    with pytest.raises(UnsupportedError, match="AVX-512 BF16; the processor 'haswell' has none"):
        avx2("x86_64-unknown-linux-gnu", "haswell", "+avx2,+fma").with_pairs()
    with pytest.raises(UnsupportedError, match="float64 is asked for"):
        host(double=True).with_pairs()
