"""Errors that teach: what was written, what must hold, what was received, what to try.

Every error that a user's input can cause is a `ChalkgradError`, so one `except` catches them all;
the concrete classes also inherit the built-in error that fits, so ordinary handlers keep working.
"""

from __future__ import annotations


class ChalkgradError(Exception):
    """Base class of every error that chalkgrad raises about its input.

    Args:
        message: One paragraph that says what is wrong.
        hint: What to do about it.
        source: The text that the user wrote, when there is a place in it to point at.
        position: Offset in `source` of the first wrong character.
        length: How many characters are wrong, at least one.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        source: str | None = None,
        position: int | None = None,
        length: int = 1,
    ) -> None:
        self.message = message
        self.hint = hint
        self.source = source
        self.position = position
        self.length = max(length, 1)
        super().__init__(self._full_text())

    def _full_text(self) -> str:
        parts = [self.message]
        if self.source is not None and self.position is not None:
            parts.append(caret(self.source, self.position, self.length))
        if self.hint:
            parts.append(self.hint)
        return "\n".join(parts)


class FormulaError(ChalkgradError, ValueError):
    """A formula's text that cannot be read, or that contradicts itself."""


class ShapeError(ChalkgradError, ValueError):
    """Axes or sizes that do not fit together."""


class UnsupportedError(ChalkgradError, TypeError):
    """A function or construct that chalkgrad refuses by name instead of guessing."""


class DerivationError(ChalkgradError, ValueError):
    """A derivation that cannot be made: no rule covers a node, or the argument has no gradient."""


class VerificationError(ChalkgradError, ArithmeticError):
    """A line of a derivation that numbers refute."""


class DataError(ChalkgradError, ValueError):
    """A data set, label or file that training cannot use."""


class TrainingError(ChalkgradError, ArithmeticError):
    """A training run that cannot go on, such as one whose loss is no longer finite."""


class MissingExtraError(ChalkgradError, ImportError):
    """An optional package that this function needs is not installed."""


def caret(source: str, position: int, length: int = 1, width: int = 76) -> str:
    """The line of `source` that holds `position`, with carets under the wrong characters."""
    start = source.rfind("\n", 0, position) + 1
    end = source.find("\n", position)
    line = source[start:] if end < 0 else source[start:end]
    column = position - start
    if len(line) > width:
        shift = max(0, min(column - width // 2, len(line) - width))
        line, column = line[shift : shift + width], column - shift
    length = max(1, min(length, len(line) - column if column < len(line) else 1))
    return f"    {line}\n    {' ' * column}{'^' * length}"


def suggestion(word: object, known: list[str] | tuple[str, ...]) -> str:
    """`" Did you mean 'exp'?"` when a known name is close to `word`, else the empty string."""
    word = str(word)
    # Imported here because difflib costs 10 ms that only an error should pay.
    import difflib

    same = [k for k in known if k.lower() == word.lower()]
    close = same or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
