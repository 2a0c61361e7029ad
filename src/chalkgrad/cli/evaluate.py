"""chalkgrad evaluate: how often a model is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chalkgrad.cli.files import check_table, unnamed_target

if TYPE_CHECKING:
    from chalkgrad.train.data import Dataset
    from chalkgrad.train.model import Model


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--target", metavar="COL", help="The column of labels, where it is not that of training.")
def command(model: Path, data: Path, target: str | None) -> None:
    """Compare the MODEL that training wrote with the labels of a CSV file.

    Recall is the share of a class's rows that are found, precision the share of
    the rows so called that are of the class, F1 their harmonic mean.

    \b
    chalkgrad evaluate model/ test.csv
    chalkgrad evaluate model/ test.csv --target label
    """
    from chalkgrad.train.data import load_labelled
    from chalkgrad.train.model import Model

    check_table(data)
    trained = Model.load(model)
    column = target or trained.target
    if not column:
        raise unnamed_target(data)
    click.echo(_report(trained, load_labelled(data, trained.features, column, trained.classes)))


def _report(model: Model, rows: Dataset) -> str:
    """The accuracy, the mean loss, and a line per class."""
    import numpy as np

    p = model.predict_proba(rows.x)
    called = p.argmax(axis=1)
    of_truth = np.maximum(p[np.arange(len(rows)), rows.y], np.finfo(p.dtype).tiny)
    counts = np.zeros((len(rows.classes),) * 2, int)
    np.add.at(counts, (rows.y, called), 1)
    width = max(5, *map(len, rows.classes))
    accuracy, loss = (called == rows.y).mean(), -np.log(of_truth).mean()
    lines = [
        f"Accuracy on {len(rows)} rows: {accuracy:.2%}; mean loss {loss:.4f}",
        "",
        f"{'class':<{width}}   rows  precision  recall     F1",
    ]
    for k, name in enumerate(rows.classes):
        right, wanted, given = counts[k, k], counts[k].sum(), counts[:, k].sum()
        shares = (_share(right, given), _share(right, wanted), _share(2 * right, wanted + given))
        lines.append(f"{name:<{width}} {wanted:>6} {shares[0]:>10} {shares[1]:>7} {shares[2]:>6}")
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    """A fraction, or a dash where there is nothing to take it of."""
    return f"{part / whole:.3f}" if whole else "–"
