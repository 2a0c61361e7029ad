"""Cutting and changing the text of a claim by the places in its syntax tree."""

from __future__ import annotations

from collections.abc import Iterator

from chalkgrad.diagnose.claims import Claim
from chalkgrad.expr.grammar import parse
from chalkgrad.expr.syntax import Binder, Condition, Entry, Equation, Factors, Name, Negative, Syntax, Terms
from chalkgrad.frontend.known import parts


def equation(text: str) -> Equation:
    """The one equation that a line holds."""
    found = parse(text)[0]
    assert isinstance(found, Equation)
    return found


def shown(text: str, part: Syntax) -> str:
    """A part as it is written, with its brackets."""
    return text[part.start : part.end]


def replaced(text: str, part: Syntax, new: str) -> str:
    """The text with one part written differently."""
    return text[: part.start] + new + text[part.end :]


def right_text(claim: Claim) -> str:
    """The right side as written."""
    return shown(claim.text, claim.tree.right)


def with_right(claim: Claim, right: str) -> str:
    """The claim with another right side."""
    return replaced(claim.text, claim.tree.right, right)


def group(text: str) -> str:
    """The text in brackets, unless one pair encloses it already."""
    return text if enclosed(text) else f"({text})"


def enclosed(text: str) -> bool:
    """Whether one pair of brackets encloses the whole text."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return character == ")" and place == len(text) - 1
    return False


def bare(text: str) -> str:
    """The text without brackets that enclose all of it."""
    return text[1:-1].strip() if text.startswith("(") and enclosed(text) else text


def grouped(claim: Claim) -> str:
    """The right side so that it can be a factor."""
    right = right_text(claim)
    return group(right) if isinstance(claim.tree.right, Terms | Negative) else right


def negated(claim: Claim) -> str:
    """The right side with the opposite sign."""
    right, tree = right_text(claim), claim.tree.right
    if isinstance(tree, Negative) and right[:1] in ("-", "−"):
        return right[1:].lstrip()
    if isinstance(tree, Terms):
        return terms(claim.text, tree, flip=set(range(len(tree.terms))))
    if isinstance(tree, Factors) and isinstance(tree.factors[0][1], Terms):
        first = tree.factors[0][1]
        flipped = terms(claim.text, first, flip=set(range(len(first.terms))))
        return f"{flipped}{claim.text[first.end : tree.end]}"
    return f"-{right}"


def terms(text: str, node: Terms, flip: set[int] | None = None, drop: int | None = None) -> str:
    """A sum of terms with some signs changed, or a term left out."""
    signed = []
    for position, (subtracted, term) in enumerate(node.terms):
        if position == drop:
            continue
        inner, minus = term, subtracted
        while isinstance(inner, Negative):
            inner, minus = inner.operand, not minus
        minus ^= position in (flip or ())
        part = shown(text, inner)
        signed.append((minus, group(part) if isinstance(inner, Terms) else part))
    written = ""
    # Where a sign has changed, a positive term leads: p - q rather than -q + p.
    for minus, part in sorted(signed, key=lambda item: item[0]) if flip else signed:
        written += f" {'-' if minus else '+'} {part}" if written else f"{'-' if minus else ''}{part}"
    return group(written or "0") if enclosed(shown(text, node)) else written or "0"


def product(text: str, factors: tuple[tuple[bool, Syntax], ...]) -> str:
    """A product of factors, each with whether it divides."""
    written = ""
    for divides, factor in factors:
        part = shown(text, factor)
        part = group(part) if isinstance(factor, Terms | Negative | Factors) else part
        sign = "/" if divides else "*"
        start = written or ("1" if divides else "")
        written = f"{start} {sign} {part}" if start else part
    return written or "1"


def walk_syntax(tree: Syntax) -> Iterator[Syntax]:
    """The tree and all its parts, parents first; both sides of an equation."""
    if isinstance(tree, Equation):
        for side in (tree.left, tree.right):
            if side is not None:
                yield from walk_syntax(side)
        return
    yield tree
    for part in parts(tree):
        yield from walk_syntax(part)


def index_names(tree: Syntax) -> Iterator[Name]:
    """Names in places of indices, in order."""
    for node in walk_syntax(tree):
        inside = node.indices if isinstance(node, Entry) else ()
        compared = (node.left, node.right) if isinstance(node, Condition) else ()
        for place in (*inside, *compared):
            yield from (n for n in walk_syntax(place) if isinstance(n, Name) and not n.adjoint)


def entries(tree: Syntax) -> Iterator[Entry]:
    """All accesses t[...]."""
    yield from (n for n in walk_syntax(tree) if isinstance(n, Entry))


def binders(tree: Syntax) -> Iterator[Binder]:
    """All sums, means and other reductions."""
    yield from (n for n in walk_syntax(tree) if isinstance(n, Binder))
