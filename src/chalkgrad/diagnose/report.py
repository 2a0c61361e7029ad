"""What a check found: faults with a cause, the evidence, the line that holds, and what to do."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any
from xml.etree import ElementTree as ET

WIDTH = 80

MANY = 3
"""So many gradients with the same words, and lines of their own, are told together."""

CAUSES: dict[str, str] = {
    "shape": "the shape is wrong",
    "missing_sum": "a sum is missing",
    "extra_sum": "summed over an axis that stays",
    "mean_for_sum": "a mean where a sum belongs",
    "sum_for_mean": "a sum where a mean belongs",
    "transpose": "a transpose is missing or too many",
    "sign": "the sign is wrong",
    "constant_factor": "a constant factor is wrong",
    "missing_factor": "a factor is missing",
    "extra_factor": "there is a factor too many",
    "missing_path": "a path of the graph is missing",
    "missing_term": "a term is missing",
    "missing_mask": "the mask is missing",
    "diagonal_only": "only the diagonal of the Jacobian is used",
    "statistics_constant": "statistics of the data are treated as constants",
    "preactivation": "an activation and its argument are mixed up",
    "wrong_operand": "a wrong operand is used",
    "wrong_argument": "this is the gradient of something else",
    "mutates_input": "the caller's arrays are changed",
    "nondeterministic": "two equal calls give different answers",
    "precision": "digits are lost",
    "unknown": "the values differ, and no usual mistake explains it",
}
"""The closed set of cause codes, each with its heading."""


WHOLE = {"shape": "what it takes or returns does not fit", "unknown": "it could not be judged"}
"""Other headings where the whole call is concerned."""


MISSING = "no gradient for "
"""How the evidence begins where there is nothing whose shape could be wrong."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        argument: The input whose gradient is wrong, or None where the whole call is concerned.
        cause: A code of `CAUSES`.
        evidence: What shows it, in words and numbers.
        expected: The line of the derivation that holds.
        fix: What to do, in the user's own names where the source can be read.
        yours: The user's own line, where it could be found.
    """

    argument: str | None
    cause: str
    evidence: str
    expected: str = ""
    fix: str = ""
    yours: str = ""

    def __str__(self) -> str:
        where = f"d{self.argument}: " if self.argument else ""
        return f"{where}{self.heading} ({self.cause}). {self.evidence}"

    @property
    def heading(self) -> str:
        """The cause in words."""
        if self.argument is not None and self.cause == "shape" and self.evidence.startswith(MISSING):
            return "the gradient is missing"
        whole = WHOLE if self.argument is None else {}
        return whole.get(self.cause, CAUSES[self.cause])


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of checking a backward; `str()` of it is the report.

    Attributes:
        ok: Whether the backward is right.
        faults: What is wrong, by argument; empty if it is right.
        notes: Remarks that accuse nobody: another subgradient at a kink, printing, slowness.
        name: What was checked.
        layer: The layer that it was checked against.
        error: The largest relative error over all gradients and points; None if nothing was compared.
        points: How many random points were tried.
        seconds: How long the check took.
        example: The smallest counterexample found, in words.
        page: The command that writes the whole derivation as a page; empty where there is none.
    """

    ok: bool
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()
    name: str = ""
    layer: str = ""
    error: float | None = None
    points: int = 0
    seconds: float = 0.0
    example: str = ""
    page: str = ""

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def __bool__(self) -> bool:
        return self.ok

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain data."""
        return asdict(self) | {"faults": [asdict(f) for f in self.faults], "notes": list(self.notes)}

    def to_json(self, indent: int | None = 2) -> str:
        """The diagnosis as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)


def page_of(layer: Any, name: str) -> str:
    """The command that writes the derivation as a page; empty for a layer that has no name there."""
    function = getattr(getattr(layer, "forward", None), "function", None)
    if not str(getattr(function, "__module__", "")).startswith("chalkgrad.layers."):
        return ""
    return f"chalkgrad derive {name} -o {name}.html"


def junit(diagnoses: Iterable[Diagnosis], suite: str = "chalkgrad") -> str:
    """The diagnoses as JUnit XML, one test case each, for graders and CI."""
    found = list(diagnoses)
    root = ET.Element(
        "testsuite",
        name=suite,
        tests=str(len(found)),
        failures=str(sum(not d.ok for d in found)),
        time=f"{sum(d.seconds for d in found):.3f}",
    )
    for d in found:
        case = ET.SubElement(root, "testcase", name=d.name, classname=d.layer, time=f"{d.seconds:.3f}")
        if not d.ok:
            causes = ", ".join(dict.fromkeys(f.cause for f in d.faults))
            failure = ET.SubElement(case, "failure", message=causes, type=d.faults[0].cause)
            failure.text = str(d)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def ended(text: str) -> str:
    """The text with a full stop, unless a sign of its own ends it."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


# --- the report -------------------------------------------------------------------------------------


def _lines(d: Diagnosis) -> list[str]:
    against = f" against the layer {d.layer}" if d.layer else ""
    lines = [f"{d.name or 'backward'}{against}: {'right' if d.ok else 'wrong'}"]
    if d.ok:
        error = f"worst relative error {d.error:.0e}" if d.error is not None else "nothing to compare"
        lines.append(f"  ✓ every gradient agrees at {d.points} random points; {error}")
    for same in _groups(d.faults):
        lines += ["", *_fault_lines(same)]
    if d.example:
        lines += ["", *_wrapped("smallest case: ", d.example, first="  ")]
    if d.page and not d.ok:
        lines += ["", *_wrapped("derivation: ", d.page, first="  ")]
    for note in d.notes:
        lines += ["", *_wrapped("note: ", note, first="  ")]
    return lines


def _groups(faults: Iterable[Fault]) -> list[list[Fault]]:
    """Faults with one cause and one remedy together, and so more than two with the same words and line."""
    same: dict[tuple[str, str, str], list[Fault]] = {}
    for fault in faults:  # one line of the user's is one thing to mend, whatever follows from it
        line = fault.yours if fault.yours and fault.fix else fault.expected
        same.setdefault((fault.cause, line, fault.fix), []).append(fault)
    alike: dict[tuple[str, str, str], list[list[Fault]]] = {}
    for group in same.values():
        told = _split(group[0].evidence)[0]
        alike.setdefault((group[0].cause, group[0].expected, told), []).append(group)
    return [g for groups in alike.values() for g in (groups if len(groups) < MANY else [[*chain(*groups)]])]


def _split(evidence: str) -> tuple[str, str]:
    """The words of an evidence, and its numbers: "x is missing; dW[0, 1] is 2 and should be 3."."""
    words, mark, numbers = evidence.rpartition("; d")
    return (words, f"d{numbers}") if mark else (evidence, "")


def _evidence(same: list[Fault]) -> str:
    """What shows the faults: the words once, the numbers of each."""
    if len({_split(f.evidence)[0] for f in same}) > 1:
        return "\n".join(dict.fromkeys(f.evidence for f in same))
    numbers = [n.rstrip(".") for n in dict.fromkeys(_split(f.evidence)[1] for f in same) if n]
    return (
        f"{_split(same[0].evidence)[0]}{'; ' if numbers else ''}{', '.join(numbers)}{'.' if numbers else ''}"
    )


def _fault_lines(same: list[Fault]) -> list[str]:
    fault = same[0]
    names = ", ".join(f"d{f.argument}" for f in same if f.argument)
    lines = [f"  ✗ {names + ': ' if names else ''}{fault.heading}  [{fault.cause}]"]
    lines += _wrapped("", _evidence(same))
    if fault.yours:
        lines += _wrapped("yours:     ", fault.yours)
    if fault.fix:
        lines += _wrapped("should be: " if fault.yours else "to do:     ", fault.fix)
    if len({f.fix for f in same}) > 1:
        lines += _wrapped("", f"and likewise d{', d'.join(str(f.argument) for f in same[1:])}.")
    because = "\n".join(dict.fromkeys(f.expected for f in same if f.expected))
    if because:
        lines += _wrapped("because:   ", because)
    return lines


def _wrapped(label: str, text: str, first: str = "      ") -> list[str]:
    """Paragraphs of at most 80 columns, continued under the label's text."""
    head = first + label
    out: list[str] = []
    for line in text.splitlines():
        out += textwrap.wrap(
            line,
            WIDTH,
            initial_indent=head if not out else " " * len(head),
            subsequent_indent=" " * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        )
    return out
