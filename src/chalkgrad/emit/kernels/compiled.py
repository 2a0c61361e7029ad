"""The compiled step as an object: parameters in, many steps a call, losses and parameters out."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.derivation import Backward
from chalkgrad.emit.collector import collector_paused
from chalkgrad.emit.disk_cache import structure
from chalkgrad.emit.kernels import machine
from chalkgrad.emit.kernels.code import (
    ANYWHERE,
    ASKED,
    BROKEN,
    COUNTER,
    ENTRY,
    PREFIX,
    SEED,
    TAKEN,
    UNCHANGED,
    StepCode,
)
from chalkgrad.emit.kernels.inputs import split_inputs
from chalkgrad.emit.kernels.layout import Layout, allocate
from chalkgrad.emit.kernels.targets import Target, host
from chalkgrad.emit.together import together
from chalkgrad.errors import ShapeError
from chalkgrad.expr.nodes import Program, Range, Tensor

Array = NDArray[Any]
Ended = Callable[[], bool]


def compile_step(
    program: Program,
    backward: Backward,
    rule: Program,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    memories: tuple[str, ...] = (),
    masks: Mapping[str, float] | None = None,
    dtype: Any = np.float32,
    paired: bool = False,
    threads: int = 1,
    target: Target | None = None,
    zone: int = 16,
) -> CompiledStep:
    """One training step as machine code.

    Args:
        program, backward: The loss and its gradients, from `chalkgrad.diff.derive.for_code`. The inputs
            that `backward` wants are trained; the others come in rows.
        rule: The optimiser: reads w, g, its memories and scalars, t among them; defines w2 and each
            memory's next value, called like it plus "2".
        shapes: The shape of every input by name; the number of rows of the data is the largest batch.
        memories: The names of the optimiser's arrays.
        masks: Inputs that are drawn each step, and the probability of 1, by name.
        dtype: float32 or float64.
        paired: Whether matrix products multiply numbers rounded to bfloat16, and add in float32.
        threads: How many threads take part in `run`.
        target: The machine to compile for, if not the one at hand.
        zone: Numbers left free between buffers; tests fill them and look.

    Raises:
        MissingExtraError: When llvmlite is not installed.
        UnsupportedError: When the network has a line that no kernel covers.
    """
    wrt = tuple(t.name for t in backward.wanted)
    return kept_step(
        program, wrt, lambda: (program, backward), rule, made_from=(program, backward), shapes=shapes,
        memories=memories, masks=masks, dtype=dtype, paired=paired, threads=threads, target=target, zone=zone,
    )  # fmt: skip


def kept_step(
    program: Program,
    wrt: tuple[str, ...],
    derive: Callable[[], tuple[Program, Backward]],
    rule: Program,
    *,
    made_from: Any = None,
    shapes: Mapping[str, tuple[int, ...]],
    memories: tuple[str, ...] = (),
    masks: Mapping[str, float] | None = None,
    dtype: Any = np.float32,
    paired: bool = False,
    threads: int = 1,
    target: Target | None = None,
    zone: int = 16,
) -> CompiledStep:
    """As `compile_step`, for a loss that is derived only when no earlier process left its machine code.

    Args:
        program: The loss.
        wrt: The inputs that are trained.
        derive: Gives the loss made safe and its backward.
        made_from: What `derive` depends on, if not on `program` and `wrt` alone.
    """
    masks = dict(masks or {})
    batch, data, parameters = split_inputs(program, wrt, masks)
    ranges: dict[Range, int] = {}
    for t in (*data, *parameters):
        for axis, size in zip(t.axes, shapes[t.name], strict=True):
            if ranges.setdefault(axis, size) != size or size < 1:
                raise ShapeError(
                    f"{t.name} has the shape {shapes[t.name]}, where {axis.name} is {ranges[axis]}."
                )
    numbers = (1 + len(memories)) * sum(prod(shapes[t.name]) for t in parameters)
    target = (target or host(np.dtype(dtype) == np.float64)).for_batch(ranges[batch]).holding(numbers)
    target = target.with_pairs() if paired else target
    layout = Layout(target, ranges, batch, zone)
    asked = (made_from or (program, wrt), rule, sorted(shapes.items()), memories, masks, threads, layout.zone)
    key = machine.key(structure(asked), target)
    code = _cached_code(key, layout)
    if code is None:
        with collector_paused():
            code = _written_code(target, layout, derive(), rule, memories, masks, threads)
        _keep_code(key, code, layout)
    return CompiledStep(code, layout, data, parameters, memories, np.dtype(dtype), threads)


def _written_code(
    target: Target, layout: Layout, derived: tuple[Program, Backward], rule: Program,
    memories: tuple[str, ...], masks: Mapping[str, float], threads: int,
) -> StepCode:  # fmt: skip
    """The code made now; what makes it is loaded only here, as most processes find it made."""
    from chalkgrad.emit.kernels.orientation import flipped
    from chalkgrad.emit.kernels.recognise import operations
    from chalkgrad.emit.kernels.schedule import schedule
    from chalkgrad.emit.kernels.step import write_step
    from chalkgrad.emit.kernels.update import Update

    found = operations(*derived, masks)
    layout.flipped = flipped(found, layout)
    return write_step(target, layout, found, schedule(found, layout.flipped), Update(rule, memories), threads)


def _cached_code(key: str, layout: Layout) -> StepCode | None:
    """The code that another process left, its places put into the layout."""
    content = machine.read_cached(key + ".step")
    if content is None:
        return None
    head, _, code = content.partition(b"\n")
    about = json.loads(head)
    layout.places = {(kind, name): (at, numbers) for kind, name, at, numbers in about["places"]}
    layout.total, layout.flipped = about["total"], frozenset(about["flipped"])
    scalars = tuple((name, role) for name, role in about["scalars"])
    return StepCode(code, scalars, about["totals"], about["two_phases"])


def _keep_code(key: str, code: StepCode, layout: Layout) -> None:
    places = [(kind, name, at, numbers) for (kind, name), (at, numbers) in layout.places.items()]
    about = {
        "places": places, "total": layout.total, "flipped": sorted(layout.flipped),
        "scalars": code.scalars, "totals": code.totals, "two_phases": code.two_phases,
    }  # fmt: skip
    machine.write_cached(key + ".step", json.dumps(about).encode() + b"\n" + code.code)


class CompiledStep:
    """See `chalkgrad.emit.kernels`. Not safe to use from two threads at once.

    Attributes:
        two_phases: Whether all gradients are worked out and kept before anything is updated, as the update
            rule needs a number of all of them; else each is used up where it is made.
    """

    def __init__(
        self, code: StepCode, layout: Layout, data: tuple[Tensor, ...], parameters: tuple[Tensor, ...],
        memories: tuple[str, ...], dtype: Any, threads: int,
    ) -> None:  # fmt: skip
        self.layout = layout
        self.data, self.parameters, self.memories = data, parameters, memories
        self.dtype, self.threads, self._scalars = dtype, threads, code.scalars
        self.two_phases = code.two_phases
        self.arena = allocate(layout.total, dtype.type)
        self._totals = np.zeros(max(code.totals, 1))
        self._sync = np.zeros(COUNTER * (2 + 6 * len(parameters)), np.int64)
        self._numbers = np.zeros(max(len(code.scalars), 1))
        self._control = np.zeros(3, np.int64)
        self._places: dict[int, tuple[Array, int]] = {}
        self._rows: dict[int, tuple[Array, tuple[int, ...]]] = {}
        self._code, address = machine.load(code.code, PREFIX + ENTRY)
        kinds = [ctypes.c_void_p] * (3 + len(self.data) + 1) + [ctypes.c_int64] * 4 + [ctypes.c_void_p] * 3
        self._run = ctypes.CFUNCTYPE(None, *kinds)(address)

    def load(
        self, parameters: Mapping[str, Array], memories: Mapping[str, Mapping[str, Array]] | None = None
    ) -> None:
        """Copy parameters, and the optimiser's memories by name and parameter, into the step.

        Raises:
            ShapeError: When an array has another shape than the step was compiled for.
        """
        self._copy(parameters, memories, _pack)

    def store(
        self, parameters: Mapping[str, Array], memories: Mapping[str, Mapping[str, Array]] | None = None
    ) -> None:
        """Copy them back into the given arrays."""
        self._copy(parameters, memories, _unpack)

    def _copy(
        self, parameters: Mapping[str, Array], memories: Mapping[str, Mapping[str, Array]] | None,
        copy: Callable[[Array, Array], None],
    ) -> None:  # fmt: skip
        """Copy pieces, ours and theirs, in one direction: a share of them in each thread, as much of the
        time goes to pages that are touched for the first time."""
        pieces = []
        for t in self.parameters:
            pieces += self.layout.pieces(self.arena, t, np.asarray(parameters[t.name]))
            for memory in self.memories if memories is not None else ():
                pieces += self.layout.pieces(self.arena, t, np.asarray(memories[memory][t.name]), memory)  # type: ignore[index]

        def share(thread: int) -> None:
            first, last = (len(pieces) * n // self.threads for n in (thread, thread + 1))
            for own, theirs in pieces[first:last]:
                copy(own, theirs)

        together(share, self.threads)

    def run(
        self,
        data: Mapping[str, Array],
        order: NDArray[np.integer[Any]],
        batch: int,
        *,
        steps_before: int = 0,
        scalars: Mapping[str, float],
        parameters: Mapping[str, float] | None = None,
        seed: int = 0,
        ended: Ended | None = None,
        kept: bool = True,
    ) -> NDArray[np.float64]:
        """Train on the rows in `order`, `batch` at a time, the last batch perhaps smaller.

        Args:
            data: The rows by the name of their input; contiguous arrays of the step's type are read
                in place, others are copied first.
            order: The numbers of the rows.
            batch: Rows per step, at most what the step was compiled for.
            steps_before: How many steps the optimiser has taken, for its t.
            scalars: The optimiser's scalars but t: lr and its constants.
            parameters: The loss's keyword parameters, such as l2.
            seed: What the random masks follow from, with the number of the step; its low 32 bits.
            ended: Tells whether the steps shall end before all are taken. It is asked in this thread while
                others take the steps, which a Ctrl-C would else wait for. A step is given up as long as it
                has changed no parameter.
            kept: Whether parameters and memories are needed after such an end. If not, a step is given up
                wherever it stands, and they may hold anything until `load`.

        Returns:
            The loss of every step that was taken.

        Raises:
            ShapeError: For no rows, a batch of another size, row numbers outside the data.
        """
        order = np.ascontiguousarray(order, np.int64)
        arrays = [self._checked(n, t, data[t.name]) for n, t in enumerate(self.data)]
        rows = len(arrays[0])
        if not 1 <= batch <= self.layout.sizes[self.layout.batch]:
            most = self.layout.sizes[self.layout.batch]
            raise ShapeError(f"The batch has {batch} rows; the step was compiled for 1 to {most}.")
        if any(len(a) != rows for a in arrays):
            raise ShapeError("The data have different numbers of rows.")
        # Read without a sign, a negative number is a large one.
        if not len(order) or order.view(np.uint64).max() >= rows:
            raise ShapeError(f"The row numbers must lie between 0 and {rows - 1}, and there must be some.")
        numbers = self._numbers
        for place, (name, role) in enumerate(self._scalars):
            if role == SEED:
                numbers[place] = seed & 0xFFFFFFFF
            else:
                numbers[place] = (parameters or {})[name] if role == "parameter" else scalars[name]
        losses = np.empty(-(-len(order) // batch))
        self._sync[:] = 0
        return losses[: self._call(arrays, order, batch, steps_before, numbers, losses, ended, kept)]

    def _call(
        self, arrays: Any, order: Any, batch: int, before: int, numbers: Any, losses: Any,
        ended: Ended | None, kept: bool,
    ) -> int:  # fmt: skip
        """Run the code; how many steps it took."""
        control = self._control
        control[ASKED], control[TAKEN], control[BROKEN] = 0, len(losses) + 1, len(losses) + 1
        lasting = [self._sync, control, self.arena, self._totals, numbers, *arrays]
        sync, told, *addresses = [self._place(n, array) for n, array in enumerate(lasting)]
        addresses.append(_address(order))
        answers = (sync, told, _address(losses))

        def work(thread: int) -> None:
            self._run(*addresses, len(order), batch, before, thread, *answers)

        def look() -> None:
            if ended is not None and ended():
                control[ASKED] = UNCHANGED if kept else ANYWHERE

        together(work, self.threads, None if ended is None else look)
        return min(len(losses), int(control[TAKEN]), int(control[BROKEN]))

    def _place(self, number: int, array: Array) -> int:
        """An array's address, known if it was the last one of its number: asking costs more than a kernel."""
        kept, place = self._places.get(number, (None, 0))
        if kept is not array:
            place = _address(array)
            self._places[number] = (array, place)
        return place

    def _checked(self, number: int, t: Any, given: Any) -> Array:
        """Rows as the code reads them: those of the last call again, if they are read in place, or a copy."""
        kept, shape = self._rows.get(number, (None, ()))
        if kept is not None and kept is given and kept.shape == shape:
            return kept
        own = self._as_read(t, np.asarray(given))
        if own is given:
            self._rows[number] = (own, own.shape)
        return own

    def _as_read(self, t: Any, value: Array) -> Array:
        shape = tuple(self.layout.sizes[r] for r in t.axes[1:])
        if value.shape[1:] != shape or value.ndim != len(t.axes):
            raise ShapeError(f"{t.name} has the shape {value.shape}; it must have rows of {shape}.")
        if t.dtype == "bool":
            return np.ascontiguousarray(value, np.bool_)
        return np.ascontiguousarray(value, self.dtype if t.dtype == "float" else np.int64)


def _address(array: Any) -> int:
    """Where an array begins. NumPy takes four times as long to say so, and is asked only where it must be."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))
    except (TypeError, ValueError):  # read-only, or without a byte
        return int(array.ctypes.data)


def _pack(own: Array, theirs: Array) -> None:
    own[...] = theirs


def _unpack(own: Array, theirs: Array) -> None:
    theirs[...] = own
