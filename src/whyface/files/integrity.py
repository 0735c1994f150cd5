"""Files read and written whole: SHA-256 of what was read, and writing that replaces a file at once or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from whyface.errors import ModelError, ModelIntegrityError, OutputError
from whyface.files.guarded import check_plain, read_guarded


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file as 64 lower-case hexadecimal digits.

    Raises
    ------
    ModelError
        The file is missing or cannot be read.
    """
    try:
        check_plain(path)
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def check_sha256(path: Path | str, expected: str) -> str:
    """Return the SHA-256 of a file after comparing it with the one on record.

    Raises
    ------
    ModelIntegrityError
        They differ.
    ModelError
        The file is missing or cannot be read.
    """
    actual = sha256_of(path)
    check_digest(actual, expected, path)
    return actual


def check_digest(actual: str, expected: str, path: Path | str) -> None:
    """Compare two SHA-256 values (64 hexadecimal digits, any case); `path` is for the message.

    Raises
    ------
    ModelIntegrityError
        They differ.
    """
    if actual.lower() != expected.lower():
        raise ModelIntegrityError(
            f"{path}: SHA-256 is {actual[:12]}..., but {expected[:12]}... is on record; "
            "the file is damaged or another version: fetch it again from its source"
        )


def read_model(path: Path | str) -> bytes:
    """Read a whole model file.

    Raises
    ------
    ModelError
        The file is missing, empty or cannot be read.
    """
    try:
        data = read_guarded(path)
    except OSError as error:
        raise unreadable(path, error) from error
    if not data:
        raise ModelError(f"{path}: the model file is empty; fetch it again from its source")
    return data


def unreadable(path: Path | str, error: OSError) -> ModelError:
    """Make the one-line error for a model file that the system does not hand out."""
    if isinstance(error, FileNotFoundError):
        return ModelError(f"{path}: no such model file; check the path")
    if isinstance(error, IsADirectoryError):
        return ModelError(f"{path}: this is a folder; give the model file inside it")
    return ModelError(f"{path}: cannot read the model file ({error.strerror or error}); check its permissions")


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write to a temporary file beside the target, then rename it: readers see the old or the new file.

    Raises
    ------
    OutputError
        The folder is missing or cannot be written to.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a private file; an existing target keeps its mode, a new one becomes readable.
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise OutputError(f"{target}: cannot write ({error.strerror or error}); check the folder") from error
