"""Names and sources of a gallery's pictures, in SQLite."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from whyface.errors import DataError, InputError, OutputError
from whyface.gallery.encryption import Cipher
from whyface.gallery.name_database import COLUMNS, DamagedPagesError, Database, FaceRow, Totals, whole_row

FILE_NAME: Final = "names.sqlite"

FORMAT: Final = 2
"""Format of a table with checksums, kept as SQLite's ``user_version``; tables without have 0."""

_SCHEMA: Final = f"""
CREATE TABLE faces (
    record INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    digest TEXT NOT NULL,
    added TEXT NOT NULL,
    removed TEXT,
    feature INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE INDEX faces_by_name ON faces (name);
CREATE INDEX faces_by_digest ON faces (digest);
CREATE INDEX faces_removed ON faces (record) WHERE removed IS NOT NULL;
CREATE TABLE totals (
    faces INTEGER NOT NULL,
    checksums INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    removed_marks INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);
INSERT INTO totals VALUES (0, 0, 0, 0, {Totals().checksum()});
PRAGMA user_version = {FORMAT};
"""

_LEAST_ROW: Final = 32
"""Bytes that a row takes at least: the date alone has 25. It bounds how many rows a file can hold."""

_STRETCH, _AT_ONCE = 4096, 256
_TO_ERASE: Final = 1
"""SQLite's ``application_id`` while bytes of removed faces may still be on disk."""


class NameTable:
    """The table of one gallery. All rows that it returns were checked; damaged ones are left out.

    Threads may share it. A forked child reads through its own connection. Raise DataError if it is missing, damaged
    beyond use, or not such a table.

    Parameters
    ----------
    path
        The database; it must exist.
    writable
        Whether to open it for changes.
    cipher
        That of an encrypted gallery.
    """

    def __init__(self, path: Path, *, writable: bool = False, cipher: Cipher | None = None) -> None:
        self.path = path
        self.cipher = cipher
        self._open_rows: dict[str, FaceRow | None] = {}
        self._numbers: tuple[tuple[int, ...], dict[tuple[str, str], list[int]]] | None = None
        self.database = Database(path, writable=writable)
        self._read = self.database.read
        try:
            self.checked = self._format()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, path: Path, rows: Iterable[FaceRow] = (), *, cipher: Cipher | None = None) -> NameTable:
        """Write a table of these rows, whose records are 0, 1, 2 and so on; none by default.

        Raise OutputError if it cannot be written.
        """
        try:
            with sqlite3.connect(path) as db:
                db.executescript(_SCHEMA)
            db.close()
        except sqlite3.Error as error:
            raise OutputError(f"{path}: cannot be written ({error})") from error
        table = cls(path, writable=True, cipher=cipher)
        try:
            table.insert(list(rows))
        except BaseException:
            table.close()
            raise
        return table

    def close(self) -> None:
        """Release the file."""
        self.database.close()

    def refresh(self) -> None:
        """Open the table again if another file has replaced it, for example one with checksums."""
        if self.database.reopen():
            self.checked = self._format()

    def count(self) -> int:
        """Return the number of records ever committed, including removed ones."""
        # No flipped bit makes more of them than the file has room for.
        room = self.path.stat().st_size // _LEAST_ROW
        totals = self._totals() if self.checked else None
        if totals is not None and 0 <= totals.faces <= room:
            return totals.faces
        ((last, rows),) = self._read("SELECT MAX(record), COUNT(*) FROM faces")
        committed = 0 if last is None else int(last) + 1
        return max(0, committed if committed <= room else int(rows))

    def next_record(self) -> int:
        """Return the number of the next face.

        Raise OutputError if the totals are damaged, so that it is not certain.
        """
        return self._sound_totals().faces

    def add(self, start: int, faces: Sequence[tuple[str, str, str]], features: Sequence[int]) -> None:
        """Commit the records from ``start``.

        Raise OutputError if they cannot be written; then none is committed.

        Parameters
        ----------
        faces
            A name, a source and a digest each.
        features
            CRC-32 of each face's record in the feature file.
        """
        now = _now()
        numbers = range(start, start + len(faces))
        self.insert(
            [
                FaceRow(number, *face, now, None, int(crc))
                for number, face, crc in zip(numbers, faces, features, strict=True)
            ]
        )

    def remove(self, records: Sequence[int]) -> None:
        """Mark records as removed and empty their rows; :meth:`erase` does the rest. Others stay as they are.

        Raise OutputError if it cannot be written; then nothing was changed.
        """
        now = _now()
        with self.database.changing() as db:
            totals = self._sound_totals()
            before = [row for row in self._stored(records).values() if row.removed is None or row.name]
            after = [row.emptied(now) for row in before]
            db.executemany(
                "UPDATE faces SET name = '', source = '', digest = '', removed = ?, feature = ?, checksum = ? "
                "WHERE record = ?",
                [(row.removed, row.feature, row.checksum(), row.record) for row in after],
            )
            _write_totals(db, totals.plus(before, sign=-1).plus(after))
            db.execute(f"PRAGMA application_id = {_TO_ERASE}")

    def to_erase(self) -> bool:
        """Return whether bytes of removed faces may still be on disk: of a run that was killed, or a former release."""
        ((mark,),) = self._read("PRAGMA application_id")
        return bool(mark) or bool(self._read("SELECT 1 FROM faces WHERE removed IS NOT NULL AND name <> '' LIMIT 1"))

    def erase(self) -> None:
        """Write the whole file anew, so that nothing is left of emptied rows. Raise OutputError if it cannot be."""
        self.database.compact()
        with self.database.changing() as db:
            db.execute("PRAGMA application_id = 0")

    def removed(self) -> list[int]:
        """Return the removed records."""
        try:
            found = [int(row[0]) for row in self._read("SELECT record FROM faces WHERE removed IS NOT NULL")]
            totals = self._totals() if self.checked else None
            if totals is None or totals.fit_removed(found):
                return found
        except DamagedPagesError:
            pass
        # The index is damaged, but the rows hold the same information.
        return [row.record for row in self.scan(self.count()) if row is not None and row.removed is not None]

    def faces(self, records: Iterable[int]) -> dict[int, FaceRow]:
        """Look up records, including removed ones, without those whose row is missing or damaged."""
        return {number: row for number, stored in self._stored(records).items() if (row := self._open(stored))}

    def _stored(self, records: Iterable[int]) -> dict[int, FaceRow]:
        """Look up records as they are in the file, where texts may be sealed."""
        wanted = [int(record) for record in records]
        found: dict[int, FaceRow] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            try:
                found |= self._rows(f"record IN ({', '.join('?' * len(part))})", *part)
            except DamagedPagesError:
                for record in part:
                    with suppress(DamagedPagesError):
                        found |= self._rows("record = ?", record)
        # A damaged tree may lead to another row than the one asked for.
        return {record: found[record] for record in wanted if record in found}

    def of_person(self, name: str) -> list[FaceRow]:
        """Return a person's faces that are not removed. Raise InputError if the name is empty."""
        if not name:
            raise InputError("a person needs a name")
        return self._where("name", name)

    def of_digest(self, digest: str) -> list[FaceRow]:
        """Return the faces with exactly these pixels that are not removed."""
        return self._where("digest", digest)

    def scan(self, stop: int) -> Iterator[FaceRow | None]:
        """Yield the rows of the records 0 to ``stop`` - 1, in order; None where a row is missing or damaged."""
        return map(self._open, self._scan_stored(stop))

    def _scan_stored(self, stop: int) -> Iterator[FaceRow | None]:
        for start in range(0, stop, _STRETCH):
            end = min(start + _STRETCH, stop)
            try:
                found = self._rows("record >= ? AND record < ?", start, end)
            except DamagedPagesError:
                found = self._stored(range(start, end))
            yield from (found.get(record) for record in range(start, end))

    def problems(self) -> list[str]:
        """Read everything and return what is wrong with the table itself, a line each; single rows are not listed."""
        try:
            lines = [line.decode("utf-8", "replace") for (line,) in self._read("PRAGMA integrity_check(3)")]
        except DamagedPagesError as error:
            return [str(error)]
        problems = [" ".join(line.split()) for line in lines if line != "ok"]
        if self.checked:
            count = self.count()
            rows = [row for row in self._scan_stored(count) if row is not None]
            # Damaged rows are reported one by one; where there are none, the sums must fit.
            if len(rows) == count and Totals().plus(rows) != self._totals():
                problems.append("the rows do not add up to the table's totals")
        return problems

    def _format(self) -> bool:
        """Return whether the rows have checksums. No single damaged byte makes them look absent."""
        try:
            ((version,),) = self._read("PRAGMA user_version")
            columns = tuple(row[1].decode("utf-8", "replace") for row in self._read("PRAGMA table_info(faces)"))
        except DamagedPagesError as error:
            raise DataError(f"{self.path}: damaged beyond use; put back a copy of the file") from error
        if version not in {0, FORMAT}:
            raise DataError(f"{self.path}: of a later release (format {version}), or damaged; update whyface")
        if columns != (COLUMNS if version == FORMAT else COLUMNS[:6]):
            raise DataError(f"{self.path}: damaged beyond use; put back a copy of the file")
        self._columns = ", ".join(columns)
        return bool(version == FORMAT)

    def _totals(self) -> Totals | None:
        """Return the totals, or None if they are damaged."""
        try:
            rows = self._read("SELECT faces, checksums, removed, removed_marks, checksum FROM totals")
        except DamagedPagesError:
            return None
        if len(rows) != 1 or any(type(value) is not int for value in rows[0]):
            return None
        totals = Totals(*rows[0][:4])
        return totals if totals.checksum() == rows[0][4] else None

    def _sound_totals(self) -> Totals:
        totals = self._totals() if self.checked else None
        if totals is None:
            raise OutputError(f"{self.path}: has no sound checksums; run: whyface gallery repair {self.path.parent}")
        return totals

    def _rows(self, condition: str, *values: int | str) -> dict[int, FaceRow]:
        # The condition is one of the constants here, never a user's text.
        found = map(whole_row, self._read(f"SELECT {self._columns} FROM faces WHERE {condition}", *values))
        return {row.record: row for row in found if row is not None}

    def _where(self, column: Literal["name", "digest"], text: str) -> list[FaceRow]:
        rows: Iterable[FaceRow | None]
        try:
            if self.cipher is not None:
                rows = self.faces(self._index().get((column, text), ())).values()
            else:
                rows = self._rows(f"{column} = ? AND removed IS NULL ORDER BY record", text).values()
        except DamagedPagesError:
            rows = self.scan(self.count())
        return [row for row in rows if row is not None and row.removed is None and getattr(row, column) == text]

    def _index(self) -> dict[tuple[str, str], list[int]]:
        """Return the records by name and by digest, for an encrypted table: the file's own indexes cannot help."""
        state = self.database.state()
        if self._numbers is None or self._numbers[0] != state:
            found: dict[tuple[str, str], list[int]] = defaultdict(list)
            for row in self.scan(self.count()):
                if row is not None and row.removed is None:
                    found["name", row.name].append(row.record)
                    found["digest", row.digest].append(row.record)
            self._numbers = state, dict(found)
        return self._numbers[1]

    def _open(self, row: FaceRow | None) -> FaceRow | None:
        """Return a row with its texts opened, or None if they were changed."""
        if row is None or self.cipher is None or not row.name:
            return row
        if row.name not in self._open_rows:
            self._open_rows[row.name] = row.opened(self.cipher)
        opened = self._open_rows[row.name]
        # What was sealed in one row does not open in another.
        same = opened is not None and opened.record == row.record
        return opened._replace(added=row.added, removed=row.removed) if opened is not None and same else None

    def insert(self, rows: Sequence[FaceRow]) -> None:
        """Commit whole rows, the first of which has the next number; see :meth:`add`."""
        if self.cipher is not None:
            rows = [row.sealed(self.cipher) for row in rows]
        with self.database.changing() as db:
            totals = self._sound_totals()
            if rows and rows[0].record != totals.faces:
                raise OutputError(f"{self.path}: {totals.faces} faces are there, not {rows[0].record}; open it anew")
            places = ", ".join("?" * len(COLUMNS))
            db.executemany(f"INSERT INTO faces VALUES ({places})", [(*row, row.checksum()) for row in rows])
            _write_totals(db, totals.plus(rows))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_totals(db: sqlite3.Connection, totals: Totals) -> None:
    values = (*astuple(totals), totals.checksum())
    db.execute("UPDATE totals SET faces = ?, checksums = ?, removed = ?, removed_marks = ?, checksum = ?", values)
