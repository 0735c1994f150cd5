"""Fill an album: read new photos of its folder, group all faces again, and note the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.albums.album import CROPS, FEATURES, Album, AlbumFace
from whyface.engines import Engine, here
from whyface.errors import DataError, FaceError, PhotoError
from whyface.explain.trust import doubt_about_face
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face, load_faces
from whyface.files.integrity import check_folder, make_folder, write_atomic
from whyface.files.photo_folder import PhotoFolder, list_photos
from whyface.files.progress import ProgressCallback
from whyface.gallery.feature_file import Layout
from whyface.gallery.gallery import Gallery
from whyface.gallery.grouping import Grouping, group_faces, mean_between
from whyface.gallery.kernel import GalleryFeatures
from whyface.gallery.neighbours import ChosenRecords, find_neighbours
from whyface.models.entry import ModelEntry
from whyface.xcos.comparison import COSINE, FaceModel
from whyface.xcos.grid import AttentionKind
from whyface.xcos.open_model import OpenedModel

TIE_FMR: Final = 1e-5
MEAN_FMR: Final = 1e-4
"""Operating points that tie faces, and that groups need on average (docs/studies/clusters.md)."""

_SAVED: Final = 100
_BATCH: Final = 32


def update_album(
    album: Album,
    gallery: Gallery,
    folder: Path,
    *,
    aligned: bool = False,
    accept_poor: bool = False,
    shortlist: int | None = None,
    threads: int | None = None,
    engine: Engine | None = None,
    opener: Callable[[], OpenedModel] | None = None,
    reading: ProgressCallback | None = None,
    comparing: ProgressCallback | None = None,
) -> Grouping:
    """Read photos that are new or changed since the last run, forget those that are gone, group all faces, and save.

    The album is saved every hundred photos, so that an interrupted run can be resumed.

    Parameters
    ----------
    album, gallery
        The album and its records (:func:`open_features`).
    folder
        The folder of photos.
    aligned
        The photos are aligned 112 x 112 faces.
    accept_poor
        Whether to compare faces that cannot support a verdict, too.
    shortlist
        See :func:`whyface.gallery.neighbours.find_neighbours`.
    threads
        Threads of ONNX Runtime; None leaves it to ONNX Runtime, and an engine's workers have one each.
    engine
        Where photos are read and features computed; in this process by default. All is written here, in the same order.
    opener
        Opens the album's model in another process, for an engine.
    reading, comparing
        Called with the number of photos, or of faces, done and the total.

    Raises
    ------
    DataError
        If the folder has no photos, or none of them can be used.
    OutputError
        If the album cannot be written.
    """
    photos = photos_of(folder).photos
    there = {name: _stamp(folder / name) for name in photos}
    known = {name: stamp for name, stamp in album.photos.items() if there.get(name) == stamp}
    gone = {face.photo for face in album.faces} - set(known)
    _forget(album, gallery, gone)
    album.photos = known
    album.failures = {name: why for name, why in album.failures.items() if name in known}
    new = [name for name in photos if name not in known]
    album.report = {"photos": len(photos), "new": len(new), "gone": len(gone - set(photos))}
    (album.path / CROPS).mkdir(exist_ok=True)
    if engine is None or opener is None:
        worker = PhotoReader(gallery.features, folder, aligned, accept_poor, threads)
        read = here(lambda: worker, zip(new, new, strict=True))
    else:
        make = partial(_open_reader, opener, gallery.layout, folder.absolute(), aligned, accept_poor, threads or 1)
        read = engine(make, zip(new, new, strict=True))
    for done, (name, found) in enumerate(read, start=1):
        if isinstance(found, str):
            album.failures[name] = found
        else:
            _add(album, gallery, name, found)
        album.photos[name] = there[name]
        if done % _SAVED == 0:
            album.save()
        if reading is not None:
            reading(done, len(new))
    album.faces.sort(key=lambda face: (face.photo, face.index))
    album.save()
    if not album.faces:
        first = next(iter(album.failures.items()), ("", ""))
        where = "its only photo" if len(photos) == 1 else f"any of {len(photos)} photos, the first"
        raise DataError(f"{folder}: no face in {where}: {first[0]}: {first[1]}")
    grouping = group_album(album, gallery, shortlist=shortlist, threads=threads, progress=comparing)
    album.save()
    return grouping


def photos_of(folder: Path) -> PhotoFolder:
    """List the photos in a folder. Raise DataError if there are none."""
    found = list_photos(folder)
    if not found.photos:
        raise DataError(f"{folder}: no photos here; give a folder of photos")
    return found


def _stamp(photo: Path) -> tuple[int, int]:
    try:
        status = photo.stat()
    except OSError:
        # Gone while the folder was read: reading it will say so.
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


def _forget(album: Album, gallery: Gallery, photos: set[str]) -> None:
    known = {face.record for face in album.faces if face.record is not None and face.photo not in photos}
    # A run that was interrupted may have left records that the album does not know.
    for record, _ in gallery.labels():
        if record not in known:
            gallery.remove(record)
    for face in album.faces:
        if face.photo in photos:
            (album.path / face.crop).unlink(missing_ok=True)
    album.faces = [face for face in album.faces if face.photo not in photos]


@dataclass(frozen=True, eq=False)
class ReadFace:
    """A face as it was read: its row of the album, its crop as a JPEG file, and features if it is to be compared."""

    row: AlbumFace
    crop: bytes
    sha256: str
    features: NDArray[np.float32] | None


@dataclass(frozen=True)
class PhotoReader:
    """Reads all faces of a photo and computes the features of those that are to be compared, in any process."""

    compute: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    folder: Path
    aligned: bool
    accept_poor: bool
    threads: int | None

    def __call__(self, name: str) -> list[ReadFace] | str:
        """Return the faces of a photo of the folder, or why there are none."""
        path = self.folder / name
        try:
            faces = [load_face(path, aligned=True)] if self.aligned else load_faces(path, threads=self.threads)
        except (PhotoError, FaceError) as error:
            return str(error).removeprefix(f"{path}: ")
        doubts = [None if self.accept_poor else doubt_about_face(face) for face in faces]
        good = [face for face, doubt in zip(faces, doubts, strict=True) if doubt is None]
        parts = [good[start : start + _BATCH] for start in range(0, len(good), _BATCH)]
        features = iter([row for part in parts for row in self.compute(stack_faces(part))])
        found = []
        for face, doubt in zip(faces, doubts, strict=True):
            box = None if face.box is None else tuple(round(float(value), 1) for value in face.box)
            quality = None if face.quality is None else face.quality.unified
            row = AlbumFace(name, face.index, box, quality, doubt)  # type: ignore[arg-type]
            crop = cv2.imencode(".jpg", cv2.cvtColor(face.image, cv2.COLOR_RGB2BGR))[1].tobytes()
            found.append(ReadFace(row, crop, face.sha256, next(features) if doubt is None else None))
        return found


def _open_reader(
    opener: Callable[[], OpenedModel],
    layout: Layout,
    folder: Path,
    aligned: bool,
    accept_poor: bool,
    threads: int | None,
) -> PhotoReader:
    model = GalleryFeatures(opener().model)
    model.require(layout, folder)
    return PhotoReader(model.features, folder, aligned, accept_poor, threads)


def _add(album: Album, gallery: Gallery, name: str, faces: Sequence[ReadFace]) -> None:
    for face in faces:
        write_atomic(album.path / face.row.crop, face.crop)
    compared = [face for face in faces if face.features is not None]
    records: Iterable[int] = ()
    if compared:
        features = np.stack([face.features for face in compared if face.features is not None])
        keys = [face.row.key for face in compared]
        records = gallery.add(features, keys, name, digests=[face.sha256 for face in compared])
    numbers = iter(records)
    album.faces += [face.row if face.features is None else replace(face.row, record=next(numbers)) for face in faces]


def group_album(
    album: Album,
    gallery: Gallery,
    *,
    shortlist: int | None = None,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> Grouping:
    """Group the faces of an album again, keep what was changed by hand, and note why each face is where it is."""
    compared = [face for face in album.faces if face.record is not None]
    place = {face.key: number for number, face in enumerate(compared)}
    numbers = np.array([face.record for face in compared], np.int64)
    # With a shortlist there may be more faces than memory holds; all with all is faster from memory.
    records = gallery.records[numbers] if shortlist is None else ChosenRecords(gallery.records, numbers)
    neighbours = find_neighbours(
        records, gallery.layout, album.threshold, shortlist=shortlist, threads=threads, progress=progress
    )
    edits = album.edits
    photos = {name: number for number, name in enumerate(dict.fromkeys(face.photo for face in compared))}
    grouping = group_faces(
        neighbours,
        mean_between(records, gallery.layout),
        threshold=album.threshold,
        least_mean=album.least_mean,
        photos=[photos[face.photo] for face in compared],
        names={place[key]: name for key, name in album.named() if key in place},
        together=[
            (present[0], other)
            for present in ([place[key] for key in edit["merge"] if key in place] for edit in edits if "merge" in edit)
            for other in present[1:]
        ],
        apart=[
            (
                [place[key] for key in edit["apart"][0] if key in place],
                [place[key] for key in edit["apart"][1] if key in place],
            )
            for edit in edits
            if "apart" in edit
        ],
    )
    people = _numbered(grouping, [face.person for face in compared])
    person = {face.key: people[int(group)] for face, group in zip(compared, grouping.groups, strict=True)}
    album.faces = [replace(face, person=person.get(face.key)) for face in album.faces]
    album.why = _reasons(grouping, compared)
    album.report |= {"faces": len(album.faces), "undecided": len(album.faces) - len(compared)}
    return grouping


def records_of(gallery: Gallery, faces: Sequence[AlbumFace]) -> NDArray[Any]:
    """Return the records of faces that have one."""
    return gallery.records[[face.record for face in faces if face.record is not None]]


def _numbered(grouping: Grouping, before: Sequence[int | None]) -> dict[int, int]:
    """Give each group the number that most of its faces had, so that people keep their numbers, or a new one."""
    votes: Counter[tuple[int, int]] = Counter()
    for group, number in zip(grouping.groups.tolist(), before, strict=True):
        if number is not None:
            votes[group, number] += 1
    found: dict[int, int] = {}
    taken: set[int] = set()
    for (group, number), _ in sorted(votes.items(), key=lambda item: (-item[1], item[0])):
        if group not in found and number not in taken:
            found[group] = number
            taken.add(number)
    following = max((number for number in before if number is not None), default=0) + 1
    for group in dict.fromkeys(grouping.groups.tolist()):
        if group not in found:
            found[group] = following
            following += 1
    return found


def _reasons(grouping: Grouping, faces: Sequence[AlbumFace]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for face, join in grouping.ties().items():
        other = join.other if join.face == face else join.face
        found[faces[face].key] = {"tied_to": faces[other].key, "why": join.why, **_scores(join.score, join.mean)}
    for face, refusal in grouping.refusals.items():
        about = {"nearest": faces[refusal.other].key, "why_not": refusal.why}
        found[faces[face].key] = {**about, **_scores(refusal.score, refusal.mean)}
    return found


def _scores(score: float, mean: float) -> dict[str, float | None]:
    return {"score": _rounded(score), "mean": _rounded(mean)}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)


@contextmanager
def open_features(album_path: Path, model: FaceModel) -> Iterator[Gallery]:
    """Open an album's gallery for writing, or create it."""
    path = album_path / FEATURES
    with Gallery.open(path, model, writable=True) if path.exists() else Gallery.create(path, model) as gallery:
        yield gallery


def start_album(path: Path, entry: ModelEntry) -> Album:
    """Make the folder of a new album, with the thresholds that a model has on record.

    Raises
    ------
    OutputError
        If the folder is there and not empty, or cannot be made.
    ModelError
        If no thresholds are on record.
    """
    check_folder(path, empty=True)
    kind = album_attention(entry) or (entry.default_attention if entry.kind == "xcos" else None) or COSINE
    tie, mean = (entry.operating_point(kind, fmr=fmr).threshold for fmr in (TIE_FMR, MEAN_FMR))
    make_folder(path)
    album = Album(path, entry.name, tie, mean)
    # A first run that ends early leaves an album that the next one continues.
    album.save()
    return album


def album_attention(entry: ModelEntry) -> AttentionKind | None:
    """Return uniform attention where a model's own is learned for each pair, of which records do not hold enough."""
    return "u" if entry.kind == "xcos" and entry.grid is not None and not entry.grid.weighed else None
