"""The code on the pages runs, and prints what the comment after a print says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = ("formula.md", "cs231n.md")
DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    scope: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), scope)
    printed = capsys.readouterr().out
    for said in re.findall(r"print\(.*\)(?:\s+|\n)# (.*)", "\n".join(blocks)):
        assert said in printed


def test_the_layers_that_the_page_names_exist() -> None:
    from chalkgrad.layers import GALLERY
    from chalkgrad.layers.aliases import canonical_name

    text = (DOCS / "cs231n.md").read_text(encoding="utf-8")
    named = set(re.findall(r"cg\.layers\.(\w+)", text))
    assert len(named) > 10
    assert {canonical_name(name) for name in named} <= GALLERY.keys()
