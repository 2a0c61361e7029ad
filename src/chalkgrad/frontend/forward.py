"""`Forward`: a forward formula under a name, traced when it is first needed.

This is all that the gallery in `chalkgrad.layers` may use: a layer is its forward formula.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, overload

from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Program
from chalkgrad.frontend.inlining import inline
from chalkgrad.frontend.numpy_trace import trace
from chalkgrad.frontend.traced import is_traced

__all__ = ["Forward", "forward", "inline", "is_traced"]


class Forward:
    """A forward pass: a NumPy function whose annotations declare the axes, or a program.

    Attributes:
        name: What the layer is called.
        function: The NumPy function; None if the layer came as a program (from a text formula, a chain).
        doc: Formula, shapes, source.
    """

    def __init__(
        self, function: Callable[..., Any] | None, name: str | None = None, doc: str | None = None
    ) -> None:
        self.function = function
        self.name: str = name or str(getattr(function, "__name__", "layer"))
        self.doc = inspect.cleandoc(doc or getattr(function, "__doc__", None) or "")
        self._programs: dict[tuple[tuple[str, Any], ...], Program] = {}

    @classmethod
    def of(cls, program: Program, doc: str = "") -> Forward:
        """A forward pass that is already a program."""
        made = cls(None, program.name, doc)
        made._programs[()] = program
        return made

    def __repr__(self) -> str:
        return f"<Forward {self.name}>"

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
            if self.function is None:
                raise UnsupportedError(f"{self.name} has no argument {', '.join(statics)}.")
            self._programs[key] = trace(self.function, self.name, statics)
        return self._programs[key]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value on arrays; inside a trace, its formula on traced arrays."""
        if any(map(is_traced, (*args, *kwargs.values()))):
            program = self.program
            if self.function is not None:
                args, kwargs, statics = _split(self.function, args, kwargs)
                program = self.program_with(**statics)
            return inline(program, args, kwargs)
        if self.function is None:
            raise UnsupportedError(
                f"{self.name} is a formula without a Python function.",
                hint='Compile it: .compile("numpy").forward(...).',
            )
        return self.function(*args, **kwargs)


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
    return (), {name: value for name, value in given.items() if name not in statics}, statics


@overload
def forward(function: Callable[..., Any], /) -> Forward: ...


@overload
def forward(*, name: str | None = None) -> Callable[[Callable[..., Any]], Forward]: ...


def forward(
    function: Callable[..., Any] | None = None, /, *, name: str | None = None
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
        return Forward(function, name)

    return declare if function is None else declare(function)
