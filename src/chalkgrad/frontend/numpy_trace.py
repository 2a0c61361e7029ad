"""A NumPy function to a `Program`, by running it once on arrays that record what happens to them.

    def affine(x: "N D", W: "D K", b: "K"):
        return x @ W + b

Annotations name the axes: axes with one name have one size. `"N int"` and `"N D bool"` declare integers
and conditions, `""` a scalar. An argument whose default is a float stays a symbol (`eps=1e-5`); one whose
default is an int, a bool, a string, a tuple or None is static: the function runs with that value. An
annotated argument with the default None is an optional input, None unless it is asked for. `"... D"` stands
for any leading axes; how many of them a program has is decided when it is traced.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, ModuleType
from typing import Any, SupportsFloat

from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Access, Index, Program, Range, Tensor, as_expr
from chalkgrad.frontend import array_index, numpy_products, numpy_shapes, numpy_table, numpy_views  # noqa: F401  (tables)
from chalkgrad.frontend.known import DTYPES, NOT_AXES
from chalkgrad.frontend.naming import assemble
from chalkgrad.frontend.numpy_proxy import for_tracing
from chalkgrad.frontend.recorder import Recorder
from chalkgrad.frontend.traced import Buffer, TracedArray

STATIC = (int, str, tuple, type(None))
LEADING = ("N", "T", "S", "U", "V", "B", "R", "Z")
"""Names for the axes of "...", in order."""
_FIRST = as_expr(0)


def trace(
    function: Callable[..., Any],
    name: str | None = None,
    statics: Mapping[str, Any] | None = None,
    leading: int = 1,
    *,
    cached: bool = False,
) -> Program:
    """The forward pass that the function computes.

    Args:
        function: A Python function on NumPy arrays, its axes in the annotations.
        name: What the layer is called; the function's name if None.
        statics: Other values for static arguments than their defaults; True for an optional input.
        leading: How many axes "..." stands for.
        cached: Whether the last thing returned is a cache and no output.

    Raises:
        UnsupportedError: A NumPy function, an argument or a return value that cannot be traced.
        ShapeError: Axes that do not fit together, with the expression where they meet.

    Example:
        >>> def affine(x: "N D", W: "D K", b: "K"):
        ...     return x @ W + b
        >>> print(trace(affine).definitions[0])
        out[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]
    """
    if not isinstance(function, FunctionType):
        raise UnsupportedError(
            f"A {type(function).__name__} cannot be traced.", hint="Give a function written with def."
        )
    name = name or function.__name__
    recorder = Recorder(name, function.__code__)
    recorder.pytorch = _names_pytorch(function)
    arguments = _Arguments(recorder, function, dict(statics or {}), leading)
    returned = for_tracing(function)(*arguments.positional, **arguments.keywords)
    if cached and isinstance(returned, tuple) and len(returned) > 1:
        returned = returned[:-1]
    results = _results(name, returned)
    program = assemble(recorder, arguments.inputs, arguments.parameters, results)
    recorder.frame = None  # the frame holds every traced array alive
    return program


def _names_pytorch(function: FunctionType) -> bool:
    """Whether a global that the function reads is PyTorch or a module of it."""
    read = (function.__globals__.get(name) for name in function.__code__.co_names)
    return any(isinstance(m, ModuleType) and m.__name__.partition(".")[0] == "torch" for m in read)


class _Arguments:
    """What a function is called with: symbols for arrays and float defaults, static values as they are."""

    def __init__(
        self, recorder: Recorder, function: FunctionType, statics: dict[str, Any], leading: int
    ) -> None:
        self.recorder = recorder
        self.leading = leading_names(function, leading)
        self.inputs: list[Tensor] = []
        self.parameters: list[tuple[Tensor, float]] = []
        self.positional: list[Any] = []
        self.keywords: dict[str, Any] = {}
        for argument in inspect.signature(function).parameters.values():
            if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
                raise UnsupportedError(
                    f"{recorder.name} takes *{argument.name}, so its arguments are not known.",
                    hint="Name every argument and its axes.",
                )
            value = self._value(argument, statics)
            if argument.kind is argument.KEYWORD_ONLY:
                self.keywords[argument.name] = value
            else:
                self.positional.append(value)
        if statics:
            raise UnsupportedError(f"{recorder.name} has no argument {', '.join(statics)}.")
        if not self.inputs:
            raise UnsupportedError(
                f"{recorder.name} has no array argument.", hint='Annotate one with its axes: x: "N D".'
            )

    def _value(self, argument: inspect.Parameter, statics: dict[str, Any]) -> Any:
        if argument.default is argument.empty:
            return self._input(argument.name, self._axes(argument))
        default = argument.default
        if is_optional(argument):
            wanted = statics.pop(argument.name, None)
            return self._input(argument.name, self._axes(argument)) if wanted else None
        if isinstance(default, float):
            if argument.name in statics:
                default = statics.pop(argument.name)
            if not isinstance(default, SupportsFloat):
                raise UnsupportedError(
                    f"{self.recorder.name}: {argument.name} is a number, not {default!r}.",
                    hint=f"{argument.name}={argument.default}",
                )
            return self._parameter(argument.name, float(default))
        if not isinstance(default, STATIC):
            raise UnsupportedError(
                f"{self.recorder.name}: the default of {argument.name} is a {type(default).__name__}.",
                hint="Defaults are floats (symbols) or int, bool, str, tuple, None (static).",
            )
        return statics.pop(argument.name, default)

    def _axes(self, argument: inspect.Parameter) -> str:
        written = annotation(argument)
        if written is None:
            raise UnsupportedError(
                f"{self.recorder.name}: the axes of {argument.name} are not declared.",
                hint=f'Annotate it with one name per axis: {argument.name}: "N D"; a scalar is "".',
            )
        return written

    def _input(self, name: str, axes: str) -> TracedArray:
        axes = axes.replace("...", self.leading)
        ranges, dtype = parse_axes(axes, f"{self.recorder.name}: {name}")
        self.recorder.given.update(ranges)
        self.recorder.range_names.update(r.name for r in ranges)
        tensor = Tensor(name, ranges, dtype, "input")
        self.inputs.append(tensor)
        indices = tuple(self.recorder.fresh(r) for r in ranges)
        # An axis of the literal size 1 broadcasts, and has the single place 0.
        shown: tuple[Index | None, ...] = tuple(i if i.range.size != 1 else None for i in indices)
        body = Access(tensor, tuple(i if i.range.size != 1 else _FIRST for i in indices))
        return TracedArray(self.recorder, body, shown, dtype, Buffer(name))

    def _parameter(self, name: str, default: float) -> TracedArray:
        tensor = Tensor(name, (), "float", "parameter")
        self.parameters.append((tensor, default))
        return TracedArray(self.recorder, Access(tensor, ()), (), "float", Buffer(name))


def annotation(argument: inspect.Parameter) -> str | None:
    """The axes as written; None where there is no text."""
    written = argument.annotation
    if not isinstance(written, str):
        return None
    # Under `from __future__ import annotations` the quotes are part of the annotation.
    if len(written) >= 2 and written[0] == written[-1] and written[0] in "'\"":
        written = written[1:-1]
    return written


def is_optional(argument: inspect.Parameter) -> bool:
    """Whether this is an input that may be left out: c: "K" = None."""
    return argument.default is None and annotation(argument) is not None


def leading_names(function: Callable[..., Any], count: int) -> str:
    """The names of the axes that "..." stands for: N, then N T, N T S, ..., none used otherwise."""
    written = [annotation(p) or "" for p in inspect.signature(function).parameters.values()]
    taken = {name for text in written for name in text.replace(",", " ").split()}
    names = [name for name in LEADING if name not in taken]
    return " ".join(names[:count])


def parse_axes(text: str, where: str) -> tuple[tuple[Range, ...], str]:
    """The ranges and the element type that an annotation such as `"N D"` or `"N int"` declares.

    Raises:
        UnsupportedError: A part that is neither a name, `name=size`, nor a size.
    """
    words = text.replace(",", " ").split()
    dtype = words.pop() if words and words[-1] in DTYPES else "float"
    ranges = []
    for word in words:
        name, _, size = word.partition("=")
        if name in NOT_AXES:
            raise UnsupportedError(
                f'{where} is annotated "{text}", and "{name}" is an element type that no formula has.',
                hint=f"The types are {', '.join(DTYPES)}, written last; the precision is that of the arrays.",
            )
        if word.isdecimal() and int(word) > 0:
            ranges.append(Range(word, int(word)))
        elif name.isidentifier() and (not size or (size.isdecimal() and int(size) > 0)) and "=" not in size:
            ranges.append(Range(name, int(size) if size else None))
        else:
            raise UnsupportedError(
                f'{where} is annotated "{text}", and "{word}" is not the name of an axis.',
                hint='Write one name per axis and perhaps a type: "N D", "N int", "N D bool", "K=10".',
            )
    return tuple(ranges), dtype


def _results(name: str, returned: Any) -> list[TracedArray]:
    """The returned arrays.

    Raises:
        UnsupportedError: Something else was returned.
    """
    values = list(returned) if isinstance(returned, tuple | list) else [returned]
    for value in values:
        if not isinstance(value, TracedArray):
            what = "nothing" if value is None else f"a {type(value).__name__}"
            raise UnsupportedError(
                f"{name} returns {what}, where an array computed from its arguments is needed.",
                hint="End with `return out`, or `return out, state` for several arrays.",
            )
    if not values:
        raise UnsupportedError(f"{name} returns an empty tuple.", hint="End with `return out`.")
    return values
