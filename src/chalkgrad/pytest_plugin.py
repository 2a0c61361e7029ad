"""The pytest plugin: a fixture `assert_backward`. Loads chalkgrad when a test asks for it, not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(name="assert_backward")
def _assert_backward() -> Callable[..., Any]:
    """`chalkgrad.testing.assert_backward`: fails with the report unless a backward is right."""
    from chalkgrad.testing import assert_backward

    return assert_backward
