"""CS231n's networks end to end: scores, softmax loss and L2 penalty as one formula."""

from __future__ import annotations

from chalkgrad.errors import UnsupportedError
from chalkgrad.frontend.forward import written

SOFTMAX_LOSS = """
    e[i,k] = exp(f[i,k])
    z[i] = sum(k, e[i,k])
    p[i,k] = e[i,k] / z[i]
    loss = -mean(i, log(p[i,y[i]]))
"""

NORMS = {
    None: "",
    "batch": """
        μ{n}[h] = mean(i, a{n}[i,h])
        c{n}[i,h] = a{n}[i,h] - μ{n}[h]
        v{n}[h] = mean(i, c{n}[i,h]^2)
        s{n}[h] = 1 / sqrt(v{n}[h] + eps)
        u{n}[i,h] = c{n}[i,h] * s{n}[h]
        o{n}[i,h] = γ{n}[h] * u{n}[i,h] + β{n}[h]
    """,
    "layer": """
        μ{n}[i] = mean(h, a{n}[i,h])
        c{n}[i,h] = a{n}[i,h] - μ{n}[i]
        v{n}[i] = mean(h, c{n}[i,h]^2)
        s{n}[i] = 1 / sqrt(v{n}[i] + eps)
        u{n}[i,h] = c{n}[i,h] * s{n}[i]
        o{n}[i,h] = γ{n}[h] * u{n}[i,h] + β{n}[h]
    """,
}
"""Normalisations of a hidden layer's scores a, which give o."""


def _penalty(weights: dict[str, str]) -> str:
    """loss + ½ reg Σ W², with the indices of each array of weights."""
    squares = " + ".join(f"sum({' '.join(at)}, {name}[{','.join(at)}]^2)" for name, at in weights.items())
    return f"L = loss + 0.5 * reg * ({squares})\n"


@written
def two_layer_net():
    """L = softmax_loss(relu(x W1 + b1) W2 + b2, y) + ½ reg (‖W1‖² + ‖W2‖²): CS231n's TwoLayerNet.

    x: (N, D). W1: (D, H). b1: (H,). W2: (H, K). b2: (K,). y: (N,) labels.
    Source: https://cs231n.github.io/neural-networks-case-study/
    """
    return f"""
        parameter reg: 0.0
        x: N D
        a[i,h] = sum(d, x[i,d] * W1[d,h]) + b1[h]
        r[i,h] = relu(a[i,h])
        f[i,k] = sum(h, r[i,h] * W2[h,k]) + b2[k]
        {SOFTMAX_LOSS}
        {_penalty({"W1": "dh", "W2": "hk"})}
    """


@written
def fully_connected_net(*, depth=3, norm=None, dropout=False):
    """{affine – [norm] – relu – [dropout]} × (depth − 1) – affine – softmax: CS231n's FullyConnectedNet.

    x: (N, D). For the n-th hidden layer Wn, bn, with norm="batch" or "layer" also γn and βn, with dropout
    also maskn (true where kept; the parameter drop is the probability to drop). y: (N,) labels.
    Source: https://cs231n.github.io/neural-networks-2/
    """
    if norm not in NORMS:
        raise UnsupportedError(f"norm={norm!r} is not known.", hint="None, 'batch' or 'layer'.")
    if not isinstance(depth, int) or depth < 1:
        raise UnsupportedError(f"A network has at least one layer, not depth={depth!r}.")
    lines = ["parameter reg: 0.0", "parameter eps: 1e-5" if norm else "", "x: N D"]
    lines += ["parameter drop: 0.5"] if dropout else []
    weights, source, wide = {}, "x", "d"
    for n in range(1, depth):
        lines.append(f"a{n}[i,h] = sum({wide}, {source}[i,{wide}] * W{n}[{wide},h]) + b{n}[h]")
        lines.append(NORMS[norm].format(n=n))
        active = f"relu({'o' if norm else 'a'}{n}[i,h])"
        if dropout:
            lines.append(f"r{n}[i,h] = where(mask{n}[i,h], {active} / (1 - drop), 0)")
        else:
            lines.append(f"r{n}[i,h] = {active}")
        weights[f"W{n}"] = f"{wide}h"
        source, wide = f"r{n}", "g"
    weights[f"W{depth}"] = f"{wide}k"
    lines.append(f"f[i,k] = sum({wide}, {source}[i,{wide}] * W{depth}[{wide},k]) + b{depth}[k]")
    return "\n".join([*lines, SOFTMAX_LOSS, _penalty(weights)])


@written
def three_layer_convnet(*, padding=1):
    """conv – relu – 2×2 max pool – affine – relu – affine – softmax: CS231n's ThreeLayerConvNet.

    f = relu(pool(relu(x ∗ W1 + b1)) W2 + b2) W3 + b3 and L = −mean_i log softmax(f_i)_{y_i}.

    x: (N, C, Y, X). W1: (F, C, R, S) filters, stride 1; padding (R − 1)/2 keeps the places. b1: (F,).
    W2: (F, P, Q, H), P and Q the pooled places: CS231n's (F·P·Q, H) reshaped. b2: (H,). W3: (H, K). b3: (K,).
    y: (N,) labels. Source: https://cs231n.github.io/convolutional-networks/
    """
    source, padded = "x", ""
    if padding:
        source = "xp"
        padded = f"""
            range u: size(Y) + {2 * padding}
            range v: size(X) + {2 * padding}
            xp[n,c,u,v] = 1(u >= {padding}) * 1(u < size(Y) + {padding})
                * 1(v >= {padding}) * 1(v < size(X) + {padding}) * x[n,c,u-{padding},v-{padding}]
        """
    return f"""
        parameter reg: 0.0
        x: N C Y X
        W1: F C R S
        {padded}
        conv[n,g,h,w] = sum(c r s, {source}[n,c,h+r,w+s] * W1[g,c,r,s]) + b1[g]
        act[n,g,h,w] = relu(conv[n,g,h,w])
        range a: 2
        range b: 2
        pool[n,g,h,w] = max(a b, act[n,g,2*h+a,2*w+b])
        a2[n,m] = sum(g h w, pool[n,g,h,w] * W2[g,h,w,m]) + b2[m]
        r2[n,m] = relu(a2[n,m])
        f[i,k] = sum(m, r2[i,m] * W3[m,k]) + b3[k]
        {SOFTMAX_LOSS}
        {_penalty({"W1": "gcrs", "W2": "ghwm", "W3": "mk"})}
    """
