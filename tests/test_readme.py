"""The README tells the truth: its blocks run in order, and print what stands below them.

- A `python` block is executed in one namespace for the whole file; a `text` block right after it is
  what it printed.
- In a `console` block, a line that begins with `$ chalkgrad` or `$ python` is run, and the lines under it are
  its output.
- A line `...` in an output stands for any number of lines. Other blocks (`sh`) are not run.

After a wanted change of the output, `UPDATE_README=1 python -m pytest tests/test_readme.py` writes
the new output into the file (blocks with `...` are left to you).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
_FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
# A relative error near the rounding unit: its digits, and whether it is 0, are the machine's.
_ERROR = re.compile(r"(?<![\w.])(?:\d+(?:\.\d+)?e-1[4-9]|(?<=✓ )0)(?![\w.])")
ELLIPSIS = "..."


@dataclass(frozen=True)
class Example:
    """Something to run and what it should print, with the place of that text in the README."""

    kind: str
    code: str
    expected: str
    start: int
    end: int


def examples(text: str) -> list[Example]:
    """All that can be run, in order; a python block without an output expects nothing of it."""
    found: list[Example] = []
    for block in _FENCE.finditer(text):
        if block["kind"] == "python":
            found.append(Example("python", block["body"], "", -1, -1))
        elif block["kind"] == "text" and found and found[-1].kind == "python" and found[-1].start < 0:
            found[-1] = Example(
                "python", found[-1].code, block["body"], block.start("body"), block.end("body")
            )
        elif block["kind"] == "console":
            found += _commands(block["body"], block.start("body"))
    return found


def _commands(body: str, offset: int) -> list[Example]:
    """The commands of a console block with the lines under each."""
    starts = list(re.finditer(r"^\$ (.*)\n", body, re.MULTILINE))
    ends = [m.start() for m in starts[1:]] + [len(body)]
    return [
        Example("console", m[1], body[m.end() : end], offset + m.end(), offset + end)
        for m, end in zip(starts, ends, strict=True)
        if m[1].startswith(("chalkgrad ", "python "))
    ]


def run(example: Example, names: dict[str, object]) -> str:
    """What the example prints."""
    if example.kind == "python":
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(example.code, "README.md", "exec"), names)
        return out.getvalue()
    program, *args = shlex.split(example.code)
    module = ["-m", "chalkgrad"] if program == "chalkgrad" else []
    done = subprocess.run(
        [sys.executable, *module, *args], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def same(printed: str, expected: str) -> bool:
    """Whether they agree but for rounding errors (their last digits are the machine's) and `...`."""
    lines, pattern = _comparable(printed), _comparable(expected)
    regex = "\n".join(r".*" if line == ELLIPSIS else re.escape(line) for line in pattern)
    return re.fullmatch(regex, "\n".join(lines), re.DOTALL) is not None


def _comparable(text: str) -> list[str]:
    lines = [" ".join(_ERROR.sub("1e-16", line).split()) for line in text.strip().splitlines()]
    return [line for line in lines if line]


def test_the_readme_prints_what_it_says() -> None:
    text = README.read_text(encoding="utf-8")
    found = examples(text)
    assert any(example.kind == "python" for example in found)
    assert any(example.expected for example in found)
    names: dict[str, object] = {}
    stale: list[tuple[Example, str]] = []
    for example in found:
        printed = run(example, names)
        if example.start >= 0 and not same(printed, example.expected):
            stale.append((example, printed))
    if stale and os.environ.get("UPDATE_README"):
        README.write_text(updated(text, stale), encoding="utf-8")
    report = "\n\n".join(f"{e.code}\nprinted\n{printed}\nnot\n{e.expected}" for e, printed in stale)
    assert not stale, report


def updated(text: str, stale: list[tuple[Example, str]]) -> str:
    """The README with fresh outputs, from the last to the first so that places stay right."""
    for example, printed in reversed(stale):
        if ELLIPSIS not in example.expected.split():
            text = text[: example.start] + printed.strip("\n") + "\n" + text[example.end :]
    return text


@pytest.mark.parametrize(
    ("printed", "expected", "agree"),
    [
        ("a\nb\n", "a\nb", True),
        ("a\nb\n", "a\nc", False),
        ("a\nb\nc\n", "a\n...\nc", True),
        ("a\nb\nc\n", "a\n...\nd", False),
        ("error 1.2e-16", "error 3.4e-16", True),
        ("✓ 0", "✓ 3e-16", True),
        ("error 1.2", "error 3.4", False),
        ("error 1e-16", "error 1e-3", False),
        ("x[0]", "x[1e-16]", False),
    ],
)
def test_outputs_are_compared_line_by_line(printed: str, expected: str, agree: bool) -> None:
    assert same(printed, expected) is agree


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(
        re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = set(re.findall(r"\bmake ([a-z]+)\b", README.read_text(encoding="utf-8")))
    assert {"demo", "test"} <= named <= targets
