"""Faults told in the user's own names: the line as it is, and as it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.advice import Advice
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.own_source import OwnSource
from chalkgrad.diagnose.own_variables import named, own_sizes, variables
from chalkgrad.diagnose.remedies import remedy
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.trial import Trial
from chalkgrad.diagnose.words import shown
from chalkgrad.emit.names import identifier
from chalkgrad.verify.environment import Array


def in_own_names(
    faults: Sequence[Fault], derived: Derived, caller: Caller, trial: Trial, advice: Advice,
    timeout: float | None,
) -> list[Fault]:  # fmt: skip
    """The faults with the user's line and the right one beside it, where the source can be read.

    Lines are shown that make the gradient right when they are written in place of the user's, and no others.
    """
    if not any(f.argument is not None and not f.fix for f in advice.given(faults)):
        return advice.given(faults)
    own = OwnSource(caller.backward, derived.program, *trial.read)
    held_now = variables(caller.backward, trial.form, trial.prepared[0], timeout) if trial.prepared else {}
    names = own_names(derived, caller, trial, timeout)
    behind = _variables_behind(faults, derived, trial, held_now)
    exchanged = _exchanged(faults, derived, trial)
    swap = own.exchanged(exchanged) if exchanged else ("", "")

    def nearest(f: Fault) -> Fault:
        """With the line of the variable that is wrong first, or with the gradients in another order."""
        if f.argument in exchanged and swap[1]:
            return replace(f, yours=swap[0], fix=swap[1])
        variable = behind.get(f.expected)
        there = own.right_assignment(variable, names) if variable is not None else ""
        return replace(f, yours=own.assigned(variable), fix=there) if variable is not None and there else f

    def last(f: Fault) -> Fault:
        """With the line of the gradient itself."""
        if f.argument is None or f.cause == "mutates_input" or advice.placed(f):
            return f
        right = own.right_line(f.argument, names)
        yours = own.line(f.argument) if right else ""
        return replace(f, yours=yours, fix=right) if right and yours != right else f

    for shown_by in (nearest, last):
        faults = advice.given(_of_one_line([f if f.fix else shown_by(f) for f in faults]))
    return [f if f.fix else replace(f, fix=remedy(f, behind.get(f.expected, ""))) for f in faults]


def _of_one_line(faults: Sequence[Fault]) -> list[Fault]:
    """Faults of several gradients that one line gives, dx, dW = None, None, with all that it should be."""
    texts: dict[str, dict[str, str]] = {}
    for f in faults:
        if f.yours and f.argument is not None:
            texts.setdefault(f.yours, {}).setdefault(f.argument, f.fix)
    whole = {yours: "\n".join(dict.fromkeys(fixes.values())) for yours, fixes in texts.items()
             if len(set(fixes.values())) > 1 and "," in yours.partition("=")[0]}  # fmt: skip
    return [replace(f, fix=whole.get(f.yours, f.fix)) for f in faults]


def _exchanged(faults: Sequence[Fault], derived: Derived, trial: Trial) -> dict[str, str]:
    """Whose gradient is returned for each input, where some are returned for each other; empty otherwise."""
    if trial.error or not trial.results:
        return {}
    true, returned = trial.points[0].true, trial.results[0].gradients
    wrong = [f.argument for f in faults if f.cause == "wrong_argument"]
    found: dict[str, str] = {}
    for t in (t for t in derived.wrt if t.name in wrong and t.name in returned):
        same = named({t: np.asarray(returned[t.name], float)}, {o.name: true[o] for o in derived.wrt})
        found.update((t.name, name) for name in same.values())
    return found if set(found.values()) == set(found) else {}


def _variables_behind(
    faults: Sequence[Fault], derived: Derived, trial: Trial, held_now: Mapping[str, Array]
) -> dict[str, str]:
    """The user's variable of the name of an adjoint whose line is wrong: dcell for ∂L/∂cell.

    By the line of the derivation that a fault shows. A variable that holds what it should is none.
    """
    found: dict[str, str] = {}
    if trial.error or not trial.prepared:
        return found
    env = trial.prepared[0].point.env
    ends = {t.adjoint for t in derived.wrt}
    shown_lines = {f.expected for f in faults}
    for d in (*derived.staged.definitions, *derived.closed.definitions):
        name = identifier(f"d{d.target.name}")
        if d.target in ends or name not in held_now or d.target not in env.arrays:
            continue
        true = np.asarray(env.array(d.target))
        if shown(d) in shown_lines and held_now[name].shape == true.shape and not named(
            {d.target: true}, {name: held_now[name]}
        ):  # fmt: skip
            found[shown(d)] = name
    return found


def held(caller: Caller, trial: Trial, timeout: float | None) -> list[dict[str, Array]]:
    """What the variables of the user's function held at each point."""
    return [variables(caller.backward, trial.form, p, timeout) for p in trial.prepared]


def own_names(derived: Derived, caller: Caller, trial: Trial, timeout: float | None) -> dict[str, str]:
    """The user's variables by the names that emitted code gives to what they hold."""
    if not trial.prepared or trial.error:
        return {}
    prepared = trial.prepared[0]
    own = variables(caller.backward, trial.form, prepared, timeout)
    adjoints = [d.target for d in derived.staged.definitions]
    values = {
        t: np.asarray(prepared.point.env.array(t))
        for t in (*derived.program.tensors(), *(o.adjoint for o in caller.outputs), *adjoints)
        if (t.dtype != "int" or t.axes) and t in prepared.point.env.arrays
    }
    found = named(values, own)
    names = {identifier(f"d{t.name}" if t.role == "adjoint" else t.name): n for t, n in found.items()}
    return {**own_sizes(own, found), **names}
