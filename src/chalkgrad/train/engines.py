"""What runs the training steps: emitted code that allocates, emitted code that does not, machine code.

plain     loss and gradient, then the update, as the readable NumPy code; the reference
numpy     the whole step as one straight line of NumPy calls that write into memory made once
llvm      the whole step as machine code (the extra `fast`)
torch     the whole step as emitted PyTorch code, the only one that a GPU takes (needs PyTorch)
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chalkgrad.emit.draws import Draws
from chalkgrad.errors import DataError, ShapeError, UnsupportedError, suggestion
from chalkgrad.train.extras import optional, require
from chalkgrad.train.interrupt import asked, kept, promptly
from chalkgrad.train.objective import Array, Data, Objective, check_order
from chalkgrad.train.optimisers import Optimiser
from chalkgrad.train.pages import release

ENGINES = ("auto", "plain", "numpy", "llvm", "torch")


LONG_STEP = 1 << 30
"""Parameters times rows from which a step takes so long, 50 ms and more, that Ctrl-C gives it up half-way."""


class Engine(Protocol):
    """Something that takes training steps.

    Attributes:
        name: One of `ENGINES`, "auto" aside.
    """

    name: str

    def run(self, order: NDArray[np.int64], losses: NDArray[np.float64], learning_rate: float) -> int:
        """Take one step per row of `order`.

        Args:
            order: (S, N) row numbers of the batches, N ≥ 1.
            losses: (S,) where the loss of each step is written.
            learning_rate: Of all these steps.

        Returns:
            How many steps were taken: all, unless Ctrl-C came and the engine gave up a long one. Where nobody
            needs the parameters then (`chalkgrad.train.interrupt.kept`), they may hold anything after that.

        Raises:
            DataError: For batches without rows, or larger than the engine was made for; for rows that the
                data do not have.

        The network's parameters and the optimiser's memories are right after `sync`, and may hold anything
        before: whoever makes an engine syncs it, or writes the parameters anew, however the run ends.
        """

    def sync(self) -> None:
        """Bring the network's parameters and the optimiser's memories up to date, in place.

        Memories that nobody reads (`Optimiser.read`) may stay where they are.
        """


class PlainEngine:
    """The readable code, one step at a time."""

    name = "plain"

    def __init__(self, objective: Objective, optimiser: Optimiser, data: Data) -> None:
        self.objective, self.optimiser, self.data = objective, optimiser, data

    def run(self, order: NDArray[np.int64], losses: NDArray[np.float64], learning_rate: float) -> int:
        """See `Engine`."""
        check_order(order, self.data)
        for step, rows in enumerate(order):
            batch = {name: array[rows] for name, array in self.data.items()}
            batch |= self.objective.drawn(self.optimiser.steps, batch)
            losses[step], gradient = self.objective.value_and_gradient(batch)
            flat = self.objective.flat
            flat[:] = self.optimiser.step(flat, gradient, learning_rate)
        return len(order)

    def sync(self) -> None:
        """Everything is up to date."""


class NumpyEngine:
    """The emitted step that writes into memory made once; see `Network.step_source`."""

    name = "numpy"

    def __init__(self, objective: Objective, optimiser: Optimiser, data: Data, batch: int) -> None:
        self.objective, self.optimiser, self.data, self.batch = objective, optimiser, data, batch
        with promptly():
            self.step = objective.step(optimiser.rule, batch)
        optimiser.prepare(objective.flat)
        gradient = np.empty_like(objective.flat)
        values: dict[str, Any] = {**data, **objective.params}
        values |= {f"d{name}": view for name, view in objective.views(gradient).items()}
        values |= {"w_flat": objective.flat, "g_flat": gradient}
        values |= {f"{name}_flat": memory for name, memory in optimiser.memories.items()}
        values |= {f"rule.{name}": value for name, value in optimiser.constants.items()}
        self._draws = Draws(objective.seed, max(len(objective.masks), 1))
        values["generator"] = self._draws
        text = self.step.text
        self._bound = {argument: values[name] for name, argument in text.arguments.items() if name in values}
        spans = objective.spans()
        self._bound |= {tail: [spans[name] for name in names] for tail, names in text.tails.items()}
        self._moving = {name: text.arguments.get(f"rule.{name}") for name in ("lr", "t")}
        self._memory = self.step.allocate(*self._sizes(objective, data, batch), objective.dtype)

    def _sizes(self, objective: Objective, data: Data, batch: int) -> list[int]:
        """The sizes that the step's memory depends on."""
        sizes = objective.batch_sizes(data)
        sizes |= {t.axes[0].name: batch for t in objective.program.inputs if t.name in data}
        return [sizes[name] for name in self.step.text.sizes.values()]

    def run(self, order: NDArray[np.int64], losses: NDArray[np.float64], learning_rate: float) -> int:
        """See `Engine`."""
        check_order(order, self.data, self.batch)
        moving = {"lr": float(learning_rate), "t": float(self.optimiser.steps)}
        scalars = {argument: moving[name] for name, argument in self._moving.items() if argument}
        arguments = self.step.text.arguments
        scalars |= {arguments[name]: value for name, value in self.objective.scalars().items()}
        self._draws.begin(self.optimiser.steps)
        self.step.steps(order, losses, self._memory, **self._bound, **scalars)
        self.optimiser.steps += len(order)
        return len(order)

    def sync(self) -> None:
        """Everything is up to date: the steps write into the network itself."""


class LlvmEngine:
    """The whole step as machine code; parameters and memories live in its own layout between `sync`s.

    Each gradient is used up by its update where it is made. Where the rule needs a number of all of them
    first, such as the norm by which they are clipped, `step.two_phases` says that they are kept until then.
    """

    name = "llvm"

    def __init__(
        self, objective: Objective, optimiser: Optimiser, data: Data, batch: int, threads: int,
        matmul_precision: str | None = None,
    ) -> None:  # fmt: skip
        wanted = 'engine="llvm"' if matmul_precision is None else f'matmul_precision="{matmul_precision}"'
        require("llvmlite", wanted, "fast")
        kernels = require("chalkgrad.emit.kernels.compiled", wanted, "fast")
        self.objective, self.optimiser, self.data, self.batch = objective, optimiser, data, batch
        rule = optimiser.rule
        shapes = {name: (batch, *array.shape[1:]) for name, array in data.items()}
        with promptly():
            self.step = kernels.kept_step(
                objective.program, objective.wrt, lambda: objective.derived, rule.program,
                shapes={**objective.shapes(), **shapes}, memories=rule.memories, masks=objective.masks,
                dtype=objective.dtype, paired=matmul_precision == "bfloat16", threads=threads,
            )  # fmt: skip
        # New memories are zero, as the step's own are: copying them would touch all their pages for nothing.
        begun = bool(optimiser.memories)
        optimiser.prepare(objective.flat)
        self.step.load(objective.params, self._memories() if begun else None)
        # They lie in the step's own layout now; twice they would take half as much memory again.
        for copied in (objective.flat, *(optimiser.memories.values() if begun else ())):
            release(copied)

    def _memories(self) -> dict[str, dict[str, Array]]:
        return {name: self.objective.views(flat) for name, flat in self.optimiser.memories.items()}

    def run(self, order: NDArray[np.int64], losses: NDArray[np.float64], learning_rate: float) -> int:
        """See `Engine`."""
        if order.ndim != 2 or not order.size:
            check_order(order, self.data, self.batch)
            return 0
        long = self.objective.flat.size * order.shape[1] >= LONG_STEP
        try:
            found = self.step.run(
                self.data, order.reshape(-1), order.shape[1], steps_before=self.optimiser.steps,
                scalars={"lr": float(learning_rate), **self.optimiser.constants},
                parameters=self.objective.scalars(), seed=self.objective.seed,
                ended=asked() if long else None, kept=kept(),
            )  # fmt: skip
        except ShapeError:  # which the step has found anyway; here it is told in words of the data
            check_order(order, self.data, self.batch)
            raise
        losses[: len(found)] = found
        self.optimiser.steps += len(found)
        return len(found)

    def sync(self) -> None:
        """Copy parameters and memories back into the arrays that the network and the optimiser hold."""
        self.step.store(self.objective.params, self._memories() if self.optimiser.read else None)


def make_engine(
    name: str,
    objective: Objective,
    optimiser: Optimiser,
    data: Data,
    batch: int,
    threads: int = 1,
    device: str = "cpu",
    matmul_precision: str | None = None,
) -> Engine:
    """The engine of this name; "auto" takes the fastest one that is installed and covers the objective.

    On the CPU "auto" does not take "torch", which is there for GPUs. Products of another precision than the
    network's are machine code, whatever is chosen: nothing else takes its place.

    Raises:
        DataError: For an unknown name, a device that is not there, or an engine that cannot use it.
        UnsupportedError: When an engine that was asked for by name does not cover the objective, or the
            processor not the precision.
        MissingExtraError: When it was asked for by name and is not installed.
    """
    if name not in ENGINES:
        known = ", ".join(ENGINES)
        raise DataError(f"There is no engine '{name}'.{suggestion(name, ENGINES)}", hint=f"Engines: {known}.")
    if matmul_precision is not None:
        if name not in ("auto", "llvm") or device != "cpu":
            where = f'device="{device}"' if device != "cpu" else f'engine="{name}"'
            raise DataError(
                f'matmul_precision="{matmul_precision}" is for machine code on the CPU, not for {where}.',
                hint='Choose engine="auto" and device="cpu", or leave matmul_precision out.',
            )
        return LlvmEngine(objective, optimiser, data, batch, threads, matmul_precision)
    if name == "torch" or device != "cpu":
        if name not in ("auto", "torch"):
            raise DataError(
                f'The engine "{name}" runs on the CPU, not on "{device}".', hint='Choose engine="auto".'
            )
        engine = require("chalkgrad.train.torch_engine", f'device="{device}"')
        made: Engine = engine.TorchEngine(objective, optimiser, data, device, threads)
        return made
    if name == "plain":
        return PlainEngine(objective, optimiser, data)
    if name == "llvm" or (name == "auto" and optional("llvmlite") is not None):
        try:
            return LlvmEngine(objective, optimiser, data, batch, threads)
        except UnsupportedError:
            if name == "llvm":
                raise
    try:
        return NumpyEngine(objective, optimiser, data, batch)
    except UnsupportedError:
        if name == "numpy":
            raise
    return PlainEngine(objective, optimiser, data)
