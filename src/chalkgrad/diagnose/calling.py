"""How somebody else's backward is called: every accepted form, tried until one fits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.capture import Call, as_array, call
from chalkgrad.diagnose.forms import Form, Prepared, Result
from chalkgrad.diagnose.frameworks import framework_of, jax_form, torch_form
from chalkgrad.diagnose.named_forms import named_forms
from chalkgrad.diagnose.names import (
    CACHES,
    STATISTICS,
    TARGETS,
    is_settings,
    keyed,
    match,
    match_all,
    match_key,
    required,
)
from chalkgrad.diagnose.options import Options
from chalkgrad.diagnose.points import Point, with_inputs
from chalkgrad.expr.nodes import Opaque, Reduce, Sum, Tensor
from chalkgrad.expr.ops import walk
from chalkgrad.verify.environment import Array

MOST = 5
"""Of so many inputs at most all orders are tried."""


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
        self.order: tuple[str, ...] | None = None  # of the inputs of the user's forward, once it is known
        self.dtype: type[np.floating[Any]] = np.float64
        program = derived.program
        self.inputs = program.inputs
        self.names = [t.name for t in program.inputs]
        self.floats = [t.name for t in program.inputs if t.dtype == "float"]
        self.outputs = [t for t in program.outputs if t.dtype == "float"]
        self.scalar = all(not t.axes for t in self.outputs)

    def accepted(self) -> set[str]:
        """Names of the parameters that the user's code is told: eps, p, a settings dictionary."""
        names = [t.name for t, _ in self.derived.program.parameters]
        if framework_of(self.backward) != "numpy":
            return set()
        read = required(self.forward if self.forward is not None else self.backward)
        if read is None:
            return set()
        must, may, _ = read
        if any(is_settings(n) for n in (*must, *may)):
            return set(names)
        found = {match(n, names) for n in may}
        return {n for n in found if n is not None}

    def forms(self) -> Iterator[Form]:
        """The forms that the function's signature allows, the likeliest first."""
        kind = framework_of(self.backward)
        if kind == "torch":
            yield torch_form(self.backward, self.derived)
            return
        if kind == "jax":
            yield jax_form(self.backward, self.derived)
            return
        read = required(self.backward)
        must, may, many = read if read is not None else ([], [], True)
        if self.forward is not None:
            yield from self._with_forward(must, many)
            return
        yield from named_forms(
            self.backward, self.names, [t.name for t in self.outputs], self._values, self._upstreams
        )
        yield from self._without_forward(must, may, many)

    # --- with the user's own forward ---------------------------------------------------------------

    def _with_forward(self, must: list[str], many: bool) -> Iterator[Form]:
        count = len(self.outputs)
        taken = len(must)
        for own in (False, True):  # gradients may come in the order of the forward's own arguments
            order = self.order or () if own else ()
            if own and (order == tuple(self.names) or len(order) != len(self.names)):
                return
            cached = partial(self._cached, cache=self._from_forward, order=order)
            if hasattr(self.backward, "__tree__"):  # made from a method: all that it reads are arguments
                upstream = self.backward.__upstream__
                yield cached("backward(dout)" if upstream else "backward()", upstream=upstream, spread=True)
                continue
            if many or taken != 1 or not self.scalar:
                yield cached("backward(dout, cache), the cache from your forward")
            if taken == 1 and self.scalar:
                yield cached("backward(cache), the cache from your forward", upstream=False)
            if taken > count + 1:
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
        def prepare(point: Point) -> Prepared:
            at, kept, run, out = cache(point)
            ups = self._upstreams(at) if upstream else {}
            return Prepared(at, {**ups, "cache": kept}, run, out)

        def invoke(arguments: dict[str, Any]) -> Any:
            *ups, kept = arguments.values()
            return self.backward(*ups, *kept) if spread else self.backward(*ups, kept)

        return Form(title, prepare, invoke, upstream, order=order)

    def _from_forward(self, point: Point) -> tuple[Point, Any, Call | None, Any]:
        """Run the user's forward; adopt the mask that it draws itself."""
        assert self.forward is not None
        read = required(self.forward)
        must, may, _ = read if read is not None else ([], [], True)
        options = self.options.optional(point, may, self._values(point))
        run = self._run(point, must, options, self._placed(point, must, options))
        out, cache = run.value, None
        if isinstance(run.value, tuple | list) and len(run.value) >= 2:
            *outs, cache = run.value
            out = outs[0] if len(outs) == 1 else tuple(outs)
        return self._adopted(point, must, out), cache, run, out

    def _run(self, point: Point, must: list[str], options: dict[str, Any], order: Sequence[str]) -> Call:
        """Call the user's forward with the inputs in an order."""
        assert self.forward is not None
        forward, values = self.forward, self._values(point)
        given = self.options.positional(point, must, [(n, values[n]) for n in order])

        def invoke(arguments: dict[str, Any]) -> Any:
            *args, by_name = arguments.values()
            return forward(*args, **by_name)

        state = np.random.get_state()
        np.random.seed(0)  # a CS231n forward draws its mask from the global generator
        try:
            return call(invoke, {**given, "": options})
        finally:
            np.random.set_state(state)

    def _placed(self, point: Point, must: list[str], options: dict[str, Any]) -> tuple[str, ...]:
        """The inputs in the order in which the user's forward takes them: by their names, or else the first
        order in which it gives the layer's value."""
        if self.order is None:
            data = self.options.data(point, must, self.names)
            found = match_all(data, self.names)
            self.order = tuple(self.names) if found is None else tuple(found[n] for n in data)
            if found is None and len(data) == len(self.names) <= MOST and not self._gives(
                self._run(point, must, options, self.order), point
            ):  # fmt: skip
                orders = (o for o in permutations(self.names)
                          if self._gives(self._run(point, must, options, o), point))  # fmt: skip
                self.order = next(orders, self.order)
        return self.order

    def _gives(self, run: Call, point: Point) -> bool:
        """Whether a forward gave the layer's first output."""
        value = run.value[0] if isinstance(run.value, tuple | list) and run.value else run.value
        got, want = as_array(value), np.asarray(point.env.array(self.outputs[0]))
        return got is not None and got.shape == want.shape and np.allclose(got, want, rtol=1e-3, atol=1e-6)

    def _adopted(self, point: Point, must: list[str], out: Any) -> Point:
        """The point with the mask that the user's forward drew, read off its output."""
        masks = [t for t in self.inputs if t.dtype == "bool"]
        got = as_array(out)
        taken = match_all([n for n in must if not is_settings(n)], self.names)
        if len(masks) != 1 or got is None or (taken and masks[0].name in taken.values()):
            return point
        mask = masks[0]
        if got.shape != np.shape(point.env.array(mask)) or any(n.lower() == "mask" for n in must):
            return point
        best, distance = point, np.inf
        rates = {t: v for t, v in point.parameters.items() if 0 < v < 1}
        for keep in (False, True):  # p is the chance to drop in some years of the course, to keep in others
            trial = {t: 1 - v for t, v in rates.items()} if keep else {}
            moved = with_inputs(self.derived, point, {mask: got != 0}, trial)
            apart = float(np.abs(np.asarray(moved.env.array(self.outputs[0])) - got).max(initial=0.0))
            if apart < distance:
                best, distance = moved, apart
        return best

    # --- without a forward -------------------------------------------------------------------------

    def _without_forward(self, must: list[str], may: list[str], many: bool) -> Iterator[Form]:
        count = len(self.outputs)
        rest = must[count:]
        upstream_first = not must or match(must[0], self.names) is None or must[0].startswith(("d", "g"))
        if self.scalar and len(must) == len(self.inputs) and not upstream_first:
            yield self._direct("loss(inputs) that returns the loss and its gradients", must, may, valued=True)
            yield self._direct("backward(inputs)", must, may, upstream=False)
        if self.scalar and len(must) == 1 and must[0] in CACHES:
            yield self._cached("backward(cache)", lambda p: (p, self._tuple(p), None, None), False)
            return
        if rest and len(must) > count:
            own = match_all(rest, self.names) if rest[0] not in CACHES else None
            if own is not None:
                yield self._direct("backward(dout, inputs by name)", rest, may)
                order = tuple(own[n] for n in rest)
                if sorted(order) == sorted(self.names) and order != tuple(self.names):
                    yield self._direct("backward(dout, inputs by name)", rest, may, order=order)
            if len(rest) == 1:
                yield from self._one_cache(rest[0])
            elif len(rest) == len(self.inputs) or len(rest) == len(self.floats):
                yield self._direct("backward(dout, inputs in order)", rest, may, ordered=True)
        elif self.scalar and must:
            yield self._direct("backward(inputs)", must, may, upstream=False)
        if many or not must:
            yield self._direct("backward(dout, *inputs)", self.names, [], ordered=True)
            yield self._cached("backward(dout, cache)", lambda p: (p, self._tuple(p), None, None))
        if not rest and must and not self.scalar:
            if match(must[0], self.names) is not None and len(self.inputs) == 1 and self._elementwise():
                yield self._direct("derivative(x), that of each entry", must, may, upstream=False)
            yield self._direct("backward(dout)", [], may)

    def _elementwise(self) -> bool:
        """Whether each entry of the output depends on the same entry of the input alone."""
        bodies = [d.body for d in self.derived.program.definitions]
        alike = all(t.axes == self.inputs[0].axes for t in self.outputs)
        return alike and not any(isinstance(n, Sum | Reduce | Opaque) for b in bodies for n in walk(b))

    def _one_cache(self, name: str) -> Iterator[Form]:
        tuples = self._cached(
            "backward(dout, cache), the cache a tuple of the inputs",
            lambda p: (p, self._tuple(p), None, None),
        )
        only = self._cached(
            "backward(dout, x), the one input itself",
            lambda p: (p, next(iter(self._values(p).values())), None, None),
        )
        whole = self._cached(
            "backward(dout, cache), the cache a tuple of inputs and parameters",
            lambda p: (p, (*self._tuple(p), *p.parameters.values()), None, None),
        )
        named = self._cached(
            "backward(dout, cache), the cache a dictionary", lambda p: (p, self._dictionary(p), None, None)
        )
        single = [only] if len(self.inputs) == 1 else []
        first = [tuples, *single] if name in CACHES else [*single, tuples]
        yield from first
        if self.derived.program.parameters:
            yield whole
        yield named

    def _direct(
        self, title: str, names: Sequence[str], may: Sequence[str], *, ordered: bool = False,
        upstream: bool = True, valued: bool = False, order: tuple[str, ...] = (),
    ) -> Form:  # fmt: skip
        found = None if ordered else match_all(names, self.names)
        listed = self.names if len(names) == len(self.names) else self.floats
        inputs = [found[n] for n in names] if found is not None else listed
        upstream = upstream and not valued

        def prepare(point: Point) -> Prepared:
            values = self._values(point)
            ups = self._upstreams(point) if upstream else {}
            arguments = keyed([*ups.items(), *((n, values[n]) for n in inputs[: len(names)])])
            return Prepared(point, {**arguments, "": self.options.optional(point, may, values)})

        def invoke(arguments: dict[str, Any]) -> Any:
            options = arguments[""]
            return self.backward(*(v for k, v in arguments.items() if k), **options)

        return Form(title, prepare, invoke, upstream, valued, order)

    # --- arguments ---------------------------------------------------------------------------------

    def _values(self, point: Point) -> dict[str, Any]:
        return {t.name: _plain(point.env.array(t), t, self.dtype) for t in self.inputs}

    def _tuple(self, point: Point) -> tuple[Any, ...]:
        return tuple(self._values(point).values())

    def _dictionary(self, point: Point) -> dict[str, Any]:
        return {**self._values(point), **{t.name: v for t, v in point.parameters.items()}}

    def _upstreams(self, point: Point) -> dict[str, Any]:
        return {f"d{t.name}": _plain(point.upstream(t), t, self.dtype) for t in self.outputs}

    def result(self, value: Any, form: Form) -> Result:
        """The gradients in whatever the function returned."""
        if form.valued:
            if not isinstance(value, tuple | list) or len(value) < 2:
                return Result({}, problem=f"it returns {_kind(value)} instead of the loss and its gradients")
            value = value[1] if len(value) == 2 else tuple(value[1:])
        if value is None:
            return Result({}, problem="it returns None; is the `return` missing?")
        if isinstance(value, dict):
            return self._sorted(
                ((match_key(str(k), self.names), v) for k, v in value.items()),
                getattr(self.backward, "__missing__", "the dictionary has no key for it"),
            )
        if isinstance(value, tuple | list) and not _is_numbers(value):
            return self._listed(list(value), form.order)
        return self._listed([value], form.order)

    def _listed(self, values: list[Any], order: Sequence[str]) -> Result:
        order = order or self.names
        if len(values) != len(order) and len(values) <= len(self.floats):
            order = [n for n in order if n in self.floats]
        extra = [v for v in values[len(order) :] if v is not None]
        if extra:
            return Result(
                {}, problem=f"it returns {len(values)} gradients, but there are {len(self.floats)} to return"
            )
        what = f"only {len(values)} of {len(self.floats)} came back"
        return self._sorted(zip(order, values, strict=False), what)

    def _sorted(self, pairs: Any, what: str) -> Result:
        found: dict[str, Array] = {}
        missing: dict[str, str] = {}
        for name, value in pairs:
            if name is None or name not in self.floats:
                continue
            array = as_array(value)
            if array is None:
                missing[name] = f"{_kind(value)} stands in its place"
            else:
                found[name] = array
        for name in self.floats:
            if name not in found and name not in missing:
                missing[name] = what.format(name)
        data = TARGETS if self.scalar else STATISTICS if set(self.names) >= STATISTICS else frozenset()
        excused = tuple(n for n in missing if n in data and found)
        return Result(found, {n: m for n, m in missing.items() if n not in excused}, excused)


def _plain(value: Any, tensor: Tensor, dtype: type[np.floating[Any]]) -> Any:
    """An input as a user would pass it: scalars as Python numbers."""
    array = np.asarray(value)
    if tensor.axes:
        return array.astype(dtype) if array.dtype.kind == "f" else array.copy()
    return array.item()


def _is_numbers(value: Sequence[Any]) -> bool:
    return bool(value) and all(isinstance(v, int | float) for v in value) and isinstance(value, list)


def _kind(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


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
