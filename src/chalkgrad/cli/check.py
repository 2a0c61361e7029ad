"""chalkgrad check: a derivation that somebody else wrote, line by line."""

from __future__ import annotations

from pathlib import Path

import click

from chalkgrad.cli.group import WRONG
from chalkgrad.errors import ChalkgradError


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def command(ctx: click.Context, file: Path) -> None:
    """Check the derivation in FILE, a .chalk file, line by line.

    The file gives the forward definitions, then claims. Every claim is verified
    by numbers; the first false one is explained and ends with status 1.

    \b
    chalkgrad check notes.chalk
    chalkgrad check examples/cs231n_affine.chalk

    \b
    A file looks like this:
      f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]
      d f[i,k] / d W[d,j] = x[i,d] * 1(j == k)
      dL/dW[d,j] = sum(i, x[i,d] * dL/df[i,j])
    """
    # Late, so that `--help` does not load the engine.
    from chalkgrad.diagnose.chalk import check_chalk

    report = check_chalk(_read(file), str(file))
    click.echo(str(report).rstrip())
    if not report.ok:
        ctx.exit(WRONG)


def _read(file: Path) -> str:
    if file.suffix == ".py":
        raise ChalkgradError(
            f"'{file}' is Python; derivations are checked in .chalk files.",
            hint="`chalkgrad check --help` shows what such a file looks like.",
        )
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ChalkgradError(
            f"'{file}' is not UTF-8 text: byte {error.start} cannot be read.", hint="Save it as UTF-8."
        ) from error
