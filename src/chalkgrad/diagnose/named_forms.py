"""Backwards that take their arguments by name: keyword-only ones, **kwargs, the upstream gradient last."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from chalkgrad.diagnose.forms import Form, Prepared
from chalkgrad.diagnose.names import match, match_all
from chalkgrad.diagnose.options import Options
from chalkgrad.diagnose.points import Point

UPSTREAM = frozenset(
    {"dout", "dy", "dl", "dloss", "grad", "grad_out", "grad_output", "upstream", "g", "delta"}
)
"""Usual names of the gradient from above."""

Values = Callable[[Point], Mapping[str, Any]]


def named_forms(
    backward: Any, inputs: Sequence[str], outputs: Sequence[str], values: Values, upstreams: Values,
    options: Options,
) -> Iterator[Form]:  # fmt: skip
    """The ways to call by name that a signature allows.

    Args:
        backward: The user's function.
        inputs, outputs: Names of the layer's inputs and outputs.
        values, upstreams: The inputs, and the gradients from above, at a point.
        options: What else it may be told.
    """
    try:
        parameters = list(inspect.signature(backward).parameters.values())
    except (TypeError, ValueError):
        return
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    must = [p.name for p in parameters if p.kind in plain and p.default is p.empty]
    only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = [*must, *only]
    ups = [n for n in names if match(n, inputs) is None and from_above(n, outputs)]
    if len(ups) > len(outputs):  # one of them may be the layer's own δ
        ups = [n for n in ups if match(n, options.all) is None]
    if anything and not names and len(outputs) == 1:
        ups = only = names = ["dout"]
    rest = [n for n in names if n not in ups]
    data = options.data(rest, inputs)
    may = [p.name for p in parameters if p.default is not p.empty]
    found = match_all(data, inputs)
    if len(ups) != len(outputs) or found is None:
        return
    if not only and not anything and names[: len(ups)] == ups:
        return  # the usual order, which other forms cover

    def prepare(point: Point) -> Prepared:
        given = dict(values(point))
        above = dict(zip(ups, upstreams(point).values(), strict=True))
        keys = dict(zip(above, (f"d{o}" for o in outputs), strict=True))
        told = {**options.optional(point, may, given), **options.placed(point, rest, inputs)}
        arguments = {keys.get(n, found.get(n, n)): above.get(n, given.get(found.get(n, "")))
                     for n in names if n not in told}  # fmt: skip
        more = {n: given[n] for n in inputs if n not in found.values()} if anything else {}
        return Prepared(point, {**arguments, **more, "": told})

    def invoke(arguments: dict[str, Any]) -> Any:
        *given, told = arguments.values()
        own = [n for n in names if n not in told]
        by_name = {**told, **dict(zip(own, given, strict=False))}
        more = dict(list(arguments.items())[len(own) : -1])
        args = [by_name.pop(n) for n in must]
        return backward(*args, **by_name, **more)

    yield Form("backward with arguments by name", prepare, invoke)


def from_above(name: str, outputs: Sequence[str]) -> bool:
    """Whether an argument is called like the gradient from above."""
    return name.lower() in UPSTREAM or name in {
        f"{p}{o}" for p in ("d", "grad_", "g_", "d_", "dLd", "dL_d") for o in outputs
    }
