"""Checking Python files: which functions are backwards, of which layers, and the table of results."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from chalkgrad.cli.targets import load, resolve
from chalkgrad.errors import ChalkgradError, suggestion
from chalkgrad.frontend.forward import Forward
from chalkgrad.frontend.numpy_trace import annotation

if TYPE_CHECKING:
    from chalkgrad.diagnose.report import Diagnosis
    from chalkgrad.layer_type import Layer

Left = list[tuple[str, ChalkgradError]]
"""Functions that are not checked, and why."""

_BACKWARD = re.compile(r"(?P<name>.+?)_(backward|bwd|grad|gradient)(?P<variant>_\w+)?")


@dataclass(frozen=True, slots=True)
class Pair:
    """A backward found in a file.

    Attributes:
        title: The function's name.
        backward: The function.
        forward: Its sibling, or None.
        layer: What it is compared with.
    """

    title: str
    backward: Any
    forward: Callable[..., Any] | None
    layer: Layer


def pairs_in(path: Path, name: str, of: str | None, left: Left | None = None) -> list[Pair]:
    """The backwards to check: the one named, or all of the file.

    Those that fit no layer are left out, and why is added to `left`.

    Raises:
        ChalkgradError: There is none, or it fits no layer.
    """
    module = load(path)
    if name:
        if not hasattr(module, name):
            known = [n for n in vars(module) if not n.startswith("_")]
            raise ChalkgradError(f"There is no '{name}' in {path}.{suggestion(name, known)}")
        layer = resolve(of) if of else _layer(name, module)
        return [Pair(name, getattr(module, name), _sibling(name, module), layer)]
    problems: Left = []
    found = list(_all(module, resolve(of) if of else None, problems))
    if left is not None:
        left += problems
    if not found and len(problems) == 1:
        raise problems[0][1]
    if not found and problems:
        told = "\n".join(f"{function}: {problem.message}" for function, problem in problems)
        raise ChalkgradError(
            f"None of the backwards in {path} can be checked.\n{told}", hint=problems[0][1].hint
        )
    if not found:
        raise ChalkgradError(
            f"There is no function NAME_backward in {path} that a built-in layer explains.",
            hint=f"Name it and its layer: chalkgrad check {path}:my_backward --of affine",
        )
    return found


def _all(module: ModuleType, layer: Layer | None, left: Left) -> Iterator[Pair]:
    from chalkgrad.diagnose.class_layers import class_layer

    for name, value in list(vars(module).items()):
        here = getattr(value, "__module__", None) == module.__name__
        if name.startswith("_") or not here or not callable(value):
            continue
        if _BACKWARD.fullmatch(name):
            try:
                own = layer or _layer(name, module)
            except ChalkgradError as problem:
                left.append((name, problem))
                continue
            yield Pair(name, value, _sibling(name, module), own)
        elif isinstance(value, type) and class_layer(value) is not None:
            known = layer or _of_class(name)
            if known is not None:
                yield Pair(name, value, None, known)
            else:
                left.append((name, _unknown_class(name)))
        elif inspect.isfunction(value) and (loss := _loss_called(name)) and _is_loss(value, loss):
            yield Pair(name, value, None, layer or loss)


def _loss_called(name: str) -> Layer | None:
    """The gallery's loss of that name, or of one of its usual names: mse_loss, softmax_loss_vectorized."""
    from chalkgrad.layers import GALLERY, canonical_name

    stem = re.sub(r"_(naive|vectori[sz]ed)$", "", name)
    for known in (stem, canonical_name(stem), canonical_name(re.sub(r"_loss$", "", stem))):
        if known in GALLERY and not GALLERY[known].program.outputs[0].axes:
            return GALLERY[known]
    return None


def _of_class(name: str) -> Layer | None:
    """The gallery's layer of a class's name, as BatchNorm or SoftmaxWithLoss."""
    from chalkgrad.layers import GALLERY, canonical_name

    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    stems = dict.fromkeys(re.sub(r"_?layer$", "", word) for word in (snake, snake.replace("_", "")))
    found = (canonical_name(known) for stem in stems for known in (stem, f"{stem}_loss"))
    return next((GALLERY[known] for known in found if known in GALLERY), None)


def _unknown_class(name: str) -> ChalkgradError:
    return ChalkgradError(
        f"No built-in layer is called like the class {name}.",
        hint=f"Say which: chalkgrad check FILE:{name} --of LAYER; `chalkgrad layers` lists them.",
    )


def _is_loss(function: Callable[..., Any], layer: Layer) -> bool:
    """Whether a function named like a loss gives gradients; one that gives a number is a forward.

    One that gives nothing for a loss's inputs is meant for it if it has its very name.
    """
    from chalkgrad.diagnose.capture import as_array
    from chalkgrad.diagnose.same import values_of

    value = values_of(function, layer.program)
    found = as_array(value)
    if value is None:
        return function.__name__ == layer.name
    return found is None or found.ndim > 0


def _sibling(name: str, module: ModuleType) -> Callable[..., Any] | None:
    """NAME_forward beside NAME_backward, with the same ending if there is one."""
    match = _BACKWARD.fullmatch(name)
    if match is None:
        return None
    for ending in (match["variant"] or "", "", "_naive"):
        for verb in ("forward", "fwd"):
            found = getattr(module, f"{match['name']}_{verb}{ending}", None)
            if callable(found):
                return found  # type: ignore[no-any-return]
    return None


def _layer(name: str, module: ModuleType) -> Layer:
    """The gallery's layer of that name, or else the user's own forward as a layer."""
    from chalkgrad.layers import GALLERY, canonical_name

    if isinstance(getattr(module, name, None), type):
        of_class = _of_class(name)
        if of_class is None:
            raise _unknown_class(name)
        return of_class
    match = _BACKWARD.fullmatch(name)
    stem = match["name"] if match else name
    forward = _sibling(name, module)
    own = _declared(forward) if forward is not None else None
    for known in (stem, stem.lower(), canonical_name(stem), f"{stem}_loss"):
        if known in GALLERY and not (own is not None and _is_another(own, GALLERY[known])):
            _refuse_other_axes(forward, GALLERY[known])
            return GALLERY[known]
    if own is not None and getattr(forward, "__annotations__", None):
        return _traced(own, stem)
    alike = _by_values(name, module)
    if alike is not None:
        return alike
    if own is not None:
        return _traced(own, stem)
    axes = "" if forward is None else (
        f" Or name the axes of its forward, as in def {forward.__name__}(x: \"N D\", ...)."
    )  # fmt: skip
    raise ChalkgradError(
        f"No built-in layer is called '{stem}', and its forward is none of them."
        f"{suggestion(stem, tuple(GALLERY))}",
        hint=f"Say which: chalkgrad check FILE:{name} --of LAYER; `chalkgrad layers` lists them.{axes}",
    )


def _declared(forward: Callable[..., Any]) -> FunctionType | None:
    """A forward whose axes its annotations give, or its docstring; None where neither does."""
    if not isinstance(forward, FunctionType):
        return None
    if forward.__annotations__:
        return forward
    signature = documented(forward)
    if signature is None:
        return None
    code, defaults, closure = forward.__code__, forward.__defaults__, forward.__closure__
    declared = FunctionType(code, forward.__globals__, forward.__name__, defaults, closure)
    declared.__kwdefaults__ = forward.__kwdefaults__
    declared.__signature__ = signature  # type: ignore[attr-defined]
    return declared


def _is_another(forward: FunctionType, layer: Layer) -> bool:
    """Whether a forward declares inputs of other numbers of axes than a layer of its name has."""
    ranks = [
        len(words) - (words[-1:] in (["int"], ["bool"]))
        for p in inspect.signature(forward).parameters.values()
        if (text := annotation(p)) is not None
        for words in [text.replace(",", " ").split()]
        if "..." not in words
    ]
    return sorted(ranks) != sorted(len(t.axes) for t in layer.program.inputs)


def _refuse_other_axes(forward: Callable[..., Any] | None, layer: Layer) -> None:
    """A forward that is told a size, such as a number of groups, may have these axes in one.

    Raises:
        ChalkgradError: It does not take the layer's inputs.
    """
    from chalkgrad.diagnose.names import required
    from chalkgrad.diagnose.same import refusal

    read = required(forward) if forward is not None else None
    sizes = {r.name for r in layer.program.ranges()} - {t.name for t in layer.program.inputs}
    if forward is None or read is None or sizes.isdisjoint(read[0]):
        return
    problem = refusal(forward, layer)
    if problem:
        inputs = ", ".join(map(str, layer.program.inputs))
        raise ChalkgradError(
            f"{layer.name} has the inputs {inputs}; with them {forward.__name__} raises {problem}",
            hint="Give the forward these axes, or check it against a layer of your own: --of layers.py:NAME.",
        )


def _traced(forward: FunctionType, name: str) -> Layer:
    """A forward as a layer, traced at once: what cannot be is left out, and the others are checked."""
    from chalkgrad.layer_type import Layer

    layer = Layer(Forward(forward, name, cached=True))
    try:
        assert layer.program
    except (KeyboardInterrupt, ChalkgradError):
        raise
    except Exception as error:
        raise ChalkgradError(
            f"Called with symbols for arrays, {forward.__name__} raises {type(error).__name__}: {error}",
            hint="Name the layer that it is: chalkgrad check FILE:NAME --of LAYER.",
        ) from error
    return layer


def documented(forward: Callable[..., Any]) -> inspect.Signature | None:
    """A forward's signature with the axes that its docstring gives: "x: inputs of shape (N, D)".

    None unless every argument without a default has them.
    """
    text = inspect.getdoc(forward) or ""
    signature = inspect.signature(forward)
    parameters = []
    for p in signature.parameters.values():
        found = re.search(rf"(?<!\w){re.escape(p.name)}(?!\w)([^\n()]*)\(([^()\n]*)\)", text)
        axes = [a.strip() for a in found[2].split(",") if a.strip()] if found else []
        if found and all(a.isidentifier() for a in axes):
            whole = re.search(r"(?i)\b(int|integers?|labels?|indices|index)\b", found[1]) is not None
            parameters.append(p.replace(annotation=" ".join([*axes, *(["int"] if whole else [])])))
        elif p.default is inspect.Parameter.empty:
            return None
        else:
            parameters.append(p)
    return signature.replace(parameters=parameters)


def _by_values(name: str, module: ModuleType) -> Layer | None:
    """The gallery's layer whose values the user's forward returns."""
    from chalkgrad.diagnose.same import same_forward
    from chalkgrad.layers import GALLERY

    forward = _sibling(name, module)
    if forward is None:
        return None
    for layer in GALLERY.values():
        try:
            if same_forward(forward, layer):
                return layer
        except ChalkgradError:
            continue
    return None


def table(diagnoses: list[Diagnosis]) -> str:
    """One row per backward: its name, right or the causes by argument."""
    width = max(len(d.name) for d in diagnoses)
    rows = []
    for d in diagnoses:
        causes = dict.fromkeys(f"{'d' + f.argument + ' ' if f.argument else ''}{f.cause}" for f in d.faults)
        rows.append(f"{'✓' if d.ok else '✗'} {d.name:<{width}}  {'right' if d.ok else '; '.join(causes)}")
    wrong = sum(not d.ok for d in diagnoses)
    rows.append(f"{len(diagnoses) - wrong} right, {wrong} wrong.")
    return "\n".join(rows)
