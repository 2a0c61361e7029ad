"""`python -m chalkgrad` is the command line."""

from __future__ import annotations

from chalkgrad.cli import main

if __name__ == "__main__":
    main(prog_name="chalkgrad")
