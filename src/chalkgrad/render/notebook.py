"""What a notebook shows: the content of `_repr_mimebundle_`."""

from __future__ import annotations

from chalkgrad.derivation import Derived
from chalkgrad.render.aligned import aligned
from chalkgrad.render.document import EquationChain, Lemma, Verification, document
from chalkgrad.render.markdown import document_markdown
from chalkgrad.render.terminal import document_text


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
