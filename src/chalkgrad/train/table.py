"""Reading a table of text from a CSV file: delimiter, header, rows of equal length.

Cells stay text here; `chalkgrad.train.data` turns them into numbers and labels.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from chalkgrad.errors import DataError, suggestion

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(frozen=True, slots=True)
class Table:
    """A header and rows of text cells.

    Attributes:
        path: Where it was read from, for messages.
        header: The column names, distinct and not blank.
        rows: One tuple of cells per row, each as long as the header, outer blanks removed.
        lines: The line of the file on which each row ends, counted from 1.
        delimiter: The character between cells.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    delimiter: str

    def column(self, name: str) -> int:
        """The position of a column.

        Raises:
            DataError: When no column has this name; lists the names and the nearest one.
        """
        if name in self.header:
            return self.header.index(name)
        raise DataError(
            f"{self.path} has no column '{name}'.{suggestion(name, self.header)}",
            hint=f"Its columns are: {shortened(self.header)}.",
        )

    def place(self, row: int, column: int) -> str:
        """Where a cell is, in words: "line 7, column 'age'"."""
        return f"line {self.lines[row]}, column '{self.header[column]}'"


def read_table(path: str | PathLike[str], delimiter: str | None = None) -> Table:
    """The CSV file as a `Table`. The first row must hold the column names.

    A byte-order mark is skipped, quoted cells may contain delimiters and newlines, blank lines are
    ignored. Without `delimiter`, it is the one of `, ; tab |` that cuts the header into most columns.

    Raises:
        DataError: When the file is missing, unreadable, not UTF-8, empty, has no header, no rows,
            rows of unequal length, or blank or repeated column names.
    """
    path = Path(path)
    text = _read_text(path)
    if not text.strip():
        raise DataError(f"{path} is empty.", hint="It needs a header row and at least one row of values.")
    delimiter = delimiter or _sniff(text)
    records = _records(path, text, delimiter)
    if not records:
        raise DataError(f"{path} holds no cells.", hint="It needs a header row and rows of values.")
    header = _checked_header(path, records[0][1])
    rows = records[1:]
    if not rows:
        raise DataError(f"{path} has a header but no rows below it.", hint="Add at least one row of values.")
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: the row has {len(cells)} cells, the header has {len(header)}.",
                hint="Every row needs one cell per column; a text that contains "
                f"a {DELIMITERS.get(delimiter, 'delimiter')} must stand in double quotes.",
            )
    return Table(path, header, tuple(c for _, c in rows), tuple(n for n, _ in rows), delimiter)


def shortened(names: tuple[str, ...] | list[str], most: int = 12) -> str:
    """Names for a message, separated by commas, the tail of a long list counted."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, … ({len(names)} in all)"


def as_number(cell: str) -> float | None:
    """The number that the cell spells, or None. `1_000`, which Python would read, is not one."""
    if "_" in cell:
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        close = suggestion(path.name, [p.name for p in path.parent.glob("*") if p.is_file()])
        raise DataError(f"There is no file {path}.{close}", hint="Check the path of the CSV file.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder.", hint="Name the CSV file itself.") from None
    except UnicodeDecodeError as cause:
        raise DataError(
            f"{path} is not UTF-8 text (byte {cause.start} cannot be read).",
            hint="Save it as CSV in UTF-8; a spreadsheet file must be exported first.",
        ) from None
    except OSError as cause:
        raise DataError(f"{path} cannot be read: {cause.strerror}.", hint="Check its permissions.") from None


def _sniff(text: str) -> str:
    """The delimiter that cuts the header into most columns; the comma when none does."""
    head = next(line for line in text.splitlines() if line.strip())

    def columns(delimiter: str) -> int:
        return len(next(csv.reader([head], delimiter=delimiter), []))

    return max(DELIMITERS, key=columns)


def _records(path: Path, text: str, delimiter: str) -> list[tuple[int, tuple[str, ...]]]:
    """Every row that is not a blank line, with the line it ends on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num, tuple(c.strip() for c in cells)) for cells in reader if cells]
    except csv.Error as cause:
        raise DataError(
            f"{path}, line {reader.line_num}: {cause}.",
            hint="A double quote inside a quoted cell is written twice, and every quote must be closed.",
        ) from None


def _checked_header(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    if all(as_number(n) is not None for n in names):
        raise DataError(
            f"{path}: the first row holds numbers ({shortened(names, 4)}), not column names.",
            hint="Put a header row on top, such as: " + ",".join([*"abc"[: len(names) - 1], "label"]),
        )
    for at, name in enumerate(names):
        if not name:
            raise DataError(
                f"{path}: column {at + 1} has no name.", hint="Name every column in the first row."
            )
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        places = [str(at + 1) for at, n in enumerate(names) if n == name]
        raise DataError(
            f"{path}: the column name '{name}' occurs {count} times (columns {', '.join(places)}).",
            hint="Give every column its own name.",
        )
    return names
