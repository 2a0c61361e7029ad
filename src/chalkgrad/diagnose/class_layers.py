"""A layer written as a class, `forward(self, x)` and `backward(self, dout)`, as a pair of functions.

    def backward(self, dout):                    def backward(dout, self_x, self_W):
        self.dW = self.x.T @ dout                    self_dW = self_x.T @ dout
        return dout @ self.W.T            is         return {"x": dout @ self_W.T, "W": self_dW}

So all that is said of functions can be said of it, and read as it was written. Where the method does more
with `self` than read and set attributes, it is called as it is, and judged by its numbers alone.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

import numpy as np

from chalkgrad.diagnose.class_text import GRADIENTS, MISSING, MethodText, is_gradient
from chalkgrad.diagnose.frameworks import framework_of
from chalkgrad.diagnose.names import match, match_all, match_key, settings
from chalkgrad.diagnose.report import Diagnosis
from chalkgrad.diagnose.rewritten import of_method
from chalkgrad.errors import ChalkgradError
from chalkgrad.expr.nodes import Program

SIZE = 3
"""What a constructor is told where it asks for a size; the arrays that it makes are replaced."""


def class_layer(value: Any) -> Any:
    """A class, or an object, with a forward and a backward method, or whose method it is; else None."""
    if inspect.ismethod(value):
        value = value.__self__
    cls = value if isinstance(value, type) else type(value)
    methods = (inspect.getattr_static(cls, name, None) for name in ("forward", "backward"))
    fits = all(isinstance(m, FunctionType) for m in methods) and framework_of(value) == "numpy"
    return value if fits else None


@dataclass(frozen=True, slots=True)
class Pair:
    """The functions that stand for a class.

    Attributes:
        backward: Of the gradient from above and what the forward kept.
        forward: Of the layer's inputs; it returns the output and what it kept.
        spelled: How the class writes each variable that stands for an attribute.
    """

    backward: Callable[..., Any]
    forward: Callable[..., Any]
    spelled: Mapping[str, str]

    def told(self, found: Diagnosis) -> Diagnosis:
        """A diagnosis in the words of the class."""
        if not self.spelled:
            return found
        pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, self.spelled))})(?!\w)")

        def written(text: str) -> str:
            return pattern.sub(lambda m: self.spelled[m[0]], text)

        lines = [tuple(map(written, of_method(f.yours, f.fix))) for f in found.faults]
        faults = (
            replace(f, evidence=written(f.evidence), yours=yours, fix=fix)
            for f, (yours, fix) in zip(found.faults, lines, strict=True)
        )
        return replace(found, faults=tuple(faults), notes=tuple(map(written, found.notes)))


def functions_of(layer: Any, program: Program, statics: Mapping[str, Any]) -> Pair:
    """A class, or an object of one, as a forward and a backward.

    Inputs that are no arguments of the forward are given to the constructor, or take the place of the
    attributes of their names, as W or params["W"].

    Args:
        layer: The class or the object.
        program: What it is compared with.
        statics: Static arguments of that, such as a stride.

    Raises:
        ChalkgradError: The constructor raises, or an input is neither an argument nor an attribute.
    """
    made = _Made(layer, program, statics)
    scalar = all(not t.axes for t in program.outputs)
    floats = {t.name for t in program.inputs if t.dtype == "float"}
    returns = not floats.isdisjoint(made.arguments.values())
    text = MethodText.of(made.cls, made.inputs, made.arguments, made.parameters, scalar, returns=returns)
    kept = text.read if text is not None else None
    forward = made.forward(kept)
    if text is None:
        return Pair(made.backward(scalar), forward, {})
    return Pair(text.function, forward, text.spelled)


class _Made:
    """How an object is made of a layer's inputs, and run."""

    def __init__(self, layer: Any, program: Program, statics: Mapping[str, Any]) -> None:
        self.cls: Any = layer if isinstance(layer, type) else type(layer)
        self.layer = layer
        self.inputs = [t.name for t in program.inputs if t.dtype != "bool"]  # masks are drawn in the forward
        options = [*(t.name for t, _ in program.parameters), *settings({}, statics)]
        must, may = _parameters(inspect.getattr_static(self.cls, "forward"))
        needs, free = list[str](), list[str]()
        if isinstance(layer, type):
            needs, free = _parameters(inspect.getattr_static(layer, "__init__"))
        kept = (*needs, *free) if isinstance(layer, type) else (*vars(layer),)
        self.arguments = self._arguments(
            [n for n in must if match(n, options) is None or n in self.inputs], kept
        )
        rest = [n for n in self.inputs if n not in self.arguments.values()]
        self.given: dict[str, str] = {}
        own = list[str]()
        if isinstance(layer, type):
            for name in (*needs, *free):
                one = match(name, [n for n in rest if n not in self.given.values()])
                if one is not None:
                    self.given[name] = one
            own = [n for n in needs if n not in self.given]
            left = [n for n in rest if n not in self.given.values()]
            if self.given and len(own) == len(left):  # some are inputs, so all are
                self.given |= dict(zip(own, left, strict=True))
                self.given, own = {n: self.given[n] for n in (*needs, *free) if n in self.given}, []
        self.settings = [n for n in own if match(n, options) is not None]
        self.sizes = [n for n in own if n not in self.settings]
        self.attributes = [n for n in rest if n not in self.given.values()]
        self.parameters = [*self.given.values(), *self.attributes]
        self.may = [n for n in (*may, *free) if n not in self.given]
        self.of_forward = {*must, *may}
        self.must = [*must, *(n for n in self.given if n not in must), *self.settings]
        self.must += [n for n in self.attributes if n not in self.must]

    def _arguments(self, must: Sequence[str], kept: Sequence[str]) -> dict[str, str]:
        """The input for each argument of the forward.

        What the constructor takes, or the object holds, under an input's own name is no argument, unless the
        forward has that name, too. Where names say nothing the order does, without what is kept by any name.
        """
        free = [n for n in self.inputs if n in must or n not in kept]
        found = match_all(must, free)
        if found is None:
            alike = {match(k.strip("_"), self.inputs) for k in kept} - set(must)
            others = [n for n in free if n not in alike]
            found = dict(zip(must, others if len(others) >= len(must) else self.inputs, strict=False))
        return found

    def forward(self, kept: Sequence[str] | None) -> Callable[..., Any]:
        """The forward, which returns the output and the attributes `kept`, or the whole object."""
        signature = inspect.Signature(
            [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in self.must]
            + [
                inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None)
                for n in dict.fromkeys(self.may)
                if n not in self.must
            ]
        )

        def forward(*args: Any, **options: Any) -> Any:
            given = dict(zip(self.must, args, strict=False)) | options
            layer = self._object(given)
            out = layer.forward(**{n: v for n, v in given.items() if n in self.of_forward})
            if kept is None:
                held: Any = layer
            else:
                for name in kept:
                    if not hasattr(layer, name):
                        raise AttributeError(
                            f"backward reads self.{name}, which {self.cls.__name__} lacks after forward"
                        )
                held = tuple(getattr(layer, name) for name in kept)
            return (*out, held) if isinstance(out, tuple) else (out, held)

        forward.__signature__ = signature  # type: ignore[attr-defined]
        texts = (inspect.getattr_static(self.cls, n, None) for n in ("__init__", "forward"))
        forward.__texts__ = [t for t in texts if isinstance(t, FunctionType)]  # type: ignore[attr-defined]
        forward.__name__ = forward.__qualname__ = f"{self.cls.__name__}.forward"
        return forward

    def backward(self, scalar: bool) -> Callable[..., Any]:
        """The method as it is, on a copy of the object that the forward left.

        The gradient from above of a loss is 1 where it need not be given.
        """
        must, may = _parameters(inspect.getattr_static(self.cls, "backward"))

        def result(layer: Any, *ups: Any) -> Any:
            layer = copy.deepcopy(layer)
            value = layer.backward(*ups)
            values = value if isinstance(value, tuple) else (value,)
            every = [*self.arguments.values(), *self.parameters]
            names = every if len(values) == len(every) else every[: len(self.arguments)]
            found = dict(zip(names, values, strict=False))
            for name in (n for n in self.inputs if n not in found):
                gradient = _gradient(layer, name, self.inputs, self.parameters)
                if gradient is not None:
                    found[name] = gradient
            return None if value is None and len(found) == len(values) else found

        above = must or (may and not scalar)
        called = (lambda dout, cache: result(cache, dout)) if above else result
        called.__missing__ = MISSING  # type: ignore[attr-defined]
        return called

    def _object(self, given: Mapping[str, Any]) -> Any:
        if isinstance(self.layer, type):
            own = {n: given[n] for n in (*self.given, *self.settings, *self.may)
                   if n in given and n not in self.of_forward}  # fmt: skip
            made = self.layer(**own, **dict.fromkeys(self.sizes, SIZE))
        else:
            made = copy.deepcopy(self.layer)
        for name in self.attributes:
            _clear(made, name, given[name], self.inputs, self.parameters)
            if not _put(made, name, given[name], self.parameters):
                raise ChalkgradError(
                    f"{self.cls.__name__} has no place for the input {name}: it is neither an argument of "
                    "forward or of the constructor nor an attribute.",
                    hint=f"Keep it as self.{name}.",
                )
        return made


def _parameters(function: Any) -> tuple[list[str], list[str]]:
    """The arguments of a method that must be given, and the others."""
    try:
        found = list(inspect.signature(function).parameters.values())[1:]
    except (TypeError, ValueError):
        return [], []
    plain = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    must = [p.name for p in plain if p.default is p.empty]
    return must, [p.name for p in plain if p.name not in must]


def _put(layer: Any, name: str, value: Any, parameters: Sequence[str]) -> bool:
    """Replace the attribute, or the entry of one, that holds an input."""
    own = vars(layer)
    for attribute in own:
        if match(attribute.strip("_"), [name]) is not None and not isinstance(own[attribute], dict):
            setattr(layer, attribute, value)
            return True
    for entries in (v for v in own.values() if isinstance(v, dict)):
        for key in entries:
            if match(str(key), [name]) is not None:
                entries[key] = value
                return True
    listed = own.get("params", own.get("parameters"))
    if isinstance(listed, list) and len(listed) == len(parameters):
        listed[parameters.index(name)] = value
        return True
    return False


def _clear(layer: Any, name: str, value: Any, inputs: Sequence[str], parameters: Sequence[str]) -> None:
    """Zeros of the right shape where the constructor keeps some for the gradient of an input."""
    own = vars(layer)
    entries = [(e, k) for e in (own[a] for a in GRADIENTS if isinstance(own.get(a), dict)) for k in e
               if match_key(str(k), inputs) == name]  # fmt: skip
    entries += [(own, a) for a in own if is_gradient(a, name, inputs)]
    for held in (own[a] for a in GRADIENTS if isinstance(own.get(a), list)):
        if len(held) == len(parameters):
            held[parameters.index(name)] = np.zeros_like(value)
    for held, key in entries:
        if isinstance(held[key], np.ndarray):
            held[key] = np.zeros_like(value)


def _gradient(layer: Any, name: str, inputs: Sequence[str], parameters: Sequence[str]) -> Any:
    """What an object holds as the gradient of an input, by its name or in the order of the parameters."""
    for attribute, value in vars(layer).items():
        if attribute in GRADIENTS and isinstance(value, dict):
            for key, entry in value.items():
                if match_key(str(key), inputs) == name:
                    return entry
        elif attribute in GRADIENTS and isinstance(value, list) and len(value) == len(parameters):
            return value[parameters.index(name)] if name in parameters else None
        elif is_gradient(attribute, name, inputs):
            return value
    return None
