"""1:N search: compare a probe with every face of a gallery and return the best with explanations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError, ModelError
from whyface.explain.cells import cell_parts, spread_constant
from whyface.files.progress import ProgressCallback
from whyface.gallery.feature_file import Layout, intact
from whyface.gallery.kernel import GalleryFeatures, Probes, explain_records, score_records
from whyface.gallery.name_database import FaceRow
from whyface.models.linear_head import linear_head
from whyface.xcos.grid import AttentionKind


class Searched(Protocol):
    """The part of :class:`whyface.gallery.gallery.Gallery` that a search uses."""

    path: Path
    records: NDArray[Any]
    damaged: set[int]

    @property
    def model(self) -> GalleryFeatures:
        """The model that the records were made with."""
        ...

    @property
    def layout(self) -> Layout:
        """What the records hold."""
        ...

    def __len__(self) -> int:
        """Return the number of faces."""
        ...

    def rows(self, numbers: Iterable[int]) -> dict[int, FaceRow]:
        """Look up records, without removed and damaged ones."""
        ...

    @property
    def left_out(self) -> set[int]:
        """Records that no search returns."""
        ...


@dataclass(frozen=True, eq=False)
class Candidate:
    """One face that a search found.

    Attributes
    ----------
    record
        Number of the record in the gallery.
    name
        The person.
    source
        Where the picture came from.
    score
        The similarity, in [-1, 1].
    similarity, attention
        S and W, (H, W) float32; the sum of S * W is the score. None for embeddings.
    cells
        For embeddings of a network with an affine head: the contribution of each place of the probe, (H, W) float32,
        adding up to the score; else None.
    """

    record: int
    name: str
    source: str
    score: float
    similarity: NDArray[np.float32] | None = None
    attention: NDArray[np.float32] | None = None
    cells: NDArray[np.float32] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "record": self.record,
            "name": self.name,
            "source": self.source,
            "score": self.score,
            **{
                key: [[float(value) for value in line] for line in values]
                for key, values in (("S", self.similarity), ("W", self.attention), ("cells", self.cells))
                if values is not None
            },
        }


_PROBES_AT_ONCE: Final = 16


def search(
    gallery: Searched,
    features: NDArray[np.float32],
    k: int = 5,
    *,
    attention: AttentionKind | None = None,
    threads: int | None = None,
    one_per_person: bool = False,
    progress: ProgressCallback | None = None,
) -> list[list[Candidate]]:
    """Find the k best faces for each of P probes, exhaustively and exactly.

    Parameters
    ----------
    gallery
        Opened with its model.
    features
        From ``gallery.features``, (P, ...).
    k
        Number of candidates, at least 1; fewer if the gallery is smaller.
    attention
        ``"u"``, ``"p"`` or ``"l"``; by default the best available.
    threads
        Cores to use; all by default.
    one_per_person
        Whether to return only each person's best face.
    progress
        Called with the number of pairs scored and the total.

    Returns
    -------
    For each probe its candidates, best first; equal scores in the order of the gallery.

    Raises
    ------
    InputError
        If k is below 1, the gallery is empty, or the features are from another model.
    DataError
        If all faces are damaged.
    """
    if k < 1:
        raise InputError(f"a search returns at least one candidate, got k = {k}")
    require_faces(gallery)
    if features.shape[1:] != gallery.layout.shape:
        raise InputError(f"the gallery holds features {gallery.layout.shape}, got {features.shape[1:]}")
    found: list[list[Candidate]] = []
    for probes, scores, errors in _scored(gallery, features, attention, True, threads=threads, progress=progress):
        for row, (line, error) in enumerate(zip(scores, errors, strict=True)):
            found.append(_best(gallery, probes, row, line, k, one_per_person, error))
    return found


def require_faces(gallery: Searched) -> None:
    """Check that the gallery has faces to search.

    Raise InputError if the gallery is empty, and DataError if all faces are damaged.
    """
    if len(gallery) == 0:
        if gallery.damaged:
            raise DataError(f"{gallery.path}: all faces are damaged; run: whyface gallery info --check")
        raise InputError(f"{gallery.path}: the gallery is empty; enroll somebody first")


def others_above(
    gallery: Searched,
    features: NDArray[np.float32],
    records: Sequence[int],
    least: float,
    *,
    but: Sequence[Collection[int]],
    attention: AttentionKind | None = None,
) -> list[list[Candidate]]:
    """Find, for each of P faces in the gallery, everybody with an earlier face that scores above ``least``.

    Only each person's best face is returned. Return for each face its candidates, best first.

    Parameters
    ----------
    features
        From ``gallery.features``, (P, ...).
    records
        Record numbers of the faces; each face is compared only with lower record numbers.
    least
        The minimum score, exclusive.
    but
        For each face, the records to ignore.
    """
    found: list[list[Candidate]] = []
    for probes, scores, _ in _scored(gallery, features, attention):
        for row, line in enumerate(scores):
            number = len(found)
            line[records[number] :] = -np.inf
            line[[record for record in but[number] if record < len(line)]] = -np.inf
            line[line <= least] = -np.inf
            count = int(np.isfinite(line).sum())
            found.append(_best(gallery, probes, row, line, count, True) if count else [])
    return found


def scores_with(
    gallery: Searched, features: NDArray[np.float32], records: Sequence[int], attention: AttentionKind | None = None
) -> NDArray[np.float32]:
    """Score P faces against some records, (P, R); what cannot be compared scores minus infinity.

    Parameters
    ----------
    features
        From ``gallery.features``, (P, ...).
    attention
        By default the best available.
    """
    probes = gallery.model.probes(np.asarray(features, np.float32), attention)
    learned = None if probes.terms is None else gallery.model.attention
    scores = score_records(gallery.records[np.asarray(records, np.int64)], probes, learned)
    return np.where(np.isfinite(scores), scores, np.float32(-np.inf))


def _scored(
    gallery: Searched,
    features: NDArray[np.float32],
    attention: AttentionKind | None,
    rough: bool = False,
    *,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> Iterator[tuple[Probes, NDArray[np.float32], NDArray[np.float32]]]:
    """Score all records, a few probes at a time; records that no search returns score minus infinity.

    Yield the probes, their scores, and how far each may be off: not at all unless the scores may be rough.
    """
    for start in range(0, len(features), _PROBES_AT_ONCE):
        part = np.asarray(features[start : start + _PROBES_AT_ONCE], np.float32)
        probes = gallery.model.probes(part, attention)
        learned = None if probes.terms is None else gallery.model.attention
        step = None if progress is None else _PairsDone(progress, start, len(part), len(features))
        records = gallery.records
        errors = np.zeros((len(part), len(records)), np.float32)
        off = errors if rough else None
        scores = score_records(records, probes, learned, threads=threads, errors=off, progress=step)
        # Another thread may be adding faces, so that more are there by now.
        scores[:, [number for number in gallery.left_out if number < len(records)]] = -np.inf
        _drop_broken(gallery, scores)
        yield probes, scores, errors


@dataclass(frozen=True)
class _PairsDone:
    """Converts records done for a few probes to pairs done in total."""

    progress: ProgressCallback
    before: int
    probes: int
    of: int

    def __call__(self, done: int, records: int) -> None:
        self.progress(self.before * records + self.probes * done, self.of * records)


def _drop_broken(gallery: Searched, scores: NDArray[np.float32]) -> None:
    """Mask scores that are not finite, as damaged bytes may produce: they cannot be sorted."""
    broken = np.flatnonzero((np.isnan(scores) | np.isposinf(scores)).any(axis=0))
    gallery.damaged |= {int(i) for i in broken if not intact(gallery.records[i : i + 1], int(i))[0]}
    scores[:, broken] = -np.inf


def _best(
    gallery: Searched,
    probes: Probes,
    row: int,
    scores: NDArray[np.float32],
    k: int,
    one_per_person: bool,
    errors: NDArray[np.float32] | None = None,
) -> list[Candidate]:
    """Return the best candidates of one probe, without damaged records."""
    wanted = min(len(scores), k)
    while True:
        if errors is not None and errors.any():
            sharpen(gallery.records, probes.row(row), scores, errors, wanted)
        order = _highest(scores, wanted)
        order = order[np.isfinite(scores[order])]
        whole = np.array([bool(intact(gallery.records[i : i + 1], int(i))[0]) for i in order], bool)
        if not whole.all():
            gallery.damaged |= {int(number) for number in order[~whole]}
            scores[order[~whole]] = -np.inf
            continue
        rows = gallery.rows(order)
        kept = [int(number) for number in order]
        if len(rows) < len(order):
            scores[[number for number in kept if number not in rows]] = -np.inf
            continue
        if one_per_person:
            firsts: dict[str, int] = {}
            for number in kept:
                firsts.setdefault(rows[number].name, number)
            if len(firsts) < k and wanted < len(scores) and len(order) == wanted:
                wanted = min(len(scores), wanted * 4)
                continue
            kept = list(firsts.values())
        break
    return explain_candidates(gallery, probes, row, kept[:k])


def sharpen(
    records: NDArray[Any], probe: Probes, scores: NDArray[np.float32], errors: NDArray[np.float32], wanted: int
) -> None:
    """Score exactly, in place, every record that may be among the ``wanted`` best; scores and errors are (N,)."""
    errors[~np.isfinite(scores)] = 0
    # At least ``wanted`` records score this much; what cannot reach it is not among the best.
    floor = np.partition(scores - errors, len(scores) - wanted)[len(scores) - wanted]
    near = np.flatnonzero((scores + errors >= floor) & (errors > 0))
    (exact,) = score_records(records[near], probe, None)
    scores[near] = np.where(np.isfinite(exact), exact, np.float32(-np.inf))
    errors[near] = 0


def explain_candidates(gallery: Searched, probes: Probes, row: int, numbers: list[int]) -> list[Candidate]:
    """Return some records as candidates of one probe, with S and W, best first; those without a name are left out."""
    rows = gallery.rows(numbers)
    numbers = [number for number in numbers if number in rows]
    if not numbers:
        return []
    records = gallery.records[numbers]
    one = probes.row(row)
    similarity, weights = explain_records(records, one, None if one.terms is None else gallery.model.attention)
    # Weights in float32 add up to 1 up to rounding; a face and itself once scored 1.0000001.
    scores = np.clip((similarity.astype(np.float64) * weights).sum(axis=1), -1, 1)
    grid = gallery.layout.shape[1:] if gallery.layout.kind == "grid" else None
    candidates = [
        Candidate(
            number,
            rows[number].name,
            rows[number].source,
            float(score),
            None if grid is None else np.ascontiguousarray(s.reshape(grid)),
            None if grid is None else np.ascontiguousarray(w.reshape(grid)),
        )
        for number, score, s, w in zip(numbers, scores, similarity, weights, strict=True)
    ]
    return sorted(candidates, key=lambda candidate: (-candidate.score, candidate.record))


def _highest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return the indices of the highest scores, best first, ties in order."""
    if count < len(scores):
        floor = np.partition(scores, len(scores) - count)[len(scores) - count]
        chosen = np.flatnonzero(scores >= floor)
    else:
        chosen = np.arange(len(scores))
    return np.asarray(chosen[np.argsort(-scores[chosen], kind="stable")][:count], np.int64)


def explain_cells(gallery: Searched, face: NDArray[np.uint8], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Add to each candidate the contribution of every place of the probe to the score.

    The probe's embedding is a sum over its places and the candidate's is in the gallery, so the cosine splits exactly
    over the probe's places. No picture of the candidate is needed (see
    :class:`whyface.explain.cells.CellsMethod`).

    Parameters
    ----------
    gallery
        A gallery of embeddings, opened with its model.
    face
        The probe's aligned face, (3, 112, 112).
    candidates
        The candidates found for it.

    Raises
    ------
    InputError
        If the gallery holds grids: its candidates have S and W.
    ModelError
        If the network has no grid, or the head after it is not affine.
    """
    if gallery.layout.kind != "embedding":
        raise InputError("candidates from grids already have maps; cells are for embeddings")
    grids, head = linear_head(gallery.model.embedder)
    parts = cell_parts(grids.grid(face[None]), head.weights)[0]
    whole = parts.sum(axis=(1, 2)) + head.constant
    records = gallery.records[[candidate.record for candidate in candidates]]
    others = records["unit"].astype(np.float64) * records["unit_scale"][:, None]
    terms = np.einsum("dhw,nd->nhw", parts, others) / np.linalg.norm(whole)
    maps = spread_constant(terms, others @ head.constant / np.linalg.norm(whole))
    return [replace(candidate, cells=cells) for candidate, cells in zip(candidates, maps, strict=True)]


def with_cells(gallery: Searched, face: NDArray[np.uint8], candidates: list[Candidate]) -> list[Candidate]:
    """Explain candidates that have no maps if the network allows it; else return them unchanged."""
    if gallery.layout.kind != "embedding" or not candidates:
        return candidates
    try:
        return explain_cells(gallery, face, candidates)
    except ModelError:
        return candidates
