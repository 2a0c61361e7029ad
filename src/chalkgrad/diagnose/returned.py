"""Which gradient of what a backward returned belongs to which input."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from chalkgrad.diagnose.capture import as_array
from chalkgrad.diagnose.forms import Form, Result
from chalkgrad.diagnose.names import STATISTICS, TARGETS, match_key
from chalkgrad.diagnose.own_source import behind_loss, entry_of, returned_by, tree_of
from chalkgrad.expr.nodes import Program
from chalkgrad.verify.environment import Array

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Kind:
    """What was read, and in which form: of a backward with the gradient from above, or of a loss, with its
    value and where that stood."""

    form: str
    backward: bool
    loss: Any
    lead: int


class Reader:
    """Reads gradients in the forms in which people return them: tuples, lists, dictionaries, one array.

    Args:
        backward: The user's function, whose text names what it returns.
        program: The layer's forward.
    """

    def __init__(self, backward: Any, program: Program) -> None:
        self.backward = backward
        self.tensors = {t.name: t for t in program.inputs}
        self.names = list(self.tensors)
        self.floats = [n for n, t in self.tensors.items() if t.dtype == "float"]
        self.scalar = all(not t.axes for t in program.outputs if t.dtype == "float")
        self.chosen: dict[tuple[str, int, int], tuple[str, ...]] = {}

    def result(self, value: Any, form: Form, shapes: Shapes | None = None) -> Result:
        """The gradients in whatever the function returned.

        Args:
            value: What it returned.
            form: How it was called.
            shapes: Those of the inputs, where they are known: gradients of some inputs alone are told apart
                by them, and in the same way from then on.
        """
        loss, lead = self._loss(value, form)
        if form.valued and not lead:
            return Result({}, problem=f"it returns {_kind(value)} instead of the loss and its gradients")
        if lead:
            rest = [*value[1:]] if lead > 0 else [*value[:-1]]
            value = rest[0] if len(rest) == 1 else tuple(rest)
        if value is None:
            return Result({}, problem="it returns None; is the `return` missing?")
        kind = _Kind(form.title, form.upstream and not lead, loss, lead)
        if isinstance(value, dict):
            return self._keyed(value, kind)
        values = list(value) if isinstance(value, tuple | list) and not _is_numbers(value) else [value]
        return self._listed(values, form.order, kind, shapes)

    def _loss(self, value: Any, form: Form) -> tuple[Any, int]:
        """The loss where it is returned beside its gradients: 1 where it comes first, -1 last, 0 nowhere."""
        if not self.scalar or not isinstance(value, tuple | list) or len(value) < 2:
            return None, 0
        (first, *others), last = value, value[-1]
        if _is_scalar(last) and isinstance(first, dict) and len(value) == 2:
            return last, -1
        if not _is_scalar(first):
            return None, 0
        order, parts = form.order or self.names, self._parts(0)
        own = match_key(parts[0], self.floats) if len(parts) == len(value) else None
        if own is not None and not self.tensors[own].axes:
            return None, 0  # the gradient of a scalar bias
        taken = any(not self.tensors[n].axes for n in (*order[:1], *self.floats[:1]))
        whole = len(value) in (len(self.names), len(self.floats)) and (taken or form.upstream)
        valued = not whole and any(v is not None for v in others)
        return (first, 1) if valued else (None, 0)

    def _keyed(self, value: Mapping[Any, Any], kind: _Kind) -> Result:
        pairs = [(match_key(str(k), self.names), v) for k, v in value.items()]
        keys = ", ".join(repr(str(k)) for k in value)
        odd = [str(k) for k, (name, _) in zip(value, pairs, strict=True) if name is None]
        meant = f"; is {odd[0]!r} meant?" if len(odd) == 1 else ""
        what = f"the dictionary has no key for it; its keys are {keys}{meant}" if keys else "it is empty"
        return self._sorted(pairs, getattr(self.backward, "__missing__", what), (), kind)

    def _listed(self, values: list[Any], order: Sequence[str], kind: _Kind, shapes: Shapes | None) -> Result:
        order = order or self.names
        if len(values) < len(self.floats):
            order = self._some(values, order, kind, shapes)
        elif len(values) != len(order) and len(values) <= len(self.floats):
            order = [n for n in order if n in self.floats]
        extra = [v for v in values[len(order) :] if v is not None]
        if extra:
            return Result(
                {}, problem=f"it returns {len(values)} gradients, but there are {len(self.floats)} to return"
            )
        what = f"only {len(values)} of {len(self.floats)} came back"
        return self._sorted(zip(order, values, strict=False), what, tuple(order), kind)

    def _some(
        self, values: Sequence[Any], order: Sequence[str], kind: _Kind, shapes: Shapes | None
    ) -> tuple[str, ...]:
        """The inputs of fewer gradients than inputs: by the names of what is returned, or else by the only
        shape that fits, or in order."""
        key = (kind.form, len(values), kind.lead)
        if key in self.chosen:
            return self.chosen[key]
        named = self._named(len(values), kind.lead)
        free = [n for n in order if n in self.floats and n not in named]
        own = [a.shape if (a := as_array(v)) is not None else None for v in values]
        for place, shape in enumerate(own):
            fits = [n for n in free if shapes and shapes[n] == shape]
            alike = [p for p, other in enumerate(own) if not named[p] and other == shape]
            if not named[place] and len(fits) == len(alike) == 1:
                named[place] = fits[0]
        free = [n for n in free if n not in named]
        found = tuple(n or free.pop(0) for n in named)
        if shapes is not None:
            self.chosen[key] = found
        return found

    def _named(self, count: int, lead: int) -> list[str]:
        """The input whose gradient each value is called like in the user's text, or empty."""
        parts = self._parts(lead)
        if len(parts) != count:
            return [""] * count
        found = [match_key(p, self.floats) or "" for p in parts]
        return [n if found.count(n) == 1 else "" for n in found]

    def _parts(self, lead: int) -> list[str]:
        """The names of what the text returns, without a loss."""
        value = behind_loss(self._returned, lead)
        parts = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
        return [entry_of(p) for p in parts if p is not None]

    @cached_property
    def _returned(self) -> ast.expr | None:
        return returned_by(tree_of(self.backward))

    def _sorted(
        self, pairs: Iterable[tuple[str | None, Any]], what: str, order: tuple[str, ...], kind: _Kind
    ) -> Result:
        found: dict[str, Array] = {}
        missing: dict[str, str] = {}
        refused = set()
        for name, value in pairs:
            if name is None or name not in self.floats:
                continue
            array = as_array(value)
            if array is None:
                missing[name] = f"{_kind(value)} stands in its place"
                refused.add(name)
            else:
                found[name] = array
        for name in self.floats:
            if name not in found and name not in missing:
                missing[name] = what.format(name)
        excused = tuple(n for n in missing if self._is_data(n, missing, found, kind, n in refused))
        kept = {n: m for n, m in missing.items() if n not in excused}
        return Result(found, kept, excused, order=order, loss=kind.loss, lead=kind.lead)

    def _is_data(
        self, name: str, missing: Mapping[str, str], found: Mapping[str, Array], kind: _Kind, refused: bool
    ) -> bool:
        """Whether an input without a gradient need not have one.

        Of a loss these are scalars, such as the weight of a penalty, and whatever has an axis of the
        observations: one of the labels, or one that no gradient has. A bias beside weights has none. Where a
        backward is told the gradient from above, and has None in the place of one, only targets are data.
        """
        if not self.scalar or not found:
            return bool(found) and name in STATISTICS and set(self.names) >= STATISTICS
        if kind.backward and refused:
            return name in TARGETS
        trained = {r for n in found for r in self.tensors[n].axes}
        whole = {r for n, t in self.tensors.items() if n not in self.floats for r in t.axes}
        whole |= {r for n in missing for r in self.tensors[n].axes} - trained
        axes = set(self.tensors[name].axes)
        if not whole and kind.backward:
            return name in (*TARGETS, "y")
        return not axes or not whole or bool(axes & whole)


def _is_scalar(value: Any) -> bool:
    array = as_array(value) if not isinstance(value, bool) else None
    return array is not None and array.ndim == 0


def _is_numbers(value: Sequence[Any]) -> bool:
    return bool(value) and all(isinstance(v, int | float) for v in value) and isinstance(value, list)


def _kind(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"
