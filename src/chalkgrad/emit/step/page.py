"""The page that a step is written on: imports, helpers, the two functions."""

from __future__ import annotations

from collections.abc import Sequence

PIECE = 16384
"""Entries of the parameters that are updated at a time: with the rule's memories they fit in the cache."""

SQUARES = '''
def squares(flat):
    """Σ of the squares; every PIECE entries are added up in double precision."""
    total = 0.0
    for start in range(0, flat.size, PIECE):
        part = flat[start : start + PIECE]
        total += float(np.vdot(part, part))
    return total
'''
ERF = "from scipy.special import erf\n"


def page(
    buffers: Sequence[str],
    sizes: Sequence[str],
    before: Sequence[str],
    body: Sequence[str],
    keywords: Sequence[str],
) -> str:
    """The module: memory of the buffers, what stands before the loop over batches, the loop's body."""
    code = "\n".join([*before, *body])
    head = '"""A training step, derived: every line writes into memory that is already there."""\n'
    head += "\nimport numpy as np\n" + (ERF if "erf(" in code else "")
    head += f"\nPIECE = {PIECE}\n"
    functions = [
        f"def allocate({', '.join([*sizes, 'dtype'])}):\n"
        '    """The memory of a step; values that are never needed together share a buffer."""\n'
        "    return [\n" + "".join(f"        {line}\n" for line in buffers) + "    ]\n"
    ]
    if "squares(" in code:
        functions.append(SQUARES.strip() + "\n")
    signature = "".join(f"    {line}\n" for line in filled(keywords))
    functions.append(
        f"def steps(\n    order, losses, memory, *,\n{signature}):\n"
        '    """One update for every batch of rows in `order` (S, N), its loss to `losses` (S,)."""\n'
        + "".join(f"    {line}".rstrip() + "\n" for line in before)
        + "\n    for step, rows in enumerate(order):\n"
        + "".join(f"        {line}".rstrip() + "\n" for line in body)
    )
    return head + "".join(f"\n\n{f}" for f in functions)


def filled(words: Sequence[str], width: int = 92) -> list[str]:
    """The words with commas, in lines of at most this width."""
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f"{word}, "
    return [line.rstrip() for line in lines]


def wrapped(text: str, width: int = 88) -> list[str]:
    """The text in lines of at most this width, continuations indented."""
    lines: list[str] = []
    while len(text) > width:
        cut = text.rfind(" ", 4, width + 1)
        cut = cut if cut > 0 else width
        lines.append(text[:cut].rstrip())
        text = "    " + text[cut:].lstrip()
    return [*lines, text]
