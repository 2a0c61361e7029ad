"""The training step as machine code: tiles, epilogues, panels and gathers, written as LLVM IR.

    step = compile_step(program, backward, rule, sizes={"N": 128, "D": 784, "H1": 256, "K": 10})
    step.load({"W1": W1, "b1": b1, ...})                    the user's arrays, copied into packed layout
    losses = step.run({"x": x, "y": y}, order, 128, lr=1e-3)    as many steps as `order` holds batches
    step.store({"W1": W1, "b1": b1, ...})                   and back into the user's arrays

`program, backward` come from `chalkgrad.diff.derive.for_code`; `rule` is the optimiser's program, which
reads w, g, its memories and scalars and defines w2 and each memory's next value. Needs llvmlite (the
extra `fast`). What the kernels do not cover raises `UnsupportedError`, and the caller uses NumPy.

May import what `chalkgrad.emit` may; llvmlite is loaded when something is compiled.
"""
