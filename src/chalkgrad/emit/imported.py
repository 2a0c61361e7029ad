"""Emitted text made into a module: imported, visible to `inspect` and in tracebacks."""

from __future__ import annotations

import importlib.util
import linecache
import sys
from types import ModuleType

from chalkgrad.errors import MissingExtraError


def imported(name: str, text: str) -> ModuleType:
    """The text as a module; its lines stay visible to `inspect.getsource` and tracebacks.

    Raises:
        MissingExtraError: When the backend that the text imports is not installed.
    """
    filename = f"<chalkgrad {name}>"
    number = 1
    lines = text.splitlines(keepends=True)
    while filename in linecache.cache and linecache.getlines(filename) != lines:
        number += 1
        filename = f"<chalkgrad {name} {number}>"
    # A cache entry whose modification time is None is never checked against the disk.
    linecache.cache[filename] = (len(text), None, lines, filename)
    made = ModuleType(f"chalkgrad_{name}" if number == 1 else f"chalkgrad_{name}_{number}")
    made.__file__ = filename
    for backend, title in (("torch", "PyTorch"), ("jax", "JAX")):
        if f"import {backend}" in text and importlib.util.find_spec(backend) is None:
            raise MissingExtraError(
                f"The code of {name} is for {title}, which is not installed.", hint=f"pip install {backend}"
            )
    exec(compile(text, filename, "exec"), made.__dict__)
    if "import torch" in text:
        # torch.compile finds the globals of a function that it inlines by the name of its module.
        sys.modules[made.__name__] = made
    return made
