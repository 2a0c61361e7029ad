"""What is trained: a loss formula, its parameters in one flat vector, and the code derived from both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalkgrad.derivation import Backward
from chalkgrad.emit.draws import uniform
from chalkgrad.emit.step.compiled_step import CompiledStep
from chalkgrad.errors import DataError, suggestion
from chalkgrad.expr.nodes import Program
from chalkgrad.train.emitted import GradientCode, derived, gradient_code
from chalkgrad.train.optimisers import UpdateRule
from chalkgrad.train.steps import compiled_step

Array = NDArray[np.floating[Any]]
Data = Mapping[str, NDArray[Any]]
"""An array per input of the loss that comes in rows, by name, all with the same number of rows."""


class Objective:
    """A loss and its parameters.

    Args:
        program: With one scalar output, the loss. Its inputs are the parameters, and data in rows.
        shapes: The shape of every parameter, in the order in which they lie in the flat vector.
        dtype: np.float32 or np.float64; the computation runs in it.
        scalars: The values of the program's scalar parameters.
        masks: Inputs with a row per observation that are drawn anew in every step, such as dropout's,
            and the probability that an entry is true, by name.
        seed: What the masks follow from, together with the number of the step.

    Attributes:
        flat: (P,) all parameters, zero at first.
        params: Views of `flat` by name.

    Raises:
        DataError: For another dtype, and for masks that the program does not have.

    Example:
        >>> from chalkgrad.frontend.text_formula import read_formula
        >>> line = read_formula("L = mean(i, (sum(d, x[i,d] * w[d]) - t[i])^2)")
        >>> fit = Objective(line, {"w": (2,)}, np.float64)
        >>> fit.value_and_gradient({"x": np.eye(2), "t": np.array([1.0, 3.0])})
        (5.0, array([-1., -3.]))
    """

    def __init__(
        self,
        program: Program,
        shapes: Mapping[str, tuple[int, ...]],
        dtype: DTypeLike = np.float32,
        scalars: Mapping[str, float] | None = None,
        masks: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        self.dtype = float_type(dtype)
        self.program, self._shapes = program, dict(shapes)
        self._scalars = dict(scalars or {})
        self.masks, self.seed = dict(masks or {}), seed
        _check_masks(program, self.masks)
        self.flat: Array = np.zeros(sum(math.prod(s) for s in self._shapes.values()), self.dtype)
        self._view()

    def _view(self) -> None:
        self.params: Mapping[str, Array] = self.views(self.flat)
        # Not zeros_like, which writes the zeros: pages that no step writes to shall take no memory.
        self._gradient = np.zeros(self.flat.shape, self.dtype)
        self._gradients = self.views(self._gradient)

    def __getstate__(self) -> dict[str, Any]:
        # A copy of a view would be an array of its own, which no step changes.
        views = ("params", "_gradient", "_gradients")
        return {name: value for name, value in self.__dict__.items() if name not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._view()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter, in the order in which they lie in `flat`."""
        return dict(self._shapes)

    def scalars(self) -> dict[str, float]:
        """The values of the program's scalar parameters."""
        return dict(self._scalars)

    def set_scalar(self, name: str, value: float) -> None:
        """Change a scalar parameter of the loss; the next step uses it."""
        self._scalars[name] = float(value)

    def spans(self) -> dict[str, tuple[int, int]]:
        """Where each parameter lies in the flat vector: its first entry, and the one after its last."""
        spans, start = {}, 0
        for name, shape in self._shapes.items():
            spans[name] = (start, start + math.prod(shape))
            start += math.prod(shape)
        return spans

    def views(self, flat: Array) -> dict[str, Array]:
        """Views of a flat vector, one per parameter."""
        return {name: flat[a:b].reshape(self._shapes[name]) for name, (a, b) in self.spans().items()}

    def axis_sizes(self) -> dict[str, int]:
        """The size of every range that a parameter has."""
        inputs = [t for t in self.program.inputs if t.name in self._shapes]
        return {r.name: n for t in inputs for r, n in zip(t.axes, self._shapes[t.name], strict=True)}

    @property
    def wrt(self) -> tuple[str, ...]:
        """The parameters by name."""
        return tuple(self._shapes)

    @property
    def derived(self) -> tuple[Program, Backward]:
        """The loss made numerically safe, and its derived gradient by every parameter."""
        return derived(self.program, self.wrt)

    @property
    def loss_code(self) -> GradientCode:
        """The emitted loss and gradient; derived once per formula in a process."""
        return gradient_code(self.program, self.wrt)

    def step(self, rule: UpdateRule, batch_size: int) -> CompiledStep:
        """The emitted step for batches of this size and less.

        Raises:
            UnsupportedError: When something in it cannot be written into given memory.
        """
        rows = tuple(t.name for t in self.program.inputs if t.name not in (*self._shapes, *self.masks))
        sizes = {**self.axis_sizes()}
        for t in self.program.inputs:
            if t.name in rows:
                sizes.setdefault(t.axes[0].name, batch_size)
                sizes.update({r.name: 1 for r in t.axes[1:] if r.name not in sizes})
        masks = tuple((name, repr(float(keep))) for name, keep in self.masks.items())
        return compiled_step(self.program, self.wrt, rule, rows, sizes, masks)

    def batch_sizes(self, batch: Data) -> dict[str, int]:
        """The size of every range, with the rows of this batch."""
        sizes = self.axis_sizes()
        for t in self.program.inputs:
            if t.name in batch:
                sizes |= {r.name: n for r, n in zip(t.axes, batch[t.name].shape, strict=True)}
        return sizes

    def drawn(self, step: int, batch: Data) -> dict[str, NDArray[np.bool_]]:
        """The masks of a step, counted from 0, for the rows of this batch; true where kept."""
        found: dict[str, NDArray[np.bool_]] = {}
        sizes = self.batch_sizes(batch) if self.masks else {}
        inputs = [t for t in self.program.inputs if t.name in self.masks]
        for stream, t in enumerate(inputs):
            shape = [r.size or sizes[r.name] for r in t.axes]
            numbers = uniform(self.seed, step, stream, *shape)
            found[t.name] = numbers.astype(self.dtype) < self.masks[t.name]
        return found

    def value(self, data: Data) -> float:
        """The loss over these rows."""
        return self.loss_code.value(self._values(data))

    def value_and_gradient(self, data: Data) -> tuple[float, Array]:
        """The loss over these rows, and its gradient by `flat`; the next call reuses the vector."""
        loss, gradients = self.loss_code(self._values(data))
        for name, view in self._gradients.items():
            view[...] = gradients[name]
        return loss, self._gradient

    def _values(self, data: Data) -> dict[str, Any]:
        return {**data, **self.params, **self._scalars}


def check_order(order: NDArray[np.int64], data: Data, most: int | None = None) -> None:
    """The batches of some steps can be taken from these data.

    Args:
        order: (S, N) row numbers.
        data: An array per input; all have the same number of rows.
        most: The largest batch that the step was made for.

    Raises:
        DataError: For batches without rows, larger ones than `most`, rows that the data do not have.
    """
    rows = next(len(array) for array in data.values() if array.ndim)
    if order.ndim != 2 or order.shape[1] < 1:
        raise DataError("A batch without rows has no mean loss.", hint="Give at least one row per batch.")
    if most is not None and order.shape[1] > most:
        raise DataError(f"The batch has {order.shape[1]} rows; the step was made for {most} at the most.")
    # Read without a sign, a negative number is a large one.
    if order.size and np.asarray(order, np.int64).view(np.uint64).max() >= rows:
        raise DataError(f"The batches name rows {order.min()} … {order.max()}; the data have 0 … {rows - 1}.")


def float_type(dtype: DTypeLike) -> np.dtype[Any]:
    """The type that a network computes in.

    Raises:
        DataError: For anything but float32 and float64.
    """
    try:
        name = np.dtype(dtype).name
    except TypeError:  # a name that NumPy does not know
        name = str(dtype)
    if name not in ("float32", "float64"):
        raise DataError(f"The dtype is {name}; it must be float32 or float64.", hint="Try np.float32.")
    return np.dtype(name)


def _check_masks(program: Program, masks: Mapping[str, float]) -> None:
    inputs = {t.name: t for t in program.inputs}
    for name, keep in masks.items():
        if name not in inputs or not inputs[name].axes or inputs[name].dtype == "int":
            raise DataError(
                f"'{name}' is no array that the loss reads as a mask.{suggestion(name, tuple(inputs))}",
                hint="A random mask is an input with a row per observation, such as dropout's.",
            )
        if not 0 < keep <= 1:
            raise DataError(
                f"The probability of true in the mask '{name}' is {keep}; it must lie above 0, at most at 1."
            )
