"""`make demo`: what it prints, what it writes, and that it fails when a part of it fails."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
safetensors = pytest.importorskip("safetensors.numpy")

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
WRITTEN = ("affine.md", "affine.tex", "affine.py", "softmax_loss.md", "network.py", "training.png")


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_demo_shows_and_writes_what_it_promises(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO), str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "relative error" in done.stdout
    assert "held-out rows" in done.stdout
    for name in WRITTEN:
        assert (tmp_path / name).stat().st_size > 200, name
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    weights = [safetensors.load_file(path) for path in tmp_path.rglob("*.safetensors")]
    assert any({"W1", "b1", "W2", "b2"} <= set(arrays) for arrays in weights)


def test_a_slip_that_is_not_found_fails_the_demo(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "SLIP", demo.CORRECTED)
    with pytest.raises(demo.DemoError, match="was not found"):
        demo.check_derivations()


def test_a_right_derivation_that_is_refused_fails_the_demo(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "CORRECTED", demo.SLIP)
    with pytest.raises(demo.DemoError, match="was refused"):
        demo.check_derivations()


@pytest.mark.slow
def test_an_accuracy_below_the_goal_fails_the_demo(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "GOAL", 1.01)
    with pytest.raises(demo.DemoError, match="below 101%"):
        demo.train(tmp_path)
