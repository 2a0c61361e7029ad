"""chalkgrad derive: the backward pass, line by line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chalkgrad.cli import targets
from chalkgrad.cli.files import check_output, deliver
from chalkgrad.cli.terminal import has_colour, shows_mathematics, width
from chalkgrad.render.latex import to_latex
from chalkgrad.render.markdown import to_markdown
from chalkgrad.render.terminal import to_text
from chalkgrad.verify.steps import Verification

if TYPE_CHECKING:
    from chalkgrad.derivation_type import Derivation

SUFFIXES = (".txt", ".md", ".tex", ".html")


@click.command("derive", epilog=targets.EPILOG)
@click.argument("target")
@click.option("--wrt", multiple=True, metavar="NAME", help="An input to differentiate by; all by default.")
@click.option("--brief", is_flag=True, help="Only the lines that carry the argument.")
@click.option(
    "--form",
    type=click.Choice(["auto", "staged", "closed"]),
    default="auto",
    show_default=True,
    help="One adjoint per intermediate, or substituted into each other; auto is the cheaper.",
)
@click.option("--no-verify", is_flag=True, help="Skip the numerical check of every line.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help=f"Write to a file: {' '.join(SUFFIXES)}."
)
def command(
    target: str, wrt: tuple[str, ...], brief: bool, form: str, no_verify: bool, output: Path | None
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
    derivation = layer.derive(*names, form=form)
    verification = None if no_verify else derivation.verify()
    deliver(output, _rendered(derivation, verification, output, brief))


def _rendered(
    derivation: Derivation, verification: Verification | None, output: Path | None, brief: bool
) -> str:
    """The derivation in the format that the file's ending says; the terminal's without a file."""
    derived = derivation.record
    match output.suffix.lower() if output else "":
        case ".md":
            return to_markdown(derived, brief=brief, verification=verification)
        case ".tex":
            return to_latex(derived, document=True, brief=brief, verification=verification)
        case ".html":
            return derivation.to_html(brief=brief, verified=verification is not None)
        case ".txt":
            return to_text(derived, brief=brief, verification=verification)
    return to_text(
        derived,
        width=width(),
        brief=brief,
        color=has_colour(),
        verification=verification,
        ascii_only=not shows_mathematics(),
    )
