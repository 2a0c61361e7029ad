"""What TARGET names on the command line: a built-in layer, a function in a file, or a formula.

The form decides, never a guess: `file.py:name` is a function, text with an equals sign, brackets or
operators is a formula, and a plain word is a layer of the gallery.
"""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import chalkgrad
from chalkgrad.errors import ChalkgradError, suggestion

if TYPE_CHECKING:
    from chalkgrad.layer_type import Layer

_IN_FILE = re.compile(r"(?P<path>.+\.py)(?::(?P<name>[^:]*))?", re.DOTALL)
_WORD = re.compile(r"[\w.-]+")

EPILOG = """\b
TARGET is one of
  softmax                 a built-in layer (`chalkgrad layers` lists them)
  layers.py:my_norm       your function; the file is executed to find it,
                          so give only files that you would run yourself
  "y[i] = 2 * x[i]"       a formula in index notation, in quotes
"""


def resolve(target: str) -> Layer:
    """The layer that `target` names.

    A Python file is executed, as `python file.py` would execute it, but not as `__main__`.

    Raises:
        ChalkgradError: No such layer, file or function, or a formula that cannot be read.
    """
    # Late, so that `--help` does not load the engine.
    from chalkgrad.layers import ALIASES, GALLERY, canonical_name

    in_file = _IN_FILE.fullmatch(target)
    if in_file and not re.search(r"[=\[(]", target):
        return _from_file(Path(in_file["path"]), in_file["name"] or "")
    name = target if target in GALLERY else canonical_name(target)
    if name in GALLERY:
        return GALLERY[name]
    if _WORD.fullmatch(target):
        raise _unknown_layer(target, (*GALLERY, *ALIASES))
    return chalkgrad.formula(target)


def _unknown_layer(word: str, known: tuple[str, ...]) -> ChalkgradError:
    if Path(word).suffix == ".chalk":
        return ChalkgradError(f"'{word}' is a derivation.", hint=f"Check it: chalkgrad check {word}")
    return ChalkgradError(
        f"There is no built-in layer '{word}'.{suggestion(word, known)}",
        hint='`chalkgrad layers` lists them; your own is layers.py:NAME or a formula, "f[i] = 2 * x[i]".',
    )


def _from_file(path: Path, name: str) -> Layer:
    from chalkgrad.layer_type import Layer

    module = load(path)
    if not name or not hasattr(module, name):
        raise _unknown_function(path, name, module)
    found = getattr(module, name)
    if not isinstance(found, Layer) and not callable(found):
        raise ChalkgradError(
            f"'{name}' in {path} is of type {type(found).__name__}, not a layer or a function.",
            hint='Write it as a function of arrays, `def f(x: "N D", W: "D K"): return x @ W`.',
        )
    layer: Layer = found if isinstance(found, Layer) else chalkgrad.layer(found)
    return _traced(path, layer)


def _traced(path: Path, layer: Layer) -> Layer:
    """The layer once its function has run; what the function raises by itself is its own error."""
    try:
        layer.program  # noqa: B018 (traces the function)
    except (KeyboardInterrupt, ChalkgradError):
        raise
    except Exception as error:
        raise ChalkgradError(
            f"{path}{_line_of(path, error)} raised {type(error).__name__}: {error}",
            hint=f"{layer.name} is called once, with symbols for arrays, to read its formula.",
        ) from error
    return layer


def load(path: Path) -> ModuleType:
    """The module that a Python file defines; the file is executed.

    Raises:
        ChalkgradError: There is no such file, or it raises.
    """
    if not path.is_file():
        raise ChalkgradError(f"There is no file '{path}'.")
    return _execute(path)


def _execute(path: Path) -> ModuleType:
    """Run the user's file as a module of its own; whatever it raises is told as its error."""
    # A name of its own, so that a file called numpy.py or layers.py hides nothing.
    module = ModuleType(f"_target_{path.stem}")
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        # The file's neighbours are importable, as they are under `python file.py`; dataclasses look
        # the module up by name.
        sys.path.insert(0, str(path.resolve().parent))
        sys.modules[module.__name__] = module
        with contextlib.redirect_stdout(sys.stderr):  # what it prints is no part of the answer
            exec(code, module.__dict__)
    except (KeyboardInterrupt, ChalkgradError):
        raise
    except SyntaxError as error:
        raise _syntax(path, error) from error
    except BaseException as error:
        raise ChalkgradError(
            f"{path}{_line_of(path, error)} raised {type(error).__name__}: {error}",
            hint=f"chalkgrad executes the file to find the function: `python {path}` must work.",
        ) from error
    return module


def _syntax(path: Path, error: SyntaxError) -> ChalkgradError:
    text = (error.text or "").rstrip("\n")
    line = f", line {error.lineno}," if error.lineno else ""
    return ChalkgradError(
        f"{path}{line} is not Python: {error.msg}.",
        source=text or None,
        position=max((error.offset or 1) - 1, 0) if text else None,
    )


def _line_of(path: Path, error: BaseException) -> str:
    """The line of the user's own file that was being executed."""
    own = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    return f", line {own[-1]}," if own else ""


def _unknown_function(path: Path, name: str, module: ModuleType) -> ChalkgradError:
    known = tuple(n for n, v in vars(module).items() if _is_defined_in(module, n, v))
    listed = f"It defines {', '.join(known)}." if known else "It defines no layer or function."
    if not name:
        return ChalkgradError(f"'{path}' needs the name of a function.", hint=f"{listed} Write {path}:NAME.")
    return ChalkgradError(f"There is no '{name}' in {path}.{suggestion(name, known)}", hint=listed)


def _is_defined_in(module: ModuleType, name: str, value: Any) -> bool:
    from chalkgrad.layer_type import Layer

    if name.startswith("_"):
        return False
    return isinstance(value, Layer) or (
        callable(value) and getattr(value, "__module__", None) == module.__name__
    )
