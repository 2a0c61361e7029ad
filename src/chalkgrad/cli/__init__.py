"""The command line: one file per verb; `group.py` is the one place where errors become words.

May import everything below it; nothing imports it. A verb's file is loaded when its verb is used.
"""

from __future__ import annotations

import click

from chalkgrad.cli.group import TeachingGroup


@click.group(
    cls=TeachingGroup,
    verbs=("derive", "emit", "check", "layers", "gallery", "train", "predict", "evaluate"),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(package_name="chalkgrad", prog_name="chalkgrad")
@click.option("--debug", is_flag=True, help="Show the traceback of an unexpected error.")
def main(debug: bool) -> None:
    """Write the forward. Read, prove and run the backward.

    \b
    chalkgrad derive affine --wrt W       the backward of a layer, line by line
    chalkgrad check notes.chalk           a derivation: which line is false, and why
    chalkgrad emit softmax --to numpy     readable code, forward and backward
    chalkgrad train digits --hidden 100   a network, trained with derived code
    chalkgrad predict model/ new.csv      its answers for new rows

    Exit status: 0 right, 1 the answer is "wrong", 2 unusable input,
    130 interrupted.
    """
