"""Names and sources of a gallery's pictures, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from whyface.errors import DataError, InputError, OutputError

FILE_NAME: Final = "names.sqlite"

_SCHEMA: Final = """
CREATE TABLE faces (
    record INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    added TEXT NOT NULL,
    removed TEXT
);
CREATE INDEX faces_by_name ON faces (name);
CREATE INDEX faces_by_digest ON faces (digest);
CREATE INDEX faces_removed ON faces (record) WHERE removed IS NOT NULL;
"""


@dataclass(frozen=True)
class FaceRow:
    """One face: record number, person, source of the picture, SHA-256 of its pixels, time added."""

    record: int
    name: str
    source: str
    digest: str
    added: str


class NameTable:
    """The table of one gallery.

    Parameters
    ----------
    path
        The database; it must exist.
    writable
        Whether to open it for changes.

    Raises
    ------
    DataError
        If it is missing or not such a table.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self.path = path
        try:
            self._db = _connect(path, writable=writable)
        except sqlite3.Error as error:
            if writable or not Path(f"{path}-journal").exists():
                raise DataError(f"{path}: cannot be opened ({error}); is this a gallery?") from error
            self._db = _undo_interrupted(path)

    @classmethod
    def create(cls, path: Path) -> NameTable:
        """Write an empty table.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        try:
            with sqlite3.connect(path) as db:
                db.executescript(_SCHEMA)
            db.close()
        except sqlite3.Error as error:
            raise OutputError(f"{path}: cannot be written ({error})") from error
        return cls(path, writable=True)

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def count(self) -> int:
        """Return the number of records ever committed, including removed ones."""
        (last,) = self._db.execute("SELECT MAX(record) FROM faces").fetchone()
        return 0 if last is None else int(last) + 1

    def add(self, start: int, faces: Sequence[tuple[str, str, str]]) -> None:
        """Commit the records from ``start``: name, source and digest of each.

        Raises
        ------
        OutputError
            If they cannot be written; then none is committed.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [(start + index, *face, now) for index, face in enumerate(faces)]
        with self._changing() as db:
            db.executemany("INSERT INTO faces (record, name, source, digest, added) VALUES (?, ?, ?, ?, ?)", rows)

    def remove(self, records: Sequence[int]) -> None:
        """Mark records as removed."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._changing() as db:
            db.executemany("UPDATE faces SET removed = ? WHERE record = ?", [(now, record) for record in records])

    def removed(self) -> list[int]:
        """Return the removed records."""
        return [row[0] for row in self._db.execute("SELECT record FROM faces WHERE removed IS NOT NULL")]

    def faces(self, records: Sequence[int]) -> dict[int, FaceRow]:
        """Look up records, including removed ones."""
        return {row.record: row for number in records for row in self._rows("record = ?", number)}

    def of_person(self, name: str) -> list[FaceRow]:
        """Return a person's faces that are not removed."""
        return list(self._rows("name = ? AND removed IS NULL ORDER BY record", name))

    def of_digest(self, digest: str) -> list[FaceRow]:
        """Return the faces with exactly these pixels that are not removed."""
        return list(self._rows("digest = ? AND removed IS NULL ORDER BY record", digest))

    def people(self) -> dict[str, int]:
        """Return the number of faces of each person that are not removed, sorted by name."""
        query = "SELECT name, COUNT(*) FROM faces WHERE removed IS NULL GROUP BY name ORDER BY name"
        return dict(self._db.execute(query))

    def labels(self) -> list[tuple[int, str]]:
        """Return number and name of every record that is not removed."""
        return list(self._db.execute("SELECT record, name FROM faces WHERE removed IS NULL ORDER BY record"))

    def _rows(self, condition: str, value: str | int) -> Iterator[FaceRow]:
        if isinstance(value, str) and not value:
            raise InputError("a person needs a name")
        # The condition is one of the constants above, never a user's text.
        query = f"SELECT record, name, source, digest, added FROM faces WHERE {condition}"
        return (FaceRow(*row) for row in self._db.execute(query, (value,)))

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._db:
                yield self._db
        except sqlite3.Error as error:
            raise OutputError(f"{self.path}: cannot be written ({error}); nothing was changed") from error


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    mode = "rw" if writable else "ro"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5, check_same_thread=False)
    try:
        # An acknowledged face is on disk, not in a cache.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("SELECT record, removed FROM faces LIMIT 1")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _undo_interrupted(path: Path) -> sqlite3.Connection:
    """Roll back the transaction of a killed writer; SQLite does this itself on connections that may write."""
    try:
        _connect(path, writable=True).close()
        return _connect(path, writable=False)
    except sqlite3.Error as error:
        raise DataError(
            f"{path}: a writer was interrupted, and what it left cannot be undone here ({error}); "
            "open the gallery once where it can be written"
        ) from error
