"""Tables of pairs with named columns, from CSV or Parquet: pictures, people, truth, scores, groups."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, reason, shortened
from whyface.files.parts import parquet_modules

Texts = NDArray[np.str_]

ALIASES: Final[Mapping[str, str]] = {
    "left": "a",
    "right": "b",
    "person_left": "person_a",
    "person_right": "person_b",
    "label": "genuine",
    "same": "genuine",
}
"""Other names of the columns that tables of pairs share, such as those that ``whyface evaluate`` writes."""

_TRUTH: Final = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
    **dict.fromkeys(("0", "0.0", "-1", "-1.0", "false", "no"), False),
}


@dataclass(frozen=True, eq=False)
class Table:
    """A table whose cells are texts, ``""`` where one is missing, and lists of numbers in Parquet files.

    Attributes
    ----------
    path
        The file.
    columns
        Each column by its name, (N,) str.
    lists
        Columns of lists of numbers, (N, K); NaN where a row has none.
    """

    path: Path
    columns: Mapping[str, Texts]
    lists: Mapping[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def text(self, name: str) -> Texts:
        """Return a column; raise DataError if there is none."""
        if name not in self.columns:
            raise DataError(f"{self.path}: has no column {name!r}, only {', '.join(self.columns)}")
        return self.columns[name]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column as numbers, NaN where a cell is empty; raise DataError if a cell holds none."""
        cells = self.text(name)
        found = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells.tolist()):
            if cell:
                try:
                    found[row] = float(cell)
                except ValueError:
                    found[row] = np.inf
                if not np.isfinite(found[row]):
                    raise DataError(f"{self.path}, row {row + 1}: {name} must be a number, got {shortened(cell)!r}")
        return found

    def truth(self, name: str = "genuine") -> NDArray[np.bool_]:
        """Return a column of 1 and 0, true and false, or yes and no; raise DataError if a cell is none of them."""
        cells = self.text(name)
        known = {cell: _TRUTH.get(cell.lower()) for cell in np.unique(cells).tolist()}
        for cell, value in known.items():
            if value is None:
                row = int(np.flatnonzero(cells == cell)[0]) + 1
                raise DataError(f"{self.path}, row {row}: {name} must be 1 or 0, got {shortened(cell)!r}")
        return np.array([known[cell] for cell in cells.tolist()], np.bool_)


def read_table(path: Path) -> Table:
    """Read a CSV file (UTF-8, with a header), or a Parquet file where the name ends so.

    Raise DataError if it cannot be read, has no rows, or two columns have one name, and InputError if it is a Parquet
    file and pyarrow is missing.
    """
    rows, lists = _parquet(path) if path.suffix.lower() == ".parquet" else (_csv(path), {})
    for other, name in ALIASES.items():
        if other in rows and name not in rows:
            rows = {name if key == other else key: column for key, column in rows.items()}
    if not rows or not len(next(iter(rows.values()))):
        raise DataError(f"{path}: holds no rows, only the line with the columns")
    return Table(path, rows, lists)


def _csv(path: Path) -> dict[str, Texts]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not in UTF-8; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from error
    header = [name.strip() for name in lines[0]] if lines else []
    _check_names(path, header)
    for number, line in enumerate(lines[1:], 1):
        if len(line) != len(header):
            raise DataError(f"{path}, row {number}: {len(line)} cells for {len(header)} columns; correct the line")
    return {
        name: np.array([line[place].strip() for line in lines[1:]], np.str_)
        for place, name in enumerate(header)
        if name
    }


def _parquet(path: Path) -> tuple[dict[str, Texts], dict[str, NDArray[np.float32]]]:
    arrow, parquet = parquet_modules()
    try:
        # The bytes are read here: with a path, pyarrow would take folder names like "fold=1" for columns.
        table = parquet.read_table(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        _check_names(path, table.column_names)
        columns: dict[str, Texts] = {}
        lists: dict[str, NDArray[np.float32]] = {}
        for name in table.column_names:
            cells = table.column(name).to_pylist()
            kind = table.schema.field(name).type
            if arrow.types.is_list(kind) or arrow.types.is_fixed_size_list(kind):
                lists[name] = _rows_of(cells)
            else:
                columns[name] = np.array(["" if cell is None else str(cell) for cell in cells], np.str_)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); check the path") from error
    except (ValueError, TypeError, arrow.ArrowException) as error:
        raise DataError(f"{path}: not a Parquet table of texts, numbers and lists of numbers") from error
    return columns, lists


def _rows_of(cells: Sequence[Any]) -> NDArray[np.float32]:
    width = max((len(cell) for cell in cells if cell is not None), default=0)
    blank = [np.nan] * width
    return np.array([blank if cell is None else cell for cell in cells], np.float32)


def _check_names(path: Path, names: Sequence[str]) -> None:
    if twice := sorted(name for name, count in Counter(names).items() if name and count > 1):
        raise DataError(f"{path}: two columns are called {shortened(twice[0])!r}; rename one")
