"""A function of plain statements run again in part: what follows from one, as far as one value needs it.

A change of one expression needs no new run of the whole text. What the variables held before the
changed statement is known from the first run, statements that the change does not reach keep what they
gave, and statements that the sought value does not read are left out. So a change costs a few
operations instead of a call.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import numpy as np

from chalkgrad.diagnose.capture import as_array, duplicate

RETURNED = "__returned__"
"""The variable that holds what is returned."""

WEIGHTS = {"einsum": 25, "sliding_window_view": 25, "pad": 25, "tensordot": 15}
"""What some calls cost beside an operation on small arrays, which costs 1."""
CALL = 3
ROUNDS = 3
"""How often a loop is taken to run."""


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of a body.

    Attributes:
        plain: The statement as written.
        hooked: The statement with hooks.
        reads: Names that it reads, or works on in place.
        writes: Names whose values it may change.
        sets: Those of them that it replaces whatever they held.
        work: About how many operations it costs.
    """

    plain: ast.stmt
    hooked: ast.stmt
    reads: frozenset[str]
    writes: frozenset[str]
    sets: frozenset[str]
    work: int

    @staticmethod
    def of(plain: ast.stmt, hooked: ast.stmt) -> Step:
        names = [n for n in ast.walk(plain) if isinstance(n, ast.Name)]
        reads = {n.id for n in names if isinstance(n.ctx, ast.Load)}
        writes = {n.id for n in names if not isinstance(n.ctx, ast.Load)} | _worked_on(plain)
        writes |= {n.name for n in ast.walk(plain) if isinstance(n, ast.FunctionDef)}
        single = isinstance(plain, ast.Assign) and all(isinstance(t, ast.Name) for t in plain.targets)
        sets = {t.id for t in plain.targets if isinstance(t, ast.Name)} if (
            single and isinstance(plain, ast.Assign)
        ) else set()  # fmt: skip
        reads |= writes - sets  # what is changed in part is read, too
        return Step(plain, hooked, frozenset(reads), frozenset(writes), frozenset(sets), work_of(plain))


def _worked_on(statement: ast.stmt) -> set[str]:
    """Names whose arrays a statement may change without assigning them."""
    found = set()
    for n in ast.walk(statement):
        if isinstance(n, ast.AugAssign | ast.Assign):
            for t in n.targets if isinstance(n, ast.Assign) else [n.target]:
                found |= {_base(s) for s in ast.walk(t) if isinstance(s, ast.Subscript | ast.Attribute)}
        if isinstance(n, ast.Call):
            own = isinstance(n.func, ast.Name)  # a function of the user's may change what it is given
            given = [*(n.args if own else []), *(k.value for k in n.keywords if own or k.arg == "out")]
            found |= {m.id for a in given for m in ast.walk(a) if isinstance(m, ast.Name)}
        if isinstance(n, ast.Expr):  # np.add.at(dW, y, dout), dx.fill(0), grads.append(dx)
            found |= {m.id for m in ast.walk(n) if isinstance(m, ast.Name)}
    return found - {""}


def _base(node: ast.expr) -> str:
    """The variable of which a target is a part."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def work_of(node: ast.AST, rounds: int = ROUNDS) -> int:
    """About how many operations a statement takes, if each loop has so many rounds."""
    own = 0
    match node:
        case ast.BinOp() | ast.UnaryOp() | ast.Compare() | ast.Subscript():
            own = 1
        case ast.Call(func=function, keywords=keywords):
            name = function.attr if isinstance(function, ast.Attribute) else ""
            own = WEIGHTS.get(name, CALL) * (3 if any(k.arg == "optimize" for k in keywords) else 1)
    below = sum(work_of(n, rounds) for n in ast.iter_child_nodes(node))
    looped = isinstance(node, ast.For | ast.comprehension | ast.GeneratorExp | ast.ListComp)
    return own + (rounds if looped else 1) * below


@dataclass(frozen=True, slots=True)
class Slice:
    """The statements that a change of some of them reaches and one value needs.

    Attributes:
        start: Where it begins.
        code: The statements, compiled.
        copied: Names whose arrays are copied first, since they are worked on in place.
        work: About how many operations it costs.
        bases: The variables with which it begins, at each point.
    """

    start: int
    code: CodeType
    copied: frozenset[str]
    work: int
    bases: tuple[dict[str, Any], ...]


def straight(body: Sequence[ast.stmt]) -> bool:
    """Whether statements run one after the other, with one `return` at the end."""
    returns = [n for s in body for n in ast.walk(s) if isinstance(n, ast.Return)]
    return bool(body) and isinstance(body[-1], ast.Return) and len(returns) == 1


class Replay:
    """The statements of one function, and what its variables held before each, at each point.

    Where a statement raises, nothing is known of what follows: a change there or before it makes all of that
    run again.

    Args:
        steps: The statements but for the `return`.
        ends: The statement that sets RETURNED, by what is sought of it: "" for all, "=x" for one input's.
        names: The globals that they see.
        begun: The variables with which the function begins, at each point.

    Attributes:
        broken: The number of the statement that raises; of the end if none does.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        ends: Mapping[str, Step],
        names: Mapping[str, Any],
        begun: Sequence[Mapping[str, Any]],
    ) -> None:
        self.steps = list(steps)
        self.ends = dict(ends)
        self.names = dict(names)
        count = [n for s in self.steps for n in s.writes]
        arguments = set(begun[0]) if begun else set()
        self.once = {n for n in count if count.count(n) == 1 and n not in arguments}
        self.touches = any(s.writes - s.sets for s in self.steps)
        self.broken = len(self.steps)
        self.states = [self._states(b) for b in begun]
        if any(len(s) != self.broken + 1 for s in self.states):
            raise ValueError("statements that raise at some points only")
        self._slices: dict[tuple[frozenset[int], str], Slice | None] = {}
        self._needed: dict[tuple[str, frozenset[str]], frozenset[int]] = {}

    @property
    def whole(self) -> bool:
        """Whether no statement raises."""
        return self.broken == len(self.steps)

    def _states(self, begun: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The variables before each statement and at the end."""
        here: dict[str, Any] = {**self.names, **{n: duplicate(v) for n, v in begun.items()}}
        own = set(begun).union(*(s.writes for s in self.steps))
        kept = []
        for number, step in enumerate(self.steps):
            kept.append(self._kept(here, own))
            try:
                exec(_compiled([step.plain]), here)
            except Exception:  # noqa: BLE001 (the user's statements may raise anything)
                self.broken = number
                return kept
        return [*kept, self._kept(here, own)]

    def _kept(self, here: Mapping[str, Any], own: set[str]) -> dict[str, Any]:
        return {n: duplicate(v) if self.touches else v for n, v in here.items() if n in own}

    def slice(self, changed: frozenset[int], target: str) -> Slice | None:
        """What has to run again if some statements change; None where the target does not depend on them."""
        key = (changed, target)
        if key not in self._slices:
            self._slices[key] = self._sliced(changed, target)
        return self._slices[key]

    def needed(self, target: str, given: frozenset[str] = frozenset()) -> frozenset[int]:
        """The statements on which a target may depend but by way of variables that are given."""
        key = (target, given)
        if key not in self._needed:
            steps = self._all(target)
            sought = {RETURNED if target.startswith("=") else target}
            keep: set[int] = set()
            for k in reversed(range(len(steps))):
                if steps[k].writes & sought:
                    keep.add(k)
                    sought = (sought - steps[k].sets) | (steps[k].reads - (given & self.once))
            self._needed[key] = frozenset(keep)
        return self._needed[key]

    def returned(self, target: str) -> str:
        """The variable that is returned for an input; empty where it is an expression."""
        end = self.ends.get(target)
        value = end.plain.value if end is not None and isinstance(end.plain, ast.Assign) else None
        return value.id if isinstance(value, ast.Name) else ""

    def _all(self, target: str) -> list[Step]:
        end = self.ends.get(target) or self.ends[""] if target.startswith("=") else None
        return [*self.steps, end] if end is not None else self.steps

    def _sliced(self, changed: frozenset[int], target: str) -> Slice | None:
        steps, keep, start = self._all(target), self.needed(target), min(changed)
        if not keep & changed or start > self.broken:
            return None
        affected: set[str] = set()
        run = []
        for k in range(start, len(steps)):
            step = steps[k]
            hit = k in changed or k >= self.broken or bool(step.reads & affected)
            affected = affected | step.writes if hit else affected - step.sets
            if k in keep and (hit or not step.writes <= self.once):
                run.append(k)
        code = _compiled([steps[k].hooked if k in changed else steps[k].plain for k in run])
        given = {n for k in range(start, len(self.steps)) if k not in run for n in self.steps[k].writes}
        worked = any(steps[k].writes - steps[k].sets for k in run)
        copied = frozenset(n for k in run for n in steps[k].reads) if worked else frozenset()
        bases = tuple(
            {**self.names, **s[start], **{n: s[-1][n] for n in given & self.once if n in s[-1]}}
            for s in self.states
        )
        return Slice(start, code, copied, 4 + sum(steps[k].work for k in run), bases)

    def value(self, part: Slice, target: str, at: int) -> Any:
        """The value of a variable, or what is returned, after the statements of a slice."""
        here = part.bases[at].copy()
        for name in part.copied & here.keys():
            here[name] = duplicate(here[name])
        exec(part.code, here)
        return here.get(RETURNED if target.startswith("=") else target)


def _compiled(statements: Sequence[ast.stmt]) -> CodeType:
    return compile(ast.fix_missing_locations(ast.Module(list(statements), [])), "<replayed>", "exec")


def alike(one: Any, other: Any) -> bool:
    """Whether two values are the same numbers."""
    a, b = as_array(one), as_array(other)
    if a is None or b is None:
        return a is None and b is None
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
