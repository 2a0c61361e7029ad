"""Compiled steps are kept in a folder of the test session, not in the user's."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "chalkgrad-cache"
    monkeypatch.setenv("CHALKGRAD_CACHE", str(folder))
