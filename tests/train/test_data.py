"""Reading tables and data sets: what is read, and one clear error for everything else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from chalkgrad.errors import DataError, MissingExtraError, ShapeError
from chalkgrad.train.data import Dataset, Standardiser, check_alike, load_csv, load_digits

GOOD = "age,income,label\n30,1.5,yes\n41,-2e3,no\n25,0,yes\n"


def write(folder: Path, text: str | bytes, name: str = "people.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes, target: str = "label", **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load_csv(write(folder, text), target, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_good_file(tmp_path: Path) -> None:
    data = load_csv(write(tmp_path, GOOD), "label")
    assert data.features == ("age", "income")
    assert data.classes == ("no", "yes")
    assert data.name == "people"
    np.testing.assert_array_equal(data.x, [[30, 1.5], [41, -2000], [25, 0]])
    np.testing.assert_array_equal(data.y, [1, 0, 1])


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace(",", "|"),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(",", " , "),
        "\n" + GOOD.replace("\n41", "\n\n41") + "\n\n",
        '"age","income","label"\n"30","1.5","yes"\n41,-2e3,"no"\n25,0,yes',
    ],
    ids=["bom", "semicolon", "tab", "bar", "crlf", "spaces", "blank lines", "quoted"],
)
def test_ways_to_write_the_same_table(tmp_path: Path, text: str) -> None:
    expected = load_csv(write(tmp_path, GOOD, "good.csv"), "label")
    data = load_csv(write(tmp_path, text), "label")
    assert (data.features, data.classes) == (expected.features, expected.classes)
    np.testing.assert_array_equal(data.x, expected.x)
    np.testing.assert_array_equal(data.y, expected.y)


def test_quoted_cells_may_hold_delimiters_and_newlines(tmp_path: Path) -> None:
    text = '"a, b",label\n1,"x, ""y"""\n2,"two\nlines"\n'
    data = load_csv(write(tmp_path, text), "label")
    assert data.features == ("a, b",)
    assert data.classes == ("two\nlines", 'x, "y"')


def test_whole_labels_keep_all_their_digits(tmp_path: Path) -> None:
    names = [str(2**53 + n) for n in (3, 0, 2, 1)] + ["9007199254740999.0", "1e20", "100000000000000000001"]
    data = load_csv(write(tmp_path, "a,label\n" + "".join(f"0,{n}\n" for n in names)), "label")
    assert data.classes == (
        "9007199254740992", "9007199254740993", "9007199254740994", "9007199254740995",
        "9007199254740999", "100000000000000000000", "100000000000000000001",
    )  # fmt: skip
    assert data.y.tolist() == [3, 0, 2, 1, 4, 5, 6]


@pytest.mark.parametrize(
    ("trained", "tested", "expected"),
    [
        ("01 02 3A", "01 02", "01 02"),
        ("1 1.0 x", "1.0 1.0", "1.0 1.0"),
        ("1 2", "01 2.0", "1 2"),
        ("1 2 3", "1.0 x", "no class 'x'"),
        ("01 x", "1 x", "no class '1'"),
    ],
)
def test_labels_mean_the_same_in_every_file(tmp_path: Path, trained: str, tested: str, expected: str) -> None:
    """However the others in a file are spelt: a model's classes are as its own file had them."""
    text = ("a,label\n" + "".join(f"0,{label}\n" for label in labels.split()) for labels in (trained, tested))
    first, second = (write(tmp_path, t, f"{n}.csv") for n, t in enumerate(text))
    classes = load_csv(first, "label").classes
    if expected.startswith("no class"):
        with pytest.raises(DataError, match=expected):
            load_csv(second, "label", classes=classes)
    else:
        data = load_csv(second, "label", classes=classes)
        assert [data.classes[k] for k in data.y] == expected.split()


def test_numeric_labels_sort_by_value_and_spell_alike(tmp_path: Path) -> None:
    data = load_csv(write(tmp_path, "a,label\n0,10\n0,9\n0,9.0\n0,010\n"), "label")
    assert data.classes == ("9", "10")
    np.testing.assert_array_equal(data.y, [1, 0, 0, 1])


def test_the_target_may_stand_anywhere_and_columns_may_be_left_out(tmp_path: Path) -> None:
    text = "id,label,a\nx1,p,1\nx2,q,2\n"
    data = load_csv(write(tmp_path, text), "label", ignore=["id"])
    assert data.features == ("a",)


def test_classes_of_a_model_keep_their_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "a,label\n1,q\n2,q\n")
    assert load_csv(path, "label", classes=("p", "q")).y.tolist() == [1, 1]
    with pytest.raises(DataError, match="line 2, column 'label': the model has no class 'q'"):
        load_csv(path, "label", classes=("r", "s"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        (" \n \n", "is empty"),
        ("\ufeff", "is empty"),
        ("a,b,label\n", "no rows"),
        ("1,2,3\n4,5,6\n", "holds numbers (1, 2, 3)"),
        ("a,a,label\n1,2,x\n", "'a' occurs 2 times (columns 1, 2)"),
        ("a,,label\n1,2,x\n", "column 2 has no name"),
        ("a,label\n1,x\n1,2,y\n", "line 3: the row has 3 cells, the header has 2"),
        ("a,label\n1,x\n1\n", "line 3: the row has 1 cells, the header has 2"),
        ("a,city,label\n1,2,x\n1,Rome,y\n", "line 3, column 'city': 'Rome' is text"),
        ("a,label\n1_0,x\n2,y\n", "line 2, column 'a': '1_0' is text"),
        ("a;label\n1,5;x\n2;y\n", "'1,5' has a decimal comma"),
        ("a,label\nnan,x\n2,y\n", "line 2, column 'a': the value is missing ('nan')"),
        ("a,label\n1,x\n,y\n", "line 3, column 'a': the value is missing (blank)"),
        ("a,label\n1,x\n\n?,y\n", "line 4, column 'a': the value is missing ('?')"),
        ("a,label\n1,x\n-inf,y\n", "line 3, column 'a': -inf is not a finite number"),
        ("a,label\n1,x\n1e999,y\n", "line 3, column 'a': 1e999 is not a finite number"),
        ("a,label\n1,x\n2,\n", "line 3, column 'label': the label is missing"),
        ("a,label\n1,x\n2,x\n", "only one class, 'x'"),
        ("label\nx\ny\n", "no feature column"),
        ('a,label\n1,"x\n2,y\n', "quote"),
        (b"a,label\n\xff\xfe,x\n", "not UTF-8"),
    ],
)
def test_bad_files_are_refused_by_place(tmp_path: Path, text: str | bytes, says: str) -> None:
    message = refusal(tmp_path, text)
    assert says in message
    assert "people.csv" in message


def test_a_quantity_is_not_a_class(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i / 7:.5f}\n" for i in range(50))
    assert "looks like a measurement" in refusal(tmp_path, "a,label\n" + rows)


def test_a_missing_target_lists_the_columns_and_the_nearest(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD, "labl")
    assert "no column 'labl'" in message
    assert "Did you mean 'label'?" in message
    assert "age, income, label" in message


def test_an_unknown_ignored_column_is_refused(tmp_path: Path) -> None:
    assert "no column 'agee'" in refusal(tmp_path, GOOD, "label", ignore=["agee"])


def test_the_target_cannot_be_ignored(tmp_path: Path) -> None:
    assert "is the target" in refusal(tmp_path, GOOD, "label", ignore=["label"])


def test_values_whose_squares_overflow_are_refused_by_name() -> None:
    x = np.array([[1.0, 2.0], [1e200, 3.0], [-1e200, 4.0]])
    with pytest.raises(DataError, match=r"'income' holds values up to 1e\+200"):
        Standardiser.fit(x, ("income", "age"))


def test_missing_files_and_folders(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "train.csv")
    with pytest.raises(DataError, match=r"There is no file .*trian.csv. Did you mean 'train.csv'"):
        load_csv(tmp_path / "trian.csv", "label")
    with pytest.raises(DataError, match="is a folder"):
        load_csv(tmp_path, "label")


def test_digits() -> None:
    data = load_digits()
    assert data.x.shape == (1797, 64)
    assert data.x.min() == 0
    assert data.x.max() == 1
    assert data.classes == tuple("0123456789")
    assert np.bincount(data.y).min() > 170


def test_digits_are_those_that_scikit_learn_gives() -> None:
    bunch = pytest.importorskip("sklearn.datasets").load_digits()
    found = load_digits()
    assert (found.x == bunch.data / 16.0).all()
    assert (found.y == bunch.target).all()
    assert found.y.dtype == np.int64


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalkgrad.train.data.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'chalkgrad\[train\]'"):
        load_digits()


def tiny(x: object = ((1.0, 2.0), (3.0, 5.0)), y: object = (0, 1)) -> Dataset:
    return Dataset(np.array(x), np.array(y), ("no", "yes"), ("a", "b"))


def test_data_sets_check_their_values() -> None:
    with pytest.raises(DataError, match="Row 1, feature 'a' is nan"):
        tiny(x=((1.0, 2.0), (np.nan, 5.0)))
    with pytest.raises(DataError, match="label 2 in row 1 is out of range: there are 2 classes"):
        tiny(y=(0, 2))
    with pytest.raises(DataError, match="label -1 in row 0"):
        tiny(y=(-1, 1))
    with pytest.raises(DataError, match="must be integers"):
        tiny(y=(0.0, 1.0))
    with pytest.raises(ShapeError):
        tiny(y=(0, 1, 1))
    with pytest.raises(ShapeError):
        Dataset(np.zeros((1, 3)), np.array([0]), ("no", "yes"), ("a", "b"))


def test_standardising() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(5, 3, (200, 4))
    x[:, 2] = 0.1
    scaled = Standardiser.fit(x).apply(x)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0)[[0, 1, 3]], 1)
    np.testing.assert_allclose(scaled[:, 2], 0, atol=1e-12)


def test_standardising_twice_or_differently_is_refused() -> None:
    data = tiny()
    by, other = Standardiser.fit(data.x), Standardiser.fit(data.x + 1)
    with pytest.raises(DataError, match="already"):
        data.standardised(by).standardised(by)
    with pytest.raises(DataError, match="not scaled in the same way"):
        check_alike(data.standardised(by), data.standardised(other))
