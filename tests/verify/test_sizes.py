"""Sizes that satisfy what a program asks of them, and labels that mean something at a test point."""

from __future__ import annotations

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.errors import VerificationError
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.verify.environment import whole_size
from chalkgrad.verify.sample import sample
from chalkgrad.verify.sizes import draw_sizes


def attention(x: "B T E", Wq: "E F", Wk: "E F", Wv: "E F", Wo: "F E", *, heads=2):
    B, T, _ = x.shape

    def split(z):
        return z.reshape(B, T, heads, -1).transpose(0, 2, 1, 3)

    q, k, v = split(x @ Wq), split(x @ Wk), split(x @ Wv)
    e = np.exp(q @ k.swapaxes(-1, -2))
    p = e / e.sum(-1, keepdims=True)
    return (p @ v).transpose(0, 2, 1, 3).reshape(B, T, -1) @ Wo


def round_trip(x: "B T E", W: "E K"):
    B, T, _ = x.shape
    parts = x.reshape(B, T, 2, -1).transpose(0, 2, 1, 3)
    return parts.transpose(0, 2, 1, 3).reshape(B, T, -1) @ W


def channel_shuffle(x: "N C H"):
    N, C, H = x.shape
    return np.tanh(x.reshape(N, 3, -1, H).transpose(0, 2, 1, 3).reshape(N, C, H))


def patches(x: "H W"):
    H, W = x.shape
    return (x.reshape(H // 2, 2, W // 3, 3) ** 2).sum(axis=(1, 3))


FOLDED = [attention, round_trip, channel_shuffle, patches]


@pytest.mark.parametrize("function", FOLDED, ids=lambda f: f.__name__)
def test_sizes_come_out_equal_where_they_must(function):
    program = cg.layer(function).program
    assert program.equal_sizes
    for seed in range(12):
        sizes = draw_sizes(program, np.random.default_rng(seed))
        for one, other in program.equal_sizes:
            assert whole_size(one, sizes) == whole_size(other, sizes)
        assert min(sizes.values()) > 1


@pytest.mark.parametrize("function", FOLDED, ids=lambda f: f.__name__)
def test_folded_axes_derive_by_the_complex_step(function):
    """Quotients of places are perturbed by nothing, so nothing has to be extrapolated."""
    derivation = cg.layer(function).derive()
    for seed in range(4):
        verification = derivation.verify(seed=seed)
        assert {line.method for line in verification.lines} <= {"exact", "complex step"}
        assert verification.worst < 1e-11


def test_sizes_that_cannot_be_equal_are_refused():
    program = cg.layer(channel_shuffle).program
    given = dict.fromkeys(program.inputs[0].axes, 7)
    with pytest.raises(VerificationError, match=r"no sizes .* channel_shuffle has size\(C\)"):
        draw_sizes(program, np.random.default_rng(0), given)


LABELLED = {
    "class means": "w: K\ny: N int\nm[k] = w[k] * sum(i, 1(y[i] == k) * x[i]) / sum(i, 1(y[i] == k))",
    "distance to the class mean": "w: K\ny: N int\n"
    "m[k] = w[k] * sum(i, 1(y[i] == k) * x[i]) / sum(i, 1(y[i] == k))\nL = sum(i, (x[i] - m[y[i]])^2)",
    "one class": "y: N int\nL = sum(i, 1(y[i] == 3) * x[i]) / sum(i, 1(y[i] == 3))",
    "all but one class": "y: N int\nL = sum(i, where(y[i] == 7, x[i], x[i]^2)) / sum(i, 1(y[i] != 7))",
    "above a bound": "y: N int\nL = sum(i, 1(y[i] >= 4) * x[i]) / sum(i, 1(y[i] >= 4))",
    "negative": "y: N int\nL = sum(i, 1(y[i] < 0) * x[i]) / sum(i, 1(y[i] < 0))",
    "ignored": "y: N int\nL = -sum(i, 1(y[i] != -100) * log(p[i,y[i]])) / sum(i, 1(y[i] != -100))",
    "graph": "M: N K int\np[i,j] = 1(M[i,j] == 1) * exp(s[i,j]) / sum(k, 1(M[i,k] == 1) * exp(s[i,k]))",
    "pairs": "s: N int\nL = sum(i j, 1(s[i] == s[j]) * 1(i < j) * x[i] * x[j])"
    " / sum(i j, 1(s[i] == s[j]) * 1(i < j))",
    "ordinal": "y: N int\nL = sum(i, log(1 / (1 + exp(-th[y[i]+1])) + exp(th[y[i]])) * s[i])",
    "one based": "y: N int\nL = sum(i, W[y[i]-1,i] * x[i])",
    "every other": "y: N int\nW: K N\nL = sum(i, W[2*y[i]+1,i] * x[i])",
    "from the end": "y: N int\nW: K N\nL = sum(i, W[size(K)-1-y[i],i] * x[i])",
    "two labels": "y: N int\nz: N int\nL = sum(i, W[y[i]+1,z[i]] * x[i])",
}


@pytest.mark.parametrize("name", LABELLED)
def test_labels_mean_something(name):
    """Every line is checked, at four points, and some line has an entry that is not 0."""
    layer = cg.formula(LABELLED[name])
    derivation = layer.derive()
    for seed in range(4):
        assert derivation.verify(seed=seed).ok
        env = sample(layer.program, seed)
        assert all(np.isfinite(env.array(t)).all() for t in layer.program.outputs)
        assert any(env.array(t).any() for t in layer.program.outputs)


@pytest.mark.parametrize("seed", range(10))
def test_labels_take_compared_numbers_and_stay_inside_of_what_is_read(seed):
    env = sample(read_formula("y: N int; L = sum(i, th[y[i]+1] * th[y[i]] * x[i])"), seed)
    labels, thresholds = (next(a for t, a in env.arrays.items() if t.name == n) for n in ("y", "th"))
    assert labels.min() >= 0
    assert labels.max() == len(thresholds) - 2
    assert len(set(labels.tolist())) > 1
    drawn: set[int] = set()
    for more in range(20):
        env = sample(
            read_formula("y: N int; L = sum(i, 1(y[i] == 9) * x[i]) + sum(i, x[i]^2)"), 20 * seed + more
        )
        drawn |= set(next(a for t, a in env.arrays.items() if t.name == "y").tolist())
    assert drawn == {0, 1, 2, 9}


@pytest.mark.parametrize(
    "body",
    [
        "where(y[i] > 0.1, 1(k == y[i]), b[k])",
        "1(k == y[i]) * 1(y[i] < 2) * b[k]",
        "1(y[i] != k) * 1(y[i] == 9) + b[k]",
    ],
)
@pytest.mark.parametrize("seed", range(6))
def test_labels_are_what_emitted_code_accepts(body, seed):
    """What equals an index is one of its values, whatever number it is compared with beside that."""
    layer = cg.formula(f"y: N int\nout[i,k] = {body}")
    env = sample(layer.program, seed)
    layer.compile("numpy").forward(*(env.arrays[t] for t in layer.program.inputs))
