"""`assert_backward`: the check as an assertion of a project's own tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chalkgrad.diagnose.check import HasProgram, check
from chalkgrad.diagnose.report import Diagnosis


def assert_backward(
    backward: Any,
    layer: HasProgram,
    *,
    forward: Callable[..., Any] | None = None,
    name: str | None = None,
    seed: int = 0,
    timeout: float | None = None,
) -> Diagnosis:
    """Fail with the whole report unless the backward is right; see `chalkgrad.check`.

    Raises:
        AssertionError: With the report as its message.

    Example:
        >>> import chalkgrad as cg
        >>> square = cg.formula("y[i] = x[i]^2")
        >>> assert_backward(lambda dy, x: 2 * x * dy, square).ok
        True
    """
    __tracebackhide__ = True
    diagnosis = check(backward, layer, forward=forward, name=name, seed=seed, timeout=timeout)
    if not diagnosis.ok:
        raise AssertionError(f"\n{diagnosis}")
    return diagnosis
