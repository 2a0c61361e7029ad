"""The whole path once: derive, verify, check somebody's derivation, train with what was derived.

Run it with `make demo`, or `python examples/demo.py [FOLDER]`. It writes the derivations, the
emitted code, the trained weights and the learning curves to `demo/`, and exits with status 1 if
anything is not as it should be.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from chalkgrad.cli.progress import training_progress
from chalkgrad.cli.terminal import has_colour, width
from chalkgrad.diagnose.chalk import check_chalk
from chalkgrad.errors import ChalkgradError
from chalkgrad.layers import GALLERY
from chalkgrad.train.atomic import prepare_folder, write_atomically
from chalkgrad.train.data import load_digits
from chalkgrad.train.figures import draw_history
from chalkgrad.train.loop import fit
from chalkgrad.train.model import Model
from chalkgrad.train.network import Network
from chalkgrad.train.split import split_rows

HERE = Path(__file__).parent
LAYERS = ("affine", "softmax_loss")
SLIP, CORRECTED = HERE / "cs231n_affine.chalk", HERE / "cs231n_affine_corrected.chalk"
SIZES = (64, 100, 10)
GOAL = 0.97
# One split of 359 held-out rows says little: benchmarks/digits.py prints the mean and spread over twenty.
SEED = 1


class DemoError(Exception):
    """The demo did not show what it promises."""


def main(folder: Path) -> None:
    """Every part in turn; the first that fails ends the demo."""
    began = time.perf_counter()
    prepare_folder(folder)
    for name in LAYERS:
        derive(name, folder)
    check_derivations()
    train(folder)
    heading("Written")
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        print(f"  {path}  ({path.stat().st_size / 1000:.1f} kB)")
    print(f"\nDone in {time.perf_counter() - began:.1f} s.")


def derive(name: str, folder: Path) -> None:
    """Print a layer's derivation with the error of every line; write it as Markdown and LaTeX."""
    heading(f"The backward pass of {name}")
    derivation = GALLERY[name].derive()
    verification = derivation.verify()
    print(derivation.to_text(width=width(), color=has_colour()).rstrip())
    print(f"\n{verification}")
    if not verification.ok:
        raise DemoError(f"A line of the derivation of {name} is false.")
    write(folder / f"{name}.md", derivation.to_markdown())
    write(folder / f"{name}.tex", derivation.to_latex(document=True))
    write(folder / f"{name}.py", GALLERY[name].source("numpy"))


def check_derivations() -> None:
    """A student's derivation has a slip in one line; the corrected one passes."""
    heading(f"Checking {SLIP.name}, a derivation with a slip")
    report = check_chalk(SLIP.read_text(encoding="utf-8"), SLIP.name)
    print(str(report).rstrip())
    if report.ok:
        raise DemoError(f"The slip in {SLIP.name} was not found.")
    heading(f"Checking {CORRECTED.name}")
    report = check_chalk(CORRECTED.read_text(encoding="utf-8"), CORRECTED.name)
    print(str(report).rstrip())
    if not report.ok:
        raise DemoError(f"{CORRECTED.name} is right, and was refused.")


def train(folder: Path) -> None:
    """A two-layer network on handwritten digits, with derived and emitted code only."""
    heading(f"Training {'–'.join(map(str, SIZES))} on handwritten digits with the derived code")
    digits = load_digits()
    split = split_rows(digits.y, validation=0.1, test=0.2, seed=SEED)
    network = Network(SIZES, l2=1e-3, seed=SEED)
    write(folder / "network.py", network.loss_code.source)
    history = fit(
        network,
        digits.rows(split.train),
        validation=digits.rows(split.validation),
        optimiser="nesterov",
        epochs=40,
        batch_size=32,
        learning_rate=0.2,
        lr_decay=0.95,
        seed=SEED,
        callbacks=(training_progress(),),
        checkpoint_path=folder / "model",
    )
    if history.interrupted:
        raise KeyboardInterrupt
    draw_history(history, folder / "training.png", f"{'–'.join(map(str, SIZES))} on digits")
    # Read back what was saved: the accuracy is that of the weights on the disk.
    accuracy = Model.load(folder / "model").score(digits.rows(split.test))
    print(f"\n{len(history.steps)} steps in {history.seconds:.1f} s.")
    print(f"Accuracy on {len(split.test)} held-out rows: {accuracy:.2%} (at least {GOAL:.0%} is required)")
    if accuracy < GOAL:
        raise DemoError(f"The accuracy is {accuracy:.2%}, below {GOAL:.0%}.")


def heading(text: str) -> None:
    print(f"\n{text}\n{'─' * len(text)}\n", flush=True)


def write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    except (DemoError, ChalkgradError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
