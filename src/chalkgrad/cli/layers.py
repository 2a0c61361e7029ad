"""chalkgrad layers: the gallery."""

from __future__ import annotations

import click

from chalkgrad.cli.terminal import width


@click.command("layers")
def command() -> None:
    """List the built-in layers with their forward formulas.

    A layer answers to its other usual names too, listed after "also"; capitals do not matter, and
    "logistic regression" is logistic_regression.

    \b
    chalkgrad layers
    chalkgrad derive NAME      the backward of one of them
    chalkgrad emit NAME        its code
    """
    # Late, so that `--help` does not load the engine.
    from chalkgrad.layers import ALIASES, GALLERY

    column = max((len(name) for name in GALLERY), default=0)
    for name, layer in GALLERY.items():
        lines = [str(definition) for definition in layer.program.definitions]
        aliases = [alias for alias, of in ALIASES.items() if of == name]
        if aliases:
            lines.append(f"also: {', '.join(aliases)}")
        click.echo(_row(name, lines, column))


def _row(name: str, lines: list[str], column: int) -> str:
    """One layer: its name, and its formulas folded and indented under each other."""
    room = max(width() - column - 2, 30)
    folded = [part for line in lines for part in _folded(line, room)]
    return "\n".join(f"{name if i == 0 else '':<{column}}  {part}" for i, part in enumerate(folded))


def _folded(line: str, room: int) -> list[str]:
    """`line` broken at spaces so that each part fits; later parts are indented."""
    parts = []
    while len(line) > room:
        cut = line.rfind(" ", 5, room)
        if cut < 0:
            break
        parts.append(line[:cut])
        line = f"    {line[cut + 1 :]}"
    return [*parts, line]
