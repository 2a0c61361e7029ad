"""The command group: verbs loaded when used, and every error told in one short paragraph.

Errors go to stderr and end with a status that scripts can use: 1 the answer is "wrong" (chosen by
the verb itself), 2 unusable input, 70 a defect of chalkgrad, 130 interrupted, 141 the reader of a
pipe went away. A traceback appears only under `--debug`.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from chalkgrad.errors import ChalkgradError, VerificationError, suggestion
from chalkgrad.render.ascii_text import HANDLER

WRONG = 1
UNUSABLE = 2
DEFECT = 70
INTERRUPTED = 130
PIPE_CLOSED = 141

REPORT = (
    "This is a defect of chalkgrad, not of your input. Please report it with the command that you ran; "
    "`chalkgrad --debug ...` shows where it happened."
)


class TeachingGroup(click.Group):
    """A click group whose verbs live in modules of the same name."""

    def __init__(self, *args: Any, verbs: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = tuple(verbs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        command = importlib.import_module(f"chalkgrad.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word in self.verbs or word.startswith("-"):
            return super().resolve_command(ctx, args)
        near = suggestion(word, self.verbs)
        raise ChalkgradError(
            f"There is no command '{word}'.{near}",
            hint=f"The commands are {', '.join(self.verbs)}; `chalkgrad --help` shows what they do.",
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; turn whatever goes wrong into words and a status."""
        for stream in (sys.stdout, sys.stderr):
            # A terminal that cannot show ∂ shows d instead of ending the command.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors=HANDLER)
        debug = bool(ctx.params.get("debug"))
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx is not None else "chalkgrad"
            shows = f"`{command} --help` shows what it takes."
            _fail(ctx, f"{error.format_message()}\n{shows}", UNUSABLE)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            _silence_stdout()
            ctx.exit(PIPE_CLOSED)
        except KeyboardInterrupt:
            _fail(ctx, "Interrupted.", INTERRUPTED)
        except VerificationError as error:
            _fail(ctx, str(error), WRONG)
        except ChalkgradError as error:
            _fail(ctx, str(error), UNUSABLE)
        except MemoryError:
            hint = "Try smaller layers, a smaller batch or fewer rows."
            _fail(ctx, f"There is not enough memory for this.\n{hint}", UNUSABLE)
        except OSError as error:
            _fail(ctx, _os_text(error), UNUSABLE)
        except Exception as error:  # noqa: BLE001 (the command line's last line of defence)
            if debug:
                traceback.print_exc()
            _fail(ctx, f"{type(error).__name__}: {_one_line(error)}\n{REPORT}", DEFECT)
        return result


def _fail(ctx: click.Context, text: str, status: int) -> None:
    click.echo(f"chalkgrad: {text}", err=True)
    ctx.exit(status)


def _os_text(error: OSError) -> str:
    """The system's words and the file's name, without errno and class."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}." if error.filename is not None else f"{reason}."


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else f"{text[:197]}..."


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere: the reader is gone, and that is no error."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError):
        return
