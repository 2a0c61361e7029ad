"""The recursive-descent parser of the formula grammar, which `chalkgrad.expr.grammar` states."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

from chalkgrad.errors import FormulaError
from chalkgrad.expr.syntax import (
    Binder,
    Call,
    Condition,
    Declaration,
    Derivative,
    Entry,
    Equation,
    Factors,
    MatrixFunction,
    Name,
    Negative,
    Number,
    Parameter,
    Power,
    RangeSize,
    Statement,
    Syntax,
    Terms,
)
from chalkgrad.expr.tokens import Token, error, tokens

MAX_DEPTH = 50
MAX_NODES = 5_000
MAX_DIGITS = 40
MAX_EXPONENT = 400
LARGEST, SMALLEST = Fraction(sys.float_info.max), Fraction(sys.float_info.min)

COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")
BINDERS = ("sum", "mean", "max", "min", "prod")
MATRIX_FUNCTIONS = {"inv": 2, "det": 0, "logdet": 0}
"""Functions of a matrix, with how many indices their value has."""
OF_TWO = {"max": " The larger of two is maximum(a, b).", "min": " The smaller of two is minimum(a, b)."}
KEYWORDS: dict[str, type[RangeSize | Parameter]] = {"range": RangeSize, "parameter": Parameter}
WHOLE = {"//": "floordiv", "%": "mod"}


class Parser:
    """Tokens to syntax; `depth` and `nodes` count against the caps."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tokens = tokens(source)
        self.at = 0
        self.depth = 0
        self.nodes = 0

    # --- tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def peek(self, ahead: int = 1) -> Token:
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def is_op(self, *texts: str, ahead: int = 0) -> bool:
        token = self.peek(ahead)
        return token.kind == "op" and token.text in texts

    def advance(self) -> Token:
        token = self.token
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def expect(self, text: str, opened: Token) -> Token:
        if self.is_op(text):
            return self.advance()
        if self.token.kind in ("end", "newline") or self.is_op(")", "]"):
            raise error(self.source, opened, f"This '{opened.text}' is never closed by '{text}'.")
        raise self.unexpected(f"Expected '{text}'")

    def unexpected(self, wanted: str) -> FormulaError:
        token = self.token
        if token.kind == "end":
            return error(self.source, token, f"{wanted}, but the text ends here.")
        if token.kind == "newline":
            return error(self.source, token, f"{wanted}, but the line ends here.")
        hint = ""
        if token.kind in ("name", "number", "adjoint") or token.text in ("(", "["):
            hint = "A product needs its sign, 2 * x, and a function its brackets, exp(x)."
        return error(self.source, token, f"{wanted}, found '{self.source[token.start : token.end]}'.", hint)

    def count(self, at: Token) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise error(self.source, at, f"This formula has more than {MAX_NODES} parts.")

    def deeper(self, at: Token) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise error(
                self.source,
                at,
                f"This formula is nested more than {MAX_DEPTH} deep.",
                "Name a part of it on its own line.",
            )

    # --- statements

    def statements(self) -> tuple[Statement, ...]:
        if self.token.kind == "end":
            raise FormulaError(
                "The formula is empty.",
                hint='Write for example "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]".',
                source=self.source.split("\n", 1)[0],
                position=0,
            )
        found = [self.statement()]
        while self.token.kind == "newline":
            self.advance()
            found.append(self.statement())
        self.finish()
        return tuple(found)

    def statement(self) -> Statement:
        if self.token.kind == "name" and self.is_op(":", ahead=1):
            return self.declaration()
        if self.token.text in KEYWORDS and self.peek().kind == "name" and self.is_op(":", ahead=2):
            return self.keyword()
        left = self.sum()
        if not self.is_op("="):
            return Equation(left.start, left.end, None, left)
        self.advance()
        right = self.sum()
        if self.is_op("="):
            raise error(self.source, self.token, "A line holds one '='.", "A comparison is written ==.")
        return Equation(left.start, right.end, left, right)

    def declaration(self) -> Declaration:
        name = self.name()
        self.advance()
        words: list[Name] = []
        while self.token.kind == "name" or self.is_op(","):
            if not self.is_op(","):
                words.append(self.name())
            else:
                self.advance()
        if self.token.kind not in ("newline", "end"):
            raise self.unexpected("Expected range names")
        return Declaration(name.start, (words or [name])[-1].end, name, tuple(words))

    def keyword(self) -> RangeSize | Parameter:
        first = self.advance()
        name = self.name()
        self.advance()
        value = self.sum()
        return KEYWORDS[first.text](first.start, value.end, name, value)

    def finish(self) -> None:
        if self.token.kind != "end":
            if self.is_op(")", "]"):
                raise error(self.source, self.token, f"This '{self.token.text}' was never opened.")
            if self.is_op(*COMPARISONS):
                raise self.misplaced_comparison()
            raise self.unexpected("Expected an operator or the end of the line")

    def misplaced_comparison(self) -> FormulaError:
        hint = "Write 1(a > b) for one where a > b and zero elsewhere."
        message = "A comparison can only stand in 1(...) or where(...)."
        return error(self.source, self.token, message, hint)

    # --- expressions

    def sum(self) -> Syntax:
        first = self.token
        self.deeper(first)
        terms: list[tuple[bool, Syntax]] = []
        while True:
            sign, minus = self.token, False
            if terms:
                minus = self.advance().text == "-"
            term = self.signed(self.product)
            terms.append((minus, term))
            self.count(sign)
            if not self.is_op("+", "-"):
                break
        self.depth -= 1
        if len(terms) == 1:
            return terms[0][1]
        return Terms(first.start, terms[-1][1].end, tuple(terms))

    def signed(self, operand: Callable[[], Syntax]) -> Syntax:
        """An operand after any number of signs: a leading minus covers all that `operand` reads."""
        first, minus = self.token, False
        while self.is_op("-", "+"):
            self.count(self.token)
            minus ^= self.advance().text == "-"
        found = operand()
        return Negative(first.start, found.end, found) if minus else found

    def product(self) -> Syntax:
        factors: list[tuple[bool, Syntax]] = [(False, self.factor())]
        while self.is_op("*", "/", *WHOLE):
            self.count(self.token)
            op = self.advance().text
            right = self.signed(self.factor)
            if op in WHOLE:
                # a * b // c is (a * b) // c, as everywhere.
                left = _product(factors)
                factors = [(False, Call(left.start, right.end, WHOLE[op], (left, right)))]
            else:
                factors.append((op == "/", right))
        return _product(factors)

    def factor(self) -> Syntax:
        base = self.atom()
        if not self.is_op("^"):
            return base
        self.deeper(self.advance())
        exponent = self.signed(self.factor)
        self.depth -= 1
        return Power(base.start, exponent.end, base, exponent)

    def atom(self) -> Syntax:
        token = self.token
        self.count(token)
        if token.kind == "number":
            if token.text == "1" and self.is_op("(", ahead=1):
                return self.indicator()
            return self.number()
        if token.kind == "adjoint":
            return self.access(adjoint=True)
        if token.kind == "name":
            if token.text == "d" and self.peek().kind in ("name", "adjoint"):
                return self.derivative()
            if not self.is_op("(", ahead=1):
                return self.access()
            if token.text in MATRIX_FUNCTIONS:
                return self.matrix_function()
            return self.binder() if token.text in BINDERS else self.call()
        if self.is_op("("):
            opened = self.advance()
            inside = self.sum()
            closed = self.expect(")", opened)
            # The place of a part includes its brackets, so that texts can be cut out of the source.
            return replace(inside, start=opened.start, end=closed.end)
        raise self.unexpected("Expected a number, a name or a bracket")

    def number(self) -> Number:
        token = self.advance()
        exponent = token.text.lower().partition("e")[2] or "0"
        if len(token.text) > MAX_DIGITS or abs(int(exponent)) > MAX_EXPONENT:
            raise error(
                self.source,
                token,
                f"A number has at most {MAX_DIGITS} characters and exponent {MAX_EXPONENT}.",
            )
        value = Fraction(token.text)
        if value > LARGEST or 0 < value < SMALLEST:
            size = "large" if value > 1 else "small"
            raise error(self.source, token, f"This number is too {size} for a float.")
        return Number(token.start, token.end, value)

    def name(self) -> Name:
        token = self.advance()
        return Name(token.start, token.end, token.text)

    def indicator(self) -> Syntax:
        one, opened = self.advance(), self.advance()
        inside = self.condition()
        closed = self.expect(")", opened)
        if not isinstance(inside, Condition):
            raise error(
                self.source, inside, "1(...) is an indicator and needs a comparison inside.",
                "Write 1(j == k), or 1 * (...) for a product.",
            )  # fmt: skip
        return Condition(one.start, closed.end, inside.op, inside.left, inside.right)

    def condition(self) -> Syntax:
        left = self.sum()
        if self.is_op("="):
            raise error(self.source, self.token, "A comparison is written ==, with two equal signs.")
        if not self.is_op(*COMPARISONS):
            return left
        op = self.advance().text
        right = self.sum()
        return Condition(left.start, right.end, op, left, right)

    def access(self, adjoint: bool = False) -> Name | Entry:
        token = self.advance()
        if not self.is_op("["):
            return Name(token.start, token.end, token.text, adjoint)
        indices, closed = self.brackets()
        return Entry(token.start, closed.end, token.text, indices, adjoint)

    def brackets(self) -> tuple[tuple[Syntax, ...], Token]:
        """[index, ...] and its closing bracket."""
        opened = self.advance()
        if self.is_op("]"):
            raise error(
                self.source,
                self.token,
                "There is no index in these brackets.",
                "A scalar has none: write the name alone.",
            )
        indices = [self.sum()]
        while self.is_op(","):
            self.advance()
            indices.append(self.sum())
        return tuple(indices), self.expect("]", opened)

    def call(self) -> Syntax:
        token, opened = self.advance(), self.advance()
        args: list[Syntax] = []
        if not self.is_op(")"):
            args.append(self.condition() if token.text == "where" else self.sum())
            while self.is_op(","):
                self.advance()
                args.append(self.sum())
        if self.is_op(*COMPARISONS):
            raise self.misplaced_comparison()
        closed = self.expect(")", opened)
        if (
            token.text == "d"
            and len(args) == 1
            and self.is_op("/")
            and self.peek().text == "d"
            and self.peek(2).kind == "name"
        ):
            return self.quotient_by(token, args[0])
        return Call(token.start, closed.end, token.text, tuple(args))

    def derivative(self) -> Derivative:
        first = self.advance()
        self.deeper(first)
        body = self.atom()
        self.depth -= 1
        return self.quotient_by(first, body)

    def quotient_by(self, first: Token, body: Syntax) -> Derivative:
        """The rest of `d body / d wrt` after its body."""
        if not (self.is_op("/") and self.peek().kind == "name" and self.peek().text == "d"):
            raise self.unexpected("Expected '/ d' and what the derivative is taken by")
        self.advance()
        self.advance()
        if self.token.kind != "name":
            raise self.unexpected("Expected the value that the derivative is taken by")
        wrt = self.access()
        return Derivative(first.start, wrt.end, body, wrt)

    def binder(self) -> Binder:
        token, opened = self.advance(), self.advance()
        indices: list[Name] = []
        while (run := self.names_before_comma()) > 0:
            indices += [self.name() for _ in range(run)]
            self.advance()
        if not indices:
            hint = f"Write {token.text}(d, body), or {token.text}(i k, body) for several."
            hint += OF_TWO.get(token.text, "")
            raise error(self.source, self.token, f"{token.text} needs its index first.", hint)
        body = self.sum()
        closed = self.expect(")", opened)
        return Binder(token.start, closed.end, token.text, tuple(indices), body)

    def matrix_function(self) -> MatrixFunction:
        token, opened = self.advance(), self.advance()
        if self.names_before_comma() != 2:
            raise error(
                self.source,
                self.token,
                f"{token.text} needs the two indices of its matrix first.",
                f"Write {token.text}(i j, A[i,j]){'[a,b]' if MATRIX_FUNCTIONS[token.text] else ''}.",
            )
        names = (self.name(), self.name())
        self.advance()
        body = self.sum()
        closed = self.expect(")", opened)
        at: tuple[Syntax, ...] = ()
        if self.is_op("["):
            at, closed = self.brackets()
        found = MatrixFunction(token.start, closed.end, token.text, names, body, at)
        if len(at) != MATRIX_FUNCTIONS[token.text]:
            entry = "the two indices of the entry: inv(i j, A[i,j])[a,b]"
            wanted = entry if MATRIX_FUNCTIONS[token.text] else "no indices"
            raise error(self.source, found, f"After {token.text}(...) come {wanted}.")
        return found

    def names_before_comma(self) -> int:
        """How many names in a row stand here, if a comma follows them; else 0."""
        run = 0
        while self.peek(run).kind == "name":
            run += 1
        return run if self.is_op(",", ahead=run) else 0


def _product(factors: list[tuple[bool, Syntax]]) -> Syntax:
    if len(factors) == 1:
        return factors[0][1]
    return Factors(factors[0][1].start, factors[-1][1].end, tuple(factors))
