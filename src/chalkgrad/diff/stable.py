"""Numerical stability, derived: exponentials shifted by their maximum where nothing can notice.

    p = e/z with e = exp f, z = Σ e:   e and z scaled by the same factor leave p unchanged
    log z:                             log Σ exp f = m + log Σ exp(f − m)
    log p:                             log(e/z) = f − m − log z, never the logarithm of an underflow

Found from the definitions, whatever they are called; every rewrite is a shown step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from chalkgrad.derivation import Stage, Step
from chalkgrad.diff.normal_form import normal_form
from chalkgrad.expr.cost import expression_flops
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Mul,
    Pow,
    Program,
    Reduce,
    Sum,
    Tensor,
)
from chalkgrad.expr.ops import (
    canonical,
    free_indices,
    index_names,
    inline,
    map_children,
    rename_bound,
    substitute,
    tensors_in,
    walk,
)
from chalkgrad.rules.identities import apply_identities
from chalkgrad.rules.polynomial import collect, expand, to_expr


@dataclass(frozen=True, slots=True)
class Normaliser:
    """A pair e[.., k] = exp(g), z[..] = Σ_k e[.., k]."""

    exponential: Definition
    total: Definition

    @property
    def score(self) -> Expr:
        assert isinstance(self.exponential.body, Apply)
        return self.exponential.body.args[0]


def stabilise(program: Program) -> tuple[Program, tuple[Stage, ...]]:
    """The program made safe for large inputs, and the steps that show it computes the same."""
    program, recognised = recognise(program)
    stages = list(recognised)
    told = program
    for pair in _normalisers(program):
        # Each shift is told by itself: with another one made, z would not be the z of the derivation.
        told = _open_logarithms(told, pair, stages)
        opened = _open_logarithms(program, pair, [])
        if _shift_is_invisible(opened, pair):
            _shifted(told, pair, stages)
            program = _shifted(opened, pair, [])
    return program, tuple(stages)


@lru_cache(16)
def recognise(program: Program) -> tuple[Program, tuple[Stage, ...]]:
    """Sigmoid and softplus found behind their formulas, with the steps that say so.

    Derivations start from here too: 1/(1 + e⁻ᵃ) differentiated by the letter of its formula would
    never meet σ(1 − σ) again.
    """
    stages: list[Stage] = []
    found = _with_identities(program, stages)
    return (normal_form(found), tuple(stages)) if stages else (program, ())


def _with_identities(program: Program, stages: list[Stage]) -> Program:
    definitions: list[Definition] = []
    for d in program.definitions:
        body, used = apply_identities(d.body)
        # A logarithm of a named sigmoid is seen through the name.
        if not used:
            opened = _see_through(definitions, d.body)
            body, used = apply_identities(opened) if opened is not d.body else (d.body, [])
        if used:
            # What the identities made alike may now be collected: t (a − s) − (1 − t) s = t a − s.
            body = min(
                (to_expr(collect(expand(body, distribute))) for distribute in (False, True)), key=_work
            )
            because = "; ".join(dict.fromkeys(i.because for i in used))
            stages.append(_safe(d, d.body, body, used[0].name, because))
        definitions.append(replace(d, body=body if used else d.body))
    return replace(program, definitions=tuple(definitions))


def _work(e: Expr) -> tuple[float, int]:
    return expression_flops(e), sum(1 for _ in walk(e))


def _safe(d: Definition, before: Expr, after: Expr, rule: str, because: str) -> Stage:
    step = Step(before, after, rule, because, milestone=True)
    return Stage("stable", f"{d.target.name}, safe for large inputs", d.access, (step,))


def _see_through(definitions: list[Definition], e: Expr) -> Expr:
    """The body with exponentials, sigmoids and quotients of them written out: log(s) as log(σ(a))."""
    for d in reversed(definitions):
        if d.target in tensors_in(e) and _is_exponential(d.body):
            e = inline(e, d.access, d.body)
    return e


def _is_exponential(body: Expr) -> bool:
    """exp(a), σ(a), or a power of a sum, such as 1/(1 + exp a)."""
    if isinstance(body, Apply):
        return body.fn in ("sigmoid", "exp")
    return isinstance(body, Pow) and isinstance(body.base, Add)


def _normalisers(program: Program) -> list[Normaliser]:
    found = []
    for z in program.definitions:
        if not isinstance(z.body, Sum) or not isinstance(z.body.body, Access):
            continue
        e = program.definition(z.body.body.tensor.name)
        if e is None or not isinstance(e.body, Apply) or e.body.fn != "exp":
            continue
        if e.target in program.outputs or z.target in program.outputs or _already_shifted(e.body):
            continue
        found.append(Normaliser(e, z))
    return found


def _already_shifted(e: Apply) -> bool:
    """exp(f − max f) as the user wrote it needs no second shift."""
    return any(isinstance(n, Reduce) and n.op == "max" for n in walk(e))


def _open_logarithms(program: Program, pair: Normaliser, stages: list[Stage]) -> Program:
    """log(p) with p = e/z rewritten as score − log z."""
    ratios = {
        d.target: d for d in program.definitions
        if pair.exponential.target in tensors_in(d.body) and pair.total.target in tensors_in(d.body)
    }  # fmt: skip
    definitions = []
    for d in program.definitions:
        body = _logs(d.body, ratios, pair)
        if body is not d.body:
            because = "the logarithm of a quotient is a difference; log(exp f) = f"
            stages.append(_safe(d, d.body, body, "log-of-quotient", because))
        definitions.append(replace(d, body=body))
    return replace(program, definitions=tuple(definitions))


def _logs(e: Expr, ratios: dict[Tensor, Definition], pair: Normaliser) -> Expr:
    match e:
        case Apply("log", (Access(tensor, indices),)) if tensor in ratios:
            d = ratios[tensor]
            mapping = dict(zip(d.indices, indices, strict=True))
            return _log_of(substitute(d.body, mapping), pair) or e
        case Apply("log", (Mul() as quotient,)):
            return _log_of(quotient, pair) or e
    return map_children(e, lambda kid: _logs(kid, ratios, pair))


def _log_of(quotient: Expr, pair: Normaliser) -> Expr | None:
    """log(e/z) as g − log z, where the quotient is exactly that."""
    poly = expand(quotient)
    if len(poly) != 1 or poly[0].coeff != 1 or poly[0].bound or len(poly[0].powers) != 2:
        return None
    powers = {a.tensor: (a, p) for a, p in poly[0].powers if isinstance(a, Access)}
    e, z = powers.get(pair.exponential.target), powers.get(pair.total.target)
    if e is None or z is None or e[1] != 1 or z[1] != -1:
        return None
    score = substitute(pair.score, dict(zip(pair.exponential.indices, e[0].indices, strict=True)))
    return Add((score, Mul((Const(Fraction(-1)), Apply("log", (z[0],))))))


def _shift_is_invisible(program: Program, pair: Normaliser) -> bool:
    """Whether e and z are only used in quotients of degree zero, and z under a logarithm."""
    e, z = pair.exponential.target, pair.total.target
    for d in program.definitions:
        if d.target is z:
            continue
        rest = _without_log(d.body, z)
        if not {e, z} & tensors_in(rest):
            continue
        for m in expand(rest, distribute=True):
            degree = sum(
                (p for a, p in m.powers if isinstance(a, Access) and a.tensor in (e, z)), Fraction(0)
            )
            hidden = any(
                {e, z} & tensors_in(a)
                for a, _ in m.powers
                if not (isinstance(a, Access) and a.tensor in (e, z))
            )
            if degree != 0 or hidden:
                return False
    return True


def _without_log(e: Expr, z: Tensor) -> Expr:
    match e:
        case Apply("log", (Access(tensor, _),)) if tensor is z:
            return Const(Fraction(1))
    return map_children(e, lambda kid: _without_log(kid, z))


def _shifted(program: Program, pair: Normaliser, stages: list[Stage]) -> Program:
    e, z = pair.exponential, pair.total
    assert isinstance(z.body, Sum)
    assert isinstance(z.body.body, Access)
    summed = z.body.indices
    formal = dict(zip(e.indices, z.body.body.indices, strict=True))
    largest = Reduce("max", summed, substitute(pair.score, formal))
    taken = {t.name for t in program.tensors()} | {i.name for d in program.definitions for i in d.indices}
    name = next(n for n in ("m", "top", "fmax", *(f"m{k}" for k in range(2, 99))) if n not in taken)
    m = Definition(Tensor(name, z.target.axes, "float", "value"), z.indices, largest)
    at = substitute(m.access, _outer_letters(pair))
    shifted = Apply("exp", (Add((pair.score, Mul((Const(Fraction(-1)), at)))),))
    definitions: list[Definition] = []
    for d in program.definitions:
        if d.target is e.target:
            definitions.append(m)
            definitions.append(replace(d, body=shifted))
            continue
        body = _shift_log(d.body, z.target, m)
        definitions.append(replace(d, body=body))
        stages.extend(_shift_stages(d, pair, largest, shifted, m))
    return replace(program, definitions=tuple(definitions))


def _outer_letters(pair: Normaliser) -> dict[Index, Expr]:
    """From z's own letters to those that e uses for the same axes."""
    assert isinstance(pair.total.body, Sum)
    assert isinstance(pair.total.body.body, Access)
    inner = pair.total.body.body.indices
    pairs = zip(inner, pair.exponential.indices, strict=True)
    return {a: b for a, b in pairs if isinstance(a, Index) and a in pair.total.indices}


def _shift_log(e: Expr, z: Tensor, m: Definition) -> Expr:
    match e:
        case Apply("log", (Access(tensor, indices),)) if tensor is z:
            return Add((Access(m.target, indices), e))
    return map_children(e, lambda kid: _shift_log(kid, z, m))


def _shift_stages(
    d: Definition, pair: Normaliser, largest: Expr, shifted: Expr, m: Definition
) -> list[Stage]:
    """The shift shown on a line that uses e/z or log z, with everything written out."""
    e, z = pair.exponential, pair.total
    if d.target in (e.target, z.target) or not {e.target, z.target} & tensors_in(d.body):
        return []
    # Each Σ and max gets a letter that nothing around it uses.
    around = {i.name for i in d.indices}
    total = rename_bound(z.body, around)
    inside = around | set(index_names(total))
    before = inline(inline(d.body, z.access, total), e.access, e.body)
    with_m = _shift_log(d.body, z.target, m)
    after = inline(inline(with_m, z.access, total), e.access, shifted)
    after = inline(after, m.access, rename_bound(largest, inside))
    because = "shifting all scores by one number changes nothing, and exp of a number ≤ 0 cannot overflow"
    if canonical(before) is canonical(after) or free_indices(before) != free_indices(after):
        return []
    return [_safe(d, before, after, "shift-by-maximum", because)]


def without_dead(program: Program, read: frozenset[Tensor]) -> Program:
    """The program without the definitions that neither an output nor `read` needs."""
    needed = set(program.outputs) | set(read)
    kept: list[Definition] = []
    for d in reversed(program.definitions):
        if d.target in needed:
            needed |= tensors_in(d.body)
            kept.append(d)
    return replace(program, definitions=tuple(reversed(kept)))
