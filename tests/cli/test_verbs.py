"""The verbs on right and on wrong input, through click's runner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chalkgrad.cli import main
from chalkgrad.layers import GALLERY

EXAMPLES = Path(__file__).parents[2] / "examples"
SLIP, CORRECTED = EXAMPLES / "cs231n_affine.chalk", EXAMPLES / "cs231n_affine_corrected.chalk"


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def refused(*args: object) -> str:
    """The error's text; checks that it is one short paragraph with status 2."""
    done = run(*args)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 8
    return done.stderr


# derive


def test_derive_prints_the_derivation_plainly_within_80_columns() -> None:
    done = run("derive", "affine", "--wrt", "W")
    assert done.exit_code == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "relative error" in done.stdout


def test_derive_takes_names_apart_and_together() -> None:
    assert (
        run("derive", "affine", "--wrt", "W,b").stdout == run("derive", "affine", "--wrt=W", "--wrt=b").stdout
    )


def test_derive_brief_is_shorter() -> None:
    full, brief = run("derive", "softmax_loss").stdout, run("derive", "softmax_loss", "--brief").stdout
    assert 0 < len(brief) < len(full)


def test_derive_without_verification_says_nothing_of_errors() -> None:
    assert "relative error" not in run("derive", "affine", "--no-verify").stdout


@pytest.mark.parametrize(("suffix", "sign"), [(".md", "$"), (".tex", r"\documentclass"), (".txt", "∂")])
def test_derive_writes_the_format_of_the_ending(tmp_path: Path, suffix: str, sign: str) -> None:
    path = tmp_path / f"affine{suffix}"
    done = run("derive", "affine", "-o", path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert sign in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("derive", "afine"), "Did you mean 'affine'?"),
        (("derive", "affine", "--wrt", "w"), "W"),
        (("derive", "y[i] = epx(x[i])"), "Did you mean 'exp'?"),
        (("derive", "L = sum(i, x[i] * W[j])"), "j"),
        (("derive", "y[i,k] = x[i]"), "k"),
        (("derive", "y[i] = (x[i]"), "^"),
        (("derive", "affine", "-o", "no/such/folder/a.md"), "no/such/folder"),
        (("derive", "affine", "-o", "a.pdf"), ".tex"),
        (("emit", "afine"), "Did you mean 'affine'?"),
        (("emit", "affine", "-o", "no/such/folder/a.py"), "no/such/folder"),
        (("emit", "affine", "--to", "fortran"), "numpy"),
        (("check", "no.chalk"), "no.chalk"),
        (("check", "homework.py"), "chalk"),
        (("chek", "no.chalk"), "Did you mean 'check'?"),
    ],
)
def test_unusable_input_is_one_clear_error(args: tuple[str, ...], said: str) -> None:
    assert said in refused(*args)


def test_an_index_with_two_ranges_points_at_both_uses() -> None:
    text = refused("derive", "x: N D\nW: N K\nf[i,k] = sum(d, x[i,d] * W[d,k])")
    assert sum(set(line.strip()) == {"^"} for line in text.splitlines()) == 2


def test_an_unwritable_output_is_found_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def worked(_target: str) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("chalkgrad.cli.targets.resolve", worked)
    refused("derive", "affine", "-o", "no/such/folder/a.md")


# emit


def test_emitted_code_runs_without_chalkgrad(tmp_path: Path) -> None:
    path = tmp_path / "affine_numpy.py"
    assert run("emit", "affine", "--to", "numpy", "-o", path).exit_code == 0
    use = (
        "import sys, numpy as np, affine_numpy as a\n"
        "x, W, b = np.ones((2, 3)), np.ones((3, 4)), np.ones(4)\n"
        "f, cache = a.affine_forward(x, W, b)\n"
        "dx, dW, db = a.affine_backward(np.ones((2, 4)), cache)\n"
        "assert (f == 4).all() and (dx == 4).all() and (dW == 2).all() and (db == 2).all()\n"
        "assert 'chalkgrad' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", use], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_emit_prints_the_code_without_a_file() -> None:
    assert "def softmax_loss_backward(" in run("emit", "softmax_loss").stdout


# check


def test_check_stops_at_the_slip_with_status_1() -> None:
    done = run("check", SLIP)
    assert done.exit_code == 1, done.output
    assert "x[i,d]" in done.stdout.replace(" ", "")


def test_check_passes_the_corrected_derivation() -> None:
    done = run("check", CORRECTED)
    assert done.exit_code == 0, done.output


def test_check_refuses_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.chalk").write_bytes(b"f[i] = \xff\n")
    assert "not UTF-8" in refused("check", tmp_path / "a.chalk")


def test_check_refuses_a_directory(tmp_path: Path) -> None:
    assert "Is a directory" in refused("check", tmp_path)


# layers


def test_layers_lists_every_layer_in_80_columns() -> None:
    done = run("layers")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    for name in GALLERY:
        assert any(line.startswith(f"{name} ") for line in lines)
    assert max(map(len, lines)) <= 80
