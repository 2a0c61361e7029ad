"""chalkgrad emit: readable forward and backward code."""

from __future__ import annotations

from pathlib import Path

import click

from chalkgrad.cli import targets
from chalkgrad.cli.files import check_output, deliver


@click.command("emit", epilog=targets.EPILOG)
@click.argument("target")
@click.option(
    "--to",
    "backend",
    type=click.Choice(["numpy", "torch", "jax"]),
    default="numpy",
    show_default=True,
    help="What the code is written for.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a .py file.")
def command(target: str, backend: str, output: Path | None) -> None:
    """Write the forward and the backward of TARGET as code.

    The code imports nothing of chalkgrad: paste it where you need it.

    \b
    chalkgrad emit softmax_loss
    chalkgrad emit affine --to torch -o affine_torch.py
    chalkgrad emit "y[i,k] = x[i,k] / sqrt(mean(k, x[i,k]^2))"
    """
    check_output(output, (".py",))
    deliver(output, targets.resolve(target).source(backend))
