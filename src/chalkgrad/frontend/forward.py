"""`Forward`: a forward formula under a name, traced when it is first needed.

This is all that the gallery in `chalkgrad.layers` may use: a layer is its forward formula.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from chalkgrad.errors import ShapeError, UnsupportedError, suggestion
from chalkgrad.expr.nodes import Program
from chalkgrad.frontend.inlining import by_name, inline, require
from chalkgrad.frontend.known import DTYPES
from chalkgrad.frontend.numpy_trace import annotation, is_optional, trace
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.frontend.traced import is_traced

__all__ = ["Forward", "forward", "inline", "is_traced", "written"]


class Forward:
    """A forward pass: a NumPy function whose annotations declare the axes, a function that writes its
    formula as text, or a program.

    Attributes:
        name: What the layer is called.
        function: The function; None if the layer came as a program (from a text formula, a chain).
        doc: Formula, shapes, source.
        written: Whether the function gives the formula as text, from static arguments alone.
        options: Values of the function's keyword arguments instead of its defaults.
        leading: How many axes "..." stands for where nothing else is said.
        cached: Whether the function returns (out, cache), of which the cache is no output.
    """

    def __init__(
        self,
        function: Callable[..., Any] | None,
        name: str | None = None,
        doc: str | None = None,
        *,
        written: bool = False,
        options: Mapping[str, Any] | None = None,
        leading: int = 1,
        cached: bool = False,
    ) -> None:
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", "layer"))
        self.doc = inspect.cleandoc(doc or getattr(function, "__doc__", None) or "")
        self.written = written
        self.options = dict(options or {})
        self.leading = leading
        self.cached = cached
        self._programs: dict[tuple[tuple[str, Any], ...], Program] = {}

    @classmethod
    def of(cls, program: Program, doc: str = "") -> Forward:
        """A forward pass that is already a program."""
        made = cls(None, program.name, doc)
        made._programs[()] = program
        return made

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"<Forward {self.name}{given}>"

    def with_options(self, **options: Any) -> Forward:
        """The same formula with other defaults: conv2d.with_options(stride=2).

        Raises:
            UnsupportedError: An argument that the function does not have.
        """
        self._check(options)
        leading = options.pop("leading", self.leading)
        given = {**self.options, **options}
        return Forward(
            self.function, self.name, self.doc,
            written=self.written, options=given, leading=leading, cached=self.cached,
        )  # fmt: skip

    @property
    def program(self) -> Program:
        """The program, traced on first use."""
        return self.program_with()

    def program_with(self, **statics: Any) -> Program:
        """The program for other values of the static arguments, such as reduction="sum".

        Raises:
            UnsupportedError: An unknown static argument.
        """
        key = tuple(sorted(statics.items()))
        try:
            hash(key)
        except TypeError:
            raise UnsupportedError(
                f"{self.name}: a static argument is a number, string, tuple or None, not a list or array."
            ) from None
        if key not in self._programs:
            self._check(statics)
            assert self.function is not None
            given = {**self.options, **statics}
            leading = given.pop("leading", self.leading)
            if self.written:
                self._programs[key] = read_formula(str(self.function(**given)), self.name)
            else:
                self._programs[key] = trace(self.function, self.name, given, leading, cached=self.cached)
        return self._programs[key]

    @property
    def has_leading_axes(self) -> bool:
        """Whether the arguments may have any number of leading axes."""
        return bool(self._leading_inputs())

    def _leading_inputs(self) -> dict[int, int]:
        """Which arguments are annotated with "...", and how many axes they have besides."""
        if self.function is None or self.written:
            return {}
        written = [annotation(p) or "" for p in inspect.signature(self.function).parameters.values()]
        found = {}
        for place, text in enumerate(written):
            words = [w for w in text.replace(",", " ").split() if w not in DTYPES]
            if "..." in words:
                found[place] = len(words) - 1
        return found

    def leading_of(self, ranks: Sequence[int | None]) -> int:
        """How many leading axes arguments of these ranks have; None where a rank is not known.

        Raises:
            ShapeError: Two arguments that disagree, or an argument with too few axes.
        """
        found: int | None = None
        for place, own in self._leading_inputs().items():
            rank = ranks[place] if place < len(ranks) else None
            if rank is None:
                continue
            if rank < own or (found is not None and rank - own != found):
                raise ShapeError(
                    f"{self.name}: its arguments have {', '.join(map(str, ranks))} axes, which "
                    "do not agree on how many leading ones there are.",
                    hint='An argument annotated "... D" has the same leading axes as the others.',
                )
            found = rank - own
        return self.leading if found is None else found

    def for_ranks(self, ranks: Sequence[int | None]) -> Program:
        """The program for arguments of these ranks."""
        if not self.has_leading_axes:
            return self.program
        return self.program_with(leading=self.leading_of(ranks))

    def bound(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Program, list[Any], dict[str, Any]]:
        """For a call on arrays: the program, its inputs in order, and its parameters by name.

        Raises:
            UnsupportedError: An input given twice or not at all, or an unknown argument.
        """
        statics: dict[str, Any] = {}
        if self.function is not None and not self.written:
            names = list(inspect.signature(self.function).parameters)
            given = by_name(self.name, names, args, kwargs)
            optional = [n for n, p in inspect.signature(self.function).parameters.items() if is_optional(p)]
            for name in optional:
                if given.get(name) is None:
                    given.pop(name, None)
                else:
                    statics[name] = True
            if self.has_leading_axes:
                ranks = [np.ndim(given[n]) if n in given else None for n in names]
                statics["leading"] = self.leading_of(ranks)
            program = self.program_with(**statics, **self._statics(given))
        else:
            rest = dict(kwargs)
            program = self.program_with(**self._statics(rest))
            names = [t.name for t in program.inputs]
            given = by_name(self.name, names, args, rest, [t.name for t, _ in program.parameters])
        require(self.name, [t.name for t in program.inputs], given)
        return program, [given.pop(t.name) for t in program.inputs], given

    def _statics(self, given: dict[str, Any]) -> dict[str, Any]:
        """The static arguments, taken out of what is given."""
        if self.function is None:
            return {}
        parameters = inspect.signature(self.function).parameters
        fixed = [
            n
            for n, p in parameters.items()
            if n in given
            and p.default is not p.empty
            and not is_optional(p)
            and (self.written or not isinstance(p.default, float))
        ]
        return {n: given.pop(n) for n in fixed}

    def _check(self, options: Mapping[str, Any]) -> None:
        parameters = inspect.signature(self.function).parameters if self.function is not None else {}
        known = [name for name, p in parameters.items() if p.default is not p.empty]
        for name in options:
            if name not in known and not (name == "leading" and self.has_leading_axes):
                raise UnsupportedError(
                    f"{self.name} has no argument {name}.{suggestion(name, known)}",
                    hint=f"Options: {', '.join(known) or 'none'}.",
                )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value on arrays; inside a trace, its formula on traced arrays."""
        if any(map(is_traced, (*args, *kwargs.values()))):
            program = self.program
            if self.function is not None:
                args, kwargs, statics = (_split_written if self.written else _split)(
                    self.function, args, kwargs
                )
                if self.has_leading_axes:
                    names = inspect.signature(self.function).parameters
                    values = [*args, *(kwargs.get(n) for n in list(names)[len(args) :])]
                    statics["leading"] = self.leading_of([getattr(v, "ndim", None) for v in values])
                program = self.program_with(**statics)
            return inline(program, args, kwargs)
        if self.function is None or self.written:
            raise UnsupportedError(
                f"{self.name} is a formula without a Python function.",
                hint='Compile it: .compile("numpy").forward(...).',
            )
        return self.function(*args, **{**self.options, **kwargs})


def _split(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Positional inputs, inputs and parameters by name, and static arguments."""
    parameters = inspect.signature(function).parameters
    symbols = {name for name, p in parameters.items() if p.default is p.empty or isinstance(p.default, float)}
    named = dict(zip(parameters, args, strict=False)) if len(args) <= len(parameters) else {}
    given = {**kwargs, **{name: v for name, v in named.items() if name not in kwargs}}
    if len(args) > len(parameters) or set(named) & set(kwargs):
        return args, dict(kwargs), {}  # `inline` says what is wrong with it
    statics = {name: value for name, value in given.items() if name in parameters and name not in symbols}
    for name, parameter in parameters.items():
        if is_optional(parameter) and name in statics:
            # An optional input: that it is there is static, its value is not.
            if is_traced(statics[name]):
                statics[name] = True
            else:
                del statics[name], given[name]
    kept = {n: v for n, v in given.items() if n not in statics or is_optional(parameters[n])}
    return (), kept, statics


def _split_written(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Of a formula written as text every argument of the function is static, and every other an input."""
    names = inspect.signature(function).parameters
    statics = {name: value for name, value in kwargs.items() if name in names}
    return args, {name: value for name, value in kwargs.items() if name not in names}, statics


def written(function: Callable[..., str]) -> Forward:
    """Declares a function to give a forward formula as text, made from static keyword arguments.

    Example:
        >>> @written
        ... def differences(*, lag=1):
        ...     return f"y[n,h] = x[n,h+{lag}] - x[n,h+0]"
        >>> print(differences.with_options(lag=2).program.definitions[0])
        y[n,h] = x[n,h+2] - x[n,h+0]
    """
    return Forward(function, written=True)


@overload
def forward(function: Callable[..., Any], /) -> Forward: ...


@overload
def forward(*, name: str | None = None, leading: int = 1) -> Callable[[Callable[..., Any]], Forward]: ...


def forward(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None, leading: int = 1
) -> Forward | Callable[[Callable[..., Any]], Forward]:
    """Declares a NumPy function to be a forward formula; bare, or with a name of its own.

    Example:
        >>> @forward
        ... def double(x: "N D"):
        ...     return 2 * x
        >>> print(double.program.definitions[0])
        out[i,d] = 2 * x[i,d]
    """

    def declare(function: Callable[..., Any]) -> Forward:
        return Forward(function, name, leading=leading)

    return declare if function is None else declare(function)
