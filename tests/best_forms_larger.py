"""The best backward passes known, second part: convolutions, attention, recurrent cells and their like.

See `tests.best_forms`, which has all of them.
"""

LARGER: dict[str, str] = {
    "spatial_batch_norm": """
h: N C Y X
s: C
gamma: C
dout: N C Y X
db[c] = sum(i y x, dout[i,c,y,x])
dg[c] = sum(i y x, h[i,c,y,x] * dout[i,c,y,x])
dx[i,c,y,x] = s[c] * gamma[c]
    * (dout[i,c,y,x] - db[c] / (size(i) * size(y) * size(x))
        - h[i,c,y,x] * (dg[c] / (size(i) * size(y) * size(x))))""",
    "instance_norm": """
h: N C Y X
s: N C
gamma: C
dout: N C Y X
b[i,c] = sum(y x, dout[i,c,y,x])
g[i,c] = sum(y x, h[i,c,y,x] * dout[i,c,y,x])
db[c] = sum(i, b[i,c])
dg[c] = sum(i, g[i,c])
dx[i,c,y,x] = s[i,c] * gamma[c]
    * (dout[i,c,y,x] - b[i,c] / (size(y) * size(x)) - h[i,c,y,x] * (g[i,c] / (size(y) * size(x))))""",
    "group_norm": """
h: N G C Y X
s: N G
gamma: G C
dout: N G C Y X
b[i,g,c] = sum(y x, dout[i,g,c,y,x])
a[i,g,c] = sum(y x, h[i,g,c,y,x] * dout[i,g,c,y,x])
db[g,c] = sum(i, b[i,g,c])
dg[g,c] = sum(i, a[i,g,c])
m[i,g] = s[i,g] * sum(c, gamma[g,c] * b[i,g,c]) / (size(c) * size(y) * size(x))
v[i,g] = s[i,g] * sum(c, gamma[g,c] * a[i,g,c]) / (size(c) * size(y) * size(x))
dx[i,g,c,y,x] = (s[i,g] * gamma[g,c]) * dout[i,g,c,y,x] - m[i,g] - h[i,g,c,y,x] * v[i,g]""",
    "weight_norm": """
V: D K
g: K
n: K
dW: D K
s[k] = sum(d, V[d,k] * dW[d,k])
dg[k] = s[k] / n[k]
c[k] = g[k] / n[k]
dV[d,k] = c[k] * dW[d,k] - c[k] * dg[k] / n[k] * V[d,k]""",
    "rnn_cell": """
x: N D
h: N H
U: D H
W: H H
s: N H
ds: N H
da[i,j] = ds[i,j] * (1 - s[i,j]^2)
dx[i,d] = sum(j, da[i,j] * U[d,j])
dh[i,k] = sum(j, da[i,j] * W[k,j])
dU[d,j] = sum(i, x[i,d] * da[i,j])
dW[k,j] = sum(i, h[i,k] * da[i,j])
db[j] = sum(i, da[i,j])""",
    "gru_cell": """
x: N D
h: N H
U: G D H
W: G H H
r: N H
z: N H
n: N H
ds: N H
range G: 3
range a: 3
range e: 3
range l: 3
dn[i,j] = ds[i,j] * (1 - z[i,j]) * (1 - n[i,j]^2)
dz[i,j] = ds[i,j] * (h[i,j] - n[i,j]) * z[i,j] * (1 - z[i,j])
q[i,k] = sum(j, dn[i,j] * W[2,k,j])
dr[i,j] = q[i,j] * h[i,j] * r[i,j] * (1 - r[i,j])
rh[i,k] = r[i,k] * h[i,k]
dx[i,d] = sum(j, dr[i,j] * U[0,d,j]) + sum(j, dz[i,j] * U[1,d,j]) + sum(j, dn[i,j] * U[2,d,j])
dh[i,k] = ds[i,k] * z[i,k] + q[i,k] * r[i,k] + sum(j, dr[i,j] * W[0,k,j]) + sum(j, dz[i,j] * W[1,k,j])
dU[a,d,j] = 1(a == 0) * sum(i, x[i,d] * dr[i,j]) + 1(a == 1) * sum(i, x[i,d] * dz[i,j])
    + 1(a == 2) * sum(i, x[i,d] * dn[i,j])
dW[e,k,j] = 1(e == 0) * sum(i, h[i,k] * dr[i,j]) + 1(e == 1) * sum(i, h[i,k] * dz[i,j])
    + 1(e == 2) * sum(i, rh[i,k] * dn[i,j])
db[l,j] = 1(l == 0) * sum(i, dr[i,j]) + 1(l == 1) * sum(i, dz[i,j]) + 1(l == 2) * sum(i, dn[i,j])""",
    "lstm_cell": """
x: N D
h: N H
c: N H
U: G D H
W: G H H
p: N H
f: N H
g: N H
q: N H
t: N H
s: N H
ds: N H
dcell_out: N H
range G: 4
range a: 4
range e: 4
range l: 4
dcell[i,j] = dcell_out[i,j] + ds[i,j] * (q[i,j] - s[i,j] * t[i,j])
dp[i,j] = dcell[i,j] * g[i,j] * p[i,j] * (1 - p[i,j])
df[i,j] = dcell[i,j] * c[i,j] * f[i,j] * (1 - f[i,j])
dg[i,j] = dcell[i,j] * p[i,j] * (1 - g[i,j]^2)
dq[i,j] = ds[i,j] * s[i,j] * (1 - q[i,j])
dc[i,j] = dcell[i,j] * f[i,j]
dx[i,d] = sum(j, dp[i,j] * U[0,d,j]) + sum(j, df[i,j] * U[1,d,j])
    + sum(j, dg[i,j] * U[2,d,j]) + sum(j, dq[i,j] * U[3,d,j])
dh[i,k] = sum(j, dp[i,j] * W[0,k,j]) + sum(j, df[i,j] * W[1,k,j])
    + sum(j, dg[i,j] * W[2,k,j]) + sum(j, dq[i,j] * W[3,k,j])
dU[a,d,j] = 1(a == 0) * sum(i, x[i,d] * dp[i,j]) + 1(a == 1) * sum(i, x[i,d] * df[i,j])
    + 1(a == 2) * sum(i, x[i,d] * dg[i,j]) + 1(a == 3) * sum(i, x[i,d] * dq[i,j])
dW[e,k,j] = 1(e == 0) * sum(i, h[i,k] * dp[i,j]) + 1(e == 1) * sum(i, h[i,k] * df[i,j])
    + 1(e == 2) * sum(i, h[i,k] * dg[i,j]) + 1(e == 3) * sum(i, h[i,k] * dq[i,j])
db[l,j] = 1(l == 0) * sum(i, dp[i,j]) + 1(l == 1) * sum(i, df[i,j])
    + 1(l == 2) * sum(i, dg[i,j]) + 1(l == 3) * sum(i, dq[i,j])""",
    "swiglu": """
x: N D
W: D H
V: D H
a: N H
b: N H
s: N H
dh: N H
q[i,h] = sigmoid(a[i,h])
da[i,h] = dh[i,h] * b[i,h] * (q[i,h] + s[i,h] * (1 - q[i,h]))
db[i,h] = dh[i,h] * s[i,h]
dx[i,d] = sum(h, da[i,h] * W[d,h]) + sum(h, db[i,h] * V[d,h])
dW[d,h] = sum(i, x[i,d] * da[i,h])
dV[d,h] = sum(i, x[i,d] * db[i,h])""",
    "mixture_gate": """
x: N D
A: D E
W: E D K
p: N E
h: N E K
do: N K
dp[i,e] = sum(k, do[i,k] * h[i,e,k])
da[i,e] = p[i,e] * (dp[i,e] - sum(u, dp[i,u] * p[i,u]))
dh[i,e,k] = p[i,e] * do[i,k]
dx[i,d] = sum(e, da[i,e] * A[d,e]) + sum(e k, dh[i,e,k] * W[e,d,k])
dA[d,e] = sum(i, x[i,d] * da[i,e])
dW[e,d,k] = sum(i, x[i,d] * dh[i,e,k])""",
    "frobenius_norm": "X: M N\nL: \nparameter dL: 1.0\ndX[m,n] = dL / L * X[m,n]",
    "inverse": "Y: D D\ndY: D D\ndX[a,b] = -sum(d, Y[d,a] * sum(e, dY[d,e] * Y[b,e]))",
    "trace_form": """
A: K N
X: M N
B: M M
C: N K
z: K M
z2: K M
z3: K N
parameter dL: 1.0
dC[n,k] = dL * z3[k,n]
dz3[k,n] = dL * C[n,k]
dz2[k,m] = sum(n, X[m,n] * dz3[k,n])
q[k,m] = sum(n, B[m,n] * dz2[k,n])
dB[m,n] = sum(k, z[k,m] * dz2[k,n])
dA[k,n] = sum(m, q[k,m] * X[m,n])
dX[m,n] = sum(k, z2[k,m] * dz3[k,n]) + sum(k, q[k,m] * A[k,n])""",
    "max_pool": """
x: N C Y X
dx: N C Y X
m: N C H W
dm: N C H W
range p: 2
range q: 2
range r: 2
range t: 2
g[n,c,h,w] = dm[n,c,h,w] / sum(r t, 1(x[n,c,2*h+r,2*w+t] == m[n,c,h,w]))
dx[n,c,y,x1] = sum(h w p q, 1(y == 2*h+p) * 1(x1 == 2*w+q)
    * 1(x[n,c,2*h+p,2*w+q] == m[n,c,h,w]) * g[n,c,h,w])""",
    # From the cosine and sine of the angle, which the forward works out.
    "rope": """
c: T P
s: T P
do: T P E
range e: 2
dx[t,p,e] = do[t,p,e] * c[t,p] + (1 - 2*e) * do[t,p,1-e] * s[t,p]""",
    "determinant": "X: D D\nd: \nparameter dd: 1.0\ndX[a,b] = dd * d * inv(u v, X[u,v])[b,a]",
    "trace": "dX: D D\nparameter dt: 1.0\ndX[a,b] = 1(a == b) * dt",
    "global_max_pool": """
x: N C H W
out: N C
do: N C
b: N C H W bool
b[n,c,h,w] = 1(x[n,c,h,w] == out[n,c])
dx[n,c,h,w] = b[n,c,h,w] * (do[n,c] / sum(p q, b[n,c,p,q]))""",
    "global_avg_pool": "do: N C\ndx: N C H W\ndx[n,c,h,w] = do[n,c] / (size(h) * size(w))",
    "fully_connected_net": """
x: N D
W1: D H
W2: H G
W3: G K
h: N H
a: N G
p: N K
y: N int
parameter dL: 1.0
parameter reg: 0.1
df[i,k] = (p[i,k] - 1(k == y[i])) * dL / size(i)
da[i,g] = 1(a[i,g] > 0) * sum(k, df[i,k] * W3[g,k])
dh[i,h1] = 1(h[i,h1] > 0) * sum(g, da[i,g] * W2[h1,g])
dx[i,d] = sum(h1, dh[i,h1] * W1[d,h1])
dW1[d,h1] = sum(i, x[i,d] * dh[i,h1]) + dL * reg * W1[d,h1]
db1[h1] = sum(i, dh[i,h1])
dW2[h1,g] = sum(i, h[i,h1] * da[i,g]) + dL * reg * W2[h1,g]
db2[g] = sum(i, da[i,g])
dW3[g,k] = sum(i, a[i,g] * df[i,k]) + dL * reg * W3[g,k]
db3[k] = sum(i, df[i,k])""",
    "conv1d": """
x: N C T
W: F C R
do: N F H
dx: N C T
dW: F C R
dx[n,c,t] = sum(h r, 1(t == h + r) * sum(f, W[f,c,r] * do[n,f,h]))
dW[f,c,r] = sum(n h, x[n,c,h+r] * do[n,f,h])
db[f] = sum(n h, do[n,f,h])""",
    "conv2d": """
x: N C Y X
W: F C R S
do: N F H V
dx: N C Y X
dW: F C R S
dx[n,c,y,x1] = sum(h v r s, 1(y == h + r) * 1(x1 == v + s) * sum(f, W[f,c,r,s] * do[n,f,h,v]))
dW[f,c,r,s] = sum(n h v, x[n,c,h+r,v+s] * do[n,f,h,v])
db[f] = sum(n h v, do[n,f,h,v])""",
    "avg_pool": """
do: N C H W
dx: N C Y X
range p: 2
range q: 2
g[n,c,h,w] = do[n,c,h,w] / 4
dx[n,c,y,x1] = sum(h w p q, 1(y == 2*h+p) * 1(x1 == 2*w+q) * g[n,c,h,w])""",
    "three_layer_convnet": """
u: N C P Q
W1: F C R S
v: N F H W
m: N F A B
W2: F A B M
W3: M K
r2: N M
p: N K
y: N int
dv: N F H W
du: N C P Q
dx: N C Y X
range e: 2
range g: 2
range j: 2
range l: 2
parameter dL: 1.0
parameter reg: 0.1
df[n,k] = (p[n,k] - 1(k == y[n])) * dL / size(n)
da[n,m1] = 1(r2[n,m1] > 0) * sum(k, df[n,k] * W3[m1,k])
dm[n,f,a,b] = sum(m1, da[n,m1] * W2[f,a,b,m1])
dt[n,f,a,b] = dm[n,f,a,b] / sum(j l, 1(v[n,f,2*a+j,2*b+l] == m[n,f,a,b]))
dv[n,f,h,w] = 1(v[n,f,h,w] > 0)
    * sum(a b e g, 1(h == 2*a+e) * 1(w == 2*b+g) * 1(v[n,f,2*a+e,2*b+g] == m[n,f,a,b]) * dt[n,f,a,b])
du[n,c,p1,q1] = sum(h w r s, 1(p1 == h + r) * 1(q1 == w + s) * sum(f, W1[f,c,r,s] * dv[n,f,h,w]))
dx[n,c,y1,x1] = du[n,c,y1+1,x1+1]
dW1[f,c,r,s] = sum(n h w, u[n,c,h+r,w+s] * dv[n,f,h,w]) + dL * reg * W1[f,c,r,s]
db1[f] = sum(n h w, dv[n,f,h,w])
dW2[f,a,b,m1] = sum(n, m[n,f,a,b] * da[n,m1]) + dL * reg * W2[f,a,b,m1]
db2[m1] = sum(n, da[n,m1])
dW3[m1,k] = sum(n, r2[n,m1] * df[n,k]) + dL * reg * W3[m1,k]
db3[k] = sum(n, df[n,k])""",
}
