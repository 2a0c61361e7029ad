"""The same derivative asked of other systems: one case of one system, in a process of its own.

    python benchmarks/peers.py SYSTEM CASE

prints one line of JSON: seconds to derive, whether the result is right at random numbers, how long its
text is. The clock starts after the imports; the result is compared with the complex step of a NumPy
forward, which no system has a part in. `benchmarks/derive.py` runs all of them.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

LIMIT = 60
"""Seconds that a derivation may take, and then the evaluation of its result."""

N, D, K = 5, 4, 3
EPS = 0.01
_RNG = np.random.default_rng(0)
ARRAYS = {
    "x": _RNG.normal(size=(N, D)),
    "W": _RNG.normal(size=(D, K)),
    "b": _RNG.normal(size=K),
    "f": _RNG.normal(size=(N, K)),
    "G": _RNG.normal(size=(N, D)),
    "H": _RNG.normal(size=(N, K)),
}
LABELS = np.array([0, 2, 1, 1, 0])


def _softmax(f):
    e = np.exp(f)
    return e / e.sum(axis=1, keepdims=True)


def _nll(f):
    return -np.log(_softmax(f)[np.arange(N), LABELS]).mean()


def _normalised(x):
    c = x - x.mean(axis=0)
    return c / np.sqrt((c * c).mean(axis=0) + EPS)


CASES: dict[str, tuple[str, Callable[..., Any]]] = {
    "affine": ("W", lambda W: (ARRAYS["H"] * (ARRAYS["x"] @ W + ARRAYS["b"])).sum()),
    "sigmoid": ("x", lambda x: (ARRAYS["G"] / (1 + np.exp(-x))).sum()),
    "tanh": ("x", lambda x: (ARRAYS["G"] * np.tanh(x)).sum()),
    "softmax": ("f", lambda f: (ARRAYS["H"] * _softmax(f)).sum()),
    "softmax loss": ("f", _nll),
    "loss of x W, by x": ("x", lambda x: _nll(x @ ARRAYS["W"])),
    "batch norm": ("x", lambda x: (ARRAYS["G"] * _normalised(x)).sum()),
}
"""What to differentiate by, and the number to differentiate; G and H are upstream gradients."""


def truth(case: str) -> np.ndarray:
    """The derivative by the complex step, right to the last digits."""
    name, forward = CASES[case]
    at = ARRAYS[name].astype(complex)
    found = np.zeros(at.shape)
    for entry in np.ndindex(at.shape):
        moved = at.copy()
        moved[entry] += 1e-30j
        found[entry] = forward(moved).imag / 1e-30
    return found


Answer = tuple[str, Callable[[], Any]]
"""The result's text, and how to evaluate it on the arrays."""


# --- chalkgrad --------------------------------------------------------------------------------------

FORMULAS = {
    "affine": "f[i,k] = sum(d, x[i,d] * W[d,k]) + b[k]",
    "sigmoid": "a[i,d] = sigmoid(x[i,d])",
    "tanh": "a[i,d] = tanh(x[i,d])",
    "softmax": "p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))",
    "softmax loss": "p[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\nL = -mean(i, log(p[i,y[i]]))",
    "loss of x W, by x": "f[i,k] = sum(d, x[i,d] * W[d,k])\np[i,k] = exp(f[i,k]) / sum(j, exp(f[i,j]))\n"
    "L = -mean(i, log(p[i,y[i]]))",
    "batch norm": "m[d] = mean(i, x[i,d])\nc[i,d] = x[i,d] - m[d]\nv[d] = mean(i, c[i,d]^2)\n"
    f"s[d] = 1 / sqrt(v[d] + {EPS})\nh[i,d] = c[i,d] * s[d]",
}


def chalkgrad_system(_: str) -> Callable[[str], Answer]:
    """chalkgrad itself; the text is the result's right-hand side in plain text."""
    import chalkgrad as cg

    formula = cg.formula  # the package loads its parts when they are first named: that is importing too

    def derive(case: str) -> Answer:
        wrt = CASES[case][0]
        layer = formula(FORMULAS[case], "case")
        result = layer.derive(wrt).result

        def value() -> np.ndarray:
            inputs = [LABELS if t.name == "y" else ARRAYS[t.name] for t in layer.program.inputs]
            ops = layer.compile("numpy")
            out, cache = ops.forward(*inputs)
            above = 1.0 if not np.ndim(out) else ARRAYS["G" if out.shape == (N, D) else "H"]
            names = [t.name for t in layer.program.inputs]
            return ops.backward(above, cache)[names.index(wrt)]

        return str(result.rhs), value

    return derive


# --- SymPy ------------------------------------------------------------------------------------------


def sympy_system(kind: str) -> Callable[[str], Answer]:
    """SymPy: "scalar" (a function of one symbol), "Indexed" (Σ over entries) or "MatrixSymbol"."""
    import sympy as sp

    makers = {"scalar": _sympy_scalar, "Indexed": _sympy_indexed, "MatrixSymbol": _sympy_matrix}
    return makers[kind](sp)


def _sympy_scalar(sp: Any) -> Callable[[str], Answer]:
    x = sp.Symbol("x")
    functions = {"sigmoid": 1 / (1 + sp.exp(-x)), "tanh": sp.tanh(x)}

    def derive(case: str) -> Answer:
        found = sp.simplify(functions[case].diff(x))
        return str(found), lambda: ARRAYS["G"] * sp.lambdify(x, found)(ARRAYS["x"])

    return derive


def _sympy_indexed(sp: Any) -> Callable[[str], Answer]:
    n, d, k = sp.symbols("N D K", integer=True, positive=True)
    i, j, l, m, p, q = sp.symbols("i j l m p q", integer=True)  # noqa: E741
    x, W, b, f, G, H, y = (sp.IndexedBase(s) for s in ("x", "W", "b", "f", "G", "H", "y"))
    over_n, over_d, over_k = (i, 0, n - 1), (j, 0, d - 1), (j, 0, k - 1)

    def prob(scores: Callable[..., Any], column: Any) -> Any:
        return sp.exp(scores(i, column)) / sp.Sum(sp.exp(scores(i, m)), (m, 0, k - 1))

    def product(row: Any, column: Any) -> Any:
        return sp.Sum(x[row, l] * W[l, column], (l, 0, d - 1))

    def scores(row: Any, column: Any) -> Any:
        return f[row, column]

    mean = sp.Sum(x[m, j], (m, 0, n - 1)) / n
    variance = sp.Sum((x[l, j] - mean) ** 2, (l, 0, n - 1)) / n
    forwards = {
        "affine": lambda: sp.Sum(H[i, j] * (product(i, j) + b[j]), over_n, over_k),
        "sigmoid": lambda: sp.Sum(G[i, j] / (1 + sp.exp(-x[i, j])), over_n, over_d),
        "tanh": lambda: sp.Sum(G[i, j] * sp.tanh(x[i, j]), over_n, over_d),
        "softmax": lambda: sp.Sum(H[i, j] * prob(scores, j), over_n, over_k),
        "softmax loss": lambda: -sp.Sum(sp.log(prob(scores, y[i])), over_n) / n,
        "loss of x W, by x": lambda: -sp.Sum(sp.log(prob(product, y[i])), over_n) / n,
        "batch norm": lambda: sp.Sum(
            G[i, j] * (x[i, j] - mean) / sp.sqrt(variance + sp.Rational(str(EPS))), over_n, over_d
        ),
    }

    def derive(case: str) -> Answer:
        name = CASES[case][0]
        found = forwards[case]().diff({"x": x, "W": W, "f": f}[name][p, q])
        with contextlib.suppress(
            TypeError
        ):  # from its summation (Gosper's method); the result stays as it is
            found = found.doit()
        arrays = {sp.IndexedBase(s): a for s, a in {**ARRAYS, "y": LABELS}.items()}

        def value() -> np.ndarray:
            out = np.zeros(ARRAYS[name].shape)
            for entry in np.ndindex(out.shape):
                here = found.subs({n: N, d: D, k: K, p: entry[0], q: entry[1]}).doit()
                while here.has(sp.Indexed):  # labels first: they are subscripts of others
                    known = {
                        a: _exact(sp, arrays[a.base][tuple(int(c) for c in a.indices)])
                        for a in here.atoms(sp.Indexed)
                        if all(c.is_Integer for c in a.indices)
                    }
                    here = here.xreplace(known)
                out[entry] = float(here.doit())
            return out

        return str(found), value

    return derive


def _exact(sp: Any, number: Any) -> Any:
    return sp.Integer(int(number)) if isinstance(number, np.integer) else sp.Float(float(number))


def _sympy_matrix(sp: Any) -> Callable[[str], Answer]:
    n, d, k = sp.symbols("N D K", integer=True, positive=True)
    shapes = {"x": (n, d), "W": (d, k), "f": (n, k), "G": (n, d), "H": (n, k), "Y": (n, k)}
    s = {name: sp.MatrixSymbol(name, *shape) for name, shape in shapes.items()}
    t = sp.Symbol("t")
    i, j = sp.symbols("i j", integer=True)

    def each(body: Any, matrix: Any) -> Any:
        return matrix.applyfunc(sp.Lambda(t, body))

    def row_sums(matrix: Any) -> Any:
        return matrix * sp.OneMatrix(k, k)

    def loss(scores: Any) -> Any:
        """By entries: Σ over symbols of the rows' log-sums, as the formula is written."""
        logs = sp.log(sp.Sum(sp.exp(scores[i, j]), (j, 0, k - 1)))
        picked = sp.Sum(s["Y"][i, j] * scores[i, j], (j, 0, k - 1))
        return sp.Sum(logs - picked, (i, 0, n - 1)) / n

    forwards = {
        "affine": lambda: sp.Trace(s["H"].T * s["x"] * s["W"]),
        "sigmoid": lambda: sp.Trace(s["G"].T * each(1 / (1 + sp.exp(-t)), s["x"])),
        "tanh": lambda: sp.Trace(s["G"].T * each(sp.tanh(t), s["x"])),
        "softmax": lambda: sp.Trace(
            s["H"].T
            * sp.HadamardProduct(each(sp.exp(t), s["f"]), each(1 / t, row_sums(each(sp.exp(t), s["f"]))))
        ),
        "softmax loss": lambda: loss(s["f"]),
        "loss of x W, by x": lambda: loss(s["x"] * s["W"]),
    }

    def derive(case: str) -> Answer:
        found = forwards[case]().diff(s[CASES[case][0]])
        arrays = {**ARRAYS, "Y": np.eye(K)[LABELS]}

        def value() -> Any:
            if found == 0:
                return np.zeros(ARRAYS[CASES[case][0]].shape)
            numbers = {
                sp.MatrixSymbol(name, *arrays[name].shape): sp.ImmutableMatrix(arrays[name]) for name in s
            }
            sized = found.subs({n: N, d: D, k: K})
            return np.array(sp.Matrix(sized.xreplace(numbers).doit()).evalf(), dtype=float)

        return str(found), value

    return derive


# --- tensorgrad -------------------------------------------------------------------------------------


def _stand_in_for_named_tensors(torch: Any) -> None:
    """PyTorch 2.13 has no named tensors any more; tensorgrad 0.3.0 takes and returns them.

    Inputs are given unnamed, in each variable's order of edges; the result's names are kept as `edges`.
    """

    def named(tensor: Any, *names: str) -> Any:
        tensor.edges = names
        return tensor

    torch.Tensor.names = property(lambda tensor: (None,) * tensor.ndim)
    torch.Tensor.rename = lambda tensor, *_: tensor
    torch.Tensor.refine_names = named


def tensorgrad_system(_: str) -> Callable[[str], Answer]:
    """tensorgrad: the gradient, fully simplified; the text is its own index notation."""
    import sympy as sp
    import tensorgrad as tg
    import tensorgrad.functions as fn
    import torch
    from tensorgrad.compiler import compile_to_callable
    from tensorgrad.extras.to_index import to_index

    if not hasattr(torch.Tensor, "refine_names"):
        _stand_in_for_named_tensors(torch)
    n, d, k = sp.symbols("n d k")
    edges = {"x": (n, d), "W": (d, k), "b": (k,), "f": (n, k), "G": (n, d), "H": (n, k), "y": (n,)}
    v = {name: tg.Variable(name, *own) for name, own in edges.items()}

    def loss(scores: Any) -> Any:
        return fn.mean(fn.cross_entropy(scores, fn.one_hot(v["y"], k, dim="k"), dim="k"), dim="n")

    def normalised() -> Any:
        c = v["x"] - fn.mean(v["x"], dim="n")
        return c / fn.sqrt(fn.mean(c * c, dim="n") + EPS)

    forwards = {
        "affine": lambda: fn.sum(v["H"] * (v["x"] @ v["W"] + v["b"])),
        "sigmoid": lambda: fn.sum(v["G"] * fn.sigmoid(v["x"])),
        "tanh": lambda: fn.sum(v["G"] * fn.tanh(v["x"])),
        "softmax": lambda: fn.sum(v["H"] * fn.softmax(v["f"], dim="k")),
        "softmax loss": lambda: loss(v["f"]),
        "loss of x W, by x": lambda: loss(v["x"] @ v["W"]),
        "batch norm": lambda: fn.sum(v["G"] * normalised()),
    }

    def derive(case: str) -> Answer:
        wrt = v[CASES[case][0]]
        found = forwards[case]().grad(wrt).full_simplify()

        def value() -> np.ndarray:
            arrays = {**ARRAYS, "y": LABELS.astype(float)}
            names = {name: tuple(str(e) for e in own) for name, own in edges.items()}
            given = {v[name]: torch.tensor(arrays[name]) for name in v}
            out = compile_to_callable(found)(given, {n: N, d: D, k: K})
            by_name = {e.rstrip("_0123456789"): place for place, e in enumerate(out.edges)}
            return out.permute([by_name[e] for e in names[CASES[case][0]]]).numpy()

        try:
            return to_index(found), value
        except NotImplementedError:  # its index notation does not know every node of its own
            return str(found), value

    return derive


SYSTEMS: dict[str, tuple[Callable[[str], Callable[[str], Answer]], str, str]] = {
    "chalkgrad": (chalkgrad_system, "", "chalkgrad"),
    "SymPy scalar": (sympy_system, "scalar", "sympy"),
    "SymPy Indexed": (sympy_system, "Indexed", "sympy"),
    "SymPy MatrixSymbol": (sympy_system, "MatrixSymbol", "sympy"),
    "tensorgrad": (tensorgrad_system, "", "tensorgrad"),
}
"""How to set a system up, which of its languages, and the package that it needs."""

UNASKED = {("SymPy scalar", case) for case in CASES} - {("SymPy scalar", c) for c in ("sigmoid", "tanh")} | {
    ("SymPy MatrixSymbol", "batch norm")
}
"""Scalars have no arrays; a matrix has no means over its rows but by products with ones."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"more than {LIMIT} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)


def main(system: str, case: str) -> dict[str, Any]:
    """One derivation, timed and judged."""
    make, kind, _ = SYSTEMS[system]
    try:
        derive = make(kind)
    except ModuleNotFoundError as missing:
        return {"missing": missing.name}
    if (system, case) in UNASKED:
        return {"unasked": True}
    found: dict[str, Any] = {}
    try:
        with _limited():
            began = time.perf_counter()
            text, value = derive(case)
            found["seconds"] = time.perf_counter() - began
        text = " ".join(text.split())
        found |= {"characters": len(text), "text": text}
        with _limited():
            gradient = np.asarray(value(), dtype=float)
        expected = truth(case)
        if gradient.shape != expected.shape:
            found["wrong"] = f"shape {gradient.shape}, not {expected.shape}"
        elif not np.allclose(gradient, expected, rtol=1e-9, atol=1e-10):
            zero = not gradient.any()
            found["wrong"] = "silently 0" if zero else f"off by {np.abs(gradient - expected).max():.1e}"
    except Exception as error:  # noqa: BLE001  (what another system raises is the finding)
        said = str(error).strip().splitlines()
        found["failed"] = f"{type(error).__name__}: {said[0][:90] if said else ''}"
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3])))
