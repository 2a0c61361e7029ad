"""Settings that every test runs under: reproducible Hypothesis runs, one PyTorch thread."""

from __future__ import annotations

import importlib.util
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Golden modules and homework files are data: never imported by the collection of doctests.
collect_ignore_glob = ["golden/*", "golden/*/*", "homework/*/*"]

# `print_blob` gives the line that replays a failure; the CI profile always draws the same examples.
settings.register_profile("dev", deadline=None, print_blob=True, max_examples=50)
settings.register_profile(
    "ci",
    deadline=None,
    print_blob=True,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# Before JAX is imported anywhere: the oracles compare in float64, on the CPU.
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# An oracle computes a few numbers once: to optimise its code takes longer than it could save.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# Every run derives and emits anew; tests of the cache name a folder of their own.
os.environ["CHALKGRAD_CACHE"] = ""


def pytest_report_header() -> str:
    """The oracles that are present; tests of the absent ones skip."""
    present = [name for name in ("torch", "jax", "sympy") if importlib.util.find_spec(name)]
    profile = os.environ.get("HYPOTHESIS_PROFILE", "dev")
    return f"hypothesis profile {profile}; oracles: {', '.join(present) or 'none'}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of one layer run in one process, under --dist loadgroup: it is derived once, not in each."""
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("name")
        if isinstance(name, str):
            item.add_marker(pytest.mark.xdist_group(name.partition("(")[0]))


def pytest_sessionstart() -> None:
    """Ctrl-C as in a terminal, also where the tests were started in the background, which ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """One thread, so that timings and sums are the same on every machine that shares its cores."""
    import sys

    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
