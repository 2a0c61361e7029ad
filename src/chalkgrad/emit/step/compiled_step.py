"""The text of a training step, imported and callable."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from chalkgrad.emit.step.step_text import Plans, StepText, step_text
from chalkgrad.errors import UnsupportedError


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


def compile_step(plans: Plans) -> CompiledStep:
    """The step as functions; `inspect.getsource` and tracebacks show its text.

    Raises:
        UnsupportedError: When a construct cannot be written into given memory.
    """
    text = step_text(plans)
    filename = (
        f"<chalkgrad step of {plans.program.name} with {plans.rule.name} {hash(text.text) & 0xFFFFFF:06x}>"
    )
    # A cache entry whose modification time is None is never checked against the disk.
    linecache.cache[filename] = (len(text.text), None, text.text.splitlines(keepends=True), filename)
    made = ModuleType(f"chalkgrad_step_{plans.program.name}")
    made.__file__ = filename
    try:
        exec(compile(text.text, filename, "exec"), made.__dict__)
    except ImportError as cause:
        raise UnsupportedError(
            f"The step needs {cause.name}, which is not installed.", hint='Use engine="plain".'
        ) from cause
    return CompiledStep(text, made.__dict__["allocate"], made.__dict__["steps"])
