"""Who is who where a set says only which pairs are genuine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def join_people(count: int, genuine_pairs: Iterable[tuple[int, int]]) -> NDArray[np.intp]:
    """Join the pictures of genuine pairs, directly or through others, to people.

    Parameters
    ----------
    count
        Number of pictures.
    genuine_pairs
        Numbers of two pictures of one person.

    Returns
    -------
    ndarray
        For each picture the smallest number among its person's pictures, shape (count,) intp.
    """
    parent = list(range(count))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for left, right in genuine_pairs:
        one, other = root(left), root(right)
        parent[max(one, other)] = min(one, other)
    return np.array([root(number) for number in range(count)], np.intp)


def contradictions(
    people: NDArray[np.intp], left: NDArray[np.intp], right: NDArray[np.intp], genuine: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Return the numbers of the impostor pairs whose pictures were joined to one person."""
    same: NDArray[Any] = people[left] == people[right]
    return np.flatnonzero(same & ~genuine)
