"""Training any formula: a chain of layers of your own, a loss of your own, on every engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chalkgrad.emit.bounds import label_ranges
from chalkgrad.errors import DataError, ShapeError, TrainingError, suggestion
from chalkgrad.expr.nodes import Program, Tensor
from chalkgrad.layer_type import Layer
from chalkgrad.train.engines import Engine, make_engine
from chalkgrad.train.interrupt import DeferredInterrupt
from chalkgrad.train.objective import Array, Objective, float_type
from chalkgrad.train.optimisers import Optimiser, chosen_optimiser
from chalkgrad.train.sampler import Sampler
from chalkgrad.train.settings import is_number, optional_precision, optional_threads, positive, whole
from chalkgrad.train.threads import limited, threads_for

CALL_SECONDS = 0.05
"""How long one call of the engine runs, about: Ctrl-C and `on_steps` wait no longer than a few times this."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What `minimise` found.

    Attributes:
        params: The parameters by name.
        losses: The loss of every step.
        interrupted: Whether Ctrl-C ended the run.
    """

    params: dict[str, Array]
    losses: NDArray[np.float64]
    interrupted: bool = False


def minimise(
    loss: Layer,
    params: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    keep: Mapping[str, float] | None = None,
    optimiser: str | Optimiser = "adam",
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
    engine: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    matmul_precision: str | None = None,
    on_steps: Callable[[int, NDArray[np.float64]], None] | None = None,
) -> Trained:
    """Minimise a loss over its parameters, by the gradient that is derived from its formula.

    Args:
        loss: With a scalar output: a chain that ends in a loss, or any formula. Its keyword arguments
            are set by `with_options`.
        params: Where the parameters start, by the names of the loss's inputs.
        data: The other inputs, one row per observation: all begin with the same axis, which nothing else has.
        keep: For masks (dropout), the probability of true: they are drawn anew for every step.
        optimiser: The name of an update rule, or an `Optimiser` with a rule of your own.
        epochs: Passes over the rows.
        batch_size: Rows per step; the last batch of an epoch may be smaller.
        learning_rate: The step size.
        clip_norm, clip_value: Bounds of the gradient: see `chalkgrad.train.optimisers.Optimiser`.
        seed: Decides the order of the rows and the masks. Equal seeds give equal bits.
        dtype: np.float32 or np.float64.
        engine, device, threads, matmul_precision: As in `chalkgrad.train.loop.fit`.
        on_steps: Told the number of steps so far and the latest losses, at least five times a second.

    Raises:
        ShapeError, DataError: For inputs that are missing, too many, or do not fit each other.
        TrainingError: When the loss is not finite any more.

    Example:
        >>> import chalkgrad as cg
        >>> line = cg.formula("L = mean(i, (sum(d, x[i,d] * w[d]) - t[i])^2)")
        >>> x = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        >>> found = minimise(line, {"w": [0.0, 0.0]}, {"x": x, "t": x @ [2.0, 3.0]}, epochs=400,
        ...                  optimiser="sgd", learning_rate=0.1, dtype=np.float64)
        >>> found.params["w"].round(3).tolist()
        [2.0, 3.0]
    """
    if not isinstance(loss, Layer):
        raise DataError(
            f"The loss is a {type(loss).__name__}, not a layer.",
            hint="Make one with cg.formula, cg.layer or cg.chain.",
        )
    program, rule = loss.program, chosen_optimiser(optimiser, clip_norm, clip_value)
    rule.read = False
    epochs, batch_size = whole("epochs", epochs, 1, 10), whole("The batch size", batch_size, 1, 32)
    learning_rate, seed = positive("The learning rate", learning_rate, 1e-3), whole("The seed", seed, 0, 0)
    threads, precision = optional_threads(threads), optional_precision(matmul_precision)
    inputs = _Inputs(program, params, data, dict(keep or {}), float_type(dtype))
    objective = Objective(
        program,
        {name: array.shape for name, array in inputs.params.items()},
        dtype,
        {t.name: float(value) for t, value in program.parameters},
        inputs.keep,
        seed,
    )
    for name, array in inputs.params.items():
        objective.params[name][...] = array
    sampler = Sampler(inputs.rows, batch_size, seed)
    batch = min(batch_size, inputs.rows)
    chosen = threads or threads_for(objective.flat.size, batch)
    losses, interrupted = np.empty(0), False
    with DeferredInterrupt() as interrupt, limited(chosen) as allowed:
        chosen = threads or min(chosen, allowed or chosen)
        made: Engine | None = None
        try:
            made = make_engine(engine, objective, rule, inputs.data, batch, chosen, device, precision)
        except KeyboardInterrupt:  # while its code was made: the parameters are as they were
            interrupted = True
        if made is not None:
            losses = _run(made, sampler, interrupt, epochs, learning_rate, on_steps)
            made.sync()
    # Copies: what the caller holds shall not keep the flat vector of everything.
    found = {name: view.copy() for name, view in objective.params.items()}
    return Trained(found, losses, interrupted or interrupt.requested)


def _run(
    engine: Engine,
    sampler: Sampler,
    interrupt: DeferredInterrupt,
    epochs: int,
    learning_rate: float,
    on_steps: Callable[[int, NDArray[np.float64]], None] | None,
) -> NDArray[np.float64]:
    """All epochs, some steps at a call; the loss of every step."""
    found: list[NDArray[np.float64]] = []
    count, done = 1, 0
    for _ in range(epochs):
        while not sampler.epoch_done and not interrupt.requested:
            order = sampler.next_batches(count)
            losses, began = np.empty(len(order)), time.perf_counter()
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                taken = engine.run(order, losses, learning_rate)
            sampler.put_back(order[taken:])
            losses = losses[:taken]
            spent = max(time.perf_counter() - began, 1e-9)
            wanted = int(len(order) * CALL_SECONDS / spent)
            count = max(1, min(wanted, 4 * count))
            wrong = np.flatnonzero(~np.isfinite(losses))
            if len(wrong):
                raise TrainingError(
                    f"Training diverged: the loss of step {done + int(wrong[0]) + 1} is {losses[wrong[0]]}.",
                    hint=f"Try a smaller learning rate, such as {learning_rate / 10:g}.",
                )
            found.append(losses)
            done += taken
            if on_steps is not None and taken:
                on_steps(done, losses)
        if sampler.epoch_done:
            sampler.start_epoch()
    return np.concatenate(found) if found else np.empty(0)


class _Inputs:
    """The inputs of a loss, checked once, so that no step needs to.

    Attributes:
        params: The parameters' first values.
        data: What comes in rows.
        keep: The masks and their probabilities of true.
        rows: How many there are.
    """

    def __init__(
        self,
        program: Program,
        params: Mapping[str, Any],
        data: Mapping[str, Any],
        keep: dict[str, float],
        dtype: np.dtype[Any],
    ) -> None:
        if len(program.outputs) != 1 or program.outputs[0].axes:
            raise ShapeError(
                f"The output of {program.name} is not one number, so it is no loss.",
                hint="End the chain with a loss: cg.chain(affine, relu, affine, softmax_loss).",
            )
        _check_names(program, params, data, keep)
        inputs = {t.name: t for t in program.inputs}
        self.params = {n: _array(inputs[n], params[n], dtype) for n in inputs if n in params}
        self.data = {n: _array(inputs[n], data[n], dtype) for n in inputs if n in data}
        for name, p in keep.items():
            if inputs[name].dtype != "bool":
                raise DataError(f"keep names '{name}', which is not a mask.")
            if not is_number(p) or not 0 < p <= 1:
                raise DataError(f"keep['{name}'] is {p!r}; it must be in (0, 1].", hint="Try 0.5.")
        self.keep = {name: float(p) for name, p in keep.items()}
        if not self.params:
            raise DataError("There are no parameters to train.", hint="Give their first values in params.")
        self._check_observations([inputs[n] for n in inputs if n in data], program)
        counts = {name: len(array) for name, array in self.data.items()}
        if not counts or min(counts.values()) < 1:
            raise DataError("There are no rows to train on.")
        if len(set(counts.values())) > 1:
            raise ShapeError(f"The data have different numbers of rows: {counts}.")
        self.rows = next(iter(counts.values()))
        self._check_sizes(program)

    def _check_observations(self, data: list[Tensor], program: Program) -> None:
        """All data begin with the axis of the observations, and nothing else has it."""
        for t in data:
            if not t.axes:
                raise ShapeError(
                    f"{t.name} is one number, and data come in rows.",
                    hint=f"Make it a constant of the formula: parameter {t.name}: 1.",
                )
            if t.axes[0] is not data[0].axes[0]:
                raise ShapeError(
                    f"{data[0].name} begins with the axis {data[0].axes[0].name} and {t.name} with "
                    f"{t.axes[0].name}: a step takes some rows of all, so they begin with the observations.",
                    hint=f"Write the formula with the observations first, as {data[0].name}[n,d].",
                )
        for t in program.inputs:
            for axis in t.axes if t.name in self.params else t.axes[1:]:
                if data and axis is data[0].axes[0]:
                    raise ShapeError(
                        f"{t.name} has the axis {axis.name} of the observations, of which a step takes some "
                        f"rows: its own entries would belong to others then.",
                        hint="A loss for batches has that axis in the data only, as their first one.",
                    )

    def _check_sizes(self, program: Program) -> None:
        """Every range has one size; masks get theirs; labels lie in their range."""
        inputs = {t.name: t for t in program.inputs}
        sizes: dict[str, tuple[int, str]] = {}
        for name, array in {**self.params, **self.data}.items():
            t = inputs[name]
            for axis, size in zip(t.axes, array.shape, strict=True):
                known, where = sizes.setdefault(axis.name, (axis.size or size, name))
                if known != size:
                    raise ShapeError(
                        f"{name} has the shape {array.shape}, where {axis.name} is {size}; "
                        f"by {where} it is {known}."
                    )
        for name in self.keep:
            unknown = [r.name for r in inputs[name].axes if r.size is None and r.name not in sizes]
            if unknown:
                raise ShapeError(f"No other input says how large {', '.join(unknown)} of '{name}' is.")
        for t, ranges in label_ranges(program).items():
            labels = self.data.get(t.name)
            for r in ranges:
                size = r.size if r.size is not None else sizes.get(r.name, (0, ""))[0]
                if labels is not None and size and (labels.min() < 0 or labels.max() >= size):
                    raise DataError(
                        f"{t.name} holds {labels.min()} … {labels.max()}, "
                        f"but {r.name} = {size} allows 0 to {size - 1}."
                    )


def _check_names(program: Program, *given: Mapping[str, Any]) -> None:
    """Each input is given once.

    Raises:
        DataError: With the name that is wrong.
    """
    known = [t.name for t in program.inputs]
    names = [name for part in given for name in part]
    for name in names:
        if name not in known:
            raise DataError(
                f"{program.name} has no input '{name}'.{suggestion(name, known)}",
                hint=f"Its inputs are: {', '.join(known)}.",
            )
        if names.count(name) > 1:
            raise DataError(f"'{name}' is given twice.", hint="An input is a parameter, data, or a mask.")
    missing = [t for t in program.inputs if t.name not in names]
    if missing:
        masks = any(t.dtype == "bool" for t in missing)
        hint = "Masks that are drawn anew each step go into keep: keep={'mask': 0.5}." if masks else ""
        raise DataError(
            f"No value is given for {', '.join(t.name for t in missing)} of {program.name}.", hint=hint
        )


def _array(t: Tensor, value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The value as a contiguous array of the input's element type."""
    try:
        a = np.asarray(value)
    except ValueError as cause:  # rows of different lengths
        raise DataError(f"{t.name} is no array: {cause}.") from None
    if a.ndim != len(t.axes):
        axes = ", ".join(r.name for r in t.axes)
        raise ShapeError(f"{t.name} has the shape {a.shape}; it must have the axes ({axes}).")
    if t.dtype == "float":
        if a.dtype.kind not in "fiub":
            raise DataError(f"{t.name} holds {a.dtype}, not numbers.")
        with np.errstate(over="ignore"):  # what the type cannot hold becomes inf, refused below
            a = np.asarray(a, dtype, order="C")  # ascontiguousarray would give a number an axis
        if not np.isfinite(a).all():
            raise DataError(f"{t.name} holds a value that is not a finite {dtype} number.")
        return a
    kinds = {"int": ("iu", "integers"), "bool": ("b", "true and false")}[t.dtype]
    if a.dtype.kind not in kinds[0]:
        raise DataError(f"{t.name} holds {a.dtype}; it must hold {kinds[1]}.")
    return np.asarray(a, np.int64 if t.dtype == "int" else bool, order="C")
