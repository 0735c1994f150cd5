"""LFW's pair files: ``pairs.txt`` (View 2) and ``pairsDevTrain.txt``, ``pairsDevTest.txt`` (View 1).

G. Huang, M. Ramesh, T. Berg, E. Learned-Miller, Labeled Faces in the Wild, UMass Amherst TR 07-49 (2007).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from whyface.errors import DataError
from whyface.evaluate.protocols import LabelledPair, PairProtocol, build_protocol, read_lines

_NUMBER: Final = re.compile(r"[0-9]{1,4}")
_LARGEST_COUNT: Final = 1_000_000


def read_lfw_pairs(path: str | Path, *, folder: str = "lfw", name: str = "") -> PairProtocol:
    """Read an LFW pair file.

    The header is ``folds count`` or, for View 1, ``count`` alone (one fold). Each fold has ``count`` genuine
    lines ``name i j`` and then ``count`` impostor lines ``name1 i name2 j``, fields separated by tabs or
    spaces.

    Parameters
    ----------
    path
        The pair file.
    folder
        First part of the picture names: ``folder/Name/Name_0001.jpg``; ``""`` for none.
    name
        Name of the protocol; the file's stem by default.

    Returns
    -------
    PairProtocol
        ``2 * folds * count`` pairs (6,000 for ``pairs.txt``), folds numbered from 0; people are LFW's names.

    Raises
    ------
    DataError
        If the file cannot be read, the header or a line is malformed, or there are fewer or more lines than
        the header says.
    """
    path = Path(path)
    (header_number, header), *lines = read_lines(path)
    fields = header.split()
    if len(fields) not in (1, 2) or not all(field.isascii() and field.isdecimal() for field in fields):
        raise DataError(f"{path}, line {header_number}: expected a header 'folds count' or 'count', got {header!r}")
    folds, count = int(fields[0]) if len(fields) == 2 else 1, int(fields[-1])
    if not 0 < folds * count <= _LARGEST_COUNT:
        raise DataError(f"{path}, line {header_number}: {folds} folds of {count} pairs make no sense; check the file")
    expected = 2 * folds * count
    if len(lines) != expected:
        raise DataError(f"{path}: the header promises {expected} pairs, but {len(lines)} lines follow; fetch it again")
    pairs: list[LabelledPair] = []
    people: dict[str, str] = {}
    for row, (number, line) in enumerate(lines):
        fold, place = divmod(row, 2 * count)
        genuine = place < count
        first, second = _two_pictures(line, genuine, f"{path}, line {number}")
        left, right = (_picture_name(folder, *picture) for picture in (first, second))
        people[left], people[right] = first[0], second[0]
        pairs.append((left, right, genuine, fold))
    return build_protocol(name or path.stem, pairs, people)


def _two_pictures(line: str, genuine: bool, where: str) -> tuple[tuple[str, int], tuple[str, int]]:
    fields = line.split()
    if len(fields) != (3 if genuine else 4):
        wanted = "a genuine pair 'name i j'" if genuine else "an impostor pair 'name1 i name2 j'"
        raise DataError(f"{where}: expected {wanted}, got {line!r}; the file may be out of order")
    first = (fields[0], _picture_number(fields[1], where))
    second = (fields[0] if genuine else fields[2], _picture_number(fields[-1], where))
    for person, _ in (first, second):
        if "/" in person or "\\" in person or person in (".", ".."):
            raise DataError(f"{where}: {person!r} is no person's name")
    if genuine and first == second:
        raise DataError(f"{where}: a genuine pair of one picture with itself; check the file")
    if not genuine and first[0] == second[0]:
        raise DataError(f"{where}: an impostor pair of one person, {first[0]}; check the file")
    return first, second


def _picture_number(field: str, where: str) -> int:
    if not _NUMBER.fullmatch(field) or int(field) == 0:
        raise DataError(f"{where}: {field!r} is no picture number from 1 to 9999")
    return int(field)


def _picture_name(folder: str, person: str, number: int) -> str:
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    return f"{prefix}{person}/{person}_{number:04d}.jpg"
