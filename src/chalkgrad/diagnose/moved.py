"""A layer with other settings: a stride of 1 and no padding hide what is done with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from chalkgrad.diagnose.report import Diagnosis

READ = {"pad": "padding", "pool_height": "window", "pool_width": "window", "pool_size": "window",
        "kernel_size": "window"}  # fmt: skip
"""The static argument that stands behind a setting of another name."""


def moved(statics: Mapping[str, Any], read: Collection[str]) -> Iterator[dict[str, int]]:
    """Other values of the whole numbers among the static arguments that a user's code reads.

    All of them at once, which shows most, then each alone: not every program takes every combination. A
    stride that follows the window is left to overlap first.
    """
    names = [n for n in statics if n in {READ.get(r, r) for r in read}]
    whole = {n: statics[n] + 1 for n in names if type(statics[n]) is int}
    following = {n: max(whole.values()) - 1 for n in names if whole and statics[n] is None}
    tried: list[dict[str, int]] = [{**whole, **following}, whole]
    if len(whole) > 1:
        tried += [{n: value} for n, value in whole.items()]
    for given in tried:
        if given and given not in tried[: tried.index(given)]:
            yield given


def told_with(found: Diagnosis, before: Mapping[str, Any], given: Mapping[str, int]) -> Diagnosis:
    """A diagnosis of code that is right with the settings as they were before, and wrong with those given."""
    faults = tuple(replace(f, evidence=f"with {_spelled(given)}: {f.evidence}") for f in found.faults)
    own = {name: before[name] for name in given if before[name] is not None}
    return replace(found, faults=faults, notes=(*found.notes, f"with {_spelled(own)} it is right"))


def _spelled(values: Mapping[str, Any]) -> str:
    return " and ".join(f"{name} = {value}" for name, value in values.items())
