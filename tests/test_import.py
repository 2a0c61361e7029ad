"""`import chalkgrad` loads NumPy and the standard library, and `expr` not even NumPy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import chalkgrad

SOURCE = Path(chalkgrad.__file__).parent
# What the interpreter's own start-up (editable installs, coverage) brings in is not ours.
PROBE = """
import sys
before = set(sys.modules)
{use}
after = {{name.partition(".")[0] for name in set(sys.modules) - before}}
import json
print(json.dumps(sorted(after)))
"""


def loaded_by(use: str) -> set[str]:
    """The top-level packages that a piece of code loads in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(use=use)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def allowed() -> set[str]:
    """The standard library, this package, and NumPy with what its random numbers load."""
    return loaded_by("import numpy.random") | sys.stdlib_module_names | {"chalkgrad"}


def test_import_loads_numpy_and_the_standard_library_alone() -> None:
    loaded = loaded_by("import chalkgrad")
    assert "chalkgrad" in loaded
    assert loaded - allowed() == set()


def test_a_derivation_loads_nothing_more() -> None:
    loaded = loaded_by('import chalkgrad; chalkgrad.formula("f[i] = 2 * x[i]").derive().verify()')
    assert "chalkgrad" in loaded
    assert loaded - allowed() == set()


@pytest.mark.parametrize("path", sorted((SOURCE / "expr").glob("*.py")), ids=lambda path: path.name)
def test_the_notation_needs_the_standard_library_alone(path: Path) -> None:
    outside = {name for name in imported(path) if name.partition(".")[0] not in sys.stdlib_module_names}
    assert {name for name in outside if not name.startswith(("chalkgrad.expr", "chalkgrad.errors"))} == set()


def imported(path: Path) -> set[str]:
    """Every module that a source file names in an import, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names
