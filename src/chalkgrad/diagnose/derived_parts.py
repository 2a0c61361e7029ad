"""What a repair of the user's text may take from the derivation: its values and products of its factors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.at_hand import Part, kind_of
from chalkgrad.diagnose.explanation import divides
from chalkgrad.diagnose.labelled import Evaluation
from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.rerun import Rerun
from chalkgrad.emit.names import identifier
from chalkgrad.expr.nodes import MINUS_ONE, Access, Const, Definition, Expr, Mul, Pow, Size, Sum, Tensor
from chalkgrad.expr.ops import free_indices, tensors_in, walk
from chalkgrad.render.math_text import math_text
from chalkgrad.verify.environment import Array

FIXED = 0.6
"""What a size costs that is the same at all points: a number may be meant."""


class DerivedParts:
    """The derivation's values at the points of a trial, as parts of a text.

    Args:
        derived: The derivation.
        points: The points.
        rerun: The function that reads them, which knows the point of its run.
        names: The names of values; those given here are added.
    """

    def __init__(
        self, derived: Derived, points: Sequence[Point], rerun: Rerun, names: dict[str, Tensor]
    ) -> None:
        self.derived = derived
        self.points = points
        self.rerun = rerun
        self.names = names
        self._evaluations = [Evaluation(p.env) for p in points]

    def known(self, values: dict[Tensor, Array]) -> Iterator[Part]:
        """Forward values and adjoints of the derivation, which the text may lack."""
        rerun, points = self.rerun, self.points
        env = points[0].env
        adjoints = [d.target for d in self.derived.staged.definitions]
        for t in (*values, *adjoints):
            if t in env.arrays and t not in {w.adjoint for w in self.derived.wrt}:
                value = np.asarray(env.array(t))
                name = f"∂L/∂{t.name}" if t.role == "adjoint" else t.name
                of = identifier(f"d{t.name}" if t.role == "adjoint" else t.name)
                if name in rerun.left:
                    name = f"{name} of the layer"
                self.names.setdefault(name, t)
                yield Part(
                    name, lambda scope, t=t: np.asarray(points[rerun.at].env.array(t)),  # type: ignore[misc]
                    kind_of(value if value.ndim else float(value), False), 0.25, value, frozenset(), True, of,
                )  # fmt: skip

    def products(self) -> Iterator[Part]:
        """Factors that stand together in a line of the derivation, and what is no plain value."""
        seen: set[Expr] = set()
        for d in (*self.derived.closed.definitions, *self.derived.staged.definitions):
            for node in (n for n in walk(d.body) if isinstance(n, Mul)):
                factors = [f for f in node.factors if not isinstance(f, Const)]
                some: list[tuple[Expr, ...]] = [(f,) for f in factors if not isinstance(f, Access)]
                some += [c for n in (2, 3) for c in combinations(factors, n)] if len(factors) < 6 else []
                some += [(_mean(f),) for f in factors if isinstance(f, Sum)]
                if MINUS_ONE in node.factors:  # -g * t without -g
                    some += [(MINUS_ONE, *c) for c in some if len(c) < 3]
                for one in some:
                    e = one[0] if len(one) == 1 else Mul(one)
                    if e not in seen:
                        seen.add(e)
                        yield from self._expression(e, d, 0.3 + 0.05 * len(one))

    def steady(self, part: Part) -> Part:
        """A size, costlier if it is the same at all points."""
        replay = self.rerun.replay
        if part.kind != "size" or replay is None:
            return part
        try:
            values = {float(part.read(states[-1])) for states in replay.states}
        except (KeyError, TypeError, ValueError):
            return part
        if len(values) > 1:
            return part
        lines = self.derived.staged.definitions
        meant = any(
            r.name == part.text and divides(d.body, r) for r in self.points[0].env.sizes for d in lines
        )
        return replace(part, cost=part.cost + (FIXED / 2 if meant else FIXED))

    def _expression(self, e: Expr, d: Definition, cost: float) -> Iterator[Part]:
        """An expression of the derivation as a part, its axes in the order of its line."""
        rerun = self.rerun
        labels = tuple(i for i in d.indices if i in free_indices(e))
        if set(labels) != set(free_indices(e)):
            return

        known: dict[int, Array] = {}

        def read(_scope: object) -> Array:
            if rerun.at not in known:
                found = self._evaluations[rerun.at].value(e)
                order = [found.labels.index(i) for i in labels]
                known[rerun.at] = np.asarray(found.array).transpose(order)
            return known[rerun.at]

        rerun.at = 0
        value = read(None)
        kind = "mask" if value.ndim and bool(np.isin(value, (0.0, 1.0)).all()) else kind_of(
            value if value.ndim else float(value), False
        )  # fmt: skip
        holds = frozenset(identifier(t.name) for t in tensors_in(e) if t.role != "adjoint")
        yield Part(f"({math_text(e)})", read, kind, cost, value, frozenset(), holds=holds)


def _mean(e: Sum) -> Expr:
    """The mean over what a sum runs over."""
    return Mul((*(Pow(Size(i.range), MINUS_ONE) for i in e.indices), e))
