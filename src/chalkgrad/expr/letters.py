"""Which letter an index gets, and which range a letter suggests.

The convention of the derivations: i over N observations, d over D features, j and k over K classes.
"""

from __future__ import annotations

from chalkgrad.expr.nodes import Index, Range

LETTERS: dict[str, str] = {
    "N": "inm", "D": "dec", "K": "kjl", "H": "hgu", "M": "mnl", "C": "cbe", "T": "tsu", "S": "stu",
    "E": "efd", "B": "bac", "F": "fgh", "P": "pqr", "Q": "qpr", "O": "oup", "V": "vwu", "L": "lmn",
}  # fmt: skip
"""The letters tried for an index over a range of this name, best first."""

OTHER_LETTERS = "oqr"
"""For a range whose name suggests none, such as one of a fixed size."""

RANGE_OF_LETTER: dict[str, str] = {"i": "N", "n": "N", "j": "K", "e": "D"}
"""Ranges that a letter suggests where it is not the letter's own capital."""


def fresh_index(of: Range, taken: set[str], prefer: str | None = None) -> Index:
    """An index over `of` whose name is not in `taken`: the preferred letter, the range's letters,
    then primes."""
    letters = [prefer] if prefer else []
    own = of.name[0].lower() if of.name and of.name[0].isascii() and of.name[0].isalpha() else OTHER_LETTERS
    letters += list(LETTERS.get(of.name, LETTERS.get(of.name[:1], own)))
    for letter in letters:
        if letter not in taken:
            return Index(letter, of)
    base = letters[0].rstrip("′")
    name = base + "′"
    while name in taken:
        name += "′"
    return Index(name, of)


def range_name(letter: str, taken: set[str]) -> str:
    """A name for the range of an index called `letter`: its convention, its capital, then numbered."""
    base = letter.rstrip("′'0123456789_") or letter
    for name in (RANGE_OF_LETTER.get(base, base[:1].upper() + base[1:]), base[:1].upper() + base[1:]):
        if name not in taken:
            return name
    number = 2
    while f"{base.upper()}{number}" in taken:
        number += 1
    return f"{base.upper()}{number}"
