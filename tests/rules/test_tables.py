"""Each row of each table holds by numbers: identities, derivatives of primitives, their spellings."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest

from chalkgrad.expr.grammar import scalar
from chalkgrad.expr.nodes import Access, Tensor
from chalkgrad.primitives import PRIMITIVES, Primitive
from chalkgrad.rules.identities import NEATER, STABLE, VARIABLE, Identity, sides
from chalkgrad.verify.environment import Environment
from chalkgrad.verify.reference import evaluate

POINTS = np.array([-1.7, -0.6, 0.3, 0.9, 1.8])


def value(e, **names: float) -> float:
    arrays = {Tensor(n, ()): np.asarray(v) for n, v in names.items()}
    return float(evaluate(e, (), Environment({}, arrays)))


def places(primitive: Primitive) -> list[tuple[float, ...]]:
    """Argument tuples inside the domain and away from kinks."""
    low, high = primitive.domain
    inside = [low + (high - low) * part for part in (0.13, 0.41, 0.77)]
    if primitive.name == "where":
        return [(1.0, 0.3, -0.4), (0.0, 0.3, -0.4)]
    if primitive.arity == 0:
        return [()]
    if primitive.arity == 1:
        return [(x,) for x in inside if all(abs(x - kink) > 1e-2 for kink in primitive.kinks)]
    if primitive.arity == 3:
        return [tuple(inside[a] for a in order) for order in ((1, 0, 2), (0, 1, 2), (2, 0, 1), (1, 2, 0))]
    return [(inside[a], inside[b]) for a, b in ((0, 1), (1, 0), (2, 0))]


@pytest.mark.parametrize("identity", [*STABLE, *NEATER], ids=lambda row: row.name)
@pytest.mark.parametrize("a", POINTS)
def test_identity_holds(identity: Identity, a: float) -> None:
    lhs, rhs = sides(identity)
    env = Environment({}, {VARIABLE.tensor: np.asarray(a)})
    assert math.isclose(float(evaluate(lhs, (), env)), float(evaluate(rhs, (), env)), rel_tol=1e-12)


def with_derivative() -> list[tuple[Primitive, int]]:
    return [(p, n) for p in PRIMITIVES.values() for n in range(p.arity)]


@pytest.mark.parametrize(("primitive", "argument"), with_derivative(), ids=lambda v: getattr(v, "name", v))
def test_derivative_of_primitive(primitive: Primitive, argument: int) -> None:
    names = {a: Access(Tensor(a, ()), ()) for a in primitive.arguments}
    derivative = scalar(primitive.derivatives[argument], names)
    for place in places(primitive):
        if primitive.name == "where" and argument == 0:
            continue  # a condition takes two values; its derivative is zero by convention
        found = value(derivative, **dict(zip(primitive.arguments, place, strict=True)))
        step = 1e-5

        def at(shift: float, place=place) -> float:
            moved = [p + shift * (n == argument) for n, p in enumerate(place)]
            return float(np.asarray(primitive.reference(*moved)))

        expected = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
        assert math.isclose(found, expected, rel_tol=1e-8, abs_tol=1e-9)


@pytest.mark.parametrize(
    "primitive", [p for p in PRIMITIVES.values() if any(p.in_value)], ids=lambda p: p.name
)
def test_derivative_in_the_value(primitive: Primitive) -> None:
    arguments = (*primitive.arguments, "y")
    for argument, text in enumerate(primitive.in_value):
        if text is None:
            continue
        names = {a: Access(Tensor(a, ()), ()) for a in arguments}
        for place in places(primitive):
            y = float(np.asarray(primitive.reference(*place)))
            known = dict(zip(arguments, (*place, y), strict=True))
            plain = value(scalar(primitive.derivatives[argument], names), **known)
            assert math.isclose(value(scalar(text, names), **known), plain, rel_tol=1e-12, abs_tol=1e-15)


@pytest.mark.parametrize(
    "primitive", [p for p in PRIMITIVES.values() if p.holomorphic and p.arity == 1], ids=lambda p: p.name
)
def test_holomorphic_primitives_take_complex_numbers(primitive: Primitive) -> None:
    (x,) = places(primitive)[0]
    step = 1e-30
    slope = complex(primitive.reference(np.asarray(complex(x, step)))).imag / step
    derivative = scalar(primitive.derivatives[0], {"x": Access(Tensor("x", ()), ())})
    assert math.isclose(slope, value(derivative, x=x), rel_tol=1e-12)
    assert not cmath.isnan(slope)


@pytest.mark.parametrize("primitive", PRIMITIVES.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_spelling_computes_the_function(primitive: Primitive, backend: str) -> None:
    library = pytest.importorskip(backend)
    names: dict[str, object] = {}
    if backend == "numpy":
        names = {"np": np, "erf": np.vectorize(math.erf)}
    elif backend == "torch":
        names = {"torch": library}
    else:
        names = {"jax": library, "jnp": pytest.importorskip("jax.numpy")}
    for place in places(primitive):
        arrays = [
            _array(backend, library, a, primitive.name == "where" and n == 0) for n, a in enumerate(place)
        ]
        letters = [f"v{n}" for n in range(len(arrays))]
        code = getattr(primitive, backend).format(*letters)
        found = eval(code, {**names, **dict(zip(letters, arrays, strict=True))})
        expected = float(np.asarray(primitive.reference(*place)))
        assert math.isclose(float(found), expected, rel_tol=1e-6, abs_tol=1e-12), code


def _array(backend: str, library, number: float, boolean: bool):
    if backend == "torch":
        return library.tensor(bool(number)) if boolean else library.tensor(number, dtype=library.float64)
    make = np.asarray if backend == "numpy" else library.numpy.asarray
    return make(bool(number)) if boolean else make(number)
