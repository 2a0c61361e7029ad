"""Code that one process made is found by the next one, which neither derives nor emits."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from chalkgrad.emit import disk_cache
from chalkgrad.train import emitted, steps
from chalkgrad.train.architecture import objective_program
from chalkgrad.train.engines import make_engine
from chalkgrad.train.network import Network
from chalkgrad.train.objective import Objective
from chalkgrad.train.optimisers import Optimiser

ENGINES = ["plain", "numpy", "llvm"]
MAKERS = [
    ("diff.derive", "for_code"),
    ("emit.module_text", "source"),
    ("emit.step.step_text", "step_text"),
]


@pytest.fixture
def cache(tmp_path: Any, monkeypatch: Any) -> Any:
    """An empty cache, and a process that has made nothing yet; calling it forgets again."""
    monkeypatch.setenv("CHALKGRAD_CACHE", str(tmp_path / "cache"))

    def forget() -> None:
        for made in (emitted.derived, emitted.forward_code, emitted.gradient_code, steps._compiled):
            made.cache_clear()

    forget()
    yield forget
    forget()


def first_losses(engine: str, l2: float = 0.1) -> list[float]:
    """Train a little, and evaluate."""
    if engine == "llvm":
        pytest.importorskip("llvmlite")
    net = Network((5, 7, 3), l2=l2)
    generator = np.random.default_rng(0)
    data = {"x": generator.standard_normal((20, 5)).astype(np.float32), "y": generator.integers(0, 3, 20)}
    runner = make_engine(engine, net, Optimiser("adam"), data, 10)
    losses = np.empty(2)
    runner.run(np.arange(20).reshape(2, 10), losses, 0.1)
    runner.sync()
    return [*losses, net.loss(data["x"], data["y"]), float(net.predict_proba(data["x"]).sum())]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_second_process_derives_nothing(engine: str, cache: Any, monkeypatch: Any) -> None:
    first = first_losses(engine)
    cache()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("made again")

    for module, name in MAKERS:
        monkeypatch.setattr(import_module(f"chalkgrad.{module}"), name, refuse)
    assert first_losses(engine) == first
    with pytest.raises(AssertionError, match="made again"):
        first_losses(engine, l2=0.0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_changed_source_is_another_key(engine: str, cache: Any, monkeypatch: Any) -> None:
    first_losses(engine)
    cache()
    monkeypatch.setattr(disk_cache, "own_sources", lambda: "changed")
    derive = import_module("chalkgrad.diff.derive")
    monkeypatch.setattr(derive, "for_code", lambda *_: pytest.fail("derived again"))
    with pytest.raises(pytest.fail.Exception, match="derived again"):
        first_losses(engine)


def test_what_was_made_from_other_parts_has_another_name() -> None:
    parts = [
        objective_program(2, "relu", "softmax"),
        objective_program(2, "tanh", "softmax"),
        objective_program(2, "relu", "softmax", weighted=True),
        objective_program(3, "relu", "softmax"),
        (objective_program(2, "relu", "softmax"), ("W1",)),
    ]
    assert len({disk_cache.structure(p) for p in parts}) == len(parts)
    assert disk_cache.structure(("a,b",)) != disk_cache.structure(("a", "b"))


def test_an_interpreter_that_finds_its_code_loads_no_derivation(tmp_path: Any) -> None:
    text = (
        "import sys, numpy as np\n"
        "from chalkgrad.train.network import Network\n"
        "from chalkgrad.train.engines import make_engine\n"
        "from chalkgrad.train.optimisers import Optimiser\n"
        "data = {'x': np.zeros((4, 3), np.float32), 'y': np.zeros(4, np.int64)}\n"
        "engine = make_engine('numpy', Network((3, 2)), Optimiser(), data, 2)\n"
        "engine.run(np.array([[0, 1]]), np.empty(1), 0.1)\n"
        "print('chalkgrad.diff.closed' in sys.modules, 'chalkgrad.emit.plan' in sys.modules)\n"
    )
    environment = {**os.environ, "CHALKGRAD_CACHE": str(tmp_path / "cache")}
    found = [
        subprocess.run(
            [sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    assert [f.stdout.strip() for f in found] == ["True True", "False False"]


def test_an_unwritable_cache_costs_time_alone(tmp_path: Any, monkeypatch: Any, cache: Any) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("CHALKGRAD_CACHE", str(tmp_path / "file" / "cache"))
    assert disk_cache.cache_folder() is None
    assert np.isfinite(first_losses("numpy")).all()


def test_memories_that_were_begun_are_loaded(cache: Any) -> None:
    pytest.importorskip("llvmlite")
    program = objective_program(1, "relu", "squares")
    found = []
    for engine in ("plain", "llvm"):
        fit = Objective(program, {"W1": (2, 1), "b1": (1,)}, np.float64, {"l2": 0.0})
        rule = Optimiser("momentum")
        rule.load({"v": np.array([1.0, 2.0, 3.0])}, 0)
        runner = make_engine(engine, fit, rule, {"x": np.eye(2), "t": np.ones((2, 1))}, 2)
        runner.run(np.array([[0, 1]]), np.empty(1), 0.1)
        runner.sync()
        found.append(fit.flat.copy())
    np.testing.assert_allclose(*found, rtol=1e-12)
