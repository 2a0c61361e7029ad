"""scikit-learn's own tests of its networks, run on ours: its module is loaded a second time, and the names
of the estimators in it are given to ours."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("chalkgrad.sklearn")

from chalkgrad import sklearn as ours

SPEC = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
if SPEC is None or SPEC.loader is None:
    pytest.skip("scikit-learn was installed without its tests", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("default")

UPSTREAM = importlib.util.module_from_spec(SPEC)
sys.modules["chalkgrad_upstream_test_mlp"] = UPSTREAM
SPEC.loader.exec_module(UPSTREAM)
vars(UPSTREAM).update(MLPClassifier=ours.MLPClassifier, MLPRegressor=ours.MLPRegressor)

LEFT_OUT: dict[str, str] = {}
"""Tests that look at what is not behaviour, and why."""


def _tests() -> dict[str, Any]:
    found = {name: f for name, f in vars(UPSTREAM).items() if name.startswith("test_")}
    return {name: f for name, f in found.items() if name not in LEFT_OUT}


globals().update(_tests())


@pytest.fixture
def global_random_seed() -> int:
    """scikit-learn's own fixture, which its conftest.py gives."""
    return 42


def test_the_tests_were_found() -> None:
    assert len(_tests()) > 25
