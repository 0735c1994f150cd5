"""The pairs of a batch: lines of a CSV file or photos of a folder, read in chunks."""

from __future__ import annotations

import csv
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from whyface.errors import DataError, InputError
from whyface.files.integrity import sha256_of
from whyface.files.photo_folder import PHOTO_ENDINGS, describe_passed_over, list_photos

PHOTOS: Final = ("a", "b")
"""The columns of a CSV file that name the two photos."""

RESERVED: Final = frozenset(
    {"row", "verdict", "score", "threshold", "margin", "probability", "probability_bound", "error", "S", "W"}
    | {"status", "doubt", "quality_a", "quality_b", "faces_a", "faces_b", "same_picture", "warning", "log10_lr"}
)
"""Names of the columns of results."""

FACES: Final = ("face_a", "face_b")
"""Columns that may say which face of each photo to compare; 0, the largest, where they are missing or empty."""

FolderPairs = Literal["all", "genuine"]

PhotoFace = tuple[str, str]
"""A photo and the text that says which of its faces; empty for the largest."""


@dataclass(frozen=True)
class PhotoPair:
    """One row of work.

    Attributes
    ----------
    row
        Its number, from 0.
    a, b
        The two photos as they were named.
    extra
        Other columns of the CSV file, passed through.
    """

    row: int
    a: str
    b: str
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def faces(self) -> tuple[PhotoFace, PhotoFace]:
        """Both photos with the face to compare."""
        first, second = (self.extra.get(name, "").strip() for name in FACES)
        return (self.a, first), (self.b, second)


@dataclass(frozen=True)
class PairSource:
    """A source of pairs; it can be read repeatedly and always yields the same pairs.

    Attributes
    ----------
    path
        The CSV file or the folder.
    folder
        Folder that photo names are relative to.
    columns
        Other columns of the CSV file.
    pairs
        For a folder: ``"all"`` pairs of photos, or only those of one person, ``"genuine"``.
    """

    path: Path
    folder: Path
    columns: tuple[str, ...] = ()
    pairs: FolderPairs = "all"

    def __iter__(self) -> Iterator[PhotoPair]:
        return self._of_csv() if self.path.is_file() else self._of_folder()

    def chunks(self, size: int) -> Iterator[tuple[int, list[PhotoPair]]]:
        """Return an iterator of (number, pairs) over chunks; only one is in memory."""
        rows = iter(self)
        return enumerate(iter(lambda: list(itertools.islice(rows, size)), []))

    def count(self) -> int:
        """Return the number of pairs; reads a CSV file once."""
        if self.path.is_file():
            return sum(1 for _ in self)
        photos = list_photos(self.folder).photos
        if self.pairs == "all":
            return len(photos) * (len(photos) - 1) // 2
        return sum(1 for _ in self)

    def passed_over(self) -> str:
        """Return one line about the ignored files of a folder; empty if there are none, and for a CSV file."""
        return "" if self.path.is_file() else describe_passed_over(list_photos(self.folder).passed_over)

    def describe(self) -> dict[str, Any]:
        """Return a description as JSON values; equal as long as the photo names of all pairs are the same."""
        where = {"data": str(self.folder.absolute())}
        if self.path.is_file():
            return {**where, "csv_sha256": sha256_of(self.path)}
        # Their number is not enough: with one photo renamed, the parts of two runs would not fit together.
        names = "\n".join(list_photos(self.folder).photos).encode("utf-8", "surrogateescape")
        return {**where, "pairs": self.pairs, "names_sha256": hashlib.sha256(names).hexdigest()}

    def _of_csv(self) -> Iterator[PhotoPair]:
        for row, line in enumerate(_csv_lines(self.path)):
            a, b = (line.get(name, "").strip() for name in PHOTOS)
            yield PhotoPair(row, a, b, {name: line.get(name, "") for name in self.columns})

    def _of_folder(self) -> Iterator[PhotoPair]:
        photos = list_photos(self.folder).photos
        pairs: Iterator[tuple[str, str]] = itertools.combinations(photos, 2)
        if self.pairs == "genuine":
            # Sorted names put ann/old/2.jpg between ann/1.jpg and ann/z.jpg: a folder's photos need not be neighbours.
            people: dict[str, list[str]] = {}
            for name in photos:
                people.setdefault(name.rpartition("/")[0], []).append(name)
            pairs = itertools.chain.from_iterable(itertools.combinations(group, 2) for group in people.values())
        return (PhotoPair(row, a, b) for row, (a, b) in enumerate(pairs))


def open_pair_source(path: Path, *, folder: Path | None = None, pairs: FolderPairs = "all") -> PairSource:
    """Open a CSV file with the columns ``a`` and ``b``, or a folder of photos.

    Parameters
    ----------
    path
        The file or the folder.
    folder
        Folder that names in a CSV file are relative to; by default the file's folder.
    pairs
        Which pairs of a folder to compare.

    Raises
    ------
    DataError
        If the path does not exist or has no pairs.
    InputError
        If a column has a name that results use.
    """
    if path.is_dir():
        source = PairSource(path, path, pairs=pairs)
        if next(iter(source), None) is None:
            endings = ", ".join(sorted(PHOTO_ENDINGS))
            raise DataError(f"{path}: no two photos to compare here; photos end in {endings}")
        return source
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder; give a CSV file with the columns a and b, or a folder")
    header = next(_csv_rows(path), [])
    missing = [name for name in PHOTOS if name not in header]
    if missing:
        raise DataError(
            f"{path}: the first line must name the columns a and b (comma between), it lacks {missing[0]!r}"
        )
    if twice := sorted(name for name, count in Counter(header).items() if name and count > 1):
        raise DataError(f"{path}: two columns are called {twice[0]!r}; rename one")
    columns = tuple(name for name in header if name and name not in PHOTOS)
    if clash := RESERVED.intersection(columns):
        raise InputError(f"{path}: the column {min(clash)!r} would hide a result of that name; rename it")
    source = PairSource(path, path.parent if folder is None else folder, columns)
    if next(iter(source), None) is None:
        raise DataError(f"{path}: holds no pairs, only the line with the columns")
    return source


def _csv_lines(path: Path) -> Iterator[dict[str, str]]:
    """Yield every line after the header as a mapping by column; empty lines and missing cells are omitted."""
    rows = _csv_rows(path)
    header = next(rows, [])
    return (dict(zip(header, row, strict=False)) for row in rows if row)


def _csv_rows(path: Path) -> Iterator[list[str]]:
    try:
        # A spreadsheet may begin the file with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.reader(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not in UTF-8; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from error
