"""Reasons and titles as people write them: formulas set as formulas, names by their letters.

The engine says its reasons in plain text, with formulas in the grammar of `chalkgrad.formula`. Here
those become mathematics again, so that a page can set them and a terminal can print them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from chalkgrad.derivation import Derived
from chalkgrad.expr.matrix import Matrix, Named
from chalkgrad.expr.names import parse_name
from chalkgrad.expr.nodes import Expr, Tensor
from chalkgrad.expr.ops import tensors_in
from chalkgrad.render.math_text import math_text

Inline = str | Expr | Matrix
"""A run of text or a formula within a sentence."""

# A letter may carry a hat (a combining mark) or be a word with a number: x̂[i,d], W1[d,h].
_NAME = r"[^\W\d_][\w\N{COMBINING CIRCUMFLEX ACCENT}\N{COMBINING MACRON}\N{COMBINING TILDE}]*"
PLAIN_INDICES = re.compile(rf"(?<![\w′])({_NAME})\[((?:[a-z]′*)(?:, ?[a-z]′*)*)\]")
PLAIN_ADJOINT = re.compile(rf"\bd([^\W\d_]+)/d({_NAME})")
PLAIN_SUM = re.compile(r"\bsum\(([a-z]′*(?: [a-z]′*)*), ([^()]*)\)")


def readable(reason: str) -> str:
    """Formulas in a reason as people write them: p[i,k] becomes p_ik, dL/dp becomes ∂L/∂p.

    >>> readable("dL/df[i,k] put in; p[i,y[i]] = 1")
    '∂L/∂f_ik put in; p[i,y_i] = 1'
    """
    reason = PLAIN_ADJOINT.sub(r"∂\1/∂\2", reason).replace(" == ", " = ").replace(" * ", " ")
    reason = PLAIN_INDICES.sub(_subscripts, reason)
    return PLAIN_SUM.sub(lambda m: f"Σ_{m[1].replace(' ', '')} {m[2]}", reason)


def _subscripts(found: re.Match[str]) -> str:
    indices = found[2].replace(" ", "")
    return f"{found[1]}[{indices}]" if "_" in found[1] else f"{found[1]}_{indices.replace(',', '')}"


@dataclass(slots=True)
class Words:
    """How the sentences of one derivation are written."""

    loss: str
    formulas: dict[str, tuple[Inline, ...]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(derived: Derived, loss: str) -> Words:
        """Every definition, lemma and adjoint that a reason may quote."""
        words = Words(loss)
        definitions = (*derived.program.definitions, *derived.staged.definitions, *derived.closed.definitions)
        for d in definitions:
            words.formulas[str(d)] = (d.access, " = ", d.body)
        for stage in derived.stages:
            if stage.kind == "lemma":
                words.formulas[f"{stage.lhs} = {stage.rhs}"] = (stage.lhs, " = ", stage.rhs)
        for tensor in _tensors(derived):
            words.formulas[f"dL/d{tensor.name}"] = (Named(tensor.adjoint),)
            written = parse_name(tensor.name).text
            if written != tensor.name:
                words.names[tensor.name] = written
        return words

    def parts(self, sentence: str) -> tuple[Inline, ...]:
        """The sentence as runs of text and formulas."""
        if not sentence:
            return ()
        quoted = sorted((q for q in self.formulas if q in sentence), key=len, reverse=True)
        if not quoted:
            return (self._text(sentence),)
        pattern = "|".join(re.escape(q) + r"(?![\w\[′])" for q in quoted)
        parts: list[Inline] = []
        at = 0
        for found in re.finditer(pattern, sentence):
            parts += [self._text(sentence[at : found.start()]), *self.formulas[found[0]]]
            at = found.end()
        parts.append(self._text(sentence[at:]))
        return tuple(p for p in parts if p != "")

    def plain(self, parts: tuple[Inline, ...]) -> str:
        """The same sentence as Unicode text."""
        return "".join(p if isinstance(p, str) else math_text(p, self.loss) for p in parts)

    def title(self, sentence: str) -> str:
        """A heading: plain text, names by their letters."""
        return self.plain(self.parts(sentence))

    def _text(self, sentence: str) -> str:
        if self.names:
            pattern = rf"(?<![\w/])({'|'.join(map(re.escape, self.names))})(?!\w)"
            sentence = re.sub(pattern, lambda m: self.names[m[1]], sentence)
        return readable(sentence)


def _tensors(derived: Derived) -> list[Tensor]:
    """Every value of the forward pass, inputs first."""
    found = dict.fromkeys((*derived.program.inputs, *(p for p, _ in derived.program.parameters)))
    for d in derived.program.definitions:
        found |= dict.fromkeys([d.target, *sorted(tensors_in(d.body), key=lambda t: t.name)])
    return list(found)
