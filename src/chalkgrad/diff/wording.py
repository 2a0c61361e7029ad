"""The few phrases that derivations need: what an index counts, in words."""

from __future__ import annotations

from collections.abc import Sequence

from chalkgrad.expr.nodes import Index

COUNTS: dict[str, tuple[str, str]] = {
    "N": ("observation", "observations"),
    "D": ("feature", "features"),
    "K": ("class", "classes"),
    "H": ("hidden unit", "hidden units"),
    "T": ("time step", "time steps"),
    "C": ("channel", "channels"),
}
"""What one value and several values of a range are called, by the range's name."""


IMAGE: dict[str, tuple[str, str]] = {"H": ("row", "rows"), "W": ("column", "columns")}
"""What H and W count where they stand together: an image's height and width."""


def over(indices: Sequence[Index], each: bool = False) -> str:
    """`the observations i`, or `one observation i`."""
    phrases = []
    bases = {index.range.name.rstrip("0123456789") for index in indices}
    counts = COUNTS | IMAGE if bases >= IMAGE.keys() else COUNTS
    for index in indices:
        one, many = counts.get(index.range.name, counts.get(index.range.name.rstrip("0123456789"), ("", "")))
        if each:
            phrases.append(f"one {one} {index.name}" if one else f"one {index.name}")
        else:
            phrases.append(f"over the {many} {index.name}" if many else f"over {index.name}")
    return " and ".join(phrases) if phrases else "the parts"
