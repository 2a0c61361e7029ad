"""Branches that are not taken must not overflow.

`where(x > 0, x, expm1(x))` is computed for both branches, and expm1(1e4) is infinite: a warning, and in the
backward ∞ · 0, which is no number. Where a branch is only taken for u ≤ c, the exponential of u in it may as
well be that of min(u, c).
"""

from __future__ import annotations

from dataclasses import replace

from chalkgrad.expr.nodes import Access, Apply, Const, Definition, Expr, Indicator, Program, Tensor
from chalkgrad.expr.ops import alpha_equal, children, free_indices, inline, map_children, tensors_in

GROWING = ("exp", "expm1", "sinh", "cosh")
"""Functions that overflow for large arguments."""


def without_overflow(program: Program) -> Program:
    """The program with the exponentials of untaken branches held down."""
    definitions = list(program.definitions)
    for place, d in enumerate(definitions):
        bound = None
        if isinstance(d.body, Apply) and d.body.fn in GROWING and d.target not in program.outputs:
            bound = _bound(d, [e for e in definitions if d.target in tensors_in(e.body)])
        if bound is not None and isinstance(d.body, Apply):
            held = Apply("minimum", (d.body.args[0], bound))
            definitions[place] = replace(d, body=Apply(d.body.fn, (held,)))
    return replace(program, definitions=tuple(_inside(d) for d in definitions))


def _bound(d: Definition, readers: list[Definition]) -> Const | None:
    """The constant that the argument does not exceed wherever the value is read."""
    assert isinstance(d.body, Apply)
    found: list[Const] = []
    for reader in readers:
        if not _reads_below(reader.body, d, d.body.args[0], None, found):
            return None
    if not found:
        return None
    return max(found, key=lambda c: c.value)


def _reads_below(e: Expr, d: Definition, argument: Expr, bound: Const | None, found: list[Const]) -> bool:
    """Whether every read of d in `e` lies in a branch that needs the argument to be at most a constant."""
    if d.target not in tensors_in(e):
        return True
    if isinstance(e, Access) and e.tensor is d.target:
        if bound is None:
            return False
        found.append(bound)
        return True
    branches = _branches(e)
    for place, kid in enumerate(children(e)):
        limit = bound
        if branches is not None and place == branches[0]:
            own = Definition(d.target, d.indices, argument)
            read = next((a for a in _accesses(kid, d.target)), None)
            if read is not None and alpha_equal(inline(read, own.access, argument), branches[1]):
                limit = branches[2]
        if not _reads_below(kid, d, argument, limit, found):
            return False
    return True


def _branches(e: Expr) -> tuple[int, Expr, Const] | None:
    """For where(u > c, a, b): (2, u, c), the place of the branch that needs u ≤ c."""
    match e:
        case Apply("where", (Indicator(op, u, Const() as c), _, _)) if op in (">", ">="):
            return 2, u, c
        case Apply("where", (Indicator(op, u, Const() as c), _, _)) if op in ("<", "<="):
            return 1, u, c
        case Apply("where", (Indicator(op, Const() as c, u), _, _)) if op in ("<", "<="):
            return 2, u, c
        case Apply("where", (Indicator(op, Const() as c, u), _, _)) if op in (">", ">="):
            return 1, u, c
    return None


def _accesses(e: Expr, tensor: Tensor) -> list[Access]:
    own = [e] if isinstance(e, Access) and e.tensor is tensor else []
    return own + [a for kid in children(e) for a in _accesses(kid, tensor)]


def _inside(d: Definition) -> Definition:
    """The same for exponentials that are written in the branch itself."""

    def visit(e: Expr) -> Expr:
        branches = _branches(e)
        if branches is not None and isinstance(e, Apply):
            place, u, c = branches
            args = list(e.args)
            args[place] = _held(args[place], u, c)
            e = Apply("where", tuple(args))
        return map_children(e, visit)

    return replace(d, body=visit(d.body))


def _held(e: Expr, u: Expr, c: Const) -> Expr:
    if isinstance(e, Apply) and e.fn in GROWING and e.args[0] is u and free_indices(u):
        return Apply(e.fn, (Apply("minimum", (u, c)),))
    return map_children(e, lambda kid: _held(kid, u, c))
