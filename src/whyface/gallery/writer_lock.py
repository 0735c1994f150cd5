"""One writer a gallery: the lock that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from whyface.errors import DataError, OutputError
from whyface.gallery.feature_file import FILE_NAME

LOCK_NAME: Final = "writer.lock"


def take_lock(path: Path) -> FileLock:
    """Take the lock of the gallery in a folder.

    Raises
    ------
    OutputError
        If another process holds it, or the folder cannot be written to.
    """
    # One lock for all threads: by default, each would have its own and could not release another's.
    lock = FileLock(path / LOCK_NAME, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(f"{path}: another process is writing to this gallery; wait until it is done") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written to ({error.strerror}); it can still be searched") from error
    return lock


def require_gallery(path: Path) -> None:
    """Make sure that a folder holds a gallery.

    Raises
    ------
    DataError
        If it does not.
    """
    if not (path / FILE_NAME).is_file():
        raise DataError(f"{path}: no gallery here; whyface gallery enroll makes one")
