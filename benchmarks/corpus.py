"""Labelled corpus of hand-written backwards: emitted NumPy source with one or two edits.

The edits are made on the syntax tree of the text, knowing nothing of derivations or hypotheses; an
edit that changes no number is dropped, by running both texts. A label is the set of causes that
describe the edit (a dropped summand is a missing term or a missing path: one edit, two names).
"""

from __future__ import annotations

import ast
import copy
import hashlib
import linecache
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from corpus_edits import TERM, Edit, backward_of, edits
from corpus_rewrites import rewrites

from chalkgrad.diff import derive, for_code
from chalkgrad.emit.module_text import source
from chalkgrad.errors import ChalkgradError
from chalkgrad.layers import GALLERY
from chalkgrad.verify.sample import sample


@dataclass(frozen=True)
class Program:
    """One text to be judged.

    Attributes:
        layer: The gallery layer that it claims to be.
        text: The source, with NAME_forward and NAME_backward.
        labels: One set of causes per edit; empty for right programs.
        edit: What was done.
    """

    layer: str
    text: str
    labels: tuple[frozenset[str], ...]
    edit: str


def functions(text: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward and the backward that a text defines."""
    names: dict[str, Any] = {}
    place = f"<corpus {hashlib.sha1(text.encode()).hexdigest()}>"
    # The source can be read, as that of any program in a file.
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    exec(compile(text, place, "exec"), names)
    forward = next(v for k, v in names.items() if k.endswith("_forward"))
    return forward, next(v for k, v in names.items() if k.endswith("_backward"))


# --- texts ------------------------------------------------------------------------------------------


def texts() -> Iterator[tuple[str, str]]:
    """(layer, source) for every layer with code: the emitted form, and the other one where it differs."""
    for name, layer in GALLERY.items():
        seen = set()
        for made in (for_code, _staged, _closed):
            try:
                program, backward = made(layer.program)
                text = source(program, backward, name)
            except (ChalkgradError, TypeError):
                continue
            if text not in seen:
                seen.add(text)
                yield name, text


def _staged(program: Any) -> Any:
    record = derive(program, given=True)
    return record.program, record.staged


def _closed(program: Any) -> Any:
    record = derive(program, given=True)
    return record.program, record.closed


# --- running ----------------------------------------------------------------------------------------


@dataclass
class Bench:
    """A layer's own inputs, by which edits without effect are found."""

    layer: str
    inputs: tuple[Any, ...]
    upstreams: tuple[Any, ...]

    @staticmethod
    def of(layer: str) -> Bench:
        program = GALLERY[layer].program
        env = sample(program, 5)
        inputs = tuple(np.array(env.array(t)) if t.axes else float(env.array(t)) for t in program.inputs)
        shapes = [np.shape(env.array(o)) for o in program.outputs if o.dtype == "float"]
        rng = np.random.default_rng(3)
        return Bench(layer, inputs, tuple(rng.normal(size=s) if s else 1.7 for s in shapes))

    def run(self, text: str) -> Any:
        """The gradients, or None where the text raises."""
        try:
            forward, backward = functions(text)
            with np.errstate(all="ignore"):
                _, cache = forward(*copy.deepcopy(self.inputs))
                return backward(*copy.deepcopy(self.upstreams), cache)
        except Exception:  # noqa: BLE001 (a spoiled text may raise anything)
            return None

    def shapes(self, text: str) -> dict[str, tuple[int, ...]]:
        """Shapes of the backward's arguments, cached values and results, by name."""
        forward, _ = functions(text)
        _, cache = forward(*copy.deepcopy(self.inputs))
        function = backward_of(ast.parse(text))
        above = zip(function.args.args, self.upstreams, strict=False)
        found: dict[str, tuple[int, ...]] = {a.arg: np.shape(u) for a, u in above}
        for s in function.body:
            if isinstance(s, ast.Assign) and ast.unparse(s.value) == "cache":
                target = s.targets[0]
                names = [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
                values = cache if isinstance(target, ast.Tuple) else (cache,)
                found |= {n: np.shape(v) for n, v in zip(names, values, strict=True)
                          if isinstance(v, np.ndarray) and v.dtype.kind == "f"}  # fmt: skip
        for place, g in enumerate(self.run(text)):
            if g is not None:
                found[f"return {place}"] = np.shape(g)
        return found


def differs(a: Any, b: Any) -> bool:
    """Whether two results differ by more than rounding."""
    if b is None or len(a) != len(b):
        return True
    for x, y in zip(a, b, strict=True):
        if (x is None) != (y is None):
            return True
        if x is not None and (
            np.shape(x) != np.shape(y)
            or not np.allclose(x, y, rtol=1e-7, atol=1e-9 * float(np.abs(x).max(initial=1e-9)))
        ):
            return True
    return False


def widened(right: Any, found: Any, labels: frozenset[str]) -> frozenset[str]:
    """The labels, with what else describes the result as well.

    What raises, or has another shape for want of a factor, is a fault of shape; a gradient that became
    another input's, or minus another's, or 0, is that by any other edit, too.
    """
    if found is None:
        return labels | {"shape"}
    for x, y in zip(right, found, strict=False):
        if x is None or y is None or not differs((x,), (y,)):
            continue
        if any(z is not None and not differs((z,), (y,)) for z in right):
            labels |= {"wrong_argument"}
        if "wrong_argument" in labels and not differs((x,), (-np.asarray(y),)):
            labels |= {"sign"}
        if "missing_factor" in labels and np.shape(x) != np.shape(y):
            labels |= {"shape"}
        if float(np.abs(y).max(initial=0.0)) <= 1e-12:
            labels |= TERM
    return labels


def spoiled(text: str, *edits: Edit) -> str:
    tree = ast.parse(text)
    for edit in edits:
        edit.apply(tree)
    ast.fix_missing_locations(tree)
    return ast.unparse(tree)


def faulty(pair_share: float = 0.25, seed: int = 0) -> Iterator[Program]:
    """Every single edit of every text that changes a number, and a share of pairs."""
    rng = random.Random(seed)
    for layer, text in texts():
        bench = Bench.of(layer)
        right = bench.run(text)
        if right is None:
            continue
        tree = ast.parse(text)
        singles: list[Edit] = []
        seen: set[str] = set()
        for edit in edits(tree, layer, bench.shapes(text)):
            try:
                new = spoiled(text, edit)
            except (AttributeError, IndexError, ValueError):
                continue
            found = bench.run(new)
            effect = edit.labels & {"mutates_input"} or differs(right, found)
            if new not in seen and effect:
                seen.add(new)
                labels = widened(right, found, edit.labels)
                if edit.masked is not None and not differs(
                    found or (), bench.run(spoiled(text, edit.masked))
                ):
                    labels |= {"missing_mask"}  # the condition is true everywhere: that is no condition
                singles.append(replace(edit, labels=labels))
                yield Program(layer, new, (labels,), edit.what)
        plain = [
            e for e in singles if not e.labels & {"mutates_input", "nondeterministic", "shape", "precision"}
        ]
        for _ in range(int(len(plain) * pair_share)):
            one, two = rng.sample(plain, 2) if len(plain) > 1 else (None, None)
            if one is None or two is None or one.statement == two.statement:
                continue
            try:
                new = spoiled(text, one, two)
            except (AttributeError, IndexError, ValueError):
                continue
            found = bench.run(new)
            masks = (bench.run(spoiled(text, one)), bench.run(spoiled(text, two)))
            # A pair is a pair only where each edit still shows beside the other.
            if found is None or not all(m is not None and differs(m, found) for m in masks):
                continue
            if differs(right, found):
                yield Program(layer, new, (one.labels, two.labels), f"{one.what} + {two.what}")


def right() -> Iterator[Program]:
    """Every text, and rewrites of it that compute the same."""
    for layer, text in texts():
        bench = Bench.of(layer)
        expected = bench.run(text)
        if expected is None:
            continue
        seen: set[str] = set()
        for what, new in rewrites(text, layer).items():
            found = bench.run(new)
            values = tuple(found.values()) if isinstance(found, dict) else found
            if new in seen or values is None or differs(expected, values):
                continue
            seen.add(new)
            yield Program(layer, new, (), what)
