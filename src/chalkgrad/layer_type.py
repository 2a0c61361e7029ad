"""`Layer`: a forward formula, and everything that can be read from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, Literal, overload

from chalkgrad.derivation_type import TARGETS, Derivation, emitted
from chalkgrad.diff import derive
from chalkgrad.diff.derive import inputs_named
from chalkgrad.diff.gradient import gradient_program
from chalkgrad.diff.tangent import jacobian_program, tangent_program
from chalkgrad.emit.compiled import Ops, compile_numpy
from chalkgrad.emit.module_text import source
from chalkgrad.emit.names import prefix
from chalkgrad.emit.ranked import RankedOps
from chalkgrad.emit.tensor_code import Emitted
from chalkgrad.errors import ChalkgradError, DerivationError, UnsupportedError, suggestion
from chalkgrad.expr.nodes import Program
from chalkgrad.frontend.compose import chain as chain_programs
from chalkgrad.frontend.forward import Forward, is_traced
from chalkgrad.frontend.text_formula import read_formula
from chalkgrad.render.notebook import formula_bundle
from chalkgrad.verify.steps import Verification


class Layer:
    """A forward formula; its backward is derived, proved, shown, emitted and run from it.

    Make one with `chalkgrad.layer` (from a NumPy function), `chalkgrad.formula` (from text) or
    `chalkgrad.chain` (from layers).

    Example:
        >>> import chalkgrad as cg
        >>> affine = cg.formula("f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]")
        >>> print(affine.derive("W").result)
        dL/dW[d,j] = sum(i, x[i,d] * dL/df[i,j])
    """

    def __init__(self, forward: Forward) -> None:
        self.forward = forward
        self.name = forward.name
        self.__name__ = forward.name
        self.__doc__ = forward.doc or type(self).__doc__

    @property
    def program(self) -> Program:
        """The forward pass in index notation."""
        return self.forward.program

    def with_options(self, **options: Any) -> Layer:
        """The same formula with other values of its keyword arguments.

        Raises:
            UnsupportedError: An argument that the formula does not have.

        Example:
            >>> from chalkgrad.layers import softmax_loss
            >>> print(softmax_loss.with_options(reduction="sum").derive("f").result)
            dL/df[i,k] = p[i,k] - 1(k == y[i])
        """
        return Layer(self.forward.with_options(**options))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Inside another layer's function, the formula put in; on arrays, the forward's value."""
        if any(is_traced(a) for a in (*args, *kwargs.values())):
            return self.forward(*args, **kwargs)
        program, inputs, parameters = self.forward.bound(args, kwargs)
        value, _ = _compiled(program, self.name).forward(*inputs, **parameters)
        return value

    def derive(self, *wrt: str | Sequence[str], form: str = "auto") -> Derivation:
        """The backward, derived line by line.

        Args:
            wrt: Names of inputs to differentiate by, one by one or in a list; all floating-point inputs if
                none is given.
            form: "staged" (one adjoint per intermediate), "closed" (adjoints substituted and
                simplified) or "auto" (the cheaper of the two).

        Raises:
            DerivationError: For a name that is no differentiable input, or a node without a rule.

        Example:
            >>> import chalkgrad as cg
            >>> square = cg.formula("y[i] = x[i]^2")
            >>> print(square.derive("x").result)
            dL/dx[i] = 2 * x[i] * dL/dy[i]
        """
        return _derived(self.program, _names(wrt), form)

    def verify(self, seed: int = 0, points: int = 2) -> Verification:
        """Every line of the derivation by all inputs, checked by numbers."""
        return self.derive().verify(seed, points)

    def source(self, target: str = "numpy", *, jvp: bool = False, parameters: Sequence[str] = ()) -> str:
        """Readable forward and backward code for a backend: "numpy", "torch" or "jax".

        Args:
            target: The backend.
            jvp: For PyTorch, a rule for forward mode, too (`torch.compile` refuses functions with one).
            parameters: For PyTorch, the inputs that an `nn.Module` holds as its parameters.

        Raises:
            UnsupportedError: For a backend there is no emitter for, or an option that it does not have.
        """
        self._check_target(target)
        if isinstance(parameters, str):  # one name is not the sequence of its letters
            parameters = (parameters,)
        program, backward = emitted(self.program)
        return source(program, backward, self.name, target, jvp=jvp, parameters=parameters)

    @overload
    def compile(self, target: Literal["numpy"] = "numpy") -> Ops: ...

    @overload
    def compile(self, target: str, *, jvp: bool = False, parameters: Sequence[str] = ()) -> Any: ...

    def compile(self, target: str = "numpy", *, jvp: bool = False, parameters: Sequence[str] = ()) -> Any:
        """The emitted code, imported: `.forward(*inputs)` gives (value, cache), `.backward(df, cache)`
        one gradient per input, None for integers and booleans. Where the layer's arguments may have any
        number of leading axes, inputs of another rank are compiled for when they come.

        Example:
            >>> import numpy as np
            >>> import chalkgrad as cg
            >>> ops = cg.formula("y[i] = x[i]^2").compile("numpy")
            >>> y, cache = ops.forward(np.array([1.0, 2.0, 3.0]))
            >>> ops.backward(np.ones(3), cache)
            (array([2., 4., 6.]),)

        For "torch" and "jax" it is the emitted module (`chalkgrad.emit.tensor_code.Emitted`): called, it is
        a differentiable function of tensors. Options as in `source`.

        Raises:
            MissingExtraError: When the backend is not installed.
        """
        self._check_target(target)
        if target != "numpy" or jvp or parameters:
            return self._for_tensors(target, jvp=jvp, parameters=parameters)
        ops = _compiled(self.program, self.name)
        if not self.forward.has_leading_axes:
            return ops

        def for_ranks(ranks: tuple[int, ...]) -> Ops:
            return _compiled(self.forward.for_ranks(ranks), self.name)

        return RankedOps(*(getattr(ops, f.name) for f in fields(ops)), for_ranks=for_ranks)

    def _for_tensors(self, target: str, **options: Any) -> Emitted:
        """The PyTorch or JAX module, which goes on with another where inputs have other leading axes."""

        def for_ranks(ranks: tuple[int, ...]) -> Emitted:
            return self.with_options(leading=self.forward.leading_of(ranks))._for_tensors(target, **options)

        text = self.source(target, **options)
        other = for_ranks if self.forward.has_leading_axes else None
        return Emitted(prefix(self.name), text, self.program.inputs, other)

    def gradient(self, *wrt: str | Sequence[str]) -> Layer:
        """The derivative as a layer: its inputs are this layer's, then the upstream gradient.

        A scalar output is the loss itself and needs no upstream gradient. `derive` applies again,
        which gives second derivatives.

        Raises:
            DerivationError: For a name that is no differentiable input.

        Example:
            >>> import chalkgrad as cg
            >>> cg.formula("L = sum(i, x[i]^3)").gradient("x")
            <Layer formula_gradient: dx[i] = 3 * x[i]^2>
        """
        names = _names(wrt)
        record = derive(self.program, names, given=bool(self.program.outputs[0].axes))
        name = f"{self.name}_gradient"
        program = gradient_program(record.program, record.chosen, name)
        doc = f"The gradient of {self.name} by {', '.join(names) or 'its inputs'}."
        return Layer(Forward.of(program, doc))

    def tangent(self, *wrt: str | Sequence[str]) -> Layer:
        """The Jacobian–vector product as a layer (forward mode): this layer's inputs, then one tangent
        per input differentiated by, called x_dot.

        Example:
            >>> import chalkgrad as cg
            >>> cg.formula("y[i] = tanh(x[i])").tangent("x")
            <Layer formula_tangent: y[i] = tanh(x[i]); y_dot[i] = x_dot[i] * (1 - y[i]^2)>
        """
        names = _names(wrt)
        program = tangent_program(self.program, inputs_named(self.program, names), f"{self.name}_tangent")
        return Layer(Forward.of(program, f"How {self.name} moves with {', '.join(names) or 'its inputs'}."))

    def jacobian(self, wrt: str) -> Layer:
        """All derivatives of the output by one input, as an array over the output's axes, then the input's.

        Example:
            >>> import chalkgrad as cg
            >>> p = cg.formula("p[k] = exp(f[k]) / sum(j, exp(f[j]))")
            >>> print(p.jacobian("f").program.definitions[-1])
            J[j,k] = p[k] * (1(j == k) - p[j])
        """
        record = derive(self.program, (wrt,), form="closed", given=True)
        program = jacobian_program(record.program, record.closed, record.wrt[0], f"{self.name}_jacobian")
        return Layer(Forward.of(program, f"The Jacobian of {self.name} by {wrt}."))

    def hessian(self, wrt: str) -> Layer:
        """The second derivatives of a scalar layer by one input.

        Raises:
            DerivationError: If the output is not a scalar.

        Example:
            >>> import chalkgrad as cg
            >>> quadratic = cg.formula("L = sum(i, sum(j, x[i] * A[i,j] * x[j]))")
            >>> print(quadratic.hessian("x").program.definitions[-1])
            J[i,j] = A[i,j] + A[j,i]
        """
        if self.program.outputs[0].axes:
            raise DerivationError(
                f"The output of {self.name} is an array, so it has no Hessian.",
                hint="Take the Jacobian, or chain a loss behind it.",
            )
        second = self.gradient(wrt).jacobian(wrt)
        program = replace(second.program, name=f"{self.name}_hessian")
        return Layer(Forward.of(program, f"The Hessian of {self.name} by {wrt}."))

    def __repr__(self) -> str:
        lines = "; ".join(map(str, self.program.definitions))
        return f"<Layer {self.name}: {lines}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return formula_bundle(self.program, repr(self))

    def _check_target(self, target: str) -> None:
        if target not in TARGETS:
            raise UnsupportedError(
                f"There is no emitter for '{target}'.{suggestion(target, TARGETS)}",
                hint=f"Targets: {', '.join(TARGETS)}.",
            )


def _names(wrt: Sequence[str | Sequence[str]]) -> tuple[str, ...]:
    """Names of inputs, given one by one or in a list."""
    names: tuple[Any, ...] = ()
    for given in wrt:
        names += tuple(given) if isinstance(given, list | tuple) else (given,)
    for name in names:
        if not isinstance(name, str):
            raise DerivationError(
                f"An input is named by text, not by {name!r}.", hint='layer.derive("x", "W")'
            )
    return names


@lru_cache(256)
def _derived(program: Program, wrt: tuple[str, ...], form: str) -> Derivation:
    return Derivation(derive(program, wrt, form=form))


@lru_cache(256)
def _compiled(program: Program, name: str) -> Ops:
    safe, backward = emitted(program)
    return compile_numpy(safe, backward, name)


def layer(function: Callable[..., Any] | None = None, *, name: str | None = None) -> Any:
    """A layer from a NumPy function whose annotations name the axes of its arguments.

    Args:
        function: The forward. `x: "N D"` is a float array of two axes, `y: "N int"` integers,
            `mask: "N D bool"` booleans, `s: ""` a scalar. A keyword argument with a float default
            stays a symbol; an int, bool, string or tuple default is static.
        name: What to call the layer; the function's name if omitted.

    Raises:
        UnsupportedError: For a NumPy function that has no formula here, by name.
        ShapeError: For axes that do not fit.

    Example:
        >>> import chalkgrad as cg
        >>> @cg.layer
        ... def affine(x: "N D", W: "D K", b: "K"):
        ...     return x @ W + b
        >>> print(affine.derive("b").result)
        dL/db[j] = sum(i, dL/dout[i,j])
    """
    if function is None:
        return lambda f: layer(f, name=name)
    if not callable(function):
        hint = (
            "cg.formula reads text."
            if isinstance(function, str)
            else "Write it with def, above it @cg.layer."
        )
        raise UnsupportedError(f"cg.layer takes a function, and this is {function!r}.", hint=hint)
    return Layer(Forward(function, name=name))


def formula(text: str, name: str = "formula") -> Layer:
    """A layer from text in index notation; several lines define intermediates, the last is the output.

    Raises:
        FormulaError: With a caret under what cannot be read or contradicts itself.

    Example:
        >>> import chalkgrad as cg
        >>> cg.formula("f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]")
        <Layer formula: f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]>
    """
    return Layer(Forward.of(read_formula(text, name)))


def chain(*layers: Layer, name: str = "network") -> Layer:
    """Layers one after the other: each one's first input is the output of the one before.

    The other inputs are appended in order; names that occur twice are numbered.

    Raises:
        ShapeError: If an output does not fit the next layer's first input.
        DerivationError: If there is no layer.
        ChalkgradError: If something else than a layer is given.

    Example:
        >>> import chalkgrad as cg
        >>> cg.chain(cg.formula("f[i,k] = sum(d, x[i,d] * W[d,k])"), cg.layers.relu)
        <Layer network: f[i,k] = sum(d, x[i,d] * W[d,k]); a[i,k] = relu(f[i,k])>
    """
    if not layers:
        hint = "cg.chain(affine, relu, affine, softmax_loss)"
        raise DerivationError("chain needs at least one layer.", hint=hint)
    for place, item in enumerate(layers):
        if not isinstance(item, Layer):
            raise ChalkgradError(
                f"chain takes layers, but argument {place + 1} is a {type(item).__name__}.",
                hint="Make a layer with cg.layer or cg.formula first; a list is given as chain(*layers).",
            )
    programs: list[Program] = []
    for item in layers:
        # A layer of any number of leading axes takes as many as it is given.
        given = len(programs[-1].outputs[0].axes) if programs else None
        programs.append(item.forward.for_ranks((given,)))
    return Layer(Forward.of(chain_programs(programs, name)))


__all__ = ["Derivation", "Layer", "chain", "formula", "layer"]
