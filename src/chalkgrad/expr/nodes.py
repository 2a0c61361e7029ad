"""The language: scalar-valued index notation with typed ranges.

    e  ::=  c | |R| | i | t[e, ...] | 1(e op e) | fn(e, ...)
         |  e + ... + e | e * ... * e | e ^ e
         |  sum(i ..., e) | max(i ..., e) | min(i ..., e) | prod(i ..., e)
         |  d e / d t[e, ...]

Every expression is a number once its free indices have values. An array is an expression together
with an ordered tuple of indices (`Definition`). Nothing broadcasts: a range that is summed is
written as a sum, so the sum over observations of a bias gradient cannot be forgotten.

Nodes are interned: two equal expressions are one object, so `==` is `is` and hashing is free.
Constructors never simplify; rewriting belongs to `chalkgrad.rules` alone.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, TypeVar

T = TypeVar("T")


class Interned(type):
    """A metaclass under which equal arguments give the same object."""

    _pool: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()

    def __call__(cls: type[T], *args: Any, **kwargs: Any) -> T:
        if kwargs or len(args) != len(cls.__match_args__):  # type: ignore[attr-defined]
            args = _bind(cls, args, kwargs)
        key = (cls, *args)
        # `data` holds the references themselves: its lookup is one call less, and this one is hot.
        reference = Interned._pool.data.get(key)  # type: ignore[attr-defined]
        found = None if reference is None else reference()
        if found is None:
            found = type.__call__(cls, *args)
            Interned._pool[key] = found
        return found  # type: ignore[no-any-return]


def _bind(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """All field values in order, defaults filled in."""
    values = list(args)
    for field in fields(cls)[len(args) :]:
        values.append(kwargs.pop(field.name) if field.name in kwargs else field.default)
    if kwargs or len(values) != len(fields(cls)):
        raise TypeError(f"{cls.__name__} does not take the arguments {args} {kwargs}")
    return tuple(values)


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Node(metaclass=Interned):
    """Anything interned: ranges, tensors and expressions."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles must pass through the pool, or equality would silently fail.
        return type(self), tuple(getattr(self, f.name) for f in fields(self))

    def __copy__(self: T) -> T:
        return self

    def __deepcopy__(self: T, memo: object) -> T:
        return self


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Range(Node):
    """What an index runs over: 0, 1, ..., size - 1. `size` is None while it is symbolic."""

    name: str
    size: int | None = None

    def __repr__(self) -> str:
        return self.name if self.size is None else f"{self.name}={self.size}"


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Tensor(Node):
    """A named array: its axes, element type, and role in the computation.

    `dtype` is "float", "int" or "bool". `role` is "input", "parameter" (a keyword scalar such as
    eps, never differentiated), "value" (defined by a formula) or "adjoint" (dL/d name).
    """

    name: str
    axes: tuple[Range, ...]
    dtype: str = "float"
    role: str = "input"

    def __repr__(self) -> str:
        prefix = "dL/d" if self.role == "adjoint" else ""
        return f"{prefix}{self.name}[{', '.join(r.name for r in self.axes)}]"

    @property
    def adjoint(self) -> Tensor:
        """The derivative of the loss by this tensor, an array of the same shape."""
        return Tensor(self.name, self.axes, "float", "adjoint")


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Expr(Node):
    """Base class of the expression nodes below; the set is closed."""

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        from chalkgrad.expr.text import text  # the printer is a view on nodes, loaded on demand

        return text(self)

    def __add__(self, other: Expr | int | Fraction) -> Expr:
        return Add((self, as_expr(other)))

    def __radd__(self, other: int | Fraction) -> Expr:
        return Add((as_expr(other), self))

    def __sub__(self, other: Expr | int | Fraction) -> Expr:
        return Add((self, Mul((Const(Fraction(-1)), as_expr(other)))))

    def __rsub__(self, other: int | Fraction) -> Expr:
        return Add((as_expr(other), Mul((Const(Fraction(-1)), self))))

    def __mul__(self, other: Expr | int | Fraction) -> Expr:
        return Mul((self, as_expr(other)))

    def __rmul__(self, other: int | Fraction) -> Expr:
        return Mul((as_expr(other), self))

    def __neg__(self) -> Expr:
        return Mul((Const(Fraction(-1)), self))

    def __truediv__(self, other: Expr | int | Fraction) -> Expr:
        return Mul((self, Pow(as_expr(other), Const(Fraction(-1)))))

    def __rtruediv__(self, other: int | Fraction) -> Expr:
        return Mul((as_expr(other), Pow(self, Const(Fraction(-1)))))

    def __pow__(self, other: Expr | int | Fraction) -> Expr:
        return Pow(self, as_expr(other))


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Const(Expr):
    """An exact rational number, or an infinity (a float)."""

    value: Fraction | float


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Size(Expr):
    """|R|, how many values an index over the range takes."""

    range: Range


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Index(Expr):
    """An index variable; as an expression, its integer value."""

    name: str
    range: Range


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Access(Expr):
    """t[e1, ..., en]: one entry. An index may be a variable, affine (s*h + p) or a gather (y[i])."""

    tensor: Tensor
    indices: tuple[Expr, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Indicator(Expr):
    """1(left op right): one where the comparison holds, zero elsewhere."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Apply(Expr):
    """fn(args): an elementwise function of the table in `chalkgrad.primitives`."""

    fn: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Add(Expr):
    """A sum of finitely many written terms."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Mul(Expr):
    """A product of finitely many written factors."""

    factors: tuple[Expr, ...]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Pow(Expr):
    """base ^ exponent."""

    base: Expr
    exponent: Expr


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Sum(Expr):
    """The sum of `body` over all values of the bound `indices`."""

    indices: tuple[Index, ...]
    body: Expr


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Reduce(Expr):
    """A reduction other than a sum: `op` is "max", "min" or "prod"."""

    op: str
    indices: tuple[Index, ...]
    body: Expr


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Partial(Expr):
    """d body / d wrt, not yet worked out: every other tensor entry is held fixed.

    When `body` is a bare access of a defined value, that value's own formula is differentiated
    (one level deep): d f[i,k] / d W[d,j] is the local derivative of f's definition.
    """

    body: Expr
    wrt: Access


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True, repr=False)
class Opaque(Expr):
    """fn(A)[at]: an entry of a matrix function whose inside is never opened.

    A is the square matrix `body` over the two bound `indices`. `fn` is "inv" (`at` is an entry's
    two indices), "det" or "logdet" (`at` is empty; logdet is log |det A|).
    """

    fn: str
    indices: tuple[Index, ...]
    body: Expr
    at: tuple[Expr, ...]


BINDERS = (Sum, Reduce, Opaque)
"""The nodes that bind indices, in fields named `indices` and `body`."""

ZERO = Const(Fraction(0))
ONE = Const(Fraction(1))
MINUS_ONE = Const(Fraction(-1))
HALF = Const(Fraction(1, 2))


def as_expr(value: Expr | int | float | Fraction) -> Expr:
    """A constant node for a Python number; an expression stays itself.

    A float becomes the decimal fraction that it prints as (0.1 is 1/10), which is what was written.
    """
    if isinstance(value, Expr):
        return value
    if isinstance(value, float):
        if value != value:
            raise ValueError("not a number (nan) cannot stand in a formula")
        return Const(value) if value in (float("inf"), float("-inf")) else Const(Fraction(repr(value)))
    return Const(Fraction(value))


@dataclass(frozen=True, slots=True)
class Definition:
    """target[indices] = body, for all values of the indices."""

    target: Tensor
    indices: tuple[Index, ...]
    body: Expr

    @property
    def access(self) -> Access:
        return Access(self.target, self.indices)

    def __str__(self) -> str:
        return f"{self.access} = {self.body}"


@dataclass(frozen=True, slots=True)
class Program:
    """A forward pass: inputs, keyword parameters with their defaults, definitions in order, outputs.

    Attributes:
        name: What the layer is called.
        inputs: The arguments in order; integer and boolean ones have no gradient.
        parameters: Keyword scalars and their default values.
        definitions: Each value's formula, every value defined before it is used.
        outputs: The values returned.
        sizes: Ranges whose size follows from others, in order: |H2| = (|H| - |R|) // 2 + 1. The
            expressions hold sizes, constants and the integer functions floordiv and mod.
        equal_sizes: Sizes that must come out equal, or the forward does not exist: |H| and 2 (|H| // 2)
            where H was cut into halves.
    """

    name: str
    inputs: tuple[Tensor, ...]
    parameters: tuple[tuple[Tensor, float], ...]
    definitions: tuple[Definition, ...]
    outputs: tuple[Tensor, ...]
    sizes: tuple[tuple[Range, Expr], ...] = ()
    equal_sizes: tuple[tuple[Expr, Expr], ...] = ()

    def definition(self, name: str) -> Definition | None:
        """The definition of the value called `name`, if there is one."""
        return next((d for d in self.definitions if d.target.name == name), None)

    def tensors(self) -> Iterable[Tensor]:
        """Inputs, parameters and values, in this order."""
        yield from self.inputs
        yield from (t for t, _ in self.parameters)
        yield from (d.target for d in self.definitions)

    def ranges(self) -> tuple[Range, ...]:
        """The ranges of all tensors, each once, in order of appearance."""
        return tuple(dict.fromkeys(r for t in self.tensors() for r in t.axes))
