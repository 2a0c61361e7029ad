"""How a name is read and shown: Greek letters, hats, primes and layer numbers.

`mu` is μ, `xhat` and `x_hat` are x̂, `W1` keeps its number, `scores` stays a word. Where two names
of a formula would look the same, `mu` beside μ, the one that is spelled out stays as it is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache

GREEK: dict[str, tuple[str, str]] = {
    "alpha": ("α", r"\alpha"), "beta": ("β", r"\beta"), "gamma": ("γ", r"\gamma"),
    "delta": ("δ", r"\delta"), "epsilon": ("ε", r"\varepsilon"), "eps": ("ε", r"\varepsilon"),
    "zeta": ("ζ", r"\zeta"), "eta": ("η", r"\eta"), "theta": ("θ", r"\theta"),
    "iota": ("ι", r"\iota"), "kappa": ("κ", r"\kappa"), "lam": ("λ", r"\lambda"),
    "lambda": ("λ", r"\lambda"), "lambda_": ("λ", r"\lambda"), "lamda": ("λ", r"\lambda"),
    "mu": ("μ", r"\mu"), "nu": ("ν", r"\nu"), "xi": ("ξ", r"\xi"), "rho": ("ρ", r"\rho"),
    "sigma": ("σ", r"\sigma"), "tau": ("τ", r"\tau"), "phi": ("φ", r"\varphi"),
    "chi": ("χ", r"\chi"), "psi": ("ψ", r"\psi"), "omega": ("ω", r"\omega"),
    "Gamma": ("Γ", r"\Gamma"), "Delta": ("Δ", r"\Delta"), "Theta": ("Θ", r"\Theta"),
    "Lambda": ("Λ", r"\Lambda"), "Xi": ("Ξ", r"\Xi"), "Phi": ("Φ", r"\Phi"),
    "Psi": ("Ψ", r"\Psi"), "Omega": ("Ω", r"\Omega"), "Sigma": ("Σ", r"\Sigma"),
}  # fmt: skip
"""Spelled-out Greek letters: the character and its LaTeX command."""

GREEK_COMMANDS: dict[str, str] = dict(GREEK.values()) | {"π": r"\pi"}
"""The LaTeX command of a Greek character."""

ACCENTS: dict[str, tuple[str, str]] = {
    "hat": ("\N{COMBINING CIRCUMFLEX ACCENT}", r"\hat"),
    "bar": ("\N{COMBINING MACRON}", r"\bar"),
    "tilde": ("\N{COMBINING TILDE}", r"\tilde"),
}
"""Suffixes that are drawn over the letter: the combining character and the LaTeX command."""

_WORDS = frozenset(("chat", "that", "what", "tbar"))


@dataclass(frozen=True, slots=True)
class Name:
    """A name in parts.

    Attributes:
        base: The letter or word itself, Greek letters as characters.
        accent: A key of `ACCENTS`, or "".
        tag: A layer number or a word after an underscore, or "".
        primes: How many primes follow.
        numbered: Whether the tag was written without an underscore, as in W1.
    """

    base: str
    accent: str = ""
    tag: str = ""
    primes: int = 0
    numbered: bool = False

    @property
    def text(self) -> str:
        """The name as Unicode text."""
        mark = ACCENTS[self.accent][0] if self.accent else ""
        joint = "" if self.numbered or not self.tag else "_"
        return self.base + mark + joint + self.tag + "′" * self.primes


def split_accent(written: str) -> tuple[str, str]:
    """A letter typed with its accent, such as x̂, apart from it.

    >>> split_accent("x̂"), split_accent("xhat")
    (('x', 'hat'), ('xhat', ''))
    """
    decomposed = unicodedata.normalize("NFD", written)
    if len(decomposed) == 2:
        for accent, (mark, _) in ACCENTS.items():
            if decomposed[1] == mark:
                return decomposed[0], accent
    return written, ""


_apart: ContextVar[frozenset[str]] = ContextVar("_apart", default=frozenset())


@contextmanager
def names_apart(names: Iterable[str]) -> Iterator[None]:
    """Within, of these names those that would look like another one are shown as they are written."""
    alike: dict[Name, list[str]] = {}
    for name in dict.fromkeys(names):  # in LaTeX W1 and W_1 are one name, too
        alike.setdefault(replace(_drawn(name), numbered=False), []).append(name)
    spelled: set[str] = set()
    for same in alike.values():
        drawn = next((name for name in same if _is_drawn(name)), None)
        spelled.update(name for name in same if len(same) > 1 and name != drawn)
    token = _apart.set(frozenset(spelled))
    try:
        yield
    finally:
        _apart.reset(token)


def _is_drawn(name: str) -> bool:
    """Whether the name is written as it looks."""
    return unicodedata.normalize("NFD", name) == unicodedata.normalize("NFD", _drawn(name).text)


def parse_name(written: str) -> Name:
    """The parts of a name as it was written in a formula or in code."""
    if written in _apart.get():
        stem = written.rstrip("′'")
        return Name(stem, primes=len(written) - len(stem))
    return _drawn(written)


@lru_cache(4096)
def _drawn(written: str) -> Name:
    """The parts of a name with its letters and accents as people draw them."""
    stem = written.rstrip("′'")
    primes = len(written) - len(stem)
    if stem in GREEK:
        return Name(GREEK[stem][0], primes=primes)
    base, *tags = [part for part in stem.split("_") if part] or [stem]
    accent = ""
    bare, mark = split_accent(base)
    if mark:
        base, accent = bare, mark
    if not accent and tags and tags[0] in ACCENTS:
        accent = tags.pop(0)
    fused = re.fullmatch(r"(.+?)(hat|bar|tilde)", base)
    if not accent and fused and stem not in _WORDS and (len(fused[1]) == 1 or fused[1] in GREEK):
        base, accent = fused[1], fused[2]
    numbered = not tags and (number := re.fullmatch(r"(\D+)(\d+)", base)) is not None
    if numbered and number:
        base, tags = number[1], [number[2]]
    if base in GREEK:
        base = GREEK[base][0]
    if len(base) > 1 and accent:  # a hat over a word does not read
        accent, tags = "", [accent, *tags]
    return Name(base, accent, "_".join(tags), primes, numbered)


def spellings(names: Iterable[str]) -> list[str]:
    """What may be typed for the Greek letters among some names.

    Example:
        >>> spellings(["x", "γ"])
        ['gamma']
    """
    letters = set(names)
    return [word for word, (letter, _) in GREEK.items() if letter in letters]


def meant(written: str, known: Iterable[str]) -> str:
    """The known name that a written one stands for: itself, or the same letter spelled out or drawn.

    A name that stands for none of them, or for several, is given back as it is.

    >>> meant("gamma", ["x", "γ"]), meant("γ", ["x", "gamma"]), meant("w", ["x", "W"])
    ('γ', 'gamma', 'w')
    """
    names = list(known)
    if written in names or not written:
        return written
    alike = [name for name in names if parse_name(name) == parse_name(written)]
    return alike[0] if len(alike) == 1 else written
