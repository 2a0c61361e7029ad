"""What a run leaves to look at: the progress bar and the picture of the curves."""

from __future__ import annotations

import io
import struct
import sys
from pathlib import Path

import pytest

from chalkgrad.errors import DataError, MissingExtraError
from chalkgrad.train.callbacks import Plan
from chalkgrad.train.figures import draw_history
from chalkgrad.train.history import Epoch, History
from chalkgrad.train.loop import fit
from chalkgrad.train.progress import ProgressBar, figures
from tests.train.small import blobs, network


def history(epochs: int = 5, held: bool = True, partial: int = 0) -> History:
    """A plausible run: `partial` more steps than the epochs have."""
    made = History(steps_per_epoch=4)
    made.steps = [2.0 / (n + 1) for n in range(4 * epochs + partial)]
    for n in range(1, epochs + 1):
        right = 1 - 0.5 / n
        made.epochs.append(
            Epoch(n, 2.0 / n, right, right - 0.1 if held else None, 2.2 / n if held else None, 1e-3)
        )
    made.best_epoch = epochs
    return made


@pytest.mark.parametrize(
    "run",
    [history(), history(1), history(3, held=False), history(2, partial=3)],
    ids=["usual", "one epoch", "no validation", "interrupted"],
)
def test_the_picture_is_a_png_of_the_promised_size(tmp_path: Path, run: History) -> None:
    pytest.importorskip("matplotlib")
    content = draw_history(run, tmp_path / "curves.png", "A run").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == (1200, 525)
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]


def test_the_picture_names_its_axes_and_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    drawn = []
    original = figure_module.Figure.savefig
    monkeypatch.setattr(
        figure_module.Figure, "savefig", lambda self, *a, **k: (drawn.append(self), original(self, *a, **k))
    )
    draw_history(history(), tmp_path / "curves.png", "A run")
    loss, accuracy = drawn[0].axes
    assert drawn[0].get_suptitle() == "A run"
    assert (loss.get_xlabel(), accuracy.get_xlabel()) == ("epoch", "epoch")
    assert "nats" in loss.get_ylabel()
    assert "%" in accuracy.get_ylabel()
    curves = [t.get_text() for t in accuracy.get_legend().get_texts()]
    assert curves == ["training", "validation", "best: 80.0 % in epoch 5"]
    assert len(loss.get_legend().get_texts()) == 3


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to draw"):
        draw_history(History(), tmp_path / "curves.png")


def test_an_unwritable_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(DataError, match="cannot be written"):
        draw_history(history(), tmp_path / "missing" / "curves.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="Drawing learning curves needs the package 'matplotlib'"):
        draw_history(history(), tmp_path / "curves.png")


def test_the_bar_appears_at_once_and_shows_the_figures() -> None:
    console = pytest.importorskip("rich.console")
    stream = io.StringIO()
    terminal = console.Console(file=stream, force_terminal=True, width=120, color_system=None)
    bar = ProgressBar(terminal)
    bar.on_fit_begin(Plan(epochs=2, steps_per_epoch=3, done=0))
    assert "deriving" in stream.getvalue()
    bar.on_fit_end(History())
    fit(network(), blobs(), validation=blobs(30, seed=9), epochs=2, callbacks=[ProgressBar(terminal)])
    shown = stream.getvalue()
    assert "epoch 2/2" in shown
    assert "100%" in shown
    assert "loss" in shown
    assert "validation" in shown


def test_no_bar_where_there_is_no_terminal() -> None:
    console = pytest.importorskip("rich.console")
    stream = io.StringIO()
    fit(network(), blobs(), epochs=1, callbacks=[ProgressBar(console.Console(file=stream))])
    assert stream.getvalue().strip() == ""


def test_figures_of_an_epoch() -> None:
    assert (
        figures(Epoch(1, 0.12345, 0.981, 0.972, 0.2, 1e-3))
        == "loss 0.1235 · train 98.1 % · validation 97.2 %"
    )
    assert figures(Epoch(1, 0.5, 1.0, None, None, 1e-3)) == "loss 0.5000 · train 100.0 %"
