"""Whole files: checks of their SHA-256, and atomic writing, which replaces a file completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from whyface.errors import ModelError, ModelIntegrityError, OutputError, reason
from whyface.files.guarded import check_plain, read_guarded

TEMPORARY: Final = ".whyface-tmp"
"""Suffix of the names of files and folders that are still being written."""


@dataclass(frozen=True)
class HashedFile:
    """A file that a result depends on.

    Attributes
    ----------
    role
        What it is for, such as ``"embedder"`` or ``"detector"``.
    name
        Its name without folders, or the name of what has no file.
    sha256
        SHA-256 of its content (64 lower-case hexadecimal digits); None if it has no file.
    """

    role: str
    name: str
    sha256: str | None


@dataclass(frozen=True)
class ContentHash:
    """SHA-256 (64 lower-case hexadecimal digits) and size in bytes of a file's content."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> ContentHash:
        """Return those of a content."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits.

    Raise ModelError if the file is missing or cannot be read.
    """
    try:
        check_plain(path)
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def check_sha256(path: Path | str, expected: str) -> str:
    """Return the SHA-256 of a file, after a comparison with the one on record.

    Raise ModelIntegrityError if the two differ, and ModelError if the file is missing or cannot be read.
    """
    actual = sha256_of(path)
    check_digest(actual, expected, path)
    return actual


def check_digest(actual: str, expected: str, path: Path | str) -> None:
    """Compare two SHA-256 values (64 hexadecimal digits, any case); `path` is for the message.

    Raise ModelIntegrityError if the two differ.
    """
    if actual.lower() != expected.lower():
        raise ModelIntegrityError(
            f"{path}: SHA-256 is {actual[:12]}..., but {expected[:12]}... is on record; "
            "the file is damaged or another version: fetch it again from its source"
        )


def read_model(path: Path | str) -> bytes:
    """Read a whole model file. Raise ModelError if the file is missing, empty or cannot be read."""
    try:
        data = read_guarded(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if not data:
        raise ModelError(f"{path}: the model file is empty; fetch it again from its source")
    return data


def unreadable(path: Path | str, error: OSError) -> ModelError:
    """Return the one-line error for a model file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return ModelError(f"{path}: no such model file; check the path")
    if isinstance(error, IsADirectoryError):
        return ModelError(f"{path}: this is a folder; give the model file inside it")
    return ModelError(f"{path}: cannot read the model file ({reason(error)}); check its permissions")


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write to a temporary file next to the target, then rename it: readers see the old or the new file.

    The file and its name are on the disk when this returns. Raise OutputError if the folder is missing or cannot be
    written to.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        # The name may already have the maximum length.
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.", suffix=TEMPORARY)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a private file; an existing target keeps its mode, a new one becomes readable.
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        temporary.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise OutputError(f"{target}: cannot write ({reason(error)}); check the folder") from error


def check_folder(path: Path, *, empty: bool = False) -> None:
    """Check before the work that results can be written into a folder, which is made only when there is something.

    Raise OutputError if it is a file, cannot be made or written to, or, with ``empty``, holds something.
    """
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not there.is_dir():
        raise OutputError(f"{there}: is a file; give a folder for the results")
    if not os.access(there, os.W_OK):
        raise OutputError(f"{path}: the folder {there} cannot be written to; choose another")
    if empty and there == path and any(path.iterdir()):
        raise OutputError(f"{path}: is not an empty folder; choose another name, or empty it first")


def make_folder(path: Path) -> None:
    """Make a folder, and those around it, unless it is there. Raise OutputError if it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({reason(error)}); choose another folder") from error


@contextmanager
def dropped_if_empty(path: Path, empty: Callable[[], bool], *, new: bool) -> Iterator[None]:
    """Remove a new folder again if an error or Ctrl-C leaves it empty; what it holds must be closed by then."""
    try:
        yield
    except BaseException:
        if new and empty():
            shutil.rmtree(path)
        raise


@contextmanager
def folder_at_once(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; it gets its name, and is on the disk, when the block ends without an error.

    Files written into it should be synced. Leftovers of killed processes that wrote a folder of this name are removed.
    Raise OSError if the folder cannot be created, or the name is taken.
    """
    remove_leftovers(path.parent, of=path.name)
    started = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=TEMPORARY))
    try:
        # mkdtemp makes a private folder; the one inside it has the user's own permissions.
        made = started / "made"
        made.mkdir()
        yield made
        sync_folder(made)
        made.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(started, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; otherwise a power cut can undo a rename."""
    # Windows cannot open folders, and does not need this.
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some network file systems do not support it for folders.
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path, *, of: str = "", age: float = 3600) -> None:
    """Remove what a killed process left half-written in a folder.

    Parameters
    ----------
    folder
        The folder; only files and folders whose names end in :data:`TEMPORARY` are removed.
    of
        Only leftovers of the target with this name.
    age
        Minimum age in seconds, since another process may still be writing a younger one; 0 if there can be no other
        process.
    """
    latest = time.time() - age
    for left in folder.glob(f".*{TEMPORARY}"):
        # A remaining leftover does no harm.
        with contextlib.suppress(OSError):
            if left.name.startswith(f".{of[:40]}") and left.lstat().st_mtime <= latest:
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink()


def with_sorted_metadata(data: bytes) -> bytes:
    """Sort the metadata of a safetensors file by key.

    The library writes them in a random order, so that equal tensors would give files of different bytes and SHA-256.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    # The tensors begin at a multiple of 8 bytes.
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]
