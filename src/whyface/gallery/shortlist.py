"""A rough index that names the few faces of a very large gallery that are worth an exact comparison (extra ``ann``).

With fixed attention w the score of two faces is one inner product of their unit cells written in a row, the probe's
weighted by w: for the default model 32 x 49 = 1,568 numbers. An index for inner products (FAISS; Douze et al., "The
Faiss library", 2024) finds the largest ones without looking at every face. It works on compressed vectors, so it is
only a first guess; what it names is then compared exactly (:mod:`whyface.gallery.shortlist`). Learned attention depends
on the pair; the attention of the probe to itself stands in for it, which is a good guess because it says where this
face has something to compare, whoever the other is. How often that misses somebody: ``docs/studies/two-stage.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError
from whyface.files.guarded import read_json
from whyface.files.integrity import write_atomic
from whyface.files.progress import ProgressCallback
from whyface.gallery.feature_file import intact
from whyface.gallery.features import GalleryFeatures
from whyface.gallery.gallery import Gallery
from whyface.gallery.kernel import Probes, score_records
from whyface.gallery.search import Candidate, explain_candidates
from whyface.xcos.attention import AttentionKind

INDEX_NAME: Final = "shortlist.faiss"
ABOUT_NAME: Final = "shortlist.json"

_ADDED_AT_ONCE: Final = 8192
_TRAINED_PER_LIST: Final = 48


@dataclass(frozen=True)
class Recipe:
    """How vectors are kept and looked up.

    Attributes
    ----------
    dimensions
        Vectors are turned onto so many of their principal axes first; 0 keeps them as they are.
    lists
        Vectors are sorted into so many lists by their nearest centre; 1 keeps one list of all. Lists save time and lose
        faces: a probe's best are spread over more of them than a search can visit (``docs/studies/two-stage.md``).
    visited
        Lists that a search looks into.
    """

    dimensions: int = 256
    lists: int = 1
    visited: int = 1

    def __post_init__(self) -> None:
        if self.dimensions < 0 or not 1 <= self.visited <= self.lists:
            raise InputError(f"an index visits 1 to all of its lists, got {self.visited} of {self.lists}")


class Shortlist:
    """An index over the first records of one gallery. Use :func:`build_shortlist` or :func:`open_shortlist`.

    Parameters
    ----------
    index
        A FAISS index for inner products whose numbers are the records'.
    recipe
        How it was made.
    count
        It covers the records 0 to ``count`` - 1; later ones were added to the gallery since.
    """

    def __init__(self, index: Any, recipe: Recipe, count: int) -> None:
        self.index = index
        self.recipe = recipe
        self.count = count

    def find(self, vectors: NDArray[np.float32], size: int, *, visited: int | None = None) -> NDArray[np.int64]:
        """Name the records with about the largest inner products.

        Parameters
        ----------
        vectors
            Weighted probes (P, D); see :func:`probe_vectors`.
        size
            How many to name.
        visited
            Another number of lists to look into than the recipe's.

        Returns
        -------
        (P, ``size``) int64, best first, -1 where there are fewer.

        Raises
        ------
        InputError
            If ``size`` is below 1.
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
    """Write probes in rows (P, D), cells first, weighted by fixed attention or by each probe's learned one to itself.

    Parameters
    ----------
    model
        The gallery's model.
    features
        (P, ...), as the model gives them.
    attention
        As for :meth:`GalleryFeatures.probes`, whose errors this raises.
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
    """Make an index of all records that a gallery holds now.

    Parameters
    ----------
    gallery
        The gallery; its model is not needed.
    recipe
        How; one list of all by default, which misses least.
    seed
        Of the sample that axes and centres are fitted to, and of the centres' start.
    threads
        Cores to use; all by default.
    progress
        Called with records done and their number.

    Raises
    ------
    InputError
        If FAISS is not installed or the gallery is empty.
    """
    faiss = faiss_module()
    count = len(gallery.records)
    if count == 0:
        raise InputError(f"{gallery.path}: the gallery is empty; enroll somebody first")
    if threads is not None:
        faiss.omp_set_num_threads(threads)
    recipe = recipe or Recipe()
    rng = np.random.default_rng(seed)
    wanted = min(count, max(4 * gallery.layout.values, _TRAINED_PER_LIST * recipe.lists))
    sample = _vectors(gallery.records[np.sort(rng.choice(count, wanted, replace=False))])
    index = _empty_index(sample, recipe, seed)
    for start, vectors in _stretches(gallery):
        index.add(vectors)
        if progress is not None:
            progress(start + len(vectors), count)
    return Shortlist(index, recipe, count)


def save_shortlist(shortlist: Shortlist, gallery: Gallery) -> None:
    """Write an index beside its gallery's records.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    faiss = faiss_module()
    about = {"count": shortlist.count, "recipe": asdict(shortlist.recipe), **_fingerprint(gallery, shortlist.count)}
    # The index first: one without its description is not opened.
    (gallery.path / ABOUT_NAME).unlink(missing_ok=True)
    write_atomic(gallery.path / INDEX_NAME, faiss.serialize_index(shortlist.index).tobytes())
    write_atomic(gallery.path / ABOUT_NAME, f"{json.dumps(about, indent=1)}\n".encode())


def open_shortlist(gallery: Gallery) -> Shortlist:
    """Open the index beside a gallery's records.

    Raises
    ------
    InputError
        If FAISS is not installed.
    DataError
        If there is no index, it is damaged, or it is another gallery's.
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
    if count > len(gallery.records) or expected != _fingerprint(gallery, count):
        raise DataError(f"{path}: was made of other records than this gallery's; {again}")
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataError(f"{path}: damaged or missing; {again}") from error
    if index.ntotal != count or index.d != gallery.layout.values:
        raise DataError(f"{path}: does not fit its description; {again}")
    return Shortlist(index, recipe, count)


def faiss_module() -> Any:
    """Import FAISS.

    Raises
    ------
    InputError
        If it is not installed; the message says what to install.
    """
    try:
        import faiss  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError("a shortlist needs FAISS; run: pip install 'whyface[ann]'") from error
    return faiss


def _vectors(records: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(records["unit"] * records["unit_scale"][:, None], np.float32)


def _stretches(gallery: Gallery) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, len(gallery.records), _ADDED_AT_ONCE):
        yield start, _vectors(gallery.records[start : start + _ADDED_AT_ONCE])


def _fingerprint(gallery: Gallery, count: int) -> dict[str, Any]:
    """Tell this gallery from others: its model, and the checksums of the first and the last record of the index."""
    ends = [int(gallery.records[number]["crc"]) for number in (0, count - 1)]
    return {"sha256": dict(gallery.layout.sha256), "ends": ends}


def _empty_index(sample: NDArray[np.float32], recipe: Recipe, seed: int) -> Any:
    """Fit axes and centres; vectors are kept as bytes (FAISS's SQ8), a number each."""
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
