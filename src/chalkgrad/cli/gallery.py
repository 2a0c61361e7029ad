"""chalkgrad gallery: every built-in layer as a web page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chalkgrad.cli.files import write_output
from chalkgrad.errors import ChalkgradError


@click.command("gallery")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("gallery"),
    show_default=True,
    help="The folder to write; it is made if it does not exist.",
)
def command(output: Path) -> None:
    """Write every built-in layer as a page, and an index that leads to them.

    Each page stands by itself: the derivation line by line, verified, with
    its computational graph and its code. Nothing is loaded from a network.

    \b
    chalkgrad gallery
    chalkgrad gallery -o public/
    """
    # Late, so that `--help` does not load the engine.
    from chalkgrad.web.site import groups, write_site

    if output.exists() and not output.is_dir():
        raise ChalkgradError(f"'{output}' is a file.", hint="Name a folder: chalkgrad gallery -o gallery")
    output.mkdir(parents=True, exist_ok=True)
    sections = groups()
    total = sum(len(group.names) for group in sections)
    shown = sys.stderr.isatty()
    done = 0

    def told(name: str) -> None:
        nonlocal done
        done += 1
        if shown:
            click.echo(f"\r\033[K{done} of {total}: {name}", err=True, nl=False)

    written = write_site(output, write_output, sections, told)
    if shown:
        click.echo("\r\033[K", err=True, nl=False)
    click.echo(f"Wrote {total} layers ({len(written)} files); begin at {output / 'index.html'}")
