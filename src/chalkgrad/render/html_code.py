"""Source code on a page: coloured by Python's own tokenizer, with a button that copies it."""

from __future__ import annotations

import io
import keyword
import tokenize
from html import escape

from chalkgrad.render.blocks import Code


def code_figure(block: Code, *, opened: bool = True) -> str:
    """The code in a panel that folds; the button appears where scripts run."""
    state = ' open=""' if opened else ""
    return (
        f'<details class="code"{state}><summary>{escape(block.title or "Code")}</summary>'
        '<button type="button" class="copy" hidden="">Copy</button>'
        f'<pre tabindex="0"><code>{coloured(block.source.rstrip(), block.language)}</code></pre></details>'
    )


def coloured(source: str, language: str = "python") -> str:
    """The source with comments, strings and keywords marked; its text is not changed."""
    if language != "python":
        return escape(source, quote=False)
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    parts: list[str] = []
    at = 0
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return escape(source, quote=False)
    for token in tokens:
        kind = _kind(token)
        if kind:
            begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
            inside = escape(source[begin:end], quote=False)
            parts.append(f'{escape(source[at:begin], quote=False)}<span class="{kind}">{inside}</span>')
            at = end
    return "".join(parts) + escape(source[at:], quote=False)


def _kind(token: tokenize.TokenInfo) -> str:
    match token.type:
        case tokenize.COMMENT:
            return "cm"
        case tokenize.STRING:
            return "st"
        case tokenize.NAME if keyword.iskeyword(token.string):
            return "kw"
    return ""
