"""The forms in which a backward may come, and what is said of calls that misbehave."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import chalkgrad as cg
from chalkgrad.diagnose.report import CAUSES, junit
from chalkgrad.errors import ChalkgradError
from chalkgrad.layers import GALLERY
from chalkgrad.pytest_plugin import _assert_backward  # noqa: F401 (the fixture, however pytest is started)

AFFINE = GALLERY["affine"]


def right(dout: Any, x: Any, W: Any, b: Any) -> tuple[Any, ...]:
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


def cached(dout: Any, cache: Any) -> tuple[Any, ...]:
    return right(dout, *cache)


def mixed_names(dout: Any, b: Any, W: Any, x: Any) -> dict[str, Any]:
    return dict(zip(("dx", "dW", "db"), right(dout, x, W, b), strict=True))


def other_names(dout: Any, features: Any, weights: Any, bias: Any) -> list[Any]:
    return list(right(dout, features, weights, bias))


@pytest.mark.parametrize("backward", [right, cached, mixed_names, other_names])
def test_every_form_of_a_right_backward_is_right(backward: Callable[..., Any]) -> None:
    diagnosis = cg.check(backward, AFFINE)
    assert diagnosis.ok, str(diagnosis)
    assert diagnosis.faults == ()
    assert diagnosis.error is not None
    assert diagnosis.error < 1e-13


def test_the_users_own_forward_is_used_and_checked() -> None:
    def forward(x: Any, W: Any, b: Any) -> Any:
        return x @ W + b, {"inputs": (x, W)}

    def backward(dout: Any, cache: Any) -> Any:
        x, W = cache["inputs"]
        return dout @ W.T, x.T @ dout, dout.sum(0)

    assert cg.check(backward, AFFINE, forward=forward).ok
    wrong = cg.check(backward, AFFINE, forward=lambda x, W, b: (2 * (x @ W + b), {"inputs": (x, W)}))
    assert [f.cause for f in wrong.faults] == ["constant_factor"]
    assert "forward" in wrong.faults[0].evidence


@pytest.mark.parametrize(
    ("backward", "cause", "words"),
    [
        (lambda dout, cache: None, "shape", "None"),
        (lambda dout, cache: (dout,), "shape", "no gradient for W"),
        (lambda dout, cache: 1 / 0, "unknown", "ZeroDivisionError"),
        (lambda dout, cache: (*cached(dout, cache), dout), "shape", "returns 4"),
    ],
)
def test_unusable_results_have_a_report_of_their_own(
    backward: Callable[..., Any], cause: str, words: str
) -> None:
    diagnosis = cg.check(backward, AFFINE)
    assert cause in {f.cause for f in diagnosis.faults}
    assert words in " ".join(str(diagnosis).split())


def test_printing_is_a_note_and_does_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def chatty(dout: Any, cache: Any) -> Any:
        print("shape", dout.shape)
        return cached(dout, cache)

    diagnosis = cg.check(chatty, AFFINE)
    assert diagnosis.ok
    assert "prints" in diagnosis.notes[0]
    assert capsys.readouterr().out == ""


def test_a_call_that_hangs_is_ended() -> None:
    def hangs(dout: Any, cache: Any) -> Any:
        while True:
            time.sleep(0.001)

    diagnosis = cg.check(hangs, AFFINE, timeout=0.2)
    assert not diagnosis.ok
    assert "0.2 s" in diagnosis.faults[0].evidence


def test_changed_arguments_are_named_in_the_users_words() -> None:
    def in_place(upstream: Any, cache: Any) -> Any:
        result = cached(upstream.copy(), cache)
        upstream *= 0
        return result

    (fault,) = cg.check(in_place, AFFINE).faults
    assert fault.cause == "mutates_input"
    assert "upstream" in fault.evidence


def test_values_that_follow_from_a_changed_argument_are_explained_by_it() -> None:
    def stale(dout: Any, cache: Any) -> Any:
        dx = dout @ cache[1].T
        dout *= 0.25
        return dx, cache[0].T @ dout, dout.sum(0)

    causes = {(f.argument, f.cause) for f in cg.check(stale, AFFINE).faults}
    assert causes == {("W", "mutates_input"), ("b", "mutates_input")}


def test_random_gradients_are_not_taken_for_a_formula() -> None:
    counter = itertools.count()

    def unsteady(dout: Any, cache: Any) -> Any:
        dx, dW, db = cached(dout, cache)
        return dx, dW + next(counter), db

    assert [f.cause for f in cg.check(unsteady, AFFINE).faults] == ["nondeterministic"]


def test_right_code_in_single_precision_is_not_accused() -> None:
    for name in ("affine", "batch_norm", "softmax_loss", "layer_norm", "tanh"):
        layer = GALLERY[name]
        ops = layer.compile("numpy")

        def backward(dout: Any, *inputs: Any, ops: Any = ops) -> Any:
            few = [np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else a for a in inputs]
            _, cache = ops.forward(*few)
            return ops.backward(np.float32(dout), cache)

        diagnosis = cg.check(backward, layer)
        assert diagnosis.ok, str(diagnosis)


@pytest.mark.parametrize("name", ["affine", "batch_norm", "softmax_loss", "layer_norm", "tanh"])
def test_a_fault_of_one_percent_in_single_precision_is_not_excused(name: str) -> None:
    layer = GALLERY[name]
    ops = layer.compile("numpy")

    def backward(dout: Any, *inputs: Any) -> Any:
        few = [np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else a for a in inputs]
        _, cache = ops.forward(*few)
        first, *rest = ops.backward(np.float32(dout), cache)
        return (first * np.float32(1.01), *rest)

    diagnosis = cg.check(backward, layer)
    assert not diagnosis.ok
    assert diagnosis.faults[0].cause == "constant_factor"


def test_the_report_fits_a_terminal_and_reads_back_as_json_and_junit() -> None:
    diagnosis = cg.check(lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout), AFFINE, name="mine")
    assert max(map(len, str(diagnosis).splitlines())) <= 80
    data = json.loads(diagnosis.to_json())
    assert data["faults"][0]["cause"] == "missing_sum"
    suite = ET.fromstring(junit([diagnosis]))
    assert suite.attrib["failures"] == "1"
    assert suite[0][0].attrib["type"] == "missing_sum"


def test_what_is_no_layer_or_no_function_is_refused() -> None:
    with pytest.raises(ChalkgradError, match="needs a function"):
        cg.check(3, AFFINE)
    with pytest.raises(ChalkgradError, match="needs a layer"):
        cg.check(right, "affine")  # type: ignore[arg-type]


def test_the_fixture_fails_with_the_report(assert_backward: Callable[..., Any]) -> None:
    assert assert_backward(right, AFFINE).ok
    with pytest.raises(AssertionError, match="missing_sum"):
        assert_backward(lambda dout, x, W, b: (dout @ W.T, x.T @ dout, dout), AFFINE)


def test_the_causes_are_the_public_ones() -> None:
    assert len(CAUSES) == 22


def strided(x: Any, w: Any, b: Any, conv_param: Any) -> Any:
    s, p = conv_param["stride"], conv_param["pad"]
    xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    r, c = w.shape[2:]
    views = np.lib.stride_tricks.sliding_window_view(xp, (r, c), axis=(2, 3))[:, :, ::s, ::s]
    return np.einsum("nchwrs,fcrs->nfhw", views, w) + b[:, None, None], (x, w, b, s, p)


def strided_backward(dout: Any, cache: Any, *, crop: bool = True) -> Any:
    x, w, _, s, p = cache
    xp = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    r, c = w.shape[2:]
    dxp, dw = np.zeros_like(xp), np.zeros_like(w)
    for i, j in np.ndindex(*dout.shape[2:]):
        at = np.s_[:, :, i * s : i * s + r, j * s : j * s + c]
        dw += np.einsum("nf,ncrs->fcrs", dout[:, :, i, j], xp[at])
        dxp[at] += np.einsum("nf,fcrs->ncrs", dout[:, :, i, j], w)
    whole = dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]] if crop else dxp
    return whole, dw, dout.sum((0, 2, 3))


def test_settings_that_the_code_reads_are_tried_at_other_values() -> None:
    conv = GALLERY["conv2d"]
    assert cg.check(strided_backward, conv, forward=strided).ok
    kept = cg.check(lambda d, c: strided_backward(d, c, crop=False), conv, forward=strided)
    assert {f.argument for f in kept.faults} == {"x"}
    assert kept.faults[0].evidence.startswith("with stride = 2 and padding = 1: ")
    assert "with stride = 1 and padding = 0 it is right" in kept.notes


def test_a_layers_own_options_reach_the_users_forward() -> None:
    conv = GALLERY["conv2d"].with_options(stride=2, padding=1)
    assert cg.check(strided_backward, conv, forward=strided).ok


def test_settings_are_there_to_be_written_into() -> None:
    def forward(x: Any, w: Any, b: Any, bn_param: Any) -> Any:
        bn_param["running_mean"] = x.mean(0)
        return x @ w + b, (x, w, b)

    assert cg.check(cached, AFFINE, forward=forward).ok
    changes = cg.check(
        cached, AFFINE, forward=lambda x, w, b: (x.__imul__(1.5) @ w / 1.5 + b, (x / 1.5, w, b))
    )
    assert "your forward changes x in place" in changes.faults[0].evidence


def test_arguments_and_gradients_may_have_an_order_of_their_own() -> None:
    embedding = GALLERY["embedding"]

    def backward(dout: Any, cache: Any) -> Any:
        tokens, shape = cache
        dW = np.zeros(shape)
        np.add.at(dW, tokens, dout)
        return None, dW

    assert cg.check(backward, embedding, forward=lambda tokens, W: (W[tokens], (tokens, W.shape))).ok
    assert cg.check(lambda dout, W, x, b: (x.T @ dout, dout @ W.T, dout.sum(0)), AFFINE).ok
    assert cg.check(lambda dout, W, x, b: (dout @ W.T, x.T @ dout, dout.sum(0)), AFFINE).ok


def test_the_derivative_of_an_elementwise_layer_is_one_at_each_entry() -> None:
    assert cg.check(lambda x: 1.0 * (x > 0), GALLERY["relu"]).ok
    (fault,) = cg.check(lambda x: 1 - np.tanh(x), GALLERY["tanh"]).faults
    assert fault.argument == "x"


def test_emitted_code_of_every_layer_is_right() -> None:
    for name in (
        "bilinear",
        "dropout",
        "elu",
        "softmax",
        "svm_loss",
        "huber",
        "attention",
        "global_max_pool",
    ):
        layer = GALLERY[name]
        ops = layer.compile("numpy")
        diagnosis = cg.check(ops.raw_backward, layer, forward=ops.raw_forward)
        assert diagnosis.ok, str(diagnosis)
