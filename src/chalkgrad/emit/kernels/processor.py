"""What the processor and the system are asked for besides arithmetic."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from chalkgrad.emit.kernels.writer import I8, I32, I64, Writer


def pause(w: Writer) -> None:
    """A moment's wait within a loop that watches a counter."""
    if w.target.x86:
        _nothing(w, "llvm.x86.sse2.pause")
    else:
        _nothing(w, "llvm.aarch64.hint", ir.Constant(I32, 1))


def offer_core(w: Writer) -> None:
    """Let somebody else run, where the system has a call for that."""
    if "windows" in w.target.triple:
        return
    name = "sched_yield"
    known = w.module.globals.get(name) or ir.Function(w.module, ir.FunctionType(I32, []), name)
    w.b.call(known, [])


class flushing:  # noqa: N801 (read as a statement: with flushing(w))
    """Denormal numbers count as zero inside, and what the caller had is restored afterwards."""

    X86 = 0x8040
    ARM = 1 << 24

    def __init__(self, w: Writer) -> None:
        self.w = w

    def __enter__(self) -> None:
        w, b = self.w, self.w.b
        if w.target.x86:
            self.kept, self.new = b.alloca(I32), b.alloca(I32)
            self._state("stmxcsr", self.kept)
            b.store(b.or_(b.load(self.kept), ir.Constant(I32, self.X86)), self.new)
            self._state("ldmxcsr", self.new)
        else:
            get = ir.Function(w.module, ir.FunctionType(I64, []), "llvm.aarch64.get.fpcr")
            self.kept = b.call(get, [])
            _nothing(w, "llvm.aarch64.set.fpcr", b.or_(self.kept, ir.Constant(I64, self.ARM)))

    def __exit__(self, *_: object) -> None:
        if self.w.target.x86:
            self._state("ldmxcsr", self.kept)
        else:
            _nothing(self.w, "llvm.aarch64.set.fpcr", self.kept)

    def _state(self, name: str, place: Any) -> None:
        w = self.w
        _nothing(w, f"llvm.x86.sse.{name}", w.b.bitcast(place, I8.as_pointer()))


def _nothing(w: Writer, name: str, *arguments: Any) -> None:
    """A call of an intrinsic that gives nothing back."""
    known = w.module.globals.get(name) or ir.Function(
        w.module, ir.FunctionType(ir.VoidType(), [a.type for a in arguments]), name
    )
    w.b.call(known, list(arguments))
