"""What the machine at hand offers: vector lanes, and the register tile that fits its registers."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from chalkgrad.emit.disk_cache import kept
from chalkgrad.errors import UnsupportedError


@dataclass(frozen=True, slots=True)
class Target:
    """A processor and the sizes derived from it.

    A panel is `vectors` vectors wide: the number of observations (or weight columns) that lie side by
    side in memory. A tile is `rows` rows of one panel, and `most` rows at the most, so that
    `most * vectors` accumulators, `vectors` operands and one broadcast value fit the registers.

    Attributes:
        triple, cpu, features: LLVM's words for the processor.
        double: Whether numbers are float64.
        bytes: The width of a vector register.
        vectors, rows, most: The tile.
        depth: How many k a block of a product has, about: a block of one panel of observations, and what
            passes by, stay in the first-level cache.
        second_level: Bytes that a block of weights may take of the second-level cache: a third of what such
            processors have, since a hyperthread beside this one may use as much.
        ahead: How many k ahead the weights of a forward tile are asked for; 0 leaves it to the processor.
        multipliers: Vectors that are multiplied in a cycle.
        near: Whether parameters and the optimiser's memories stay near, so that nothing need be asked for.
        paired: Whether what products multiply is rounded to bfloat16, two k in a word of 32 bits; they are
            added in float32, as everything else is worked out.
    """

    triple: str
    cpu: str
    features: str
    double: bool
    bytes: int
    vectors: int
    rows: int
    most: int
    depth: int
    second_level: int
    ahead: int
    multipliers: int = 2
    near: bool = False
    paired: bool = False

    @property
    def item(self) -> int:
        """Bytes of a number."""
        return 8 if self.double else 4

    @property
    def lanes(self) -> int:
        """Numbers in a vector register."""
        return self.bytes // self.item

    @property
    def panel(self) -> int:
        """Numbers side by side in a panel."""
        return self.lanes * self.vectors

    def for_batch(self, observations: int) -> Target:
        """The same processor with panels of one vector where that holds the whole batch."""
        if observations > self.lanes or self.vectors == 1:
            return self
        return replace(self, vectors=1, rows=self.rows * self.vectors, most=self.most * self.vectors)

    def holding(self, numbers: int) -> Target:
        """The same processor for a step whose parameters and memories are so many numbers."""
        return replace(self, near=numbers * self.item <= self.second_level)

    def with_pairs(self) -> Target:
        """The same processor with products of bfloat16.

        Raises:
            UnsupportedError: When it has no instructions for them, so that float32 would be faster.
        """
        if self.double or "+avx512bf16" not in self.features.split(","):
            what = "float64 is asked for" if self.double else f"the processor '{self.cpu}' has none"
            raise UnsupportedError(
                f"Products of bfloat16 need float32 parameters and AVX-512 BF16; {what}.",
                hint="Leave matmul_precision out: the product is then that of the network's type.",
            )
        return replace(self, paired=True)

    @property
    def words(self) -> int:
        """How many k one multiplication of a product takes."""
        return 2 if self.paired else 1

    @property
    def line(self) -> int:
        """Numbers in a line of the caches, which hold whole vectors."""
        return max(self.lanes, 64 // self.item)

    @property
    def x86(self) -> bool:
        return self.triple.startswith(("x86_64", "i686", "amd64"))


def avx512(triple: str, cpu: str, features: str, double: bool = False) -> Target:
    """32 registers of 64 bytes: 8 × 2 accumulators, up to 12 × 2.

    Zen 4 multiplies them in halves, one vector a cycle. There a panel is one vector wide: each scalar of a
    tile is then used once, and read by the multiplication itself. Scalars that are first read into registers
    of their own, for two multiplications each, keep other work from overlapping with those.
    """
    if cpu == "znver4":
        return Target(triple, cpu, features, double, 64, 1, 8, 8 if double else 16, 256, 512 << 10, 32, 1)
    return Target(triple, cpu, features, double, 64, 2, 8, 12, 256, 512 << 10, 32)


def avx2(triple: str, cpu: str, features: str, double: bool = False) -> Target:
    """16 registers of 32 bytes: 5 × 2 accumulators, up to 6 × 2; 4 × 2 just hide a sum's latency."""
    return Target(triple, cpu, features, double, 32, 2, 5, 6, 192, 128 << 10, 0)


def neon(triple: str, cpu: str, features: str, double: bool = False) -> Target:
    """32 registers of 16 bytes: 4 × 4 accumulators, up to 6 × 4."""
    return Target(triple, cpu, features, double, 16, 4, 4, 6, 256, 160 << 10, 32)


def binding() -> Any:
    """llvmlite's binding to LLVM, initialised."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@lru_cache(None)
def host(double: bool = False) -> Target:
    """The machine at hand, as LLVM described it to the first process that asked.

    Raises:
        UnsupportedError: When the processor has no vectors that a tile is known for.
    """
    import llvmlite

    processor = _processor()
    if processor is None:
        return _asked(double)
    about = (processor, llvmlite.__version__, double)
    return Target(**kept("host", about, lambda: asdict(_asked(double))))


def _processor() -> str | None:
    """What the system says about the first processor; None where it does not say enough."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = file.read(1 << 14).partition("\n\n")[0].splitlines()
    except OSError:
        return None
    moving = ("cpu MHz", "bogomips", "BogoMIPS", "processor", "apicid", "initial apicid", "core id")
    told = [line for line in first if line.partition(":")[0].strip() not in moving]
    return "\n".join([platform.machine(), *told]) if told else None


def _asked(double: bool) -> Target:
    llvm = binding()
    triple, cpu = llvm.get_process_triple(), llvm.get_host_cpu_name()
    has = llvm.get_host_cpu_features()
    # LLVM prefers 256-bit vectors on some processors that have 512-bit ones; the tiles are made for 512.
    features = has.flatten() + (",-prefer-256-bit" if platform.machine() in ("x86_64", "AMD64") else "")
    if has.get("avx512f") and has.get("avx512dq"):
        return avx512(triple, cpu, features, double)
    if has.get("avx2") and has.get("fma"):
        return avx2(triple, cpu, features, double)
    if triple.startswith(("aarch64", "arm64")):
        return neon(triple, cpu, features, double)
    raise UnsupportedError(
        f"The processor '{cpu}' has neither AVX-512, AVX2 with FMA nor NEON.",
        hint='Choose engine="numpy".',
    )
