"""An approximate index that selects the few faces of a very large gallery to compare exactly (extra ``ann``).

With fixed attention w, the score of two faces is one inner product of their concatenated unit vectors, the probe's
weighted by w: for a grid of 32 x 7 x 7, 1,568 numbers. An index for inner products (FAISS; Douze et al., "The
Faiss library", 2024) finds the largest ones without comparing every face. It compresses vectors and is approximate, so
the faces that it selects are then compared exactly. Where attention factorises, the vectors of both faces
carry their weights, and the inner product is the score but for the division by <a, b>. Attention computed from both
faces is approximated by the attention of the probe to itself, which shows where this face has something to compare,
regardless of the other face.
How often this misses somebody: ``docs/studies/two-stage.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError
from whyface.files.guarded import read_json
from whyface.files.integrity import write_atomic
from whyface.files.progress import ProgressCallback
from whyface.gallery.feature_file import intact
from whyface.gallery.gallery import Gallery
from whyface.gallery.kernel import GalleryFeatures, Probes, score_records
from whyface.gallery.name_rebuild import ABOUT_NAME, INDEX_NAME
from whyface.gallery.search import Candidate, explain_candidates, require_faces
from whyface.xcos.grid import AttentionKind

_ADDED_AT_ONCE: Final = 8192
_TRAINED_PER_LIST: Final = 48


@dataclass(frozen=True)
class Recipe:
    """How vectors are stored and searched.

    Attributes
    ----------
    dimensions
        Number of principal axes that vectors are projected onto; 0 keeps them unchanged.
    lists
        Number of lists that vectors are sorted into by nearest centre; 1 keeps all in one. More lists save time but
        lose faces: a probe's best are spread over more lists than a search can visit (``docs/studies/two-stage.md``).
    visited
        Number of lists that a search visits.
    """

    dimensions: int = 256
    lists: int = 1
    visited: int = 1

    def __post_init__(self) -> None:
        if self.dimensions < 0 or not 1 <= self.visited <= self.lists:
            raise InputError(f"an index visits 1 to all of its lists, got {self.visited} of {self.lists}")


class FaceIndex(Protocol):
    """What names the faces of a gallery that may be the best.

    Attributes
    ----------
    count
        Number of records covered, from 0.
    """

    count: int

    def find(self, vectors: NDArray[np.float32], size: int, *, visited: int | None = None) -> NDArray[np.int64]:
        """Return records with the largest inner products with P vectors, (P, ``size``), -1 where there are fewer."""
        ...


class Shortlist:
    """An index over the first records of one gallery. Use :func:`build_shortlist` or :func:`open_shortlist`.

    Parameters
    ----------
    index
        A FAISS index for inner products, numbered like the records.
    recipe
        How it was built.
    count
        Number of records covered, from 0; later ones were added after it was built.
    """

    def __init__(self, index: Any, recipe: Recipe, count: int) -> None:
        self.index = index
        self.recipe = recipe
        self.count = count

    def find(self, vectors: NDArray[np.float32], size: int, *, visited: int | None = None) -> NDArray[np.int64]:
        """Return the records with approximately the largest inner products.

        Raise InputError if ``size`` is below 1.

        Parameters
        ----------
        vectors
            Weighted probes (P, D); see :func:`probe_vectors`.
        visited
            Number of lists to visit, instead of the recipe's.

        Returns
        -------
        (P, ``size``) int64, best first, -1 where there are fewer.
        """
        if size < 1:
            raise InputError(f"a shortlist names at least one face, got {size}")
        if self.recipe.lists > 1:
            faiss_module().extract_index_ivf(self.index).nprobe = visited or self.recipe.visited
        _, numbers = self.index.search(np.ascontiguousarray(vectors, np.float32), min(size, self.count))
        return np.asarray(numbers, np.int64)


def probe_vectors(
    model: GalleryFeatures, features: NDArray[np.float32], attention: AttentionKind | None
) -> NDArray[np.float32]:
    """Return probes as rows (P, D), places first, weighted by fixed attention or by each probe's own learned one.

    Parameters
    ----------
    attention
        As for :meth:`GalleryFeatures.probes`, including the errors raised.
    """
    probes = model.probes(features, attention)
    cells = probes.cells
    if probes.terms is not None and model.attention is not None:
        split = model.attention.split
        cells = cells * split.weights(probes.terms, split.second_terms(features))[:, :, None]
    elif probes.weights is not None:
        cells = cells * probes.weights[:, None]
    return np.ascontiguousarray(cells.reshape(len(cells), -1), np.float32)


def build_shortlist(
    gallery: Gallery,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> Shortlist:
    """Build an index of all current records of a gallery.

    Parameters
    ----------
    gallery
        The gallery; its model is not needed.
    recipe
        How to build it; by default one list, which misses fewest faces.
    seed
        Seed of the sample that axes and centres are fitted to, and of the initial centres.
    threads
        Cores to use; all by default.
    progress
        Called with the number of records done and the total.

    Raises
    ------
    InputError
        If FAISS is not installed, or the gallery is empty or encrypted.
    """
    faiss = faiss_module()
    require_plain(gallery)
    count = len(gallery.records)
    if count == 0:
        raise InputError(f"{gallery.path}: the gallery is empty; enroll somebody first")
    if threads is not None:
        faiss.omp_set_num_threads(threads)
    recipe = recipe or Recipe()
    rng = np.random.default_rng(seed)
    wanted = min(count, max(4 * gallery.layout.values, _TRAINED_PER_LIST * recipe.lists))
    sample = _vectors(gallery.records[np.sort(rng.choice(count, wanted, replace=False))])
    index = empty_index(sample, recipe, seed)
    for start, vectors in stretches(gallery):
        index.add(vectors)
        if progress is not None:
            progress(start + len(vectors), count)
    return Shortlist(index, recipe, count)


def save_shortlist(shortlist: Shortlist, gallery: Gallery) -> None:
    """Write an index to its gallery's folder. Raise OutputError if it cannot be written."""
    faiss = faiss_module()
    about = {"count": shortlist.count, "recipe": asdict(shortlist.recipe), **fingerprint(gallery, shortlist.count)}
    # Write the index first: an index without its description is not opened.
    (gallery.path / ABOUT_NAME).unlink(missing_ok=True)
    write_atomic(gallery.path / INDEX_NAME, faiss.serialize_index(shortlist.index).tobytes())
    write_atomic(gallery.path / ABOUT_NAME, f"{json.dumps(about, indent=1)}\n".encode())


def open_shortlist(gallery: Gallery) -> Shortlist:
    """Open the index in a gallery's folder.

    Raises
    ------
    InputError
        If FAISS is not installed.
    DataError
        If there is no index, it is damaged, or it belongs to another gallery.
    """
    faiss = faiss_module()
    again = f"run: whyface gallery index {gallery.path}"
    path = gallery.path / INDEX_NAME
    try:
        about = read_json(gallery.path / ABOUT_NAME)
        count, recipe = int(about["count"]), Recipe(**about["recipe"])
        expected = {name: about[name] for name in ("sha256", "ends")}
    except FileNotFoundError as error:
        raise DataError(f"{gallery.path}: has no index for a shortlist yet; {again}") from error
    except (OSError, ValueError, KeyError, TypeError, InputError) as error:
        raise DataError(f"{gallery.path / ABOUT_NAME}: damaged; {again}") from error
    if count > len(gallery.records) or expected != fingerprint(gallery, count):
        raise DataError(f"{path}: was built from other records than this gallery's; {again}")
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataError(f"{path}: damaged or missing; {again}") from error
    if index.ntotal != count or index.d != gallery.layout.values:
        raise DataError(f"{path}: does not fit its description; {again}")
    return Shortlist(index, recipe, count)


def require_plain(gallery: Gallery) -> None:
    """Raise InputError if a gallery is encrypted: what is computed from it would lie beside it unencrypted."""
    if gallery.layout.seal:
        raise InputError(f"{gallery.path}: encrypted, and this file would not be; leave it out")


def faiss_module() -> Any:
    """Import FAISS. Raise InputError if FAISS is not installed; the message names the extra to install."""
    try:
        import faiss  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError("a shortlist needs FAISS; run: pip install 'whyface[ann]'") from error
    return faiss


def _vectors(records: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(records["unit"] * records["unit_scale"][:, None], np.float32)


def stretches(gallery: Gallery) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the number of a stretch's first record, and its vectors (N, D)."""
    for start in range(0, len(gallery.records), _ADDED_AT_ONCE):
        yield start, _vectors(gallery.records[start : start + _ADDED_AT_ONCE])


def fingerprint(gallery: Gallery, count: int) -> dict[str, Any]:
    """Identify a gallery by its model and the checksums of the first and last record of the index."""
    ends = [int(gallery.records[number]["crc"]) for number in (0, count - 1)]
    return {"sha256": dict(gallery.layout.sha256), "ends": ends}


def empty_index(sample: NDArray[np.float32], recipe: Recipe, seed: int) -> Any:
    """Fit axes and centres; vectors are stored with one byte per number (FAISS's SQ8)."""
    faiss = faiss_module()
    width = sample.shape[1]
    axes = min(recipe.dimensions or width, width)
    kept = sample
    if axes < width:
        # Axes through the origin, not through the mean: a shift would change inner products.
        _, vectors = np.linalg.eigh((sample.T @ sample).astype(np.float64))
        turn = np.ascontiguousarray(vectors[:, ::-1][:, :axes].T, np.float32)
        kept = np.ascontiguousarray(sample @ turn.T)
    inner = faiss.index_factory(
        axes, "SQ8" if recipe.lists == 1 else f"IVF{recipe.lists},SQ8", faiss.METRIC_INNER_PRODUCT
    )
    if recipe.lists > 1:
        ivf = faiss.extract_index_ivf(inner)
        ivf.cp.seed = seed
        ivf.cp.max_points_per_centroid = max(1, len(sample) // recipe.lists)
    inner.train(kept)
    if axes == width:
        return inner
    transform = faiss.LinearTransform(width, axes, False)
    faiss.copy_array_to_vector(turn.ravel(), transform.A)
    transform.is_trained = True
    return faiss.IndexPreTransform(transform, inner)


def search_shortlist(
    gallery: Gallery,
    shortlist: FaceIndex,
    features: NDArray[np.float32],
    k: int = 5,
    *,
    size: int = 500,
    attention: AttentionKind | None = None,
    visited: int | None = None,
    threads: int | None = None,
    one_per_person: bool = False,
) -> list[list[Candidate]]:
    """Find approximately the k best faces for each of P probes.

    Scores, S and W are exact, as in :func:`whyface.gallery.search.search`, but the shortlist may miss somebody. Faces
    that were added after the index was built are all compared.

    Parameters
    ----------
    gallery
        Opened with its model.
    shortlist
        Its index, here or in a vector database (:mod:`whyface.gallery.vector_table`).
    features
        From ``gallery.features``, (P, ...).
    k
        Number of candidates, at least 1.
    size
        Number of faces to compare exactly, at least k.
    attention, threads, one_per_person
        As for :func:`whyface.gallery.search.search`.
    visited
        Number of lists to visit, instead of the recipe's.

    Returns
    -------
    For each probe its candidates, best first; fewer than k where the shortlist holds fewer.

    Raises
    ------
    InputError
        If k is below 1 or above ``size``, the gallery is empty, or the features are from another model.
    """
    if not 1 <= k <= size:
        raise InputError(f"a search returns 1 to {size} candidates from a shortlist of {size}, got k = {k}")
    require_faces(gallery)
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
    """Compare one probe with the given records and return the best."""
    if not len(numbers):
        return []
    one = probes.row(row)
    learned = None if one.terms is None else gallery.model.attention
    # Numbers ascend, so the disk is read sequentially.
    (scores,) = score_records(gallery.records[numbers], one, learned, threads=threads)
    kept: list[int] = []
    people: set[str] = set()
    for number in (int(number) for number in numbers[np.argsort(-scores, kind="stable")]):
        # Checked in place: a copy of chosen records need not keep the bytes between their fields.
        if not intact(gallery.records[number : number + 1], number)[0]:
            gallery.damaged.add(number)
            continue
        person = gallery.rows([number]).get(number)
        if person is None or (one_per_person and person.name in people):
            continue
        people.add(person.name)
        kept.append(number)
        if len(kept) == k:
            break
    return explain_candidates(gallery, probes, row, kept)
