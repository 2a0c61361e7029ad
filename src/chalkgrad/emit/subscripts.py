"""Code of sizes, slices and windows: what stands between the brackets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from chalkgrad.emit.arrays import (
    AddAt,
    Call,
    Clamp,
    Compare,
    Gather,
    Load,
    Loop,
    Product,
    Slot,
    Statement,
    Terms,
    arrays_of,
    every_part,
    kind,
)
from chalkgrad.emit.dialects import Dialect
from chalkgrad.emit.windows import is_whole
from chalkgrad.errors import UnsupportedError
from chalkgrad.expr.linear import Linear, equal, highest, lowest, plus, size_of, times
from chalkgrad.expr.nodes import Access, Add, Apply, Const, Expr, Mul, Range, Size, Tensor

Namer = Callable[[Range | Tensor], str]
"""The code of a size, or of a loop counter."""


def whole_number(e: Expr, name: Namer) -> str:
    """Python code of a size expression such as (|H| − |R|) // 2 + 1."""
    match e:
        case Const(Fraction() as value) if value.denominator == 1:
            return str(value.numerator)
        case Size(of):
            return str(of.size) if of.size is not None else name(of)
        case Access(tensor, ()) if tensor.role == "counter":
            return name(tensor)
        case Add(terms):
            text = whole_number(terms[0], name)
            for t in terms[1:]:
                negative, rest = _sign(t)
                text += f" {'-' if negative else '+'} {whole_number(rest, name)}"
            return text
        case Mul(factors):
            return " * ".join(_tight(f, name) for f in factors)
        case Apply("floordiv", (top, below)):
            return f"{_tight(top, name)} // {_tight(below, name)}"
        case Apply("mod", (top, below)):
            return f"{_tight(top, name)} % {_tight(below, name)}"
    raise UnsupportedError(f"the size {e} has no code")


def _tight(e: Expr, name: Namer) -> str:
    code = whole_number(e, name)
    return f"({code})" if " " in code else code


def _sign(e: Expr) -> tuple[bool, Expr]:
    match e:
        case Const(Fraction() as value) if value < 0:
            return True, Const(-value)
        case Mul((Const(Fraction() as value), *rest)) if value < 0:
            factors = tuple(rest) if value == -1 else (Const(-value), *rest)
            return True, factors[0] if len(factors) == 1 else Mul(factors)
    return False, e


def linear_code(form: Linear, name: Namer) -> str:
    """Python code of a linear form: positive terms first, the constant last."""
    items = sorted(form.items(), key=lambda p: (p[1] < 0, p[0] is None))
    text = ""
    for atom, c in items:
        size = abs(c)
        if atom is None:
            code = str(size)
        else:
            code = whole_number(atom, name) if size == 1 else f"{size} * {_tight(atom, name)}"
        if not text:
            text = f"-{code}" if c < 0 else code
        else:
            text += f" {'-' if c < 0 else '+'} {code}"
    return text or "0"


def slices(slots: Sequence[Slot], name: Namer) -> str:
    """`:, p : p + 2 * H : 2` for slots without windows; "" where everything is whole."""
    return _joined(":" if is_whole(s) else _slice(s, name) for s in slots)


def _joined(parts: Iterable[str]) -> str:
    written = list(parts)
    while written and written[-1] == ":":
        written.pop()
    return ", ".join(written)


def _slice(s: Slot, name: Namer) -> str:
    start = plus(dict(s.start), {None: s.low})
    if s.outer is None:
        return linear_code(start, name)
    return _stepped(start, times(size_of(s.outer.range), s.step), s.step, name)


def _stepped(start: Linear, length: Linear, step: int, name: Namer) -> str:
    first = linear_code(start, name) if start else ""
    stop = linear_code(plus(start, length), name)
    simple = all(part.isalnum() for part in (first, stop) if part)
    text = (
        f"{first}:{stop}"
        if simple and first
        else f"{first} : {stop}"
        if first
        else f":{stop}"
        if simple
        else f": {stop}"
    )
    if step == 1:
        return text
    return f"{text}:{step}" if simple else f"{text} : {step}"


def window_code(code: str, slots: Sequence[Slot], dialect: Dialect, name: Namer, fill: str = "0") -> str:
    """An array, padded where it must be, sliced, its sliding windows' axes last."""
    code = _padded(code, slots, dialect, name, fill)
    plain = [s if s.inner is None else Slot(s.axis, (), s.outer) for s in slots]
    windows = [n for n, s in enumerate(slots) if s.inner is not None]
    marks = [
        ":" if slots[n].inner is not None or is_whole(s) else _slice(s, name) for n, s in enumerate(plain)
    ]
    if not windows:
        inside = _joined(marks)
        return f"{code}[{inside}]" if inside else code
    if any(s.outer is None for s in slots):
        raise UnsupportedError("an axis that is read at one place cannot be beside a sliding window")
    if dialect.name == "jax":
        return _by_index_arrays(code, slots, marks, windows, name)
    if dialect.name == "torch":
        return _unfolded(code, slots, marks, windows, name)
    spans = [linear_code(_span(slots[n]), name) for n in windows]
    sizes = f"({spans[0]},)" if len(spans) == 1 else f"({', '.join(spans)})"
    axes = f"({windows[0]},)" if len(windows) == 1 else f"({', '.join(map(str, windows))})"
    code = f"np.lib.stride_tricks.sliding_window_view({code}, {sizes}, axis={axes})"
    after = [_places(s, name) if s.inner is not None else m for s, m in zip(slots, marks, strict=True)]
    after += [f"::{slots[n].dilation}" if slots[n].dilation > 1 else ":" for n in windows]
    inside = _joined(after)
    return f"{code}[{inside}]" if inside else code


def _span(s: Slot) -> Linear:
    """How many entries a window covers."""
    assert s.inner is not None
    return plus(times(size_of(s.inner.range), s.dilation), {None: 1 - s.dilation})


def _places(s: Slot, name: Namer) -> str:
    """The windows that are kept: from the start, every step-th, as many as the outer index counts."""
    assert s.outer is not None
    start = plus(dict(s.start), {None: s.low})
    length = plus(plus(size_of(s.axis), {None: s.low}), dict(s.high))
    # One more step would reach past the end: then the slice ends by itself.
    reach = plus(plus(plus(start, times(size_of(s.outer.range), s.step)), _span(s)), length, -1)
    least, beyond = lowest(reach), lowest(dict(s.high))
    exact = beyond is not None and beyond >= 0
    if not start and exact and least is not None and least > 0:
        return f"::{s.step}" if s.step > 1 else ":"
    return _stepped(start, times(size_of(s.outer.range), s.step), s.step, name)


def _unfolded(code: str, slots: Sequence[Slot], marks: list[str], windows: list[int], name: Namer) -> str:
    """PyTorch's `unfold`, which appends the window's axis."""
    first = list(marks)
    last = [":"] * len(slots)
    for n in windows:
        start = plus(dict(slots[n].start), {None: slots[n].low})
        first[n] = f"{linear_code(start, name)}:" if start else ":"
        kept = _places(slots[n], name)
        if not kept.startswith("::") and kept != ":":
            outer = slots[n].outer
            assert outer is not None
            last[n] = f":{linear_code(size_of(outer.range), name)}"
    inside = _joined(first)
    code = f"{code}[{inside}]" if inside else code
    for n in windows:
        code += f".unfold({n}, {linear_code(_span(slots[n]), name)}, {slots[n].step})"
    inside = _joined([*last, *(f"::{slots[n].dilation}" if slots[n].dilation > 1 else ":" for n in windows)])
    return f"{code}[{inside}]" if inside else code


def _by_index_arrays(
    code: str, slots: Sequence[Slot], marks: list[str], windows: list[int], name: Namer
) -> str:
    """JAX has no views: one gather per axis, whose window axis is moved to the end."""
    inside = _joined(marks)
    code = f"{code}[{inside}]" if inside else code
    for n in windows:
        s = slots[n]
        assert s.outer is not None
        assert s.inner is not None
        start = plus(dict(s.start), {None: s.low})
        rows = f"jnp.arange({linear_code(size_of(s.outer.range), name)})[:, None]"
        columns = f"jnp.arange({linear_code(size_of(s.inner.range), name)})"
        rows = rows if s.step == 1 else f"{s.step} * {rows}"
        columns = columns if s.dilation == 1 else f"{s.dilation} * {columns}"
        shift = f" + {linear_code(start, name)}" if start else ""
        code = f"jnp.moveaxis({code}[{', '.join([':'] * n + [f'{rows} + {columns}{shift}'])}], {n + 1}, -1)"
    return code


def _padded(code: str, slots: Sequence[Slot], dialect: Dialect, name: Namer, fill: str) -> str:
    if not any(s.low or s.high for s in slots):
        return code
    widths = [(str(s.low), positive(dict(s.high), name)) for s in slots]
    if dialect.name == "torch":
        flat = ", ".join(f"{low}, {high}" for low, high in reversed(widths))
        return f"torch.nn.functional.pad({code}, ({flat}){f', value={fill}' if fill != '0' else ''})"
    pairs = ", ".join(f"({low}, {high})" for low, high in widths)
    around = f", constant_values={fill}" if fill != "0" else ""
    return f"{dialect.module}.pad({code}, ({pairs}{',' if len(widths) == 1 else ''}){around})"


def positive(form: Linear, name: Namer) -> str:
    """The form where it is positive, else 0."""
    least, most = lowest(form), highest(form)
    if most is not None and most <= 0:
        return "0"
    code = linear_code(form, name)
    return code if least is not None and least >= 0 else f"max(0, {code})"


def framed(s: Slot, name: Namer) -> str:
    """The length of an axis with its frame."""
    length = plus(size_of(s.axis), {None: s.low})
    high = dict(s.high)
    if not high:
        return linear_code(length, name)
    if set(high) <= {None}:
        return linear_code(plus(length, high), name)
    return f"{linear_code(length, name)} + {positive(high, name)}"


def cropped(frame: Sequence[Slot], name: Namer) -> str:
    """The subscripts that cut the frame off."""
    parts = []
    for s in frame:
        if not s.low and not s.high:
            parts.append(":")
            continue
        parts.append(_stepped({None: s.low} if s.low else {}, size_of(s.axis), 1, name))
    return _joined(parts)


def same_length(a: Range, b: Range) -> bool:
    """Whether two ranges have the same size, by proof."""
    return a is b or equal(size_of(a), size_of(b))


def subscripts_of(statements: Iterable[Statement]) -> frozenset[Tensor]:
    """The arrays of whole numbers in subscripts, and those that arithmetic or comparisons of such read."""
    found: set[Tensor] = set()
    for s in (s.at_once if isinstance(s, Loop) else s for s in statements):
        whole = list(s.subscripts) if isinstance(s, AddAt) else []
        for part in (p for a in arrays_of(s) for p in every_part(a)):
            match part:
                case Gather(subscripts=subscripts):
                    whole += [a for a in subscripts if a is not None]
                case Clamp(arg, _, _):
                    whole.append(arg)
                case Terms() | Product() | Call() if kind(part) == "int":
                    whole.append(part)
                case Compare(_, left, right, _) if kind(left) == kind(right) == "int":
                    whole += [left, right]
        read = (p for a in whole for p in every_part(a) if isinstance(p, Load | Gather))
        found |= {p.tensor for p in read if p.tensor.dtype == "int"}
    return frozenset(found)
