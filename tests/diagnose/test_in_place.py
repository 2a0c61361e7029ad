"""A backward that writes into its caller's arrays: the line is named, and the change that mends it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

import chalkgrad as cg
from chalkgrad.layers import GALLERY

CASES = {
    "alias": ("dx = dout\ndx[x <= 0] = 0\nreturn dx", "dx = dout", "dx = dout.copy()"),
    "view": ("dx = dout.reshape(-1)\ndx[x.ravel() <= 0] = 0\nreturn dx.reshape(x.shape)",
             "dx = dout.reshape(-1)", "dx = dout.reshape(-1).copy()"),
    "itself": ("dout[x <= 0] = 0\nreturn dout", "dout[x <= 0] = 0", "dout = dout.copy()\ndout[x <= 0] = 0"),
    "augmented": ("dx = dout\ndx *= x > 0\nreturn dx", "dx *= x > 0", "dx = dx * (x > 0)"),
    "out": ("np.multiply(dout, x > 0, out=dout)\nreturn dout", "np.multiply(dout, x > 0, out=dout)",
            "dout = dout.copy()\nnp.multiply(dout, x > 0, out=dout)"),
    "in a branch": ("dx = dout\nif x.size:\n    dx[x <= 0] = 0\nreturn dx", "dx = dout", "dx = dout.copy()"),
}  # fmt: skip


def function(body: str, path: Path) -> Any:
    text = f"import numpy as np\n\ndef relu_backward(dout, x):\n{textwrap.indent(body, '    ')}\n"
    path.write_text(text, encoding="utf-8")
    seen: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), seen)
    return seen["relu_backward"]


@pytest.mark.parametrize("case", CASES)
def test_the_line_that_writes_is_named_and_mended(case: str, tmp_path: Path) -> None:
    body, yours, fix = CASES[case]
    (fault,) = cg.check(function(body, tmp_path / "own.py"), GALLERY["relu"]).faults
    assert (fault.cause, fault.yours, fault.fix) == ("mutates_input", yours, fix)
    assert "dout holds other values than before: line" in fault.evidence
    mended = cg.check(function(body.replace(yours, fix), tmp_path / "mended.py"), GALLERY["relu"])
    assert mended.ok, str(mended)


def test_what_is_written_into_a_cache_is_named(tmp_path: Path) -> None:
    body = "x[x <= 0] = 0\nx[x > 0] = 1\nreturn dout * x"
    (fault,) = cg.check(function(body, tmp_path / "own.py"), GALLERY["relu"]).faults
    assert fault.fix == "x = x.copy()\nx[x <= 0] = 0"


def test_work_on_a_copy_is_not_named(tmp_path: Path) -> None:
    body = "dx = dout.copy()\ndx[x <= 0] = 0\nx *= 1.5\nreturn dx"
    (fault,) = cg.check(function(body, tmp_path / "own.py"), GALLERY["relu"]).faults
    assert (fault.yours, fault.fix) == ("x *= 1.5", "x = x * 1.5")


def test_a_tensor_is_cloned() -> None:
    torch = pytest.importorskip("torch")

    class InPlace(torch.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            grad_output[x < 0] = 0
            return grad_output

    (fault,) = cg.check(InPlace, GALLERY["relu"]).faults
    assert fault.fix == "grad_output = grad_output.clone()\ngrad_output[x < 0] = 0"
