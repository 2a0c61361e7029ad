"""What cannot be traced is refused by name, at its place, with what to write instead."""

# The functions under test are written as users write them.
# ruff: noqa: PLC2401

import numpy as np
import pytest

from chalkgrad.errors import ChalkgradError, ShapeError, UnsupportedError
from chalkgrad.frontend.numpy_trace import trace
from chalkgrad.layers.forwards import FORWARDS
from tests.frontend.tracing import lambda_of


def refuse(text: str, *axes: str, kind: type[ChalkgradError] = UnsupportedError) -> ChalkgradError:
    with pytest.raises(kind) as caught:
        trace(lambda_of(text, *axes))
    return caught.value


REFUSED = [
    ("lambda x: np.cumsum(x)", "several axes", "axis="),
    ("lambda x: x // 2", "of floats", ""),
    ("lambda x: np.pad(x, 1, mode='edge')", "mode='edge'", "Zeros"),
    ("lambda x: np.arctanh(x)", "np.arctanh cannot be traced", "Did you mean 'arctan'?"),
    ("lambda x: np.unwrap(x)", "np.unwrap cannot be traced", "Supported"),
    ("lambda x: np.linalg.svd(x)", "np.linalg.svd cannot be traced", "Supported of np.linalg: det, inv"),
    ("lambda x: np.tensordot(x, x, 1)", "np.tensordot cannot be traced", "Use np.einsum."),
    ("lambda x: np.select([x > 0], [x], 0)", "np.select cannot be traced", "Use np.where."),
    ("lambda x: np.exp(x, dtype=np.float32)", "np.exp with dtype= cannot be traced", "Leave dtype= out."),
    ("lambda x: x if x.sum() > 0 else -x", "values cannot be traced", "np.where"),
    ("lambda x: x if x.shape[0] > 3 else -x", "Sizes are symbols", "keyword"),
    ("lambda x: float(x.sum()) * x", "float()", "Leave it out"),
    ("lambda x: sum(row for row in x)", "loop over an array", "x.sum(axis=0)"),
    ("lambda x: [x[i] for i in range(x.shape[0])][0]", "Python integer", "np.arange"),
    ("lambda x: x.__setitem__(0, 1)", "Assignment to a part", "np.where"),
    ("lambda x: x.tolist()", ".tolist", ""),
    ("lambda x: x.sun()", ".sun", "Did you mean 'sum'"),
    ("lambda x: x[x > 0]", "boolean mask", "np.where(mask"),
    ("lambda x: x[:, 5:1:-1]", "negative step", "[::-1]"),
    ("lambda x: x[x]", "integer arrays", "N int"),
    ("lambda x: x.astype(int)", "Rounding", "N int"),
    ("lambda x: x * np.random.rand(3)", "random", "argument"),
    ("lambda x: x + np.ones(3)", "shape (3,)", "np.eye(K)"),
    ("lambda x: x + 'a'", "str", ""),
    ("lambda x: x * float('nan')", "nan", ""),
    ("lambda x: x / 0", "divides by the constant 0", ""),
    ("lambda x: np.add(x, 1, out=x)", "changes the argument x in place", "x = x + ..."),
    ("lambda x: np.sum(x, where=x > 0)", "where=", ""),
    ("lambda x: np.where(x > 0)", "list of places", "np.where(condition, a, b)"),
    ("lambda x: np.add.outer(x, x)", "add.outer", ""),
    ("lambda x: -(x > 0)", "negate conditions", "~a"),
    ("lambda x: (x > 0) - (x < 1)", "subtract conditions", "astype"),
    ("lambda x: np.linalg.norm(x, ord=1)", "ord=1", ""),
    ("lambda x: np.einsum('...nd->d', x)", "does not say where the axes of the ellipsis go", "..."),
    ("lambda x: np.arange(x.size)", "does not depend on any argument", ""),
    ("lambda x: x & x", "conditions only", ""),
    ("lambda x: None", "returns nothing", "return out"),
    ("lambda x: {'out': x}", "returns a dict", "return out"),
    ("lambda x: 3.0", "returns a float", "return out"),
    ("lambda x: ()", "empty tuple", "return out"),
    ("lambda x: np.ones(x.shape)", "does not depend on any argument", "annotated arguments"),
    ("lambda x: round(x)", "np.round cannot be traced", "an integer input"),
    ("lambda x: complex(x.sum())", "complex() of an array", "real"),
    ("lambda x: np.vdot(x[0], x)", "two arrays of the same axes", "np.einsum"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0].removeprefix("lambda x: "))
def test_refusals_name_the_thing_and_say_what_to_do(case: tuple[str, str, str]) -> None:
    text, what, hint = case
    message = str(refuse(text, "N D"))
    assert what in message
    assert hint in message


MISFITS = [
    ("lambda x, b: x + b", ("N D", "N"), ("x", "b", "D", "N", "v[:, None]")),
    ("lambda x, W: x @ W", ("N D", "K D"), ("x", "W", "D", "K", ".T")),
    ("lambda x, z: x * z", ("N D", "D N"), ("x", "z", ".T")),
    ("lambda x: x.sum(axis=2)", ("N D",), ("no axis 2",)),
    ("lambda x: x.sum(axis=(0, 0))", ("N D",), ("twice",)),
    ("lambda x: x[0, 0, 0]", ("N D",), ("2 axes",)),
    ("lambda x: np.einsum('ij,jk->ik', x, x)", ("N D",), ("N", "D")),
    ("lambda x: np.einsum('i->i', x)", ("N D",), ("one letter per axis",)),
    ("lambda x: np.einsum('ij->ik', x)", ("N D",), ("letters after ->",)),
    ("lambda x: x[5]", ("K=3",), ("outside an axis of size 3",)),
    ("lambda f, y: f[np.arange(f.shape[1]), y]", ("N K", "N int"), ("line up",)),
    ("lambda f, y: f[np.arange(f.shape[1]), y]", ("N K", "K int"), ("np.arange over K", "over N")),
    ("lambda x, s: x @ s", ("N D", ""), ("one axis or more",)),
]


@pytest.mark.parametrize("case", MISFITS, ids=lambda case: case[0].removeprefix("lambda "))
def test_shape_errors_name_both_axes(case: tuple[str, tuple[str, ...], tuple[str, ...]]) -> None:
    text, axes, wanted = case
    message = str(refuse(text, *axes, kind=ShapeError))
    for word in wanted:
        assert word in message


def test_errors_point_at_the_expression() -> None:
    def f(x: "N D", b: "N"):
        μ = x * 2
        return np.exp(μ) + (μ * b)

    with pytest.raises(ShapeError) as caught:
        trace(f)
    shown = str(caught.value).splitlines()
    assert "return np.exp(μ) + (μ * b)" in shown[1]
    assert shown[1][shown[2].index("^") : shown[2].rindex("^") + 1] == "μ * b"


def test_an_old_value_changed_in_place_is_not_used_again() -> None:
    def f(x: "N D"):
        a = x * 2
        b = a
        a += 1
        return a * b

    with pytest.raises(UnsupportedError, match="changed in place"):
        trace(f)


def test_an_in_place_result_of_other_axes_does_not_fit() -> None:
    def f(x: "N D", b: "D"):
        a = b * 2
        a += x
        return a

    with pytest.raises(ShapeError, match="replaces"):
        trace(f)


def test_declarations_are_checked() -> None:
    def no_axes(x):
        return x

    def bad_axes(x: "N D!"):
        return x

    def star(*x: "N"):
        return x

    def list_default(x: "N", weights=[1.0]):  # noqa: B006  (the default is what is refused)
        return x

    def no_arrays(p=0.5):
        return p

    for function, word in [
        (no_axes, "not declared"), (bad_axes, "not the name of an axis"), (star, "*x"),
        (list_default, "default of weights"), (no_arrays, "no array argument"), (np.exp, "written with def"),
    ]:  # fmt: skip
        with pytest.raises(UnsupportedError) as caught:
            trace(function)
        assert word in str(caught.value)


def test_an_unknown_static_argument_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="no argument reductoin"):
        trace(FORWARDS["softmax_loss"].function, statics={"reductoin": "sum"})
