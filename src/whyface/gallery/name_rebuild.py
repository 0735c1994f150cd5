"""Rewrite a gallery's table of names: to add checksums, or to keep what is left of a damaged one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from whyface.errors import DataError, OutputError
from whyface.files.integrity import TEMPORARY, sync_folder
from whyface.gallery import feature_file, name_table
from whyface.gallery.feature_file import FeatureFile, intact, require_gallery, take_lock
from whyface.gallery.name_database import UNKNOWN, DamagedPagesError, FaceRow
from whyface.gallery.name_table import NameTable

_STRETCH: Final = 4096


def give_checksums(table: NameTable, file: FeatureFile) -> None:
    """Add checksums to a table of an earlier release, and tie its rows to the feature records.

    Only the gallery's writer may do this. Raise OutputError if the table is damaged, so that the checksums would be of
    damaged rows, or cannot be written.
    """
    count = table.count()
    rows = list(table.scan(count))
    if table.problems() or None in rows:
        raise OutputError(
            f"{table.path}: damaged, and without checksums; put back a copy, or keep what can be read with: "
            f"whyface gallery repair {table.path.parent}"
        )
    checksums = _checksums(file, count)
    tied = [
        row._replace(feature=UNKNOWN if crc is None else crc) for row, crc in zip(rows, checksums, strict=True) if row
    ]
    _put_in_place(table, tied)


def repair_gallery(path: Path | str) -> list[FaceRow]:
    """Rewrite a gallery's table of names, with checksums.

    All faces with an intact name and intact features stay. The others count as removed from now on. Return the faces
    that were dropped, which can be enrolled again. The name is empty where the row is lost. Raise DataError if there is
    no gallery, or nothing of its names can be read, and OutputError if the table cannot be written, or another process
    is writing.
    """
    path = Path(path)
    require_gallery(path)
    lock = take_lock(path)
    try:
        file = FeatureFile(path / feature_file.FILE_NAME)
        table = NameTable(path / name_table.FILE_NAME, writable=True)
        try:
            return _repair(table, file)
        finally:
            table.close()
    finally:
        lock.release()


def _repair(table: NameTable, file: FeatureFile) -> list[FaceRow]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        count = table.count()
        rows = list(table.scan(count))
    except DamagedPagesError as error:
        raise DataError(f"{table.path}: damaged beyond repair; put back a copy of the file") from error
    kept: list[FaceRow] = []
    dropped: list[FaceRow] = []
    for number, (row, crc) in enumerate(zip(rows, _checksums(file, count), strict=True)):
        found = row or FaceRow(number, "", "", "", now)
        whole = row is not None and crc is not None and row.belongs_to(crc)
        if not whole and found.removed is None:
            dropped.append(found)
            found = found._replace(removed=now)
        kept.append(found._replace(feature=UNKNOWN if crc is None else crc))
    # Faces without features need no row, and new faces may take their numbers.
    _put_in_place(table, kept[: file.available()])
    return dropped


def _checksums(file: FeatureFile, count: int) -> Iterator[int | None]:
    """Yield the CRC-32 of every record, or None where it is damaged or missing."""
    records = file.records(count)
    for start in range(0, len(records), _STRETCH):
        part = records[start : start + _STRETCH]
        for crc, whole in zip(part["crc"].tolist(), intact(part, start).tolist(), strict=True):
            yield crc if whole else None
    yield from [None] * (count - len(records))


def _put_in_place(table: NameTable, rows: Iterable[FaceRow]) -> None:
    """Write a new table beside the old one, replace the old one once the new one is complete, and open it."""
    path = table.path
    new: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        os.close(descriptor)
        new = Path(name)
        new.chmod(path.stat().st_mode & 0o777)
        NameTable.create(new, rows).close()
        new.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error
    finally:
        if new is not None:
            new.unlink(missing_ok=True)
    table.refresh()
