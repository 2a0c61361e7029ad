"""Values that a repair of the user's text may use: what its variables, its own expressions, the
forward's expressions and the derivation's values hold."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import combinations
from typing import Any

import numpy as np

from chalkgrad.diagnose.watched import Scope, Watched

FEW = 6
"""With so many sizes no products of three of them are tried."""

LONG = 80
"""Letters of an expression that nobody would write twice."""


Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A value that the user's text has at hand: a variable, or an expression that it computes elsewhere.

    Attributes:
        text: What is written for it.
        read: Its value where the variables are those given.
        kind: "array", "mask", "size" or "scalar"; "mean" for one of a gradient over some axis,
            "share" for a gradient of such a mean over how many it is of.
        cost: How unlikely it is, beside a variable.
        value: What it is at the first point.
        names: The variables that it reads.
        single: Whether it is one variable, or one value of the derivation.
        of: The variable that should hold it, for a value of the derivation.
        holds: The variables whose values it consists of, for a product of the derivation.
    """

    text: str
    read: Callable[[Scope], Any]
    kind: str
    cost: float
    value: Any
    names: frozenset[str]
    single: bool = False
    of: str = ""
    holds: frozenset[str] = frozenset()

    def known(self, scope: Scope) -> bool:
        """Whether it can be had where only these variables are known."""
        return self.names <= scope.keys()

    def stays(self, shape: Shape) -> bool:
        """Whether a value of a shape keeps it beside the part."""
        return _together(np.shape(self.value), shape) == shape

    def at(self, index: tuple[slice | None, ...]) -> Part:
        """The part with new axes: mask[:, None]."""
        if None not in index:
            return self
        shown = ", ".join("None" if i is None else ":" for i in index)
        text = self.text if self.text.isidentifier() else f"({self.text})"
        read = self.read
        return replace(
            self, text=f"{text}[{shown}]", read=lambda scope: np.asarray(read(scope))[index],
            value=np.asarray(self.value)[index], cost=self.cost + 0.02,
        )  # fmt: skip


@lru_cache(4096)
def _fits(own: Shape, shape: Shape, wide: tuple[Shape, ...]) -> tuple[slice | None, ...] | None:
    """How an array can stand beside one of a shape, so that this keeps its shape or grows to a wider one.

    As it is, or with new axes where its own line up with some of theirs; None where it cannot.
    """
    good = (shape, *wide)
    if _together(own, shape) in good:
        return ()
    for whole in good:
        places = _lined_up(own, whole)
        if places is None:
            continue
        index = tuple(slice(None) if p in places else None for p in range(places[0], len(whole)))
        new = tuple(1 if n is None else whole[p] for p, n in enumerate(index, places[0]))
        if _together(new, shape) in good:
            return index
    return None


@lru_cache(4096)
def _together(one: Shape, other: Shape) -> Shape | None:
    """The shape to which two are broadcast."""
    try:
        return np.broadcast_shapes(one, other)
    except ValueError:
        return None


def _lined_up(own: Shape, shape: Shape) -> tuple[int, ...] | None:
    """The one way in which the axes of an array are among those of a shape, in order; None if there is none,
    or several."""
    if not own or len(own) > len(shape):
        return None
    found = [p for p in combinations(range(len(shape)), len(own))
             if all(n == shape[q] for n, q in zip(own, p, strict=True))]  # fmt: skip
    return found[0] if len(found) == 1 else None


def parts(
    watched: Watched,
    left: Mapping[str, Any],
    sizes: Mapping[str, Any],
    forward: ast.AST | None,
    more: Sequence[Part],
) -> list[Part]:
    """All values at hand, variables first.

    Args:
        watched: The function, after a run that was recorded.
        left: Its variables at the end.
        sizes: The sizes of the ranges, by name.
        forward: The syntax of the user's forward.
        more: What the derivation knows besides.
    """
    found: dict[str, Part] = {}
    add = partial(_add, found, watched.names, left)
    for name, value in left.items():
        kind = kind_of(value, name in sizes)
        if kind:
            found[name] = Part(name, _named(name), kind, 0.0, value, frozenset({name}), True)
    scalars = [n for n, p in found.items() if p.kind in ("size", "scalar")]
    for place in watched.places:
        kind = kind_of(place.value, False)
        if kind and place.kind != "number":
            add(ast.unparse(place.node), place.value, kind, 0.15)
    for text in _written(forward):
        add(text, None, "", 0.2)
    for name, value in left.items():  # what the path over a mean takes away
        if name.startswith("d") and isinstance(value, np.ndarray) and value.ndim == 2:
            for axis in range(2):
                add(f"{name}.mean(axis={axis}, keepdims=True)", None, "mean", 0.1)
    lengths = [n for n in scalars if found[n].kind == "size" and n.isidentifier()]
    for name in [n for n, p in found.items() if n.startswith("d") and np.ndim(p.value) == 1]:
        for length in lengths:  # what that path adds, where it has been worked out
            add(f"{name} / {length}", None, "share", 0.05)
    for part in _of_scalars([found[n] for n in scalars]):
        found.setdefault(part.text, part)
    if any(ast.unparse(p.node).startswith("np.arange") for p in watched.places):
        for size in [n for n in scalars if found[n].kind == "size"]:
            add(f"np.arange({size})", None, "", 0.2)
            add(f"2 * np.arange({size})", None, "", 0.25)
    for text in _conditions(found):
        add(text, None, "mask", 0.2)
    return _distinct([*found.values(), *more])


def _add(
    found: dict[str, Part], names: Mapping[str, Any], left: Mapping[str, Any],
    text: str, value: Any, kind: str, cost: float,
) -> None:  # fmt: skip
    """One more expression, evaluated with the variables at the end if its value is not known."""
    if text in found or len(text) >= LONG or text.isidentifier():
        return
    try:
        code = compile(text, "<part>", "eval")
        if value is None:
            with np.errstate(all="ignore"):
                value = eval(code, dict(names), dict(left))
    except Exception:  # noqa: BLE001 (what the forward can say the backward may not)
        return
    kind = kind or kind_of(value, False)
    if not kind:
        return
    tree = ast.parse(text, mode="eval")
    own = frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name)) & left.keys()
    seen = dict(names)
    found[text] = Part(text, lambda scope: eval(code, seen, dict(scope)), kind, cost, value, own)


def _named(name: str) -> Callable[[Scope], Any]:
    return lambda scope: scope[name]


def _written(forward: ast.AST | None) -> Iterator[str]:
    """The expressions of a forward."""
    for node in ast.walk(forward) if forward is not None else ():
        if isinstance(node, ast.Assign):
            for inner in ast.walk(node.value):
                own = isinstance(inner, ast.Constant) and isinstance(inner.value, float) and inner.value < 0.1
                if own or (
                    isinstance(inner, ast.BinOp | ast.Call | ast.Compare | ast.UnaryOp) and _pure(inner)
                ):
                    yield ast.unparse(inner)


def _pure(node: ast.expr) -> bool:
    """Whether an expression calls nothing but methods and NumPy's functions, none of which draws a number."""
    calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
    drawn = any(isinstance(n, ast.Attribute) and n.attr == "random" for n in ast.walk(node))
    return not drawn and all(isinstance(f, ast.Attribute) for f in calls)


def _of_scalars(scalars: Sequence[Part]) -> Iterator[Part]:
    """Products of sizes, and scalars over them, as in dL / (N * K)."""
    sizes = [p for p in scalars if p.kind == "size"]
    others = [p for p in scalars if p.kind != "size"]
    for count in (2, 3, 4) if len(sizes) < FEW else (2,):
        for some in combinations(sizes, count):
            whole = _scalar(" * ".join(p.text for p in some), some, (), "size", 0.1 * count)
            yield whole
            for one in others:
                yield _scalar(f"{one.text} / ({whole.text})", (one,), some, "scalar", 0.3)
    for one, two in combinations(scalars, 2):
        yield _scalar(f"{one.text} * {two.text}", (one, two), (), "scalar", 0.3)
        yield _scalar(f"{one.text} / {two.text}", (one,), (two,), "scalar", 0.3)
        yield _scalar(f"{two.text} / {one.text}", (two,), (one,), "scalar", 0.3)


def _scalar(text: str, over: Sequence[Part], under: Sequence[Part], kind: str, cost: float) -> Part:
    def read(scope: Scope) -> Any:
        with np.errstate(all="ignore"):
            above = math.prod(float(p.read(scope)) for p in over)
            return above / np.float64(math.prod(float(p.read(scope)) for p in under))

    names = frozenset(p.text for p in (*over, *under))
    value = read({p.text: p.value for p in (*over, *under)})
    return Part(text, read, kind, cost, value, names)


def _conditions(found: Mapping[str, Part]) -> list[str]:
    """Places compared with 0 and with sizes, and values that are positive: what a forgotten mask may be."""
    made = []
    sizes = [p for p in found.values() if p.kind == "size" and p.text.isidentifier()]
    for p in list(found.values()):
        value = np.asarray(p.value)
        if not p.text.isidentifier() or value.ndim == 0:
            continue
        if value.dtype.kind in "iu":
            made += [f"{p.text} >= 0", *(f"{p.text} < {s.text}" for s in sizes)]
        elif value.dtype.kind == "f":
            made.append(f"{p.text} > 0")
    return made


def _distinct(found: Iterable[Part]) -> list[Part]:
    """Those that hold other values than the ones before; all variables."""
    kept, seen = [], set()
    for part in found:
        array = np.asarray(part.value)
        if array.dtype.kind not in "fiub" or array.size > 20_000:
            continue
        key = (array.shape, array.dtype.kind, array.tobytes())
        if key not in seen or part.text.isidentifier():
            kept.append(part)
        seen.add(key)
    return kept


def kind_of(value: Any, size: bool) -> str:
    """What a value may serve for; empty for what is no number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number | np.ndarray):
        return ""
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return "mask"
    if array.dtype.kind in "iu":
        return "size" if array.ndim == 0 else "places"
    if array.dtype.kind != "f":
        return ""
    if array.ndim == 0:
        return "size" if size else "scalar"
    return "mask" if bool(np.isin(array, (0.0, 1.0)).all()) else "array"


class AtHand:
    """Parts, and which of them fit a value of a shape."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self._fitting: dict[tuple[tuple[int, ...], ...], list[Part]] = {}

    def fitting(self, shape: tuple[int, ...], wide: Collection[tuple[int, ...]]) -> list[Part]:
        """Those that can stand beside a value, so that it keeps its shape or grows to one of some."""
        key = (shape, *sorted(wide))
        if key not in self._fitting:
            places = tuple(sorted(wide))
            fits = ((p, _fits(np.shape(p.value), shape, places)) for p in self.parts if p.kind != "places")
            self._fitting[key] = [p.at(index) for p, index in fits if index is not None]
        return self._fitting[key]


def broadcasts(one: Any, other: Any) -> bool:
    try:
        np.broadcast_shapes(np.shape(one), np.shape(other))
    except ValueError:
        return False
    return True
