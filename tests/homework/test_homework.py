"""Solutions and typical mistakes of CS231n's second assignment: each file's header says what is wrong.

# layer: affine
# faults: b:missing_sum            argument:cause, "-" for the whole call, | where two names fit
# fix: db = dout.sum(axis=0)       a line that the report gives, where the header has one
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import chalkgrad as cg
from chalkgrad.cli.check_code import pairs_in
from chalkgrad.diagnose.report import CAUSES
from tests.advice_taken import advice_taken

FILES = sorted(p for p in Path(__file__).parent.glob("*.py") if p.name.startswith(("right_", "wrong_")))


def header(path: Path, key: str) -> str:
    found = re.search(rf"^# {key}: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{path.name} has no header line '{key}'"
    return found[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_is_judged_right(path: Path) -> None:
    (pair,) = pairs_in(path, "", None)
    assert pair.layer.name == header(path, "layer")
    diagnosis = cg.check(pair.backward, pair.layer, forward=pair.forward)
    faults = header(path, "faults")
    if faults == "none":
        assert diagnosis.ok, str(diagnosis)
        return
    found = {(f.argument or "-", f.cause) for f in diagnosis.faults}
    for expected in faults.split():
        argument, causes = expected.split(":")
        assert set(causes.split("|")) <= set(CAUSES)
        assert found & {(argument, cause) for cause in causes.split("|")}, str(diagnosis)
    fix = re.search(r"^# fix: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert fix is None or fix[1] in [f.fix for f in diagnosis.faults], str(diagnosis)
    allowed = {a for a, _ in (e.split(":") for e in faults.split())}
    if "-" not in allowed and not path.stem.startswith("wrong_two_layer_net_relu"):
        assert {a for a, _ in found} <= allowed | {"t"}, f"accuses more than {faults}: {diagnosis}"


@pytest.mark.parametrize("path", [p for p in FILES if p.name.startswith("wrong_")], ids=lambda p: p.stem)
def test_what_should_be_is_right_where_it_is_written(path: Path, tmp_path: Path) -> None:
    """Each "yours" replaced by its "should be": no gradient is wrong for which the report had lines."""
    (pair,) = pairs_in(path, "", None)
    diagnosis = cg.check(pair.backward, pair.layer, forward=pair.forward)
    name = "" if isinstance(pair.backward, type) else pair.backward.__name__
    text, told = advice_taken(path.read_text(encoding="utf-8"), diagnosis.faults, name)
    if not told:
        return  # then nothing was promised
    taken = tmp_path / path.name
    taken.write_text(text, encoding="utf-8")
    (pair,) = pairs_in(taken, "", None)
    after = cg.check(pair.backward, pair.layer, forward=pair.forward)
    assert told.isdisjoint(f.argument for f in after.faults), f"{diagnosis}\n\n{text}\n\n{after}"
    assert None not in {f.argument for f in after.faults}, f"{diagnosis}\n\n{text}\n\n{after}"
