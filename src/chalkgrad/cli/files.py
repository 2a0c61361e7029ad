"""Files that commands name: output is found unwritable before the work, and never left half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from chalkgrad.errors import ChalkgradError, suggestion
from chalkgrad.train.atomic import write_atomically

DIGITS = "digits"
"""The data set that training knows by this word."""


def check_output(path: Path | None, suffixes: Sequence[str] = ()) -> None:
    """Refuse, before any work, an output file that could not be written afterwards.

    Args:
        path: The file; None stands for the terminal and passes.
        suffixes: The endings that say a format, such as ".md"; empty where any will do.

    Raises:
        ChalkgradError: The ending names no format, or the place cannot be written.
    """
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        near = suggestion(path.suffix, tuple(suffixes)) if path.suffix else ""
        raise ChalkgradError(
            f"The ending of '{path}' does not name a format that can be written.{near}",
            hint=f"Write one of {', '.join(suffixes)}.",
        )
    target = _resolved(path)
    if target.is_dir():
        raise ChalkgradError(f"'{path}' is a directory.", hint="Name a file in it.")
    if not target.parent.is_dir():
        raise ChalkgradError(
            f"'{path}' cannot be written: there is no directory '{target.parent}'.",
            hint="Create it first, or write somewhere else.",
        )
    if target.exists() and not os.access(target, os.W_OK):
        raise ChalkgradError(f"'{path}' cannot be written: it is read-only.", hint="Name another file.")
    if not _is_stream(target):
        _try_directory(path, target.parent)


def write_output(path: Path, text: str) -> None:
    """Write `text` whole or not at all; a device or a named pipe is written to as it is."""
    target = _resolved(path)
    if _is_stream(target):
        target.write_text(text, encoding="utf-8")
    else:
        write_atomically(target, text.encode("utf-8"))


def deliver(path: Path | None, text: str) -> None:
    """Print `text`, or write it to `path` and say so on stderr."""
    if path is None:
        click.echo(text.rstrip("\n"))
        return
    text = f"{text.rstrip()}\n"
    write_output(path, text)
    click.echo(f"Wrote {path}", err=True)


def _resolved(path: Path) -> Path:
    """The file behind symbolic links, so that a rename replaces the file and not the link."""
    return Path(os.path.realpath(path))


def _is_stream(target: Path) -> bool:
    """/dev/stdout, a named pipe: there a rename would replace the device by a file."""
    return target.exists() and not target.is_file()


def _try_directory(path: Path, directory: Path) -> None:
    try:
        handle, name = tempfile.mkstemp(prefix=".chalkgrad.", dir=directory)
    except OSError as error:
        raise ChalkgradError(
            f"'{path}' cannot be written: {error.strerror or error}.", hint="Write somewhere else."
        ) from error
    os.close(handle)
    Path(name).unlink()


def check_table(path: Path) -> None:
    """Refuse the word for the digits where only a CSV file makes sense.

    Raises:
        ChalkgradError: There is no file of that name either.
    """
    if str(path) == DIGITS and not path.exists():
        raise ChalkgradError(
            f"There is no file '{path}', and only `chalkgrad train` knows that word.",
            hint="Name a CSV file; training told how often the model is right on digits that it held out.",
        )


def unnamed_target(path: str | Path) -> ChalkgradError:
    """What to say when nobody told which column of a CSV file holds the labels."""
    from chalkgrad.train.table import read_table, shortened

    columns = shortened(read_table(path).header)
    return ChalkgradError(
        f"Which column of '{path}' holds the labels?", hint=f"Add --target COL; it has {columns}."
    )
