"""What to do about a fault, where no line of code can be set against the user's."""

from __future__ import annotations

from chalkgrad.diagnose.report import Fault

REMEDIES = {
    "mutates_input": "Work on a copy, as in a = a.copy(), or write a = a * b instead of a *= b.",
    "nondeterministic": "Draw random numbers in the forward only, and keep them in the cache.",
    "precision": "Compute in the precision of the inputs; look for a difference of large numbers.",
}
"""What helps against causes that no line of the derivation answers."""


def remedy(fault: Fault, variable: str = "") -> str:
    """A sentence that says what to do; `variable` is the one that the line of the derivation is for."""
    if fault.cause in REMEDIES:
        return REMEDIES[fault.cause]
    if fault.argument is None:
        return "Return one gradient for each input, in the order of the inputs." if fault.expected else ""
    return f"Compute {variable or f'd{fault.argument}'} by the line below." if fault.expected else ""
