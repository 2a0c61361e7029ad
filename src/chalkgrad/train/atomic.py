"""Writing a file so that whoever looks finds the old content or the new, and never a part."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from chalkgrad.errors import DataError

PREFIX = ".chalkgrad-"
"""How temporary files begin; a killed process may leave one behind, the next save removes it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file in one step that survives a crash at any moment.

    The content goes to a temporary file in the same folder, which is flushed to the disk and then
    renamed over `path`; the folder is flushed last, so that the new name is on the disk too.

    Raises:
        DataError: When the folder or the disk does not take it; `path` is then as it was before.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=PREFIX, dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only their owner may read; give them the usual permissions.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
        _flush_folder(path.parent)
    except OSError as cause:
        raise DataError(
            f"{path} cannot be written: {cause.strerror or cause}.",
            hint="Check that the folder exists, that you may write there, and that the disk has room.",
        ) from cause
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def prepare_folder(path: Path) -> None:
    """Make the folder if it is missing, and prove that it can be written, before work is spent.

    Raises:
        DataError: When it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle, probe = tempfile.mkstemp(prefix=PREFIX, dir=path)
        os.close(handle)
        os.unlink(probe)
    except OSError as cause:
        raise DataError(
            f"The output folder {path} cannot be written: {cause.strerror or cause}.",
            hint="Choose a folder that you may write to; nothing has been computed yet.",
        ) from cause


def remove_leftovers(folder: Path, keep: set[str], pattern: str) -> None:
    """Delete files that match `pattern` and are not in `keep`, and temporary files of killed writers."""
    for path in (*folder.glob(pattern), *folder.glob(PREFIX + "*")):
        if path.name not in keep:
            with suppress(OSError):
                path.unlink()


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders, and its rename is flushed with the file
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
