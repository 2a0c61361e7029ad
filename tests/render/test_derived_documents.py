"""Derivations as the engine makes them, in every format."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hand_derived import affine, softmax_loss

from chalkgrad.derivation import Derived
from chalkgrad.diff.derive import derive
from chalkgrad.render.document import EquationChain, document
from chalkgrad.render.html import to_html
from chalkgrad.render.latex import to_latex
from chalkgrad.render.markdown import to_markdown
from chalkgrad.render.math_text import display_width
from chalkgrad.render.terminal import to_text
from chalkgrad.verify.steps import verify

PROGRAMS = {"affine": (affine().program, ("x", "W", "b")), "softmax_loss": (softmax_loss().program, ("f",))}


@pytest.fixture(scope="module", params=PROGRAMS)
def derived(request: pytest.FixtureRequest) -> Derived:
    program, wrt = PROGRAMS[request.param]
    return derive(program, wrt)


def test_every_line_shown_carries_the_error_it_was_verified_with(derived: Derived) -> None:
    content = document(derived, verification=verify(derived))
    chains = [block for block in content.blocks if isinstance(block, EquationChain)]
    derivation = [line for chain in chains for line in chain.lines if line.reason != "in matrix form"]
    assert len(derivation) > 5
    assert all(line.error is not None for line in derivation)


def test_every_format_holds_every_line(derived: Derived) -> None:
    lines = sum(len(block.lines) for block in document(derived).blocks if isinstance(block, EquationChain))
    text = to_text(derived)
    assert max(map(display_width, text.splitlines())) <= 80
    assert text.count(" = ") >= lines
    assert to_latex(derived).count("= ") >= lines
    assert to_markdown(derived).count("= ") >= lines
    page = to_html(derived)
    main = ET.fromstring(page[page.index("<main>") : page.index("</main>") + len("</main>")])
    assert len(main.findall(".//div[@class='line']")) >= lines


def test_a_brief_rendering_is_shorter_and_keeps_the_results(derived: Derived) -> None:
    full, brief = to_text(derived), to_text(derived, brief=True)
    assert len(brief.splitlines()) < len(full.splitlines())
    assert brief[brief.index("── Result") :] == full[full.index("── Result") :]
