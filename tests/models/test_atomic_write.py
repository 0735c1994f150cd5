from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from whyface.errors import OutputError
from whyface.files.integrity import TEMPORARY, remove_leftovers, write_atomic


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_atomic(target, b"one")
    target.chmod(0o600)
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_failure_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail(self: Path, other: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match=r"a\.bin: cannot write \(Permission denied\)"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_atomic(tmp_path / "none" / "a.bin", b"x")


def test_the_name_is_on_the_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut may undo a rename whose folder was not synced: the order of the steps is what is tested."""
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def watched_sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def watched_replace(self: Path, other: Path) -> Path:
        steps.append("rename")
        return replace(self, other)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_atomic(tmp_path / "a", b"x")
    assert steps == ["file", "rename", "folder"]


def test_a_name_as_long_as_allowed(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("n" * 255), b"x")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    old, young, folder = (tmp_path / f".{name}{TEMPORARY}" for name in ("a.bin.1", "a.bin.2", "g.3"))
    hidden = tmp_path / ".a.bin.kept"
    folder.mkdir()
    (folder / "features.bin").touch()
    for path in (old, young, hidden):
        path.touch()
    for path in (old, folder, hidden):
        os.utime(path, (0, 0))
    remove_leftovers(tmp_path, of="b.bin")
    assert len(list(tmp_path.iterdir())) == 4
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == [young, hidden]
    remove_leftovers(tmp_path, of="a.bin", age=0)
    assert list(tmp_path.iterdir()) == [hidden]
