"""The pages in docs/ show what the code prints; `UPDATE_README=1` writes fresh output into them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.test_readme import Example, examples, run, same, updated

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in sorted(DOCS.glob("*.md")) if "```console" in page.read_text(encoding="utf-8")]


def test_the_page_on_closed_forms_shows_a_derivation() -> None:
    assert DOCS / "closed-forms.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_prints_what_it_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    stale: list[tuple[Example, str]] = []
    for example in examples(text):
        printed = run(example, {})
        if example.start >= 0 and not same(printed, example.expected):
            stale.append((example, printed))
    if stale and os.environ.get("UPDATE_README"):
        page.write_text(updated(text, stale), encoding="utf-8")
    assert not stale, "\n\n".join(f"{e.code}\nprinted\n{printed}" for e, printed in stale)
