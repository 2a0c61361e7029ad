"""Remarks on how a function behaved that accuse nobody."""

from __future__ import annotations

from chalkgrad.diagnose.trial import Trial

SLOW = 1.0
"""Seconds after which one call is called slow."""


def remarks(trial: Trial) -> list[str]:
    """What it printed, how slow it was, and gradients of data that it leaves out."""
    notes = [trial.form.note] if trial.form.note else []
    printed = next((c.printed for c in trial.calls if c.printed.strip()), "")
    if printed:
        first = printed.strip().splitlines()[0][:60]
        notes.append(f"it prints while it works: {first!r}")
    slow = max((c.seconds for c in trial.calls), default=0.0)
    if slow > SLOW:
        notes.append(f"one call on arrays of a few entries takes {slow:.1f} s")
    excused = next((r.excused for r in trial.results if r.excused), ())
    if excused:
        are = "which is data" if len(excused) == 1 else "which are data"
        notes.append(f"no gradient for {' and '.join(excused)} is returned, {are} here")
    return notes
