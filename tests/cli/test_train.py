"""Training from the command line: a model on disk, or one clear error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("sklearn")
pytest.importorskip("safetensors")

from chalkgrad.cli import main
from chalkgrad.train.checkpoint import has_checkpoint, load_checkpoint
from chalkgrad.train.model import Model

ROWS = 60


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["train", *(str(arg) for arg in args)])


def refused(*args: object) -> str:
    done = run(*args)
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 8
    return done.stderr


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Two classes that a line separates."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, 2))
    lines = [f"{a:.4f},{b:.4f},{'high' if a + b > 0 else 'low'}" for a, b in x]
    path = tmp_path / "data.csv"
    path.write_text("\n".join(["a,b,label", *lines]) + "\n")
    return path


def test_a_csv_file_trains_to_a_model_that_predicts(csv: Path, tmp_path: Path) -> None:
    done = run(
        csv, "--target", "label", "--hidden", "8", "--epochs", 60, "--lr", 0.02, "-o", tmp_path / "model"
    )
    assert done.exit_code == 0, done.stderr
    assert "held-out rows" in done.stdout
    assert "Traceback" not in done.stderr
    model = Model.load(tmp_path / "model")
    assert model.predict(np.array([[2.0, 2.0], [-2.0, -2.0]])) == ["high", "low"]


def test_equal_seeds_give_equal_bits_and_resuming_changes_nothing(csv: Path, tmp_path: Path) -> None:
    common = (csv, "--target", "label", "--hidden", "4", "--seed", 3)
    assert run(*common, "--epochs", 4, "-o", tmp_path / "whole").exit_code == 0
    assert run(*common, "--epochs", 2, "-o", tmp_path / "parts").exit_code == 0
    resumed = run(*common, "--epochs", 4, "-o", tmp_path / "parts", "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    whole, parts = load_checkpoint(tmp_path / "whole")[0], load_checkpoint(tmp_path / "parts")[0]
    assert whole.keys() == parts.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], parts[name])


def test_a_clipped_run_says_so_in_its_checkpoint_and_differs(csv: Path, tmp_path: Path) -> None:
    common = (csv, "--target", "label", "--hidden", "4", "--epochs", 3)
    for name, bound in (("free", ()), ("clipped", ("--clip-norm", 0.01, "--clip-value", 0.005))):
        assert run(*common, *bound, "-o", tmp_path / name).exit_code == 0
    (free, _), (clipped, record) = (load_checkpoint(tmp_path / name) for name in ("free", "clipped"))
    assert (free["W1"] != clipped["W1"]).any()
    constants = record["training"]["settings"]["optimiser"]["constants"]
    assert (constants["clip_norm"], constants["clip_value"]) == (0.01, 0.005)
    assert "clip_norm" in refused(*common, "-o", tmp_path / "clipped", "--resume")


def test_a_model_is_not_overwritten_unasked(csv: Path, tmp_path: Path) -> None:
    common = (csv, "--target", "label", "--hidden", "4", "--epochs", 1, "-o", tmp_path / "model")
    assert run(*common).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert "holds a model already" in refused(*common)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert run(*common, "--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "it has a, b, label"),
        (("--target", "lable"), "Did you mean 'label'?"),
        (("--target", "label", "--hidden", "8,x"), "^"),
        (("--target", "label", "--hidden", "0"), "not a number of units"),
        (("--target", "label", "--activation", "rleu"), "Did you mean 'relu'?"),
        (("--target", "label", "--optimiser", "adm"), "Did you mean 'adam'?"),
        (("--target", "label", "--epochs", 0), "epochs"),
        (("--target", "label", "--seed", -1), "--seed"),
        (("--target", "label", "--ignore", "label"), "is the target"),
        (("--target", "label", "--hidden", 10**12), "parameters"),
        (("--target", "label", "--lr", -1), "learning rate"),
        (("--target", "label", "--clip-norm", 0), "clip_norm is 0.0; it must be a positive number"),
        (("--target", "label", "--clip-norm", "nan"), "must be a positive number"),
        (("--target", "label", "--clip-norm", "much"), "--clip-norm"),
        (("--target", "label", "--clip-value", -1), "clip_value is -1.0"),
        (("--target", "label", "--matmul-precision", "bfloat"), "Did you mean 'bfloat16'?"),
        (("--target", "label", "--validation", 0.6, "--test", 0.6), "fractions"),
        (("--target", "label", "--resume"), "-o"),
    ],
)
def test_unusable_settings_are_one_clear_error(csv: Path, args: tuple[object, ...], said: str) -> None:
    assert said in refused(csv, *args)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b,label\n1,red,x\n2,blue,y\n", "column 'b'"),
        ("a,b,label\n1,2,x\n1,nan,y\n", "line 3"),
        ("", "empty"),
        ("a,b,label\n", "row"),
    ],
)
def test_unusable_data_are_one_clear_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    assert said in refused(tmp_path / "bad.csv", "--target", "label", "-o", tmp_path / "model")


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    assert "no.csv" in refused(tmp_path / "no.csv", "--target", "label")


def test_an_unwritable_folder_is_found_before_the_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(
        tmp_path / "no.csv", "--target", "label", "-o", tmp_path / "file" / "m"
    )


def test_a_misspelt_digits_is_asked_about() -> None:
    assert "There is no file digts. Did you mean 'digits'?" in refused("digts")


def test_digits_takes_no_target() -> None:
    assert "digits has its own labels" in refused("digits", "--target", "label")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_leaves_the_last_checkpoint(csv: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    command = [sys.executable, "-m", "chalkgrad", "train", csv, "--target", "label", "--hidden", "8"]
    process = subprocess.Popen(
        [*command, "--epochs", "1000000", "-o", model],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not has_checkpoint(model) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "--resume continues it" in errors
    assert Model.load(model).classes == ("high", "low")
    epochs = load_checkpoint(model)[1]["training"]["history"]["epochs"]
    assert len(epochs) >= 1
