"""The training step as machine code: tiles, epilogues, panels and gathers, written as LLVM IR.

    shapes = {"x": (128, 784), "y": (128,), "W1": (784, 10), "b1": (10,)}      128 rows a step at the most
    step = compile_step(program, backward, rule, shapes=shapes, memories=("m", "v"))
    step.load({"W1": W1, "b1": b1, ...})                    the user's arrays, copied into packed layout
    losses = step.run({"x": x, "y": y}, order, 128, scalars={"lr": 1e-3, …})    a step per 128 rows of order
    step.store({"W1": W1, "b1": b1, ...})                   and back into the user's arrays

`program, backward` come from `chalkgrad.diff.derive.for_code`; `rule` is the optimiser's program, which
reads w, g, its memories and scalars and defines w2 and each memory's next value. Needs llvmlite (the
extra `fast`). What the kernels do not cover raises `UnsupportedError`, and the caller uses NumPy.

May import what `chalkgrad.emit` may, and llvmlite; importing it without llvmlite raises MissingExtraError.
"""

from importlib.util import find_spec

from chalkgrad.errors import MissingExtraError

if find_spec("llvmlite") is None:
    raise MissingExtraError(
        "The compiled training step needs the package 'llvmlite', which is not installed.",
        hint="Install it with: pip install 'chalkgrad[fast]', or choose engine=\"numpy\".",
    )

from chalkgrad.emit.kernels.compiled import CompiledStep, compile_step

__all__ = ["CompiledStep", "compile_step"]
