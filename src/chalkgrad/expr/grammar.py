"""The formula grammar: text to a small frozen syntax tree with places, by a parser of our own.

    text       ::=  statement { (newline | ';') statement }         # starts a comment
    statement  ::=  name ':' { name }  |  ('range' | 'parameter') name ':' sum  |  sum [ '=' sum ]
    sum        ::=  ['-'] product { ('+' | '-') product }
    product    ::=  factor { ('*' | '/' | '//' | '%') factor }
    factor     ::=  '-' factor  |  atom [ ('^' | '**') factor ]
    atom       ::=  number | name | name '[' sum {',' sum} ']' | name '(' [ condition {',' sum} ] ')'
                 |  '1' '(' condition ')'  |  '(' sum ')'  |  'd' atom '/' 'd' atom
                 |  binder '(' name { [','] name } ',' sum ')'
                 |  matrix '(' name name ',' sum ')' [ '[' sum ',' sum ']' ]
    condition  ::=  sum [ ('==' | '!=' | '<' | '<=' | '>' | '>=') sum ]
    binder     ::=  'sum' | 'mean' | 'max' | 'min' | 'prod'
    matrix     ::=  'inv' | 'det' | 'logdet'

A power binds tighter than a minus: -x^2 is -(x^2). `dL/df[i,k]` is one name, the adjoint of f.
A newline ends a statement unless a bracket is open, an operator is waiting, or the next line starts
with one (for `-`: and is indented). Length, depth and the number of nodes are capped; time is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chalkgrad.expr import arithmetic
from chalkgrad.expr.nodes import Apply, Const, Expr, Indicator, Mul
from chalkgrad.expr.parser import Parser
from chalkgrad.expr.syntax import (
    Call,
    Condition,
    Factors,
    Name,
    Negative,
    Number,
    Power,
    Statement,
    Syntax,
    Terms,
)
from chalkgrad.expr.tokens import error

CONSTANTS = ("pi",)


def parse(source: str) -> tuple[Statement, ...]:
    """The statements of a text.

    Raises:
        FormulaError: With a caret, where the text does not follow the grammar or exceeds a cap.

    Example:
        >>> [type(s).__name__ for s in parse("p[i] = exp(x[i]); p[i] / sum(i, p[i])")]
        ['Equation', 'Equation']
    """
    return Parser(source).statements()


def parse_expression(source: str) -> Syntax:
    """The syntax tree of a text that is one expression."""
    parser = Parser(source)
    tree = parser.sum()
    parser.finish()
    return tree


def scalar(text: str, names: Mapping[str, Expr]) -> Expr:
    """The expression for scalar text without indices, such as a derivative in the primitives table.

    Args:
        text: For example "1/2 * (1 + erf(x / sqrt(2)))" or "1(a > b) + 1/2 * 1(a == b)".
        names: What each name stands for.

    Raises:
        FormulaError: For text outside the grammar, an index bracket or an unknown name.

    Example:
        >>> from chalkgrad.expr.nodes import ONE
        >>> str(scalar("1 - y^2", {"y": ONE}))
        '1 - 1^2'
    """
    return _scalar(parse_expression(text), text, names)


def _scalar(tree: Syntax, source: str, names: Mapping[str, Expr]) -> Expr:
    def lower(part: Syntax) -> Expr:
        return _scalar(part, source, names)

    match tree:
        case Name(_, _, name, False) if name in names:
            return names[name]
        case Name(_, _, name, False) if name in CONSTANTS:
            return Apply(name, ())
        case Call(_, _, name, args):
            return Apply(name, tuple(map(lower, args)))
        case Condition(_, _, op, left, right):
            return Indicator(op, lower(left), lower(right))
    found = lower_arithmetic(tree, source, lower)
    if found is not None:
        return found
    raise error(source, tree, "Only numbers, known names, functions and arithmetic can stand here.")


def lower_arithmetic(tree: Syntax, source: str, lower: Callable[[Syntax], Expr]) -> Expr | None:
    """The expression of a number, sum, product, minus or power, its parts by `lower`; else None.

    Raises:
        FormulaError: At a division by the number 0.
    """
    match tree:
        case Number(_, _, value):
            return Const(value)
        case Negative(_, _, operand):
            return arithmetic.negate(lower(operand))
        case Power(_, _, base, exponent):
            return arithmetic.power(lower(base), lower(exponent))
        case Terms(_, _, terms):
            return arithmetic.add(
                tuple(arithmetic.negate(lower(t)) if minus else lower(t) for minus, t in terms)
            )
        case Factors(_, _, factors):
            return _product(factors, source, lower)
    return None


def _product(factors: tuple[tuple[bool, Syntax], ...], source: str, lower: Callable[[Syntax], Expr]) -> Expr:
    written: list[Expr] = []
    for divides, factor in factors:
        value = lower(factor)
        if not divides:
            written.append(value)
            continue
        try:
            whole = arithmetic.divide(arithmetic.multiply(tuple(written)), value)
        except ZeroDivisionError:
            raise error(source, factor, "This divides by zero.") from None
        written = list(whole.factors) if isinstance(whole, Mul) else [whole]
    return arithmetic.multiply(tuple(written))
