"""What a user's function is told besides arrays: eps, a stride, a dictionary of settings, a size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.capture import Settings
from chalkgrad.diagnose.names import is_settings, keyed, match, match_all, settings
from chalkgrad.diagnose.points import Point

SILENT = frozenset({"mode", "seed"})
"""Settings that a dictionary holds and no argument of its own stands for."""


class Options:
    """Parameters and static arguments of a layer, under the names that people give them.

    Attributes:
        read: Which of them the user's code has read so far.
    """

    def __init__(self, derived: Derived, statics: Mapping[str, Any]) -> None:
        self.names = [t.name for t, _ in derived.program.parameters]
        self.statics = statics
        self.all = list(settings(dict.fromkeys(self.names, 0.0), statics))
        self.sizes = {r.name for r in derived.program.ranges()}
        self.read: set[str] = set()

    def known(self, point: Point) -> dict[str, Any]:
        """All of them by name."""
        return settings({t.name: v for t, v in point.parameters.items()}, self.statics)

    def data(self, must: Sequence[str], inputs: Sequence[str]) -> list[str]:
        """The arguments that stand for inputs: a stride, eps or a number of groups may stand among them."""
        data = [n for n in must if not is_settings(n)]
        if match_all(data, inputs) is not None:
            return data
        return [n for n in data if n in inputs or (n not in self.sizes and match(n, self.all) is None)]

    def accepted(self, must: Sequence[str], may: Sequence[str], inputs: Sequence[str]) -> set[str]:
        """Names of the parameters that a function with these arguments is told."""
        if any(is_settings(n) for n in (*must, *may)):
            return set(self.names)
        data = self.data(must, inputs)
        found = {match(n, self.names) for n in (*may, *(n for n in must if n not in data))}
        return {n for n in found if n is not None}

    def positional(
        self, point: Point, must: Sequence[str], inputs: Sequence[tuple[str, Any]]
    ) -> dict[str, Any]:
        """The arguments in order, by the function's own names: the inputs, and what else it asks for."""
        if not must:
            return dict(inputs)
        placed = self.placed(point, must, [n for n, _ in inputs])
        values = iter(v for _, v in inputs)
        args: list[tuple[str, Any]] = []
        for name in must:
            if name in placed:
                args.append((name, placed[name]))
            else:
                args += [(name, value) for value in [next(values, None)] if value is not None]
        return keyed(args)

    def placed(self, point: Point, must: Sequence[str], inputs: Sequence[str]) -> dict[str, Any]:
        """What stands among the arguments that must be given and is no input."""
        known, data = self.known(point), self.data(must, inputs)
        found: dict[str, Any] = {r.name: n for r, n in point.env.sizes.items()}
        asked = [n for n in must if n not in data]
        for name in asked:
            if is_settings(name):
                found[name] = Settings(known, self.read)
            elif name not in self.sizes:
                found[name] = self._one(name, known)
        return {n: found[n] for n in asked}

    def optional(self, point: Point, may: Sequence[str], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Those that a function takes by name."""
        known = self.known(point)
        found: dict[str, Any] = {}
        for name in may:
            if match(name, self.names) is not None or (name in known and name not in SILENT):
                found[name] = self._one(name, known)
            elif is_settings(name):
                found[name] = Settings(known, self.read)
            elif name in inputs:
                found[name] = inputs[name]
        return found

    def _one(self, name: str, known: Mapping[str, Any]) -> Any:
        """One of them under a usual name."""
        ours = match(name, self.names) or match(name, list(known))
        assert ours is not None
        self.read.add(ours)
        return known[ours]
