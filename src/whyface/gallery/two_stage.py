"""1:N search in two stages: an index names a shortlist, and only that is compared, exactly and with reasons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.gallery.candidates import Candidate
from whyface.gallery.gallery import Gallery
from whyface.gallery.kernel import Probes, score_records
from whyface.gallery.layout import intact
from whyface.gallery.search import explain_candidates
from whyface.gallery.shortlist import Shortlist, probe_vectors
from whyface.xcos.attention import AttentionKind


def search_shortlist(
    gallery: Gallery,
    shortlist: Shortlist,
    features: NDArray[np.float32],
    k: int = 5,
    *,
    size: int = 500,
    attention: AttentionKind | None = None,
    visited: int | None = None,
    threads: int | None = None,
    one_per_person: bool = False,
) -> list[list[Candidate]]:
    """Find about the k best faces for each of P probes.

    Scores, S and W are exact, as those of :func:`whyface.gallery.search.search` are; what can happen is that somebody
    is not on the shortlist. Faces that were added since the index was made are all compared.

    Parameters
    ----------
    gallery
        Opened with its model.
    shortlist
        Its index.
    features
        From ``gallery.features``, (P, ...).
    k
        How many to return, at least 1.
    size
        How many to compare exactly, at least k.
    attention, threads, one_per_person
        As for :func:`whyface.gallery.search.search`.
    visited
        Lists of the index to look into, instead of its own number.

    Returns
    -------
    For each probe its candidates, best first; fewer than k where the shortlist holds fewer.

    Raises
    ------
    InputError
        If k is below 1, the shortlist is shorter, the gallery is empty, or the features are another model's.
    """
    if not 1 <= k <= size:
        raise InputError(f"a search returns 1 to {size} candidates from a shortlist of {size}, got k = {k}")
    if len(gallery) == 0:
        raise InputError(f"{gallery.path}: the gallery is empty; enroll somebody first")
    if features.shape[1:] != gallery.layout.shape:
        raise InputError(f"the gallery holds features {gallery.layout.shape}, got {features.shape[1:]}")
    features = np.asarray(features, np.float32)
    probes = gallery.model.probes(features, attention)
    named = shortlist.find(probe_vectors(gallery.model, features, attention), size, visited=visited)
    since = np.arange(shortlist.count, len(gallery.records))
    left_out = np.array(sorted(gallery.left_out), np.int64)
    found = []
    for row in range(len(features)):
        numbers = np.union1d(named[row][named[row] >= 0], since)
        numbers = np.setdiff1d(numbers, left_out, assume_unique=True)
        found.append(_best(gallery, probes, row, numbers, k, threads, one_per_person))
    return found


def _best(
    gallery: Gallery,
    probes: Probes,
    row: int,
    numbers: NDArray[np.int64],
    k: int,
    threads: int | None,
    one_per_person: bool,
) -> list[Candidate]:
    """Compare one probe with the named records and take the best."""
    if not len(numbers):
        return []
    one = Probes(
        probes.cells[row : row + 1], None if probes.terms is None else probes.terms[row : row + 1], probes.weights
    )
    learned = None if one.terms is None else gallery.model.attention
    # The numbers rise, so that the disk is read in one direction.
    (scores,) = score_records(gallery.records[numbers], one, learned, threads=threads)
    kept: list[int] = []
    people: set[str] = set()
    for number in (int(number) for number in numbers[np.argsort(-scores, kind="stable")]):
        # Checked in place: a copy of chosen records need not keep the bytes between their fields.
        if not intact(gallery.records[number : number + 1], number)[0]:
            gallery.damaged.add(number)
            continue
        # A record whose number the table does not know was never promised.
        person = gallery.names_table.faces([number]).get(number)
        if person is None or (one_per_person and person.name in people):
            continue
        people.add(person.name)
        kept.append(number)
        if len(kept) == k:
            break
    return explain_candidates(gallery, probes, row, kept)
