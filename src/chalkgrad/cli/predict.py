"""chalkgrad predict: the classes of new rows."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import click

from chalkgrad.cli.files import check_output, check_table, deliver


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--proba", is_flag=True, help="The probability of every class, too.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a .csv file.")
def command(model: Path, data: Path, proba: bool, output: Path | None) -> None:
    """Classify the rows of a CSV file with the MODEL that training wrote.

    DATA needs the columns that the model was trained on, by name and in any
    order; other columns are left out. The answer is CSV, one line per row.

    \b
    chalkgrad predict model/ new.csv
    chalkgrad predict model/ new.csv --proba -o answers.csv
    """
    from chalkgrad.train.data import load_features
    from chalkgrad.train.model import Model
    from chalkgrad.train.table import read_table

    check_output(output, (".csv",))
    check_table(data)
    trained = Model.load(model)
    probabilities = trained.predict_proba(load_features(read_table(data), trained.features))
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    shares = [f"p({name})" for name in trained.classes] if proba else []
    lines.writerow([trained.target or "class", *shares])
    for row in probabilities:
        lines.writerow([trained.classes[int(row.argmax())], *(f"{p:.6g}" for p in row if proba)])
    deliver(output, written.getvalue())
