"""What a notebook shows of a derivation and of a layer: the content of `_repr_mimebundle_`."""

from __future__ import annotations

from chalkgrad.derivation import Derived
from chalkgrad.expr.nodes import Program
from chalkgrad.render.aligned import aligned
from chalkgrad.render.document import EquationChain, Lemma, Verification, document
from chalkgrad.render.markdown import document_markdown
from chalkgrad.render.math_latex import math_latex
from chalkgrad.render.own_names import with_names_apart
from chalkgrad.render.terminal import document_text


@with_names_apart
def mime_bundle(derived: Derived, *, verification: Verification | None = None) -> dict[str, str]:
    r"""The derivation as "text/plain", "text/markdown" and "text/latex".

    The LaTeX is `$$ \begin{aligned} … \end{aligned} $$` blocks, which notebooks hand to MathJax or
    KaTeX as they are; a front end takes the richest form that it knows.
    """
    content = document(derived, verification=verification)
    blocks = (block.chain if isinstance(block, Lemma) else block for block in content.blocks)
    chains = [block for block in blocks if isinstance(block, EquationChain)]
    return {
        "text/plain": document_text(content),
        "text/markdown": document_markdown(content),
        "text/latex": "\n".join(f"$$\n{aligned(chain, content.loss)}\n$$" for chain in chains),
    }


@with_names_apart
def formula_bundle(program: Program, plain: str) -> dict[str, str]:
    r"""A forward pass as "text/plain", as given, and as "text/latex", one line per definition."""
    rows = [f"{math_latex(d.access)} &= {math_latex(d.body)}" for d in program.definitions]
    body = " \\\\\n".join(rows)
    return {"text/plain": plain, "text/latex": f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"}
