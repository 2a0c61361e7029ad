"""Whole derivations in each format, against golden files and against what must always hold.

To accept new output: CHALKGRAD_GOLDEN=write pytest tests/render
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hand_derived import DERIVED, W, affine, softmax_loss, verified

from chalkgrad.derivation import Derived, Stage, Step
from chalkgrad.expr.nodes import Const, Expr, Tensor
from chalkgrad.render.document import Code, EquationChain, Heading, Lemma, Note, document
from chalkgrad.render.html import to_html
from chalkgrad.render.latex import document_latex, to_latex
from chalkgrad.render.markdown import document_markdown, to_markdown
from chalkgrad.render.math_text import display_width
from chalkgrad.render.notebook import mime_bundle
from chalkgrad.render.terminal import document_text, to_text
from chalkgrad.render.wording import readable

GOLDEN = Path(__file__).parents[1] / "golden" / "render"
FORMATS: dict[str, Callable[[Derived], str]] = {
    "txt": lambda d: to_text(d, verification=verified(d)) + "\n",
    "brief.txt": lambda d: to_text(d, brief=True) + "\n",
    "tex": lambda d: to_latex(d, verification=verified(d)) + "\n",
    "md": lambda d: to_markdown(d, verification=verified(d)),
    "table.md": lambda d: to_markdown(d, verification=verified(d), table=True),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", DERIVED)
def test_golden(name: str, suffix: str) -> None:
    written = FORMATS[suffix](DERIVED[name]())
    path = GOLDEN / f"{name}.{suffix}"
    if os.environ.get("CHALKGRAD_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == written


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("name", DERIVED)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    derived = DERIVED[name]()
    text = to_text(derived, width=width, verification=verified(derived))
    assert max(map(display_width, text.splitlines())) <= width


def test_equal_signs_and_errors_stand_in_columns() -> None:
    text = to_text(affine(), verification=verified(affine()))
    rows = text[text.index("The gradient by W") :].splitlines()[1:6]
    assert {row.index("= ") for row in rows if "= " in row[:13]} == {11}
    assert len({row.index("✓") for row in rows if "✓" in row}) == 1


def test_colour_changes_nothing_but_escape_codes() -> None:
    coloured = to_text(softmax_loss(), color=True)
    assert "\x1b[" in coloured
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [row.rstrip() for row in plain.splitlines()] == to_text(softmax_loss()).splitlines()


def _stage(*kinds: str) -> Stage:
    values = [Const(n) for n in range(len(kinds) + 1)]
    steps = tuple(
        Step(values[n], values[n + 1], "rule", f"reason {n + 1}", kind == "minor", kind == "milestone")
        for n, kind in enumerate(kinds)
    )
    return Stage("chain", "title", values[0], steps)


def _values(stage: Stage, brief: bool = False, **changes: object) -> list[Expr]:
    derived = replace(affine(), stages=(stage,), **changes)  # type: ignore[arg-type]
    chains = [b for b in document(derived, brief=brief).blocks if isinstance(b, EquationChain)]
    return [line.value for line in chains[0].lines]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kinds", "brief", "kept"),
    [
        (("", "minor", ""), False, [1, 3]),
        (("", "minor", "minor"), False, [1, 3]),
        (("minor",), False, [1]),
        (("", "", "milestone", ""), True, [1, 3, 4]),
        (("", "", ""), True, [1, 3]),
        ((), False, []),
    ],
)
def test_which_lines_are_shown(kinds: tuple[str, ...], brief: bool, kept: list[int]) -> None:
    assert _values(_stage(*kinds), brief) == [Const(n) for n in kept]


def test_a_folded_line_keeps_the_worst_error() -> None:
    derived = replace(affine(), stages=(_stage("", "minor", ""),))
    errors = dict(zip(derived.stages[0].steps, (1e-16, 9e-12, 2e-16), strict=True))

    class Verification:
        worst = 9e-12
        lines = tuple(replace_error(step, error) for step, error in errors.items())

    chain = next(
        b for b in document(derived, verification=Verification()).blocks if isinstance(b, EquationChain)
    )
    assert [line.error for line in chain.lines] == [1e-16, 9e-12]


def replace_error(step: Step, error: float) -> object:
    line = verified(affine()).lines[0]
    return replace(line, before=step.before, after=step.after, error=error)


def test_a_line_before_the_first_step_is_shown() -> None:
    stage = replace(_stage(""), lhs=Const(7))
    assert _values(stage) == [Const(0), Const(1)]


def test_the_summary_says_form_lemmas_notes_and_verification() -> None:
    derived = replace(softmax_loss(), staged=affine().staged)
    content = document(derived, verification=verified(derived))
    notes = " ".join(str(n.parts[0]) for n in content.blocks if isinstance(n, Note))
    assert "The closed form was chosen: it needs 2 operations" in notes
    assert "Lemmas used" in notes
    assert "saves nothing" in to_text(softmax_loss())
    assert "labels outside" in notes
    assert "Every line verified: worst relative error 3e-16." in notes
    assert sum(isinstance(b, Lemma) for b in content.blocks) == 1
    assert "verified" not in to_text(derived)


def test_sections_come_once_in_reading_order() -> None:
    titles = [b.text for b in document(affine()).blocks if isinstance(b, Heading) and b.level == 1]
    assert titles == ["Forward pass", "Backward pass", "Result"]


def test_the_loss_keeps_the_name_that_the_user_gave() -> None:
    derived = softmax_loss()
    output = replace_name(derived)
    assert "∂cost/∂f_ik" in to_text(output)
    assert r"\frac{\partial \mathit{cost}}" in to_latex(output)


def replace_name(derived: Derived) -> Derived:
    return replace(derived, program=replace(derived.program, outputs=(Tensor("cost", (), role="value"),)))


def test_code_is_appended_in_every_format() -> None:
    code = Code("python", "def backward(g):\n    return g  # ∂L/∂x, 100%\n", "NumPy")
    content = document(affine(), code=[code])
    assert "    def backward(g):" in document_text(content)
    assert "```python\ndef backward(g):\n    return g  # ∂L/∂x, 100%\n```" in document_markdown(content)
    assert r"\texttt{def~backward(g):}" in document_latex(content)
    assert r"100\%" in document_latex(content)


def test_a_fence_is_longer_than_the_code_s_own() -> None:
    content = document(affine(), code=[Code("", "```\n")])
    assert "````\n```\n````" in document_markdown(content)


def test_markdown_blocks_hold_no_blank_line_and_no_bare_markup() -> None:
    markdown = to_markdown(replace(affine(), notes=("a*b_c <tag> | $5",)))
    assert r"> a\*b\_c \<tag\> \| \$5" in markdown
    for block in re.findall(r"\$\$\n(.*?)\n\$\$", markdown, re.DOTALL):
        assert block.startswith(r"\begin{aligned}")
        assert block.endswith(r"\end{aligned}")
        assert "\n\n" not in block


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head() -> None:
    derived = softmax_loss()
    rows = [
        r
        for r in to_markdown(derived, verification=verified(derived), table=True).splitlines()
        if r[:1] == "|"
    ]
    assert len(rows) > 10
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_the_notebook_gets_three_forms() -> None:
    bundle = mime_bundle(affine())
    assert set(bundle) == {"text/plain", "text/markdown", "text/latex"}
    assert bundle["text/latex"].startswith("$$\n\\begin{aligned}")
    assert bundle["text/plain"] == to_text(affine())
    assert bundle["text/markdown"] == to_markdown(affine())


def test_the_title_names_the_layer_and_the_inputs() -> None:
    assert to_text(replace(affine(), wrt=(W,))).startswith("The backward pass of affine, by W\n")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("name", DERIVED)
def test_the_document_compiles(name: str, tmp_path: Path) -> None:
    derived = replace(DERIVED[name](), notes=("100% of {x_hat} & é – “a” <b> \\ ^ ~ #1 中 x² σ(z)",))
    code = Code("python", "x = {'a': 1}  # ∂L/∂x ≤ 1\n\nif x:\n    y = x[0] % 2\n", "Code & more")
    content = document(derived, verification=verified(derived), code=[code])
    (tmp_path / "d.tex").write_text(document_latex(content), encoding="utf-8")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "d.tex"],
        cwd=tmp_path, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout.decode(errors="replace")[-1500:]
    assert b"Overfull \\hbox" not in run.stdout


@pytest.mark.parametrize(
    ("plain", "shown"),
    [
        ("p[i,k] = e[i,k] / z[i]", "p_ik = e_ik / z_i"),
        ("dL/dp put in", "∂L/∂p put in"),
        ("keeps only k == y[i]", "keeps only k = y_i"),
        ("p[i,y[i]] and W1[d, h]", "p[i,y_i] and W1_dh"),
        ("x[2*i+1] and/or sides", "x[2*i+1] and/or sides"),
    ],
)
def test_formulas_in_reasons_are_written_for_people(plain: str, shown: str) -> None:
    assert readable(plain) == shown


def test_the_page_is_whole_and_asks_the_network_for_nothing() -> None:
    derived = softmax_loss()
    page = to_html(
        derived, verification=verified(derived), code=[Code("python", "if a < b & c:\n    pass", "Code")]
    )
    assert not re.findall(r"https?:|src=|<link|@import|url\(", page)
    assert "if a &lt; b &amp; c:" in re.sub("</?span[^>]*>", "", page)
    assert page.count('class="copy"') == 1
    assert page.count("✓") >= 8
    body = page[page.index("<main>") : page.index("</main>") + len("</main>")]
    main = ET.fromstring(body)
    assert len(main.findall(".//div[@class='line']")) == sum(
        len(b.chain.lines if isinstance(b, Lemma) else b.lines)
        for b in document(derived).blocks
        if isinstance(b, EquationChain | Lemma)
    )


def test_a_page_escapes_its_words() -> None:
    page = to_html(replace(affine(), notes=("<script>alert(1)</script>",)))
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
