"""Values that the forward works out anyway and the backward asks for again are saved.

    o = x cos a,  dx = do cos a       becomes       c = cos a,  o = x c,  dx = do c

The forward's own cost does not change: its code makes an array of cos a in any case. What is compared is
the backward with the value read against the backward that works it out (operations and numbers moved).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from chalkgrad.diff.normal_form import NAMES
from chalkgrad.emit.cost import cost
from chalkgrad.emit.share import MOST_AXES, key_in_order, least_key, live, read_back, share, temporary
from chalkgrad.expr.cost import function_cost
from chalkgrad.expr.nodes import Apply, Definition, Expr, Opaque, Program, Tensor
from chalkgrad.expr.ops import free_indices, tensors_in, walk


def keep_values(
    program: Program, adjoints: Sequence[Definition], wanted: Sequence[Tensor]
) -> tuple[Program, tuple[Definition, ...]]:
    """The forward with a name for each value worth saving, and the definitions of these values.

    Only functions that count as several operations are considered: a cheap one is not worth an array
    that lives from the forward to the backward.
    """
    current = tuple(adjoints)
    kept: tuple[Definition, ...] = ()
    read = frozenset().union(*(tensors_in(d.body) for d in current))
    computed = live(program.definitions, {*program.outputs, *read})
    held = {least_key(e) for d in computed for e in _functions(d.body)}
    taken = {t.name for t in {*program.tensors(), *read, *(d.target for d in current)}}
    taken |= {i.name for d in (*program.definitions, *current) for i in d.indices}
    while held:
        found = next(
            (key for d in current for e in _functions(d.body) if (key := least_key(e)) in held), None
        )
        if found is None:
            break
        held.remove(found)
        named, value = _with_name(program, found, set(taken))
        shorter = reading(current, [value])
        if _cost(shorter, wanted) < _cost(current, wanted):
            program, current, kept = named, shorter, (*kept, value)
            taken.add(value.target.name)
    return program, kept


def reading(definitions: Sequence[Definition], values: Sequence[Definition]) -> tuple[Definition, ...]:
    """The definitions with each value read wherever its formula stands."""
    for value in values:
        known = {key_in_order(value.body, value.indices): value}
        definitions = [replace(d, body=read_back(d.body, known)) for d in definitions]
    return tuple(definitions)


def _cost(definitions: Sequence[Definition], wanted: Sequence[Tensor]) -> float:
    found = cost(live(share(definitions, wanted), wanted))
    return found.nominal_flops + found.nominal_traffic


def _functions(e: Expr) -> Iterator[Expr]:
    """The expensive functions in an expression, the outermost first."""
    for part in walk(e):
        expensive = isinstance(part, Opaque) or (isinstance(part, Apply) and function_cost(part.fn) > 1)
        if expensive and tensors_in(part) and len(free_indices(part)) <= MOST_AXES:
            yield part


def _with_name(program: Program, key: Expr, taken: set[str]) -> tuple[Program, Definition]:
    """The program in which the function with this key is a value, and the definition of that value."""
    place, part = next(
        (n, e) for n, d in enumerate(program.definitions) for e in _functions(d.body) if least_key(e) is key
    )
    d = program.definitions[place]
    if part is d.body and free_indices(part) == frozenset(d.indices):
        return program, d
    fn = part.fn if isinstance(part, Apply | Opaque) else ""
    value = temporary(part, taken, NAMES.get(fn, fn[0]))
    later = reading(program.definitions[place:], [value])
    return replace(program, definitions=(*program.definitions[:place], value, *later)), value
