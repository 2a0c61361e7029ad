"""Errors of the command line: one short paragraph on stderr, the right status, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from chalkgrad.cli import main
from chalkgrad.cli.group import TeachingGroup
from chalkgrad.errors import FormulaError, VerificationError


def failing(error: BaseException) -> TeachingGroup:
    """A command line with one verb, which raises `error`."""

    @click.command("fail")
    def fail() -> None:
        raise error

    class Group(TeachingGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return fail if cmd_name == "fail" else None

    group = Group("group", verbs=("fail",))
    group.params.append(click.Option(["--debug"], is_flag=True, expose_value=False))
    return group


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (FormulaError("No.", source="f = g", position=4), 2, "No.\n    f = g\n        ^"),
        (VerificationError("A false line."), 1, "A false line."),
        (FileNotFoundError(2, "No such file or directory", "a.csv"), 2, "a.csv: No such file or directory."),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (ZeroDivisionError("division by zero"), 70, "ZeroDivisionError: division by zero"),
        (RecursionError("too deep"), 70, "RecursionError: too deep"),
    ],
)
def test_every_error_becomes_words_and_a_status(error: BaseException, status: int, text: str) -> None:
    done = CliRunner().invoke(failing(error), ["fail"])
    assert done.exit_code == status
    assert done.stdout == ""
    assert done.stderr.startswith(f"chalkgrad: {text}")
    assert "Traceback" not in done.stderr


def test_a_defect_asks_for_a_report_and_debug_shows_where() -> None:
    quiet = CliRunner().invoke(failing(KeyError("k")), ["fail"])
    assert "Please report it" in quiet.stderr


def test_debug_shows_the_traceback_of_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: TeachingGroup, _ctx: click.Context, _name: str) -> click.Command:
        raise KeyError("k")

    monkeypatch.setattr(TeachingGroup, "get_command", broken)
    assert "Traceback" in CliRunner().invoke(main, ["--debug", "layers"]).stderr
    assert "Traceback" not in CliRunner().invoke(main, ["layers"]).stderr


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    done = CliRunner().invoke(main, ["derivee"])
    assert done.exit_code == 2
    assert "There is no command 'derivee'. Did you mean 'derive'?" in done.stderr


@pytest.mark.parametrize("verb", main.verbs)  # type: ignore[attr-defined]
def test_help_teaches_by_runnable_examples_in_80_columns(verb: str) -> None:
    done = CliRunner().invoke(main, [verb, "--help"], terminal_width=80)
    assert done.exit_code == 0
    examples = [line for line in done.stdout.splitlines() if line.startswith("  chalkgrad ")]
    assert len(examples) >= 2
    assert examples[0].split()[1] == verb
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_help_lists_every_verb_and_does_not_load_the_engine() -> None:
    code = (
        "import sys; from chalkgrad.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "assert 'chalkgrad.diff' not in sys.modules, 'the engine is loaded'\n"
        "assert 'rich' not in sys.modules, 'rich is loaded'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for verb in main.verbs:  # type: ignore[attr-defined]
        assert f"\n  {verb} " in done.stdout


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    # `head` has left before the second line is written, so the verb meets a closed pipe.
    command = f"{sys.executable} -m chalkgrad layers | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in {"0", "141"}
