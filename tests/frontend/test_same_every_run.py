"""The same formula gives the same text and code in every run: nothing hangs on the order of a set."""

from __future__ import annotations

import os
import subprocess
import sys

import chalkgrad as cg

PROGRAM = """
import numpy as np
import chalkgrad as cg

def heads(x: "B T E", W: "E F"):
    B, T, _ = x.shape
    return np.tanh((x @ W).reshape(B, T, 2, -1).transpose(0, 2, 1, 3))

def shuffled(x: "N C H"):
    N, C, H = x.shape
    return (x.reshape(N, 3, -1, H).transpose(0, 2, 1, 3) ** 2).reshape(N, C, H)

def patches(x: "H W", k: "P Q"):
    H, W = x.shape
    return (x.reshape(H // 2, 2, W // 3, 3) ** 2).sum(axis=(1, 3)) + k.sum()

def flat(x: "N C H W", A: "N D"):
    return x.reshape(x.shape[0], -1).sum(axis=1)[:, None] * A

layers = [cg.layer(f) for f in (heads, shuffled, patches, flat)]
layers += [cg.formula(text) for text in (
    "out[n,f,t] = sum(c r, x[n,c,2*t+r] * W[f,c,r])",
    "L = sum(i, log(sum(k, exp(a[i,k]))) + log(sum(j, exp(b[i,j]))))",
    "r[i] = sqrt((x[i+1] - x[i+0])^2 + 1); L = sum(i, r[i])",
)]
for layer in layers:
    print(layer.program.sizes, layer.program.equal_sizes)
    print(layer.derive().to_text())
    print(layer.source("numpy"), layer.source("torch"), layer.source("jax"))
"""


def test_text_and_code_are_the_same_in_every_run(tmp_path):
    """An own process with its own hash seed: objects hash by address too, and addresses differ as well."""
    script = tmp_path / "program.py"  # a traced function is read from its file
    script.write_text(PROGRAM, encoding="utf-8")
    printed = []
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"}
        command = [sys.executable, str(script)]
        printed.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout)
    assert printed[0] == printed[1] == printed[2]


def test_a_part_of_an_axis_is_named_after_it():
    """F was split into heads, not B or T, which the length that is left is divided by."""

    def heads(x: "B T F"):
        B, T, _ = x.shape
        return x.reshape(B, T, 2, -1) ** 2

    ((part, _),) = cg.layer(heads).program.sizes
    assert part.name == "F2"
