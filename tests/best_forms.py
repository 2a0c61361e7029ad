"""The best backward passes known, written by hand: what a derivation has to match.

Each text says how the gradients follow from the upstream derivative and from values of the forward,
which are its inputs. Sources: CS231n's notes and assignments, the papers that the layers cite, the
backward passes of PyTorch's `derivatives.yaml`.
"""

from tests.best_forms_larger import LARGER

BEST: dict[str, str] = {
    "affine": """
x: N D
W: D K
df: N K
dx[i,d] = sum(k, df[i,k] * W[d,k])
dW[d,k] = sum(i, x[i,d] * df[i,k])
db[k] = sum(i, df[i,k])""",
    "dropout": "da: N D\nmask: N D\nparameter p: 0.5\ndx[i,d] = da[i,d] * mask[i,d] / (1 - p)",
    "relu": "a: N D\nda: N D\ndx[i,d] = da[i,d] * 1(a[i,d] > 0)",
    "sigmoid": "a: N D\nda: N D\ndx[i,d] = da[i,d] * a[i,d] * (1 - a[i,d])",
    "tanh": "a: N D\nda: N D\ndx[i,d] = da[i,d] * (1 - a[i,d]^2)",
    "softplus": "x: N D\nda: N D\ndx[i,d] = da[i,d] * sigmoid(x[i,d])",
    "silu": """
x: N D
a: N D
da: N D
s[i,d] = sigmoid(x[i,d])
dx[i,d] = da[i,d] * (s[i,d] + a[i,d] * (1 - s[i,d]))""",
    "elu": """
x: N D
e: N D
da: N D
parameter alpha: 1.0
dx[i,d] = da[i,d] * where(x[i,d] > 0, 1, alpha * (e[i,d] + 1))""",
    "softmax": "p: N K\ndp: N K\ndf[i,k] = p[i,k] * (dp[i,k] - sum(j, dp[i,j] * p[i,j]))",
    "log_softmax": "p: N K\ndl: N K\ndf[i,k] = dl[i,k] - p[i,k] * sum(j, dl[i,j])",
    "logsumexp": "e: N K\nz: N\ndl: N\ndf[i,k] = dl[i] / z[i] * e[i,k]",
    "softmax_loss": "p: N K\ny: N int\nparameter dL: 1.0\ndf[i,k] = (p[i,k] - 1(k == y[i])) * dL / size(i)",
    "soft_target_loss": """
f: N K
t: N K
p: N K
l: N
m: N
parameter dL: 1.0
df[i,k] = dL / size(i) * (sum(j, t[i,j]) * p[i,k] - t[i,k])
dt[i,k] = -dL / size(i) * (f[i,k] - (m[i] + l[i]))""",
    "sigmoid_loss": """
f: N K
t: N K
parameter dL: 1.0
df[i,k] = (sigmoid(f[i,k]) - t[i,k]) * dL / size(i)
dt[i,k] = -dL / size(i) * f[i,k]""",
    "mse": """
r: N K
parameter dL: 1.0
df[i,k] = 2 * dL / (size(i) * size(k)) * r[i,k]
dt[i,k] = -df[i,k]""",
    "mae": """
r: N K
parameter dL: 1.0
df[i,k] = dL / (size(i) * size(k)) * sign(r[i,k])
dt[i,k] = -df[i,k]""",
    "huber": """
c: N K
parameter dL: 1.0
df[i,k] = dL / (size(i) * size(k)) * c[i,k]
dt[i,k] = -df[i,k]""",
    "svm_loss": """
m: N K
y: N int
parameter dL: 1.0
c[i,k] = 1(m[i,k] > 0) * 1(k != y[i])
df[i,k] = dL / size(i) * (c[i,k] - 1(k == y[i]) * sum(j, c[i,j]))""",
    "poisson_loss": """
f: N K
t: N K
e: N K
parameter dL: 1.0
df[i,k] = dL / (size(i) * size(k)) * (e[i,k] - t[i,k])
dt[i,k] = -dL / (size(i) * size(k)) * f[i,k]""",
    "l2": "W: D K\nparameter dL: 1.0\nparameter lam: 1.0\ndW[d,k] = dL * lam * W[d,k]",
    "l1": "W: D K\nparameter dL: 1.0\nparameter lam: 1.0\ndW[d,k] = dL * lam * sign(W[d,k])",
    "batch_norm": """
h: N D
s: D
gamma: D
dout: N D
db[d] = sum(i, dout[i,d])
dg[d] = sum(i, h[i,d] * dout[i,d])
dx[i,d] = s[d] * gamma[d] * (dout[i,d] - db[d] / size(i) - h[i,d] * dg[d] / size(i))""",
    "batch_norm_eval": """
h: N D
s: D
gamma: D
dout: N D
db[d] = sum(i, dout[i,d])
dg[d] = sum(i, h[i,d] * dout[i,d])
dx[i,d] = s[d] * gamma[d] * dout[i,d]
dm[d] = -s[d] * gamma[d] * db[d]
dv[d] = -s[d]^2 * gamma[d] * dg[d] / 2""",
    "layer_norm": """
h: N D
s: N
gamma: D
dout: N D
db[d] = sum(i, dout[i,d])
dg[d] = sum(i, h[i,d] * dout[i,d])
g[i,d] = gamma[d] * dout[i,d]
dx[i,d] = s[i] * (g[i,d] - sum(e, g[i,e]) / size(d) - h[i,d] * (sum(e, h[i,e] * g[i,e]) / size(d)))""",
    "rms_norm": """
h: N D
s: N
gamma: D
dout: N D
dg[d] = sum(i, h[i,d] * dout[i,d])
g[i,d] = gamma[d] * dout[i,d]
dx[i,d] = s[i] * (g[i,d] - h[i,d] * (sum(e, h[i,e] * g[i,e]) / size(d)))""",
    "attention": """
u: T D
k: S D
v: S E
p: T S
do: T E
dv[s,e] = sum(t, p[t,s] * do[t,e])
dp[t,s] = sum(e, do[t,e] * v[s,e])
ds[t,s] = p[t,s] * (dp[t,s] - sum(r, dp[t,r] * p[t,r]))
dq[t,d] = sum(s, ds[t,s] * k[s,d]) / sqrt(size(d))
dk[s,d] = sum(t, ds[t,s] * u[t,d])""",
    "two_layer_net": """
x: N D
W1: D H
W2: H K
h: N H
p: N K
y: N int
parameter dL: 1.0
parameter reg: 0.1
df[i,k] = (p[i,k] - 1(k == y[i])) * dL / size(i)
dh[i,h1] = 1(h[i,h1] > 0) * sum(k, df[i,k] * W2[h1,k])
dW1[d,h1] = sum(i, x[i,d] * dh[i,h1]) + dL * reg * W1[d,h1]
db1[h1] = sum(i, dh[i,h1])
dW2[h1,k] = sum(i, h[i,h1] * df[i,k]) + dL * reg * W2[h1,k]
db2[k] = sum(i, df[i,k])
dx[i,d] = sum(h1, dh[i,h1] * W1[d,h1])""",
    "quadratic_form": """
x: D
z: D
A: D D
parameter dL: 1.0
dx[d] = dL * (sum(e, A[d,e] * x[e]) + z[d])
dA[d,e] = dL * x[d] * x[e]""",
    "least_squares": """
A: N D
x: D
r: N
parameter dL: 1.0
g[i] = 2 * dL * r[i]
dA[i,d] = g[i] * x[d]
dx[d] = sum(i, A[i,d] * g[i])
dy[i] = -g[i]""",
    "log_determinant": "B: D D\nparameter dL: 1.0\ndX[d,e] = dL * inv(a b, B[a,b])[e,d]",
    "leaky_relu": "x: N D\nda: N D\nparameter slope: 0.1\ndx[i,d] = da[i,d] * where(x[i,d] > 0, 1, slope)",
    "selu": """
x: N D
e: N D
da: N D
parameter alpha: 1.0
parameter scale: 1.0
dx[i,d] = scale * da[i,d] * where(x[i,d] > 0, 1, alpha * (e[i,d] + 1))""",
    "gelu": """
x: N D
da: N D
dx[i,d] = da[i,d] * ((1 + erf(x[i,d] / sqrt(2))) / 2 + x[i,d] * exp(-x[i,d]^2 / 2) / sqrt(2 * pi))""",
    "gelu_tanh": """
x: N D
t: N D
da: N D
dx[i,d] = 0.5 * da[i,d]
    * (1 + t[i,d] + x[i,d] * (1 - t[i,d]^2) * sqrt(2 / pi) * (1 + 0.134145 * x[i,d]^2))""",
    "mish": """
x: N D
t: N D
da: N D
dx[i,d] = da[i,d] * (t[i,d] + x[i,d] * sigmoid(x[i,d]) * (1 - t[i,d]^2))""",
    "hardswish": """
x: N D
c: N D
da: N D
dx[i,d] = da[i,d] / 6 * (c[i,d] + x[i,d] * 1(c[i,d] > 0) * 1(c[i,d] < 6))""",
    "log_cosh": """
r: N K
parameter dL: 1.0
df[i,k] = dL / (size(i) * size(k)) * tanh(r[i,k])
dt[i,k] = -df[i,k]""",
    "quantile_loss": """
r: N K
parameter dL: 1.0
parameter q: 0.5
dt[i,k] = dL / (size(i) * size(k)) * (q - 1(r[i,k] <= 0))
df[i,k] = -dt[i,k]""",
    "focal_loss": """
p: N K
q: N
l: N
y: N int
parameter dL: 1.0
parameter gamma: 2.0
c[i] = dL / size(i) * (gamma * (1 - q[i])^(gamma - 1) * l[i] - (1 - q[i])^gamma / q[i])
df[i,k] = p[i,k] * (1(k == y[i]) * c[i] - q[i] * c[i])""",
    "info_nce": """
q: N D
k: N D
p: N N
parameter dL: 1.0
parameter tau: 0.1
da[i,j] = (p[i,j] - 1(i == j)) * dL / (size(N) * tau)
dq[i,d] = sum(j, da[i,j] * k[j,d])
dk[j,d] = sum(i, da[i,j] * q[i,d])""",
    "cosine_similarity": """
x: N D
z: N D
u: N
v: N
s: N
ds: N
dx[i,d] = ds[i] / (u[i] * v[i]) * z[i,d] - ds[i] * s[i] / u[i]^2 * x[i,d]
dz[i,d] = ds[i] / (u[i] * v[i]) * x[i,d] - ds[i] * s[i] / v[i]^2 * z[i,d]""",
    "cosine_embedding": """
x: N D
z: N D
u: N
v: N
s: N
t: N int
parameter dL: 1.0
parameter margin: 0.0
ds[i] = dL / size(i) * where(t[i] == 1, -1, 1(s[i] > margin))
dx[i,d] = ds[i] / (u[i] * v[i]) * z[i,d] - ds[i] * s[i] / u[i]^2 * x[i,d]
dz[i,d] = ds[i] / (u[i] * v[i]) * x[i,d] - ds[i] * s[i] / v[i]^2 * z[i,d]""",
    "triplet_loss": """
a: N D
p: N D
n: N D
u: N
v: N
h: N
parameter dL: 1.0
du[i] = dL / size(i) * 1(h[i] > 0) / u[i]
dv[i] = dL / size(i) * 1(h[i] > 0) / v[i]
dp[i,d] = du[i] * (p[i,d] - a[i,d])
dn[i,d] = dv[i] * (a[i,d] - n[i,d])
da[i,d] = -dp[i,d] - dn[i,d]""",
    "pairwise_distances": """
x: N D
z: M D
d: N M
dd: N M
g[i,m] = dd[i,m] / d[i,m]
dx[i,c] = sum(m, g[i,m]) * x[i,c] - sum(m, g[i,m] * z[m,c])
dz[m,c] = sum(i, g[i,m]) * z[m,c] - sum(i, g[i,m] * x[i,c])""",
    "gaussian_nll": """
r: N K
v: N K
parameter dL: 1.0
dt[i,k] = dL / (size(i) * size(k)) * r[i,k] / v[i,k]
dm[i,k] = -dt[i,k]
dv[i,k] = dL / (2 * size(i) * size(k)) * (1 - r[i,k]^2 / v[i,k]) / v[i,k]""",
    "kl_divergence": """
l: N K
t: N K
u: N K
parameter dL: 1.0
dl[i,k] = -dL / size(i) * t[i,k]
dt[i,k] = dL / size(i) * (u[i,k] + 1 - l[i,k])""",
    "logistic_regression": """
X: N D
w: D
y: N
a: N
parameter dL: 1.0
g[i] = dL * (sigmoid(a[i]) - y[i])
dX[i,d] = g[i] * w[d]
dw[d] = sum(i, X[i,d] * g[i])
dy[i] = -dL * a[i]""",
    "poisson_regression": """
X: N D
w: D
y: N
a: N
e: N
parameter dL: 1.0
g[i] = dL * (e[i] - y[i])
dX[i,d] = g[i] * w[d]
dw[d] = sum(i, X[i,d] * g[i])
dy[i] = -dL * a[i]""",
    "gamma_regression": """
X: N D
w: D
y: N
e: N
parameter dL: 1.0
g[i] = dL * (1 - y[i] * e[i])
dX[i,d] = g[i] * w[d]
dw[d] = sum(i, X[i,d] * g[i])
dy[i] = dL * e[i]""",
    "ridge": """
X: N D
w: D
r: N
parameter dL: 1.0
parameter lam: 1.0
g[i] = 2 * dL * r[i]
dX[i,d] = g[i] * w[d]
dw[d] = sum(i, X[i,d] * g[i]) + 2 * dL * lam * w[d]
dy[i] = -g[i]""",
    # With df ∘ x kept for three of the products it is D·N operations fewer, and as many more accesses.
    "factorisation_machine": """
x: N D
w: D
V: D K
u: N K
df: N
db = sum(i, df[i])
dw[d] = sum(i, x[i,d] * df[i])
c[d] = sum(k, V[d,k]^2)
dx[i,d] = df[i] * (w[d] + sum(k, u[i,k] * V[d,k]) - x[i,d] * c[d])
g[i,k] = df[i] * u[i,k]
q[i,d] = x[i,d]^2
dV[d,k] = sum(i, x[i,d] * g[i,k]) - V[d,k] * sum(i, q[i,d] * df[i])""",
    "matrix_factorisation": """
mask: N M
U: N K
V: M K
r: N M
parameter dL: 1.0
parameter lam: 1.0
dR[i,m] = 2 * dL * mask[i,m] * r[i,m]
dmask[i,m] = dL * r[i,m]^2
dU[i,k] = 2 * dL * lam * U[i,k] - sum(m, dR[i,m] * V[m,k])
dV[m,k] = 2 * dL * lam * V[m,k] - sum(i, dR[i,m] * U[i,k])""",
    "elastic_net": """
W: D K
parameter dL: 1.0
parameter lam: 1.0
parameter ratio: 0.5
dW[d,k] = dL * lam * ratio * sign(W[d,k]) + dL * lam * (1 - ratio) * W[d,k]""",
    "bilinear": """
x: N D
A: D E K
z: N E
df: N K
dx[i,d] = sum(k, df[i,k] * sum(e, A[d,e,k] * z[i,e]))
dA[d,e,k] = sum(i, x[i,d] * z[i,e] * df[i,k])
dz[i,e] = sum(k, df[i,k] * sum(d, A[d,e,k] * x[i,d]))""",
    "outer": """
x: N D
z: N E
do: N D E
dx[i,d] = sum(e, do[i,d,e] * z[i,e])
dz[i,e] = sum(d, do[i,d,e] * x[i,d])""",
    "embedding": "t: N int\ndf: N D\ndW: V D\ndW[v,d] = sum(i, 1(v == t[i]) * df[i,d])",
    **LARGER,
}
"""The best known form of each layer's backward, by the layer's name."""

NORM = {"h": "x̂", "gamma": "γ", "dg": "dγ", "db": "dβ"}

MEANS: dict[str, dict[str, str]] = {
    "batch_norm": NORM,
    "batch_norm_eval": NORM | {"dm": "dμ"},
    "spatial_batch_norm": NORM,
    "layer_norm": NORM,
    "instance_norm": NORM,
    "group_norm": NORM,
    "rms_norm": NORM,
    "two_layer_net": {"h": "r"},
    "fully_connected_net": {"h": "r1", "a": "r2"},
    "three_layer_convnet": {"u": "xp", "v": "act", "m": "pool"},
    "least_squares": {"r": "a"},
    "log_determinant": {"B": "X"},
    "determinant": {"d": "L", "dd": "dL"},
    "trace": {"dt": "dL"},
    "lstm_cell": {"p": "i", "q": "o"},
    "conv1d": {"do": "dout"},
    "conv2d": {"do": "dout"},
    "max_pool": {"m": "out", "dm": "dout"},
    "avg_pool": {"do": "dout"},
    "global_max_pool": {"do": "dout"},
    "global_avg_pool": {"do": "dout"},
    "kl_divergence": {"u": "l2"},
}
"""What the names in an entry stand for, where the layer's forward or gradient has another one."""
