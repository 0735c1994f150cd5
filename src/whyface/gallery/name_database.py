"""SQLite for a gallery: safe with threads and forks and after a killed writer, with errors in one line."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from whyface.errors import DataError, InputError, OutputError

_WAIT_S: Final = 30
_ATTEMPTS: Final = 3
_BAD_SCHEMA: Final = (UnicodeDecodeError,)
"""What the sqlite3 module raises where SQLite quotes damaged names of tables and columns."""

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_TOOBIG})


class DamagedPagesError(DataError):
    """Some pages of a database are damaged; others can still be read."""


class Database:
    """A connection to an existing database file.

    Parameters
    ----------
    path
        The file.
    writable
        Open it for changes.

    Raises
    ------
    DataError
        If it cannot be opened.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        self.writable = writable
        # Connections that a fork copied from the parent. SQLite forbids to use or close them here.
        self._inherited: list[sqlite3.Connection] = []
        self._lock = threading.RLock()
        self._changes = 0
        self._connection: sqlite3.Connection | None = None
        self._open()

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            if self._process == os.getpid() and self._connection is not None:
                self._connection.close()
            self._connection = None

    def reopen(self) -> bool:
        """Open the file again if another one has replaced it, and return whether it has.

        Raises
        ------
        DataError
            If there is none.
        """
        try:
            same = self.path.stat().st_ino == self._inode
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error.strerror}); is this a gallery?") from error
        if not same:
            with self._lock:
                self.close()
                self._open()
        return not same

    def read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query, with texts as bytes.

        A killed writer may leave unfinished changes. Then SQLite refuses all reads, on old connections too, until a
        connection that may write has rolled them back, so this is done here.

        Raises
        ------
        DataError
            If it cannot be read; :class:`DamagedPagesError` if other queries may work.
        InputError
            If it was closed.
        """
        if self._process != os.getpid():
            self._after_fork()
        with self._lock:
            for attempt in range(_ATTEMPTS):
                if self._connection is None:
                    raise InputError(f"{self.path}: the gallery was closed; open it again")
                try:
                    return self._connection.execute(query, values).fetchall()
                except (sqlite3.Error, ValueError, OverflowError, MemoryError) as error:
                    if attempt + 1 == _ATTEMPTS or _code(error) != sqlite3.SQLITE_READONLY:
                        raise _named(self.path, error) from error
                    _undo_interrupted(self.path)
        raise AssertionError

    def state(self) -> tuple[int, ...]:
        """Return numbers that stay the same as long as the file does not change."""
        ((others,),) = self.read("PRAGMA data_version")
        return self._inode, int(others), self._changes

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Make changes as one transaction, which is on disk afterwards; other threads wait.

        Raises
        ------
        OutputError
            If they cannot be written, or the file was not opened for changes in this process.
        """
        with self._lock:
            if self._process != os.getpid() or not self.writable or self._connection is None:
                raise OutputError(f"{self.path}: not opened for changes in this process; open the gallery here")
            try:
                with self._connection:
                    self._connection.execute("BEGIN IMMEDIATE")
                    self._changes += 1
                    yield self._connection
            except (sqlite3.Error, DamagedPagesError, *_BAD_SCHEMA) as error:
                raise OutputError(f"{self.path}: cannot be written ({error}); nothing was changed") from error

    def _open(self) -> None:
        self._process = os.getpid()
        self._connection = None
        try:
            self._inode = self.path.stat().st_ino
            self._connection = _connect(self.path, writable=self.writable)
        except _BAD_SCHEMA as error:
            raise DataError(f"{self.path}: damaged beyond use; put back a copy of the file") from error
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"{self.path}: cannot be opened ({error}); is this a gallery?") from error

    def _after_fork(self) -> None:
        """Open a connection for a forked child, and a lock: a thread of the parent may have held the old one."""
        self._lock = threading.RLock()
        self._process = os.getpid()
        if self._connection is not None:
            self._inherited.append(self._connection)
            self.writable = False
            self._open()


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    mode = "rw" if writable else "ro"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_WAIT_S, check_same_thread=False)
    # Damaged bytes need not be UTF-8, and their checksum is of bytes.
    db.text_factory = bytes
    if writable:
        try:
            # An acknowledged face is on disk, not in a cache.
            db.execute("PRAGMA synchronous = FULL")
        except (sqlite3.Error, *_BAD_SCHEMA):
            db.close()
            raise
    return db


def _undo_interrupted(path: Path) -> None:
    """Roll back the transaction of a killed writer; SQLite does this itself on connections that may write."""
    try:
        db = _connect(path, writable=True)
        try:
            db.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
        finally:
            db.close()
    except (sqlite3.Error, *_BAD_SCHEMA) as error:
        raise DataError(
            f"{path}: a writer was interrupted, and what it left cannot be undone here ({error}); "
            "open the gallery once where it can be written"
        ) from error


def _code(error: Exception) -> int:
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else 0


def _named(path: Path, error: Exception) -> DataError:
    """Return an error with one line for the user."""
    code, reason = _code(error), " ".join(str(error).split())
    if code in _DAMAGE or not isinstance(error, sqlite3.Error):
        return DamagedPagesError(f"{path}: damaged ({reason}); run: whyface gallery repair {path.parent}")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return DataError(f"{path}: another process has been writing for {_WAIT_S} s; try again ({reason})")
    return DataError(f"{path}: cannot be read ({reason}); if this is a gallery, put back a copy of the file")
