"""Output files: refused before the work, whole afterwards."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chalkgrad.cli.files import check_output, write_output
from chalkgrad.errors import ChalkgradError


def test_a_missing_directory_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ChalkgradError, match="there is no directory"):
        check_output(tmp_path / "no" / "out.md", (".md",))


def test_a_directory_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "out.md").mkdir()
    with pytest.raises(ChalkgradError, match="is a directory"):
        check_output(tmp_path / "out.md", (".md",))


def test_a_file_in_place_of_the_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(ChalkgradError, match="there is no directory"):
        check_output(tmp_path / "a" / "out.md")


def test_an_unknown_ending_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ChalkgradError, match=r"Did you mean '\.tex'\?(.|\n)*\.md, \.tex"):
        check_output(tmp_path / "out.texx", (".md", ".tex"))


def test_a_directory_that_refuses_files_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(ChalkgradError, match="cannot be written: Permission denied"):
        check_output(tmp_path / "out.md")


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_output(tmp_path / "out.md", (".md",))
    assert list(tmp_path.iterdir()) == []


def test_the_terminal_needs_no_check() -> None:
    check_output(None, (".md",))


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.md"
    path.write_text("old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ChalkgradError, match="No space left on device"):
        write_output(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "file.md").write_text("old")
    (tmp_path / "link.md").symlink_to("file.md")
    write_output(tmp_path / "link.md", "new")
    assert (tmp_path / "link.md").is_symlink()
    assert (tmp_path / "file.md").read_text() == "new"


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_output(tmp_path / "out.md", "new")
    (tmp_path / "usual").touch()
    assert mode(tmp_path / "out.md") == mode(tmp_path / "usual")


def test_a_device_is_written_and_not_replaced() -> None:
    check_output(Path("/dev/null"))
    write_output(Path("/dev/null"), "new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
