"""A slow, obvious evaluator of expressions on NumPy arrays.

    evaluate(e, (i, k), env)[i, k]  =  the number that e is once its free indices have values

Every value below is an array with one axis per index in scope, of that index's size or of size one
where the value does not depend on it. A sum adds its indices as trailing axes and sums them away
again. Nothing is reordered, contracted or cached: what is written is what is computed.

Complex arrays pass through, so that a derivative can be taken by the complex step
f'(x) = Im f(x + ih) / h, which has no cancellation. Comparisons look at the real part only, and a
function with kinks continues the branch that its real part is on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import ShapeError, UnsupportedError, VerificationError
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Partial,
    Pow,
    Program,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import tensors_in, walk
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.verify.branches import BRANCHES, COMPARE, number
from chalkgrad.verify.differences import complex_step, richardson
from chalkgrad.verify.environment import Array, Environment, Scope, infer_sizes

__all__ = [
    "BRANCHES",
    "COMPARE",
    "Environment",
    "Evaluator",
    "evaluate",
    "holomorphic",
    "numbers",
    "run",
    "run_on",
    "values",
]


def evaluate(expr: Expr, indices: tuple[Index, ...], env: Environment) -> Array:
    """The expression's values, one axis per index, in order.

    Args:
        expr: Its free indices are among `indices`.
        indices: The axes of the result.
        env: Sizes and arrays.

    Raises:
        VerificationError: A tensor or size without a value, an index out of range, or a value that
            is not a number.

    Example:
        >>> K = Range("K"); k = Index("k", K); v = Tensor("v", (K,))
        >>> env = Environment({K: 3}, {v: np.array([1.0, 2.0, 4.0])})
        >>> evaluate(Access(v, (k,)) * Sum((k,), Access(v, (k,))), (k,), env)
        array([ 7., 14., 28.])
    """
    return numbers(expr, indices, Evaluator(env))


def values(expr: Expr, indices: tuple[Index, ...], evaluator: Evaluator) -> Array:
    """What an evaluator makes of the expression, one axis per index."""
    shape = tuple(evaluator.env.size(i.range) for i in indices)
    with np.errstate(all="ignore"):
        return np.array(np.broadcast_to(evaluator.value(expr, Scope.over(indices, evaluator.env)), shape))


def numbers(expr: Expr, indices: tuple[Index, ...], evaluator: Evaluator) -> Array:
    """The same, where each of these is a number.

    Raises:
        VerificationError: One is not.
    """
    found = values(expr, indices, evaluator)
    if np.isnan(found).any():
        where = tuple(int(p) for p in np.argwhere(np.isnan(found))[0])
        named = ", ".join(f"{i.name}={p}" for i, p in zip(indices, where, strict=True))
        raise VerificationError(f"{expr} is not a number{' at ' + named if named else ''}")
    return found


def run(
    program: Program,
    inputs: Mapping[Tensor, Any],
    parameters: Mapping[Tensor, float] | None = None,
    sizes: Mapping[Range, int] | None = None,
) -> dict[Tensor, Array]:
    """The forward pass: every tensor of the program with its values.

    Args:
        program: The definitions, evaluated in order.
        inputs: An array for each input, shapes as its axes.
        parameters: Values instead of the defaults.
        sizes: Sizes of ranges that no input has.

    Raises:
        ShapeError: An input is missing, or sizes contradict each other.
    """
    arrays = _arguments(program, inputs, parameters or {})
    known = infer_sizes(arrays, sizes or {}, program.sizes)
    env = Environment(known, arrays, {d.target: d for d in program.definitions})
    return dict(run_on(program.definitions, env).arrays)


def run_on(definitions: Sequence[Definition], env: Environment) -> Environment:
    """The environment after evaluating the definitions in order."""
    for definition in definitions:
        value = evaluate(definition.body, definition.indices, env)
        if definition.target.dtype == "int":
            value = np.rint(value.real).astype(np.int64)
        elif definition.target.dtype == "bool":
            value = value.real != 0
        env = env.having({definition.target: value})
    return env


def _arguments(
    program: Program, inputs: Mapping[Tensor, Any], parameters: Mapping[Tensor, float]
) -> dict[Tensor, Array]:
    arrays: dict[Tensor, Array] = {}
    for tensor in program.inputs:
        if tensor not in inputs:
            raise ShapeError(f"the input {tensor} of {program.name} has no value")
        given = np.asarray(inputs[tensor])
        whole = given.dtype.kind in "iub"
        arrays[tensor] = given.astype(float) if whole and tensor.dtype == "float" else given
    for tensor, default in program.parameters:
        arrays[tensor] = np.asarray(parameters.get(tensor, default), dtype=float)
    return arrays


# --- evaluation ------------------------------------------------------------------------------------


class Evaluator:
    """One named case per node. The sampler subclasses it to look at the arguments of functions."""

    def __init__(self, env: Environment) -> None:
        self.env = env
        self.error = 0.0
        self.method = "exact"

    def value(self, e: Expr, scope: Scope) -> Array:
        match e:
            case Const(written):
                return np.full((1,) * scope.ndim, float(written))
            case Size(of):
                return np.full((1,) * scope.ndim, float(self.env.size(of)))
            case Index():
                if e not in scope.values:
                    raise VerificationError(f"the index {e.name} over {e.range} is not bound")
                return scope.values[e]
            case Access():
                return self.access(e, scope)
            case Indicator():
                return self.indicator(e, scope)
            case Apply():
                return self.apply(e, scope)
            case Add(terms):
                return sum((self.value(t, scope) for t in terms), np.zeros((1,) * scope.ndim))
            case Mul():
                return self.product(e, scope)
            case Pow():
                return self.power(e, scope)
            case Sum(indices, body):
                bound = tuple(range(scope.ndim, scope.ndim + len(indices)))
                return np.asarray(self.spread(indices, body, scope).sum(axis=bound))
            case Reduce():
                return self.reduction(e, scope)
            case Opaque():
                return self.matrix_function(e, scope)
            case Partial():
                return self.partial(e, scope)
        raise UnsupportedError(f"the reference evaluator has no case for the node {type(e).__name__}")

    def access(self, e: Access, scope: Scope) -> Array:
        array = self.env.array(e.tensor)
        if len(e.indices) != array.ndim:
            raise VerificationError(f"{e} has {len(e.indices)} indices, but {e.tensor} has {array.ndim} axes")
        if not e.indices:
            return number(array).reshape((1,) * scope.ndim)
        at = np.broadcast_arrays(*(self.position(i, scope) for i in e.indices))
        inside = np.ones(at[0].shape, bool)
        for positions, size in zip(at, array.shape, strict=True):
            inside &= (positions >= 0) & (positions < size)
        if (scope.live & ~inside).any():
            seen = [f"{int(p.min())}..{int(p.max())}" for p in at]
            raise VerificationError(
                f"{e} reads outside of {e.tensor}: shape {array.shape}, indices {', '.join(seen)}",
                hint="Multiply by an indicator of the bounds where that is meant.",
            )
        safe = tuple(np.where(inside, p, 0) for p in at)
        return np.where(inside, number(array[safe]), 0.0)

    def position(self, e: Expr, scope: Scope) -> NDArray[np.int64]:
        """An index expression as integers."""
        value = Evaluator(self.env).value(e, scope).real
        if isinstance(e, Index):
            return value.astype(np.int64)
        whole = np.rint(value)
        if not np.array_equal(value, whole):
            raise VerificationError(f"the index {e} is not a whole number")
        return np.asarray(whole, np.int64)

    def indicator(self, e: Indicator, scope: Scope) -> Array:
        holds = COMPARE[e.op](self.value(e.left, scope).real, self.value(e.right, scope).real)
        return np.asarray(holds, float)

    def product(self, e: Mul, scope: Scope) -> Array:
        result = np.ones((1,) * scope.ndim)
        guards = [f for f in e.factors if isinstance(f, Indicator)]
        # Guards made of indices alone first: they shield the reads of the comparisons of values.
        for guard in sorted(guards, key=lambda g: bool(tensors_in(g))):
            holds = self.value(guard, scope)
            result, scope = result * holds, scope.where(holds != 0)
        for factor in e.factors:
            if not isinstance(factor, Indicator):
                # Where a guard fails nothing was read, so a factor there is no number: 1 / x[i - 1] at i = 0.
                result = np.where(scope.live, result * self.value(factor, scope), 0.0)
        return result

    def apply(self, e: Apply, scope: Scope) -> Array:
        if e.fn not in PRIMITIVES:
            raise UnsupportedError(f"{e.fn} is not in the table of elementwise functions")
        if e.fn == "where":
            condition = self.value(e.args[0], scope).real != 0
            chosen = self.value(e.args[1], scope.where(condition))
            return np.where(condition, chosen, self.value(e.args[2], scope.where(~condition)))
        args = [self.value(a, scope) for a in e.args]
        function = PRIMITIVES[e.fn].reference
        if any(np.iscomplexobj(a) for a in args):
            function = BRANCHES.get(e.fn, function)
        result = np.asarray(function(*args))
        return result if result.ndim == scope.ndim else result.reshape((1,) * scope.ndim)

    def power(self, e: Pow, scope: Scope) -> Array:
        base = self.value(e.base, scope)
        match e.exponent:
            case Const(Fraction(numerator=whole, denominator=1)) if abs(whole) <= 64:
                result = np.ones_like(base)
                for _ in range(abs(whole)):
                    result = result * base
                return 1 / result if whole < 0 else result
        return np.asarray(base ** self.value(e.exponent, scope))

    def spread(self, indices: tuple[Index, ...], body: Expr, scope: Scope) -> Array:
        """The body's values with the bound indices as full trailing axes."""
        value = self.value(body, scope.inside(indices, self.env))
        sizes = tuple(self.env.size(i.range) for i in indices)
        return np.broadcast_to(value, value.shape[: scope.ndim] + sizes)

    def reduction(self, e: Reduce, scope: Scope) -> Array:
        value = self.spread(e.indices, e.body, scope)
        flat = value.reshape(*value.shape[: scope.ndim], -1)
        match e.op:
            case "prod":
                return np.asarray(flat.prod(axis=-1))
            case "max":
                best = flat.real.argmax(axis=-1)
            case "min":
                best = flat.real.argmin(axis=-1)
            case _:
                raise UnsupportedError(f"the reference evaluator has no reduction called {e.op}")
        return np.take_along_axis(flat, best[..., None], axis=-1)[..., 0]

    def matrix_function(self, e: Opaque, scope: Scope) -> Array:
        matrices = self.spread(e.indices, e.body, scope)
        if e.fn == "inv":
            inverse = np.linalg.inv(matrices)
            at = [self.position(i, scope) for i in e.at]
            leading = [
                np.arange(size).reshape([-1 if a == axis else 1 for a in range(scope.ndim)])
                for axis, size in enumerate(inverse.shape[: scope.ndim])
            ]
            # An axis of size one stands for all values of its index.
            return np.asarray(inverse[(*leading, *at)])
        if e.fn == "det":
            return np.asarray(np.linalg.det(matrices))
        if e.fn == "logdet":
            sign, magnitude = np.linalg.slogdet(matrices)
            if not np.iscomplexobj(matrices):
                return np.asarray(magnitude)
            # log |det A| continues as log(± det A): the sign's angle from the real axis.
            return np.asarray(magnitude + 1j * np.angle(sign * np.sign(sign.real)))
        raise UnsupportedError(f"the reference evaluator has no matrix function called {e.fn}")

    def partial(self, e: Partial, scope: Scope) -> Array:
        """d body / d wrt: perturb each entry of the tensor in turn, keep the one that wrt names."""
        if e.wrt.tensor.dtype != "float":
            raise VerificationError(f"{e} differentiates by {e.wrt.tensor}, which is not a float tensor")
        return self.slopes(*self.unfolded(e, scope), e.wrt.tensor, self.flat_position(e.wrt, scope))

    def slopes(self, body: Expr, inner: Scope, tensor: Tensor, at: NDArray[np.int64]) -> Array:
        """The derivatives of the body by the entries of the tensor that `at` counts in flat order."""
        array = self.env.array(tensor)

        def of(values: Array) -> Array:
            return Evaluator(self.env.having({tensor: values})).value(body, inner)

        exact = holomorphic(body) and not any(np.iscomplexobj(a) for a in self.env.arrays.values())
        self.method = "complex step" if exact and self.method != "Richardson" else "Richardson"
        result = np.zeros(at.shape)
        for entry in np.unique(at):
            if exact:
                slope = complex_step(of, array, int(entry))
            else:
                slope, error = richardson(of, array, int(entry))
                self.error = max(self.error, error)
            result = np.where(at == entry, slope, result)
        return result

    def flat_position(self, wrt: Access, scope: Scope) -> NDArray[np.int64]:
        """Which entry is read, counted in flat order."""
        array = self.env.array(wrt.tensor)
        flat = np.zeros((1,) * scope.ndim, np.int64)
        for index, size in zip(wrt.indices, array.shape, strict=True):
            positions = self.position(index, scope)
            outside = (positions < 0) | (positions >= size)
            if (scope.live & outside).any():
                raise VerificationError(f"{wrt} reads outside of {wrt.tensor}: shape {array.shape}")
            flat = flat * size + np.where(outside, 0, positions)
        return flat

    def unfolded(self, e: Partial, scope: Scope) -> tuple[Expr, Scope]:
        """The body; a bare value's own formula, with its indices bound to where it is read."""
        if not isinstance(e.body, Access) or e.body.tensor is e.wrt.tensor or e.body.tensor.role != "value":
            return e.body, scope
        definition = self.env.definitions.get(e.body.tensor)
        if definition is None:
            raise VerificationError(f"{e} differentiates {e.body.tensor}, which has no definition here")
        actual = (self.position(a, scope).astype(float) for a in e.body.indices)
        return definition.body, replace(scope, values=dict(zip(definition.indices, actual, strict=True)))


def holomorphic(e: Expr) -> bool:
    """Whether the complex step may be taken through `e`, kinks and ties apart.

    A derivative inside is taken numerically itself, so it does not qualify.
    """
    for node in walk(e):
        if isinstance(node, Partial):
            return False
        if isinstance(node, Apply) and not (PRIMITIVES[node.fn].holomorphic or node.fn in BRANCHES):
            perturbed = any(t.dtype == "float" for t in tensors_in(node))
            if perturbed:  # not what is made of places and sizes alone, such as k // |T|
                return False
    return True
