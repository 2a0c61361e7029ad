"""`Derivation`: one derivation as users hold it, with its proof by numbers, its renderings and its code."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Any

from chalkgrad.derivation import Backward, Derived, Equation, Stage, Step
from chalkgrad.diff import for_code
from chalkgrad.emit.module_text import source
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.nodes import Program
from chalkgrad.render.blocks import Code
from chalkgrad.render.html import to_html
from chalkgrad.render.latex import to_latex
from chalkgrad.render.markdown import to_markdown
from chalkgrad.render.notebook import mime_bundle
from chalkgrad.render.terminal import to_text
from chalkgrad.verify.steps import Verification, verify

TITLES = {"numpy": "NumPy", "torch": "PyTorch", "jax": "JAX"}
"""The backends that code is emitted for, and how their names are written."""

TARGETS = tuple(TITLES)


class Derivation:
    """One derivation: its lines, its result, its proof by numbers, its renderings.

    Attributes:
        record: The whole record (`chalkgrad.derivation.Derived`).
    """

    def __init__(self, record: Derived) -> None:
        self.record = record

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Chains of equalities in reading order."""
        return self.record.stages

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every line: what stood before, what stands after, the rule, the reason."""
        return tuple(step for stage in self.record.stages for step in stage.steps)

    @property
    def results(self) -> tuple[Equation, ...]:
        """One equation per input differentiated by."""
        return self.record.results

    @property
    def result(self) -> Equation | tuple[Equation, ...]:
        """The equation found, or one per input where several were asked for."""
        return self.results[0] if len(self.results) == 1 else self.results

    @cached_property
    def verification(self) -> Verification:
        """The check of every line by numbers, made once."""
        return verify(self.record)

    def verify(self, seed: int = 0, points: int = 2) -> Verification:
        """Check every line in float64 at random points.

        Args:
            seed: Chooses the points.
            points: How many of them.

        Raises:
            VerificationError: If a line is false; the message names its rule.
        """
        return self.verification if (seed, points) == (0, 2) else verify(self.record, seed, points)

    def to_text(self, *, width: int = 80, brief: bool = False, color: bool = False) -> str:
        """The derivation for a terminal of this width."""
        return to_text(self.record, width=width, brief=brief, color=color, verification=self.verification)

    def to_latex(self, *, document: bool = False, brief: bool = False) -> str:
        """LaTeX: a fragment of `aligned` blocks, or a document that compiles."""
        return to_latex(self.record, document=document, brief=brief, verification=self.verification)

    def to_markdown(self, *, brief: bool = False) -> str:
        """Markdown with the formulas in `$$` blocks."""
        return to_markdown(self.record, brief=brief, verification=self.verification)

    def to_html(self, *, brief: bool = False, verified: bool = True) -> str:
        """One self-contained web page: the derivation with its picture, and the code for every target.

        A notebook shows the derivation by its Markdown or LaTeX, which it sets in its own style.
        """
        verification = self.verification if verified else None
        program = self.record.program
        code = code_blocks(program, program.name)
        return to_html(self.record, brief=brief, verification=verification, code=code)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        results = "; ".join(map(str, self.results))
        return f"<Derivation of {self.record.program.name}: {results}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return mime_bundle(self.record, verification=self.verification)


@lru_cache(256)
def emitted(program: Program) -> tuple[Program, Backward]:
    """The safe forward and the backward that code is written from, derived once."""
    return for_code(program)


def code_blocks(program: Program, name: str) -> tuple[Code, ...]:
    """A layer's code for every backend that can express it."""
    blocks = []
    for target, title in TITLES.items():
        try:
            blocks.append(Code("python", source(*emitted(program), name, target), title))
        except UnsupportedError:
            continue  # a page of the derivation stands without it; asking for the code says why
    return tuple(blocks)
