"""Optional packages, imported where they are used, with an error that says how to get them."""

from __future__ import annotations

import importlib
from types import ModuleType

from chalkgrad.errors import MissingExtraError


def require(module: str, purpose: str, extra: str = "train") -> ModuleType:
    """The optional module, imported now.

    Args:
        module: What to import, such as "safetensors.numpy".
        purpose: What it is needed for, as the subject of the message: "Saving a model".
        extra: The name of the extra that installs it.

    Raises:
        MissingExtraError: When the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{purpose} needs the package '{package}', which is not installed.",
            hint=f"Install it with: pip install 'chalkgrad[{extra}]'",
        ) from cause


def optional(module: str) -> ModuleType | None:
    """The optional module, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
