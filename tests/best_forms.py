"""The best backward passes known, written by hand: what a derivation has to match.

Each text says how the gradients follow from the upstream derivative and from values of the forward,
which are its inputs. Sources: CS231n's notes and assignments, the papers that the layers cite, the
backward passes of PyTorch's `derivatives.yaml`.
"""

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
da: N D
s[i,d] = sigmoid(x[i,d])
dx[i,d] = da[i,d] * s[i,d] * (1 + x[i,d] * (1 - s[i,d]))""",
    "elu": """
x: N D
e: N D
da: N D
parameter alpha: 1.0
dx[i,d] = da[i,d] * where(x[i,d] > 0, 1, alpha * (e[i,d] + 1))""",
    "softmax": "p: N K\ndp: N K\ndf[i,k] = p[i,k] * (dp[i,k] - sum(j, dp[i,j] * p[i,j]))",
    "log_softmax": """
f: N K
z: N
m: N
dl: N K
df[i,k] = dl[i,k] - exp(f[i,k] - m[i]) / z[i] * sum(j, dl[i,j])""",
    "logsumexp": "e: N K\nz: N\ndl: N\ndf[i,k] = dl[i] / z[i] * e[i,k]",
    "softmax_loss": "p: N K\ny: N int\nparameter dL: 1.0\ndf[i,k] = (p[i,k] - 1(k == y[i])) * dL / size(i)",
    "soft_target_loss": """
f: N K
t: N K
e: N K
z: N
m: N
parameter dL: 1.0
df[i,k] = dL / size(i) * (sum(j, t[i,j]) / z[i] * e[i,k] - t[i,k])
dt[i,k] = -dL / size(i) * (f[i,k] - (m[i] + log(z[i])))""",
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
r: N K
parameter dL: 1.0
parameter delta: 1.0
df[i,k] = dL / (size(i) * size(k)) * minimum(maximum(r[i,k], -delta), delta)
dt[i,k] = -df[i,k]""",
    "svm_loss": """
m: N K
y: N int
parameter dL: 1.0
c[i,k] = 1(m[i,k] > 0) * 1(k != y[i]) * dL / size(i)
df[i,k] = c[i,k] - 1(k == y[i]) * sum(j, c[i,j])""",
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
q: T D
k: S D
v: S E
p: T S
do: T E
dv[s,e] = sum(t, p[t,s] * do[t,e])
dp[t,s] = sum(e, do[t,e] * v[s,e])
ds[t,s] = p[t,s] * (dp[t,s] - sum(u, dp[t,u] * p[t,u])) / sqrt(size(d))
dq[t,d] = sum(s, ds[t,s] * k[s,d])
dk[s,d] = sum(t, ds[t,s] * q[t,d])""",
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
A: D D
parameter dL: 1.0
dx[d] = dL * (sum(e, A[d,e] * x[e]) + sum(e, A[e,d] * x[e]))
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
    "global_avg_pool": "do: N C\nx: N C H W\ndx[n,c,h,w] = do[n,c] / (size(h) * size(w)) + 0 * x[n,c,h,w]",
}
"""The best known form of each layer's backward, by the layer's name."""
