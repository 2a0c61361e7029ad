"""Convolution and pooling: affine indices over a sliding window.

With stride s, padding p and dilation d an axis of size H gives (H + 2p − d(R − 1) − 1) // s + 1 places.
"""

from __future__ import annotations

import numpy as np

from chalkgrad.frontend.forward import forward, written


def _times(number: int, letter: str) -> str:
    return letter if number == 1 else f"{number}*{letter}"


def _padded(axes: str, letters: str, padding: int) -> str:
    """xp, the array x with zeros around its last axes; `letters` are those of the padded places."""
    spatial = axes.split()[2:]
    own = "n,c," + ",".join(letters)
    guards = "".join(
        f"1({a} >= {padding}) * 1({a} < size({of}) + {padding}) * "
        for a, of in zip(letters, spatial, strict=True)
    )
    places = ",".join(f"{a}-{padding}" for a in letters)
    both = 2 * padding
    ranges = "".join(f"range {a}: size({of}) + {both}\n" for a, of in zip(letters, spatial, strict=True))
    return f"{ranges}xp[{own}] = {guards}x[n,c,{places}]\n"


def _convolution(axes: str, places: str, window: str, options: dict[str, int]) -> str:
    """The formula of a convolution over the places ("h w") with a window ("r s")."""
    stride, padding, dilation, groups = (options[o] for o in ("stride", "padding", "dilation", "groups"))
    source = "xp" if padding else "x"
    pairs = list(zip(places, window, strict=True))
    at = ",".join(f"{_times(stride, p)}+{_times(dilation, r)}" for p, r in pairs)
    channel = "c" if groups == 1 else f"({groups}*f // size(f)) * size(q) + q"
    own = "c" if groups == 1 else "q"
    declared = f"x: {axes}\n" + (f"range C: {groups} * size(q)\n" if groups > 1 else "")
    padded = _padded(axes, "uv"[: len(pairs)], padding) if padding else ""
    return (
        f"{declared}{padded}"
        f"out[n,f,{','.join(places)}] = "
        f"sum({own} {' '.join(window)}, {source}[n,{channel},{at}] * W[f,{own},{','.join(window)}]) + b[f]"
    )


@written
def conv1d(*, stride=1, padding=0, dilation=1, groups=1):
    """out_nfh = Σ_cr x_{n, c, s h + d r − p} W_fcr + b_f, s the stride, d the dilation, p the padding.

    x: (N, C, T). W: (F, C / groups, R). b: (F,). Zeros are read outside of x. With groups the channels and
    the filters are split evenly, and each filter sees its own group's channels.
    Source: https://pytorch.org/docs/stable/generated/torch.nn.Conv1d.html
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _convolution("N C T", "h", "r", options)


@written
def conv2d(*, stride=1, padding=0, dilation=1, groups=1):
    """out_nfhw = Σ_crs x_{n, c, s h + d r − p, s w + d s − p} W_fcrs + b_f.

    x: (N, C, Y, X). W: (F, C / groups, R, S). b: (F,). Options as in conv1d, the same along both axes.
    Source: https://cs231n.github.io/convolutional-networks/#conv
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return _convolution("N C Y X", "hw", "rs", options)


def _pooling(op: str, window: int, stride: int | None) -> str:
    step = window if stride is None else stride
    return f"""
        x: N C Y X
        range p: {window}
        range q: {window}
        out[n,c,h,w] = {op}(p q, x[n,c,{_times(step, "h")}+p,{_times(step, "w")}+q])
    """


@written
def max_pool(*, window=2, stride=None):
    """out_nchw = max over the window of x_{n, c, s h + p, s w + q}; the stride s is the window if not given.

    x: (N, C, Y, X). A tie shares the derivative evenly among the entries that attain the maximum.
    Source: https://cs231n.github.io/convolutional-networks/#pool
    """
    return _pooling("max", window, stride)


@written
def avg_pool(*, window=2, stride=None):
    """out_nchw = mean over the window of x_{n, c, s h + p, s w + q}; the stride s is the window if not given.

    x: (N, C, Y, X). Source: https://cs231n.github.io/convolutional-networks/#pool
    """
    return _pooling("mean", window, stride)


@forward
def global_max_pool(x: "N C H W"):
    """out_nc = max over all places of x_nchw. Source: https://arxiv.org/abs/1312.4400"""
    out = x.max(axis=(2, 3))
    return out


@forward
def global_avg_pool(x: "N C H W"):
    """out_nc = mean over all places of x_nchw. Source: https://arxiv.org/abs/1312.4400"""
    out = np.mean(x, axis=(2, 3))
    return out
