"""The learning curves of a run as a picture."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from chalkgrad.errors import DataError
from chalkgrad.train.atomic import write_atomically
from chalkgrad.train.extras import require
from chalkgrad.train.history import History

TRAIN, VALIDATION, FAINT = "#1f5fa8", "#c8501e", "#a9c4e4"
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlecolor": "#444444",
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


def draw_history(history: History, path: str | PathLike[str], title: str = "Training") -> Path:
    """Write a PNG, 1200 × 525 pixels, with the loss on the left and the accuracy on the right.

    Args:
        history: At least one finished epoch.
        path: The file to write, atomically.
        title: The line on top.

    Raises:
        DataError: When no epoch has finished, or the file cannot be written.
        MissingExtraError: When matplotlib is not installed.
    """
    if not history.epochs:
        raise DataError("There is nothing to draw: no epoch has finished.", hint="Train for longer.")
    matplotlib = require("matplotlib", "Drawing learning curves")
    figure_module = require("matplotlib.figure", "Drawing learning curves")
    # A Figure of its own instead of pyplot: no window, no global backend, no state left behind.
    with matplotlib.rc_context(STYLE):
        figure = figure_module.Figure(figsize=(12, 5.25), dpi=100, layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_loss(left, history)
        _draw_accuracy(right, history)
        figure.suptitle(title, fontsize=14, fontweight="bold", x=0.012, ha="left")
        figure.get_layout_engine().set(w_pad=0.15, h_pad=0.1, wspace=0.04)
        content = io.BytesIO()
        figure.savefig(content, format="png")
    write_atomically(Path(path), content.getvalue())
    return Path(path)


def _draw_loss(axes: Any, history: History) -> None:
    numbers = [e.number for e in history.epochs]
    steps = np.arange(1, len(history.steps) + 1) / max(history.steps_per_epoch, 1)
    axes.plot(steps, history.steps, color=FAINT, linewidth=0.6, label="training, each step")
    _curve(axes, numbers, [e.loss for e in history.epochs], TRAIN, "training, mean of the epoch")
    held = [e.validation_loss for e in history.epochs if e.validation_loss is not None]
    if held:
        _curve(axes, numbers, held, VALIDATION, "validation")
    axes.set_yscale("log", subs=(1, 2, 5))
    # A run spans one or two powers of ten, too few ticks to read a value from: 1, 2 and 5 of each it is.
    for place in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        place(lambda value, _: f"{value:g}")
    axes.grid(True, which="minor", axis="y")
    axes.set(title="Loss", xlabel="epoch", ylabel="loss with regulariser (nats per observation, log scale)")
    axes.set_xlim(0, max(numbers[-1], steps[-1]))
    for line in axes.legend().get_lines():
        line.set_linewidth(2)


def _curve(axes: Any, numbers: list[int], values: list[float], colour: str, label: str) -> None:
    """One value per epoch; a run of a few epochs shows its points, as one point makes no line."""
    axes.plot(
        numbers, values, color=colour, linewidth=2, label=label, marker="o" if len(numbers) < 8 else None
    )


def _draw_accuracy(axes: Any, history: History) -> None:
    numbers = [e.number for e in history.epochs]
    train = [100 * e.train_accuracy for e in history.epochs]
    _curve(axes, numbers, train, TRAIN, "training")
    held = [100 * e.validation_accuracy for e in history.epochs if e.validation_accuracy is not None]
    if held:
        _curve(axes, numbers, held, VALIDATION, "validation")
        best = history.best_epoch
        label = f"best: {held[best - 1]:.1f} % in epoch {best}"
        # In the legend, as a label at the point would cover the curves around it.
        axes.plot(best, held[best - 1], "o", color=VALIDATION, markersize=8, clip_on=False, label=label)
    lowest = min(train + held)
    axes.set(title="Accuracy", xlabel="epoch", ylabel="observations classified right (%)")
    axes.set_xlim(0, max(numbers))
    axes.set_ylim(max(0.0, min(lowest - 2, 90.0)), 100.5)
    axes.legend(loc="lower right")
