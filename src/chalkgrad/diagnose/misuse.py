"""What a call does besides giving gradients: it changes arrays of its caller's, or answers differently."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.calling import Caller
from chalkgrad.diagnose.capture import Call, call, repeats, same
from chalkgrad.diagnose.forms import Prepared
from chalkgrad.diagnose.frameworks import framework_of
from chalkgrad.diagnose.in_place import Write, write_into
from chalkgrad.diagnose.names import is_settings
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.trial import Trial

COPY = "Work on a copy, as in a = a.copy(), or write a = a * b instead of a *= b."


def misuse(derived: Derived, caller: Caller, trial: Trial, timeout: float | None) -> list[Fault]:
    """Mutation and non-determinism."""
    faults = [*_unsteady(caller, trial, timeout)]
    made, prepared = trial.calls[0], trial.prepared[0]
    forward = prepared.forward.mutated if prepared.forward is not None else ()
    arrays = [n for n in forward if n and not is_settings(n)]  # settings are there to be written, too
    if arrays:
        text = f"your forward changes {' and '.join(arrays)} in place."
        write = write_into(caller.forward, arrays)
        faults.append(_fault(None, text, write, "Work on a copy, as in a = a.copy()."))
    for name in (n for n in made.mutated if n):
        faults += _changed(derived, caller, name, prepared, made)
    return faults


def _unsteady(caller: Caller, trial: Trial, timeout: float | None) -> Iterator[Fault]:
    again = call(trial.form.invoke, trial.prepared[0].arguments, timeout)
    one, two = trial.results[0], caller.result(again.value, trial.form)
    unequal = [n for n, g in one.gradients.items() if n in two.gradients and not repeats(g, two.gradients[n])]
    if unequal or one.gradients.keys() != two.gradients.keys():
        names = ", ".join(f"d{n}" for n in unequal)
        text = f"two calls with equal arguments give different values of {names or 'the gradients'}."
        yield Fault(None, "nondeterministic", text, "", "Draw random numbers in the forward only.")


def _changed(derived: Derived, caller: Caller, name: str, prepared: Prepared, made: Call) -> list[Fault]:
    """What a call changed: an argument, or the inputs that a cache holds."""
    whose = own_name(caller, name)
    inputs = [name] if name in caller.names else []
    before, after = prepared.arguments[name], made.contents[name]
    if name == "cache" and isinstance(before, tuple | list):
        for one, two in zip(before, after, strict=False):
            if isinstance(one, np.ndarray) and not same(one, two):
                arrays = prepared.point.env.arrays
                inputs += [t.name for t in derived.program.inputs if same(one, np.asarray(arrays[t]))]
    if name == "cache" and not inputs and hasattr(caller.backward, "__tree__"):
        return []  # attributes of an object of the user's own
    told = f"{', '.join(inputs)} in {whose}" if name == "cache" and inputs else whose
    text = f"after the call {told} holds other values than before."
    copy = "clone" if framework_of(caller.backward) == "torch" else "copy"
    write = write_into(caller.backward, [whose], copy)
    whole: list[str | None] = [None]
    return [_fault(n, text, write, COPY) for n in (inputs or whole)]


def _fault(argument: str | None, text: str, write: Write | None, fix: str) -> Fault:
    if write is None:
        return Fault(argument, "mutates_input", text, "", fix)
    return Fault(argument, "mutates_input", f"{text[:-1]}: {write.text}.", "", write.fix, write.yours)


def own_name(caller: Caller, name: str) -> str:
    """The name that the user's function gives an argument."""
    outputs = [f"d{t.name}" for t in caller.outputs]
    rest = [n for n in caller.must[len(outputs) :] if not is_settings(n)]
    if name == "cache" and len(rest) == 1 and not hasattr(caller.backward, "__tree__"):
        return rest[0]
    if framework_of(caller.backward) != "numpy" or name not in outputs:
        return name
    place = outputs.index(name)
    return caller.must[place] if place < len(caller.must) else name
