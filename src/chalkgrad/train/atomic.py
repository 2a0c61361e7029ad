"""Writing a file so that whoever looks finds the old content or the new, and never a part."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from chalkgrad.errors import DataError

PREFIX = ".chalkgrad-"
"""How temporary folders and files begin; a killed process may leave one behind, the next save removes it."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file in one step that survives a crash at any moment.

    Raises:
        DataError: When the folder or the disk does not take it; `path` is then as it was before.
    """
    place_atomically(path.parent, lambda temporary: write_bytes(temporary, content), lambda _: path.name)


def place_atomically(folder: Path, write: Callable[[Path], None], name: Callable[[Path], str]) -> Path:
    """Put a new file into the folder, or replace one, in one step that survives a crash at any moment.

    It is written in a temporary folder of its own, flushed to the disk, and then renamed; the folder is
    flushed last, so that the new name is on the disk too.

    Args:
        write: Makes the file at the path that it is given.
        name: Gives the file's name, and may read it for that; the file is flushed meanwhile.

    Returns:
        The path of the file.

    Raises:
        DataError: When the folder or the disk does not take it; what was there is then as it was before.
    """
    box: Path | None = None
    path = folder
    try:
        box = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
        temporary = box / "new"
        write(temporary)
        with ThreadPoolExecutor(1) as beside:
            flushed = beside.submit(_flush, temporary)
            path = folder / name(temporary)
            flushed.result()
        # Some writers make files that only their owner may read; give it the usual permissions.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _flush_folder(folder)
    except OSError as cause:
        raise DataError(
            f"{path} cannot be written: {cause.strerror or cause}.",
            hint="Check that the folder exists, that you may write there, and that the disk has room.",
        ) from cause
    finally:
        if box is not None:
            shutil.rmtree(box, ignore_errors=True)
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in a folder of one's own."""
    with open(path, "wb") as file:
        file.write(content)


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
        if path.name in keep:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:  # Windows flushes only what may be written
        os.fsync(file.fileno())


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
