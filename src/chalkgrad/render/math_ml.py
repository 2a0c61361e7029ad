"""Expressions as MathML Core, which browsers draw without a script or a font of ours.

A chunk becomes a `<math>` element of its own, so that a long line wraps like text on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from html import escape

from chalkgrad.expr.matrix import Matrix
from chalkgrad.expr.names import parse_name
from chalkgrad.expr.nodes import Expr, Tensor
from chalkgrad.expr.text import number
from chalkgrad.render.matrices import write_matrix
from chalkgrad.render.notation import Writer, write
from chalkgrad.render.pieces import ATOM, BIG, FRACTION, FUNCTION, POWER, Piece, join, piece

ACCENT_SIGNS = {"hat": "^", "bar": "¯", "tilde": "~"}
BIG_SIGNS = {"sum": "<mo>∑</mo>", "prod": "<mo>∏</mo>", "max": "<mi>max</mi>", "min": "<mi>min</mi>"}
FUNCTION_NAMES = {"sigmoid": "σ", "maximum": "max", "minimum": "min"}
WIDEST_STRETCHED = 36
"""Parentheses around more than this many characters may be broken over lines instead of growing."""


def _row(p: Piece | str) -> str:
    return f"<mrow>{p if isinstance(p, str) else p.text}</mrow>"


def _name(written: str) -> tuple[str, str, int]:
    """A name without its tag, the tag, and the width of both."""
    name = parse_name(written)
    base = f"<mi>{escape(name.base)}</mi>"
    if name.accent:
        sign = f'<mo stretchy="false">{ACCENT_SIGNS[name.accent]}</mo>'
        base = f'<mover accent="true">{base}{sign}</mover>'
    if name.primes:
        base = f'<mrow>{base}<mo lspace="0" rspace="0">{"′" * name.primes}</mo></mrow>'
    tag = f"<mrow><mo stretchy='false'>(</mo><mn>{name.tag}</mn><mo stretchy='false'>)</mo></mrow>"
    if not name.tag.isdigit():
        tag = f"<mtext>{escape(name.tag)}</mtext>" if name.tag else ""
    return base, tag, len(name.base) + len(name.tag)


class MathMLWriter(Writer):
    """Spells mathematics in MathML Core.

    Args:
        loss: The name of what is differentiated.
        marks: A class for each array; its entries carry it and can take the focus.
        tab: Whether the Tab key stops at them.
        flat: Small fractions and derivatives with a slash, as in a sentence.
    """

    space = " "

    def __init__(
        self,
        loss: str = "L",
        marks: Mapping[Tensor, str] | None = None,
        tab: bool = False,
        flat: bool = False,
    ) -> None:
        super().__init__(loss)
        self.flat = flat
        self.marks = marks or {}
        self.focus = 0 if tab else -1

    def tensor(self, of: Tensor, written: Piece) -> Piece:
        mark = self.marks.get(of)
        if mark is None:
            return written
        text = f'<mrow class="t {mark}" tabindex="{self.focus}">{written.text}</mrow>'
        return piece(text, written.width, written.strength, written.tall)

    def number(self, value: Fraction | float) -> Piece:
        if isinstance(value, float):
            return piece("<mi>∞</mi>", 1)
        if "/" in number(value):
            text = f"<mfrac><mn>{value.numerator}</mn><mn>{value.denominator}</mn></mfrac>"
            return piece(text, 2, FRACTION, tall=True)
        return piece(f"<mn>{number(value)}</mn>", len(number(value)))

    def name(self, written: str) -> Piece:
        return self.entry(written, (), True)

    def symbol(self, character: str) -> Piece:
        return piece(f'<mo form="prefix">{escape(character)}</mo>', 1)

    def spaced(self, character: str) -> Piece:
        return piece(f'<mo form="infix">{escape(character)}</mo>', 3)

    def apart(self) -> Piece:
        return piece('<mspace width="0.17em"></mspace>', 1)

    def beside_word(self) -> Piece:
        return self.apart()

    def entry(self, written: str, indices: Sequence[Piece], plain: bool) -> Piece:
        base, tag, width = _name(written)
        comma = "" if plain else "<mo>,</mo>"
        below = _row(comma.join(i.text for i in indices))
        width += sum(i.width for i in indices) + (0 if plain else len(indices))
        if indices and tag:
            return piece(f"<msubsup>{base}{below}{tag}</msubsup>", width)
        if indices:
            return piece(f"<msub>{base}{below}</msub>", width)
        return piece(f"<msup>{base}{tag}</msup>" if tag else base, width)

    def subscript(self, base: Piece, indices: Sequence[Piece]) -> Piece:
        below = _row("".join(i.text for i in indices))
        return piece(f"<msub>{_row(base)}{below}</msub>", base.width + sum(i.width for i in indices))

    def derivative(self, top: Piece, bottom: Piece) -> Piece:
        return self.fraction(self._partial(top), self._partial(bottom))

    def _partial(self, p: Piece) -> Piece:
        return piece('<mi mathvariant="normal">∂</mi>' + p.text, p.width + 1)

    def operator(self, bottom: Piece) -> Piece:
        return piece(self.fraction(self._partial(piece("", 0)), self._partial(bottom)).text, bottom.width + 1)

    def fraction(self, top: Piece, bottom: Piece) -> Piece:
        if self.flat and min(top.strength, bottom.strength) >= POWER and not (top.tall or bottom.tall):
            text = f"<mrow>{top.text}<mo lspace='0' rspace='0'>/</mo>{bottom.text}</mrow>"
            return piece(text, top.width + bottom.width + 1, FRACTION)
        text = f"<mfrac>{_row(top)}{_row(bottom)}</mfrac>"
        return piece(text, max(top.width, bottom.width) + 1, FRACTION, tall=True)

    def power(self, base: Piece, exponent: Piece) -> Piece:
        text = f"<msup>{_row(base)}{_row(exponent)}</msup>"
        return piece(text, base.width + exponent.width, POWER, base.tall)

    def root(self, body: Piece) -> Piece:
        return piece(f"<msqrt>{_row(body)}</msqrt>", body.width + 1, ATOM, body.tall)

    def big(self, op: str, indices: Sequence[Piece]) -> Piece:
        under = _row("<mo>,</mo>".join(i.text for i in indices))
        text = f'<munder>{BIG_SIGNS[op]}{under}</munder><mspace width="0.17em"></mspace>'
        return piece(text, 2 if op == "sum" else 4, BIG, tall=True)

    def call(self, fn: str, args: Sequence[Piece], bare: bool) -> Piece:
        if fn == "pi":
            return piece("<mi>π</mi>", 1)
        if fn == "sqrt":
            return self.root(args[0])
        if fn == "abs":
            return piece(
                f"<mrow><mo>|</mo>{args[0].text}<mo>|</mo></mrow>", args[0].width + 2, ATOM, args[0].tall
            )
        head = self.function_name(FUNCTION_NAMES.get(fn, fn))
        if bare and fn != "sigmoid":
            return join([head, piece('<mspace width="0.17em"></mspace>', 1), args[0]], FUNCTION)
        inner = [part for a in args for part in (piece("<mo>,</mo>", 2), a)][1:]
        return join([head, self.paren(join(inner, 0))], ATOM)

    def indicator(self, op: str, left: Piece, right: Piece) -> Piece:
        return join([self.ones(), self.paren(self.comparison(op, left, right))], ATOM)

    def comparison(self, op: str, left: Piece, right: Piece) -> Piece:
        return piece(f"{left.text}<mo>{escape(op)}</mo>{right.text}", left.width + right.width + 3)

    def paren(self, body: Piece) -> Piece:
        """Parentheses that grow with their content, or that may be broken where it is long."""
        if body.width <= WIDEST_STRETCHED or len(body.chunks) == 1:
            return piece(f"<mrow><mo>(</mo>{body.text}<mo>)</mo></mrow>", body.width + 2, ATOM, body.tall)
        left = piece('<mo form="prefix" stretchy="false">(</mo>', 1)
        right = piece('<mo form="postfix" stretchy="false">)</mo>', 1)
        return join([left, body, right], ATOM, deeper=2)

    def transpose(self, base: Piece) -> Piece:
        return piece(f'<msup>{_row(base)}<mi mathvariant="normal">⊤</mi></msup>', base.width + 1, POWER)

    def ones(self) -> Piece:
        return piece('<mn class="bold">1</mn>', 1)

    def function_name(self, fn: str) -> Piece:
        return piece(f'<mi mathvariant="normal">{escape(fn)}</mi>', len(fn))


def math_ml(
    e: Expr | Matrix,
    loss: str = "L",
    *,
    relation: str = "",
    display: bool = True,
    marks: Mapping[Tensor, str] | None = None,
    tab: bool = False,
) -> str:
    """The expression as `<math>` elements, one for each part that must stay on a line.

    Args:
        e: What to write.
        loss: The name of what is differentiated.
        relation: A sign such as "=" to put in front.
        display: Tall sums and fractions, as on a line of their own.
        marks, tab: See `MathMLWriter`.
    """
    w = MathMLWriter(loss, marks, tab, flat=not display)
    written = write(e, w) if isinstance(e, Expr) else write_matrix(e, w)
    head = f'<mo form="infix">{relation}</mo>' if relation else ""
    style = ' displaystyle="true"' if display else ""
    parts = [chunk.text for chunk in written.chunks]
    parts[0] = head + parts[0]
    return " ".join(f"<math{style}><mrow>{part}</mrow></math>" for part in parts)
