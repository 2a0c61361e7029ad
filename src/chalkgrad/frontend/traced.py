"""`TracedArray`: what stands for an array while a forward function is traced.

It behaves like a NumPy array through NumPy's own protocols (`__array_ufunc__`, `__array_function__`),
but holds a formula: a body and one index per axis, `None` for an axis of length one. Sizes are symbols:
`x.shape[0]` is |N|, so a division by it stays a division by N.

The functions themselves are in `chalkgrad.frontend.numpy_table`, which fills `UFUNCS` and `FUNCTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from chalkgrad.errors import ChalkgradError, ShapeError, UnsupportedError
from chalkgrad.expr.nodes import Access, Expr, Index, Indicator, Mul, Size, Tensor
from chalkgrad.expr.ops import canonical, tensors_in
from chalkgrad.frontend.recorder import Recorder, ranges_text
from chalkgrad.frontend.replacements import instead, spelled

UFUNCS: dict[str, Callable[..., TracedArray]] = {}
"""Supported universal functions by name."""

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
"""Supported NumPy functions, by the function itself."""

METHODS: dict[str, Callable[..., TracedArray]] = {}
"""Methods that the table defines: "astype" and "getitem"."""

NUMPY_DTYPES = {"float": np.dtype(np.float64), "int": np.dtype(np.int64), "bool": np.dtype(np.bool_)}


def function(*numpy_functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declares what these NumPy functions mean."""

    def declare(meaning: Callable[..., Any]) -> Callable[..., Any]:
        for numpy_function in numpy_functions:
            FUNCTIONS[numpy_function] = meaning
        return meaning

    return declare


class UnsupportedAttributeError(UnsupportedError, AttributeError):
    """An array attribute that cannot be traced; `hasattr` sees it as missing."""


class Buffer:
    """The memory that an array and its views share: whether it was overwritten, and by whom."""

    def __init__(self, of_input: str = "") -> None:
        self.of_input = of_input
        self.overwritten = False


class TracedArray(NDArrayOperatorsMixin):
    """An array in a running trace: body[axes], where every free index of the body is an axis.

    Attributes:
        recorder: The trace it belongs to.
        axes: One index per axis; None where the axis has length one.
        kind: "float", "int" or "bool".
    """

    def __init__(
        self,
        recorder: Recorder,
        body: Expr,
        axes: tuple[Index | None, ...],
        kind: str = "float",
        buffer: Buffer | None = None,
    ) -> None:
        self.recorder = recorder
        self._body = body
        self.axes = axes
        self.kind = kind
        self.buffer = buffer or Buffer()

    # --- the formula ----------------------------------------------------------------------------

    @property
    def body(self) -> Expr:
        """The formula of one entry."""
        if self.buffer.overwritten:
            raise self.fail(
                UnsupportedError,
                "This array was changed in place through another name, so its old value is gone.",
                "Write a = a + ... instead of a += ... where the old value is still used.",
            )
        return self._body

    @property
    def indices(self) -> tuple[Index, ...]:
        """The axes that are longer than one."""
        return tuple(axis for axis in self.axes if axis is not None)

    def as_value(self) -> Tensor | None:
        """The recorded value that this array is, entry for entry; None for a view or a constant."""
        match self._body:
            case Access(tensor, indices) if tensor.role == "value" and indices == self.indices:
                return tensor
        return None

    def with_axes(self, axes: tuple[Index | None, ...], kind: str | None = None) -> TracedArray:
        """The same entries under other axes, sharing memory."""
        return TracedArray(self.recorder, self.body, axes, kind or self.kind, self.buffer)

    def fail(self, kind: type[ChalkgradError], message: str, hint: str = "") -> ChalkgradError:
        """An error that points at the user's line."""
        return self.recorder.error(kind, message, hint)

    def __repr__(self) -> str:
        name = self.recorder.local_name(self)
        return f"{name or 'an array'} of axes [{ranges_text(self.axes)}]"

    # --- what arrays have -----------------------------------------------------------------------

    @property
    def shape(self) -> tuple[Any, ...]:
        """The sizes, as symbols; 1 for an axis of length one."""
        return tuple(1 if a is None else SymbolicSize(self.recorder, Size(a.range)) for a in self.axes)

    @property
    def ndim(self) -> int:
        return len(self.axes)

    @property
    def size(self) -> Any:
        """How many entries, as a symbol."""
        sizes = tuple(Size(axis.range) for axis in self.indices)
        if not sizes:
            return 1
        return EntryCount(self.recorder, sizes[0] if len(sizes) == 1 else Mul(sizes), self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return NUMPY_DTYPES[self.kind]

    @property
    def T(self) -> TracedArray:
        return self.with_axes(self.axes[::-1])

    @property
    def mT(self) -> TracedArray:
        """The transpose of the last two axes."""
        return self.with_axes((*self.axes[:-2], *self.axes[:-3:-1]))

    def sum(self, axis: Any = None, **options: Any) -> Any:
        return np.sum(self, **_over(axis, options))

    def mean(self, axis: Any = None, **options: Any) -> Any:
        return np.mean(self, **_over(axis, options))

    def prod(self, axis: Any = None, **options: Any) -> Any:
        return np.prod(self, **_over(axis, options))

    def max(self, axis: Any = None, **options: Any) -> Any:
        return np.max(self, **_over(axis, self._no_places(axis, options)))

    def min(self, axis: Any = None, **options: Any) -> Any:
        return np.min(self, **_over(axis, self._no_places(axis, options)))

    def var(self, axis: Any = None, **options: Any) -> Any:
        return np.var(self, **_over(axis, self._divided("var", options)))

    def std(self, axis: Any = None, **options: Any) -> Any:
        return np.std(self, **_over(axis, self._divided("std", options)))

    def _divided(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        if self.recorder.pytorch and not options.keys() & {"dim", "unbiased", "correction", "ddof"}:
            raise self.fail(
                UnsupportedError,
                f".{name} divides by n - 1 in PyTorch and by n in NumPy, and this function uses both.",
                "Say which: unbiased=False, correction=1 or ddof=0.",
            )
        return _corrected(options)

    def _no_places(self, axis: Any, options: dict[str, Any]) -> dict[str, Any]:
        if "dim" in options or (self.recorder.pytorch and axis is not None):
            raise self.fail(
                UnsupportedError,
                "PyTorch's max and min over a dimension give places, too.",
                "Use amax or amin.",
            )
        return options

    def dot(self, other: Any) -> Any:
        return np.dot(self, other)

    def clip(self, min: Any = None, max: Any = None) -> Any:  # noqa: A002  (NumPy's own names)
        return np.clip(self, min, max)

    def transpose(self, *axes: Any) -> Any:
        if len(axes) == 2 and self.ndim > 2:  # PyTorch's transpose exchanges two axes
            return np.swapaxes(self, *axes)
        order = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
        return np.transpose(self, order or None)

    def swapaxes(self, first: int, second: int) -> Any:
        return np.swapaxes(self, first, second)

    def squeeze(self, axis: Any = None) -> Any:
        return np.squeeze(self, axis)

    def trace(self) -> Any:
        return np.trace(self)

    def diagonal(self) -> Any:
        return np.diagonal(self)

    def reshape(self, *shape: Any) -> Any:
        given = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        return np.reshape(self, given)

    def astype(self, dtype: Any) -> TracedArray:
        """The same values as another type; from a float only to a float, since rounding has no derivative."""
        return METHODS["astype"](self, dtype)

    def copy(self) -> TracedArray:
        return TracedArray(self.recorder, self.body, self.axes, self.kind)

    def __getitem__(self, key: Any) -> Any:
        return METHODS["getitem"](self, key)

    # --- NumPy's protocols ----------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "reduce" and ufunc in FUNCTIONS:
            return FUNCTIONS[ufunc](*inputs, **{"axis": 0, **kwargs})
        if method != "__call__" or ufunc.__name__ not in UFUNCS:
            written = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            raise self._unsupported(written)
        out = kwargs.pop("out", None)
        if kwargs:
            options = ", ".join(f"{name}=" for name in kwargs)
            message = f"np.{ufunc.__name__} with {options} cannot be traced."
            raise self.fail(UnsupportedError, message, f"Leave {options} out.")
        result = UFUNCS[ufunc.__name__](*inputs)
        return result if out is None else _overwrite(out, inputs, result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func not in FUNCTIONS:
            raise self._unsupported(spelled(func))
        return FUNCTIONS[func](*args, **kwargs)

    def _unsupported(self, name: str) -> ChalkgradError:
        known = sorted({*UFUNCS, *map(spelled, FUNCTIONS)})
        close, hint = instead(name, known)
        if not hint and not close:
            hint = f"Supported: {', '.join(known)}."
        return self.fail(UnsupportedError, f"np.{name} cannot be traced.{close}", hint)

    # --- what a symbol cannot do ----------------------------------------------------------------

    def __bool__(self) -> bool:
        same = self._decided()
        if same is not None:
            return same
        if tensors_in(self.body):
            raise self.fail(
                UnsupportedError,
                "An `if`, `while`, `and`, `or` or `not` on an array's values cannot be traced: the formula "
                "must be the same for all values.",
                "Use np.where(condition, a, b), or & | ~ between conditions.",
            )
        raise self.fail(
            UnsupportedError,
            "Sizes are symbols while a function is traced, so they cannot decide an `if`.",
            "Write the formula for any size; pass a flag as a keyword argument if there are two formulas.",
        )

    def _decided(self) -> bool | None:
        """The truth of a comparison whose sides are the same size, such as x.shape == y.shape."""
        match self._body:
            case Indicator(op, left, right) if not tensors_in(self._body):
                if canonical(left) is canonical(right):
                    return op in ("==", "<=", ">=")
        return None

    def __iter__(self) -> Iterator[Any]:
        self._refuse("A loop over an array", "Write it for whole arrays: x.sum(axis=0), x[:, None], @.")

    def __len__(self) -> int:  # noqa: PLE0303
        self._refuse("len() of an array here", "Use x.shape[0], which stays a symbol.")

    def __float__(self) -> float:
        self._refuse("float() of an array", "Leave it out: arithmetic on traced values is exact.")

    def __int__(self) -> int:
        self._refuse("int() of an array", 'Leave it out, or declare an integer input: y: "N int".')

    def __complex__(self) -> complex:
        self._refuse("complex() of an array", "Formulas are real.")

    def __round__(self, ndigits: int | None = None) -> Any:
        raise self._unsupported("round")

    def __floor__(self) -> Any:
        raise self._unsupported("floor")

    def __ceil__(self) -> Any:
        raise self._unsupported("ceil")

    def __index__(self) -> int:  # noqa: PLE0305
        self._refuse(
            "A size or array as a Python integer (in range(), or as a constant index)",
            "Sizes are symbols here: sum over an axis instead of a loop, use np.arange(N) with `import "
            "numpy as np` at the top of the module, and pass fixed numbers as keyword arguments.",
        )

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse("Making a plain NumPy array of a traced one", "Use the traced array as it is.")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._refuse(
            "Assignment to a part of an array",
            "Make a new array: np.where(condition, a, b) chooses, and x - np.eye(K)[y] subtracts one at "
            "the labels.",
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in METHODS:
            return partial(METHODS[name], self)
        close, hint = instead(name, [n for n in dir(type(self)) if not n.startswith("_")])
        message = f"The array attribute .{name} cannot be traced.{close}"
        raise self.fail(UnsupportedAttributeError, message, hint)

    def _refuse(self, what: str, hint: str) -> NoReturn:
        raise self.fail(UnsupportedError, f"{what} cannot be traced.", hint)


class SymbolicSize(TracedArray):
    """A size such as |N|, or a product of sizes."""

    def __init__(self, recorder: Recorder, body: Expr) -> None:
        super().__init__(recorder, body, (), "int")

    def __repr__(self) -> str:
        return str(self._body)

    def __format__(self, spec: str) -> str:
        return str(self)


class EntryCount(SymbolicSize):
    """x.size, the number of entries; called, as PyTorch's x.size(0), the size of an axis or the shape."""

    def __init__(self, recorder: Recorder, body: Expr, shape: tuple[Any, ...]) -> None:
        super().__init__(recorder, body)
        self._shape = shape

    def __call__(self, dim: int | None = None) -> Any:
        return self._shape if dim is None else self._shape[dim]


def is_traced(value: object) -> bool:
    """Whether the value stands for an array in a running trace."""
    return isinstance(value, TracedArray)


def _over(axis: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A reduction's arguments, PyTorch's dim= and keepdim= as axis= and keepdims=."""
    renamed = {{"dim": "axis", "keepdim": "keepdims"}.get(name, name): v for name, v in options.items()}
    return {"axis": axis, **renamed}


def _corrected(options: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's variance, told by dim=, unbiased= or correction=, divides by n - 1 unless told otherwise."""
    if not options.keys() & {"dim", "unbiased", "correction"}:
        return options
    rest = {name: v for name, v in options.items() if name not in ("unbiased", "correction")}
    return {**rest, "ddof": options.get("correction", 1) if options.get("unbiased", True) else 0}


def _overwrite(out: tuple[Any, ...], inputs: tuple[Any, ...], result: TracedArray) -> TracedArray:
    """`x += 1`: a new value under the old name. Other names of the old array must not be used any more."""
    old = out[0]
    if not (isinstance(old, TracedArray) and any(old is i for i in inputs)):
        raise result.fail(UnsupportedError, "out= cannot be traced.", "Bind the result to a name: c = a + b.")
    if old.buffer.of_input:
        raise result.fail(
            UnsupportedError,
            f"This changes the argument {old.buffer.of_input} in place, in the caller's array too.",
            "Write x = x + ... instead of x += ... .",
        )
    if [a and a.range for a in old.axes] != [a and a.range for a in result.axes]:
        raise result.fail(
            ShapeError,
            f"The result has the axes [{ranges_text(result.axes)}]; the array that it replaces has "
            f"[{ranges_text(old.axes)}].",
            "Write a = a + b instead of a += b.",
        )
    old.buffer.overwritten = True
    return result.copy()
