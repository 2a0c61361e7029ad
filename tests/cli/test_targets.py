"""What TARGET may be, and what is said when it is none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalkgrad import layers
from chalkgrad.cli.targets import resolve
from chalkgrad.errors import ChalkgradError
from chalkgrad.layers import ALIASES, GALLERY

AFFINE = 'def affine(x: "N D", W: "D K", b: "K"):\n    return x @ W + b\n'


def file(folder: Path, text: str) -> Path:
    path = folder / "layers.py"
    path.write_text(text)
    return path


def refused(target: str) -> str:
    """The whole text of the error that `target` gives."""
    with pytest.raises(ChalkgradError) as caught:
        resolve(target)
    return str(caught.value)


def test_a_word_is_a_built_in_layer() -> None:
    assert [t.name for t in resolve("affine").program.inputs] == ["x", "W", "b"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("poisson", "poisson_loss"), ("quantile", "quantile_loss"), ("triplet", "triplet_loss"),
        ("focal", "focal_loss"), ("rnn", "rnn_cell"), ("gru", "gru_cell"), ("LSTM", "lstm_cell"),
        ("elastic net", "elastic_net"), ("logistic regression", "logistic_regression"),
        ("log-determinant", "log_determinant"), ("TwoLayerNet", "two_layer_net"),
    ],
)  # fmt: skip
def test_a_layer_has_its_usual_names_too(word: str, name: str) -> None:
    assert resolve(word) is GALLERY[name]


def test_every_alias_names_a_layer_and_hides_none() -> None:
    assert set(ALIASES.values()) <= set(GALLERY)
    assert not set(ALIASES) & set(GALLERY)
    assert all(getattr(layers, alias) is GALLERY[name] for alias, name in ALIASES.items())


def test_a_word_that_is_no_layer_is_answered_with_the_nearest_of_all_names() -> None:
    assert "There is no built-in layer 'lstn'. Did you mean 'lstm'?" in refused("lstn")


def test_a_misspelt_layer_is_answered_with_the_nearest() -> None:
    assert "There is no built-in layer 'afine'. Did you mean 'affine'?" in refused("afine")


def test_text_with_operators_is_a_formula() -> None:
    assert [t.name for t in resolve("y[i] = 2 * x[i]").program.inputs] == ["x"]


def test_a_formula_may_divide_by_a_name_that_ends_in_py() -> None:
    assert "x" in [t.name for t in resolve("y[i] = x[i] / happy[i]").program.inputs]


def test_a_function_of_a_file_is_traced(tmp_path: Path) -> None:
    layer = resolve(f"{file(tmp_path, AFFINE)}:affine")
    assert [t.name for t in layer.program.inputs] == ["x", "W", "b"]


def test_a_layer_of_a_file_is_used_as_it_is(tmp_path: Path) -> None:
    path = file(tmp_path, f"import chalkgrad as cg\n@cg.layer\n{AFFINE}")
    assert [t.name for t in resolve(f"{path}:affine").program.inputs] == ["x", "W", "b"]


def test_a_file_may_import_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_layers.py").write_text(AFFINE)
    path = file(tmp_path, "from neighbour_of_layers import affine\n")
    assert resolve(f"{path}:affine").program.inputs


def test_a_misspelt_function_is_answered_with_the_nearest(tmp_path: Path) -> None:
    text = refused(f"{file(tmp_path, AFFINE)}:afine")
    assert "There is no 'afine' in" in text
    assert "Did you mean 'affine'?" in text


def test_a_file_without_a_name_lists_its_functions(tmp_path: Path) -> None:
    assert "It defines affine." in refused(str(file(tmp_path, AFFINE)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert f"There is no file '{tmp_path / 'no.py'}'." in refused(f"{tmp_path / 'no.py'}:f")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n1 / 0\n", "line 2, raised ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "line 2, raised SystemExit: 3"),
        ("import no_such_module_anywhere\n", "raised ModuleNotFoundError"),
        ("def f(x:\n", "is not Python"),
        ("def f(x)\n    return x\n", "line 1, is not Python: expected ':'"),
    ],
)
def test_a_file_that_cannot_be_executed_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(f"{file(tmp_path, text)}:f")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('def f(x: "N"):\n    return undefined + x\n', "line 2, raised NameError: name 'undefined'"),
        ('def f(x: "N"):\n    return {}["a"]\n', "line 2, raised KeyError: 'a'"),
        ('import chalkgrad as cg\n@cg.layer\ndef f(x: "N"):\n    return x.q.z\n', "attribute .q"),
    ],
)
def test_a_function_that_fails_by_itself_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(f"{file(tmp_path, text)}:f")


def test_a_binary_file_is_not_python(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_bytes(b"\0\0")
    said = refused(f"{tmp_path / 'layers.py'}:f")
    assert "layers.py is not Python" in said or ", line 1, is not Python" in said


def test_something_else_than_a_function_is_refused_by_its_type(tmp_path: Path) -> None:
    assert "is of type int, not a layer or a function" in refused(f"{file(tmp_path, 'f = 3')}:f")


def test_a_derivation_is_sent_to_check() -> None:
    assert "chalkgrad check notes.chalk" in refused("notes.chalk")
