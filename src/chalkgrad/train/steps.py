"""The emitted training step of a program under an update rule, made once in a process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from chalkgrad.emit.disk_cache import kept
from chalkgrad.emit.step.compiled_step import CompiledStep, StepText, imported_step
from chalkgrad.expr.nodes import Program
from chalkgrad.train.emitted import derived
from chalkgrad.train.optimisers import UpdateRule


def compiled_step(
    program: Program, wrt: tuple[str, ...], rule: UpdateRule, rows: tuple[str, ...], sizes: Mapping[str, int],
    masks: tuple[tuple[str, str], ...] = (),
) -> CompiledStep:  # fmt: skip
    """The step as functions.

    Args:
        program: With one scalar output, the loss.
        wrt: The parameters that are trained.
        rule: The update rule.
        rows: The inputs of which each batch takes its rows.
        sizes: The size of every range; only the choice of the buffers depends on them.
        masks: Inputs that are drawn, and the probability of true as code in the program's parameters.

    Raises:
        UnsupportedError: When the program or the rule has a construct that cannot be written into given
            memory.
    """
    return _compiled(program, wrt, rule, rows, tuple(sizes.items()), masks)


@lru_cache(64)
def _compiled(
    program: Program,
    wrt: tuple[str, ...],
    rule: UpdateRule,
    rows: tuple[str, ...],
    sizes: tuple[tuple[str, int], ...],
    masks: tuple[tuple[str, str], ...],
) -> CompiledStep:
    def emitted() -> dict[str, Any]:
        from chalkgrad.emit.step.step_text import Plans, step_text

        safe, backward = derived(program, wrt)
        return asdict(step_text(Plans(safe, backward, rule.program, rows, dict(sizes), dict(masks))))

    text = StepText(**kept("step-text", (program, wrt, rule, rows, sizes, masks), emitted))
    return imported_step(text, f"{program.name} with {rule.name}")
