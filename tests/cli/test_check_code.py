"""`chalkgrad check FILE.py`: which functions are backwards, of which layer, and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from chalkgrad.cli import main
from chalkgrad.cli.check_code import documented, pairs_in

RELU = """
import numpy as np

def relu_forward(x):
    return np.maximum(0, x), x

def relu_backward(dout, x):
    return dout * (x > 0)
"""

DOCUMENTED = '''
import numpy as np

def gated_forward(x, w, scale=2.0):
    """A made-up layer.

    x: inputs of shape (N, D)
    w: weights (D,)
    """
    t = np.tanh(x * w)
    return scale * t, (x, w, t, scale)

def gated_backward(dout, cache):
    x, w, t, scale = cache
    da = scale * dout * (1 - t)
    return da * w, (da * x).sum(0)
'''


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def homework(tmp_path: Path) -> Path:
    path = tmp_path / "homework.py"
    path.write_text(RELU + DOCUMENTED, encoding="utf-8")
    return path


def test_every_pair_is_judged_and_the_status_says_whether_all_are_right(homework: Path) -> None:
    result = run("check", homework)
    assert result.exit_code == 1
    assert "✓ relu_backward   right" in result.stdout
    assert "✗ gated_backward" in result.stdout
    assert "1 right, 1 wrong." in result.stdout
    assert run("check", f"{homework}:relu_backward").exit_code == 0


def test_axes_are_read_from_a_docstring(homework: Path) -> None:
    (pair,) = [p for p in pairs_in(homework, "", None) if p.title == "gated_backward"]
    assert [str(t) for t in pair.layer.program.inputs] == ["x[N, D]", "w[D]"]
    faults = json.loads(run("check", f"{homework}:gated_backward", "--json").stdout)[0]["faults"]
    assert {(f["argument"], f["cause"]) for f in faults} == {("x", "missing_factor"), ("w", "missing_factor")}


def test_labels_are_whole_numbers() -> None:
    def forward(f: object, y: object, axis: int = 1) -> None:
        """Scores f (N, K) and the labels y, which are integers of shape (N,)."""

    found = documented(forward)
    assert found is not None
    assert [p.annotation for p in found.parameters.values()][:2] == ["N K", "N int"]


def test_what_cannot_be_traced_is_left_out_and_the_rest_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(RELU + DOCUMENTED.replace("scale * t, (", "np.sort(scale * t), ("), encoding="utf-8")
    result = run("check", path)
    assert "1 right, 0 wrong." in result.stdout
    assert "gated_backward is not checked: np.sort cannot be traced" in result.stderr


def test_junit_counts_what_is_wrong(homework: Path, tmp_path: Path) -> None:
    run("check", homework, "--junit", tmp_path / "report.xml")
    suite = ET.parse(tmp_path / "report.xml").getroot()
    suite = suite if suite.tag == "testsuite" else suite[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_a_forward_without_axes_is_left_out_with_the_ways_to_name_them(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(RELU + DOCUMENTED.replace("of shape (N, D)", "of any shape"), encoding="utf-8")
    result = run("check", path)
    assert result.exit_code == 0
    assert "gated_backward is not checked: No built-in layer is called 'gated'" in result.stderr
    alone = run("check", f"{path}:gated_backward")
    assert alone.exit_code == 2
    assert 'def gated_forward(x: "N D", ...)' in alone.stderr


def test_a_name_that_the_file_does_not_have(homework: Path) -> None:
    result = run("check", f"{homework}:rellu_backward")
    assert result.exit_code == 2
    assert "Did you mean 'relu_backward'?" in result.stderr


OWN = """
import numpy as np
print("loaded")

def mse(pred, target):
    return ((pred - target) ** 2).mean()

def smooth_forward(f: "N K", y: "N int"):
    N = len(f)
    p = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(N), y]).mean(), (p, y)

def smooth_backward(dout, cache):
    p, y = cache
    d = p.copy()
    d[np.arange(len(y)), y] -= 1
    return dout * d / len(y)

def rnn_forward(x, h):
    \"\"\"x of shape (N, T, D), h of shape (N, D)\"\"\"
    return np.tanh(x + h[:, None, :]), (x, h)

def rnn_backward(dout, cache):
    x, h = cache
    da = dout * (1 - np.tanh(x + h[:, None, :]) ** 2)
    return da, da.sum(1)
"""


def test_a_forward_of_ones_own_is_traced_with_the_names_that_it_sees(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN, encoding="utf-8")
    found = {p.title: p.layer for p in pairs_in(path, "", None)}
    assert list(found) == ["smooth_backward", "rnn_backward"]  # a loss alone is no backward
    assert [str(t) for t in found["rnn_backward"].program.inputs] == ["x[N, T, D]", "h[N, D]"]
    result = run("check", path, "--json")
    assert result.exit_code == 0
    assert [d["ok"] for d in json.loads(result.stdout)] == [True, True]
    assert "loaded" in result.stderr


UNCALLABLE = """
def tanh_backward(a, b, c, d, e):
    return a

def sigmoid_backward(a, b, c, d, e):
    return a
"""


def test_a_function_that_cannot_be_called_is_left_out_and_the_rest_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(RELU + UNCALLABLE, encoding="utf-8")
    result = run("check", path)
    assert result.exit_code == 0
    assert "1 right, 0 wrong." in result.stdout
    assert "tanh_backward is not checked: tanh_backward takes arguments that fit no known" in result.stderr
    assert run("check", f"{path}:tanh_backward").exit_code == 2
    path.write_text(UNCALLABLE, encoding="utf-8")
    assert run("check", path).exit_code == 2


LOSSES = """
import numpy as np

def mse_loss(pred, target):
    diff = pred - target
    return (diff ** 2).mean(), 2 * diff / diff.size

def cross_entropy(f, y):
    rows = np.arange(len(f))
    p = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    loss = -np.log(p[rows, y]).mean()
    p[rows, y] -= 1
    return loss, p

def mae(pred, target):
    return np.abs(pred - target).mean()

def hinge(message):
    print(message.title())
"""


def test_a_loss_is_found_by_its_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(LOSSES, encoding="utf-8")
    found = {d["name"]: d["ok"] for d in json.loads(run("check", path, "--json").stdout)}
    assert found == {"mse_loss": True, "cross_entropy": False}
