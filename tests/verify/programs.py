"""Forward passes and derivations built by hand, node by node, for the tests of the verifier."""

from __future__ import annotations

from chalkgrad.derivation import Backward, Derived, Equation, Stage, Step
from chalkgrad.expr.nodes import (
    HALF,
    MINUS_ONE,
    ONE,
    ZERO,
    Access,
    Add,
    Apply,
    Const,
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
    as_expr,
)

N, D, K = Range("N"), Range("D"), Range("K")
i, n, d, e, k, j = Index("i", N), Index("n", N), Index("d", D), Index("e", D), Index("k", K), Index("j", K)


def value(name: str, *axes: Range) -> Tensor:
    return Tensor(name, axes, "float", "value")


x, W, b = Tensor("x", (N, D)), Tensor("W", (D, K)), Tensor("b", (K,))
y = Tensor("y", (N,), "int")
mask = Tensor("mask", (N, D), "bool")
f, z, p, L = value("f", N, K), value("z", N), value("p", N, K), value("L")
at = Access


def fn(name: str, *args: Expr) -> Apply:
    return Apply(name, args)


SCORES = Definition(f, (i, k), Add((Sum((d,), Mul((at(x, (i, d)), at(W, (d, k))))), at(b, (k,)))))
AFFINE = Program("affine", (x, W, b), (), (SCORES,), (f,))

_s = Tensor("s", (N, K))
SOFTMAX = Program(
    "softmax",
    (_s,),
    (),
    (
        Definition(z, (i,), Sum((j,), fn("exp", at(_s, (i, j))))),
        Definition(p, (i, k), Mul((fn("exp", at(_s, (i, k))), Pow(at(z, (i,)), MINUS_ONE)))),
    ),
    (p,),
)
s = _s

SOFTMAX_LOSS = Program(
    "softmax_loss",
    (s, y),
    (),
    (
        *SOFTMAX.definitions,
        Definition(
            L, (), Mul((MINUS_ONE, Pow(Size(N), MINUS_ONE), Sum((i,), fn("log", at(p, (i, at(y, (i,))))))))
        ),
    ),
    (L,),
)

h, m, c, v, xhat = value("h", N, K), value("m", N), value("c", N, D), value("v", D), value("xhat", N, D)
mu, r = value("mu", D), value("r", D)
eps = Tensor("eps", (), "float", "parameter")
G = f.adjoint

TWO_LAYER = Program(
    "two_layer",
    (x, W, b, y),
    (),
    (
        SCORES,
        Definition(h, (i, k), fn("relu", at(f, (i, k)))),
        Definition(m, (i,), Reduce("max", (k,), at(h, (i, k)))),
        Definition(L, (), Sum((i,), Add((at(m, (i,)), -at(h, (i, at(y, (i,)))))))),
    ),
    (L,),
)

GELU = Program("gelu", (x,), (), (Definition(xhat, (i, d), fn("gelu", at(x, (i, d)))),), (xhat,))

_mean = Mul((Pow(Size(N), MINUS_ONE), Sum((i,), at(x, (i, d)))))
_variance = Mul((Pow(Size(N), MINUS_ONE), Sum((i,), Pow(at(c, (i, d)), as_expr(2)))))
BATCH_NORM = Program(
    "batch_norm",
    (x,),
    ((eps, 1e-5),),
    (
        Definition(mu, (d,), _mean),
        Definition(c, (i, d), Add((at(x, (i, d)), Mul((MINUS_ONE, at(mu, (d,))))))),
        Definition(v, (d,), _variance),
        Definition(r, (d,), Pow(Add((at(v, (d,)), at(eps, ()))), Mul((MINUS_ONE, HALF)))),
        Definition(xhat, (i, d), Mul((at(c, (i, d)), at(r, (d,))))),
    ),
    (xhat,),
)

PROGRAMS = (AFFINE, SOFTMAX, SOFTMAX_LOSS, TWO_LAYER, GELU, BATCH_NORM)


def chain(lhs: Expr, *lines: tuple[Expr, str], kind: str = "chain", title: str = "") -> Stage:
    """A stage whose lines follow each other."""
    steps, above = [], lhs
    for line, rule in lines:
        steps.append(Step(above, line, rule, "as the rule says"))
        above = line
    return Stage(kind, title or str(lhs), lhs, tuple(steps))


def record(program: Program, stages: tuple[Stage, ...], results: tuple[Equation, ...]) -> Derived:
    """A derivation with these stages, whose backward pass is its results."""
    definitions = tuple(
        Definition(q.lhs.tensor, tuple(w for w in q.lhs.indices if isinstance(w, Index)), q.rhs)
        for q in results
    )
    backward = Backward("staged", definitions, tuple(q.lhs.tensor for q in results))
    wrt = tuple(t for t in program.inputs if t.dtype == "float")
    upstream = tuple(t.adjoint for t in program.outputs)
    return Derived(program, wrt, upstream, stages, backward, backward, backward, "the only one", results)


def affine_derivation() -> Derived:
    """The derivation of dL/dW, dL/dx and dL/db, as on a blackboard."""
    local = Partial(at(f, (i, k)), at(W, (d, j)))
    inlined = Partial(SCORES.body, at(W, (d, j)))
    contracted = Sum((e,), Mul((at(x, (i, e)), Indicator("==", e, d), Indicator("==", k, j))))
    locally = Mul((at(x, (i, d)), Indicator("==", j, k)))
    dW, dx, db = W.adjoint, x.adjoint, b.adjoint
    by_W = Sum((i,), Mul((at(x, (i, d)), at(G, (i, j)))))
    by_x = Sum((k,), Mul((at(G, (i, k)), at(W, (d, k)))))
    by_b = Sum((i,), at(G, (i, j)))
    stages = (
        chain(at(f, (i, k)), (SCORES.body, "definition"), kind="definition"),
        chain(
            local,
            (inlined, "unfold"),
            (contracted, "product"),
            (locally, "contract-indicator"),
            kind="local",
        ),
        chain(
            at(dW, (d, j)),
            (Sum((i, k), Mul((at(G, (i, k)), local))), "chain-rule"),
            (Sum((i, k), Mul((at(G, (i, k)), locally))), "local-derivative"),
            (by_W, "contract-indicator"),
        ),
        chain(
            at(dx, (i, d)),
            (Sum((n, k), Mul((at(G, (n, k)), Partial(at(f, (n, k)), at(x, (i, d)))))), "chain-rule"),
            (Sum((n, k), Mul((at(G, (n, k)), at(W, (d, k)), Indicator("==", n, i)))), "local-derivative"),
            (by_x, "contract-indicator"),
        ),
        chain(
            at(db, (j,)),
            (Sum((i, k), Mul((at(G, (i, k)), Partial(at(f, (i, k)), at(b, (j,)))))), "chain-rule"),
            (by_b, "contract-indicator"),
        ),
    )
    results = (Equation(at(dx, (i, d)), by_x), Equation(at(dW, (d, j)), by_W), Equation(at(db, (j,)), by_b))
    return record(AFFINE, stages, results)


def softmax_derivation() -> Derived:
    """dL/ds = p (G - sum of G p)."""
    g = p.adjoint
    lhs = at(s.adjoint, (i, j))
    e_j = fn("exp", at(s, (i, j)))
    direct = Mul((at(g, (i, j)), e_j, Pow(at(z, (i,)), MINUS_ONE)))
    dz = at(z.adjoint, (i,))
    by_z = Mul(
        (MINUS_ONE, Sum((k,), Mul((at(g, (i, k)), fn("exp", at(s, (i, k))), Pow(at(z, (i,)), as_expr(-2))))))
    )
    shared = Add((Mul((at(g, (i, j)), at(p, (i, j)))), Mul((e_j, dz))))
    closed = Mul(
        (
            at(p, (i, j)),
            Add((at(g, (i, j)), Mul((MINUS_ONE, Sum((k,), Mul((at(g, (i, k)), at(p, (i, k))))))))),
        )
    )
    ones = Sum((k,), at(p, (i, k)))
    stages = (
        chain(dz, (by_z, "chain-rule")),
        chain(
            lhs,
            (Add((direct, Mul((e_j, dz)))), "chain-rule"),
            (shared, "re-substitution"),
            (closed, "factor"),
        ),
        chain(ones, (ONE, "normalised"), kind="lemma"),
    )
    return record(SOFTMAX, stages, (Equation(lhs, closed),))


def softmax_loss_derivation() -> Derived:
    """dL/ds = (p - 1(k = y)) / N."""
    label = at(y, (i,))
    by_p = Mul((MINUS_ONE, Pow(Size(N), MINUS_ONE), Indicator("==", k, label), Pow(at(p, (i, k)), MINUS_ONE)))
    closed = Mul((Pow(Size(N), MINUS_ONE), Add((at(p, (i, k)), Mul((MINUS_ONE, Indicator("==", k, label)))))))
    one = Sum((k,), Indicator("==", k, label))
    stages = (
        chain(at(L.adjoint, ()), (ONE, "upstream")),
        chain(at(p.adjoint, (i, k)), (Mul((at(L.adjoint, ()), by_p)), "chain-rule"), (by_p, "upstream")),
        chain(at(s.adjoint, (i, k)), (closed, "closed")),
        chain(one, (Const(ONE.value), "one-hot"), kind="lemma"),
    )
    return record(SOFTMAX_LOSS, stages, (Equation(at(s.adjoint, (i, k)), closed),))


def batch_norm_derivation() -> Derived:
    """dL/dx = r/N (N G - sum of G - xhat sum of G xhat)."""
    g = xhat.adjoint
    per_n = Pow(Size(N), MINUS_ONE)
    scaled = Mul((at(g, (i, d)), at(r, (d,))))
    along = Sum((n,), Mul((at(g, (n, d)), at(c, (n, d)))))
    through_v = Mul((MINUS_ONE, per_n, Pow(at(r, (d,)), as_expr(3)), at(c, (i, d)), along))
    dc = at(c.adjoint, (i, d))
    total = Sum((n,), at(g, (n, d)))
    with_xhat = Mul((at(xhat, (i, d)), Sum((n,), Mul((at(g, (n, d)), at(xhat, (n, d)))))))
    three = Add((Mul((Size(N), at(g, (i, d)))), Mul((MINUS_ONE, total)), Mul((MINUS_ONE, with_xhat))))
    closed = Mul((at(r, (d,)), per_n, three))
    centred = Add((dc, Mul((MINUS_ONE, per_n, Sum((n,), at(c.adjoint, (n, d)))))))
    root = BATCH_NORM.definitions[3]
    lhs = at(x.adjoint, (i, d))
    stages = (
        chain(at(r, (d,)), (root.body, "definition"), kind="definition"),
        chain(Sum((i,), at(c, (i, d))), (ZERO, "centred"), kind="lemma"),
        chain(dc, (Add((scaled, through_v)), "chain-rule")),
        chain(lhs, (centred, "chain-rule"), (closed, "closed")),
    )
    return record(BATCH_NORM, stages, (Equation(lhs, closed),))


A, u = Tensor("A", (N, N)), Tensor("u", (N,))
QUADRATIC = Program(
    "quadratic",
    (A, u),
    (),
    (Definition(L, (), Sum((i, n), Mul((at(u, (i,)), at(A, (i, n)), at(u, (n,)))))),),
    (L,),
)


def quadratic_derivation() -> Derived:
    """dL/du = (A + A transposed) u, dL/dA = u u transposed; a transpose is all that tells them apart."""
    both = Sum((n,), Mul((Add((at(A, (i, n)), at(A, (n, i)))), at(u, (n,)))))
    split = Add((Sum((n,), Mul((at(A, (i, n)), at(u, (n,))))), Sum((n,), Mul((at(A, (n, i)), at(u, (n,)))))))
    outer = Mul((at(u, (i,)), at(u, (n,))))
    stages = (
        chain(at(u.adjoint, (i,)), (split, "product"), (both, "factor")),
        chain(at(A.adjoint, (i, n)), (outer, "chain-rule")),
    )
    results = (Equation(at(A.adjoint, (i, n)), outer), Equation(at(u.adjoint, (i,)), both))
    return record(QUADRATIC, stages, results)


DERIVATIONS = (
    affine_derivation,
    softmax_derivation,
    softmax_loss_derivation,
    batch_norm_derivation,
    quadratic_derivation,
)
