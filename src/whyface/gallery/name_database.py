"""The database of a gallery's names: its rows with checksums, so that damage is noticed before a row is used."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from whyface.errors import DataError, InputError, OutputError, reason
from whyface.gallery.encryption import Cipher

UNKNOWN: Final = -1
"""In place of the checksum of a feature record that was already damaged when the table got checksums."""

COLUMNS: Final = ("record", "name", "source", "digest", "added", "removed", "feature", "checksum")
"""The table's columns. Releases without checksums wrote the first six."""
_ROW: Final = b"%d\0%b\0%b\0%b\0%b\0%b\0%d"


class FaceRow(NamedTuple):
    """One face.

    Attributes
    ----------
    record
        Number of its record in the feature file.
    name
        The person.
    source
        Where the picture came from.
    digest
        SHA-256 of its pixels, or empty.
    added, removed
        When, as ISO 8601; ``removed`` is None while the face is there.
    feature
        CRC-32 of its record in the feature file, :data:`UNKNOWN`, or None in a table without checksums. It ties the
        name to the features: the files of two galleries do not go together.
    """

    record: int
    name: str
    source: str
    digest: str
    added: str
    removed: str | None = None
    feature: int | None = None

    def checksum(self) -> int:
        """Return the CRC-32 of the whole row."""
        texts = (self.name, self.source, self.digest, self.added, self.removed or "")
        return _crc(self.record, *(text.encode() for text in texts), self.feature)

    def emptied(self, removed: str) -> FaceRow:
        """Return the row that stays of a removed face: numbers and dates."""
        return FaceRow(self.record, "", "", "", self.added, self.removed or removed, UNKNOWN)

    def sealed(self, cipher: Cipher) -> FaceRow:
        """Return the row as an encrypted gallery keeps it: texts and checksum sealed in place of the name."""
        if not self.name:
            return self
        text = json.dumps([self.name, self.source, self.digest, self.feature]).encode()
        # In steps of 64 bytes, so that the size does not give the name away.
        sealed = cipher.lock(text.ljust(-(-len(text) // 64) * 64), b"name %d" % self.record)
        return FaceRow(self.record, base64.b64encode(sealed).decode(), "", "", self.added, self.removed, UNKNOWN)

    def opened(self, cipher: Cipher) -> FaceRow | None:
        """Return the row that was sealed like this, or None if it was changed."""
        try:
            text = cipher.unlock(base64.b64decode(self.name, validate=True), b"name %d" % self.record)
        except ValueError:
            return None
        if text is None:
            return None
        # Sealed by whyface, or it would not open.
        name, source, digest, feature = json.loads(text)
        return FaceRow(self.record, name, source, digest, self.added, self.removed, feature)

    def belongs_to(self, feature: int) -> bool:
        """Return whether a feature record with this CRC-32 can be this face's."""
        return self.feature is None or self.feature in {UNKNOWN, feature}


def whole_row(values: tuple[Any, ...]) -> FaceRow | None:
    """Return the row that the database returned, or None if it is damaged.

    Parameters
    ----------
    values
        By :data:`COLUMNS`, texts as bytes; six of them from a table without checksums, where little can be checked.
    """
    record, name, source, digest, added, removed, *more = values
    try:
        if more and _crc(record, name, source, digest, added, removed or b"", more[0]) != more[1]:
            return None
        return FaceRow(
            record,
            name.decode(),
            source.decode(),
            digest.decode(),
            added.decode(),
            None if removed is None else removed.decode(),
            more[0] if more else None,
        )
    except (TypeError, AttributeError, UnicodeDecodeError):
        # Of another type, or no UTF-8.
        return None


def _crc(*values: Any) -> int:
    return zlib.crc32(_ROW % values)


@dataclass(frozen=True)
class Totals:
    """Sums over all rows, stored beside them: they reveal rows that are lost or out of date.

    Attributes
    ----------
    faces
        Number of rows; their records are 0 to ``faces`` - 1.
    checksums
        Sum of the rows' checksums.
    removed
        Number of removed faces.
    removed_marks
        Sum of the marks of their records.
    """

    faces: int = 0
    checksums: int = 0
    removed: int = 0
    removed_marks: int = 0

    def checksum(self) -> int:
        """Return the CRC-32 of these numbers."""
        return zlib.crc32(b"%d %d %d %d" % (self.faces, self.checksums, self.removed, self.removed_marks))

    def plus(self, rows: Iterable[FaceRow], *, sign: int = 1) -> Totals:
        """Return the totals with these rows added, or subtracted with ``sign`` -1."""
        faces, checksums, removed, marks = self.faces, self.checksums, self.removed, self.removed_marks
        for row in rows:
            faces += sign
            checksums += sign * row.checksum()
            if row.removed is not None:
                removed += sign
                marks += sign * mark(row.record)
        return Totals(faces, checksums, removed, marks)

    def fit_removed(self, records: list[int]) -> bool:
        """Return whether these are exactly the removed records."""
        return len(records) == self.removed and sum(mark(record) for record in records) == self.removed_marks


def mark(record: int) -> int:
    """Return a number for a record such that sums of them differ between sets of records."""
    return zlib.crc32(b"%d" % record)


_WAIT_S: Final = 30
_ATTEMPTS: Final = 3
_BAD_SCHEMA: Final = (UnicodeDecodeError,)
"""What the sqlite3 module raises where SQLite quotes damaged names of tables and columns."""

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_TOOBIG})


class DamagedPagesError(DataError):
    """Some pages of a database are damaged; others can still be read."""


class Database:
    """A connection to an existing database file.

    Raise DataError if it cannot be opened.

    Parameters
    ----------
    path
        The file.
    writable
        Open it for changes.
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

        Raise DataError if there is none.
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
        connection that may write has rolled them back, so this is done here. Raise DataError if it cannot be read;
        :class:`DamagedPagesError` if other queries may work. Raise InputError if it was closed.
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

        Raise OutputError if they cannot be written, or the file was not opened for changes in this process.
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

    def compact(self) -> None:
        """Write the whole file anew, so that nothing is left of values that were changed.

        Raise OutputError if it cannot be written.
        """
        with self._lock:
            if self._process != os.getpid() or not self.writable or self._connection is None:
                raise OutputError(f"{self.path}: not opened for changes in this process; open the gallery here")
            try:
                self._connection.execute("VACUUM")
            except (sqlite3.Error, *_BAD_SCHEMA) as error:
                raise OutputError(f"{self.path}: what was removed cannot be erased yet ({error})") from error

    def _open(self) -> None:
        self._process = os.getpid()
        self._connection = None
        try:
            self._inode = self.path.stat().st_ino
            self._connection = _connect(self.path, writable=self.writable)
        except _BAD_SCHEMA as error:
            raise DataError(f"{self.path}: damaged beyond use; put back a copy of the file") from error
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"{self.path}: cannot be opened ({reason(error)}); is this a gallery?") from error

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
            # Names that are erased shall not go into a temporary file elsewhere.
            db.execute("PRAGMA temp_store = MEMORY")
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
