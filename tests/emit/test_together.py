"""Threads that share one call's work begin on cores of their own and are left free."""

from __future__ import annotations

import os
import threading

import pytest

from chalkgrad.emit import together as module
from chalkgrad.emit.together import together

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores"
)


def places(monkeypatch, threads, look=None):
    """What each number of thread was moved to, in order."""
    moved: dict[int, list[set[int]]] = {}
    numbers = threading.local()
    real = os.sched_setaffinity

    def noted(pid, cores):
        moved.setdefault(numbers.number, []).append(set(cores))
        real(pid, cores)

    def go_to(cores, number, go_to=module._go_to):
        numbers.number = number
        go_to(cores, number)

    monkeypatch.setattr(os, "sched_setaffinity", noted)
    monkeypatch.setattr(module, "_go_to", go_to)
    together(lambda number: None, threads, look)
    return moved


@pytest.mark.parametrize("look", [None, lambda: None], ids=["works", "looks"])
def test_each_begins_on_a_core_of_its_own_and_is_free_afterwards(monkeypatch, look):
    allowed = os.sched_getaffinity(0)
    moved = places(monkeypatch, 2, look)
    first, second = moved[0][0], moved[1][0]
    assert len(first) == len(second) == 1
    assert first != second
    assert all(later[1:] == [allowed] for later in moved.values())
    assert os.sched_getaffinity(0) == allowed


def test_one_thread_is_not_moved(monkeypatch):
    assert places(monkeypatch, 1) == {}


def test_more_threads_than_cores_are_not_moved(monkeypatch):
    assert places(monkeypatch, len(os.sched_getaffinity(0)) + 1) == {}


def test_a_system_that_does_not_say_where_a_thread_is(monkeypatch):
    def without(name):
        raise OSError(name)

    monkeypatch.setattr(module.ctypes, "CDLL", without)
    seen = []
    together(seen.append, 2)
    assert sorted(seen) == [0, 1]
