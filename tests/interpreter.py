"""A second, independent meaning of the language: one entry at a time, on PyTorch scalars.

Nothing is an array operation here and every derivative is autograd's, so agreement with
`chalkgrad.verify` is agreement of two programs that share only the node classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch

from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Partial,
    Pow,
    Program,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
)

FUNCTIONS = {
    "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p, "sqrt": torch.sqrt,
    "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "abs": torch.abs,
    "gelu": torch.nn.functional.gelu, "erf": torch.erf, "maximum": torch.maximum,
    "minimum": torch.minimum, "clip": torch.clamp, "pi": lambda: torch.tensor(math.pi, dtype=torch.float64),
}  # fmt: skip
COMPARE = {
    "==": float.__eq__, "!=": float.__ne__, "<": float.__lt__, "<=": float.__le__, ">": float.__gt__,
    ">=": float.__ge__,
}  # fmt: skip

Values = dict[Tensor, torch.Tensor]
Bindings = Mapping[Index, int]


class Interpreter:
    """Evaluates entries; sizes by range, values by tensor, definitions for partial derivatives."""

    def __init__(self, sizes: Mapping[Range, int], values: Values, definitions: Mapping[Tensor, Definition]):
        self.sizes, self.values, self.definitions = sizes, values, definitions

    def size(self, of: Range) -> int:
        return of.size if of.size is not None else self.sizes[of]

    def whole(self, e: Expr, at: Bindings) -> int:
        return int(self.entry(e, at).item())

    def entry(self, e: Expr, at: Bindings) -> torch.Tensor:
        match e:
            case Const(value):
                return torch.tensor(float(value), dtype=torch.float64)
            case Size(of):
                return torch.tensor(float(self.size(of)), dtype=torch.float64)
            case Index():
                return torch.tensor(float(at[e]), dtype=torch.float64)
            case Access(tensor, indices):
                places = tuple(self.whole(i, at) for i in indices)
                if any(p < 0 for p in places):
                    raise IndexError(f"{e} at {places}")
                return self.values[tensor][places].double()
            case Indicator(op, left, right):
                holds = COMPARE[op](self.entry(left, at).item(), self.entry(right, at).item())
                return torch.tensor(float(holds), dtype=torch.float64)
            case Apply(fn, args):
                return FUNCTIONS[fn](*(self.entry(a, at) for a in args))
            case Add(terms):
                return sum((self.entry(t, at) for t in terms), torch.tensor(0.0, dtype=torch.float64))
            case Mul(factors):
                return math.prod((self.entry(f, at) for f in factors), start=torch.tensor(1.0).double())
            case Pow(base, exponent):
                return self.entry(base, at) ** self.entry(exponent, at).item()
            case Sum(indices, body):
                return torch.stack([self.entry(body, inner) for inner in self.inside(indices, at)]).sum()
            case Reduce(op, indices, body):
                found = torch.stack([self.entry(body, inner) for inner in self.inside(indices, at)])
                return {"max": torch.max, "min": torch.min, "prod": torch.prod}[op](found)
            case Partial(body, wrt):
                return self.partial(body, wrt, at)
        raise TypeError(type(e))

    def inside(self, indices: tuple[Index, ...], at: Bindings):
        for places in itertools.product(*(range(self.size(i.range)) for i in indices)):
            yield {**at, **dict(zip(indices, places, strict=True))}

    def partial(self, body: Expr, wrt: Access, at: Bindings) -> torch.Tensor:
        place = tuple(self.whole(i, at) for i in wrt.indices)
        leaf = self.values[wrt.tensor].detach().clone().requires_grad_()
        values = {t: v.detach() for t, v in self.values.items()} | {wrt.tensor: leaf}
        inner = Interpreter(self.sizes, values, self.definitions)
        bindings = at
        if isinstance(body, Access) and body.tensor in self.definitions and body.tensor is not wrt.tensor:
            definition = self.definitions[body.tensor]
            actual = (self.whole(i, at) for i in body.indices)
            bindings, body = dict(zip(definition.indices, actual, strict=True)), definition.body
        result = inner.entry(body, bindings)
        if not result.requires_grad:
            return torch.tensor(0.0, dtype=torch.float64)
        return torch.autograd.grad(result, leaf)[0][place]

    def array(self, e: Expr, indices: tuple[Index, ...]) -> torch.Tensor:
        """All entries over the indices, as a nested stack."""
        entries = [self.entry(e, at) for at in self.inside(indices, {})]
        return torch.stack(entries).reshape(tuple(self.size(i.range) for i in indices))


def interpret(program: Program, sizes: Mapping[Range, int], inputs: Values, upstream: Values) -> Interpreter:
    """The forward pass, and autograd's gradients of sum <G, output> by every float tensor."""
    values: Values = {
        t: v.detach().clone().requires_grad_(v.dtype.is_floating_point) for t, v in inputs.items()
    }
    definitions = {d.target: d for d in program.definitions}
    for definition in program.definitions:
        found = Interpreter(sizes, values, definitions).array(definition.body, definition.indices)
        values[definition.target] = found
    loss = sum((values[t] * g).sum() for t, g in upstream.items())
    known = [t for t in values if values[t].requires_grad]
    gradients = torch.autograd.grad(loss, [values[t] for t in known], allow_unused=True)
    adjoints = {
        t.adjoint: torch.zeros_like(values[t]) if g is None else g
        for t, g in zip(known, gradients, strict=True)
    }
    plain = {t: v.detach() for t, v in values.items()}
    return Interpreter(sizes, plain | adjoints, definitions)
