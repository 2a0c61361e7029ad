"""chalkgrad derive: the backward pass, line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chalkgrad.cli import targets
from chalkgrad.cli.files import check_output, deliver
from chalkgrad.cli.terminal import has_colour, width

if TYPE_CHECKING:
    from chalkgrad.layer_type import Derivation

SUFFIXES = (".txt", ".md", ".tex")


@click.command("derive", epilog=targets.EPILOG)
@click.argument("target")
@click.option("--wrt", multiple=True, metavar="NAME", help="An input to differentiate by; all by default.")
@click.option("--brief", is_flag=True, help="Only the lines that carry the argument.")
@click.option("--staged", "form", flag_value="staged", help="One adjoint per intermediate.")
@click.option("--closed", "form", flag_value="closed", help="Adjoints substituted into each other.")
@click.option("--no-verify", is_flag=True, help="Skip the numerical check of every line.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help=f"Write to a file: {' '.join(SUFFIXES)}."
)
def command(
    target: str, wrt: tuple[str, ...], brief: bool, form: str | None, no_verify: bool, output: Path | None
) -> None:
    """Derive the backward pass of TARGET, each line with its reason.

    Every line is checked at random points before it is shown, and the worst
    relative error is printed with it. A false line ends with status 1.

    \b
    chalkgrad derive affine --wrt W
    chalkgrad derive softmax_loss --brief
    chalkgrad derive "L = mean(i, (f[i] - t[i])^2)" -o mse.tex
    chalkgrad derive layers.py:my_norm --wrt x --wrt gamma
    """
    check_output(output, SUFFIXES)
    layer = targets.resolve(target)
    names = tuple(name.strip() for entry in wrt for name in entry.split(",") if name.strip())
    derivation = layer.derive(*names, form=form) if form else layer.derive(*names)
    if not no_verify:
        derivation.verify()
    deliver(output, _rendered(derivation, output, brief))


def _rendered(derivation: Derivation, output: Path | None, brief: bool) -> str:
    """The derivation in the format that the file's ending says; the terminal's without a file."""
    suffix = output.suffix.lower() if output else ""
    if suffix == ".md":
        return derivation.to_markdown()
    if suffix == ".tex":
        return derivation.to_latex(document=True)
    if suffix == ".txt":
        return derivation.to_text(width=80, brief=brief, color=False)
    return derivation.to_text(width=width(), brief=brief, color=has_colour())
