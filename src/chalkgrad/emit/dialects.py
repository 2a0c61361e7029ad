"""How each backend spells an array operation: one record per backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chalkgrad.primitives import Primitive


@dataclass(frozen=True, slots=True)
class Dialect:
    """Spellings; `{0}`, `{1}` are code, and `axis` is how the axis argument is called.

    Attributes:
        name: What a user asks for.
        imports: The lines at the top of a module.
        module: The prefix of functions, such as "np".
        axis, keepdims: Keyword names of a reduction.
        spelling: The template of an elementwise function.
        reductions: Method name per reduction.
        arange: Template; {0} size, {1} an array on the same device.
        cast, cast_scalar: Templates; {0} array, {1} an array of the wanted precision. A scalar may
            be a Python number.
        zeros, zeros_like, full, full_like, copy, spread: Templates; a shape is written as a tuple.
        sqrt, einsum, transpose, swap: Templates.
        stack: Template; {0} arrays, {1} the place of the new axis.
        running, running_back: Templates of running sums, from the first entry on and from the last one
            back; {0} array, {1} the axis, {2} the subscripts that turn it around.
        as_array: Template; a Python number {0} as an array of the precision of {1}.
        as_subscript: Template; {0} whole numbers of any type as such that may stand in brackets. Empty
            where all may.
        clamp: Template; {0} integers, {1} the size of the axis that they must stay on.
        matrix_functions: Template per matrix function.
        functional: Whether arrays are never changed in place: JAX cannot, and PyTorch's `vmap` and double
            backward need it so.
        place: Template for writing at subscripts; {0} array, {1} subscripts, {2} "=", "+=" or "-=",
            {3} value. Empty where arrays cannot be changed.
        set_at, add_at: Templates used instead of `place` where it is empty.
        scatter_add: Template; {0} array, {1} subscripts, {2} value; places may repeat.
    """

    name: str
    imports: tuple[str, ...]
    module: str
    axis: str
    keepdims: str
    spelling: Callable[[Primitive], str]
    reductions: dict[str, str]
    arange: str
    cast: str
    cast_scalar: str
    zeros: str
    zeros_like: str
    full: str
    full_like: str
    copy: str
    spread: str
    sqrt: str
    einsum: str
    stack: str
    running: str
    running_back: str
    transpose: str
    swap: str
    as_array: str
    as_subscript: str
    clamp: str
    matrix_functions: dict[str, str]
    functional: bool
    place: str
    set_at: str
    add_at: str
    scatter_add: str


NUMPY = Dialect(
    name="numpy",
    imports=("import numpy as np",),
    module="np",
    axis="axis",
    keepdims="keepdims",
    spelling=lambda p: p.numpy,
    reductions={"sum": "sum", "max": "max", "min": "min", "prod": "prod"},
    arange="np.arange({0})",
    cast="{0}.astype({1}.dtype)",
    cast_scalar="float({0})",
    zeros="np.zeros({0}, dtype={1}.dtype)",
    zeros_like="np.zeros_like({0})",
    full="np.full({0}, {1}, dtype={2}.dtype)",
    full_like="np.full_like({0}, {1})",
    copy="{0}.copy()",
    spread="np.broadcast_to({0}, {1}).copy()",
    sqrt="np.sqrt({0})",
    einsum='np.einsum("{0}", {1}, optimize=True)',
    stack="np.stack([{0}], axis={1})",
    running="np.cumsum({0}, axis={1})",
    running_back="np.cumsum({0}[{2}], axis={1})[{2}]",
    transpose="{0}.transpose({1})",
    swap="{0}.swapaxes(-1, -2)",
    as_array="np.asarray({0}, {1}.dtype)",
    as_subscript="",
    clamp="np.clip({0}, 0, {1} - 1)",
    matrix_functions={
        "inv": "np.linalg.inv({0})",
        "det": "np.linalg.det({0})",
        "logdet": "np.linalg.slogdet({0})[1]",
    },
    functional=False,
    place="{0}[{1}] {2} {3}",
    set_at="",
    add_at="",
    scatter_add="np.add.at({0}, {1}, {2})",
)

TORCH = Dialect(
    name="torch",
    imports=("import torch",),
    module="torch",
    axis="dim",
    keepdims="keepdim",
    spelling=lambda p: p.torch,
    reductions={"sum": "sum", "max": "amax", "min": "amin", "prod": "prod"},
    arange="torch.arange({0}, device={1}.device)",
    cast="{0}.to({1}.dtype)",
    cast_scalar="torch.as_tensor({0}, dtype={1}.dtype, device={1}.device)",
    zeros="torch.zeros({0}, dtype={1}.dtype, device={1}.device)",
    zeros_like="torch.zeros_like({0})",
    full="torch.full({0}, {1}, dtype={2}.dtype, device={2}.device)",
    full_like="torch.ones_like({0}) * ({1})",
    copy="{0}.clone()",
    spread="torch.broadcast_to({0}, {1}).clone()",
    sqrt="torch.sqrt({0})",
    einsum='torch.einsum("{0}", {1})',
    stack="torch.stack([{0}], dim={1})",
    running="torch.cumsum({0}, dim={1})",
    running_back="torch.cumsum({0}.flip({1}), dim={1}).flip({1})",
    transpose="{0}.permute({1})",
    swap="{0}.mT",
    as_array="torch.as_tensor({0}, dtype={1}.dtype, device={1}.device)",
    as_subscript="{0} if {0}.is_floating_point() else {0}.long()",
    clamp="torch.clamp({0}, 0, {1} - 1)",
    matrix_functions={
        "inv": "torch.linalg.inv({0})",
        "det": "torch.linalg.det({0})",
        "logdet": "torch.linalg.slogdet({0}).logabsdet",
    },
    functional=True,
    place="",
    set_at="{0} = {0}.index_put(({1}), {2})",
    add_at="{0} = {0}.index_put(({1}), {2}, accumulate=True)",
    scatter_add="{0} = {0}.index_put(({1}), {2}, accumulate=True)",
)

JAX = Dialect(
    name="jax",
    imports=("import jax", "import jax.numpy as jnp"),
    module="jnp",
    axis="axis",
    keepdims="keepdims",
    spelling=lambda p: p.jax,
    reductions={"sum": "sum", "max": "max", "min": "min", "prod": "prod"},
    arange="jnp.arange({0})",
    cast="{0}.astype({1}.dtype)",
    cast_scalar="jnp.asarray({0}, {1}.dtype)",
    zeros="jnp.zeros({0}, dtype={1}.dtype)",
    zeros_like="jnp.zeros_like({0})",
    full="jnp.full({0}, {1}, dtype={2}.dtype)",
    full_like="jnp.full_like({0}, {1})",
    copy="{0}",
    spread="jnp.broadcast_to({0}, {1})",
    sqrt="jnp.sqrt({0})",
    einsum='jnp.einsum("{0}", {1})',
    stack="jnp.stack([{0}], axis={1})",
    running="jnp.cumsum({0}, axis={1})",
    running_back="jnp.cumsum({0}[{2}], axis={1})[{2}]",
    transpose="{0}.transpose({1})",
    swap="{0}.mT",
    as_array="jnp.asarray({0}, {1}.dtype)",
    as_subscript="",
    clamp="jnp.clip({0}, 0, {1} - 1)",
    matrix_functions={
        "inv": "jnp.linalg.inv({0})",
        "det": "jnp.linalg.det({0})",
        "logdet": "jnp.linalg.slogdet({0})[1]",
    },
    functional=True,
    place="",
    set_at="{0} = {0}.at[{1}].set({2}, out_sharding=jax.typeof({0}).sharding)",
    add_at="{0} = {0}.at[{1}].add({2}, out_sharding=jax.typeof({0}).sharding)",
    scatter_add="{0} = {0}.at[{1}].add({2}, out_sharding=jax.typeof({0}).sharding)",
)

DIALECTS: dict[str, Dialect] = {"numpy": NUMPY, "torch": TORCH, "jax": JAX}
"""Every backend by name."""
