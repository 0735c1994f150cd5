"""Results in Parquet files: one file per chunk, with a checksum, so that a killed run can be resumed."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError, OutputError, reason
from whyface.files.guarded import LARGEST_TEXT, parse_json, read_guarded, read_json
from whyface.files.integrity import remove_leftovers, write_atomic
from whyface.files.json_values import mapping

METADATA_KEY: Final = b"whyface"
"""Key of the JSON text in a file's metadata."""
SETTINGS: Final = "settings.json"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def require_pyarrow() -> None:
    """Check that Parquet can be written, before any work is done.

    Raise InputError if pyarrow is not installed; the message says what to install.
    """
    parquet_modules()


def parquet_modules() -> tuple[Any, Any]:
    """Import ``pyarrow`` and ``pyarrow.parquet``.

    Raise InputError if they are not installed; the message says what to install.
    """
    try:
        import pyarrow as arrow  # noqa: PLC0415 - an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise InputError("Parquet files need pyarrow; run: pip install 'whyface[evaluate]'") from error
    return arrow, parquet


def csv_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for a CSV file whose texts a spreadsheet takes for texts.

    A text that begins like a formula gets an apostrophe in front: a photo may be called ``=HYPERLINK(...).jpg`` by
    somebody else than the person who opens the table. Numbers stay.
    """
    return {
        name: f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
        for name, value in row.items()
    }


@dataclass(frozen=True, eq=False)
class Rows:
    """Measured values, one per pair and step.

    Attributes
    ----------
    measure
        Name of the measure.
    pair
        (R,): number of the pair in the protocol.
    step
        (R,) float64: position on the curve, or 0 if there is no curve.
    value
        (R,) float64.
    """

    measure: str
    pair: NDArray[np.intp]
    step: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ResultTable:
    """All rows of one method on one model.

    Attributes
    ----------
    settings
        Settings of the run, as JSON values.
    test, measure
        (R,) str.
    pair
        (R,) int, the pair's number in the protocol.
    step, value
        (R,) float64.
    """

    settings: Mapping[str, Any]
    test: NDArray[np.str_]
    measure: NDArray[np.str_]
    pair: NDArray[np.intp]
    step: NDArray[np.float64]
    value: NDArray[np.float64]

    def only(self, pairs: NDArray[np.intp]) -> ResultTable:
        """Return the rows of these pairs."""
        kept = np.isin(self.pair, pairs)
        names, numbers = (self.test[kept], self.measure[kept]), (self.step[kept], self.value[kept])
        return ResultTable(self.settings, *names, self.pair[kept], *numbers)

    def steps(self, test: str, measure: str) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        """Return one measure as (pairs (N,), steps (K,), values (N, K)); N is 0 if it was not measured."""
        chosen = (self.test == test) & (self.measure == measure)
        pairs, rows = np.unique(self.pair[chosen], return_inverse=True)
        steps, columns = np.unique(self.step[chosen], return_inverse=True)
        values = np.full((len(pairs), len(steps)), np.nan)
        values[rows, columns] = self.value[chosen]
        return pairs, steps, values


def open_folder(folder: Path, settings: Mapping[str, Any], *, growing: str | None = None, step: int = 1) -> None:
    """Create the folder of a run, or check that it belongs to a run with the same settings.

    Raise DataError if the folder holds results of other settings, and OutputError if it cannot be written.

    Parameters
    ----------
    growing
        Key of a number of pairs that may be larger than before, to continue a run with more of them; null stands for
        all.
    step
        Pairs per file: a run can continue only after complete files.
    """
    path = folder / SETTINGS
    text = json.dumps(settings, indent=1, sort_keys=True, allow_nan=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = read_guarded(path, most=LARGEST_TEXT).decode("utf-8", "replace") if path.exists() else None
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used ({error.strerror}); choose another folder") from error
    if before is None and Parts(folder).numbers:
        raise DataError(f"{folder}: holds results, but not the settings that they were made with; remove it")
    if before is not None and before.strip() != text and not _continues(before, settings, growing, step):
        raise DataError(f"{folder}: holds results of other settings; choose another folder or remove it")
    if before is None or before.strip() != text:
        write_atomic(path, f"{text}\n".encode())
    remove_leftovers(folder)


def _continues(before: str, settings: Mapping[str, Any], growing: str | None, step: int) -> bool:
    try:
        old = parse_json(before)
    except ValueError:
        return False
    if growing is None or not isinstance(old, dict) or not isinstance(old.get(growing), int) or old[growing] % step:
        return False
    now = settings.get(growing)
    larger = now is None or (isinstance(now, int) and now > old[growing])
    return larger and {**old, growing: now} == json.loads(json.dumps(settings))


class Parts:
    """The finished chunks of a run, one file each.

    A file's name contains the start of the SHA-256 of its bytes, so that one rename stores a chunk and its checksum.
    Damaged bytes never reach the Parquet reader, which read 222 of 500 flipped bits as other values (pyarrow 26). With
    Parquet's own checksums, which cover only the pages, it read 8, and 3 kept it busy for more than 10 s. Files of a
    release without checksums are not checked.

    Parameters
    ----------
    folder
        The run's folder; it is listed once, here.
    ending
        The files' ending.
    """

    def __init__(self, folder: Path, *, ending: str = "parquet") -> None:
        self.folder = folder
        self.ending = ending
        self._paths: dict[int, Path] = {}
        # In sorted order, a name with a checksum comes before one without.
        for path in sorted(folder.glob(f"part-*.{ending}"), reverse=True):
            if found := _PART.fullmatch(path.name):
                self._paths[int(found["number"])] = path

    @property
    def numbers(self) -> list[int]:
        """The numbers of the chunks that have a file, damaged or not."""
        return sorted(self._paths)

    def path(self, number: int) -> Path | None:
        """Return the file of a chunk, or None if there is none."""
        return self._paths.get(number)

    def has(self, number: int) -> bool:
        """Return whether a chunk has an undamaged file; a damaged one is removed."""
        if number not in self._paths:
            return False
        try:
            self.read(number)
        except DataError:
            self.remove(number)
            return False
        return True

    def remove(self, number: int) -> Path:
        """Remove a chunk's file, so that the next run makes it again; return its path."""
        path = self._paths.pop(number)
        path.unlink(missing_ok=True)
        return path

    def read(self, number: int) -> bytes:
        """Return the bytes of a chunk's file. Raise DataError if it is missing, cannot be read or is damaged."""
        path = self._paths.get(number)
        if path is None:
            raise DataError(f"{self.folder}: part {number} is missing; run the same command again to make it")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); run the same command again") from error
        found = _PART.fullmatch(path.name)
        if found is None or found["digest"] not in {None, _digest(data)}:
            raise DataError(f"{path}: damaged; run the same command again to make it anew")
        return data

    def write(self, number: int, data: bytes) -> None:
        """Write a chunk's file completely or not at all; an existing one is replaced.

        Raise OutputError if it cannot be written.
        """
        before = self._paths.get(number)
        path = self.folder / f"part-{number:05d}.{_digest(data)}.{self.ending}"
        write_atomic(path, data)
        self._paths[number] = path
        if before is not None and before != path:
            before.unlink(missing_ok=True)


_DIGITS: Final = 16
_PART: Final = re.compile(rf"part-(?P<number>[0-9]{{5,12}})(?:\.(?P<digest>[0-9a-f]{{{_DIGITS}}}))?\.(?:parquet|npz)")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def part_bytes(results: Sequence[tuple[str, Rows]]) -> bytes:
    """Return the rows of one chunk, (test, rows) each, as a Parquet file. Raise InputError if pyarrow is missing."""
    arrow, parquet = parquet_modules()
    counts = [len(rows.value) for _, rows in results]
    columns = {
        "test": np.repeat([test for test, _ in results], counts),
        "measure": np.repeat([rows.measure for _, rows in results], counts),
        "pair": np.concatenate([rows.pair for _, rows in results]).astype(np.int64),
        "step": np.concatenate([rows.step for _, rows in results]),
        "value": np.concatenate([rows.value for _, rows in results]),
    }
    table = arrow.table({name: arrow.array(column) for name, column in columns.items()})
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({METADATA_KEY: b"{}"}), buffer)
    return buffer.getvalue()


def read_results(folder: Path) -> ResultTable:
    """Read all parts of a run.

    Raise DataError if there are none or one is damaged, and InputError if pyarrow is missing.
    """
    arrow, parquet = parquet_modules()
    parts = Parts(folder)
    try:
        settings = mapping(read_json(folder / SETTINGS))
        table = arrow.concat_tables([parquet.read_table(io.BytesIO(parts.read(number))) for number in parts.numbers])
        columns = {name: table.column(name).to_numpy() for name in ("test", "measure", "pair", "step", "value")}
    except (OSError, KeyError, ValueError, TypeError, arrow.ArrowException) as error:
        raise DataError(f"{folder}: no complete results of a benchmark; run it again ({reason(error)})") from error
    return ResultTable(
        settings,
        columns["test"].astype(str),
        columns["measure"].astype(str),
        columns["pair"].astype(np.intp),
        columns["step"].astype(np.float64),
        columns["value"].astype(np.float64),
    )
