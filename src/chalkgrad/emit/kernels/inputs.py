"""What the inputs of a step are: known from the loss alone, before anything is derived or recognised."""

from __future__ import annotations

from collections.abc import Iterable

from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Program, Range, Tensor


def split_inputs(
    program: Program, wrt: tuple[str, ...], masks: Iterable[str] = ()
) -> tuple[Range, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The range of the observations, the inputs that come in rows, and those that are trained.

    Raises:
        UnsupportedError: When there is no scalar loss, or no axis that all data begin with.
    """
    data = tuple(t for t in program.inputs if t.name not in (*wrt, *masks))
    parameters = tuple(t for t in program.inputs if t.name in wrt)
    if len(program.outputs) != 1 or program.outputs[0].axes:
        raise UnsupportedError("The compiled step needs one scalar loss.")
    first = {t.axes[0] for t in data if t.axes}
    if len(first) != 1 or any(not t.axes for t in data):
        raise UnsupportedError("The compiled step needs data whose first axis is the observations.")
    wide = [t.name for t in data if len(t.axes) > 2]
    odd = [t.name for t in parameters if not 1 <= len(t.axes) <= 2]
    if wide or odd or program.sizes:
        what = [f"rows of {wide[0]} with more than one axis"] if wide else []
        what += [f"a parameter such as {odd[0]}, which is neither vector nor weight"] if odd else []
        what += ["sizes that follow from others"] if program.sizes else []
        raise UnsupportedError(
            f"The compiled step has no kernel for {' and '.join(what)}.", hint='Choose engine="auto".'
        )
    return first.pop(), data, parameters
