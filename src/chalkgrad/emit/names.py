"""Identifiers of the emitted code: the user's own names, made legal and kept apart."""

from __future__ import annotations

import builtins
import keyword
import unicodedata
from collections.abc import Iterable

from chalkgrad.expr.nodes import Range, Tensor

RESERVED = frozenset({"np", "torch", "jnp", "jax", "math", "erf", "cache"})

CALLED = RESERVED | {"float", "range", "functools"}
"""What emitted modules read as globals."""


def identifier(name: str) -> str:
    """A legal Python name for `name`: itself where it is one and hides nothing."""
    name = name.replace("′", "_prime").replace("'", "_prime").replace("*", "_star")
    legal = "".join(c if ("_" + c).isidentifier() else "_" for c in unicodedata.normalize("NFKC", name))
    if not legal.isidentifier():
        legal = "_" + legal
    if keyword.iskeyword(legal) or legal in RESERVED or hasattr(builtins, legal):
        return legal + "_"
    return legal


def prefix(name: str) -> str:
    """`name` as the beginning of function names, where hiding a built-in is no danger."""
    return identifier(f"{name}_forward").removesuffix("_forward")


def function_name(name: str) -> str:
    """`name` as a function's own: no keyword, and nothing that emitted code calls is hidden."""
    legal = prefix(name)
    return f"{legal}_" if keyword.iskeyword(legal) or legal in CALLED else legal


class Names:
    """A Python name for every tensor and range, each given once and never shared."""

    def __init__(
        self, tensors: Iterable[Tensor], ranges: Iterable[Range], reserved: Iterable[str] = ()
    ) -> None:
        self._taken: set[str] = set(reserved)
        self._of: dict[Tensor | Range, str] = {}
        for t in tensors:
            self._give(t, identifier(t.name if t.role != "adjoint" else f"d{t.name}"))
        for r in ranges:
            self._give(r, identifier(r.name))

    def _give(self, thing: Tensor | Range, name: str) -> None:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        self._of[thing] = name

    def of(self, thing: Tensor | Range) -> str:
        """The name of a tensor or range; tensors met later get one as they come."""
        if thing not in self._of:
            prefix = "d" if isinstance(thing, Tensor) and thing.role == "adjoint" else ""
            self._give(thing, identifier(prefix + thing.name))
        return self._of[thing]

    def unused(self, base: str) -> str:
        """A numbered name that nothing has: part1, part2, ..."""
        number = 1
        while f"{base}{number}" in self._taken:
            number += 1
        return f"{base}{number}"
