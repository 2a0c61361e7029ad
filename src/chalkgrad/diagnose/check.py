"""`check`: is this backward right, and if not, what is wrong with it?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from chalkgrad.derivation import Derived
from chalkgrad.diagnose.advice import Advice, Setting
from chalkgrad.diagnose.calling import Caller, statics_of
from chalkgrad.diagnose.class_layers import class_layer, functions_of
from chalkgrad.diagnose.example import smallest
from chalkgrad.diagnose.extras import fine_points
from chalkgrad.diagnose.forms import Form
from chalkgrad.diagnose.forward_value import forward_faults
from chalkgrad.diagnose.frameworks import framework_of
from chalkgrad.diagnose.judge import Judge
from chalkgrad.diagnose.layout import laid_out
from chalkgrad.diagnose.made_to_run import made_to_run
from chalkgrad.diagnose.mended import Mender
from chalkgrad.diagnose.misuse import misuse, own_name
from chalkgrad.diagnose.moved import Moved
from chalkgrad.diagnose.own_epsilon import LeftOut, OwnEpsilon, with_own_epsilon
from chalkgrad.diagnose.own_words import held, in_own_names
from chalkgrad.diagnose.points import Point, nudged, several
from chalkgrad.diagnose.remarks import remarks
from chalkgrad.diagnose.report import Diagnosis, Fault, ended, page_of
from chalkgrad.diagnose.squares import square_trial
from chalkgrad.diagnose.trial import Bounds, Trial, best, relative_error, run, wrong_arguments
from chalkgrad.diagnose.words import shown
from chalkgrad.diff import derive
from chalkgrad.errors import ChalkgradError, VerificationError
from chalkgrad.expr.garbage import collector_held
from chalkgrad.expr.nodes import Program, Tensor

POINTS = 3
SHAPE_WORDS = ("shape", "broadcast", "dimension", "matmul", "align", "size", "mismatch", "axis", "axes",
               "index", "float' object", "int' object")  # fmt: skip


class HasProgram(Protocol):
    """What `check` needs of a layer."""

    @property
    def program(self) -> Program: ...


def check(
    backward: Any,
    layer: HasProgram,
    *,
    forward: Callable[..., Any] | None = None,
    name: str | None = None,
    seed: int = 0,
    timeout: float | None = None,
) -> Diagnosis:
    """Compare a hand-written backward with the derivation of a layer, and say what is wrong with it.

    The backward may be `backward(dout, cache)`, where the cache is the tuple of the inputs or what
    the user's `forward` saved; `backward(dout, x, W, b)` by position or name; a
    `torch.autograd.Function`; a `jax.custom_vjp` function; or a class, or an object, with methods
    `forward(x)` and `backward(dout)` that keeps its parameters and their gradients as attributes
    (W and dW, params["W"] and grads["W"], or lists of them). It may return a tuple, list or dictionary
    of gradients, or one array. A loss may be a function of the inputs that returns (loss, gradients),
    and leave out the gradients of its data. Parameters of the layer, such as eps, are passed where the
    function takes them. It is called several times.

    Args:
        backward: What to check.
        layer: The layer whose backward it should be.
        forward: The user's own forward, which returns (out, cache), or the output alone where the
            backward takes the inputs; it is checked too, and may have its weights transposed.
        name: What the report calls the backward; its own name if omitted.
        seed: Chooses the test points.
        timeout: Seconds that one call may take.

    Raises:
        ChalkgradError: `backward` cannot be called at all, or the layer has no test point.

    Example:
        >>> import chalkgrad as cg
        >>> affine = cg.formula("f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]")
        >>> report = cg.check(lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout), affine)
        >>> report.ok, report.faults[0].argument, report.faults[0].cause
        (False, 'b', 'missing_sum')
    """
    methods = class_layer(backward)
    if methods is not None and isinstance(getattr(layer, "program", None), Program):
        pair = functions_of(methods, layer.program, statics_of(layer))
        name = name or getattr(methods, "__name__", type(methods).__name__)
        found = check(pair.backward, layer, forward=pair.forward, name=name, seed=seed, timeout=timeout)
        return pair.told(found)
    first = Check(backward, layer, forward, name, seed, timeout)
    if hasattr(layer, "with_options"):
        found = Moved(
            first, lambda given: Check(
                backward, layer.with_options(**given), forward, name, seed, timeout, even=True
            )
        ).judged()  # fmt: skip
    else:
        found = first.run()
    other_way = None if found.ok else laid_out(layer, first.caller, first.points())
    if other_way is not None:
        return other_way.told(Check(backward, other_way, forward, name, seed, timeout).run())
    return found


@lru_cache(128)
def derived_for_check(program: Program) -> Derived:
    """The derivation with the upstream gradient as an argument, even that of a scalar loss."""
    return derive(program, given=True)


class Check:
    """One check on its way."""

    def __init__(
        self, backward: Any, layer: HasProgram, forward: Callable[..., Any] | None, name: str | None,
        seed: int, timeout: float | None, *, even: bool = False,
    ) -> None:  # fmt: skip
        if not callable(backward):
            raise ChalkgradError(
                f"check needs a function, but got an object of type {type(backward).__name__}.",
                hint="cg.check(my_backward, layer)",
            )
        if not isinstance(getattr(layer, "program", None), Program):
            raise ChalkgradError(
                f"check needs a layer to compare with, but got an object of type {type(layer).__name__}.",
                hint="Make one with cg.layer or cg.formula, or take one of cg.layers.",
            )
        self.began = time.perf_counter()
        self.source = layer
        self.derived = derived_for_check(layer.program)
        self.name = str(name or getattr(backward, "__name__", type(backward).__name__))
        self.layer = str(getattr(layer, "name", layer.program.name))
        self.seed = seed
        self.timeout = timeout
        self.caller = Caller(backward, self.derived, forward, statics_of(layer))
        self.bounds = Bounds(self.derived)
        self.notes: list[str] = []
        self.even = even
        self.drawn: dict[bool, list[Point]] = {}
        self.elsewhere: Callable[[], Sequence[Setting]] = tuple
        self.advice = Advice(backward, tuple)

    @collector_held()
    def run(self) -> Diagnosis:
        """All of it."""
        trial = self.trial
        if trial is None:
            raise ChalkgradError(
                f"{self.name} takes arguments that fit no known form of a backward.",
                hint="Write backward(dout, cache) or backward(dout, "
                + ", ".join(self.caller.names) + ").",
            )  # fmt: skip
        if trial.error:
            return self.after_error(trial)
        return self.judged()

    @cached_property
    def trial(self) -> Trial | None:
        """The calls in the form that fits best."""
        return best(self.caller, self.points, self.bounds, self.timeout)

    @cached_property
    def settled(self) -> tuple[Trial, OwnEpsilon | LeftOut | None]:
        """The calls of code that runs, with an epsilon of the user's own where it has one."""
        assert self.trial is not None
        form = self.trial.form
        draw = partial(self.draw, not form.upstream)
        return with_own_epsilon(self.caller, self.trial, self.bounds, draw, self.timeout)

    def has_forward(self) -> bool:
        """Whether the user's own forward runs before the backward."""
        return self.caller.forward is not None or framework_of(self.caller.backward) != "numpy"

    def takes_forward(self) -> bool:
        """Whether the user's own forward gives the layer's values; it may ask for a stride of its own."""
        return self.trial is not None and not self.trial.failed and not self.forward_faults(self.trial)

    def setting(self, trial: Trial | None = None) -> Setting:
        """Where a change of the user's text has to hold: at the points of a trial."""
        if trial is None:
            assert self.trial is not None
            trial = self.settled[0] if not self.trial.error else self.whole(self.trial.form)
        return Setting(self.caller, trial, self.bounds, self.timeout)

    def whole(self, form: Form) -> Trial:
        """A trial at all points, of which no call was made: code that raises gave nothing."""
        try:
            return Trial(form, [form.prepare(p) for p in self.points(not form.upstream)])
        except Exception:  # noqa: BLE001 (the user's forward may raise anything)
            return Trial(form)

    def advised(self, *trials: Trial) -> Advice:
        """What tries advice: at the points of some trials, and wherever else the layer was judged."""
        own = [self.setting(t) for t in trials]
        self.advice = Advice(
            self.caller.backward, lambda: [*own, *self.defaults(trials[0]), *self.elsewhere()]
        )
        return self.advice

    def defaults(self, trial: Trial) -> list[Setting]:
        """The points with the parameters as they are by default, where the user's code is told others."""
        if not self.caller.accepted() or trial.error or not trial.results:
            return []
        points = several(self.derived, 1, self.seed, unit=not trial.form.upstream, even=self.even)
        usual = run(self.caller, trial.form, points, self.timeout)
        return [] if usual.error else [self.setting(usual)]

    def points(self, unit: bool = False) -> list[Point]:
        """Test points; parameters that the user's code takes get other values than their defaults."""
        if unit not in self.drawn:
            self.drawn[unit] = self.draw(unit)
        return self.drawn[unit]

    def draw(self, unit: bool, given: Mapping[Tensor, float] = MappingProxyType({})) -> list[Point]:
        taken = self.caller.accepted()
        other = {t: nudged(v) for t, v in self.derived.program.parameters if t.name in taken} | {**given}
        try:
            return several(self.derived, POINTS, self.seed, parameters=other, unit=unit, even=self.even)
        except VerificationError:
            return several(self.derived, POINTS, self.seed, unit=unit, even=self.even, parameters=given)

    # --- errors ------------------------------------------------------------------------------------

    def after_error(self, trial: Trial) -> Diagnosis:
        """A backward that raises: with all sizes equal it may run, and then its numbers tell."""
        error = trial.error
        shapes = any(word in error.lower() for word in SHAPE_WORDS)
        if shapes:
            square = square_trial(self.caller, self.seed, self.timeout)
            if square is not None:
                return self.squared(square, error)
        mended = self.made_to_run(trial, error)
        if mended:
            return self.done(mended, trial)
        line = next((c.line for c in trial.calls if c.error), 0)
        where = f" in line {line}" if line else ""
        text = error if error.startswith(("it ", "the ")) else f"it raises {error}{where}"
        sizes = (
            ", ".join(f"{r.name} = {n}" for r, n in trial.points[0].env.sizes.items()) if trial.points else ""
        )
        at = f" The sizes were {sizes}." if sizes else ""
        text += self.kept(trial) if "unpack" in error else ""
        fix = f"Write backward(dout, cache) or backward(dout, {', '.join(self.caller.names)})."
        fault = Fault(
            None, "shape" if shapes else "unknown", f"{ended(text)}{at}", self.all_lines(),
            fix if "argument" in text else "Make it run first: the lines below are what it has to compute.",
        )  # fmt: skip
        return self.done([fault], trial)

    def kept(self, trial: Trial) -> str:
        """How many values a backward is given in its cache, where it expects others."""
        cache = trial.prepared[-1].arguments.get("cache") if trial.prepared else None
        if not isinstance(cache, tuple | list):
            return ""
        if self.caller.forward is not None:
            return f"; the cache from your forward holds {len(cache)} values"
        inputs = ", ".join(self.caller.names)
        return f"; without a forward of yours the cache holds the {len(cache)} inputs {inputs}"

    def made_to_run(self, trial: Trial, error: str) -> list[Fault]:
        """The one change of the text after which it runs, and is right where that line matters."""
        if trial.failed or not trial.calls or error.startswith("it "):
            return []
        whole = self.whole(trial.form)
        mender = Mender(self.derived, self.caller, whole, advice=self.advised(whole))
        return made_to_run(mender, self.advice, error)

    def squared(self, trial: Trial, error: str) -> Diagnosis:
        """The diagnosis of code that runs on square arrays only."""
        wrong = wrong_arguments(self.derived, trial, self.bounds)
        head = f"{'' if error.startswith('the ') else 'it raises '}{error} unless all sizes are equal"
        forward = self.forward_faults(trial)
        if forward:
            return self.done(
                [replace(f, evidence=f"{head}; with equal sizes: {f.evidence}") for f in forward], trial
            )
        if not wrong:
            return self.done([Fault(None, "shape", f"{head}; with equal sizes it is right.")], trial)
        advice = self.advised(trial, self.whole(trial.form))
        mender = Mender(self.derived, self.caller, trial, advice=advice)
        faults = Judge(self.derived, trial, wrong, mender=mender, advice=advice).faults()
        told = []
        for f in faults:
            cause = "shape" if f.cause == "unknown" else f.cause
            told.append(advice.after(f"{head}; with equal sizes: ", replace(f, cause=cause)))
        return self.done(told, trial)

    # --- values ------------------------------------------------------------------------------------

    def judged(self) -> Diagnosis:
        """The diagnosis of code that runs."""
        trial, own = self.settled
        faults = [*self.forward_faults(trial), *misuse(self.derived, self.caller, trial, self.timeout)]
        if isinstance(own, LeftOut) or (own is not None and self.has_forward()):
            self.notes.append(own.note())
        elif own is not None:
            faults += own.faults(self.derived.program)
        problem = next((r.problem for r in trial.results if r.problem), "")
        if problem:
            return self.done([*faults, Fault(None, "shape", ended(problem), self.all_lines())], trial)
        wrong = wrong_arguments(self.derived, trial, self.bounds)
        unsteady = any(f.cause == "nondeterministic" for f in faults)
        spoilt = any(f.argument is None and "forward" in f.evidence for f in faults)
        if spoilt and wrong:
            self.notes.append("the gradients were not judged: they differ too, and may follow the forward")
        if wrong and not unsteady and not spoilt:
            advice = self.advised(trial)
            found = Judge(
                self.derived, trial, wrong, held(self.caller, trial, self.timeout),
                partial(own_name, self.caller), Mender(self.derived, self.caller, trial, advice=advice),
                advice,
            ).faults()  # fmt: skip
            if any(f.cause == "mutates_input" for f in found):
                faults = [f for f in faults if f.cause != "mutates_input"]
            faults += found
        if not faults:
            notes, fine = fine_points(self.derived, self.caller, trial, self.timeout)
            self.notes, faults = [*self.notes, *notes], [*faults, *fine]
        self.notes += remarks(trial)
        return self.done(faults, trial)

    def forward_faults(self, trial: Trial) -> list[Fault]:
        """What is wrong with the values of the user's own forward."""
        return forward_faults(trial.prepared, self.caller.outputs, self.layer)

    # --- the end -----------------------------------------------------------------------------------

    def all_lines(self) -> str:
        """The derivation's lines for all inputs."""
        return "\n".join(
            shown(d) for d in self.derived.chosen.definitions if d.target in self.derived.chosen.wanted
        )

    def done(self, faults: Sequence[Fault], trial: Trial) -> Diagnosis:
        """The diagnosis with what was measured."""
        error = None
        if not faults:
            error = relative_error(self.derived, trial)
        faults = in_own_names(faults, self.derived, self.caller, trial, self.advice, self.timeout)
        wrong = [f.argument for f in faults if f.argument is not None and f.cause != "mutates_input"]
        unsteady = any(f.cause == "nondeterministic" for f in faults)
        example = ""
        if wrong and not unsteady and not trial.error:
            with np.errstate(all="ignore"):  # whole numbers may meet a pole
                example = smallest(self.derived, self.caller, trial.form, wrong, self.timeout)
        return Diagnosis(
            not faults,
            tuple(faults),
            tuple(self.notes),
            self.name,
            self.layer,
            error,
            len(trial.calls),
            time.perf_counter() - self.began,
            example,
            page_of(self.source, self.layer),
        )
