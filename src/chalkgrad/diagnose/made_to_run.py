"""The one change of a text that raises after which it runs and is right."""

from __future__ import annotations

from chalkgrad.diagnose.advice import Advice
from chalkgrad.diagnose.mended import Mender
from chalkgrad.diagnose.report import Fault
from chalkgrad.diagnose.words import shown
from chalkgrad.expr.nodes import Tensor


def made_to_run(mender: Mender, advice: Advice, error: str) -> list[Fault]:
    """The change as a fault of one gradient; empty where none is known.

    A change that mends one gradient says something of the line that raises only if all are right by it that
    need this line. What a gradient that does not need it lacks is another matter.
    """
    needing = [t for t in mender.derived.wrt if _needs(mender, t)]
    for t in needing:
        found = mender.explained(t, single=True)
        if found is None or not mender.runs():
            continue
        if all(mender.right(f"={other.name}", mender.made) for other in needing):
            line = shown(next(d for d in mender.derived.chosen.definitions if d.target is t.adjoint))
            return [
                advice.fault(t.name, r, lambda text: f"it raises {error}; {text}.", line)
                for r in found.reasons
            ]
    return []


def _needs(mender: Mender, wanted: Tensor) -> bool:
    """Whether an input's gradient needs the line that raises; True where that cannot be told."""
    replay = mender.rerun.replay if mender.rerun is not None else None
    return replay is None or replay.whole or replay.broken in replay.needed(f"={wanted.name}")
