"""Plain pair lists: one ``pathA pathB {0|1}`` per line, 1 for a genuine pair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from whyface.errors import DataError, InputError
from whyface.evaluate.protocols import PairProtocol, build_protocol, read_lines

_LABELS: Final = {"1": True, "0": False, "-1": False}


def read_pair_list(path: str | Path, *, folds: int = 10, name: str = "") -> PairProtocol:
    """Read a pair list.

    Fields are separated by spaces or tabs, or by tabs alone where a name holds spaces. The label is 1 for
    genuine and 0 (or -1) for impostor. Lines that start with ``#`` are comments.

    The genuine and the impostor pairs are dealt out to the folds separately, in contiguous blocks, so that
    every fold has its share of both in any order of the list. For a list of alternating blocks, one per fold,
    these are the blocks themselves.

    A list does not say who is in a picture. If the pictures' folders agree with all labels they are the
    people; otherwise pictures that genuine pairs join, directly or through others, are one person.

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
        pairs of either kind than folds.
    InputError
        If ``folds`` is below 1.
    """
    path = Path(path)
    if folds < 1:
        raise InputError(f"folds must be at least 1, got {folds}")
    rows: list[tuple[str, str, bool]] = []
    numbers: list[int] = []
    for number, line in read_lines(path):
        if not line.startswith("#"):
            rows.append(_parse(line, f"{path}, line {number}"))
            numbers.append(number)
    genuine = np.array([row[2] for row in rows], np.bool_)
    fold = np.zeros(len(rows), np.intp)
    for kind, chosen in (("genuine", genuine), ("impostor", ~genuine)):
        count = int(chosen.sum())
        if count < folds:
            raise DataError(f"{path}: {count} {kind} pairs are too few for {folds} folds; use fewer folds")
        blocks = np.array_split(np.arange(count), folds)
        fold[chosen] = np.repeat(np.arange(folds), [len(block) for block in blocks])
    people = _people_from_folders(rows) or _people_from_pairs(rows, numbers, path)
    pairs = [(*row, int(place)) for row, place in zip(rows, fold, strict=True)]
    return build_protocol(name or path.stem, pairs, people)


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


def _people_from_pairs(rows: Sequence[tuple[str, str, bool]], numbers: Sequence[int], path: Path) -> dict[str, str]:
    """Join the pictures of genuine pairs; each group is named after one of its pictures."""
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
                f"{path}, line {number}: genuine pairs make {left} and {right} one person; correct the labels"
            )
    return {name: root(name) for name in parent}
