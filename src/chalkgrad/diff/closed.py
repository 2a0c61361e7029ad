"""The closed derivation: adjoints substituted into each other as long as that saves work.

An adjoint is substituted when computing it once by name is no cheaper than having it multiplied
out where it is used: the adjoint of x̂ melts into batch norm's three terms, that of a layer's scores
stays a name that dX, dW and db share. The measure is `chalkgrad.expr.cost.flops`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chalkgrad.derivation import Stage, Step
from chalkgrad.diff.simplify import Knowledge, Lemma, simplify
from chalkgrad.expr.cost import flops
from chalkgrad.expr.nodes import Definition, Program, Tensor
from chalkgrad.expr.ops import inline, tensors_in, walk
from chalkgrad.expr.text import tensor_name


@dataclass(slots=True)
class _Entry:
    """One adjoint on its way to its closed form."""

    definition: Definition
    steps: tuple[Step, ...] = ()
    lemmas: tuple[Lemma, ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """The closed definitions, and the stages that show how they came about."""

    definitions: tuple[Definition, ...]
    stages: tuple[Stage, ...]


def close(program: Program, staged: tuple[Definition, ...], wanted: tuple[Tensor, ...]) -> Closed:
    """Eliminate adjoints from the output towards the inputs, each where it pays."""
    knowledge = Knowledge.of(program)
    entries = {d.target: _simplified(_Entry(d), knowledge) for d in staged}
    for tensor in [d.target for d in staged]:
        if tensor in wanted:
            continue
        trial = _eliminate(entries, tensor, knowledge)
        if trial is not None and _objective(trial) <= _objective(entries):
            entries = trial
    stages: list[Stage] = []
    shown: set[str] = set()
    for entry in entries.values():
        for lemma in entry.lemmas:
            if str(lemma.lhs) not in shown:
                shown.add(str(lemma.lhs))
                stages.append(lemma.stage())
        if entry.steps:
            title = f"The gradient of {tensor_name(entry.definition.target).removeprefix('dL/d')}, closed"
            stages.append(Stage("closed", title, entry.definition.access, entry.steps))
    return Closed(tuple(e.definition for e in entries.values()), tuple(stages))


def _objective(entries: dict[Tensor, _Entry]) -> tuple[float, int]:
    definitions = [e.definition for e in entries.values()]
    return flops(definitions), sum(sum(1 for _ in walk(d.body)) for d in definitions)


def _simplified(entry: _Entry, knowledge: Knowledge) -> _Entry:
    body, steps, lemmas = simplify(entry.definition.body, knowledge)
    return _Entry(
        replace(entry.definition, body=body), entry.steps + tuple(steps), entry.lemmas + tuple(lemmas)
    )


def _eliminate(entries: dict[Tensor, _Entry], tensor: Tensor, knowledge: Knowledge) -> dict[Tensor, _Entry] | None:
    """The definitions without `tensor`'s: its formula stands wherever it was used."""
    source = entries[tensor].definition
    trial: dict[Tensor, _Entry] = {}
    for target, entry in entries.items():
        if target is tensor:
            continue
        if tensor in tensors_in(entry.definition.body):
            opened = inline(entry.definition.body, source.access, source.body)
            because = f"{tensor_name(tensor)} put in"
            step = Step(entry.definition.body, opened, "substitute", because)
            entry = _simplified(
                _Entry(replace(entry.definition, body=opened), (*entry.steps, step), entry.lemmas + entries[tensor].lemmas),
                knowledge,
            )
        trial[target] = entry
    return trial
