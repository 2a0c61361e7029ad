"""chalkgrad check: a backward or a derivation that somebody else wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chalkgrad.cli.group import WRONG
from chalkgrad.errors import ChalkgradError

if TYPE_CHECKING:
    from chalkgrad.diagnose.report import Diagnosis

_CODE = re.compile(r"(?P<path>.+\.py)(?::(?P<name>[^:]*))?", re.DOTALL)


@click.command("check")
@click.argument("file")
@click.option("--of", "of", metavar="LAYER", help="The layer that the backward belongs to: a built-in one, "
              "layers.py:NAME or a formula.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The diagnoses as JSON.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the diagnoses as JUnit XML.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
              help="Seconds that one call of a function may take.")  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context, file: str, of: str | None, as_json: bool, junit: Path | None, timeout: float
) -> None:
    """Check hand-written backwards in a Python file, or a derivation.

    CHECKING A PYTHON FILE RUNS IT: the file is executed and its functions are
    called, with your rights and no sandbox. Check only what you would run.

    \b
    chalkgrad check homework.py                      every backward in it
    chalkgrad check homework.py:my_backward --of affine
    chalkgrad check notes.chalk                      a derivation, line by line

    A sibling NAME_forward that returns (out, cache) is used and checked too. A
    forward that is no built-in layer is traced; its annotations (x: "N D"), or its
    docstring (x: inputs of shape (N, D)), name the axes. A class has methods
    forward(self, x) and backward(self, dout), and the name of its layer. Status 1
    means that something is wrong, 2 that it could not be checked.

    \b
    A .chalk file looks like this:
      f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]
      d f[i,k] / d W[d,j] = x[i,d] * 1(j == k)
      dL/dW[d,j] = sum(i, x[i,d] * dL/df[i,j])
    """
    code = _CODE.fullmatch(file)
    if code:
        right = _check_code(Path(code["path"]), code["name"] or "", of, as_json, junit, timeout)
    else:
        right = _check_derivation(Path(file))
    if not right:
        ctx.exit(WRONG)


def _check_derivation(file: Path) -> bool:
    # Late, so that `--help` does not load the engine.
    from chalkgrad.diagnose.chalk import check_chalk

    report = check_chalk(_read(file), str(file))
    click.echo(str(report).rstrip())
    return report.ok


def _check_code(
    path: Path, name: str, of: str | None, as_json: bool, junit: Path | None, timeout: float
) -> bool:
    from chalkgrad.cli.check_code import pairs_in, table
    from chalkgrad.diagnose.check import check
    from chalkgrad.diagnose.report import junit as junit_text

    left: list[tuple[str, ChalkgradError]] = []
    found: list[Diagnosis] = []
    for p in pairs_in(path, name, of, left):
        try:
            found.append(check(p.backward, p.layer, forward=p.forward, name=p.title, timeout=timeout))
        except ChalkgradError as problem:  # of one function; the others are judged all the same
            left.append((p.title, problem))
    if not found:
        raise left[-1][1]
    for function, reason in left:
        why = "\n".join(part for part in (reason.message, reason.hint) if part)
        click.echo(f"chalkgrad: {function} is not checked: {why}", err=True)
    if junit is not None:
        junit.write_text(junit_text(found, str(path)), encoding="utf-8")
    if as_json:
        click.echo(json.dumps([d.to_dict() for d in found], indent=2, ensure_ascii=False))
    elif name:
        click.echo(str(found[0]))
    else:
        for d in found:
            if not d.ok:
                click.echo(f"{d}\n")
        click.echo(table(found))
    return all(d.ok for d in found)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ChalkgradError(
            f"'{file}' is not UTF-8 text: byte {error.start} cannot be read.", hint="Save it as UTF-8."
        ) from error
