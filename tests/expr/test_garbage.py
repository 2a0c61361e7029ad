"""The collector is held while nodes are made, and runs again behind that, whatever happens."""

from __future__ import annotations

import gc

import pytest

from chalkgrad.expr.garbage import collector_held


def test_it_runs_again_behind_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        _raises()
    assert gc.isenabled()


@collector_held()
def _raises() -> None:
    assert not gc.isenabled()
    raise ZeroDivisionError


def test_who_has_switched_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with collector_held(), collector_held():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
