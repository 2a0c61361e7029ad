"""How somebody else's backward is called: every accepted form, tried until one fits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.capture import Call
from chalkgrad.diagnose.forms import Form, Prepared, Result
from chalkgrad.diagnose.frameworks import framework_of, jax_form, torch_form
from chalkgrad.diagnose.named_forms import from_above, named_forms
from chalkgrad.diagnose.names import CACHES, OUTPUTS, keyed, match, match_rest, required
from chalkgrad.diagnose.options import Options
from chalkgrad.diagnose.own_forward import OwnForward
from chalkgrad.diagnose.points import Point
from chalkgrad.diagnose.returned import Reader
from chalkgrad.expr.nodes import Opaque, Reduce, Sum, Tensor
from chalkgrad.expr.ops import walk


class Caller:
    """All forms in which a backward may be called for a layer.

    Args:
        backward: The user's function, `torch.autograd.Function` or `jax.custom_vjp` function.
        derived: The layer's derivation.
        forward: The user's own forward, which returns (out, cache).
        statics: Static arguments of the layer, such as stride.
    """

    def __init__(
        self,
        backward: Any,
        derived: Derived,
        forward: Callable[..., Any] | None = None,
        statics: Mapping[str, Any] | None = None,
    ) -> None:
        self.backward = backward
        self.forward = forward
        self.derived = derived
        self.statics = dict(statics or {})
        self.options = Options(derived, self.statics)
        self.own = OwnForward(forward, derived, self.options, self.values) if forward is not None else None
        self.dtype: type[np.floating[Any]] = np.float64
        program = derived.program
        self.inputs = program.inputs
        self.names = [t.name for t in program.inputs]
        self.floats = [t.name for t in program.inputs if t.dtype == "float"]
        self.outputs = [t for t in program.outputs if t.dtype == "float"]
        self.scalar = all(not t.axes for t in self.outputs)
        kind = framework_of(backward)
        read = required(backward) if kind == "numpy" else None
        self.must, self.may, self.many = read if read is not None else ([], [], True)
        self.reader = Reader(backward, program)

    def like(self, other: Caller) -> None:
        """Call and read as another caller does, with what it has learnt of the function."""
        self.dtype, self.reader.chosen = other.dtype, other.reader.chosen
        if self.own is not None and other.own is not None:
            self.own.order, self.own.keeps = other.own.order, other.own.keeps

    def accepted(self) -> set[str]:
        """Names of the parameters that the user's code is told: eps, p, a settings dictionary."""
        if framework_of(self.backward) != "numpy":
            return set()
        must, may = self.must[len(self.outputs) :], self.may
        if self.forward is not None:
            must, may, _ = required(self.forward) or ([], [], True)
        return self.options.accepted(must, may, self.names)

    def forms(self) -> Iterator[Form]:
        """The forms that the function's signature allows, the likeliest first."""
        kind = framework_of(self.backward)
        if kind == "torch":
            yield torch_form(self.backward, self.derived)
        elif kind == "jax":
            yield jax_form(self.backward, self.derived)
        elif self.own is None:
            yield from self._without_forward()
        else:
            yield from self._with_forward(self.own)
            if self.own.keeps is False:  # known by now: the forms above have been tried
                kept = any(n in CACHES for n in self.must)
                note = "your forward returns no cache: the backward was given the inputs" if kept else ""
                yield from (_beside(self.own, form, note) for form in self._without_forward())

    # --- with the user's own forward ---------------------------------------------------------------

    def _with_forward(self, own: OwnForward) -> Iterator[Form]:
        count = len(self.outputs)
        taken = min(len(self.must), count) + len(self.options.data(self.must[count:], self.names))
        for ordered in (False, True):  # gradients may come in the order of the forward's own arguments
            order = own.order or () if ordered else ()
            if ordered and (order == tuple(self.names) or len(order) != len(self.names)):
                return
            cached = partial(self._cached, cache=own.at, order=order)
            if hasattr(self.backward, "__tree__"):  # made from a method: all that it reads are arguments
                upstream = self.backward.__upstream__
                yield cached("backward(dout)" if upstream else "backward()", upstream=upstream, spread=True)
                continue
            if self.many or taken != 1 or not self.scalar:
                yield cached("backward(dout, cache), the cache from your forward")
            if taken == 1 and self.scalar:
                yield cached("backward(cache), the cache from your forward", upstream=False)
            if len(self.must) > count + 1:
                yield cached("backward(dout, *cache)", spread=True)

    def _cached(
        self,
        title: str,
        cache: Callable[[Point], tuple[Point, Any, Call | None, Any]],
        upstream: bool = True,
        *,
        spread: bool = False,
        order: tuple[str, ...] = (),
    ) -> Form:
        names = [] if spread else self.must[len(self.outputs) if upstream else 0 :]

        def prepare(point: Point) -> Prepared:
            at, kept, run, out = cache(point)
            ups = self._upstreams(at) if upstream else {}
            return Prepared(at, {**ups, "cache": kept, "": self._told(point, names)}, run, out)

        def invoke(arguments: dict[str, Any]) -> Any:
            *ups, kept, told = arguments.values()
            return self._invoke(ups, kept if spread else [kept], names, told)

        return Form(title, prepare, invoke, upstream, order=order)

    # --- without a forward -------------------------------------------------------------------------

    def _without_forward(self) -> Iterator[Form]:
        yield from named_forms(
            self.backward, self.names, [t.name for t in self.outputs], self.values, self._upstreams,
            self.options,
        )  # fmt: skip
        must, count = self.must, len(self.outputs)
        rest = must[count:]
        data = self.options.data(rest, self.names)
        whole = self.options.data(must, self.names)
        above = bool(must) and from_above(must[0], [t.name for t in self.outputs])
        if self.scalar and len(whole) == len(self.inputs) and not above:
            yield self._direct("loss(inputs) that returns the loss and its gradients", must, valued=True)
            yield self._direct("backward(inputs)", must, upstream=False)
        if self.scalar and len(whole) == 1 and whole[0] in CACHES:
            yield self._cached("backward(cache)", self._inputs_kept, False)
            return
        if data:
            own = match_rest(data, self.names)
            alone = len(data) == 1 and self._is_output(data[0])
            if own is not None and not alone:
                yield self._direct("backward(dout, inputs by name)", rest)
                order = tuple(own[n] for n in data)
                if sorted(order) == sorted(self.names) and order != tuple(self.names):
                    yield self._direct("backward(dout, inputs by name)", rest, order=order)
            if len(data) == 1:
                forms = [self._one_cache(data[0]), self._output_kept(data[0])]
                yield from chain(*(forms[::-1] if alone else forms))
            elif len(data) == len(self.inputs) or len(data) == len(self.floats):
                yield self._direct("backward(dout, inputs in order)", rest, ordered=True)
        elif self.scalar and must:
            yield self._direct("backward(inputs)", must, upstream=False)
        if self.many or not must:
            yield self._direct("backward(dout, *inputs)", self.names, ordered=True)
            yield self._cached("backward(dout, cache)", self._inputs_kept)
        if not data and must and not self.scalar:
            if match(must[0], self.names) is not None and len(self.inputs) == 1 and self._elementwise():
                yield self._direct("derivative(x), that of each entry", must, upstream=False)
            yield self._direct("backward(dout)", rest)

    def _elementwise(self) -> bool:
        """Whether each entry of the output depends on the same entry of the input alone."""
        bodies = [d.body for d in self.derived.program.definitions]
        alike = all(t.axes == self.inputs[0].axes for t in self.outputs)
        return alike and not any(isinstance(n, Sum | Reduce | Opaque) for b in bodies for n in walk(b))

    def _one_cache(self, name: str) -> Iterator[Form]:
        tuples = self._cached("backward(dout, cache), the cache a tuple of the inputs", self._inputs_kept)
        only = self._cached(
            "backward(dout, x), the one input itself",
            lambda p: (p, next(iter(self.values(p).values())), None, None),
        )
        whole = self._cached(
            "backward(dout, cache), the cache a tuple of inputs and parameters",
            lambda p: (p, (*self.values(p).values(), *p.parameters.values()), None, None),
        )
        named = self._cached(
            "backward(dout, cache), the cache a dictionary",
            lambda p: (p, {**self.values(p), **{t.name: v for t, v in p.parameters.items()}}, None, None),
        )
        single = [only] if len(self.inputs) == 1 else []
        first = [tuples, *single] if name in CACHES else [*single, tuples]
        yield from first
        if self.derived.program.parameters:
            yield whole
        yield named

    def _output_kept(self, name: str) -> Iterator[Form]:
        """The output for the cache, where the argument may be called after it: a sigmoid needs no more."""
        known = match(name, self.names) is not None or name in CACHES
        if len(self.outputs) != 1 or (known and not self._is_output(name)):
            return
        output = self.outputs[0]
        form = self._cached(
            "backward(dout, out), the layer's output",
            lambda p: (p, _plain(p.env.array(output), output, self.dtype), None, None),
        )
        yield replace(form, note=f"{name} is taken for the layer's output" if self.own is None else "")

    def _is_output(self, name: str) -> bool:
        return name not in self.names and name in (*OUTPUTS, *(t.name for t in self.outputs))

    def _direct(
        self, title: str, names: Sequence[str], *, ordered: bool = False, upstream: bool = True,
        valued: bool = False, order: tuple[str, ...] = (),
    ) -> Form:  # fmt: skip
        data = self.options.data(names, self.names)
        found = None if ordered else match_rest(data, self.names)
        listed = self.names if len(data) == len(self.names) else self.floats
        inputs = [found[n] for n in data] if found is not None else listed
        upstream = upstream and not valued

        def prepare(point: Point) -> Prepared:
            values = self.values(point)
            ups = self._upstreams(point) if upstream else {}
            arguments = keyed([*ups.items(), *((n, values[n]) for n in inputs[: len(data)])])
            return Prepared(point, {**arguments, "": self._told(point, names)})

        def invoke(arguments: dict[str, Any]) -> Any:
            *given, told = arguments.values()
            count = len(self.outputs) if upstream else 0
            return self._invoke(given[:count], given[count:], names, told)

        return Form(title, prepare, invoke, upstream, valued, order)

    # --- arguments ---------------------------------------------------------------------------------

    def _told(self, point: Point, names: Sequence[str]) -> dict[str, Any]:
        """What the backward is told besides arrays, at its place in the list or by name."""
        return {
            **self.options.optional(point, self.may, self.values(point)),
            **self.options.placed(point, names, self.names),
        }

    def _invoke(
        self, ups: Sequence[Any], values: Sequence[Any], names: Sequence[str], told: Mapping[str, Any]
    ) -> Any:
        """Call the backward: what it is told stands among the values where its signature has it."""
        by_name, rest = dict(told), list(values)
        args = [by_name.pop(n) if n in by_name else rest.pop(0) for n in names if rest or n in by_name]
        return self.backward(*ups, *args, *rest, **by_name)

    def values(self, point: Point) -> dict[str, Any]:
        """The inputs at a point, as a user would pass them."""
        return {t.name: _plain(point.env.array(t), t, self.dtype) for t in self.inputs}

    def _inputs_kept(self, point: Point) -> tuple[Point, Any, None, None]:
        """The tuple of the inputs for a cache."""
        return point, tuple(self.values(point).values()), None, None

    def _upstreams(self, point: Point) -> dict[str, Any]:
        return {f"d{t.name}": _plain(point.upstream(t), t, self.dtype) for t in self.outputs}

    def result(self, value: Any, form: Form, point: Point | None = None) -> Result:
        """The gradients in whatever the function returned."""
        shapes = {t.name: np.shape(a) for t, a in point.true.items()} if point is not None else None
        return self.reader.result(value, form, shapes)


def _plain(value: Any, tensor: Tensor, dtype: type[np.floating[Any]]) -> Any:
    """An input as a user would pass it: scalars as Python numbers."""
    array = np.asarray(value)
    if tensor.axes:
        return array.astype(dtype) if array.dtype.kind == "f" else array.copy()
    return array.item()


def _beside(own: OwnForward, form: Form, note: str) -> Form:
    """A form of a backward that takes the inputs, with the user's forward run for its value."""

    def prepare(point: Point) -> Prepared:
        at, _, run, out = own.at(point)
        return replace(form.prepare(at), forward=run, out=out)

    return replace(form, prepare=prepare, note=note or form.note)


def statics_of(layer: Any) -> dict[str, Any]:
    """Static arguments of a layer (stride, padding) with their values."""
    forward = getattr(layer, "forward", None)
    function = getattr(forward, "function", None)
    if function is None:
        return {}
    parameters = inspect.signature(function).parameters.values()
    given = {p.name: p.default for p in parameters if p.default is not p.empty}
    given |= getattr(forward, "options", {})
    return {name: value for name, value in given.items() if not isinstance(value, float)}
