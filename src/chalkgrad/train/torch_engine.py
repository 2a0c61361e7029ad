"""Training steps by PyTorch, on a GPU or on the CPU: emitted straight-line code, no autograd.

The loss and its derived gradient are one emitted function of tensors, and so is the update rule. Data,
parameters, memories, the order of the rows and the losses lie on the device; a step reads where it stands
from the device, too, so that a run of steps waits for nothing and the losses are fetched once a call.

On a GPU the step is fused by torch.compile where a compiler for it is there, and captured once as a CUDA
graph for each number of rows: a step is then one launch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.diff.gradient import gradient_program
from chalkgrad.emit.disk_cache import kept
from chalkgrad.emit.draws import FACTORS, OF_COLUMN, OF_ROW, SHIFTS
from chalkgrad.emit.imported import imported
from chalkgrad.emit.module_text import source
from chalkgrad.emit.names import identifier, prefix
from chalkgrad.errors import DataError, MissingExtraError
from chalkgrad.expr.nodes import Program
from chalkgrad.train.emitted import FORWARD_ONLY
from chalkgrad.train.extras import optional
from chalkgrad.train.objective import Array, Data, Objective, check_order
from chalkgrad.train.optimisers import Optimiser

CALL_STEPS = 1024
"""Steps whose row numbers and losses lie on the device at a time."""

WARM_UP = 3
"""Steps before the capture, in which libraries set themselves up."""


def checked_device(name: str) -> tuple[ModuleType, Any]:
    """PyTorch and the device of this name.

    Raises:
        MissingExtraError: When PyTorch is not installed.
        DataError: For another name, or a GPU that PyTorch does not find.
    """
    kind, _, number = str(name).partition(":")
    if kind not in ("cpu", "cuda") or (number and not (number.isascii() and number.isdigit())):
        raise DataError(
            f"There is no device '{name}'.", hint="Devices: cpu, cuda, cuda:1 for the second GPU."
        )
    torch = optional("torch")
    if torch is None:
        raise MissingExtraError(
            f"Training by PyTorch (device=\"{name}\") needs the package 'torch', which is not installed.",
            hint='Install it as https://pytorch.org says for your GPU, or train with device="cpu".',
        )
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= int(number or 0):
            found = (
                "finds no GPU" if not count else f"finds {count} GPU{'s' if count > 1 else ''}, from cuda:0"
            )
            built = "" if torch.version.cuda else "; this PyTorch was built without CUDA"
            raise DataError(
                f'device="{name}" needs an NVIDIA GPU, and PyTorch {torch.__version__} {found}{built}.',
                hint='Install PyTorch with CUDA and check nvidia-smi, or train with device="cpu".',
            )
    return torch, torch.device(str(name))


class TorchEngine:
    """See `chalkgrad.train.engines.Engine`.

    Args:
        objective, optimiser, data: What is trained, by what, on what.
        device: "cpu", "cuda" or "cuda:1".
        threads: On the CPU, how many take part.
    """

    name = "torch"

    def __init__(
        self, objective: Objective, optimiser: Optimiser, data: Data, device: str = "cpu", threads: int = 1
    ) -> None:
        self.torch, self.device = checked_device(device)
        self.threads = threads
        self.objective, self.optimiser = objective, optimiser
        optimiser.prepare(objective.flat)
        self.flat = self._moved(objective.flat)
        self.memories = {name: self._moved(memory) for name, memory in optimiser.memories.items()}
        self.data = {name: self._moved(array) for name, array in data.items()}
        # Scalars are on the device too: a captured step reads their present values. Those of the rule are
        # in double precision (1 − β₂ᵗ), which widens no array of numbers; those of the loss meet conditions,
        # which it would widen.
        rule, (loss,) = {"lr": 0.0, **optimiser.constants}, objective.program.outputs
        scalars = {**objective.scalars(), f"d{loss.name}": 1.0}
        self._rule_scalars = {name: self._scalar(value, self.torch.float64) for name, value in rule.items()}
        self._loss_scalars = {name: self._scalar(value, self.flat.dtype) for name, value in scalars.items()}
        # Of one entry and not scalars: torch.compile loses what is added to a scalar of double precision.
        self._t = self.torch.zeros(1, dtype=self.torch.float64, device=self.device)
        self._place = self.torch.zeros(1, dtype=self.torch.int64, device=self.device)
        self._losses = self.torch.zeros(CALL_STEPS, dtype=self.torch.float64, device=self.device)
        self._orders: dict[int, Any] = {}
        self._replays: dict[int, Callable[[], Any]] = {}
        self._gradient = _gradient_function(objective)
        self._rule = _forward_function(optimiser.rule.program)

    def run(self, order: NDArray[np.int64], losses: NDArray[np.float64], learning_rate: float) -> int:
        """See `chalkgrad.train.engines.Engine`."""
        check_order(order, self.data)
        for name, value in self.objective.scalars().items():
            self._loss_scalars[name].fill_(value)
        self._rule_scalars["lr"].fill_(float(learning_rate))
        for start in range(0, len(order), CALL_STEPS):
            part = order[start : start + CALL_STEPS]
            losses[start : start + len(part)] = self._steps(part)
        return len(order)

    def sync(self) -> None:
        """Copy parameters and memories back into the arrays that the network and the optimiser hold."""
        self.objective.flat[:] = self.flat.cpu().numpy()
        for name, memory in self.memories.items() if self.optimiser.read else ():
            self.optimiser.memories[name][:] = memory.cpu().numpy()

    def step(self, order: Any) -> None:
        """One step on the rows order[place], every result written into memory that is already there."""
        rows = order.index_select(0, self._place).reshape(-1)
        batch = {name: array.index_select(0, rows) for name, array in self.data.items()}
        batch |= self._drawn(batch)
        loss, *gradients = self._gradient({**batch, **self._views(), **self._loss_scalars})
        gradient = self.torch.cat([g.reshape(-1) for g in gradients])
        self._t.add_(1)
        values = {"w": self.flat, "g": gradient, "t": self._t.reshape(()), **self.memories}
        after, *memories = self._rule({**values, **self._rule_scalars})
        self.flat.copy_(after)
        for own, new in zip(self.memories.values(), memories, strict=True):
            own.copy_(new)
        self._losses.index_copy_(0, self._place, loss.reshape(1).double())
        self._place.add_(1)

    def _drawn(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The masks of the step, as `Objective.drawn` gives them, drawn on the device."""
        objective, found = self.objective, {}
        sizes = objective.batch_sizes(batch) if objective.masks else {}
        inputs = [t for t in objective.program.inputs if t.name in objective.masks]
        for stream, t in enumerate(inputs):
            shape = [r.size or sizes[r.name] for r in t.axes]
            numbers = self._uniform(objective.seed, stream, shape).to(self.flat.dtype)
            found[t.name] = numbers < objective.masks[t.name]
        return found

    def _uniform(self, seed: int, stream: int, shape: Sequence[int]) -> Any:
        """`chalkgrad.emit.draws.uniform` for the step that is being taken, in 64-bit whole numbers."""

        def mixed(x: Any) -> Any:
            for shift, factor in zip(SHIFTS, (*FACTORS, 1), strict=True):
                x = ((x ^ (x >> shift)) * factor) & 0xFFFFFFFF
            return x

        def places(count: int, factor: int) -> Any:
            return self.torch.arange(count, device=self.device) * factor

        key = self.torch.zeros(1, dtype=self.torch.int64, device=self.device)
        for part in (seed & 0xFFFFFFFF, self._t.long(), stream):
            key = mixed((key + part) & 0xFFFFFFFF)
        rows = mixed((key + places(shape[0], OF_ROW)) & 0xFFFFFFFF)
        columns = places(math.prod(shape[1:]), OF_COLUMN)
        numbers = mixed((rows[:, None] + columns) & 0xFFFFFFFF) >> 8
        return (numbers.float() * 2.0**-24).reshape(*shape)

    def _steps(self, order: NDArray[np.int64]) -> Array:
        steps, rows = order.shape
        if rows not in self._orders:
            shape = (CALL_STEPS, rows)
            self._orders[rows] = self.torch.zeros(shape, dtype=self.torch.int64, device=self.device)
        self._orders[rows][:steps].copy_(self.torch.from_numpy(np.ascontiguousarray(order)))
        self._place.zero_()
        self._t.fill_(float(self.optimiser.steps))
        if rows not in self._replays:
            self._replays[rows] = self._replay(self._orders[rows])
        replay = self._replays[rows]
        with self.torch.no_grad(), self._own_threads():
            for _ in range(steps):
                replay()
        self.optimiser.steps += steps
        found: Array = self._losses[:steps].cpu().numpy()  # the only wait for the device
        return found

    @contextmanager
    def _own_threads(self) -> Iterator[None]:
        """As many threads as this engine was given, and afterwards as many as the process had."""
        before = self.torch.get_num_threads()
        if self.device.type == "cpu" and before != self.threads:
            self.torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            if self.torch.get_num_threads() != before:
                self.torch.set_num_threads(before)

    def _replay(self, order: Any) -> Callable[[], Any]:
        """What takes a step on batches of this many rows."""
        if self.device.type != "cuda":
            return lambda: self.step(order)
        torch = self.torch
        fused = (
            torch.compile(self.step, fullgraph=True, dynamic=False)
            if optional("triton") is not None
            else self.step
        )
        state = [self.flat, *self.memories.values(), self._place, self._t, self._losses]
        before = [t.clone() for t in state]
        # As PyTorch's notes on CUDA graphs have it: warm up beside the current stream, then capture.
        side = torch.cuda.Stream(self.device)
        with torch.cuda.device(self.device), torch.no_grad():
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    self._place.zero_()
                    fused(order)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                fused(order)
            for own, old in zip(state, before, strict=True):
                own.copy_(old)
        replay: Callable[[], Any] = graph.replay
        return replay

    def _views(self) -> dict[str, Any]:
        shapes = self.objective.shapes()
        return {n: self.flat[a:b].view(shapes[n]) for n, (a, b) in self.objective.spans().items()}

    def _scalar(self, value: float, dtype: Any) -> Any:
        return self.torch.full((), value, dtype=dtype, device=self.device)

    def _moved(self, array: NDArray[Any]) -> Any:
        """A copy on the device: nothing here shares memory with the caller's arrays."""
        return self.torch.from_numpy(np.array(array, order="C")).to(self.device)


def _function(made_from: Any, program: Callable[[], Program]) -> Callable[[dict[str, Any]], Any]:
    """The emitted PyTorch function of a program, called with a value per name."""

    def emitted() -> dict[str, Any]:
        made = program()
        return {
            "name": prefix(made.name),
            "text": source(made, FORWARD_ONLY, target="torch"),
            "inputs": [t.name for t in made.inputs],
            "parameters": [(t.name, identifier(t.name)) for t, _ in made.parameters],
        }

    found = kept("torch", made_from, emitted)
    inputs, parameters = found["inputs"], found["parameters"]
    forward = getattr(imported(found["name"], found["text"]), f"{found['name']}_forward")

    def call(values: dict[str, Any]) -> Any:
        given = [values[name] for name in inputs]
        outputs, _ = forward(*given, **{keyword: values[name] for name, keyword in parameters})
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return call


def _gradient_function(objective: Objective) -> Callable[[dict[str, Any]], Any]:
    """The loss and its gradient by every parameter, in the order of the flat vector."""
    names = objective.wrt

    def program() -> Program:
        safe, backward = objective.derived
        return gradient_program(safe, backward, f"{safe.name}_step", with_outputs=True)

    return _function(("torch step", objective.program, names), program)


def _forward_function(program: Program) -> Callable[[dict[str, Any]], Any]:
    return _function(("torch forward", program), lambda: program)
