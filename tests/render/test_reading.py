"""What makes a derivation readable: names for what repeats, words for formulas, ASCII where it must be."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hand_derived import affine, softmax_loss, verified

from chalkgrad.derivation import Stage, Step
from chalkgrad.diff.wording import over
from chalkgrad.expr.names import parse_name
from chalkgrad.expr.nodes import Access, Add, Expr, Index, Partial, Range, Sum, Tensor
from chalkgrad.expr.ops import replace_access, walk
from chalkgrad.layers import GALLERY
from chalkgrad.render.abbreviate import LONG, MOST, Abbreviation, abbreviate
from chalkgrad.render.ascii_text import HANDLER, spell
from chalkgrad.render.blocks import EquationChain, Heading, Lemma
from chalkgrad.render.document import document
from chalkgrad.render.html import prose
from chalkgrad.render.html_code import coloured
from chalkgrad.render.math_latex import escape as escape_latex
from chalkgrad.render.math_text import math_piece
from chalkgrad.render.terminal import to_text
from chalkgrad.render.wording import Words

N, D = Range("N"), Range("D")
i, d = Index("i", N), Index("d", D)
x = Access(Tensor("x", (N, D)), (i, d))
w = Access(Tensor("w", (D,)), (d,))
scores = Tensor("scores", (N,), role="value")
total = Sum((d,), x * w * w + Access(scores, (i,)))


def long_line(*parts: Expr) -> Expr:
    """Terms enough to be wider than a line."""
    filler = tuple(Access(Tensor(f"intermediate{n}", ()), ()) for n in range(8))
    return Add((*parts, *filler))


def back(e: Expr, made: list[Abbreviation]) -> Expr:
    for a in reversed(made):
        e = replace_access(e, a.name.tensor, lambda at, a=a: a.value)  # type: ignore[misc]
    return e


def test_what_a_long_line_repeats_gets_a_name_with_its_indices() -> None:
    line = long_line(total * total)
    (short,), made = abbreviate([line], {"x", "w"})
    (name,) = made
    assert str(name.name) == "A[i]"
    assert name.value is total
    assert math_piece(short).width < math_piece(line).width
    assert back(short, made) is line


def test_short_lines_and_single_uses_stay() -> None:
    assert abbreviate([total * total], set()) == ([total * total], [])
    assert abbreviate([long_line(total)], set()) == ([long_line(total)], [])


def test_names_that_mean_something_are_not_taken() -> None:
    _, made = abbreviate([long_line(total * total)], {"A", "B"})
    assert made[0].name.tensor.name == "C"


def test_what_waits_to_be_differentiated_is_not_hidden() -> None:
    node = Partial(total, w)
    (line,), made = abbreviate([long_line(node * node)], set())
    assert made == []
    assert node in set(walk(line))


def test_no_line_has_more_names_than_one_can_keep_in_mind() -> None:
    sums = [Sum((d,), x * w + Access(Tensor(f"bias{n}", (N,)), (i,))) for n in range(MOST + 2)]
    (line,), made = abbreviate([long_line(*(s * s for s in sums))], set())
    assert len(made) == MOST
    assert math_piece(line).width > LONG


def test_names_are_explained_above_the_lines_that_use_them() -> None:
    record = affine()
    line = long_line(total * total)
    stage = Stage("chain", "title", x, (Step(x, line, "rule", "reason"),))
    text = to_text(replace(record, stages=(stage,)))
    assert text.index("Write A_i for Σ_d (") < text.index("= A_i A_i +")


@pytest.mark.parametrize("name", ["attention", "batch_norm"])
def test_a_brief_derivation_fits_two_screens(name: str) -> None:
    record = GALLERY[name].derive().record
    assert len(to_text(record, brief=True).splitlines()) < 100 < len(to_text(record).splitlines())


def test_a_brief_deep_network_drops_what_holds_no_milestone() -> None:
    record = GALLERY["two_layer_net"].derive("W1").record
    titles = [b.text for b in document(record, brief=True).blocks if isinstance(b, Heading)]
    assert not any(title.startswith(("How ", "The part of")) for title in titles)
    full = [b.text for b in document(record).blocks if isinstance(b, Heading)]
    assert sum(title.startswith("How ") for title in full) > 3


def test_a_gradient_is_one_finding_with_its_steps_and_repeats_no_line() -> None:
    content = document(GALLERY["affine"].derive("W").record)
    headings = [(b.level, b.text) for b in content.blocks if isinstance(b, Heading)]
    assert headings == [
        (1, "Forward pass"),
        (1, "Backward pass"),
        (2, "The gradient of W"),
        (3, "How f changes with W"),
        (3, "The part of one observation i"),
        (3, "So the gradient of W is"),
        (1, "Result"),
    ]
    chains = [b for b in content.blocks if isinstance(b, EquationChain)]
    of_w = [line.value for chain in chains[:-2] if chain.lhs is chains[1].lhs for line in chain.lines]
    assert len(of_w) == len(set(of_w)) == 2


def test_a_lemma_is_titled_by_its_statement_and_proved_below() -> None:
    record = GALLERY["batch_norm"].derive("x").record
    lemma = next(b for b in document(record).blocks if isinstance(b, Lemma))
    assert re.search(r"\nLemma\. Σ_(\w) x̂_\1d = 0\n  Σ_\1 x̂_\1d = ", to_text(record))
    assert len(lemma.chain.lines) > 2
    brief = next(b for b in document(record, brief=True).blocks if isinstance(b, Lemma))
    assert brief.chain.lines == ()


def test_formulas_that_a_reason_quotes_become_formulas() -> None:
    record = GALLERY["batch_norm"].derive("x").record
    words = Words.of(record, "L")
    parts = words.parts("x̂[i,d] = c[i,d] * s[d]; dL/dx̂ put in")
    assert [type(p).__name__ for p in parts] == ["Access", "str", "Mul", "str", "Named", "str"]
    assert words.plain(parts) == "x̂_id = c_id s_d; ∂L/∂x̂ put in"


def test_names_in_titles_are_written_by_their_letters() -> None:
    words = Words("L", names={"gamma": "γ", "xhat": "x̂"})
    assert words.title("How xhat changes with gamma") == "How x̂ changes with γ"
    assert words.title("gammas stay") == "gammas stay"


@pytest.mark.parametrize("written", ["x̂", "xhat", "x_hat"])
def test_an_accent_is_an_accent_however_it_is_typed(written: str) -> None:
    name = parse_name(written)
    assert (name.base, name.accent) == ("x", "hat")


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("∂L/∂W = xᵀ ∂L/∂F", "dL/dW = x^T dL/dF"),
        ("r_d = √(v_d + ε)", "r_d = sqrt(v_d + eps)"),
        ("x⁻¹² ∘ λ", "x^-12 .* lambda"),
        ("Σ_i 1(k ≠ y_i)", "sum_i 1(k != y_i)"),
        ("naïve 中", "naive ?"),
        ("plain", "plain"),
    ],
)
def test_mathematics_in_ascii(text: str, spelled: str) -> None:
    assert spell(text) == spelled


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("derived", [affine(), softmax_loss()], ids=["affine", "softmax_loss"])
def test_spelled_lines_fit_and_hold_their_columns(derived: object, width: int) -> None:
    text = to_text(derived, width=width, verification=verified(derived), ascii_only=True)  # type: ignore[arg-type]
    assert text.isascii()
    assert "?" not in text
    # The mark "ok" is one character wider than ✓.
    assert max(map(len, text.splitlines())) <= width + 1


def test_a_stream_spells_what_it_cannot_encode() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1", errors=HANDLER)
    stream.write("γ × ∂L − ä ✓")
    stream.flush()
    assert raw.getvalue().decode("latin-1") == "gamma × dL - ä ok"


@pytest.mark.parametrize("verb", [["derive", "batch_norm", "--brief"], ["layers"], ["derive", "no_such"]])
def test_no_command_fails_for_a_terminal_s_encoding(verb: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chalkgrad", *verb],
        capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=False,
    )  # fmt: skip
    assert done.returncode == (2 if "no_such" in verb else 0)
    said = (done.stdout + done.stderr).decode("latin-1")
    assert {c for c in said if not c.isascii()} <= set("·×²¹³")
    assert "Encode" not in said
    assert "?" not in said or "no_such" in verb


@pytest.mark.parametrize(
    "source",
    ["import x  # ∂L < 1\ns = 'a&b'\n", "def f(\n", 'x = """\n∂\n"""\nif x:\n    pass', "", "\tx ="],
)
def test_coloured_code_is_the_code(source: str) -> None:
    from xml.etree import ElementTree as ET

    assert "".join(ET.fromstring(f"<c>{coloured(source)}</c>").itertext()) == source


def test_comments_strings_and_keywords_are_marked() -> None:
    shown = coloured("return 'a'  # why")
    assert shown == (
        '<span class="kw">return</span> <span class="st">\'a\'</span>  <span class="cm"># why</span>'
    )
    assert coloured("a < b", "text") == "a &lt; b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("p_ik < 1", "<i>p</i><sub>ik</sub> &lt; 1"),
        ("x_{n, c, h + r} W_fcrs", "<i>x</i><sub>n, c, h + r</sub> <i>W</i><sub>fcrs</sub>"),
        ("Σ_k of out_ij", "<i>Σ</i><sub>k</sub> of <i>out</i><sub>ij</sub>"),
        ("rms_norm, x[i, y_i]", "rms_norm, x[i, <i>y</i><sub>i</sub>]"),
    ],
)
def test_index_notation_in_a_sentence_gets_subscripts(text: str, shown: str) -> None:
    assert prose(text) == shown


def test_an_accented_letter_in_a_sentence_is_mathematics_in_latex() -> None:
    assert escape_latex("Σ_i x̂_id, x̂ and ê") == (r"$\textstyle\sum_{i}$ $\hat{x}_{id}$, $\hat{x}$ and ê")


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ("NH", "over the observations n and over the hidden units h"),
        ("HW", "over the rows h and over the columns w"),
    ],
)
def test_height_and_width_are_rows_and_columns(ranges: str, said: str) -> None:
    assert over([Index(name.lower(), Range(name)) for name in ranges]) == said
