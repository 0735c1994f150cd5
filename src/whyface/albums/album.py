"""An album: every face in a folder of photos, grouped into people, with what a person changed by hand.

The album is a folder of its own: a gallery with one record for each face that can support a verdict, the faces' crops,
and ``album.json``. A later run reads new and changed photos only, groups all faces again, and keeps what was joined,
put apart or named by hand.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from whyface.errors import DataError, InputError
from whyface.files.guarded import read_json
from whyface.files.integrity import write_atomic
from whyface.files.photo_folder import name_fault
from whyface.gallery.gallery import one_spelling

SCHEMA: Final = "whyface/album/1"
STATE: Final = "album.json"
FEATURES: Final = "features"
CROPS: Final = "faces"


@dataclass(frozen=True)
class AlbumFace:
    """One face of a photo, and where it belongs.

    Attributes
    ----------
    photo
        The photo, relative to the folder.
    index
        Index of the face in the photo, 0 = largest.
    box
        (x0, y0, x1, y1) in photo pixels; None for an aligned crop.
    quality
        The unified quality score, in [0, 1].
    doubt
        Why the face cannot support a verdict, so that it is compared with nobody; None if it can.
    record
        Number of its record in the album's gallery; None with a doubt.
    person
        Number of its person; None with a doubt.
    """

    photo: str
    index: int
    box: tuple[float, float, float, float] | None = None
    quality: float | None = None
    doubt: str | None = None
    record: int | None = None
    person: int | None = None

    @property
    def key(self) -> str:
        """Name of the face: the photo, and the index behind a #."""
        return f"{self.photo}#{self.index}"

    @property
    def crop(self) -> str:
        """Path of its crop in the album."""
        # The digest tells trip/1.jpg from trip_1.jpg; a whole path may be longer than a file's name can be.
        digest = hashlib.sha256(self.photo.encode(errors="surrogateescape")).hexdigest()[:12]
        return f"{CROPS}/{self.photo.replace('/', '_')[-50:]}-{digest}-{self.index}.jpg"


@dataclass
class Album:
    """The content of an album.

    Attributes
    ----------
    path
        Its folder.
    model
        Name of the model that compares the faces.
    threshold, least_mean
        Score above which a pair ties two groups, and the mean score that two groups need.
    photos
        Size and time of change of each photo that was read.
    failures
        Why a photo could not be used.
    faces
        All faces, by photo.
    edits
        What was changed by hand: ``{"merge": [faces]}``, ``{"apart": [[faces], [faces]]}`` or
        ``{"name": [face, name]}``.
    why
        Why each face is where it is, by the face's name: the pair that tied it or came nearest.
    report
        What the last run did.
    """

    path: Path
    model: str
    threshold: float
    least_mean: float
    photos: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    faces: list[AlbumFace] = field(default_factory=list)
    edits: list[dict[str, Any]] = field(default_factory=list)
    why: dict[str, dict[str, Any]] = field(default_factory=dict)
    report: dict[str, int] = field(default_factory=dict)

    def people(self) -> dict[int, list[AlbumFace]]:
        """Return the faces of each person, the person with the most faces first."""
        found: dict[int, list[AlbumFace]] = {}
        for face in self.faces:
            if face.person is not None:
                found.setdefault(face.person, []).append(face)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    def names(self) -> dict[int, str]:
        """Return the name of each person: the one given by hand, else a number."""
        of_face = {face.key: face.person for face in self.faces}
        found = {person: f"person {person}" for person in self.people()}
        for key, name in self.named():
            person = of_face.get(key)
            if person is not None:
                found[person] = name
        return found

    def named(self) -> Iterator[tuple[str, str]]:
        """Yield faces that were named by hand, with the names."""
        for edit in self.edits:
            if "name" in edit:
                yield edit["name"][0], edit["name"][1]

    def save(self) -> None:
        """Write the album's state."""
        document = {
            "schema": SCHEMA,
            "model": self.model,
            "threshold": self.threshold,
            "least_mean": self.least_mean,
            "photos": self.photos,
            "failures": self.failures,
            "faces": [asdict(face) for face in self.faces],
            "edits": self.edits,
            "why": self.why,
        }
        write_atomic(self.path / STATE, f"{json.dumps(document, ensure_ascii=False, indent=1)}\n".encode())

    def find(self, who: str) -> list[AlbumFace]:
        """Return the faces of a person, by name or number, or one face, by its name PHOTO#INDEX.

        Raises
        ------
        InputError
            If there is nobody of this name, or there are two.
        """
        faces = [face for face in self.faces if face.key == who]
        if faces:
            return faces
        wanted = one_spelling(who)
        people = [person for person, name in self.names().items() if one_spelling(name) == wanted or str(person) == who]
        if len(people) != 1:
            many = "more than one person is" if people else "nobody and no face is"
            raise InputError(
                f"{self.path}: {many} called {who!r}; give a name of the list in faces.csv, or PHOTO#INDEX"
            )
        return [face for face in self.faces if face.person == people[0]]

    def merge(self, one: str, other: str) -> None:
        """Join two people by hand; the result has the name of the first."""
        mine, theirs = self.find(one), self.find(other)
        if mine[0].person is None or theirs[0].person is None:
            raise InputError(f"{one} or {other} is too poor to be compared, so it belongs to nobody")
        if mine[0].person == theirs[0].person:
            raise InputError(f"{one} and {other} are one person already")
        keys, others = {face.key for face in mine}, {face.key for face in theirs}
        named = {key for key, _ in self.named()}
        # What is joined now wins over what was said before.
        forget = others if keys & named else set()
        self.edits = [
            edit
            for edit in self.edits
            if not ("apart" in edit and _separates(edit["apart"], keys, others))
            and not ("name" in edit and edit["name"][0] in forget)
        ]
        self.edits.append({"merge": [face.key for face in (*mine, *theirs)]})

    def split(self, who: Sequence[str]) -> None:
        """Put faces apart from the rest of their person, by hand; together they are a person of their own."""
        chosen = [face for one in who for face in self.find(one)]
        people = {face.person for face in chosen}
        if len(people) != 1 or None in people:
            raise InputError("give faces of one person, PHOTO#INDEX, to put apart from the rest")
        keys = {face.key for face in chosen}
        rest = [face.key for face in self.faces if face.person in people and face.key not in keys]
        if not rest:
            raise InputError("these are all faces of the person; nobody is left to put them apart from")
        edits: list[dict[str, Any]] = []
        for edit in self.edits:
            if "merge" in edit:
                parts = [[key for key in edit["merge"] if (key in keys) is inside] for inside in (True, False)]
                edits += [{"merge": part} for part in parts if len(part) > 1]
            elif "name" not in edit or edit["name"][0] not in keys:
                edits.append(edit)
        if len(keys) > 1:
            edits.append({"merge": sorted(keys)})
        self.edits = [*edits, {"apart": [sorted(keys), rest]}]

    def rename(self, who: str, name: str) -> None:
        """Name a person."""
        name = one_spelling(name)
        if not name.strip():
            raise InputError("a person needs a name that is not empty")
        if (fault := name_fault(name)) is not None:
            raise InputError(f"{name!r}: a person {fault} cannot be kept; choose another name")
        faces = self.find(who)
        if faces[0].person is None:
            raise InputError(f"{who} is too poor to be compared, so it is nobody's face")
        taken = {one_spelling(other): person for person, other in self.names().items()}
        if taken.get(name, faces[0].person) != faces[0].person:
            raise InputError(f"{name} is another person of the album already; merge them if they are the same")
        keys = {face.key for face in faces}
        self.edits = [edit for edit in self.edits if "name" not in edit or edit["name"][0] not in keys]
        self.edits.append({"name": [faces[0].key, name]})


def _separates(apart: Sequence[Sequence[str]], keys: set[str], others: set[str]) -> bool:
    one, two = (set(part) for part in apart)
    return bool((one & keys and two & others) or (one & others and two & keys))


def _edit(value: Any) -> dict[str, Any]:
    ((kind, of),) = value.items()
    lists = of if kind == "apart" else [of]
    whole = kind in {"merge", "apart", "name"} and all(isinstance(key, str) for part in lists for key in part)
    if not whole or (kind != "merge" and len(of) != 2):
        raise ValueError(f"{kind!r} is no change that a hand can make")
    return {kind: [list(part) for part in of] if kind == "apart" else list(of)}


def open_album(path: Path) -> Album:
    """Read an album.

    Raises
    ------
    DataError
        If there is none, or it is damaged.
    """
    state = path / STATE
    if not state.is_file():
        raise DataError(f"{path}: no album here, {STATE} is missing; whyface cluster makes one")
    try:
        document = read_json(state)
        if document["schema"] != SCHEMA:
            raise KeyError(document["schema"])  # noqa: TRY301 - said below, with the file
        album = Album(path, document["model"], float(document["threshold"]), float(document["least_mean"]))
        album.photos = {name: (int(size), int(when)) for name, (size, when) in document["photos"].items()}
        album.failures, album.why = dict(document["failures"]), dict(document["why"])
        album.faces = [AlbumFace(**{**face, "box": face["box"] and tuple(face["box"])}) for face in document["faces"]]
        album.edits = [_edit(edit) for edit in document["edits"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{state}: damaged ({error}); make the album again, in another folder") from error
    return album
