"""How many threads a step gets: what its size is worth, and one where others use the cores too."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from chalkgrad.train import threads
from chalkgrad.train.threads import limited, shared, threads_for

LARGE = (10_000_000, 512)
"""Parameters and rows of a batch that any number of cores is worth."""


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(threads, "_cores", lambda: 8)


def test_small_steps_get_one_thread_and_large_ones_every_core(eight_cores):
    assert threads_for(7_510, 32) == 1
    assert threads_for(*LARGE) == 8


def test_processes_of_one_launcher_share_the_cores(eight_cores, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert threads_for(*LARGE) == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "100")
    assert threads_for(*LARGE) == 1


def test_within_a_limit_there_are_no_more(eight_cores):
    """Of two limits the inner one holds, and none any more behind them."""
    with limited(3):
        assert threads_for(*LARGE) <= 3
        with limited(1):
            assert threads_for(*LARGE) == 1
            with shared(1e12) as found:
                assert found == 1
    assert threads_for(*LARGE) == 8


def test_little_work_is_not_shared(eight_cores):
    with shared(1e6) as found:
        assert found == 1


def test_beside_the_main_thread_there_is_one(eight_cores):
    found: list[int] = []
    helper = threading.Thread(target=lambda: found.append(threads_for(*LARGE)))
    helper.start()
    helper.join()
    assert found == [1]


WORKERS = """
import sys
from joblib import Parallel, delayed
from chalkgrad.train.threads import limited, threads_for


def chosen():
    with limited(threads_for(10_000_000, 512)) as blas:
        return threads_for(10_000_000, 512), blas


if __name__ == "__main__":
    print(Parallel(n_jobs=2, backend=sys.argv[1])(delayed(chosen)() for _ in range(2)))
"""


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_workers_of_joblib_get_one_each(backend, tmp_path):
    """In a process of its own: JAX, which other tests load, warns of every fork."""
    pytest.importorskip("joblib")
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    done = subprocess.run([sys.executable, script, backend], capture_output=True, text=True, check=False)
    assert done.stdout == "[(1, 1), (1, 1)]\n", done.stderr
