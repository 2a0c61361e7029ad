"""The emitted NumPy text, imported and callable, with arguments checked at the door."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from chalkgrad.derivation import Backward
from chalkgrad.emit.bounds import label_ranges
from chalkgrad.emit.dialects import DIALECTS
from chalkgrad.emit.imported import imported
from chalkgrad.emit.module_text import module
from chalkgrad.emit.names import identifier, prefix
from chalkgrad.emit.plan import plan
from chalkgrad.emit.room import check_room, reads
from chalkgrad.errors import DataError, DerivationError, ShapeError, suggestion
from chalkgrad.expr.names import meant
from chalkgrad.expr.nodes import Program, Range, Tensor
from chalkgrad.verify.environment import whole_size

AnyArray = npt.NDArray[Any]
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


@dataclass(frozen=True, slots=True)
class Ops:
    """A forward and a backward function made from one formula.

    Attributes:
        name: The layer's name.
        source: The text that was compiled.
        raw_forward, raw_backward: The functions of that text, unchecked, for a training loop; there is
            no backward where no gradient was asked for.

    Example:
        >>> ops = compile_numpy(program, backward)        # doctest: +SKIP
        >>> f, cache = ops.forward(x, W, b)               # doctest: +SKIP
        >>> dx, dW, db = ops.backward(df, cache)          # doctest: +SKIP
    """

    name: str
    source: str
    raw_forward: Callable[..., Any]
    raw_backward: Callable[..., tuple[Any, ...]] | None
    program: Program = field(repr=False)
    labels: dict[Tensor, tuple[Range, ...]] = field(repr=False)
    saved: tuple[Tensor, ...] = field(repr=False)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The output (a tuple of several) and the cache for `backward`.

        Args:
            inputs: The inputs in order.
            named: The parameters, and inputs that are not given by position.

        Raises:
            ShapeError: The number of inputs, their axes or their sizes do not fit.
            DataError: An element type or a label that the formula cannot take.
        """
        tensors = self.program.inputs
        inputs, parameters = self.by_position(inputs, named)
        arrays = [_array(t, value) for t, value in zip(tensors, inputs, strict=True)]
        sizes = axis_sizes(tensors, arrays)
        _check_sizes(self.program, sizes)
        arrays = _one_precision(tensors, arrays)
        for t, a in zip(tensors, arrays, strict=True):
            for r in self.labels.get(t, ()):
                if r in sizes or r.size is not None:
                    _check_labels(t, a, r, sizes.get(r) or r.size or 0)
        return self.raw_forward(*arrays, **self._parameters(parameters))

    def by_position(
        self, inputs: tuple[Any, ...], named: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """All inputs in order, those given by name too, and the parameters.

        Raises:
            ShapeError: The number of inputs does not fit.
        """
        names = [t.name for t in self.program.inputs]
        rest = {meant(name, names): value for name, value in named.items()}
        missing = names[len(inputs) :]
        if len(inputs) > len(names) or any(name not in rest for name in missing):
            by_name = [name for name in rest if name in missing]
            raise ShapeError(
                f"{self.name} takes {count(len(names), 'input')} ({', '.join(names)}), but "
                f"{were(len(inputs) + len(by_name))} given",
                hint="Keyword parameters are given by name.",
            )
        return (*inputs, *(rest.pop(name) for name in missing)), rest

    def backward(self, *arguments: Any) -> tuple[Any, ...]:
        """The gradient of each input, in order, from the derivative by each output and the cache.

        Raises:
            ShapeError: The number of arguments, or a derivative's axes, do not fit.
            DerivationError: No gradient was asked for.
        """
        if self.raw_backward is None:
            raise DerivationError(f"no gradient of {self.name} was asked for, so it has no backward")
        outputs = self.program.outputs
        if len(arguments) != len(outputs) + 1:
            raise ShapeError(
                f"{self.name}'s backward takes ({wanted_text(outputs)}), but {were(len(arguments))} given"
            )
        *upstream, cache = arguments
        # Before the derivatives: where the two were exchanged, this is what is wrong.
        if not isinstance(cache, tuple) or len(cache) != len(self.saved):
            raise ShapeError(
                f"{self.name}'s backward takes the cache that its forward returned last",
                hint=f"out, cache = ops.forward(...); ops.backward({wanted_text(outputs)})",
            )
        given = [_upstream(t, value) for t, value in zip(outputs, upstream, strict=True)]
        # Axes of size one would broadcast, and other sizes fail deep inside: both are told here.
        kept = [(t, a) for t, a in zip(self.saved, cache, strict=True) if np.ndim(a) == len(t.axes) > 0]
        tensors = [t for t, _ in kept] + [t.adjoint for t in outputs if t.axes]
        arrays = [np.asarray(a) for _, a in kept] + [a for a in given if isinstance(a, np.ndarray)]
        axis_sizes(tensors, arrays)
        return self.raw_backward(*given, cache)

    def _parameters(self, given: dict[str, Any]) -> dict[str, float]:
        names = {t.name: identifier(t.name) for t, _ in self.program.parameters}
        for name in given:
            if name not in names:
                known = ", ".join(names) or "none"
                raise ShapeError(
                    f"{self.name} has no parameter '{name}'.{suggestion(name, list(names))}",
                    hint=f"Parameters: {known}.",
                )
        try:
            return {names[name]: float(value) for name, value in given.items()}
        except (TypeError, ValueError):
            raise DataError(f"a parameter of {self.name} must be a number: {given}") from None


def compile_numpy(program: Program, backward: Backward, name: str | None = None) -> Ops:
    """The NumPy code of a program and its backward, as callable functions.

    `inspect.getsource` and tracebacks show the emitted text.

    Raises:
        UnsupportedError: When a construct has no NumPy code.
        DerivationError: When the backward does not define what it should.
    """
    p = plan(program, backward)
    name = prefix(name or program.name)
    text = module(p, DIALECTS["numpy"], name)
    made = imported(name, text)
    forward, backward_function = getattr(made, f"{name}_forward"), getattr(made, f"{name}_backward", None)
    return Ops(name, text, forward, backward_function, program, label_ranges(program), p.saved)


def wanted_text(outputs: Sequence[Tensor]) -> str:
    """The backward's arguments: dout, cache."""
    return ", ".join([*(f"d{t.name}" for t in outputs), "cache"])


def count(number: int, thing: str) -> str:
    """A number of things in words: 1 axis, 2 inputs."""
    plural = {"axis": "axes"}.get(thing, f"{thing}s")
    return f"{number} {thing if number == 1 else plural}"


def were(number: int) -> str:
    """`1 was` or `2 were`."""
    return f"{number} was" if number == 1 else f"{number} were"


# --- checks -----------------------------------------------------------------------------------------


def numbers(name: str, value: Any) -> AnyArray:
    """The argument as an array of numbers."""
    try:
        a = np.asarray(value)
    except ValueError:
        raise DataError(
            f"{name} is no array: its rows have different lengths",
            hint="Give every row the same number of entries.",
        ) from None
    if a.dtype.kind not in "fiub":
        raise DataError(
            f"{name} has the element type {a.dtype}, but numbers are needed",
            hint="Convert it first, for example with np.asarray(..., dtype=float).",
        )
    return a


def _array(t: Tensor, value: Any) -> npt.NDArray[Any]:
    """The argument as an array of the declared element type."""
    a = numbers(t.name, value)
    if t.dtype == "int":
        if a.dtype.kind not in "iu":
            raise DataError(
                f"{t.name} holds integers, but its element type is {a.dtype}",
                hint=f"Pass {t.name}.astype(int) if its values are whole numbers.",
            )
        return a
    if t.dtype == "bool":
        if a.dtype.kind != "b":
            raise DataError(
                f"{t.name} is a mask, but its element type is {a.dtype}", hint=f"Pass {t.name}.astype(bool)."
            )
        return a
    return a if a.dtype.kind == "f" else a.astype(float)


def _one_precision(tensors: Sequence[Tensor], arrays: list[AnyArray]) -> list[AnyArray]:
    """Scalars take the precision of the arrays, so that one double does not make everything double."""
    floats = [a.dtype for t, a in zip(tensors, arrays, strict=True) if t.dtype == "float" and a.ndim]
    if not floats:
        return arrays
    wide = np.result_type(*floats)
    return [
        a.astype(wide) if t.dtype == "float" and not a.ndim else a
        for t, a in zip(tensors, arrays, strict=True)
    ]


def axis_sizes(tensors: Sequence[Tensor], arrays: Sequence[Any]) -> dict[Range, int]:
    """The size of every range; each must be the same wherever it occurs."""
    found: dict[Range, tuple[int, str]] = {}
    for t, a in zip(tensors, arrays, strict=True):
        name = f"d{t.name}" if t.role == "adjoint" else t.name
        if a.ndim != len(t.axes):
            axes = ", ".join(r.name for r in t.axes)
            raise ShapeError(
                f"{name} has {count(a.ndim, 'axis')}, {tuple(a.shape)}, but {len(t.axes)} "
                f"{'is' if len(t.axes) == 1 else 'are'} needed: ({axes})",
            )
        for place, (r, size) in enumerate(zip(t.axes, a.shape, strict=True)):
            where = f"{name}'s {ORDINALS[place] if place < len(ORDINALS) else f'{place + 1}th'} axis"
            if r.size is not None and size != r.size:
                raise ShapeError(f"{where} is {r.name} = {size}, but the formula needs {r.size}")
            if r in found and found[r][0] != size:
                before, there = found[r]
                raise ShapeError(f"{where} is {r.name} = {size}, but {there} is {r.name} = {before}")
            found.setdefault(r, (size, where))
    return {r: size for r, (size, _) in found.items()}


def _check_sizes(program: Program, sizes: Mapping[Range, int]) -> None:
    """What the forward cuts or folds must come out whole, and what it reads must be there."""
    if not program.equal_sizes and not reads(program):
        return
    known = dict(sizes)
    for r, size in program.sizes:
        known.setdefault(r, whole_size(size, known))
    check_room(program, known)
    for one, other in program.equal_sizes:
        left, right = whole_size(one, known), whole_size(other, known)
        if left != right:
            raise ShapeError(
                f"{program.name} needs {one} = {other}, but here they are {left} and {right}",
                hint="An axis that is split into equal parts must have a multiple of their number.",
            )


def _check_labels(t: Tensor, a: npt.NDArray[Any], of: Range, size: int) -> None:
    """Every label must be one of 0 ... size - 1; a negative one would silently count from the end."""
    wrong = (a < 0) | (a >= size)
    if not wrong.any():
        return
    place = tuple(int(n) for n in np.argwhere(wrong)[0])
    where = f"{t.name}[{', '.join(map(str, place))}]" if place else t.name
    raise DataError(
        f"label out of range: {where} is {int(a[place])}, but {of.name} = {size} allows 0 to {size - 1}",
        hint=f"{int(wrong.sum())} of {a.size} values are out of range." if a.size > 1 else "",
    )


def _upstream(t: Tensor, value: Any) -> Any:
    """The derivative by one output: an array, or a Python number for a scalar."""
    a = numbers(f"d{t.name}", value)
    if t.axes:
        return a if a.dtype.kind == "f" else a.astype(float)
    if a.ndim:
        raise ShapeError(f"{t.name} is a scalar, so d{t.name} must be one too, but its shape is {a.shape}")
    return float(a)
