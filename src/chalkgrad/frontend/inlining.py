"""A program called inside a running trace: its definitions become values of that trace.

def net(x: "N D", W: "D K", b: "K", y: "N int"):
    return softmax_loss(affine(x, W, b), y)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalkgrad.errors import ChalkgradError, ShapeError, UnsupportedError, suggestion
from chalkgrad.expr.names import meant
from chalkgrad.expr.nodes import Access, Expr, Index, Program, Range, Size, Tensor
from chalkgrad.expr.ops import replace_access, substitute
from chalkgrad.frontend.array_ops import KINDS, lift, recorder_of
from chalkgrad.frontend.recorder import Recorder
from chalkgrad.frontend.relabel import relabel
from chalkgrad.frontend.sizes import size_form, with_ranges
from chalkgrad.frontend.traced import TracedArray

DEFAULT_OUTPUT = "out"


def inline(
    program: Program, args: Sequence[Any], kwargs: Mapping[str, Any], prefix: str = ""
) -> TracedArray | tuple[TracedArray, ...]:
    """The program's outputs on traced arguments.

    Args:
        program: The layer that is called.
        args: Its inputs in order; at least one argument is traced.
        kwargs: Inputs and parameters by name. Parameters not given take their defaults.
        prefix: Put before the names of its intermediate values.

    Raises:
        ShapeError: An argument with another number of axes, or one range for two different axes.
        UnsupportedError: A missing, unknown or doubly given argument, or a float for an integer.
    """
    recorder = recorder_of(*args, *kwargs.values())
    arrays = _bind(program, recorder, args, kwargs)
    ranges = _ranges(program, recorder, arrays)
    for of, size in program.sizes:
        here = size_form(with_ranges(size, ranges))
        if of in ranges and here is not Size(ranges[of]):
            recorder.sizes.setdefault(ranges[of], here)  # a size that an argument must have
        elif of not in ranges:
            ranges[of] = recorder.range_of(here, of.name)
    # Provisional tensors: the layer and the trace may use one name for different arrays.
    inner = {t: Tensor(f"@{t.name}", _axes(t, ranges), t.dtype, t.role) for t in arrays}
    for definition in program.definitions:
        target = definition.target
        given = Tensor(f"@{target.name}", _axes(target, ranges), target.dtype, "value")
        renamed = relabel(definition, given, inner, ranges)
        body = _with_arguments(renamed.body, {inner[t]: array for t, array in arrays.items()})
        hint = "" if target.name == DEFAULT_OUTPUT else prefix + target.name
        access = recorder.define(body, renamed.indices, target.dtype, hint, bool(hint))
        inner[target] = access.tensor
    results = tuple(_result(recorder, inner[output]) for output in program.outputs)
    return results[0] if len(results) == 1 else results


def _axes(tensor: Tensor, ranges: Mapping[Range, Range]) -> tuple[Range, ...]:
    return tuple(ranges.get(r, r) for r in tensor.axes)


def _result(recorder: Recorder, tensor: Tensor) -> TracedArray:
    indices = tuple(recorder.fresh(r) for r in tensor.axes)
    return TracedArray(recorder, Access(tensor, indices), indices, tensor.dtype)


def _bind(
    program: Program, recorder: Recorder, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[Tensor, TracedArray]:
    """Each input and parameter with its traced value."""
    inputs = [t.name for t in program.inputs]
    try:
        given = by_name(program.name, inputs, args, kwargs, [t.name for t, _ in program.parameters])
        require(program.name, inputs, given)
    except UnsupportedError as error:
        raise recorder.error(UnsupportedError, error.message, error.hint) from None
    arrays = {t: lift(recorder, given[t.name]) for t in program.inputs}
    arrays.update({t: lift(recorder, given.get(t.name, default)) for t, default in program.parameters})
    for tensor, array in arrays.items():
        _check(program, tensor, array)
    return arrays


def by_name(
    layer: str,
    names: Sequence[str],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    keywords: Sequence[str] = (),
) -> dict[str, Any]:
    """A call's arguments by the layer's own names for them (γ also where gamma is written).

    Args:
        layer: The layer's name, for errors.
        names: What may be given by position, in order.
        args: The arguments by position.
        kwargs: The arguments by name.
        keywords: What may be given by name alone.

    Raises:
        UnsupportedError: Too many arguments, an unknown one, or one given twice.

    Example:
        >>> by_name("norm", ["x", "γ"], ["rows"], {"gamma": "scale", "eps": 0.1}, ["eps"])
        {'x': 'rows', 'γ': 'scale', 'eps': 0.1}
    """
    call = f"{layer}({', '.join(names)})"
    if len(args) > len(names):
        raise UnsupportedError(f"{call} takes {len(names)} arguments, not {len(args)}.")
    given = dict(zip(names, args, strict=False))
    known = [*names, *keywords]
    for written, value in kwargs.items():
        name = meant(written, known)
        if name in given:
            raise UnsupportedError(f"{call} is given {name} twice.")
        if name not in known:
            raise UnsupportedError(
                f"{call} is given {name} but has no such argument.{suggestion(name, known)}"
            )
        given[name] = value
    return given


def require(layer: str, inputs: Sequence[str], given: Mapping[str, Any]) -> None:
    """Every input of the layer must be among what is given.

    Raises:
        UnsupportedError: Names those that are not.
    """
    missing = [name for name in inputs if name not in given]
    if missing:
        raise UnsupportedError(f"{layer}({', '.join(inputs)}) is not given {', '.join(missing)}.")


def _check(program: Program, tensor: Tensor, array: TracedArray) -> None:
    if array.ndim != len(tensor.axes):
        raise array.fail(
            ShapeError, f"{program.name} takes {tensor} with {len(tensor.axes)} axes; it is given {array!r}."
        )
    if KINDS.index(array.kind) > KINDS.index(tensor.dtype):
        raise array.fail(
            UnsupportedError,
            f"{program.name} takes {tensor} of type {tensor.dtype}; {array!r} is of type {array.kind}.",
            f'Declare it: {tensor.name}: "{" ".join(r.name for r in tensor.axes)} {tensor.dtype}".',
        )


def _ranges(program: Program, recorder: Recorder, arrays: Mapping[Tensor, TracedArray]) -> dict[Range, Range]:
    """What the layer's ranges are in the trace, read off the arguments."""
    ranges: dict[Range, Range] = {}
    for tensor, array in arrays.items():
        for of, axis in zip(tensor.axes, array.axes, strict=True):
            if axis is None:
                raise recorder.error(
                    ShapeError,
                    f"{program.name} takes {tensor}; {array!r} has an axis of length one for {of.name}.",
                )
            known = ranges.setdefault(of, axis.range)
            if known is not axis.range or (of.size is not None and axis.range.size != of.size):
                raise _conflict(program, recorder, tensor, of, known, axis)
    return ranges


def _conflict(
    program: Program, recorder: Recorder, tensor: Tensor, of: Range, known: Range, axis: Index
) -> ChalkgradError:
    inputs = ", ".join(map(repr, program.inputs))
    return recorder.error(
        ShapeError,
        f"{program.name}({inputs}): its axis {of} would be {known} in one argument and {axis.range} in "
        f"{tensor.name}.",
        "Axes of one name in the layer's declaration have one size.",
    )


def _with_arguments(body: Expr, arguments: Mapping[Tensor, TracedArray]) -> Expr:
    """The body with each input replaced by the argument's formula."""
    for tensor, array in arguments.items():

        def entry(actual: tuple[Expr, ...], array: TracedArray = array) -> Expr:
            return substitute(array.body, dict(zip(array.indices, actual, strict=True)))

        body = replace_access(body, tensor, entry)
    return body
