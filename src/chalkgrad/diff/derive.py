"""Deriving: forward program in, the whole record of the backward out."""

from __future__ import annotations

from chalkgrad.derivation import Backward, Derived, Equation, Stage, Step
from chalkgrad.diff.closed import close, cost
from chalkgrad.diff.matrix_form import matrix_form
from chalkgrad.diff.normal_form import normal_form
from chalkgrad.diff.reverse import sweep
from chalkgrad.diff.stable import recognise, stabilise, without_dead
from chalkgrad.errors import DerivationError, suggestion
from chalkgrad.expr.garbage import collector_held
from chalkgrad.expr.guarded import sizes_known
from chalkgrad.expr.matrix import Matrix
from chalkgrad.expr.names import meant, spellings
from chalkgrad.expr.nodes import Apply, Definition, Indicator, Opaque, Program, Reduce, Sum, Tensor
from chalkgrad.expr.ops import free_indices, inline, tensors_in, walk
from chalkgrad.rules.polynomial import tidy

EVEN = 0.01
"""Forms whose operation counts differ by less than this part count as equal."""

EVEN_TO_READ = 1 / 8
"""The same on the page, where the closed form has fewer lines and its names are the forward's."""

FORMS = ("auto", "staged", "closed")

NONLINEAR = (Apply, Indicator, Reduce, Opaque)
"""What a value is made by that keeps its name in a matrix form."""

MOST_OPENED = 6
"""A matrix form puts at most this many made-up names back."""


@collector_held()
def derive(
    program: Program, wrt: tuple[str, ...] = (), *, form: str = "auto", given: bool = False
) -> Derived:
    """The backward pass of a forward program, step by step.

    Args:
        program: The forward pass.
        wrt: Names of the inputs to differentiate by; all float inputs if empty.
        form: "staged" keeps one adjoint per intermediate, "closed" substitutes them, "auto" takes
            the cheaper one.
        given: Keep the adjoint of a scalar output as an argument. Otherwise it is 1, the output
            being the loss itself.

    Raises:
        DerivationError: If a name is not an input, has no gradient (integers, booleans), or a node
            has no rule.
    """
    if form not in FORMS:
        raise DerivationError(
            f"There is no form '{form}'.{suggestion(form, FORMS)}", hint=f"Forms: {', '.join(FORMS)}."
        )
    written = normal_form(program)
    recognised, _ = recognise(written)
    named = without_dead(recognised, _own_values(program, recognised))
    wanted = inputs_named(program, wrt)
    swept = sweep(named, wanted, given)
    adjoints = tuple(t.adjoint for t in wanted)
    staged = Backward("staged", swept.definitions, adjoints, cost(swept.definitions))
    with sizes_known(program):
        closing = close(named, swept.definitions, adjoints)
    closed = Backward("closed", closing.definitions, adjoints, closing.cost)
    chosen, because = _choose(staged, closed, form, page=True)
    linear = _linear_names(program, named, chosen, adjoints)
    results = tuple(_equation(d, linear) for t in adjoints for d in chosen.definitions if d.target is t)
    shared = tuple(
        Equation(d.access, d.body, matrix_form(d.body, d.indices))
        for d in chosen.definitions
        if d.target not in adjoints
    )
    _, stable_stages, _ = stabilise(written)
    stages = (*_forward(written), *stable_stages, *swept.stages)
    if chosen.form == "closed" and closing.stages:
        stages = (*stages, *closing.stages)
    upstream = tuple(t.adjoint for t in program.outputs)
    return Derived(named, wanted, upstream, stages, staged, closed, chosen, because, results, shared=shared)


def _own_values(program: Program, named: Program) -> frozenset[Tensor]:
    """The values that the user named; a made-up one that nothing reads any more is dropped."""
    own = {d.target.name for d in program.definitions}
    return frozenset(d.target for d in named.definitions if d.target.name in own)


@collector_held()
def for_code(program: Program, wrt: tuple[str, ...] = ()) -> tuple[Program, Backward]:
    """The forward made numerically safe and its cheaper backward, with the upstream gradient an argument."""
    safe, _, shifts = stabilise(normal_form(program))
    wanted = inputs_named(program, wrt)
    swept = sweep(safe, wanted, given=True, fixed=shifts)
    adjoints = tuple(t.adjoint for t in wanted)
    with sizes_known(program):
        closing = close(safe, swept.definitions, adjoints, solve=False)
    staged = Backward("staged", swept.definitions, adjoints, cost(swept.definitions))
    closed = Backward("closed", closing.definitions, adjoints, closing.cost)
    chosen, _ = _choose(staged, closed, "auto")
    read = frozenset(t for d in chosen.definitions for t in tensors_in(d.body))
    return without_dead(safe, read), chosen


def inputs_named(program: Program, wrt: tuple[str, ...]) -> tuple[Tensor, ...]:
    """The float inputs called so (γ also gamma), in the order of the inputs."""
    floats = tuple(t for t in program.inputs if t.dtype == "float")
    everything = {t.name: t for t in (*program.inputs, *(p for p, _ in program.parameters))}
    wrt = tuple(meant(name, everything) for name in wrt)
    for name in wrt:
        if name not in everything:
            names = [t.name for t in floats]
            raise DerivationError(
                f"{program.name} has no input '{name}'.{suggestion(name, [*names, *spellings(names)])}",
                hint=f"Its differentiable inputs are: {', '.join(names) or 'none'}.",
            )
        if everything[name].dtype != "float":
            kind = "integers" if everything[name].dtype == "int" else "booleans"
            known = ", ".join(t.name for t in floats) or "none"
            raise DerivationError(
                f"'{name}' holds {kind}; it has no gradient.",
                hint=f"The differentiable inputs of {program.name} are: {known}.",
            )
    if not floats:
        raise DerivationError(
            f"{program.name} has no floating-point input, so there is nothing to differentiate by."
        )
    scalars = tuple(t for t, _ in program.parameters if t.name in wrt)
    return (*(t for t in floats if not wrt or t.name in wrt), *scalars)


def _choose(staged: Backward, closed: Backward, form: str, page: bool = False) -> tuple[Backward, str]:
    """The cheaper form; on the page the closed one where it costs about the same or solves an equation."""
    if form == "staged":
        return staged, "the staged form was asked for"
    if form == "closed":
        return closed, "the closed form was asked for"
    if [d.body for d in staged.definitions] == [d.body for d in closed.definitions]:
        return closed, "staged and closed form are the same here"
    if abs(closed.cost - staged.cost) <= EVEN * staged.cost:
        return closed, "it costs as much as the staged one and has fewer lines"
    if page and 0 < closed.cost - staged.cost <= EVEN_TO_READ * staged.cost:
        return closed, (
            f"it has fewer lines, and takes hardly more: {closed.cost:,.0f} operations and memory accesses, "
            f"the staged form {staged.cost:,.0f} (every size taken as 64)"
        )
    if page and _equations(closed) < _equations(staged):
        return closed, "its index equations are solved, with their guards"
    less, more = sorted((closed, staged), key=lambda b: b.cost)
    because = (
        f"it takes {less.cost:,.0f} operations and memory accesses, the {more.form} form "
        f"{more.cost:,.0f} (every size taken as 64)"
    )
    return less, because


def _equations(b: Backward) -> int:
    """How many sums still hold an equation for their index, as Σ_h 1(u = 2 h + p) does."""
    sums = (n for d in b.definitions for n in walk(d.body) if isinstance(n, Sum))
    return sum(
        any(isinstance(n, Indicator) and n.op == "==" and _fixes(n, s) for n in walk(s.body)) for s in sums
    )


def _fixes(equation: Indicator, total: Sum) -> bool:
    """Whether an equation of places alone ties an index that the sum binds."""
    return not tensors_in(equation) and not free_indices(equation).isdisjoint(total.indices)


def _equation(d: Definition, linear: dict[Tensor, Definition]) -> Equation:
    return Equation(d.access, d.body, _in_inputs(d, linear) or matrix_form(d.body, d.indices))


def _linear_names(
    program: Program, named: Program, chosen: Backward, wanted: tuple[Tensor, ...]
) -> dict[Tensor, Definition]:
    """Names that the user did not give, of values made by sums and products alone."""
    own = {d.target for d in program.definitions}
    made = [d for d in named.definitions if d.target not in own]
    made += [d for d in chosen.definitions if d.target not in wanted]
    return {d.target: d for d in made if not any(isinstance(n, NONLINEAR) for n in walk(d.body))}


def _in_inputs(d: Definition, linear: dict[Tensor, Definition]) -> Matrix | None:
    """The matrix form in the user's names alone: Aᵀ x + A x, where the code says z + A x.

    None where a function, an adjoint from above or too much text is left; a name is better then.
    """
    body, opened = d.body, 0
    while opened < MOST_OPENED:
        name = next((t for t in linear if t in tensors_in(body)), None)
        if name is None:
            break
        body, opened = inline(body, linear[name].access, linear[name].body), opened + 1
    if not opened or any(t.role == "adjoint" or t in linear for t in tensors_in(body)):
        return None
    return matrix_form(tidy(body), d.indices)


def _forward(program: Program) -> tuple[Stage, ...]:
    """The forward pass, one stage a line."""
    return tuple(
        Stage(
            "definition",
            f"Forward: {d.target.name}",
            d.access,
            (Step(d.access, d.body, "definition", "by definition", milestone=True),),
        )
        for d in program.definitions
    )
