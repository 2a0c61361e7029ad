"""Every size that a function reads off an argument is used by it."""

from __future__ import annotations

import ast

import pytest

from chalkgrad.emit.module_text import source
from chalkgrad.layers.forwards import FORWARDS
from tests.emit.gallery import derived
from tests.emitted import TARGETS


def unread(text: str) -> list[str]:
    """FUNCTION.NAME for each name that a function assigns and never reads, underscores aside."""
    found = []
    for function in (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)):
        names = [n for n in ast.walk(function) if isinstance(n, ast.Name)]
        read = {n.id for n in names if isinstance(n.ctx, ast.Load)}
        sizes = [
            n
            for a in ast.walk(function)
            if isinstance(a, ast.Assign) and ast.unparse(a.value).split("[")[0].endswith(".shape")
            for n in ast.walk(a.targets[0])
            if isinstance(n, ast.Name)
        ]
        found += [f"{function.name}.{n.id}" for n in sizes if n.id not in read | {"_"}]
    return found


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", FORWARDS)
def test_no_size_is_read_in_vain(name, target):
    options = {"jvp": True} if target == "torch" else {}
    text = source(*derived(name), name, target, **options)
    assert not unread(text), text


def test_the_check_sees_one():
    assert unread("def f(x):\n    N, D = x.shape\n    return N") == ["f.D"]
