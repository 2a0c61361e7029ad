"""Blocks of one array are stacked, and a sum over more indices is read off one over fewer."""

from __future__ import annotations

import numpy as np

import chalkgrad as cg
from chalkgrad.layers import GALLERY
from chalkgrad.rules.partial_sums import read_off_partial_sums

rng = np.random.default_rng(0)


@cg.layer
def two_gates(x: "N D", U: "2 D K"):
    return np.tanh(x @ U[0]) * (x @ U[1])


@cg.layer
def one_of_three(x: "N D", U: "3 D K"):
    return x @ U[1]


def test_a_gradient_that_is_filled_block_by_block_is_a_stack_of_products():
    code = two_gates.source("numpy")
    assert "dU = np.stack([x.T @ " in code
    assert "np.arange(2)" not in code
    assert "dim=0" in two_gates.source("torch")
    assert "jnp.stack([" in two_gates.source("jax")


def test_stacked_blocks_have_the_right_values():
    x, u, g = rng.normal(size=(5, 3)), rng.normal(size=(2, 3, 4)), rng.normal(size=(5, 4))
    ops = two_gates.compile("numpy")
    _, cache = ops.forward(x, u)
    _, found = ops.backward(g, cache)
    t = np.tanh(x @ u[0])
    expected = np.stack([x.T @ (g * (x @ u[1]) * (1 - t**2)), x.T @ (g * t)])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_blocks_that_nothing_reads_have_zero_gradient():
    x, u, g = rng.normal(size=(5, 3)), rng.normal(size=(3, 3, 4)), rng.normal(size=(5, 4))
    ops = one_of_three.compile("numpy")
    _, found = ops.backward(g, ops.forward(x, u)[1])
    np.testing.assert_allclose(found, np.stack([0 * u[0], x.T @ g, 0 * u[2]]), rtol=1e-12)


@cg.layer
def root_of_squares(x: "N D", g: "M D"):
    return np.sqrt(((x[:, None, :] - g[None, :, :]) ** 2).sum(axis=2))


@cg.layer
def root_of_products(x: "N D", z: "M D"):
    return np.sqrt(x @ z.T)


def backward_of(layer):
    return layer.source("numpy").split(f"def {layer.name}_backward")[1]


def test_numbers_of_a_value_and_of_its_readers_cancel():
    code = backward_of(root_of_squares)
    assert "g2 = dout / out" in code  # g is an input's name
    assert "0.5" not in code
    assert "2 *" not in code
    assert "∂L/∂s" not in code  # the equations beside the code name what the code names


def test_a_reader_without_a_number_gets_none():
    code = backward_of(root_of_products)
    assert code.count("0.5") == 1


def test_values_without_their_numbers_give_the_right_gradients():
    x, z, up = rng.normal(size=(3, 2)), rng.normal(size=(4, 2)), rng.normal(size=(3, 4))
    ops = root_of_squares.compile("numpy")
    d, cache = ops.forward(x, z)
    difference = x[:, None] - z
    slope = (up / d)[:, :, None] * difference
    np.testing.assert_allclose(d, np.linalg.norm(difference, axis=2), rtol=1e-12)
    for found, expected in zip(ops.backward(up, cache), (slope.sum(axis=1), -slope.sum(axis=0)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_sum_over_all_observations_is_read_off_that_of_each():
    code = GALLERY["instance_norm"].source("numpy")
    assert "dγ = t1.sum(axis=0)" in code
    assert "dβ = t2.sum(axis=0)" in code


def test_a_sum_within_another_is_nested_and_a_contraction_is_not():
    program = cg.formula(
        "a: N C H\nb: N C H\nx: N D\nW: D K\n"
        "p[i,c] = sum(h, a[i,c,h] * b[i,c,h])\nq[c] = sum(i h, a[i,c,h] * b[i,c,h])\n"
        "f[i,k] = sum(d, x[i,d] * W[d,k])\ng[k] = sum(i d, x[i,d] * W[d,k])\n"
        "L = sum(i c, p[i,c]) + sum(c, q[c]) + sum(i k, f[i,k]) + sum(k, g[k])"
    ).program
    after = {d.target.name: str(d.body) for d in read_off_partial_sums(program.definitions)}
    assert after["q"] == "sum(i, sum(h, a[i,c,h] * b[i,c,h]))"
    assert after["g"] == "sum(i d, x[i,d] * W[d,k])"
