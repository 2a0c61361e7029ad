"""Adding operations to a section: views, shared results, numbers under names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chalkgrad.emit.arrays import Axes
from chalkgrad.emit.step.hosts import call_of
from chalkgrad.emit.step.operations import Arg, Host, Op, Section, Value, View
from chalkgrad.emit.step.spelling import StepNames
from chalkgrad.expr.nodes import Range, Tensor


@dataclass(frozen=True, slots=True)
class Placed:
    """A value whose axes are these indices."""

    value: Value
    axes: Axes


Operand = Placed | Host


class Appender:
    """A section under construction.

    Args:
        names: Identifiers of tensors and ranges.
        section: Where the operations go.

    Attributes:
        known: The value of every tensor defined so far.
    """

    def __init__(self, names: StepNames, section: Section) -> None:
        self.names, self.section = names, section
        self.known: dict[Tensor, Value | Host] = {}
        self._seen: dict[object, Operand] = {}
        self._label, self._note = "", ""

    def constant(self, code: str, ranges: tuple[Range, ...], kind: str, name: str) -> Value:
        """An array that is made once."""
        for value, written in self.section.constants.items():
            if written == code:
                return value
        name = self.names.fresh(name)
        value = Value(ranges, kind, name, home=name, given=True)
        self.section.constants[value] = code
        return value

    def size(self, of: Range) -> str:
        """The code of a range's size."""
        return str(of.size) if of.size is not None else self.names.of(of)

    def _view(self, o: Placed, axes: Axes) -> View:
        """`o` laid out along `axes`; leading axes that it lacks broadcast by themselves."""
        order = [o.axes.index(i) if i in o.axes else None for i in axes]
        while order and order[0] is None:
            order.pop(0)
        return View(o.value, tuple(order))

    def _arg(self, o: Operand, axes: Axes) -> Arg:
        return o if isinstance(o, Host) else self._view(o, axes)

    def _ufunc(self, fn: str, operands: Iterable[Operand], axes: Axes, kind: str = "float") -> Operand:
        """An elementwise function of arrays and numbers; of numbers alone it stays a number."""
        given = tuple(operands)
        present = {i for o in given if isinstance(o, Placed) for i in o.axes}
        if not any(isinstance(o, Placed) for o in given):
            return call_of(fn, [o for o in given if isinstance(o, Host)])
        own = tuple(i for i in axes if i in present)
        return self._new("ufunc", fn, tuple(self._arg(o, own) for o in given), own, kind)

    def _new(
        self, kind: str, fn: str, args: tuple[Arg, ...], axes: Axes, dtype: str = "float", extra: str = ""
    ) -> Operand:
        """A new value, or the one that the same operation gave before."""
        args = tuple(self._steady(a) for a in args)
        ranges = tuple(i.range for i in axes)
        key = (kind, fn, args, ranges, extra)
        if key in self._seen:
            found = self._seen[key]
            assert isinstance(found, Placed)
            return Placed(found.value, axes)
        out = Value(ranges, dtype, label=self._label)
        self._append(kind, fn, args, out, extra)
        self._seen[key] = Placed(out, axes)
        return Placed(out, axes)

    def _append(self, kind: str, fn: str, args: tuple[Arg, ...], out: Value, extra: str = "") -> None:
        args = tuple(self._steady(a) for a in args)
        self.section.ops.append(Op(kind, fn, args, out, extra=extra, note=self._take_note()))

    def _take_note(self) -> str:
        note, self._note = self._note, ""
        return note

    def _steady(self, a: Arg) -> Arg:
        """Numbers under a name, so that each is worked out once a step, or once for all steps."""
        if isinstance(a, View) or a.code.replace(".", "").replace("_", "").isalnum():
            return a
        key = ("host", a.code)
        if key not in self._seen:
            name = self.names.numbered("c")
            if a.moving:
                self.section.ops.append(Op("host", a.code, (), target=name))
            else:
                self.section.hosts[name] = a.code
            self._seen[key] = Host(name, a.moving)
        found = self._seen[key]
        assert isinstance(found, Host)
        return found

    def _named_host(self, h: Host, name: str) -> Host:
        if h.moving:
            self.section.ops.append(Op("host", h.code, (), target=name, note=self._take_note()))
        else:
            self.section.hosts[name] = h.code
        return Host(name, h.moving)

    def _number(self, kind: str, args: tuple[View, ...]) -> Host:
        """A Python number worked out from arrays."""
        key = (kind, args)
        if key not in self._seen:
            target = self.names.numbered("total")
            self.section.ops.append(Op(kind, "", args, target=target, note=self._take_note()))
            self._seen[key] = Host(target, True)
        found = self._seen[key]
        assert isinstance(found, Host)
        return found


def floating(o: Placed) -> bool:
    """Whether the value has the network's precision."""
    return o.value.kind == "float"
