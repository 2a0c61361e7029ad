"""How a NumPy function or an array attribute that has no formula is refused: by name, with what to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chalkgrad.errors import suggestion

REPLACEMENTS = {
    "hypot": "np.sqrt(a**2 + b**2)",
    "argmax": "the labels as an integer input, y: \"N int\"", "cumprod": "np.exp(np.cumsum(np.log(x)))",
    "sort": "np.max and np.min", "fmax": "np.maximum",
    "fmin": "np.minimum", "median": "np.mean", "nansum": "np.sum", "floor": "an integer input",
    "round": "an integer input", "isnan": "inputs without NaN", "nan_to_num": "inputs without NaN",
    "softmax": "np.exp(f) / np.exp(f).sum(axis=-1, keepdims=True)",
    "logsumexp": "np.log(np.exp(f).sum(axis=-1))", "cov": "np.einsum on centred values",
    "tensordot": "np.einsum", "kron": "np.einsum", "cross": "np.einsum", "hstack": "np.concatenate",
    "vstack": "np.concatenate", "column_stack": "np.concatenate", "select": "np.where",
    "piecewise": "np.where", "heaviside": "x > 0, which counts as 0 or 1", "any": "np.max of 0 and 1",
    "all": "np.min of 0 and 1", "ptp": "np.max(x, axis) - np.min(x, axis)", "argmin": "labels as an input",
    "tile": "a new axis, which broadcasts: x[:, None]", "repeat": "a new axis, which broadcasts: x[:, None]",
    "broadcast_to": "a new axis, which broadcasts: x[:, None]", "meshgrid": "new axes: x[:, None]",
    "roll": "np.concatenate of two slices", "convolve": "sliding_window_view and a sum",
    "ceil": "an integer input", "rint": "an integer input", "cbrt": "np.sign(x) * np.abs(x) ** (1 / 3)",
}  # fmt: skip
"""What to write instead of a function that cannot be traced."""


def spelled(function: Any) -> str:
    """A NumPy function as it is written after "np.".

    >>> import numpy as np
    >>> spelled(np.linalg.svd), spelled(np.sort)
    ('linalg.svd', 'sort')
    """
    folder = str(getattr(function, "__module__", "") or "").removeprefix("numpy")
    return f"{folder}.{function.__name__}".lstrip(".")


def instead(name: str, known: Sequence[str]) -> tuple[str, str]:
    """What to write instead of `name`: the nearest known name of the same folder, and a hint.

    >>> instead("hypot", ["exp"])
    ('', 'Use np.sqrt(a**2 + b**2).')
    >>> instead("summ", ["exp", "sum"])
    (" Did you mean 'sum'?", '')
    >>> instead("linalg.svd", ["std", "linalg.inv", "linalg.det"])
    ('', 'Supported of np.linalg: inv, det.')
    """
    if name in REPLACEMENTS:
        return "", f"Use {REPLACEMENTS[name]}."
    folder, dot, last = name.rpartition(".")
    siblings = [n.removeprefix(folder + dot) for n in known if n.rpartition(".")[0] == folder]
    close = suggestion(last, siblings)
    return close, f"Supported of np.{folder}: {', '.join(siblings)}." if folder and siblings else ""
