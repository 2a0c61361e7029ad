"""One formula spoiled at one place, in every way that people do it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.graph import Graph
from chalkgrad.diagnose.spoiled_axes import Change, Path, axes_throughout, overwritten, replaced, wrong_axes
from chalkgrad.diagnose.words import Words, words
from chalkgrad.expr.arithmetic import multiply
from chalkgrad.expr.nodes import (
    MINUS_ONE,
    ONE,
    Access,
    Add,
    Apply,
    Const,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Pow,
    Reduce,
    Size,
    Sum,
)
from chalkgrad.expr.ops import children, free_indices, rebuild, replace_access, substitute, walk

OPPOSITE = {"==": "!=", "!=": "==", "<": ">", ">": "<", "<=": ">=", ">=": "<="}

COMPLEMENT = 1.9
"""What it costs to leave a condition out of 1 - 1(x > 0): nobody writes 1 - 1."""


def has_sum(e: Expr) -> bool:
    return any(isinstance(n, Sum) for n in walk(e))


class Spoiler:
    """Every change of one place of one formula."""

    def __init__(self, definition: Definition, graph: Graph, derived: Derived) -> None:
        self.definition = definition
        self.target = definition.target
        self.graph = graph
        self.factors = graph.factors
        self.given = derived.upstream
        reads = [n for n in walk(definition.body) if isinstance(n, Access) and n.tensor.role == "adjoint"]
        self.upstreams = len(reads)
        self.adjoints = [d.target for d in derived.staged.definitions] + list(derived.upstream)

    def everywhere(
        self, e: Expr, scope: tuple[Index, ...], in_sum: bool = False, path: Path = ()
    ) -> Iterator[Change]:
        """Changes of `e` itself and of each part of it, with the way to that from the top."""
        if e is self.definition.body and not isinstance(e, Access):
            yield from self.extra_factors(e, scope)
        yield from (Change(c.code, c.text, c.cost, c.node, path) for c in self.here(e, scope, in_sum))
        inner = (*scope, *e.indices) if isinstance(e, Sum | Reduce) else scope
        kids = children(e)
        if isinstance(e, Access):
            return
        for place, kid in enumerate(kids):
            among = isinstance(e, Add) or (in_sum and isinstance(e, Mul))
            yield from self.everywhere(kid, inner, among, (*path, place))

    def here(self, e: Expr, scope: tuple[Index, ...], in_sum: bool) -> Iterator[Change]:
        match e:
            case Mul(factors):
                yield from self.dropped(factors, in_sum)
                yield from self.doubled(factors)
            case Pow(base, Const(Fraction() as exponent)):
                yield from self.powers(base, exponent)
            case Apply(_, args) if len(args) == 1:
                yield Change("preactivation", words(args[0], " is used where ", e, " belongs"), 3.0, args[0])
            case Add(terms):
                yield from self.terms(terms)
            case Sum(indices, body):
                yield from self.sums(indices, body, scope)
            case Access():
                yield from self.operands(e)
                if e.tensor.role == "adjoint":
                    yield from self.extra_sums(e)
                    yield from self.extra_factors(e, scope)
            case Indicator(op, left, right):
                other = Indicator(OPPOSITE[op], left, right)
                yield Change("wrong_operand", words("the condition ", e, " is turned around"), 2.2, other)
                complement = Add((ONE, Mul((MINUS_ONE, e))))
                yield Change("wrong_operand", words(e, " passes what it should stop"), 2.2, complement)
                cost = COMPLEMENT if in_sum else 1.1
                yield Change("missing_mask", words(e, " is left out"), cost, ONE)
        if e is self.definition.body and not isinstance(e, Access):
            yield from self.extra_sums(e)
            yield from self.throughout(e)

    def dropped(self, factors: tuple[Expr, ...], in_sum: bool) -> Iterator[Change]:
        for place, f in enumerate(factors):
            if isinstance(f, Const):
                continue
            rest = (*factors[:place], *factors[place + 1 :])
            code, text, cost = self.loss_of(f)
            if in_sum and code == "missing_mask" and all(isinstance(r, Const) for r in rest):
                cost = COMPLEMENT
            yield Change(code, text, cost, multiply(rest) if rest else ONE)
        plain = [f for f in factors if not isinstance(f, Const | Indicator)]
        for one, two in combinations(plain, 2) if len(factors) > 2 else ():
            rest = tuple(f for f in factors if f is not one and f is not two)
            text = words("the factors ", one, " and ", two, " are left out of ", self.target)
            yield Change("missing_factor", text, 2.2, multiply(rest))

    def loss_of(self, f: Expr) -> tuple[str, Words, float]:
        match f:
            case Indicator():
                return "missing_mask", words(f, " is left out of ", self.target), 1.1
            case Access(tensor, _) if tensor.dtype == "bool":
                return "missing_mask", words(f, " is left out of ", self.target), 1.1
            case Pow(Size(of), Const(Fraction() as power)) if power < 0:
                return (
                    "sum_for_mean",
                    words("the factor 1/", of.name, " of the mean is left out of ", self.target),
                    1.3,
                )
            case Access(tensor, _) if tensor.role == "adjoint":
                # Where others stay, a forgotten one is no forgotten upstream gradient but a slip.
                cost = 2.4 if self.upstreams > 1 else 1.4 if tensor in self.given else 1.75
                return "missing_factor", words("the gradient from above, ", f, ", is not multiplied in"), cost
        if _is_condition(f):
            return "missing_mask", words("the condition ", f, " is left out of ", self.target), 1.2
        return (
            "constant_factor" if _is_number(f) else "missing_factor",
            words("the factor ", f, " is left out of ", self.target),
            1.5 if not has_sum(f) else 2.6,
        )

    def doubled(self, factors: tuple[Expr, ...]) -> Iterator[Change]:
        for f in factors:
            if isinstance(f, Const | Indicator):
                continue
            if isinstance(f, Access) and f.tensor.dtype == "bool":
                continue
            adjoint = isinstance(f, Access) and f.tensor.role == "adjoint"
            cost = 2.8 if adjoint else 2.6 if has_sum(f) else 2.1
            text = words("the factor ", f, " stands twice in ", self.target)
            code = "constant_factor" if _is_number(f) else "extra_factor"
            yield Change(code, text, cost, Mul((*factors, f)))
            if isinstance(f, Access) and f.tensor.role != "adjoint":
                inverted = tuple(Pow(g, MINUS_ONE) if g is f else g for g in factors)
                text = words(self.target, " is divided by ", f, " instead of multiplied")
                yield Change("wrong_operand", text, 3.0, Mul(inverted))

    def powers(self, base: Expr, exponent: Fraction) -> Iterator[Change]:
        if isinstance(base, Size):
            return
        for step in (-1, 1, Fraction(-1, 2), Fraction(1, 2)):
            new = exponent + step
            less = abs(new) < abs(exponent)
            code = "missing_factor" if less else "extra_factor"
            code = "constant_factor" if _is_number(base) else code
            text = words(
                "the power of ", base, " in ", self.target, " is ", str(new), " instead of ", str(exponent)
            )
            node = ONE if new == 0 else base if new == 1 else Pow(base, Const(new))
            yield Change(code, text, 2.35 if abs(step) == 1 else 2.45, node)
        text = words(
            base, " has the power ", str(-exponent), " instead of ", str(exponent), " in ", self.target
        )
        yield Change("wrong_operand", text, 2.6, Pow(base, Const(-exponent)))

    def terms(self, terms: tuple[Expr, ...]) -> Iterator[Change]:
        """Terms under a power or a function, which no addend covers."""
        for place, term in enumerate(terms):
            rest = (*terms[:place], *terms[place + 1 :])
            left = rest[0] if len(rest) == 1 else Add(rest)
            yield Change("missing_term", words("the term ", term, " is left out of ", self.target), 1.9, left)
            flipped = (*terms[:place], Mul((MINUS_ONE, term)), *terms[place + 1 :])
            yield Change(
                "sign", words("the term ", term, " has the wrong sign in ", self.target), 1.8, Add(flipped)
            )

    def sums(self, indices: tuple[Index, ...], body: Expr, scope: tuple[Index, ...]) -> Iterator[Change]:
        if len(indices) > 1:
            names = ", ".join(i.name for i in indices)
            text = words(self.target, " takes the mean over ", names, " instead of the sum")
            sizes = tuple(Pow(Size(i.range), MINUS_ONE) for i in indices)
            yield Change("mean_for_sum", text, 1.5, Mul((*sizes, Sum(indices, body))))
            text = words("the sum over ", names, " is left out of ", self.target)
            yield Change("missing_sum", text, 1.65, _broadcast(body, indices, scope))
            yield from self.one_term(names, (), indices, body)
        yield from overwritten(self.target, indices, body)
        if all(isinstance(f, Indicator) for f in (body.factors if isinstance(body, Mul) else (body,))):
            text = words("the count ", Sum(indices, body), " is taken as 1 in ", self.target)
            yield Change("missing_sum", text, 1.45, ONE)
        yield from wrong_axes(self.target, indices, body, scope)
        e_is_root = not any(i.range is s.range for i in indices for s in scope)
        for place, index in enumerate(indices):
            rest = (*indices[:place], *indices[place + 1 :])
            of = index.range.name
            text = words("the sum over ", index.name, " (the ", of, " axis) is left out of ", self.target)
            left = _broadcast(Sum(rest, body) if rest else body, (index,), scope)
            # An unsummed part whose axis lines up with another often equals a forgotten part.
            cost = 1.5 if e_is_root else 1.65
            yield Change("missing_sum", text, cost, left)
            yield from self.one_term(index.name, rest, (index,), body)
            mean = Mul((Pow(Size(index.range), MINUS_ONE), Sum(indices, body)))
            text = words(self.target, " takes the mean over ", index.name, " instead of the sum")
            yield Change("mean_for_sum", text, 1.5, mean)
            if index in free_indices(body):
                best = Reduce("max", (index,), body)
                yield Change("missing_sum", words("a maximum over ", index.name, " instead of the sum"), 3.2,
                             Sum(rest, best) if rest else best)  # fmt: skip

    def one_term(
        self, names: str, rest: tuple[Index, ...], indices: tuple[Index, ...], body: Expr
    ) -> Iterator[Change]:
        """The last term of a sum, which stays where = overwrites, or the first, as in dout[0]."""
        for which, why in (("last", " (= instead of +=?)"), ("first", "")):
            at = {i: Size(i.range) - 1 if which == "last" else Const(Fraction(0)) for i in indices}
            text = words(
                "only the ", which, " term of the sum over ", names, " is kept in ", self.target, why
            )
            term = substitute(body, at)
            yield Change("missing_sum", text, 2.4, Sum(rest, term) if rest else term)

    def operands(self, e: Access) -> Iterator[Change]:
        axes = e.tensor.axes
        plain = [place for place, i in enumerate(e.indices) if isinstance(i, Index)]
        for one, two in combinations(plain, 2):
            turned = list(e.indices)
            turned[one], turned[two] = turned[two], turned[one]
            node = Access(e.tensor, tuple(turned))
            yield Change("transpose", words(e.tensor, " is transposed in ", self.target), 1.5, node)
        adjoint = e.tensor.role == "adjoint"
        for other in (*self.graph.values, *self.adjoints):
            if other is e.tensor or other.axes != axes or other.dtype == "int" or not axes:
                continue
            code, cost = "wrong_operand", 2.15 if not adjoint else 3.2
            if (other.role == "adjoint") is not adjoint:
                cost = 3.1
            if self.graph.activates(e.tensor, other):
                code, cost = "preactivation", 1.9
            text = words(self.target, " uses ", other, " where ", e.tensor, " belongs")
            yield Change(code, text, cost, Access(other, e.indices))

    def conditions(self, e: Expr) -> Iterator[Change]:
        """A condition that stands at several places, taken as true or turned around at all of them."""
        for one in dict.fromkeys(n for n in walk(e) if isinstance(n, Indicator)):
            if sum(n is one for n in walk(e)) > 1:
                yield Change("missing_mask", words(one, " is left out"), 1.1, replaced(e, one, ONE))
                turned = Indicator(OPPOSITE[one.op], one.left, one.right)
                text = words("the condition ", one, " is turned around")
                yield Change("wrong_operand", text, 2.2, replaced(e, one, turned))

    def throughout(self, e: Expr) -> Iterator[Change]:
        """One operand taken for another at every place, as in x (1 - x) for y (1 - y)."""
        yield from self.conditions(e)
        yield from axes_throughout(self.target, self.definition.indices, e)
        reads = [n.tensor for n in walk(e) if isinstance(n, Access) and n.tensor.axes]
        for tensor in sorted({t for t in reads if reads.count(t) > 1}, key=lambda t: (t.name, t.role)):
            for other in self.adjoints if tensor.role == "adjoint" else self.graph.values:
                if other is tensor or other.axes != tensor.axes:
                    continue
                likely = self.graph.activates(tensor, other)
                code, cost = ("preactivation", 1.85) if likely else ("wrong_operand", 2.2)
                text = words(self.target, " uses ", other, " where ", tensor, " belongs")
                node = replace_access(e, tensor, lambda at, o=other: Access(o, at))  # type: ignore[misc]
                yield Change(code, text, cost, node)

    def extra_sums(self, e: Expr) -> Iterator[Change]:
        for index in sorted(free_indices(e), key=lambda i: i.name):
            text = words(
                self.target,
                " is summed over ",
                index.name,
                " (the ",
                index.range.name,
                " axis), which must stay",
            )
            yield Change("extra_sum", text, 2.3, Sum((index,), e))
            mean = Mul((Pow(Size(index.range), MINUS_ONE), Sum((index,), e)))
            text = words(self.target, " is averaged over ", index.name, ", which must stay")
            yield Change("extra_sum", text, 2.7, mean)

    def extra_factors(self, e: Expr, scope: tuple[Index, ...]) -> Iterator[Change]:
        for factor in self.factors:
            found = _fitted(factor, scope)
            if found is None:
                continue
            masks = isinstance(factor, Indicator) or (
                isinstance(factor, Access) and factor.tensor.dtype == "bool"
            )
            text = words(self.target, " has the factor ", found, " too many")
            yield Change("extra_factor", text, 2.5, Mul((e, found)))
            if not masks:
                text = words(self.target, " is divided by ", found, ", which does not belong there")
                yield Change("extra_factor", text, 2.8, Mul((e, Pow(found, MINUS_ONE))))


def _is_condition(e: Expr) -> bool:
    """Whether a sum holds conditions and numbers only, as 1(x > 0) + 1(x = 0) / 2, which is a mask."""
    if isinstance(e, Add):
        return any(isinstance(n, Indicator) for n in walk(e)) and all(_is_condition(t) for t in e.terms)
    if isinstance(e, Mul):
        return all(_is_condition(f) for f in e.factors)
    return isinstance(e, Indicator | Const)


def _is_number(e: Expr) -> bool:
    """Whether a factor is the same number everywhere, such as 1/√2."""
    return not any(isinstance(n, Access | Size | Index) for n in walk(e))


def _broadcast(body: Expr, loose: tuple[Index, ...], scope: tuple[Index, ...]) -> Expr:
    """A body that lost its sum: its indices line up with those in scope, as axes do in NumPy."""
    mapping: dict[Index, Expr] = {}
    for index in loose:
        near = [i for i in scope if i.range is index.range]
        if near:
            mapping[index] = near[0]
    return substitute(body, mapping)


def _fitted(factor: Expr, scope: tuple[Index, ...]) -> Expr | None:
    """The factor with its indices replaced by indices in scope over the same ranges."""
    from_scope = list(scope)
    mapping: dict[Index, Index] = {}
    for index in sorted(free_indices(factor), key=lambda i: i.name):
        near = [i for i in from_scope if i.range is index.range]
        if not near:
            return None
        chosen = index if index in near else near[0]
        mapping[index] = chosen
        from_scope.remove(chosen)
    return _renamed(factor, mapping)


def _renamed(e: Expr, mapping: dict[Index, Index]) -> Expr:
    if isinstance(e, Index):
        return mapping.get(e, e)
    kids = children(e)
    return rebuild(e, tuple(_renamed(k, mapping) for k in kids)) if kids else e
