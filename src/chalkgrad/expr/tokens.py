"""The tokens of formula text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from unicodedata import normalize

from chalkgrad.errors import FormulaError
from chalkgrad.expr.syntax import Syntax

MAX_LENGTH = 20_000

SPELLINGS = {
    "−": "-", "·": "*", "×": "*", "**": "^", "≤": "<=", "≥": ">=", "≠": "!=", "∂": "d",
    "∑": "sum", "Σ": "sum", "∏": "prod", "Π": "prod", "∞": "inf", "π": "pi",
}  # fmt: skip
"""Other ways to write a token."""

_NAME = r"[^\W\d][\w\u0300-\u036f′'₀-₉]*"
_TOKEN = re.compile(
    rf"""(?P<space>[ \t\r\f\v\u00a0]+) | (?P<comment>\#[^\n]*) | (?P<newline>[\n;])
    | (?P<adjoint>[d∂]L[ \t]*/[ \t]*[d∂][ \t]*(?P<of>{_NAME}))
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<name>{_NAME} | [∂∑∏∞])
    | (?P<op>\*\*|//|==|!=|<=|>=|[-+*/%^=<>()\[\],:−·×≤≥≠])""",
    re.VERBOSE,
)
_WAITING = frozenset(["+", "-", "*", "/", "//", "%", "^", "=", "==", "!=", "<", "<=", ">", ">=", ",", ":"])
_LEADING = _WAITING - {"-", ":"}


@dataclass(frozen=True, slots=True)
class Token:
    """One token: kind "number", "name", "adjoint", "op", "newline" or "end"."""

    kind: str
    text: str
    start: int
    end: int
    indented: bool = False


def error(source: str, at: Syntax | Token, message: str, hint: str = "") -> FormulaError:
    """A FormulaError with the caret under `at`."""
    return FormulaError(message, hint=hint, source=source, position=at.start, length=at.end - at.start)


def tokens(source: str) -> list[Token]:
    """The tokens of a text, ending in an "end" token.

    Raises:
        FormulaError: At an unknown character, or when the text is too long.
    """
    if not isinstance(source, str):
        raise FormulaError(
            f"A formula is text, and this is {source!r}."[:200],
            hint='Write cg.formula("y[i] = 2 * x[i]"); a NumPy function becomes a layer with cg.layer.',
        )
    if len(source) > MAX_LENGTH:
        raise FormulaError(
            f"This formula has {len(source)} characters; at most {MAX_LENGTH} are read.",
            hint="Split it into several layers and join them with chalkgrad.chain.",
            source=source[: MAX_LENGTH + 1],
            position=MAX_LENGTH,
        )
    found: list[Token] = []
    at, depth, fresh, indented = 0, 0, True, False
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise _unknown_character(source, at)
        start, at = at, match.end()
        kind, written = match.lastgroup or "", match.group()
        if match.group("adjoint") is not None:
            kind, written = "adjoint", match.group("of")
        if kind == "space":
            indented = indented or fresh
            continue
        if kind == "comment" or (kind == "newline" and depth > 0 and written == "\n"):
            continue
        if kind == "newline":
            found.append(Token("newline", written, start, at))
            fresh, indented = True, False
            continue
        written = SPELLINGS.get(written, normalize("NFC", written))
        depth += (written in ("(", "[")) - (written in (")", "]"))
        found.append(Token(kind, written, start, at, fresh and indented))
        fresh = indented = False
    found.append(Token("end", "", len(source.rstrip()), len(source.rstrip()) + 1))
    return _joined(found)


def _unknown_character(source: str, at: int) -> FormulaError:
    character = source[at]
    hints = {
        "@": "Write a matrix product as a sum: sum(d, x[i,d] * W[d,k]).",
        "{": "Use round brackets to group and square brackets to index.",
        "}": "Use round brackets to group and square brackets to index.",
        "&": "Multiply two indicators: 1(a > 0) * 1(b > 0).",
        "!": "Unequal is written !=.",
    }
    return FormulaError(
        f"The character {character!r} has no meaning in a formula.",
        hint=hints.get(character, "A formula is made of names, numbers, + - * / ^, brackets and commas."),
        source=source,
        position=at,
    )


def _joined(found: list[Token]) -> list[Token]:
    """The tokens without the newlines that continue a statement, and without empty lines."""
    kept: list[Token] = []
    for position, token in enumerate(found):
        if token.kind == "newline" and token.text == "\n":
            after = found[position + 1]
            starts = after.kind == "op" and (after.text in _LEADING or (after.text == "-" and after.indented))
            waits = kept and kept[-1].kind == "op" and kept[-1].text in _WAITING
            declares = waits and kept[-1].text == ":"
            if (waits and not declares) or (starts and kept and kept[-1].kind != "newline"):
                continue
        if token.kind == "newline" and (not kept or kept[-1].kind == "newline"):
            continue
        kept.append(token)
    if len(kept) > 1 and kept[-2].kind == "newline":
        del kept[-2]
    return kept
