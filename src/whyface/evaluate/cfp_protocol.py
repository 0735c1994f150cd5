"""CFP's splits: frontal-frontal (FF) and frontal-profile (FP), 7,000 pairs each in ten folds.

S. Sengupta, J.-C. Chen, C. Castillo, V. Patel, R. Chellappa, D. Jacobs, Frontal to profile face verification
in the wild, WACV 2016.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from whyface.errors import DataError, InputError
from whyface.evaluate.pictures import PictureSource
from whyface.evaluate.protocols import LabelledPair, PairProtocol, build_protocol, decode_lines

Split = Literal["FF", "FP"]

FOLDS: Final = 10
PAIRS_PER_FILE: Final = 350
PEOPLE: Final = 500

_LISTS: Final = {"F": ("Pair_list_F.txt", "frontal", 10), "P": ("Pair_list_P.txt", "profile", 4)}
_LIST_LINE: Final = re.compile(r"([0-9]+)\s+\.\./Data/Images/(([0-9]{3})/(frontal|profile)/[0-9]{2}\.jpg)")
_PAIR_LINE: Final = re.compile(r"([0-9]+)\s*,\s*([0-9]+)")


def read_cfp_pairs(source: PictureSource, split: Split, *, folder: str | None = None) -> PairProtocol:
    """Read one of CFP's two splits from the ``Protocol`` folder that lies beside its pictures.

    Parameters
    ----------
    source
        Holds ``Protocol/`` and ``Images/``, at its top or in the folder ``cfp``.
    split
        ``"FF"`` or ``"FP"``; in the latter the left picture is frontal and the right one a profile.
    folder
        The folder with ``Protocol/`` and ``Images/`` (``""`` for the top); found by itself by default.

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
                    raise DataError(f"{where}: {left} and {right} are no {kind} pair; check the file")
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
