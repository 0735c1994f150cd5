"""Enrol people from a folder of photos, and report pairs under two names that look alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.engines import Engine, here
from whyface.errors import DataError, WhyfaceError
from whyface.faces.pictures import FolderPictures, TarPictures, open_pictures
from whyface.files.progress import ProgressCallback
from whyface.gallery.gallery import Gallery, one_spelling, pixel_digest
from whyface.gallery.opening import recorded_model
from whyface.gallery.picture_reader import PictureReader, ReadPicture, open_reader
from whyface.gallery.search import others_above, scores_with
from whyface.xcos.comparison import COSINE
from whyface.xcos.grid import AttentionKind
from whyface.xcos.open_model import OpenedModel, known_entry

LOOKS_ALIKE: Final = 0.55
"""Two faces above this score under different names are reported. It is above the match threshold, since every new
face is compared with all others: on LFW (default model, uniform attention) 73 % of 500 genuine pairs are above it, and
1 of the 719,400 pairs among 1,200 people; 0.5 would find 82 % and 9 pairs of two people, 0.7 only 27 %."""

_BATCH: Final = 32
_NAMELESS: Final = "its folder's name is blank, so that nobody knows who it shows; rename the folder"


@dataclass(frozen=True)
class Doubt:
    """Two pictures that may show one person under two names, or two people under one: their sources and names."""

    source: str
    name: str
    other_source: str
    other_name: str
    score: float

    def describe(self) -> str:
        """Return it in one line."""
        if self.name == self.other_name:
            return (
                f"somebody else among the photos of {self.name}? {self.source}: the most alike of the others, "
                f"{self.other_source}, has the score {self.score:.2f}"
            )
        alike = "the same picture" if self.score >= 1 else f"look alike, score {self.score:.2f}"
        pair = f"{self.source} ({self.name}) and {self.other_source} ({self.other_name})"
        return f"one person under two names? {pair}: {alike}"


@dataclass
class EnrolReport:
    """The result of an enrolment.

    Attributes
    ----------
    added
        Faces added.
    people
        Number of people in the folder who now have at least one face in the gallery.
    skipped
        Pictures that were already in the gallery under the same name.
    known_as
        The source of that picture in the gallery, by the source of the one skipped.
    failures
        Why a picture could not be enrolled, by picture.
    refused
        Why a face is too poor to be recognised by, by picture.
    passed_over
        Why a file in the folder was ignored, by name; hidden files are not listed.
    several_faces
        Number of faces, by picture, where there is more than one; the largest was enrolled.
    without_photo
        People with no usable picture.
    doubts
        Pairs under two names that look like one person, and pictures that look like nobody else of their own name.
    """

    added: int = 0
    people: int = 0
    skipped: list[str] = field(default_factory=list)
    known_as: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    several_faces: dict[str, int] = field(default_factory=dict)
    without_photo: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "added": self.added,
            "people": self.people,
            "skipped": self.skipped,
            "failures": self.failures,
            "refused": self.refused,
            "passed_over": self.passed_over,
            "several_faces": self.several_faces,
            "people_without_usable_photo": self.without_photo,
            "doubts": [vars(doubt) for doubt in self.doubts],
        }


def enroll_folder(
    gallery: Gallery,
    folder: Path | str,
    *,
    aligned: bool = False,
    find_doubts: bool = True,
    accept_poor: bool = False,
    threads: int | None = None,
    engine: Engine | None = None,
    opener: Callable[[], OpenedModel] | None = None,
    progress: ProgressCallback | None = None,
) -> EnrolReport:
    """Add all people of a folder or tar file ``person/picture``.

    Pictures at the folder's top level belong to no person; one folder around all people is allowed. Each batch is on
    disk before the next starts, so an interrupted run can resume: pictures that are there already are skipped.

    Parameters
    ----------
    gallery, folder
        The gallery, opened with its model for writing, and the folder or tar file.
    aligned
        Whether the pictures are aligned faces of 112 x 112 pixels; otherwise the largest face of each is aligned.
    find_doubts
        Whether to look for one person under two names, by comparing every new face with all others.
    accept_poor
        Whether to add faces that cannot support a verdict, too. They are like anybody's, so they are refused otherwise.
    threads
        Threads of ONNX Runtime for the face detector; None leaves it to ONNX Runtime, and an engine's workers have one
        each.
    engine
        Where pictures are read and features computed; in this process by default. The gallery is written here, in the
        same order, so it is the same to the bit as long as the networks have the same number of threads.
    opener
        Opens the gallery's model in another process, for an engine.
    progress
        Called with the number of pictures done and the total.

    Raises
    ------
    DataError
        If there are no pictures, or none can be used.
    OutputError
        If the gallery cannot be written to.
    """
    report = EnrolReport()
    with open_pictures(folder) as photos:
        person_of, empty = people_of(photos, folder)
        report.passed_over = photos.listed().passed_over
        nameless = [name for name, person in person_of.items() if not person.strip()]
        report.failures = dict.fromkeys(nameless, _NAMELESS)
        person_of = {name: person for name, person in person_of.items() if person.strip()}
        done = 0
        if engine is None or opener is None:
            read = here(
                partial(PictureReader, gallery.model, folder, aligned, accept_poor, threads), _work(gallery, person_of)
            )
        else:
            make = partial(
                open_reader, opener, gallery.layout, Path(folder).absolute(), aligned, accept_poor, threads or 1
            )
            read = engine(make, _work(gallery, person_of))
        for names, pictures in read:
            _enroll_batch(gallery, pictures, person_of, report, find_doubts=find_doubts)
            done += len(names)
            if progress is not None:
                progress(done, len(person_of))
    there = gallery.names()
    everybody = sorted({*person_of.values(), *(person for person in empty if person.strip())})
    report.people = sum(name in there for name in everybody)
    report.without_photo = [name for name in everybody if name not in there]
    if not report.people:
        first = next(iter((report.failures | report.refused).items()), None)
        why = "" if first is None else f", the first: {first[0]}: {first[1]}"
        raise DataError(f"{folder}: none of {len(person_of) + len(nameless)} pictures could be used{why}")
    return report


def people_of(photos: FolderPictures | TarPictures, folder: Path | str) -> tuple[dict[str, str], set[str]]:
    """Return the person of each picture, by its folder, and the people whose folders have no pictures.

    Raises
    ------
    DataError
        If there are no pictures, or none is in a person's folder.
    """
    names = photos.names()
    if not names:
        raise DataError(f"{folder}: no pictures here; expected one folder of pictures per person")
    person_of = {name: one_spelling(name.split("/")[-2]) for name in names if "/" in name}
    if not person_of:
        raise DataError(f"{folder}: the pictures are in no person's folder; move them to FOLDER/PERSON/")
    depth = min(name.count("/") for name in person_of)
    people = {one_spelling(name.rpartition("/")[2]) for name in photos.listed().folders if name.count("/") == depth - 1}
    return person_of, people - set(person_of.values())


def _work(gallery: Gallery, person_of: Mapping[str, str]) -> Iterator[tuple[list[str], list[tuple[str, bool]]]]:
    """Yield batches of names, each with whether a face of that person and picture is in the gallery."""
    names = list(person_of)
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        people = {person_of[name] for name in batch}
        there = {(person, row.source) for person in people for row in gallery.names_table.of_person(person)}
        yield batch, [(name, (person_of[name], name) in there) for name in batch]


def _enroll_batch(
    gallery: Gallery,
    pictures: Sequence[ReadPicture],
    person_of: Mapping[str, str],
    report: EnrolReport,
    *,
    find_doubts: bool,
) -> None:
    for picture in pictures:
        if picture.faces > 1:
            report.several_faces[picture.name] = picture.faces
        if picture.failure is not None:
            report.failures[picture.name] = picture.failure
        elif picture.refusal is not None:
            report.refused[picture.name] = picture.refusal
    good = [picture for picture in pictures if picture.failure is None and picture.refusal is None]
    _enroll(gallery, good, [person_of[picture.name] for picture in good], report, find_doubts=find_doubts)


def enroll_faces(
    gallery: Gallery,
    faces: Sequence[NDArray[np.uint8]],
    people: Sequence[str],
    sources: Sequence[str],
    report: EnrolReport,
    *,
    find_doubts: bool = True,
) -> None:
    """Add faces that are not yet enrolled under the same name, and look for one person under two names.

    The gallery is open for writing, and the report is updated. Raise OutputError if the gallery cannot be written to.

    Parameters
    ----------
    faces
        Aligned faces, RGB uint8, (3, 112, 112) each.
    people, sources
        Name and source of each face.
    find_doubts
        Whether to compare every new face with all others; the same picture under two names is always reported.
    """
    read = [
        ReadPicture(source, face=face, digest=pixel_digest(face)) for source, face in zip(sources, faces, strict=True)
    ]
    _enroll(gallery, read, people, report, find_doubts=find_doubts)


def _enroll(
    gallery: Gallery,
    pictures: Sequence[ReadPicture],
    people: Sequence[str],
    report: EnrolReport,
    *,
    find_doubts: bool,
) -> None:
    kept: list[int] = []
    people = [one_spelling(person) for person in people]
    for number, (picture, person) in enumerate(zip(pictures, people, strict=True)):
        before = [(row.name, row.source) for row in gallery.names_table.of_digest(picture.digest)]
        before += [(people[other], pictures[other].name) for other in kept if pictures[other].digest == picture.digest]
        same = [where for name, where in before if one_spelling(name) == person]
        if same:
            report.skipped.append(picture.name)
            report.known_as[picture.name] = same[0]
            continue
        report.doubts += [Doubt(picture.name, person, where, name, 1.0) for name, where in before]
        kept.append(number)
    if not kept:
        return
    new = [pictures[number] for number in kept]
    faces = [picture.face for picture in new if picture.features is None and picture.face is not None]
    rows = iter(gallery.features(np.stack(faces)) if faces else ())
    features = np.stack([next(rows) if picture.features is None else picture.features for picture in new])
    people, sources, digests = (
        [people[number] for number in kept],
        [one.name for one in new],
        [one.digest for one in new],
    )
    added = gallery.add(features, people, sources, digests=digests)
    report.added += len(added)
    if find_doubts:
        report.doubts += _look_alikes(gallery, features, added, people, sources, digests)
        report.doubts += _unlike(gallery, features, added, people, sources)


def _look_alikes(
    gallery: Gallery,
    features: NDArray[np.float32],
    added: range,
    people: Sequence[str],
    sources: Sequence[str],
    digests: Sequence[str],
) -> list[Doubt]:
    """Compare new faces with all earlier ones; return a doubt for each face and each other person who looks like it.

    Faces with identical pixels were already reported.
    """
    # Uniform attention needs one matrix product; a face is equally similar to itself under any attention.
    kind: AttentionKind | None = "u" if "u" in gallery.model.kinds else None
    table = gallery.names_table
    own = {name: {row.record for row in table.of_person(name)} for name in set(people)}
    told = [{row.record for row in table.of_digest(digest)} for digest in digests]
    but = [own[name] | same for name, same in zip(people, told, strict=True)]
    best = others_above(gallery, features, added, LOOKS_ALIKE, but=but, attention=kind)
    return [
        Doubt(source, name, other.source, other.name, round(other.score, 4))
        for name, source, candidates in zip(people, sources, best, strict=True)
        for other in candidates
    ]


def _unlike(
    gallery: Gallery, features: NDArray[np.float32], added: range, people: Sequence[str], sources: Sequence[str]
) -> list[Doubt]:
    """Compare new faces with the earlier ones of the same person; return a doubt for each that is like none of them."""
    limit = _stranger_limit(gallery)
    if limit is None:
        return []
    found = []
    for name in dict.fromkeys(people):
        earlier = [row for row in gallery.names_table.of_person(name) if row.record < added.start]
        mine = [number for number, person in enumerate(people) if person == name]
        if not earlier:
            continue
        scores = scores_with(gallery, features[mine], [row.record for row in earlier])
        for number, line in zip(mine, scores, strict=True):
            best = int(line.argmax())
            if line[best] <= limit:
                found.append(Doubt(sources[number], name, earlier[best].source, name, round(float(line[best]), 4)))
    return found


def _stranger_limit(gallery: Gallery) -> float | None:
    """Return the threshold of the highest FMR on record, below which pairs are hardly ever of one person; or None."""
    try:
        entry = known_entry(recorded_model(gallery.path)["model"])
    except WhyfaceError:
        return None
    kind = gallery.model.default_kind if gallery.layout.kind == "grid" else COSINE
    measured = {} if entry is None else entry.measured(kind or COSINE)
    return measured[max(measured)].threshold if measured else None
