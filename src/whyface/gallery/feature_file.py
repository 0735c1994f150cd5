"""The feature file on disk: memory-mapped for reading, append-only for writing.

How many records count is not written here but in the table of names, which is written after them. Whatever a crash
leaves behind the last counted record was never promised to anybody and is written over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, OutputError
from whyface.gallery.layout import HEADER, Layout, read_header

FILE_NAME: Final = "features.bin"


class FeatureFile:
    """Records of one layout in a file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    DataError
        If it is missing, or no gallery's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.layout = read_header(file.read(HEADER), str(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); is this a gallery?") from error

    @classmethod
    def create(cls, path: Path, layout: Layout) -> FeatureFile:
        """Write a file with a header and no records; it must not exist.

        Raises
        ------
        OutputError
            If it exists or cannot be written.
        """
        try:
            with path.open("xb") as file:
                file.write(layout.header())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        return cls(path)

    def append(self, start: int, records: NDArray[Any]) -> None:
        """Write records behind the first ``start``; returns once they are on the disk.

        Raises
        ------
        OutputError
            If they cannot be written, for example because the disk is full. What was there stays as it was.
        """
        offset = HEADER + start * self.layout.record.itemsize
        try:
            with self.path.open("r+b", buffering=0) as file:
                try:
                    file.truncate(offset)
                    file.seek(offset)
                    _write_all(file, records.tobytes())
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(offset)
                    raise
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); nothing was added, what was there is unharmed"
            ) from error

    def available(self) -> int:
        """Count the whole records that the file holds."""
        return max(0, (self.path.stat().st_size - HEADER) // self.layout.record.itemsize)

    def records(self, count: int) -> NDArray[Any]:
        """Map the first ``count`` records, or as many of them as there are, read-only."""
        count = min(count, self.available())
        if count == 0:
            return np.zeros(0, self.layout.record)
        return np.memmap(self.path, self.layout.record, mode="r", offset=HEADER, shape=(count,))


def _write_all(file: Any, data: bytes) -> None:
    """Write until all is written: a raw write to a nearly full disk takes a part and says so only by its count."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
