"""What the terminal at the other end can show."""

from __future__ import annotations

import os
import shutil
import sys

PLAIN_WIDTH = 80


def has_colour() -> bool:
    """Whether stdout is a terminal that wants colour (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def shows_mathematics() -> bool:
    """Whether stdout's encoding has the characters of a derivation; otherwise they are spelled."""
    try:
        "∂Σ√∘γ²ᵀ−✓─".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def width() -> int:
    """Columns to write in: the terminal's, kept readable; 80 where output goes to a file or a pipe."""
    if not sys.stdout.isatty():
        return PLAIN_WIDTH
    return max(40, min(shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns, 110))
