"""Data sets for classification: rows of finite features and one class label per row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import DataError, ShapeError, suggestion
from chalkgrad.train.extras import require
from chalkgrad.train.table import Table, as_number, read_table, shortened

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

BLANKS = {"", "na", "n/a", "nan", "null", "none", "?", "-", "#n/a"}
"""Cells that people write where a value is missing, in lower case."""


@dataclass(frozen=True, slots=True)
class Standardiser:
    """x ↦ (x − mean) / scale for every feature, measured on the training rows only.

    Attributes:
        mean: (D,) the means.
        scale: (D,) the standard deviations; 1 where a feature is constant.
    """

    mean: Floats
    scale: Floats

    @classmethod
    def fit(cls, x: Floats, features: Sequence[str] = ()) -> Standardiser:
        """The mean and standard deviation of each column of `x` (N, D); `features` names them in an error.

        Raises:
            DataError: When the squares of a column's values are too large for a float.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            mean = x.mean(axis=0)
            scale = x.std(axis=0)
        for column in map(int, np.flatnonzero(~np.isfinite(mean) | ~np.isfinite(scale))):
            name = f"'{features[column]}'" if len(features) else str(column)
            largest = float(np.abs(x[:, column]).max())
            raise DataError(
                f"The feature {name} holds values up to {largest:.3g}, whose squares no float can hold.",
                hint="Correct the value, or divide the column by a power of ten.",
            )
        # A constant column has a spread of rounding errors only; dividing by them would blow them up.
        constant = scale <= 1e-12 * np.maximum(np.abs(mean), 1.0)
        return cls(mean, np.where(constant, 1.0, scale))

    def apply(self, x: Floats) -> Floats:
        """The standardised rows, in the same shape."""
        return (x - self.mean) / self.scale


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """N rows of D features with a class label each.

    Attributes:
        x: (N, D) finite features.
        y: (N,) labels 0 … K − 1.
        classes: The K class names; label k means `classes[k]`.
        features: The D feature names.
        name: What the data set is called.
        standardiser: The one that `x` went through, None if it is raw.
        target: The column that the labels came from, "" where there was none.

    Raises:
        ShapeError: When the lengths do not fit together.
        DataError: When a feature is not finite or a label is out of range; names the row.
    """

    x: Floats
    y: Ints
    classes: tuple[str, ...]
    features: tuple[str, ...]
    name: str = "data"
    standardiser: Standardiser | None = None
    target: str = ""

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.y.shape != self.x.shape[:1]:
            raise ShapeError(
                f"Features must be (N, D) and labels (N,); got {self.x.shape} and {self.y.shape}."
            )
        if len(self.features) != self.x.shape[1]:
            count = len(self.features)
            raise ShapeError(f"There are {self.x.shape[1]} features and {count} names for them.")
        self._check_values()

    def _check_values(self) -> None:
        bad = np.argwhere(~np.isfinite(self.x))
        if len(bad):
            row, column = map(int, bad[0])
            name, value = self.features[column], self.x[row, column]
            raise DataError(
                f"Row {row}, feature '{name}' is {value}, not a finite number.",
                hint="Fill in or remove the rows with missing values before training.",
            )
        check_labels(self.y, len(self.classes))

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, which: Ints) -> Dataset:
        """The data set of these rows, in this order."""
        return replace(self, x=self.x[which], y=self.y[which])

    def standardised(self, by: Standardiser) -> Dataset:
        """The same rows with standardised features; the result remembers `by`.

        Raises:
            DataError: When the rows are standardised already.
        """
        if self.standardiser is not None:
            raise DataError("The data set is standardised already.", hint="Standardise the raw rows once.")
        return replace(self, x=by.apply(self.x), standardiser=by)


def check_labels(y: NDArray[Any], classes: int) -> None:
    """Labels are integers 0 … classes − 1.

    Raises:
        DataError: On other types, or naming the first row whose label is out of range.
    """
    if not np.issubdtype(y.dtype, np.integer):
        raise DataError(
            f"Labels must be integers, not {y.dtype}.", hint="Use y.astype(int) if they are whole."
        )
    outside = np.flatnonzero((y < 0) | (y >= classes))
    if len(outside):
        row = int(outside[0])
        raise DataError(
            f"The label {int(y[row])} in row {row} is out of range: "
            f"there are {classes} classes, so labels are 0 … {classes - 1}.",
            hint="Count classes from 0, or give the network one output per class.",
        )


def check_alike(a: Dataset, b: Dataset) -> None:
    """Two data sets that are used together have the same features, classes and scaling.

    Raises:
        DataError: When they do not; says in what they differ.
    """
    for what in ("features", "classes"):
        if getattr(a, what) != getattr(b, what):
            raise DataError(f"The {what} of the training and the validation data are not the same.")
    if a.standardiser is not b.standardiser:
        raise DataError(
            "The training and the validation data are not scaled in the same way.",
            hint="Fit one Standardiser on the training rows and apply it to both.",
        )


def load_digits() -> Dataset:
    """The 1797 handwritten digits (8×8 pixels) bundled with scikit-learn, pixels scaled to 0 … 1.

    Raises:
        MissingExtraError: When scikit-learn is not installed.

    Reference: https://archive.ics.uci.edu/dataset/80/
    """
    x, y = _digits()
    features = tuple(f"pixel_{r}_{c}" for r in range(8) for c in range(8))
    classes = tuple(str(k) for k in range(10))
    return Dataset(x / 16.0, y.astype(np.int64), classes, features, "digits")


def _digits() -> tuple[Floats, Ints]:
    """Pixels and labels, read from scikit-learn's file: importing scikit-learn takes longer than training."""
    found = find_spec("sklearn")
    for folder in (found and found.submodule_search_locations) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1], table[:, -1].astype(np.int64)
    bunch = require("sklearn.datasets", "The digits data set").load_digits()
    return bunch.data, bunch.target


def load_csv(
    path: str | PathLike[str],
    target: str,
    *,
    ignore: Sequence[str] = (),
    delimiter: str | None = None,
    classes: Sequence[str] | None = None,
) -> Dataset:
    """A data set from a CSV file with a header row: one column of labels, numbers everywhere else.

    Args:
        path: The file; UTF-8, cells between commas, semicolons, tabs or bars.
        target: The column that holds the labels, numbers or text.
        ignore: Columns to leave out, such as an identifier.
        delimiter: The character between cells; found out when None.
        classes: The class names of a model that is to be evaluated; found in the file when None.

    Returns:
        Features in the file's column order. Class names are sorted, by value where all are whole
        numbers.

    Raises:
        DataError: For a file that `read_table` refuses, a column that does not exist, a text or
            blank or infinite feature, a blank label, fewer than two classes, labels that look
            like measurements, or a label that `classes` does not have. Each names the place.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "iris.csv"
        >>> _ = file.write_text("length,width,kind\\n5.1,3.5,setosa\\n6.2,2.9,virginica\\n")
        >>> data = load_csv(file, target="kind")
        >>> data.x.shape, data.classes, data.y.tolist()
        ((2, 2), ('setosa', 'virginica'), [0, 1])
    """
    table = read_table(path, delimiter)
    if target in ignore:
        raise DataError(
            f"The column '{target}' is the target and cannot be ignored.", hint="Ignore other columns only."
        )
    skipped = {table.column(name) for name in (target, *ignore)}
    kept = [at for at in range(len(table.header)) if at not in skipped]
    if not kept:
        raise DataError(
            f"{table.path} has no feature column besides the target '{target}'.",
            hint="It needs at least one column of numbers; check the delimiter if it has more.",
        )
    y, names = _labels(table, table.column(target), classes)
    features = tuple(table.header[at] for at in kept)
    return Dataset(numbers(table, kept), y, names, features, table.path.stem, target=target)


def load_features(table: Table, features: Sequence[str]) -> Floats:
    """The columns of these names, in this order, (rows, features); the table's other columns are left out.

    Raises:
        DataError: Naming the columns that are missing, or the place of a cell that is not a number.
    """
    missing = [name for name in features if name not in table.header]
    if missing:
        near = suggestion(missing[0], table.header) if len(missing) == 1 else ""
        raise DataError(
            f"{table.path} lacks {len(missing)} of the {len(features)} columns that the model was trained "
            f"on: {shortened(missing)}.{near}",
            hint=f"Its columns are: {shortened(table.header)}.",
        )
    return numbers(table, [table.column(name) for name in features])


def load_labelled(
    path: str | PathLike[str], features: Sequence[str], target: str, classes: Sequence[str]
) -> Dataset:
    """Rows with the features and classes of a model that is to be evaluated.

    Raises:
        DataError: For what `read_table` or `load_features` refuse, a missing target, or a label that is
            none of `classes`.
    """
    table = read_table(path)
    x = load_features(table, features)
    y, names = _labels(table, table.column(target), classes)
    return Dataset(x, y, names, tuple(features), table.path.stem, target=target)


def numbers(table: Table, columns: Sequence[int]) -> Floats:
    """These columns as floats, (rows, columns).

    Raises:
        DataError: At the first cell that is blank, text, or not finite; names line and column.
    """
    x = np.empty((len(table.rows), len(columns)))
    for row, cells in enumerate(table.rows):
        for at, column in enumerate(columns):
            value = as_number(cells[column])
            if value is None or not np.isfinite(value):
                raise _bad_cell(table, row, column)
            x[row, at] = value
    return x


def _bad_cell(table: Table, row: int, column: int) -> DataError:
    cell, name = table.rows[row][column], table.header[column]
    place = f"{table.path}, {table.place(row, column)}"
    if cell.lower() in BLANKS:
        shown = f"'{cell}'" if cell else "blank"
        return DataError(
            f"{place}: the value is missing ({shown}).",
            hint="Fill it in or remove the row; chalkgrad does not guess values.",
        )
    if as_number(cell) is not None:
        return DataError(f"{place}: {cell} is not a finite number.", hint="Correct it or remove the row.")
    if as_number(cell.replace(",", ".", 1)) is not None:
        return DataError(
            f"{place}: '{cell}' has a decimal comma.", hint="Write numbers with a decimal point."
        )
    return DataError(
        f"{place}: '{cell}' is text, and features must be numbers.",
        hint=f"Encode '{name}' as numbers, leave it out (ignore '{name}'), or make it the target.",
    )


def _labels(table: Table, column: int, known: Sequence[str] | None) -> tuple[Ints, tuple[str, ...]]:
    """Labels and class names of the target column."""
    cells = [row[column] for row in table.rows]
    for row, cell in enumerate(cells):
        if cell.lower() in BLANKS - {"none", "-"}:
            raise DataError(
                f"{table.path}, {table.place(row, column)}: the label is missing.",
                hint="Every row needs a label; remove rows without one.",
            )
    cells = _whole_numbers(cells) if known is None else _as_known(cells, known)
    _refuse_measurements(table, column, cells)
    names = tuple(known) if known is not None else tuple(sorted(set(cells), key=_label_order))
    if len(names) < 2:
        raise DataError(
            f"{table.path}: the target '{table.header[column]}' has only one class, '{names[0]}'.",
            hint="A classifier needs rows of at least two classes.",
        )
    number: Mapping[str, int] = {name: k for k, name in enumerate(names)}
    for row, cell in enumerate(cells):
        if cell not in number:
            raise DataError(
                f"{table.path}, {table.place(row, column)}: the model has no class '{cell}'.",
                hint=f"It was trained on: {shortened(names)}.",
            )
    return np.array([number[cell] for cell in cells], dtype=np.int64), names


def _whole_numbers(cells: list[str]) -> list[str]:
    """Labels such as `1`, `1.0` and `01` spelt alike, when all labels are whole numbers."""
    spelt = [_whole_number(cell) for cell in cells]
    return cells if None in spelt else [s for s in spelt if s is not None]


def _as_known(cells: list[str], known: Sequence[str]) -> list[str]:
    """Labels as a model's classes are spelt: those of a file of whole numbers were spelt alike."""
    if any(_whole_number(name) != name for name in known):
        return cells
    return [_whole_number(cell) or cell for cell in cells]


def _whole_number(cell: str) -> str | None:
    """The usual spelling of a whole number, None for anything else; no digit is lost, however many it has."""
    value = as_number(cell)
    if value is None or not np.isfinite(value) or value != int(value):
        return None
    exact = Decimal(cell)
    return str(int(exact)) if exact == exact.to_integral_value() else None


def _label_order(name: str) -> tuple[int, Decimal, str]:
    value = as_number(name)
    if value is None or math.isnan(value):
        return 1, Decimal(0), name
    return 0, Decimal(name), name


def _refuse_measurements(table: Table, column: int, cells: list[str]) -> None:
    """A column of many different fractions is a quantity to predict, not a class."""
    distinct = set(cells)
    if len(distinct) > max(20, len(cells) // 2) and all(as_number(c) is not None for c in distinct):
        raise DataError(
            f"{table.path}: the target '{table.header[column]}' has {len(distinct)} different numbers in "
            f"{len(cells)} rows, so it looks like a measurement and not a class.",
            hint="Choose the column that holds the class, or sort the values into bins first.",
        )
