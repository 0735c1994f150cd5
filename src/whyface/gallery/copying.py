"""Copy a gallery without gaps, encrypted or not."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from whyface.errors import OutputError
from whyface.files.integrity import folder_at_once
from whyface.files.progress import ProgressCallback
from whyface.gallery import feature_file, name_table
from whyface.gallery.feature_file import FeatureFile, checksum, intact
from whyface.gallery.gallery import Gallery
from whyface.gallery.name_table import NameTable
from whyface.gallery.opening import MODEL_NAME

_STRETCH: Final = 4096


def copy_gallery(
    source: Gallery, path: Path | str, *, key: bytes | None = None, progress: ProgressCallback | None = None
) -> int:
    """Copy the faces of a gallery into a new one, without the gaps of removed faces; they get new numbers.

    Parameters
    ----------
    source
        The gallery; its model is not needed.
    path
        Folder of the new gallery; it must not exist.
    key
        Key of the new gallery, which is encrypted then.
    progress
        Called with the number of faces done and the total.

    Returns
    -------
    The number of faces copied; damaged ones are left out.

    Raises
    ------
    OutputError
        If the path exists, or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise OutputError(f"{path}: already exists; choose another name")
    numbers = [number for number, _ in source.labels()]
    done = 0
    try:
        with folder_at_once(path) as folder:
            file = FeatureFile.create(folder / feature_file.FILE_NAME, source.layout, key)
            table = NameTable.create(folder / name_table.FILE_NAME, cipher=file.cipher)
            try:
                for start in range(0, len(numbers), _STRETCH):
                    done += _copy_some(source, numbers[start : start + _STRETCH], file, table, done)
                    if progress is not None:
                        progress(min(start + _STRETCH, len(numbers)), len(numbers))
            finally:
                table.close()
            with suppress(FileNotFoundError):
                shutil.copyfile(source.path / MODEL_NAME, folder / MODEL_NAME)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({error.strerror})") from error
    return done


def _copy_some(source: Gallery, numbers: list[int], file: FeatureFile, table: NameTable, start: int) -> int:
    whole = [number for number in numbers if intact(source.records[number : number + 1], number)[0]]
    source.damaged |= set(numbers) - set(whole)
    rows = source.rows(whole)
    whole = [number for number in whole if number in rows]
    # Slices keep the bytes between the fields, which belong to the checksum.
    joined = b"".join(source.records[number : number + 1].tobytes() for number in whole)
    records = np.frombuffer(bytearray(joined), file.layout.record)
    records["number"] = range(start, start + len(records))
    for record in records:
        record["crc"] = checksum(record)
    file.append(start, records)
    checksums = records["crc"].tolist()
    table.insert(
        [
            rows[number]._replace(record=place, feature=crc)
            for place, (number, crc) in enumerate(zip(whole, checksums, strict=True), start)
        ]
    )
    return len(records)
