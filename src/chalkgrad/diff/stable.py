"""Numerical stability, derived: exponentials shifted by their maximum where nothing can notice.

    p = e/z with e = exp f, z = Σ w e: e and z scaled by the same factor leave p unchanged
    log z:                             log Σ w exp f = m + log Σ w exp(f − m)
    log p:                             log(e/z) = f − m − log z, never the logarithm of an underflow

Found from the definitions, whatever they are called; every rewrite is a shown step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from chalkgrad.derivation import Stage, Step
from chalkgrad.diff.normal_form import normal_form
from chalkgrad.diff.shift import Exponential, VisibleError, exponentials, multiple, shifted, summed
from chalkgrad.expr.cost import expression_flops
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Definition,
    Expr,
    Mul,
    Pow,
    Program,
    Tensor,
)
from chalkgrad.expr.ops import (
    inline,
    map_children,
    substitute,
    tensors_in,
    walk,
)
from chalkgrad.rules.identities import apply_identities, functions_in
from chalkgrad.rules.polynomial import Monomial, Powers, collect, expand, plain, to_expr


def stabilise(program: Program) -> tuple[Program, tuple[Stage, ...], frozenset[Tensor]]:
    """The program made safe for large inputs, the steps that show it is the same, and what it shifts by.

    Nothing depends on the last, so that its adjoint is 0.
    """
    program, recognised = recognise(program)
    stages, by, told = list(recognised), set[Tensor](), program
    for target in [d.target for d in exponentials(program)]:
        # Each shift is told by itself: with another one made, z would not be the z of the derivation.
        e, alone, seen = summed(program, target), summed(told, target), list[Stage]()
        if e is None or alone is None:
            continue
        try:
            safe, largest = shifted(_open_logarithms(program, e, []), e, [])
            opened = _open_logarithms(told, alone, seen)
            shifted(opened, alone, seen)
        except VisibleError:
            continue
        program, told = safe, opened
        stages += seen
        by.add(largest)
    return program, tuple(stages), frozenset(by)


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
    return isinstance(body, Pow) and (isinstance(body.base, Add) or functions_in(body) == {"cosh"})


def _open_logarithms(program: Program, e: Exponential, stages: list[Stage]) -> Program:
    """log(p) with p = e/z rewritten as score − log z."""
    made_of = {e.definition.target, e.total.target}
    exponents = {d.target: d for d in exponentials(program)}
    quotients = {
        d.target: d for d in program.definitions
        if made_of & tensors_in(d.body) and exponents.keys() & tensors_in(d.body)
    }  # fmt: skip
    definitions = []
    for d in program.definitions:
        body = _logs(d.body, quotients, exponents, made_of)
        if body is not d.body:
            because = "the logarithm of a quotient is a difference; log(exp f) = f"
            stages.append(_safe(d, d.body, body, "log-of-quotient", because))
        definitions.append(replace(d, body=body))
    return replace(program, definitions=tuple(definitions))


Named = Mapping[Tensor, Definition]


def _logs(e: Expr, quotients: Named, exponents: Named, made_of: set[Tensor]) -> Expr:
    match e:
        case Apply("log", (Access(tensor, indices),)) if tensor in quotients:
            d = quotients[tensor]
            mapping = dict(zip(d.indices, indices, strict=True))
            return _log_of(substitute(d.body, mapping), exponents) or e
        case Apply("log", (Mul() as quotient,)) if made_of & tensors_in(quotient):
            return _log_of(quotient, exponents) or e
    return map_children(e, lambda kid: _logs(kid, quotients, exponents, made_of))


def _log_of(quotient: Expr, exponents: Named) -> Expr | None:
    """log(e/z) as g − log z, where exponentials are factors of what is not one itself."""
    poly = expand(quotient)
    if len(poly) != 1 or poly[0].bound or poly[0].coeff <= 0:
        return None
    terms: list[Expr] = []
    rest: Powers = {}
    for atom, power in poly[0].powers:
        if isinstance(atom, Access) and atom.tensor in exponents:
            d = exponents[atom.tensor]
            assert isinstance(d.body, Apply)
            score = substitute(d.body.args[0], dict(zip(d.indices, atom.indices, strict=True)))
            terms.append(multiple(power, score))
        else:
            rest[atom] = power
    if not terms or not rest:
        return None
    ((only, power), *others) = rest.items()
    if others or poly[0].coeff != 1:
        left = plain(Monomial(poly[0].coeff, (), tuple(rest.items())))
        return Add((*terms, Apply("log", (left,))))
    return Add((*terms, multiple(power, Apply("log", (only,)))))


def without_dead(program: Program, read: frozenset[Tensor]) -> Program:
    """The program without the definitions that neither an output nor `read` needs."""
    needed = set(program.outputs) | set(read)
    kept: list[Definition] = []
    for d in reversed(program.definitions):
        if d.target in needed:
            needed |= tensors_in(d.body)
            kept.append(d)
    return replace(program, definitions=tuple(reversed(kept)))
