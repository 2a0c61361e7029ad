"""A folder that holds arrays and a record: `weights-….safetensors` and `model.json`.

`model.json` is written last and names the weights file by its SHA-256, so the pair changes in one
rename: a process killed at any moment leaves the previous checkpoint or the new one. Loading checks
both digests. No pickle anywhere.

    {
      "format": "chalkgrad-model", "version": 1,
      "weights": {"file": "weights-1f0c….safetensors", "sha256": "1f0c…"},
      "record": {…},
      "sha256": "…"            of everything above, in canonical JSON
    }
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chalkgrad.errors import DataError
from chalkgrad.train.atomic import place_atomically, prepare_folder, remove_leftovers, write_atomically
from chalkgrad.train.extras import require

RECORD = "model.json"
FORMAT = "chalkgrad-model"
VERSION = 1

Arrays = Mapping[str, NDArray[Any]]


def save_checkpoint(folder: str | PathLike[str], arrays: Arrays, record: Mapping[str, Any]) -> Path:
    """Write arrays and record; returns the path of the record.

    Args:
        folder: Made if missing. A checkpoint in it is replaced.
        arrays: Kept bit for bit.
        record: Plain JSON values; floats are kept bit for bit, NaN and infinities are refused.

    Raises:
        DataError: When the folder cannot be written.
        MissingExtraError: When safetensors is not installed.
    """
    safetensors = require("safetensors.numpy", "Saving a model")
    folder = Path(folder)
    prepare_folder(folder)
    refusal = require("safetensors", "Saving a model").SafetensorError
    digest = ""

    def write(path: Path) -> None:
        try:  # from where they lie, and not put together in memory first
            safetensors.save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path)
        except refusal as cause:
            raise OSError(str(cause)) from cause

    def name(path: Path) -> str:
        nonlocal digest
        with open(path, "rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return f"weights-{digest[:16]}.safetensors"

    file = place_atomically(folder, write, name).name
    weights = {"file": file, "sha256": digest}
    written = _write_record(folder, weights, record)
    remove_leftovers(folder, {file}, "weights-*.safetensors")
    return written


def save_record(folder: str | PathLike[str], record: Mapping[str, Any]) -> Path:
    """Replace the record of a checkpoint whose arrays are still right; returns its path.

    Raises:
        DataError: When there is no checkpoint, it is damaged, or the folder cannot be written.
    """
    folder = Path(folder)
    weights = _read_record(folder / RECORD)["weights"]
    if not (folder / weights["file"]).is_file():
        raise _missing(folder / weights["file"])
    return _write_record(folder, weights, record)


def _write_record(folder: Path, weights: Mapping[str, str], record: Mapping[str, Any]) -> Path:
    body = {"format": FORMAT, "version": VERSION, "weights": dict(weights), "record": dict(record)}
    text = json.dumps({**body, "sha256": _digest(body)}, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / RECORD, (text + "\n").encode())
    return folder / RECORD


def load_checkpoint(folder: str | PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and record of a folder, after both digests have been checked.

    Raises:
        DataError: When there is no checkpoint, or one bit of it is not as it was written.
        MissingExtraError: When safetensors is not installed.
    """
    safetensors = require("safetensors.numpy", "Loading a model")
    folder = Path(folder)
    path = folder / RECORD
    body = _read_record(path)
    weights = folder / str(body["weights"]["file"])
    payload = _read(weights)
    if hashlib.sha256(payload).hexdigest() != body["weights"]["sha256"]:
        raise _damaged(weights)
    return dict(safetensors.load(payload)), dict(body["record"])


def has_checkpoint(folder: str | PathLike[str]) -> bool:
    """Whether the folder holds a checkpoint, sound or not."""
    return (Path(folder) / RECORD).is_file()


def _read_record(path: Path) -> dict[str, Any]:
    text = _read(path)
    try:
        body = json.loads(text.decode())
    except ValueError:  # both bad UTF-8 and bad JSON
        raise _damaged(path) from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise DataError(f"{path} is not a chalkgrad model.", hint="Name the folder that training wrote.")
    if body.get("version") != VERSION:
        raise DataError(
            f"{path} has the format version {body.get('version')}; this chalkgrad reads {VERSION}.",
            hint="Use the version of chalkgrad that wrote it, or train again.",
        )
    digest = body.pop("sha256", None)
    if digest != _digest(body):
        raise _damaged(path)
    return body


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as cause:
        raise DataError(f"{path} cannot be read: {cause.strerror}.", hint="Check its permissions.") from None


def _missing(path: Path) -> DataError:
    return DataError(
        f"There is no file {path}.", hint="Name the folder that training wrote, with both its files."
    )


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path} is damaged: its content is not what was written (SHA-256 differs).",
        hint="Restore it from a copy, or train again.",
    )


def _digest(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
