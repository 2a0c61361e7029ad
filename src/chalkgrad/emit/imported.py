"""Emitted text made into a module: imported, visible to `inspect` and in tracebacks."""

from __future__ import annotations

import importlib.util
import linecache
import sys
from types import ModuleType
from typing import Any

from chalkgrad.emit.names import function_name, prefix
from chalkgrad.errors import MissingExtraError


class Emitted:
    """An emitted PyTorch or JAX module.

    Calling it calls the layer's own function; everything else that the text defines is an attribute
    (`.Affine`, `.AffineModule` for PyTorch; `.affine_forward`, `.affine_backward` for JAX).

    Attributes:
        name: The layer's name.
        source: The text.
    """

    def __init__(self, name: str, source: str, module: ModuleType) -> None:
        self.name = name
        self.source = source
        self._module = module
        self._function = getattr(module, function_name(name), None) or getattr(
            module, f"{prefix(name)}_forward"
        )
        self.__doc__ = self._function.__doc__

    def __call__(self, *inputs: Any, **parameters: Any) -> Any:
        """The layer's value."""
        return self._function(*inputs, **parameters)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        return getattr(self._module, attribute)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(n for n in vars(self._module) if not n.startswith("__"))]

    def __repr__(self) -> str:
        return f"<emitted {self._module.__name__}>"


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
