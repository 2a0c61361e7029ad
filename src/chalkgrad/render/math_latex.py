r"""Expressions as LaTeX that pdflatex, KaTeX and MathJax read: `\sum_{i} x_{id} \frac{\partial L}{...}`.

All text from outside passes through `escape`, the one place where LaTeX's special characters are
dealt with. Spacing uses words (`\thinspace`), because Markdown eats a backslash before punctuation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from chalkgrad.expr.matrix import Matrix
from chalkgrad.expr.names import ACCENTS, GREEK_COMMANDS, parse_name
from chalkgrad.expr.nodes import Expr
from chalkgrad.expr.text import number
from chalkgrad.primitives import PRIMITIVES
from chalkgrad.render.matrices import write_matrix
from chalkgrad.render.notation import Writer, write
from chalkgrad.render.pieces import ATOM, BIG, FRACTION, FUNCTION, POWER, Piece, join, piece

SYMBOLS = {
    "−": "-", "·": r"\cdot", "∘": r"\circ", "≠": r"\neq", "≤": r"\leq", "≥": r"\geq", "∞": r"\infty",
    "⊤": r"\top",
}  # fmt: skip
BIG_SIGNS = {"sum": r"\sum", "prod": r"\prod", "max": r"\max", "min": r"\min"}

TEXT_MATH = {
    **GREEK_COMMANDS, **SYMBOLS, "Σ": r"\textstyle\sum", "∏": r"\prod", "∂": r"\partial", "√": r"\surd",
    "ᵀ": r"^{\top}",
    "²": "^2", "³": "^3", "¹": "^1",
    "⁻": "^{-}", "ˣ": "^x", "½": r"\tfrac12", "→": r"\to",
    "×": r"\times", "′": "'", "∈": r"\in", "≈": r"\approx", "⊙": r"\odot", "∝": r"\propto",
    "⇒": r"\Rightarrow", "✓": r"\checkmark",
}  # fmt: skip
"""Characters of a sentence that LaTeX sets as mathematics."""

TEXT_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "—": "---", "–": "--", "…": r"\dots{}",
    "“": "``", "”": "''", "‘": "`", "’": "'", "<": "$<$", ">": "$>$", "|": "$|$", "\u00a0": "~",
}  # fmt: skip

MARKS = dict(ACCENTS.values())
"""Combining accents and the commands that draw them."""

ACCENTED = re.compile(rf"([A-Za-zα-ωΑ-Ω])([{''.join(MARKS)}])")

SUBSCRIPTED = re.compile(
    rf"(?<![A-Za-z0-9_])([A-Za-zα-ωΑ-Ω∂]{{1,2}}[{''.join(MARKS)}]?)_((?:[a-z]′*){{1,3}})(?![A-Za-z0-9_\[])"
)
"""Index notation inside a sentence: W_dj, Σ_k."""


def escape(text: str) -> str:
    r"""A sentence as LaTeX text: special characters escaped, index notation set as mathematics.

    >>> escape("Σ_k keeps 50% of W_dj")
    '$\\textstyle\\sum_{k}$ keeps 50\\% of $W_{dj}$'
    """
    parts: list[str] = []
    at = 0
    for found in SUBSCRIPTED.finditer(text):
        base = _accented(found[1])
        parts += [_escape_plain(text[at : found.start()]), f"${base}_{{{found[2].replace('′', chr(39))}}}$"]
        at = found.end()
    return "".join(parts) + _escape_plain(text[at:])


def _accented(letters: str) -> str:
    """Letters of a formula, the last perhaps with an accent."""
    mark = MARKS.get(letters[-1])
    head, last = (letters[:-2], letters[-2]) if mark else (letters[:-1], letters[-1])
    written = TEXT_MATH.get(last, last)
    return "".join(TEXT_MATH.get(c, c) for c in head) + (rf"{mark}{{{written}}}" if mark else written)


def _escape_plain(text: str) -> str:
    parts: list[str] = []
    at = 0
    for found in ACCENTED.finditer(text):
        # Only what has no character of its own (x̂, but not ê) is mathematics.
        if len(unicodedata.normalize("NFC", found[0])) == 2:
            parts += [_characters(text[at : found.start()]), f"${_accented(found[0])}$"]
            at = found.end()
    return "".join(parts) + _characters(text[at:])


def _characters(text: str) -> str:
    return "".join(_character(c) for c in unicodedata.normalize("NFC", text))


def _character(c: str) -> str:
    if c in TEXT_SPECIAL:
        return TEXT_SPECIAL[c]
    if c in TEXT_MATH:
        return f"${TEXT_MATH[c]}$"
    if ord(c) < 0x180 or not c.strip():
        return c
    # pdflatex stops at a character it has no glyph for; its number is still a readable stand-in.
    return f"[U+{ord(c):04X}]"


def latex_name(written: str) -> tuple[str, int]:
    r"""A name's LaTeX without its tag, and its width: W, \hat{x}, \mathit{scores}."""
    name = parse_name(written)
    if name.base in GREEK_COMMANDS:
        base = GREEK_COMMANDS[name.base]
    elif len(name.base) == 1 and name.base.isascii() and name.base.isalpha():
        base = name.base
    else:
        base = rf"\mathit{{{_identifier(name.base)}}}"
    if name.accent:
        base = rf"{ACCENTS[name.accent][1]}{{{base}}}"
    return base + "'" * name.primes, len(name.base) + name.primes


def _identifier(text: str) -> str:
    r"""A word for \mathit or \mathrm: letters and digits stay, the rest is escaped as text."""
    return "".join(
        c if c.isascii() and c.isalnum() else TEXT_MATH.get(c) or rf"\text{{{_character(c)}}}" for c in text
    )


class LatexWriter(Writer):
    """Spells mathematics in LaTeX."""

    def number(self, value: Fraction | float) -> Piece:
        if isinstance(value, float):
            return piece(r"\infty", 1)
        if "/" in number(value):
            return piece(rf"\frac{{{value.numerator}}}{{{value.denominator}}}", 2, FRACTION, tall=True)
        return piece(number(value))

    def name(self, written: str) -> Piece:
        return self.entry(written, (), True)

    def symbol(self, character: str) -> Piece:
        return piece(SYMBOLS.get(character, character), 1)

    def spaced(self, character: str) -> Piece:
        return piece(SYMBOLS.get(character, character) + " ", 3)

    def apart(self) -> Piece:
        return piece(r"\thinspace ", 1)

    def beside_word(self) -> Piece:
        return self.apart()

    def entry(self, written: str, indices: Sequence[Piece], plain: bool) -> Piece:
        base, width = latex_name(written)
        tag = parse_name(written).tag
        if tag:
            number = tag.isdigit()
            base += rf"^{{({tag})}}" if number else rf"^{{\mathrm{{{_identifier(tag)}}}}}"
            width += len(tag)
        if indices:
            inner = ("" if plain else r",\thinspace ").join(i.text for i in indices)
            base += f"_{{{inner}}}"
            width += sum(i.width for i in indices) + (0 if plain else len(indices))
        return piece(base, width)

    def subscript(self, base: Piece, indices: Sequence[Piece]) -> Piece:
        below = " ".join(i.text for i in indices)
        return join([base, piece(f"_{{{below}}}", sum(i.width for i in indices))], ATOM)

    def derivative(self, top: Piece, bottom: Piece) -> Piece:
        text = rf"\frac{{\partial {top.text}}}{{\partial {bottom.text}}}"
        return piece(text, max(top.width, bottom.width) + 1, FRACTION, tall=True)

    def operator(self, bottom: Piece) -> Piece:
        return piece(rf"\frac{{\partial}}{{\partial {bottom.text}}}", bottom.width + 1, tall=True)

    def fraction(self, top: Piece, bottom: Piece) -> Piece:
        text = rf"\frac{{{top.text}}}{{{bottom.text}}}"
        return piece(text, max(top.width, bottom.width) + 1, FRACTION, tall=True)

    def power(self, base: Piece, exponent: Piece) -> Piece:
        return piece(_raised(base.text, exponent.text), base.width + exponent.width, POWER, base.tall)

    def root(self, body: Piece) -> Piece:
        return piece(rf"\sqrt{{{body.text}}}", body.width + 1, ATOM, body.tall)

    def big(self, op: str, indices: Sequence[Piece]) -> Piece:
        inner = ", ".join(i.text for i in indices)
        return piece(rf"{BIG_SIGNS[op]}_{{{inner}}} ", 2 if op == "sum" else 4, BIG, tall=True)

    def call(self, fn: str, args: Sequence[Piece], bare: bool) -> Piece:
        width = sum(a.width + 1 for a in args) + len(fn)
        template = PRIMITIVES[fn].latex if fn in PRIMITIVES else ""
        head = template.partition(r"\left(")[0].replace("{{", "{").replace("}}", "}")
        places = r",\, ".join(f"{{{n}}}" for n in range(len(args)))
        if template.partition(r"\left(")[2] == places + r"\right)":
            if bare and head != r"\sigma":
                return join([piece(head + " ", len(fn) + 1), args[0]], FUNCTION)
            inner = [part for a in args for part in (piece(r",\thinspace ", 2), a)][1:]
            return join([piece(head, len(fn)), self.paren(join(inner, 0))], ATOM)
        if not template:
            inner = [part for a in args for part in (piece(r",\thinspace ", 2), a)][1:]
            return join([self.function_name(fn), self.paren(join(inner, 0))], ATOM)
        # Other shapes, such as a root or log(1 + x), are the function's own.
        text = template.format(*(a.text for a in args)).replace(r"\,", r"\thinspace")
        return piece(text, width, ATOM, any(a.tall for a in args))

    def indicator(self, op: str, left: Piece, right: Piece) -> Piece:
        inside = self.comparison(op, left, right)
        return piece(rf"\mathbf{{1}}({inside.text})", inside.width + 3)

    def comparison(self, op: str, left: Piece, right: Piece) -> Piece:
        return piece(f"{left.text} {SYMBOLS.get(op, op)} {right.text}", left.width + right.width + 3)

    def paren(self, body: Piece) -> Piece:
        r"""Plain parentheses where they reach; `\left` and `\right` cannot be broken over lines."""
        if not body.tall:
            return join([piece("("), body, piece(")")], ATOM, deeper=2)
        if body.width <= 60:
            return piece(rf"\left( {body.text} \right)", body.width + 3, ATOM, tall=True)
        return join([piece(r"\Bigl( ", 2), body, piece(r" \Bigr)", 2)], ATOM, deeper=2)

    def transpose(self, base: Piece) -> Piece:
        return piece(_raised(base.text, r"\top"), base.width + 1, POWER, base.tall)

    def ones(self) -> Piece:
        return piece(r"\mathbf{1}", 1)

    def function_name(self, fn: str) -> Piece:
        return piece(rf"\operatorname{{{_identifier(fn)}}}", len(fn))


def _raised(base: str, exponent: str) -> str:
    """A superscript; a primed or tagged name has one already, and x^{a}^{b} is an error."""
    return rf"{{{base}}}^{{{exponent}}}" if "^" in base or "'" in base else f"{base}^{{{exponent}}}"


def math_latex(e: Expr | Matrix, loss: str = "L") -> str:
    r"""The expression as LaTeX for math mode.

    >>> from chalkgrad.expr.nodes import Access, Index, Range, Tensor
    >>> N, D = Range("N"), Range("D")
    >>> i, d = Index("i", N), Index("d", D)
    >>> math_latex(Access(Tensor("xhat", (N, D)), (i, d)) / 2)
    '\\frac{\\hat{x}_{id}}{2}'
    """
    return math_piece(e, loss).text


def math_piece(e: Expr | Matrix, loss: str = "L") -> Piece:
    """The expression as chunks that may stand on separate lines."""
    w = LatexWriter(loss)
    return write(e, w) if isinstance(e, Expr) else write_matrix(e, w)
