"""Rows of a gallery's table of names, with checksums, so that damage is noticed before a row is used."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

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
