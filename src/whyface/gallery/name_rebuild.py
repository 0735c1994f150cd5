"""Rewrite a gallery: to erase what was removed, to add checksums, or to keep what is left of damaged names."""

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

INDEX_NAME: Final = "shortlist.faiss"
ABOUT_NAME: Final = "shortlist.json"
HEAD_NAME: Final = "uncertainty.safetensors"
"""File of the evidential head that was fitted to the gallery's people."""

DERIVED: Final = (ABOUT_NAME, INDEX_NAME, HEAD_NAME)
"""Files that were computed from all faces. They hold something of each, so they go with any face."""

_STRETCH: Final = 4096


def erase_removed(table: NameTable, file: FeatureFile, numbers: Iterable[int] | None = None) -> None:
    """Erase names, sources and features of removed faces from a gallery's folder.

    Their records become blank where they are; the table of names is written anew; files that were computed from all
    faces are deleted. The gallery is open for writing. If this is interrupted, the next writer does it again. Raise
    OutputError if it cannot be written.

    Parameters
    ----------
    numbers
        The records to blank, already marked as removed; by default all that are.
    """
    removed = table.removed()
    if numbers is None:
        table.remove(removed)
    file.erase(removed if numbers is None else numbers)
    folder = file.path.parent
    try:
        for name in DERIVED:
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise OutputError(f"{folder}: what was removed cannot be erased yet ({error.strerror})") from error
    table.erase()


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


def repair_gallery(path: Path | str, *, key: bytes | None = None) -> list[FaceRow]:
    """Rewrite a gallery's table of names, with checksums.

    All faces with an intact name and intact features stay. The others are removed, and what is left of them erased.
    Return the faces that were dropped, which can be enrolled again. The name is empty where the row is lost. Raise
    DataError if there is no gallery, or nothing of its names can be read, OutputError if the table cannot be written,
    or another process is writing, and InputError if it is encrypted and ``key`` is not its key.
    """
    path = Path(path)
    require_gallery(path)
    lock = take_lock(path)
    try:
        file = FeatureFile(path / feature_file.FILE_NAME, key)
        table = NameTable(path / name_table.FILE_NAME, writable=True, cipher=file.cipher)
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
        gone = not whole or found.removed is not None
        kept.append(found.emptied(now) if gone else found._replace(feature=crc))
    # Faces without features need no row, and new faces may take their numbers.
    _put_in_place(table, kept[: file.available()])
    erase_removed(table, file)
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
        NameTable.create(new, rows, cipher=table.cipher).close()
        new.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); nothing was changed") from error
    finally:
        if new is not None:
            new.unlink(missing_ok=True)
    table.refresh()
