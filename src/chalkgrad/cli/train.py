"""chalkgrad train: a fully-connected classifier, trained with derived gradients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chalkgrad.cli.files import DIGITS, unnamed_target
from chalkgrad.cli.group import INTERRUPTED
from chalkgrad.errors import ChalkgradError, suggestion

if TYPE_CHECKING:
    from chalkgrad.train.data import Dataset
    from chalkgrad.train.history import History


@click.command("train")
@click.argument("data")
@click.option("--target", metavar="COL", help="The CSV column that holds the labels.")
@click.option("--ignore", multiple=True, metavar="COL", help="A CSV column to leave out, such as an id.")
@click.option("--hidden", default="100", show_default=True, metavar="N,N", help="Units of the hidden layers.")
@click.option(
    "--activation",
    default="relu",
    show_default=True,
    metavar="NAME",
    help="relu, tanh, sigmoid, softplus, silu or gelu.",
)
@click.option(
    "--optimiser",
    default="adam",
    show_default=True,
    metavar="NAME",
    help="sgd, momentum, nesterov, rmsprop, adam or adamw.",
)
@click.option("--epochs", default=40, show_default=True, help="Passes over the training rows.")
@click.option("--batch-size", default=32, show_default=True, help="Rows per step.")
@click.option("--learning-rate", "--lr", default=1e-3, show_default=True, help="Step size.")
@click.option("--lr-decay", default=1.0, show_default=True, help="Factor on it after each epoch.")
@click.option("--clip-norm", type=float, metavar="C", help="Largest norm of the whole gradient.")
@click.option("--clip-value", type=float, metavar="C", help="Largest size of a gradient's entry.")
@click.option("--l2", default=0.0, show_default=True, help="λ of the regulariser λ/2 ΣW².")
@click.option("--validation", default=0.1, show_default=True, help="Share of rows that picks the epoch.")
@click.option("--test", default=0.2, show_default=True, help="Share of rows held out to the end.")
@click.option("--raw", is_flag=True, help="Do not standardise the features.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Equal seeds give equal bits."
)
@click.option("--engine", default="auto", show_default=True, help="auto, plain, numpy, llvm or torch.")
@click.option("--device", default="cpu", show_default=True, help="cpu, or cuda for an NVIDIA GPU.")
@click.option("--matmul-precision", metavar="NAME", help="bfloat16: faster products of rounded numbers.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the model.")
@click.option("--resume", is_flag=True, help="Continue the run that is saved there.")
@click.option("--overwrite", is_flag=True, help="Replace the model that is saved there.")
def command(
    data: str,
    target: str | None,
    ignore: tuple[str, ...],
    hidden: str,
    activation: str,
    optimiser: str,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    lr_decay: float,
    clip_norm: float | None,
    clip_value: float | None,
    l2: float,
    validation: float,
    test: float,
    raw: bool,
    seed: int,
    engine: str,
    device: str,
    matmul_precision: str | None,
    output: Path | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Train a network on DATA: a CSV file with a header, or the word digits.

    Forward, loss, backward and the update rule are code that chalkgrad derived
    and emitted. Ctrl-C stops after the step and keeps the checkpoint; --resume
    continues from it, bit for bit as if never stopped.

    \b
    chalkgrad train digits --hidden 100 -o model/
    chalkgrad train iris.csv --target species --hidden 32,16 -o model/
    chalkgrad train digits --hidden 100 -o model/ --epochs 80 --resume
    """
    from chalkgrad.cli.progress import training_progress
    from chalkgrad.train.loop import fit
    from chalkgrad.train.model import Model
    from chalkgrad.train.network import Network
    from chalkgrad.train.optimisers import Optimiser

    sizes = _hidden_sizes(hidden)
    rule = Optimiser(optimiser, clip_norm=clip_norm, clip_value=clip_value)
    _check_device(device)
    _check_folder(output, resume, overwrite)
    rows = _load(data, target, ignore)
    train_rows, validation_rows, test_rows = _parts(rows, validation, test, seed, not raw)
    network = Network(
        (len(rows.features), *sizes, len(rows.classes)), activation=activation, l2=l2, seed=seed
    )
    history = fit(
        network,
        train_rows,
        validation=validation_rows,
        optimiser=rule,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        lr_decay=lr_decay,
        seed=seed,
        callbacks=(training_progress(),),
        checkpoint_path=output,
        resume=resume,
        engine=engine,
        device=device,
        matmul_precision=matmul_precision,
    )
    if history.best is not None:
        accuracy = Model.of(network, train_rows).score(test_rows) if test_rows is not None else None
        click.echo(_report(history, accuracy, test_rows))
    _close(history, output)


def _hidden_sizes(text: str) -> tuple[int, ...]:
    """`256,128` as (256, 128)."""
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    position = 0
    for part in parts:
        if not (part.isascii() and part.isdigit() and int(part) > 0):
            raise ChalkgradError(
                f"--hidden holds '{part}', which is not a number of units.",
                source=f"--hidden {text}",
                position=len("--hidden ") + text.find(part, position),
                length=len(part),
                hint="Write whole numbers between commas: --hidden 256,128.",
            )
        position = text.find(part, position) + len(part)
    return tuple(int(part) for part in parts)


def _check_device(device: str) -> None:
    """Refuse a device that is not there before any data are read."""
    if device != "cpu":
        from chalkgrad.train.torch_engine import checked_device

        checked_device(device)


def _check_folder(output: Path | None, resume: bool, overwrite: bool) -> None:
    """Refuse what would lose a model, or could not be resumed, before any data are read."""
    from chalkgrad.train.atomic import prepare_folder
    from chalkgrad.train.checkpoint import has_checkpoint

    if output is None:
        if resume:
            raise ChalkgradError("--resume needs the folder of the run.", hint="Add -o model/.")
        return
    if has_checkpoint(output) and not (resume or overwrite):
        raise ChalkgradError(
            f"'{output}' holds a model already.",
            hint="Continue it with --resume, replace it with --overwrite, or name another folder.",
        )
    prepare_folder(output)


def _load(data: str, target: str | None, ignore: tuple[str, ...]) -> Dataset:
    from chalkgrad.train.data import load_csv, load_digits

    if data == DIGITS:
        if target is not None or ignore:
            raise ChalkgradError("digits has its own labels; --target and --ignore are for CSV files.")
        return load_digits()
    meant = suggestion(data, (DIGITS,))
    if meant and not Path(data).exists():
        raise ChalkgradError(f"There is no file {data}.{meant}", hint=f"{DIGITS} are the bundled data.")
    if target is None:
        raise unnamed_target(data)
    return load_csv(data, target, ignore=ignore)


def _parts(
    rows: Dataset, validation: float, test: float, seed: int, standardise: bool
) -> tuple[Dataset, Dataset | None, Dataset | None]:
    """Training and validation rows, scaled by the training rows alone; test rows stay raw."""
    from chalkgrad.train.data import Standardiser
    from chalkgrad.train.split import split_rows

    split = split_rows(rows.y, validation=validation, test=test, seed=seed)
    train_rows, validation_rows = rows.rows(split.train), rows.rows(split.validation)
    if standardise:
        scaling = Standardiser.fit(train_rows.x, train_rows.features)
        train_rows, validation_rows = train_rows.standardised(scaling), validation_rows.standardised(scaling)
    return (
        train_rows,
        validation_rows if len(validation_rows) else None,
        rows.rows(split.test) if len(split.test) else None,
    )


def _report(history: History, accuracy: float | None, test_rows: Dataset | None) -> str:
    best = history.best
    assert best is not None
    lines = [f"Epoch {best.number} of {len(history.epochs)} is kept, after {history.seconds:.1f} s."]
    if accuracy is not None and test_rows is not None:
        lines.append(f"Accuracy on {len(test_rows)} held-out rows: {accuracy:.2%}")
    return "\n".join(lines)


def _close(history: History, output: Path | None) -> None:
    """Say what was saved; an interrupted run ends with its own status."""
    if history.interrupted:
        saved = f"The run is saved in {output}; --resume continues it." if output else "Nothing was saved."
        click.echo(f"chalkgrad: Interrupted. {saved}", err=True)
        click.get_current_context().exit(INTERRUPTED)
    if output is None:
        click.echo("The model was not saved; -o model/ saves it.", err=True)
    else:
        click.echo(f"Wrote {output}", err=True)
