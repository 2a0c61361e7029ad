"""How many threads a step gets: what its size is worth, and one where others use the cores too."""

from __future__ import annotations

import threading

import pytest

from chalkgrad.train import threads
from chalkgrad.train.threads import limited, threads_for

LARGE = (10_000_000, 512)
"""Parameters and rows of a batch that any number of cores is worth."""


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(threads, "_cores", lambda: 8)


def chosen() -> tuple[int, int]:
    with limited(threads_for(*LARGE)) as blas:
        return threads_for(*LARGE), blas


def test_small_steps_get_one_thread_and_large_ones_every_core(eight_cores):
    assert threads_for(7_510, 32) == 1
    assert threads_for(*LARGE) == 8


def test_processes_of_one_launcher_share_the_cores(eight_cores, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert threads_for(*LARGE) == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "100")
    assert threads_for(*LARGE) == 1


def test_beside_the_main_thread_there_is_one(eight_cores):
    found: list[int] = []
    helper = threading.Thread(target=lambda: found.append(threads_for(*LARGE)))
    helper.start()
    helper.join()
    assert found == [1]


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_workers_of_joblib_get_one_each(backend):
    joblib = pytest.importorskip("joblib")
    workers = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(chosen)() for _ in range(2))
    assert [own for own, _ in workers] == [1, 1]
    assert all(blas <= 1 for _, blas in workers)
