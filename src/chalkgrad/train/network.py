"""A fully-connected classifier whose loss and gradient are code that chalkgrad emitted."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from chalkgrad.emit.together import together
from chalkgrad.errors import DataError, ShapeError, UnsupportedError, suggestion
from chalkgrad.train.architecture import (
    ACTIVATIONS,
    LOSSES,
    check_choice,
    loss_program,
    probabilities_program,
)
from chalkgrad.train.data import Ints, check_labels
from chalkgrad.train.emitted import BufferedForward, ForwardCode, compiled_forward, forward_code
from chalkgrad.train.initial import WORTH_SHARING, fill_normal
from chalkgrad.train.objective import Array, Objective, float_type
from chalkgrad.train.optimisers import RULES
from chalkgrad.train.settings import is_number, whole
from chalkgrad.train.threads import available, shared

if TYPE_CHECKING:
    from chalkgrad.emit.kernels.predicting import CompiledForward

ONE_CALL, WORTH_COMPILING = 1_000_000, 100_000_000
"""Multiplications that take about as long as calling NumPy for one row, and after how many of them, in calls
and rows, machine code is made, if that is not on the disk already: a hundred calls, or one with many rows."""

LONGER, FEWEST, CALL = 8, 128, 1 << 30
"""Machine code has chunks of its own, so a call takes so many stretches of NumPy's code, but at least so many
rows, and no more multiplications than this at a time: Ctrl-C is heard between calls."""


class Network(Objective):
    """Affine layers with an activation between them, under the softmax loss.

    Weights start as normal numbers of variance 2/D before a rectifier (He et al.) and 1/D before
    other activations, D the layer's inputs (see `chalkgrad.train.initial`); biases start at zero.

    All parameters live in one flat vector; `params` holds views of it, so an update rule changes
    everything in one call.

    Args:
        sizes: Numbers of units, inputs first and classes last: (64, 100, 10).
        activation: One of `ACTIVATIONS`.
        loss: "softmax", the mean over observations.
        l2: λ of the regulariser ½ λ Σ W².
        seed: The same seed gives the same initial weights.
        dtype: np.float32 or np.float64; the computation runs in it.
        params: Weights and biases to start with, as `params` holds them; without, they are drawn.

    Attributes:
        flat: (P,) all parameters.
        params: {"W1": (D, H), "b1": (H,), …}, views of `flat`.

    Raises:
        DataError: For an unknown name, fewer than two sizes, fewer than two classes, a negative l2 or seed,
            more parameters than the memory holds, missing or unknown `params`.
        ShapeError: When one of `params` has another shape.

    Example:
        >>> small = Network((2, 2), params={"W1": [[1, 2], [3, 4]], "b1": [0, 0]})
        >>> small.flat.tolist()
        [1.0, 2.0, 3.0, 4.0, 0.0, 0.0]

    References: CS231n's FullyConnectedNet; https://arxiv.org/abs/1502.01852
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "relu",
        loss: str = "softmax",
        l2: float = 0.0,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        params: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        check_choice("activation", activation, ACTIVATIONS)
        check_choice("loss", loss, LOSSES)
        self.sizes = _checked_sizes(sizes)
        if not (is_number(l2) and 0 <= l2 < math.inf):
            raise DataError(f"l2 is {l2!r}; it must be a finite number of at least 0.", hint="Try l2=1e-4.")
        seed = whole("The seed", seed, 0, 0)
        _check_memory(self.sizes, float_type(dtype).itemsize)
        self.activation, self.loss_name, self.l2, self.seed = activation, loss, float(l2), seed
        program = loss_program(len(self.sizes) - 1, activation, l2 > 0)
        scalars = {"l2": self.l2} if l2 > 0 else {}
        super().__init__(program, parameter_shapes(self.sizes), dtype, scalars, seed=self.seed)
        if params is None:
            self._draw()
        else:
            self._start_from(params)
        self._predicted = 0

    def _draw(self) -> None:
        gain = 2.0 if self.activation in ("relu", "silu") else 1.0
        weights = [view for name, view in self.params.items() if name.startswith("W")]
        threads = available() if self.flat.size >= WORTH_SHARING else 1
        fill_normal(self.seed, [(w, math.sqrt(gain / w.shape[0])) for w in weights], threads)

    def _start_from(self, params: Mapping[str, ArrayLike]) -> None:
        known = tuple(self.params)
        for name in (name for name in params if name not in known):
            raise DataError(
                f"There is no parameter '{name}'.{suggestion(name, known)}",
                hint=f"The network has {', '.join(known)}.",
            )
        for name in (name for name in known if name not in params):
            raise DataError(f"The parameter '{name}' is missing.", hint="Give all, or none to draw them.")
        for name, view in self.params.items():
            given = np.asarray(params[name])
            if given.shape != view.shape:
                raise ShapeError(f"{name} has the shape {given.shape}; it must be {view.shape}.")
            view[...] = given

    @property
    def layers(self) -> int:
        """How many affine layers there are."""
        return len(self.sizes) - 1

    @cached_property
    def probabilities_code(self) -> ForwardCode:
        """The emitted probabilities, forward only."""
        return forward_code(probabilities_program(self.layers, self.activation))

    @cached_property
    def _buffered(self) -> BufferedForward | None:
        """The probabilities, written into memory made once; None where an activation has no such code."""
        program = probabilities_program(self.layers, self.activation)
        sizes = {r.name: self._stretch for r in program.ranges()}
        for t in program.inputs:
            if t.name in self.params:
                sizes |= {r.name: n for r, n in zip(t.axes, self.params[t.name].shape, strict=True)}
        try:
            return BufferedForward(program, "x", self.params, sizes)
        except UnsupportedError:
            return None

    @cached_property
    def _compiled(self) -> CompiledForward | None:
        """The probabilities in machine code; None where there is none."""
        program = probabilities_program(self.layers, self.activation)
        return compiled_forward(program, "x", self.params, self.sizes[0])

    def _machine_code(self, rows: int) -> CompiledForward | None:
        """Machine code for so many rows more, once that pays.

        When depends on the calls alone, so that the same calls give the same bits in any process.
        """
        if self._predicted < WORTH_COMPILING:
            self._predicted += ONE_CALL + rows * self.flat.size
        return self._compiled if self._predicted >= WORTH_COMPILING else None

    def __getstate__(self) -> dict[str, Any]:
        # A copy finds code of its own: it reads other parameters, perhaps where there is no llvmlite.
        code = ("_compiled", "_buffered", "probabilities_code")
        return {name: value for name, value in super().__getstate__().items() if name not in code}

    def step_source(self, rule: str = "adam", batch_size: int = 32) -> str:
        """The text of a whole training step that writes into memory made once: the engine "numpy".

        Example:
            >>> "np.matmul(x, W1, out=f1)" in Network((64, 100, 10)).step_source()
            True
        """
        return self.step(RULES[rule], batch_size).text.text

    def loss_and_gradient(self, x: Array, y: Ints) -> tuple[float, Array]:
        """The mean loss over these rows, and its gradient by `flat`.

        Args:
            x: (N, D) features in the network's dtype.
            y: (N,) labels 0 … K − 1, not checked here (`check` does that once per data set).

        Returns:
            The loss, regulariser included, and (P,) the gradient; the vector is reused by the
            next call.
        """
        return self.value_and_gradient({"x": x, "y": y})

    def loss(self, x: Array, y: Ints) -> float:
        """The mean loss over these rows, regulariser included."""
        total = 0.0
        for start in range(0, len(x), self._stretch):
            part = slice(start, start + self._stretch)
            total += len(x[part]) * self.value({"x": x[part], "y": y[part]})
        return total / len(x)

    def cast(self, x: NDArray[Any]) -> Array:
        """Features (N, D) in the network's dtype.

        Raises:
            ShapeError: When they are not N rows of D.
            DataError: At the first one that is not finite.
        """
        return self._finite(self._rows(np.asarray(x)), 0)

    @cached_property
    def _stretch(self) -> int:
        """Rows whose values in one layer take about half a megabyte."""
        return max(64, 2**19 // (self.dtype.itemsize * max(self.sizes)))

    def _rows(self, x: NDArray[Any]) -> NDArray[Any]:
        if x.ndim != 2 or x.shape[1] != self.sizes[0]:
            raise ShapeError(
                f"The network reads rows of {self.sizes[0]} features; got an array of shape {x.shape}.",
                hint=f"Pass an array of shape (N, {self.sizes[0]}); one row is x[None, :].",
            )
        return x

    def _finite(self, rows: NDArray[Any], first: int) -> Array:
        """The rows in the network's dtype; `first` is the number of the first one, for the message."""
        if rows.dtype == self.dtype:
            x: Array = np.ascontiguousarray(rows)
        else:
            try:
                with np.errstate(over="ignore"):  # what the dtype cannot hold becomes inf, refused below
                    x = np.ascontiguousarray(rows, self.dtype)
            except (TypeError, ValueError) as cause:
                raise DataError(f"The features are no numbers: {cause}.") from None
        # A sum of squares is finite only where all numbers are, and takes a third of the time. Where it is
        # not, dot would warn, and vdot does not.
        flat = x.reshape(-1)
        if math.isfinite(np.vdot(flat, flat)):
            return x
        finite = np.isfinite(x)
        if finite.all():
            return x
        row, column = map(int, np.argwhere(~finite)[0])
        raise DataError(
            f"Feature {column} of row {first + row} is {x[row, column]}, not a finite {self.dtype} number.",
            hint="Fill in or remove missing values, and standardise huge ones.",
        )

    def check(self, x: NDArray[Any], y: NDArray[Any]) -> tuple[Array, Ints]:
        """Features and labels, cast and checked once, so that every step may skip it.

        Raises:
            ShapeError, DataError: As `cast`, and for labels that are not 0 … K − 1.
        """
        y = np.asarray(y)
        check_labels(y, self.sizes[-1])
        x = self.cast(x)
        if y.shape != x.shape[:1]:
            raise ShapeError(f"There are {len(x)} rows of features and labels of shape {y.shape}.")
        return x, y.astype(np.int64)

    def predict_proba(self, x: NDArray[Any]) -> Array:
        """(N, K) the probability of every class."""
        x = self._rows(np.asarray(x))
        code = self._machine_code(len(x))
        forward = code or self._buffered
        if forward is None or not len(x):
            (p,) = self.probabilities_code({"x": self._finite(x, 0), **self.params})
            return p
        result = np.empty((len(x), self.sizes[-1]), self.dtype)
        # Stretch by stretch, so that a million rows take no more memory than their features and results.
        stretch = self._stretch if code is None else self._call_rows
        if len(x) <= stretch:
            forward(self._finite(x, 0), result)
        elif code is None:
            self._in_stretches(x, result, stretch, forward)
        else:
            code.read()
            with shared(2.0 * self.flat.size * len(x)) as threads:
                self._in_stretches(x, result, stretch, partial(code, as_read=True), threads)
        return result

    @cached_property
    def _call_rows(self) -> int:
        """The rows of one call of machine code, of many."""
        return max(FEWEST, min(LONGER * self._stretch, CALL // self.flat.size))

    def _in_stretches(
        self, x: NDArray[Any], result: Array, stretch: int, forward: Callable[[Array, Array], None],
        threads: int = 1,
    ) -> None:  # fmt: skip
        """Predict so many rows at a time; each thread takes the next ones until there are none."""
        starts = iter(range(0, len(x), stretch))
        refused: list[tuple[int, DataError]] = []

        def share(_: int) -> None:
            for start in starts:
                part = slice(start, start + stretch)
                try:
                    forward(self._finite(x[part], start), result[part])
                except BaseException as error:
                    deque(starts, maxlen=0)  # nobody begins anything more
                    if not isinstance(error, DataError):
                        raise
                    refused.append((start, error))

        together(share, threads)
        if refused:  # all rows before have been looked at
            raise min(refused, key=lambda found: found[0])[1]

    def predict(self, x: NDArray[Any]) -> Ints:
        """(N,) the most probable class of every row."""
        return self.predict_proba(x).argmax(axis=1)  # type: ignore[no-any-return]

    def score(self, x: NDArray[Any], y: Ints) -> float:
        """The fraction of rows whose most probable class is the label."""
        return float((self.predict(x) == y).mean())

    def settings(self) -> dict[str, Any]:
        """Everything that makes an equal network, as plain values."""
        return {
            "sizes": list(self.sizes),
            "activation": self.activation,
            "loss": self.loss_name,
            "l2": self.l2,
            "seed": self.seed,
            "dtype": self.dtype.name,
        }


def parameter_shapes(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """W1 (D, H), b1 (H,), W2 …, in the order in which they lie in the flat vector."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (below, units) in enumerate(pairwise(sizes), 1):
        shapes[f"W{layer}"], shapes[f"b{layer}"] = (below, units), (units,)
    return shapes


def _checked_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    several = isinstance(sizes, Sequence | np.ndarray)
    if not several or len(sizes) < 2 or any(not isinstance(s, Integral) or s < 1 for s in sizes):
        raise DataError(
            f"The sizes {list(sizes) if several else sizes!r} do not make a network.",
            hint="Give the number of features, of units per hidden layer, and of classes: [64, 100, 10].",
        )
    if sizes[-1] < 2:
        raise DataError("The last size is the number of classes; it must be at least 2.")
    return tuple(int(s) for s in sizes)


COPIES = 6
"""Vectors as long as the parameters that a run holds: they, the gradient, two moments, the best, a copy."""


def _check_memory(sizes: tuple[int, ...], itemsize: int) -> None:
    """Refuse what the machine cannot hold before it is killed for trying."""
    parameters = sum((before + 1) * after for before, after in pairwise(sizes))
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return  # a system that does not say
    needed = COPIES * parameters * itemsize
    if needed > there:
        raise DataError(
            f"A network of the sizes {'–'.join(map(str, sizes))} has {parameters:,} parameters; training it "
            f"takes about {needed / 1e9:,.0f} GB, and this machine has {there / 1e9:,.0f} GB.",
            hint="Give the hidden layers fewer units.",
        )
