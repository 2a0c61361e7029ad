"""One reading of expressions for every format: where parentheses go and what is a fraction.

`write(e, writer)` walks an expression once; the `Writer` of a format only spells the parts. So a
terminal, a LaTeX page and a web page can never disagree about precedence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from fractions import Fraction

from chalkgrad.expr.names import parse_name
from chalkgrad.expr.nodes import (
    Access,
    Add,
    Apply,
    Const,
    Expr,
    Index,
    Indicator,
    Mul,
    Opaque,
    Partial,
    Pow,
    Reduce,
    Size,
    Sum,
    Tensor,
)
from chalkgrad.expr.text import number, split_sign
from chalkgrad.render.pieces import (
    ADD,
    ATOM,
    BIG,
    FRACTION,
    MUL,
    NEG,
    QUOTIENT,
    Break,
    Piece,
    join,
    piece,
)

COMPARISONS = {"==": "=", "!=": "≠", "<=": "≤", ">=": "≥", "<": "<", ">": ">"}


class Writer(ABC):
    """How one format spells each part. `loss` is the name of what is differentiated."""

    def __init__(self, loss: str = "L") -> None:
        self.loss = loss

    @abstractmethod
    def number(self, value: Fraction | float) -> Piece:
        """A number that is not negative."""

    @abstractmethod
    def name(self, written: str) -> Piece:
        """The name of a value, range or index."""

    @abstractmethod
    def symbol(self, character: str) -> Piece:
        """An operator or bracket, given as its Unicode character, without spaces around it."""

    @abstractmethod
    def entry(self, written: str, indices: Sequence[Piece], plain: bool) -> Piece:
        """One entry of an array; `plain` when every index is a single letter."""

    @abstractmethod
    def subscript(self, base: Piece, indices: Sequence[Piece]) -> Piece:
        """An entry of a matrix that is no more than written; the base has parentheses."""

    @abstractmethod
    def derivative(self, top: Piece, bottom: Piece) -> Piece:
        """∂top/∂bottom."""

    @abstractmethod
    def operator(self, bottom: Piece) -> Piece:
        """∂/∂bottom, waiting for a body."""

    @abstractmethod
    def fraction(self, top: Piece, bottom: Piece) -> Piece:
        """top/bottom, with the parentheses that the format needs."""

    @abstractmethod
    def power(self, base: Piece, exponent: Piece) -> Piece:
        """base^exponent; the base is already in parentheses where it needs them."""

    @abstractmethod
    def root(self, body: Piece) -> Piece:
        """The square root."""

    @abstractmethod
    def big(self, op: str, indices: Sequence[Piece]) -> Piece:
        """Σ, ∏, max or min with its indices, waiting for a body."""

    @abstractmethod
    def call(self, fn: str, args: Sequence[Piece], bare: bool) -> Piece:
        """fn(args); `bare` asks for exp x without parentheses."""

    @abstractmethod
    def indicator(self, op: str, left: Piece, right: Piece) -> Piece:
        """1(left op right)."""

    @abstractmethod
    def comparison(self, op: str, left: Piece, right: Piece) -> Piece:
        """left op right, the condition of a choice."""

    @abstractmethod
    def paren(self, body: Piece) -> Piece:
        """(body)."""

    @abstractmethod
    def transpose(self, base: Piece) -> Piece:
        """baseᵀ; the base is already in parentheses where it needs them."""

    @abstractmethod
    def ones(self) -> Piece:
        """The column of ones."""

    @abstractmethod
    def function_name(self, fn: str) -> Piece:
        """An upright word, such as diag."""

    @abstractmethod
    def spaced(self, character: str) -> Piece:
        """A binary operator at the start of a chunk: the character and a space after it."""

    @abstractmethod
    def apart(self) -> Piece:
        """What keeps a derivative or an indicator apart from the factor before or after it."""

    def beside_word(self) -> Piece:
        """What keeps a word apart from the factor before or after it, where `space` does not show."""
        return piece("", 0)

    def tensor(self, of: Tensor, written: Piece) -> Piece:
        """An array's entry or name, for formats that can say more about it."""
        return written

    space: str = " "
    """What stands between factors and between chunks."""


def write(e: Expr, w: Writer) -> Piece:
    """The expression as the writer's format spells it."""
    match e:
        case Const(value):
            negative, rest = signed(e)
            if negative:
                return join([w.symbol("−"), write(rest, w)], NEG)
            return w.number(value)
        case Size(of):
            return w.name(of.name)
        case Index(name, _):
            return w.name(name)
        case Access(tensor, indices):
            return _access(tensor, indices, w)
        case Indicator("==" | "!=" as op, Const() as left, right):
            # 1(i = 0), as one says it.
            return w.indicator(COMPARISONS[op], write(right, w), write(left, w))
        case Indicator(op, left, right):
            return w.indicator(COMPARISONS[op], write(left, w), write(right, w))
        case Apply():
            return _call(e, w, bare=True)
        case Sum(indices, body):
            return _big("sum", indices, body, w)
        case Reduce(op, indices, body):
            return _big(op, indices, body, w)
        case Opaque():
            return _opaque(e, w)
        case Pow():
            return _power(e, w)
        case Partial(body, wrt):
            return _partial(body, wrt, w)
        case Mul(factors):
            return _product(factors, w)
        case Add(terms):
            return _sum(terms, w)
    raise TypeError(f"no notation for the node {type(e).__name__}")


def wrapped(e: Expr, at_least: int, w: Writer) -> Piece:
    """The expression, in parentheses unless it binds at least so strongly."""
    written = write(e, w)
    if written.strength >= at_least:
        return written
    if isinstance(e, Apply):
        return _call(e, w, bare=False)
    return w.paren(written)


def _access(tensor: Tensor, indices: tuple[Expr, ...], w: Writer) -> Piece:
    plain = all(isinstance(i, Index) and len(i.name.rstrip("′'")) == 1 for i in indices)
    entry = w.entry(tensor.name, [write(i, w) for i in indices], plain)
    return w.tensor(tensor, w.derivative(w.name(w.loss), entry) if tensor.role == "adjoint" else entry)


def _call(e: Apply, w: Writer, bare: bool) -> Piece:
    argument = e.args[0] if len(e.args) == 1 else None
    simple = isinstance(argument, Index | Size) or (
        isinstance(argument, Access) and argument.tensor.role != "adjoint"
    )
    written = [write(a, w) for a in e.args]
    if e.fn == "where" and isinstance(e.args[0], Indicator):
        condition = e.args[0]
        sides = write(condition.left, w), write(condition.right, w)
        written[0] = w.comparison(COMPARISONS[condition.op], *sides)
    return w.call(e.fn, written, bare and simple)


def _opaque(e: Opaque, w: Writer) -> Piece:
    """(A⁻¹)_ij, det A or log |det A|; a matrix without a name is written by its entry, (…)_de."""
    match e.body:
        case Access(tensor, indices) if indices == e.indices and tensor.role != "adjoint":
            matrix = w.name(tensor.name)
        case _:
            matrix = w.subscript(w.paren(write(e.body, w)), [w.name(i.name) for i in e.indices])
    if e.fn == "inv":
        inverse = w.power(matrix, join([w.symbol("−"), w.number(Fraction(1))], NEG))
        return w.subscript(w.paren(inverse), [write(a, w) for a in e.at])
    determinant = w.call("det", [matrix], True)
    return determinant if e.fn == "det" else w.call("log", [w.call("abs", [determinant], False)], False)


def _big(op: str, indices: tuple[Index, ...], body: Expr, w: Writer) -> Piece:
    sign = w.big(op, [w.name(i.name) for i in indices])
    return join([sign, wrapped(body, BIG, w)], BIG)


def _partial(body: Expr, wrt: Access, w: Writer) -> Piece:
    bottom = write(wrt, w)
    if wrt.tensor.role == "adjoint":
        bottom = w.paren(bottom)
    if isinstance(body, Access) and body.tensor.role != "adjoint":
        return w.derivative(write(body, w), bottom)
    return join([w.operator(bottom), w.paren(write(body, w))], MUL)


def _power(e: Pow, w: Writer) -> Piece:
    if isinstance(e.exponent, Const) and e.exponent.value < 0:
        return _product((e,), w)
    if isinstance(e.exponent, Const) and e.exponent.value == Fraction(1, 2):
        return w.root(write(e.base, w))
    base = write(e.base, w)
    if isinstance(e.base, Apply):
        base = _call(e.base, w, bare=False)
    base = base if base.strength == ATOM else w.paren(base)
    return w.power(base, write(e.exponent, w))


def flat_product(factors: tuple[Expr, ...]) -> Mul:
    """The product with nested products spliced in, because the written product is associative.

    A nested product with a minus of its own stays apart unless it comes first: a · (−b).
    """
    flat: list[Expr] = []
    for f in factors:
        if isinstance(f, Mul) and f.factors:
            inner = flat_product(f.factors)
            if not flat or not split_sign(inner)[0]:
                flat += inner.factors
                continue
        flat.append(f)
    return Mul(tuple(flat))


def signed(e: Expr) -> tuple[bool, Expr]:
    """Whether the expression is written with a leading minus, and what follows it."""
    return split_sign(flat_product(e.factors) if isinstance(e, Mul) else e)


def _sides(factors: Iterable[Expr]) -> tuple[list[Expr], list[Expr]]:
    """Factors above and below the fraction bar."""
    above: list[Expr] = []
    below: list[Expr] = []
    for f in factors:
        match f:
            case Pow(base, Const(exponent)) if exponent < 0:
                below.append(base if exponent == -1 else Pow(base, Const(-exponent)))
            case Const(Fraction() as value) if "/" in number(value) and value > 0:
                if value.numerator != 1:
                    above.append(Const(Fraction(value.numerator)))
                below.append(Const(Fraction(value.denominator)))
            case _:
                above.append(f)
    return above, below


WIDEST_ABOVE = 24
"""A sum of terms that is wider than this stands beside a fraction, where it can be broken."""


def _stays_out(e: Expr, w: Writer) -> bool:
    """Whether a factor reads better beside a fraction than above its bar."""
    if isinstance(e, Add):
        return write(e, w).width > WIDEST_ABOVE
    return isinstance(e, Sum | Reduce | Partial) or (isinstance(e, Access) and e.tensor.role == "adjoint")


def _product(factors: tuple[Expr, ...], w: Writer) -> Piece:
    if not factors:
        return w.number(Fraction(1))
    product = flat_product(factors)
    negative, rest = split_sign(product)
    if negative:
        return join([w.symbol("−"), wrapped(rest, BIG, w)], NEG)
    above, below = _sides(product.factors)
    if not below:
        return _row(above, w)
    outside = [f for f in above if _stays_out(f, w)]
    inside = [f for f in above if f not in outside]
    top = _row(inside, w) if inside else w.number(Fraction(1))
    bottom = _row(below, w)
    if len(below) == 1 and isinstance(below[0], Apply):
        bottom = _call(below[0], w, bare=False)
    fraction = w.fraction(top, bottom)
    if not outside:
        return fraction
    if fraction.strength <= QUOTIENT:
        fraction = w.paren(fraction)
    if len(outside) == 1 and isinstance(outside[0], Add):
        # A break inside the parentheses reads better than one before them.
        return join([fraction, piece(w.space), wrapped(outside[0], BIG, w)], MUL)
    return join([fraction, Break(1, w.space), _row(outside, w)], MUL)


def _row(factors: Sequence[Expr], w: Writer) -> Piece:
    """Factors side by side, a dot between those that would run together."""
    if len(factors) == 1:
        return write(factors[0], w)
    parts: list[Piece | Break] = []
    before = factors[0]
    for place, factor in enumerate(factors):
        last = place == len(factors) - 1
        open_ended = last and isinstance(factor, Sum | Reduce | Apply)
        written = wrapped(factor, BIG if open_ended else FRACTION, w)
        if place:
            parts.append(Break(1, w.space))
            if isinstance(factor, Const):
                parts.append(w.spaced("·"))
            elif not isinstance(factor, Sum | Reduce) and (_stands_apart(before) or _stands_apart(factor)):
                parts.append(w.apart())
            elif _is_word(before) or _is_word(factor):
                parts.append(w.beside_word())
        parts.append(written)
        before = factor
    return join(parts, BIG if isinstance(factors[-1], Sum | Reduce) else MUL)


def _stands_apart(e: Expr) -> bool:
    """Whether a factor would run together with its neighbours."""
    return isinstance(e, Partial | Indicator) or (isinstance(e, Access) and e.tensor.role == "adjoint")


def _is_word(e: Expr) -> bool:
    return isinstance(e, Access) and len(parse_name(e.tensor.name).base) > 1


def _sum(terms: tuple[Expr, ...], w: Writer) -> Piece:
    if not terms:
        return w.number(Fraction(0))
    if len(terms) == 1:
        return write(terms[0], w)
    parts: list[Piece | Break] = []
    for place, term in enumerate(terms):
        negative, rest = signed(term)
        last = place == len(terms) - 1
        # max_j a − b would read as the maximum of a − b.
        written = wrapped(rest, MUL if isinstance(rest, Reduce) and not last else BIG, w)
        if place:
            parts += [Break(0, w.space), w.spaced("−" if negative else "+"), written]
        else:
            parts += [w.symbol("−"), written] if negative else [written]
    return join(parts, ADD)
