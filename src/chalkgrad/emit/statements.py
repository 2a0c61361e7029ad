"""One definition as statements: an assignment, or zeros and an indexed update where an indicator
would otherwise be a dense array of zeros and ones."""

from __future__ import annotations

from dataclasses import replace

from chalkgrad.emit.arrays import Accumulate, Assign, Crop, Load, Scale, Statement, Window, Zeros, kind
from chalkgrad.emit.lower import as_float, factors_of, lower, lower_to, terms_of
from chalkgrad.emit.scatter import Scatter, common_frame, scatter, stacked, updates
from chalkgrad.expr.nodes import Add, Definition, Expr, Mul


def statements(d: Definition, own: bool = False) -> tuple[Statement, ...]:
    """The statements that compute a definition; `own` asks for memory of its own."""
    scale, rest = _split_scale(d.body)
    blocks = stacked(scale, terms_of(rest), d.indices)
    if blocks is not None:
        return (Assign(d.target, d.indices, blocks),)
    scatters: list[Scatter] = []
    dense: list[Expr] = []
    for term in terms_of(rest):
        found = scatter(term, d.indices)
        if found is None:
            dense.append(term)
        else:
            scatters.append(found)
    if not scatters:
        return (_assign(d, d.body, own),)
    if not dense and len(scatters) == 1:  # the scale belongs to the few values that are written
        only = scatters[0]
        value = Mul((*scale, *factors_of(only.value))) if scale else only.value
        scatters, scale = [replace(only, value=value)], []
    frame = common_frame(d.indices, scatters)
    body = dense[0] if len(dense) == 1 else Add(tuple(dense))
    result: list[Statement] = []
    if dense and not frame:
        result.append(_assign(d, body, True))
    else:
        result.append(Zeros(d.target, d.indices, frame))
    for place, s in enumerate(scatters):
        result += updates(d, s, frame, replace=not dense and place == 0)
    if frame:
        result.append(Crop(d.target, d.indices, frame))
        if dense:
            result.append(Accumulate(d.target, lower(body, d.indices), d.indices))
    if scale:
        result.append(Scale(d.target, lower(Mul(tuple(scale)), d.indices), d.indices))
    return tuple(result)


def _assign(d: Definition, body: Expr, own: bool) -> Assign:
    value = lower_to(body, d.indices)
    if d.target.dtype == "float" and (d.indices or kind(value) != "host"):
        value = as_float(value)
    # A bare name or a transposed view of it would share memory with what the caller gave.
    return Assign(
        d.target, d.indices, value, own and isinstance(value, Load | Window) and kind(value) != "host"
    )


def _split_scale(body: Expr) -> tuple[list[Expr], Expr]:
    """Factors around a sum of terms, and that sum; no factors where the body is not of that form."""
    factors = factors_of(body)
    inner = [f for f in factors if isinstance(f, Add)]
    if len(inner) != 1 or len(factors) == 1:
        return [], body
    return [f for f in factors if f is not inner[0]], inner[0]
