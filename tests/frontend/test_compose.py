"""Layers in layers: `chain`, and a forward called inside another function."""

import numpy as np
import pytest

from chalkgrad.errors import ShapeError, UnsupportedError
from chalkgrad.expr.nodes import Program
from chalkgrad.frontend.compose import chain
from chalkgrad.frontend.forward import Forward, forward, is_traced
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.layers.forwards import FORWARDS
from chalkgrad.verify.reference import run

AFFINE, RELU, LOSS = (FORWARDS[name] for name in ("affine", "relu", "softmax_loss"))


def stages(*names: str) -> list[Program]:
    return [FORWARDS[name].program for name in names]


def inputs(program: Program) -> list[str]:
    return [str(t) for t in program.inputs]


def test_the_two_layer_net_reads_d_h_k() -> None:
    net = chain(stages("affine", "relu", "affine", "softmax_loss"), "net")
    assert inputs(net) == ["x[N, D]", "W1[D, H]", "b1[H]", "W2[H, K]", "b2[K]", "y[N]"]
    assert [str(d) for d in net.definitions] == [
        "f1[i,h] = sum(d, x[i,d] * W1[d,h]) + b1[h]",
        "a[i,h] = relu(f1[i,h])",
        "f2[i,k] = sum(h, a[i,h] * W2[h,k]) + b2[k]",
        "e[i,k] = exp(f2[i,k])",
        "z[i] = sum(k, e[i,k])",
        "p[i,k] = e[i,k] / z[i]",
        "L = -sum(i, log(p[i,y[i]])) / size(N)",
    ]
    assert net.outputs[0].name == "L"


def test_more_hidden_ranges_are_numbered() -> None:
    net = chain(stages("affine", "relu", "affine", "tanh", "affine", "mse"))
    assert inputs(net)[1::2][:3] == ["W1[D, H1]", "W2[H1, H2]", "W3[H2, K]"]
    assert [d.target.name for d in net.definitions][:5] == ["f1", "a1", "f2", "a2", "f3"]


def test_a_chain_computes_its_stages() -> None:
    net = chain(stages("affine", "relu", "affine", "softmax_loss"))
    rng = np.random.default_rng(3)
    x, W1, b1, W2, b2 = (rng.normal(size=s) for s in ((5, 3), (3, 6), (6,), (6, 4), (4,)))
    y = rng.integers(0, 4, 5)
    computed = run(net, dict(zip(net.inputs, (x, W1, b1, W2, b2, y), strict=True)))
    scores = np.maximum(x @ W1 + b1, 0) @ W2 + b2
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(computed[net.outputs[0]], -logs[np.arange(5), y].mean(), rtol=1e-13)


def test_parameters_of_equal_stages_are_numbered() -> None:
    net = chain(stages("leaky_relu", "leaky_relu"))
    assert [(t.name, value) for t, value in net.parameters] == [("slope1", 0.01), ("slope2", 0.01)]


def test_a_numbered_name_does_not_hide_another_one() -> None:
    first = read_formula("W1[i,k] = sum(d, x[i,d] * W[d,k])", "first")
    net = chain([first, AFFINE.program])
    names = [t.name for t in net.tensors()]
    assert len(set(names)) == len(names)
    assert {"W1", "W2", "W3"} <= set(names)


def test_fixed_sizes_meet_or_are_refused() -> None:
    @forward
    def three(x: "N D=3"):
        return 2 * x

    @forward
    def four(x: "N D=4"):
        return 2 * x

    net = chain([RELU.program, three.program])
    assert net.inputs[0].axes[1].size == 3
    assert net.outputs[0].axes[1] is net.inputs[0].axes[1]
    with pytest.raises(ShapeError, match=r"three gives the axis D=3 and four takes D=4"):
        chain([three.program, four.program])


def test_another_number_of_axes_names_both_layers() -> None:
    with pytest.raises(ShapeError) as caught:
        chain(stages("logsumexp", "affine"))
    assert "logsumexp" in str(caught.value)
    assert "affine" in str(caught.value)


def test_floats_are_no_labels() -> None:
    @forward
    def rows(y: "N int", W: "V D"):
        return W[y]

    with pytest.raises(UnsupportedError, match="type int"):
        chain([FORWARDS["logsumexp"].program, rows.program])


def test_no_stages() -> None:
    with pytest.raises(UnsupportedError, match="at least one"):
        chain([])


# --- calling forwards inside functions -------------------------------------------------------------


@forward
def net(x: "N D", W1: "D H", b1: "H", W2: "H K", b2: "K", y: "N int", reg=0.1):
    """A two-layer net with a penalty."""
    h = RELU(AFFINE(x, W1, b1))
    scores = AFFINE(h, W=W2, b=b2)
    loss = LOSS(scores, y, reduction="sum")
    return loss + 0.5 * reg * (np.sum(W1 * W1) + np.sum(W2 * W2))


def test_called_layers_take_the_callers_names() -> None:
    names = [d.target.name for d in net.program.definitions]
    assert names == ["f", "h", "scores", "e", "z", "p", "loss", "L"]
    assert inputs(net.program)[1:4] == ["W1[D, H]", "b1[H]", "W2[H, K]"]


def test_called_layers_compute_what_the_function_computes() -> None:
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=s) for s in ((5, 3), (3, 6), (6,), (6, 4), (4,))] + [rng.integers(0, 4, 5)]
    computed = run(net.program, dict(zip(net.program.inputs, arrays, strict=True)))
    np.testing.assert_allclose(computed[net.program.outputs[0]], net(*arrays), rtol=1e-13)


def test_a_layer_and_its_caller_may_swap_names() -> None:
    @forward
    def difference(x: "N", z: "N"):
        d = x - z
        return d * x

    @forward
    def swapped(z: "M", x: "M"):
        return difference(x * 2, z)

    x, z = np.array([1.0, 2.0, 4.0]), np.array([0.5, 3.0, -1.0])
    program = swapped.program
    computed = run(program, dict(zip(program.inputs, (z, x), strict=True)))
    np.testing.assert_allclose(computed[program.outputs[0]], (2 * x - z) * 2 * x)


def test_parameters_of_called_layers() -> None:
    @forward
    def f(x: "N D", slope=0.3):
        return (
            FORWARDS["leaky_relu"](x) + FORWARDS["leaky_relu"](x, slope=slope) + FORWARDS["elu"](x, alpha=2.0)
        )

    x = np.array([[1.0, -2.0], [-0.5, 0.25]])
    computed = run(f.program, {f.program.inputs[0]: x})
    np.testing.assert_allclose(computed[f.program.outputs[0]], f(x))
    assert [t.name for t, _ in f.program.parameters] == ["slope"]


CALLS = [
    (lambda x, W, b: AFFINE(x, W), "is not given b"),
    (lambda x, W, b: AFFINE(x, W, b, b), "not 4"),
    (lambda x, W, b: AFFINE(x, W, b, bias=b), "no such argument"),
    (lambda x, W, b: AFFINE(x, W, b, W=W), "twice"),
    (lambda x, W, b: AFFINE(x, W.T, b), "axis D would be D in one argument and K in W"),
    (lambda x, W, b: AFFINE(b, W, b), "axis D would be K"),
    (lambda x, W, b: AFFINE(x[:, None, 0], W, b), "axis of length one"),
    (lambda x, W, b: LOSS(x @ W, b), "type int"),
    (lambda x, W, b: LOSS(x @ W, b, reduction="median"), "median"),
    (lambda x, W, b: RELU(x, relu=1), "no such argument"),
]


@pytest.mark.parametrize("case", CALLS, ids=[message for _, message in CALLS])
def test_wrong_calls(case) -> None:
    call, message = case

    @forward
    def caller(x: "N D", W: "D K", b: "K"):
        return call(x, W, b)

    with pytest.raises((ShapeError, UnsupportedError)) as caught:
        _ = caller.program
    assert message in str(caught.value)


# --- Forward ---------------------------------------------------------------------------------------


def test_tracing_waits_until_the_program_is_needed() -> None:
    calls = []

    @forward(name="counted")
    def f(x: "N"):
        """Doubles."""
        calls.append(is_traced(x))
        return 2 * x

    assert calls == []
    assert f.program is f.program
    assert calls == [True]
    assert (f.name, f.doc, f.program.name) == ("counted", "Doubles.", "counted")
    assert f(np.array([1.5])) == 3.0
    assert calls == [True, False]


def test_a_formula_as_a_forward_composes_too() -> None:
    square = Forward.of(read_formula("s[i,d] = x[i,d]^2", "square"))

    @forward
    def f(x: "N D"):
        return square(x).sum()

    assert [str(d) for d in f.program.definitions] == ["s[i,d] = x[i,d]^2", "L = sum(i d, s[i,d])"]
    with pytest.raises(UnsupportedError, match="without a Python function"):
        square(np.ones((2, 2)))
    with pytest.raises(UnsupportedError, match="no argument p"):
        square.program_with(p=1)


def test_every_layer_says_what_it_is_and_where_it_is_from() -> None:
    for name, layer in FORWARDS.items():
        assert layer.name == name
        assert layer.doc, name


def test_a_static_argument_must_be_hashable() -> None:
    with pytest.raises(UnsupportedError, match="not a list"):
        LOSS.program_with(reduction=["mean"])
