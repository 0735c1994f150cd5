"""Pair lists of verification protocols: LFW's, CFP's, and plain text files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from whyface.data.pair_table import read_table
from whyface.data.protocols import LabelledPair, PairProtocol, build_protocol, decode_lines, read_lines
from whyface.errors import DataError, InputError
from whyface.faces.pictures import PictureSource

_LABELS: Final = {"1": True, "0": False, "-1": False}


def read_pair_list(path: str | Path, *, folds: int = 10, name: str = "") -> PairProtocol:
    """Read a pair list.

    Fields are separated by spaces or tabs, or by tabs only if a name contains spaces. The label is 1 for genuine and
    0 (or -1) for impostor. Lines that start with ``#`` are comments. A ``.csv`` or ``.parquet`` is a table with the
    columns ``a``, ``b``, ``genuine``, and maybe ``person_a`` and ``person_b``; further columns are kept.

    The genuine and the impostor pairs are divided into folds separately, in contiguous blocks, so that every fold has
    its share of both, whatever the order of the list. For a list of alternating blocks, one per fold, the folds are
    these blocks.

    A list does not say who is in a picture. If the pictures' folders agree with all labels, they are the people;
    otherwise, pictures that genuine pairs connect, directly or through others, are one person.

    Parameters
    ----------
    path
        The list.
    folds
        Number of folds, at least 1.
    name
        Name of the protocol; the file's stem by default.

    Raises
    ------
    DataError
        If the file cannot be read, a line is malformed, labels contradict each other, or there are fewer
        pairs of either kind than folds; a single fold may lack one kind.
    InputError
        If ``folds`` is below 1.
    """
    path = Path(path)
    if folds < 1:
        raise InputError(f"folds must be at least 1, got {folds}")
    if path.suffix.lower() in (".csv", ".parquet"):
        return _read_table(path, folds, name)
    rows: list[tuple[str, str, bool]] = []
    numbers: list[int] = []
    for number, line in read_lines(path):
        if not line.startswith("#"):
            rows.append(_parse(line, f"{path}, line {number}"))
            numbers.append(number)
    fold = _blocks(np.array([row[2] for row in rows], np.bool_), folds, path)
    people = _people_from_folders(rows) or _people_from_pairs(rows, numbers, str(path))
    pairs = [(*row, int(place)) for row, place in zip(rows, fold, strict=True)]
    return build_protocol(name or path.stem, pairs, people)


def _blocks(genuine: NDArray[np.bool_], folds: int, path: Path) -> NDArray[np.intp]:
    fold = np.zeros(len(genuine), np.intp)
    if not len(genuine):
        raise DataError(f"{path}: holds no pairs")
    for kind, chosen in (("genuine", genuine), ("impostor", ~genuine)):
        count = int(chosen.sum())
        # Without folds nothing is chosen on one part for another, which is what both kinds are needed for.
        if folds == 1 and not count:
            continue
        if count < folds:
            raise DataError(f"{path}: {count} {kind} pairs are too few for {folds} folds; use fewer folds")
        blocks = np.array_split(np.arange(count), folds)
        fold[chosen] = np.repeat(np.arange(folds), [len(block) for block in blocks])
    return fold


def _read_table(path: Path, folds: int, name: str) -> PairProtocol:
    """Read a table with the columns a, b and genuine, and maybe person_a and person_b; others are kept."""
    table = read_table(path)
    first, second, genuine = table.text("a").tolist(), table.text("b").tolist(), table.truth()
    rows = list(zip(first, second, genuine.tolist(), strict=True))
    for number, (left, right, _) in enumerate(rows, 1):
        if not left or not right or left == right:
            raise DataError(f"{path}, row {number}: needs two different pictures, got {left!r} and {right!r}")
    if {"person_a", "person_b"} <= table.columns.keys():
        people: dict[str, str] = {}
        who = zip(table.text("person_a").tolist(), table.text("person_b").tolist(), strict=True)
        for number, (row, both) in enumerate(zip(rows, who, strict=True), 1):
            for picture, person in zip(row[:2], both, strict=True):
                if people.setdefault(picture, person) != person or not person:
                    raise DataError(f"{path}, row {number}: {picture} needs one person, always the same")
            if (both[0] == both[1]) != row[2]:
                raise DataError(f"{path}, row {number}: genuine contradicts the people; correct the row")
    else:
        people, _ = people_of_pairs(rows, str(path))
    fold = _blocks(genuine, folds, path)
    pairs = [(*row, int(place)) for row, place in zip(rows, fold, strict=True)]
    used = {"a", "b", "genuine", "person_a", "person_b", "left", "right", "person_left", "person_right", "fold"}
    kept = {key: column for key, column in table.columns.items() if key not in used and not key.startswith("score")}
    return replace(build_protocol(name or path.stem, pairs, people), columns=kept)


def people_of_pairs(rows: Sequence[tuple[str, str, bool]], where: str) -> tuple[dict[str, str], bool]:
    """Return the person in each picture of pairs, and whether they are the pictures' folders; see above.

    Raise DataError, beginning with ``where``, if the labels contradict each other.
    """
    folders = _people_from_folders(rows)
    return folders or _people_from_pairs(rows, range(1, len(rows) + 1), where), folders is not None


def _parse(line: str, where: str) -> tuple[str, str, bool]:
    fields = [field.strip() for field in line.split("\t")] if line.count("\t") == 2 else line.split()
    if len(fields) != 3 or not all(fields):
        raise DataError(f"{where}: expected 'pathA pathB label', got {line!r}; separate names with spaces by tabs")
    left, right, label = fields
    if label not in _LABELS:
        raise DataError(f"{where}: the label must be 1 (genuine) or 0 (impostor), got {label!r}")
    if left == right:
        raise DataError(f"{where}: {left} is paired with itself; remove the line")
    return left, right, _LABELS[label]


def _people_from_folders(rows: Sequence[tuple[str, str, bool]]) -> dict[str, str] | None:
    people = {name: str(PurePosixPath(name).parent) for row in rows for name in row[:2]}
    agrees = all((people[left] == people[right]) == genuine for left, right, genuine in rows)
    return people if agrees else None


def _people_from_pairs(rows: Sequence[tuple[str, str, bool]], numbers: Sequence[int], where: str) -> dict[str, str]:
    """Group the pictures that genuine pairs connect; each group is named after one of its pictures."""
    parent = {name: name for row in rows for name in row[:2]}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for left, right, genuine in rows:
        if genuine:
            parent[root(right)] = root(left)
    for number, (left, right, genuine) in zip(numbers, rows, strict=True):
        if not genuine and root(left) == root(right):
            raise DataError(
                f"{where}, line {number}: genuine pairs make {left} and {right} one person; correct the labels"
            )
    return {name: root(name) for name in parent}


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
        raise DataError(f"{path}, line {header_number}: {folds} folds of {count} pairs are impossible; check the file")
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
            raise DataError(f"{where}: {person!r} is not a person's name")
    if genuine and first == second:
        raise DataError(f"{where}: a genuine pair of one picture with itself; check the file")
    if not genuine and first[0] == second[0]:
        raise DataError(f"{where}: an impostor pair of one person, {first[0]}; check the file")
    return first, second


def _picture_number(field: str, where: str) -> int:
    if not _NUMBER.fullmatch(field) or int(field) == 0:
        raise DataError(f"{where}: {field!r} is not a picture number from 1 to 9999")
    return int(field)


def _picture_name(folder: str, person: str, number: int) -> str:
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    return f"{prefix}{person}/{person}_{number:04d}.jpg"


Split = Literal["FF", "FP"]

FOLDS: Final = 10
PAIRS_PER_FILE: Final = 350
PEOPLE: Final = 500

_LISTS: Final = {"F": ("Pair_list_F.txt", "frontal", 10), "P": ("Pair_list_P.txt", "profile", 4)}
_LIST_LINE: Final = re.compile(r"([0-9]+)\s+\.\./Data/Images/(([0-9]{3})/(frontal|profile)/[0-9]{2}\.jpg)")
_PAIR_LINE: Final = re.compile(r"([0-9]+)\s*,\s*([0-9]+)")


def read_cfp_pairs(source: PictureSource, split: Split, *, folder: str | None = None) -> PairProtocol:
    """Read one of CFP's two splits from the ``Protocol`` folder next to its pictures.

    Parameters
    ----------
    source
        Holds ``Protocol/`` and ``Images/``, at its top or in the folder ``cfp``.
    split
        ``"FF"`` or ``"FP"``; in the latter the left picture is frontal and the right one a profile.
    folder
        The folder with ``Protocol/`` and ``Images/`` (``""`` for the top); detected by default.

    Returns
    -------
    PairProtocol
        7,000 pairs, folds 0 to 9; people are CFP's numbers ``001`` to ``500``.

    Raises
    ------
    DataError
        If a protocol file is missing, malformed or of the wrong length.
    InputError
        If ``split`` is neither.
    """
    if split not in ("FF", "FP"):
        raise InputError(f"CFP has the splits 'FF' and 'FP', not {split!r}")
    prefix = _find_prefix(source) if folder is None else _as_prefix(folder)
    lists = {kind: _read_list(source, prefix, kind) for kind in sorted(set(split))}
    left_list, right_list = lists[split[0]], lists[split[1]]
    pairs: list[LabelledPair] = []
    people: dict[str, str] = {}
    for fold in range(FOLDS):
        for kind, genuine in (("same", True), ("diff", False)):
            path = f"{prefix}Protocol/Split/{split}/{fold + 1:02d}/{kind}.txt"
            lines = list(decode_lines(source.read_bytes(path), path))
            if len(lines) != PAIRS_PER_FILE:
                raise DataError(f"{path}: expected {PAIRS_PER_FILE} pairs, got {len(lines)}; fetch the data again")
            for number, line in lines:
                where = f"{path}, line {number}"
                match = _PAIR_LINE.fullmatch(line)
                if match is None:
                    raise DataError(f"{where}: expected two numbers 'i,j', got {line!r}")
                left, person = _look_up(left_list, int(match[1]), where)
                right, other = _look_up(right_list, int(match[2]), where)
                if (person == other) != genuine or left == right:
                    raise DataError(f"{where}: {left} and {right} are not a {kind} pair; check the file")
                people[left], people[right] = person, other
                pairs.append((left, right, genuine, fold))
    return build_protocol(f"cfp-{split.lower()}", pairs, people)


def _as_prefix(folder: str) -> str:
    return f"{folder.strip('/')}/" if folder.strip("/") else ""


def _find_prefix(source: PictureSource) -> str:
    for prefix in ("cfp/", ""):
        try:
            source.read_bytes(f"{prefix}Protocol/{_LISTS['F'][0]}")
        except DataError:
            continue
        return prefix
    raise DataError("no CFP protocol found: neither cfp/Protocol nor Protocol holds Pair_list_F.txt; check the path")


def _read_list(source: PictureSource, prefix: str, kind: str) -> list[tuple[str, str]]:
    """Return picture name and person for each number of a pair list, number 1 first."""
    file, view, per_person = _LISTS[kind]
    path = f"{prefix}Protocol/{file}"
    entries: list[tuple[str, str]] = []
    for number, line in decode_lines(source.read_bytes(path), path):
        match = _LIST_LINE.fullmatch(line)
        if match is None or match[4] != view or int(match[1]) != len(entries) + 1:
            raise DataError(
                f"{path}, line {number}: expected '{len(entries) + 1} ../Data/Images/PERSON/{view}/NN.jpg', "
                f"got {line!r}"
            )
        entries.append((f"{prefix}Images/{match[2]}", match[3]))
    if len(entries) != PEOPLE * per_person:
        raise DataError(f"{path}: expected {PEOPLE * per_person} pictures, got {len(entries)}; fetch the data again")
    return entries


def _look_up(entries: list[tuple[str, str]], number: int, where: str) -> tuple[str, str]:
    if not 1 <= number <= len(entries):
        raise DataError(f"{where}: picture number {number} is not between 1 and {len(entries)}")
    return entries[number - 1]
