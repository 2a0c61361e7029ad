"""chalkgrad predict and evaluate: what a saved model says of other files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from chalkgrad.cli import main
from chalkgrad.train.model import Model


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def refused(*args: object) -> str:
    done = run(*args)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def rows(seed: int, count: int = 80) -> list[tuple[float, float, str]]:
    x = np.random.default_rng(seed).normal(size=(count, 2))
    return [(round(a, 4), round(b, 4), "high" if a + b > 0 else "low") for a, b in x]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model, and a file of other rows whose columns stand in another order."""
    path = tmp_path_factory.mktemp("model")
    (path / "train.csv").write_text("a,b,label\n" + "".join(f"{a},{b},{k}\n" for a, b, k in rows(0)))
    (path / "new.csv").write_text("id,b,label,a\n" + "".join(f"n,{b},{k},{a}\n" for a, b, k in rows(1)))
    settings = ("--hidden", 8, "--epochs", 60, "--lr", 0.02, "-o", path / "model")
    done = run("train", path / "train.csv", "--target", "label", *settings)
    assert done.exit_code == 0, done.stderr
    return path


def test_predictions_are_the_models_own_with_columns_found_by_name(folder: Path) -> None:
    done = run("predict", folder / "model", folder / "new.csv")
    assert done.exit_code == 0, done.stderr
    header, *answers = done.stdout.splitlines()
    assert header == "label"
    x = np.array([(a, b) for a, b, _ in rows(1)])
    assert answers == Model.load(folder / "model").predict(x)
    assert len(set(answers)) == 2


def test_probabilities_add_up_and_choose_the_class(folder: Path, tmp_path: Path) -> None:
    done = run("predict", folder / "model", folder / "new.csv", "--proba", "-o", tmp_path / "out.csv")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    with (tmp_path / "out.csv").open() as file:
        answers = list(csv.DictReader(file))
    assert len(answers) == 80
    for answer in answers:
        high, low = float(answer["p(high)"]), float(answer["p(low)"])
        assert high + low == pytest.approx(1, abs=1e-5)
        assert answer["label"] == ("high" if high > low else "low")


def test_the_evaluation_counts_what_prediction_says(folder: Path) -> None:
    done = run("evaluate", folder / "model", folder / "new.csv")
    assert done.exit_code == 0, done.stderr
    answers = run("predict", folder / "model", folder / "new.csv").stdout.splitlines()[1:]
    truth = [k for _, _, k in rows(1)]
    right = np.mean([one == other for one, other in zip(answers, truth, strict=True)])
    assert f"Accuracy on 80 rows: {right:.2%}; mean loss" in done.stdout
    found = sum(one == other == "high" for one, other in zip(answers, truth, strict=True))
    line = next(line.split() for line in done.stdout.splitlines() if line.startswith("high"))
    assert line[:2] == ["high", str(truth.count("high"))]
    assert line[2:4] == [f"{found / answers.count('high'):.3f}", f"{found / truth.count('high'):.3f}"]


def test_a_class_without_rows_has_no_share(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("a,b,label\n3,3,high\n2,2,high\n")
    done = run("evaluate", folder / "model", tmp_path / "one.csv")
    assert done.exit_code == 0, done.stderr
    assert next(line.split() for line in done.stdout.splitlines() if line.startswith("low"))[1:] == [
        "0", "–", "–", "–",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,label\n1,high\n", "lacks 1 of the 2 columns"),
        ("a,b,label\n1,x,high\n", "column 'b'"),
        ("a,b,label\n1,nan,high\n", "the value is missing"),
        ("", "is empty"),
    ],
)
@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_unusable_rows_are_one_clear_error(
    folder: Path, tmp_path: Path, verb: str, text: str, said: str
) -> None:
    (tmp_path / "bad.csv").write_text(text)
    assert said in refused(verb, folder / "model", tmp_path / "bad.csv")


def test_labels_and_models_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("a,b,label\n1,2,middling\n")
    assert "no class 'middling'" in refused("evaluate", folder / "model", tmp_path / "new.csv")
    (tmp_path / "new.csv").write_text("a,b\n1,2\n")
    assert "no column 'label'" in refused("evaluate", folder / "model", tmp_path / "new.csv")
    assert "There is no file" in refused("predict", tmp_path, tmp_path / "new.csv")
    assert "There is no file" in refused("predict", folder / "model", tmp_path / "none.csv")
    unwritable = tmp_path / "no" / "out.csv"
    assert "no directory" in refused("predict", folder / "model", tmp_path / "new.csv", "-o", unwritable)


def test_a_model_of_the_digits_is_told_which_columns_there_are(tmp_path: Path) -> None:
    model = tmp_path / "model"
    assert run("train", "digits", "--hidden", 4, "--epochs", 1, "-o", model).exit_code == 0
    for verb in ("predict", "evaluate"):
        told = refused(verb, model, "digits")
        assert "There is no file 'digits'" in told
        assert "only `chalkgrad train` knows" in told
    (tmp_path / "new.csv").write_text("a,b\n1,2\n")
    told = refused("evaluate", model, tmp_path / "new.csv")
    assert "holds the labels?" in told
    assert "it has a, b" in told
