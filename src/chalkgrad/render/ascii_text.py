"""Mathematics in ASCII, for terminals that can show nothing else: dL/dx_id = sum_i ... , xhat, gamma.

`spell` rewrites text before it is laid out, so that columns stay straight. The codec error handler
of the same name is the net below it: whatever a stream cannot encode is spelled, never an error.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

from chalkgrad.expr.names import ACCENTS, GREEK

HANDLER = "chalkgrad-spelled"
"""The name to give a stream as its `errors`."""

SIGNS = {
    "∂": "d", "Σ": "sum", "∏": "prod", "√": "sqrt", "−": "-", "·": "*", "∘": ".*", "⊙": ".*", "×": "x",
    "≤": "<=", "≥": ">=", "≠": "!=", "∞": "inf", "π": "pi", "ᵀ": "^T", "′": "'", "✓": "ok", "↳": "->",
    "─": "-", "–": "-", "—": "--", "…": "...", "→": "->", "←": "<-", "∈": "in", "≈": "~", "½": "1/2",
    "“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ", "¹": "^1", "²": "^2", "³": "^3", "ˣ": "^x",
    "‖": "||", "°": " deg",
}  # fmt: skip
SIGNS |= {character: name.rstrip("_") for name, (character, _) in reversed(GREEK.items())}
SIGNS |= {"λ": "lambda", "ε": "eps", "Σ": "sum"}
SIGNS |= {mark: accent for accent, (mark, _) in ACCENTS.items()}

SUPERSCRIPT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
PLAIN_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def spell(text: str) -> str:
    """The text in ASCII; a character without a spelling becomes a question mark.

    >>> spell("∂L/∂x̂_id = −s_d² Σ_i γ_d σ(x_id)")
    'dL/dxhat_id = -s_d^2 sum_i gamma_d sigmoid(x_id)'
    """
    if text.isascii():
        return text
    text = SUPERSCRIPT.sub(lambda m: "^" + m[0].translate(PLAIN_DIGITS), text).replace("σ(", "sigmoid(")
    return "".join(SIGNS.get(c) or "".join(map(_spelled, unicodedata.normalize("NFD", c))) for c in text)


def _spelled(character: str) -> str:
    if character.isascii():
        return character
    if character in SIGNS:
        return SIGNS[character]
    plain = unicodedata.normalize("NFKD", character)
    # A letter's unknown accent may go; an unknown letter may not go unseen.
    return plain if plain.isascii() else "" if unicodedata.combining(character) else "?"


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spell(error.object[error.start : error.end]), error.end


codecs.register_error(HANDLER, _handle)
