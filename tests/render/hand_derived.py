"""Derivations written by hand, so that rendering is tested apart from the engine."""

from __future__ import annotations

from dataclasses import dataclass

from chalkgrad.derivation import Backward, Derived, Equation, Stage, Step
from chalkgrad.expr.matrix import Named, Ones, Plus, Product, Scaled, Transpose
from chalkgrad.expr.nodes import (
    MINUS_ONE,
    ONE,
    Access,
    Apply,
    Definition,
    Expr,
    Index,
    Indicator,
    Mul,
    Partial,
    Pow,
    Program,
    Range,
    Reduce,
    Size,
    Sum,
    Tensor,
)

N, D, K = Range("N"), Range("D"), Range("K")
i, d, j, k, l = (Index(n, r) for n, r in (("i", N), ("d", D), ("j", K), ("k", K), ("l", K)))  # noqa: E741
x, W, b = Tensor("x", (N, D)), Tensor("W", (D, K)), Tensor("b", (K,))
f = Tensor("f", (N, K), role="value")
y = Tensor("y", (N,), "int")
p, e, z, L = (
    Tensor(name, axes, role="value") for name, axes in (("p", (N, K)), ("e", (N, K)), ("z", (N,)), ("L", ()))
)


@dataclass(frozen=True)
class Checked:
    """One verified equality."""

    before: Expr
    after: Expr
    error: float


@dataclass(frozen=True)
class Verified:
    """A verification with made-up errors."""

    lines: tuple[Checked, ...]
    worst: float


def verified(derived: Derived) -> Verified:
    """Errors of 0, 2e-16 and 3e-16 in turn, for all steps but those of the forward pass."""
    steps = [s for stage in derived.stages if stage.kind != "definition" for s in stage.steps]
    errors = (0.0, 2.2e-16, 3.1e-16)
    lines = tuple(Checked(s.before, s.after, errors[n % 3]) for n, s in enumerate(steps))
    return Verified(lines, max(line.error for line in lines))


def chain(lhs: Expr, *lines: tuple[Expr, str, str] | tuple[Expr, str, str, str]) -> tuple[Step, ...]:
    """Steps from (expression, rule, reason, "minor" or "milestone")."""
    steps = []
    before = lhs
    for after, rule, because, *kind in lines:
        steps.append(Step(before, after, rule, because, "minor" in kind, "milestone" in kind))
        before = after
    return tuple(steps)


def affine() -> Derived:
    """f = x W + b, by W and b."""
    f_ik = Access(f, (i, k))
    body = Sum((d,), Access(x, (i, d)) * Access(W, (d, k))) + Access(b, (k,))
    g_ik, g_ij = Access(f.adjoint, (i, k)), Access(f.adjoint, (i, j))
    W_dj, b_j, x_id = Access(W, (d, j)), Access(b, (j,)), Access(x, (i, d))
    delta = Indicator("==", j, k)
    dW, db = Access(W.adjoint, (d, j)), Access(b.adjoint, (j,))
    local = Partial(f_ik, W_dj)
    local_b = Partial(f_ik, b_j)
    stages = (
        Stage("definition", "scores", f_ik, chain(f_ik, (body, "definition", "the scores"))),
        Stage(
            "local",
            "How a score depends on a weight",
            local,
            chain(
                local,
                (Partial(body, W_dj), "definition", "write out f"),
                (x_id * delta, "local-derivative", "only the weight of class k and feature d is in f_ik",
                 "milestone"),
            ),
        ),
        Stage(
            "chain",
            "The gradient by W",
            dW,
            chain(
                dW,
                (Sum((i,), Sum((k,), g_ik * local)), "chain-rule", "chain rule: W acts on L only through f",
                 "milestone"),
                (Sum((i,), Sum((k,), g_ik * (x_id * delta))), "substitute",
                 "the local derivative found above"),
                (Sum((i,), Sum((k,), Mul((x_id, g_ik, delta)))), "order", "order the factors", "minor"),
                (Sum((i,), x_id * g_ij), "contract-indicator", "Σ_k keeps only the term k = j", "milestone"),
            ),
        ),
        Stage(
            "local", "How a score depends on a bias", local_b,
            chain(local_b, (delta, "local-derivative", "b_j is in f_ik only when j = k", "milestone")),
        ),
        Stage(
            "chain",
            "The gradient by b",
            db,
            chain(
                db,
                (Sum((i,), Sum((k,), g_ik * delta)), "chain-rule", "chain rule: b acts on L only through f"),
                (Sum((i,), g_ij), "contract-indicator", "Σ_k keeps only the term k = j", "milestone"),
            ),
        ),
    )  # fmt: skip
    results = (
        Equation(dW, Sum((i,), x_id * g_ij), Product((Transpose(Named(x)), Named(f.adjoint)))),
        Equation(db, Sum((i,), g_ij), Product((Transpose(Named(f.adjoint)), Ones()))),
    )
    backward = Backward(
        "staged", tuple(Definition(r.lhs.tensor, r.indices, r.rhs) for r in results), (W.adjoint, b.adjoint)
    )
    program = Program("affine", (x, W, b), (), (Definition(f, (i, k), body),), (f,))
    return Derived(
        program, (W, b), (f.adjoint,), stages, backward, backward, backward,
        "there is one intermediate, so the two forms are the same", results,
    )  # fmt: skip


def softmax_loss() -> Derived:
    """L = mean over i of −log p[i, y_i], p = softmax f."""
    f_ik, e_ik, e_ij, z_i = Access(f, (i, k)), Access(e, (i, k)), Access(e, (i, j)), Access(z, (i,))
    p_ik, loss, y_i = Access(p, (i, k)), Access(L, ()), Access(y, (i,))
    shifted = Apply("exp", (f_ik - Reduce("max", (j,), Access(f, (i, j))),))
    mean = Pow(Size(N), MINUS_ONE)
    value = mean * Sum((i,), -Apply("log", (Access(p, (i, y_i)),)))
    df = Access(f.adjoint, (i, k))
    delta = Indicator("==", y_i, k)
    one = Sum((k,), Indicator("==", k, y_i))
    quotient = e_ik / z_i
    expanded = -mean * (delta - quotient * Sum((j,), Indicator("==", j, y_i)))
    closed = mean * (p_ik - delta)
    stages = (
        Stage("definition", "exponentials", e_ik, chain(e_ik, (Apply("exp", (f_ik,)), "definition", ""))),
        Stage(
            "stable", "exponentials that cannot overflow", e_ik,
            chain(e_ik, (Apply("exp", (f_ik,)), "definition", "as it was written"),
                  (shifted, "shift", "a common factor cancels in p, so the largest score may be taken off",
                   "milestone")),
        ),
        Stage("definition", "their sum", z_i, chain(z_i, (Sum((j,), e_ij), "definition", ""))),
        Stage("definition", "probabilities", p_ik, chain(p_ik, (quotient, "definition", ""))),
        Stage("definition", "loss", loss,
              chain(loss, (value, "definition", "the mean of −log p over the observations"))),
        Stage("lemma", "one class is the right one", one,
              chain(one, (ONE, "indicator-sum", "y_i is exactly one of the classes", "milestone"))),
        Stage(
            "closed", "The gradient by the scores", df,
            chain(
                df,
                (Sum((k,), Access(p.adjoint, (i, k)) * Partial(p_ik, f_ik)), "chain-rule", "through p",
                 "milestone"),
                (expanded, "substitute", "the adjoints of p, e and z substituted into each other and all "
                 "sums over classes contracted"),
                (-mean * (delta - quotient), "lemma", "Σ_k 1(k = y_i) = 1", "milestone"),
                (-mean * (delta - p_ik), "re-substitute", "e_ik / z_i is p_ik", "milestone"),
                (closed, "sign", "the minus sign inside", "minor"),
            ),
            note="p comes back because it is cheaper than e and z.",
        ),
    )  # fmt: skip
    matrix = Scaled(mean, Plus((Named(p), Scaled(MINUS_ONE, Named(Tensor("Y", (N, K)))))))
    results = (Equation(df, closed, matrix),)
    backward = Backward("closed", (Definition(f.adjoint, (i, k), closed),), (f.adjoint,), 2e3)
    program = Program(
        "softmax_loss", (f, y), (),
        (Definition(e, (i, k), Apply("exp", (f_ik,))), Definition(z, (i,), Sum((j,), e_ij)),
         Definition(p, (i, k), quotient), Definition(L, (), value)), (L,),
    )  # fmt: skip
    return Derived(
        program, (f,), (L.adjoint,), stages, backward, backward, backward,
        "it needs 2 operations for each score, the staged form 9", results,
        ("labels outside 0, ..., K − 1 have no probability: they are an error",),
    )  # fmt: skip


DERIVED = {"affine": affine, "softmax_loss": softmax_loss}
