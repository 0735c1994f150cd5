"""Pairs drawn at random from a list of pictures, as the xCos paper does with the AR database.

The paper takes the 1,488 pictures of AR with sunglasses or a scarf in which a face is found, and draws 6,000 genuine
and 6,000 impostor pairs; its lists were not published. Here the list is a text file and the draw has a seed.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.protocols import PairProtocol, build_protocol, read_lines
from whyface.errors import DataError

PAIRS: Final = 6000
"""Number of pairs of each kind, or all that there are."""

SEED: Final = 0


def read_names(path: Path) -> dict[str, str]:
    """Read a list of pictures, one a line: the name, and after a tab the person.

    Without a person, it is the picture's folder; of a name without a folder, what comes before its last hyphen, as in
    AR: ``m-001-14.bmp`` shows ``m-001``, since the numbers of men and women overlap. Raise DataError if the file cannot
    be read, a line is malformed, or a picture is listed twice.
    """
    found: dict[str, str] = {}
    for number, line in read_lines(path):
        if line.startswith("#"):
            continue
        name, _, person = (field.strip() for field in line.partition("\t"))
        folder = PurePosixPath(name).parent
        person = person or (PurePosixPath(name).stem.rpartition("-")[0] if str(folder) == "." else str(folder))
        if not person:
            raise DataError(f"{path}, line {number}: says nowhere who is in {name!r}; write the person after a tab")
        if name in found:
            raise DataError(f"{path}, line {number}: {name!r} is listed twice")
        found[name] = person
    return found


def draw_pairs(people: dict[str, str], *, name: str, folds: int, pairs: int = PAIRS, seed: int = SEED) -> PairProtocol:
    """Draw different pairs of both kinds, in ``folds`` blocks of each.

    Raise DataError if there are fewer pairs of a kind than folds.

    Parameters
    ----------
    people
        The person in each picture.
    pairs
        Number of pairs of each kind; all if there are fewer.
    """
    pictures = sorted(people)
    labels = np.unique([people[picture] for picture in pictures], return_inverse=True)[1]
    first, second = np.triu_indices(len(pictures), 1)
    same = labels[first] == labels[second]
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, bool, int]] = []
    for kind in (True, False):
        numbers: NDArray[np.intp] = np.flatnonzero(same == kind)
        if len(numbers) < folds:
            what = "genuine" if kind else "impostor"
            raise DataError(f"{name}: {len(numbers)} {what} pairs are too few for {folds} folds; list more pictures")
        drawn = rng.permutation(numbers)[:pairs]
        for fold, block in enumerate(np.array_split(drawn, folds)):
            rows += [(pictures[first[k]], pictures[second[k]], kind, fold) for k in block]
    return build_protocol(name, rows, people)
