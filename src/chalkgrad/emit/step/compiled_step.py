"""The text of a training step, imported and callable."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from chalkgrad.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class StepText:
    """A module with `allocate(sizes…, dtype)` and `steps(order, losses, …)`.

    Attributes:
        text: The module.
        sizes: The arguments of `allocate` but the last: ranges by name.
        arguments: What `steps` takes by keyword: the program's or the rule's name → the argument.
        tails: For each list of spans that `steps` takes: argument → the parameters that they cover.
    """

    text: str
    sizes: dict[str, str]
    arguments: dict[str, str]
    tails: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class CompiledStep:
    """The functions of an emitted step.

    Attributes:
        text: The module, with what its arguments stand for.
        allocate: The sizes of the ranges `text.sizes` and a dtype → the step's memory.
        steps: Trains on every batch of an order; nothing is checked.
    """

    text: StepText = field(repr=False)
    allocate: Callable[..., list[Any]]
    steps: Callable[..., None]


def imported_step(text: StepText, of: str) -> CompiledStep:
    """The step as functions; `inspect.getsource` and tracebacks show its text.

    Args:
        text: From `step_text`.
        of: What the step is called in tracebacks.

    Raises:
        UnsupportedError: When the text needs a package that is not installed.
    """
    filename = f"<chalkgrad step of {of} {hash(text.text) & 0xFFFFFF:06x}>"
    # A cache entry whose modification time is None is never checked against the disk.
    linecache.cache[filename] = (len(text.text), None, text.text.splitlines(keepends=True), filename)
    made = ModuleType(f"chalkgrad_step_{of.split(maxsplit=1)[0]}")
    made.__file__ = filename
    try:
        exec(compile(text.text, filename, "exec"), made.__dict__)
    except ImportError as cause:
        raise UnsupportedError(
            f"The step needs {cause.name}, which is not installed.", hint='Use engine="plain".'
        ) from cause
    return CompiledStep(text, made.__dict__["allocate"], made.__dict__["steps"])
