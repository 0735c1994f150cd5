"""What the service answers, from photos as bytes to JSON values; nothing here knows about HTTP."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from PIL import Image

from whyface.errors import FaceError, InputError, WhyfaceError
from whyface.explain.trust import doubt_about_face
from whyface.faces.centerface import FILES, CenterFaceDetector, CentreSettings, open_centerface
from whyface.faces.face import Face, stack_faces
from whyface.faces.load import load_face, load_faces
from whyface.files.integrity import ContentHash
from whyface.gallery.enroll import EnrolReport, enroll_faces
from whyface.gallery.gallery import Gallery
from whyface.gallery.search import with_cells
from whyface.identify.gallery_people import threshold_for
from whyface.identify.group import identify_group
from whyface.service.limits import Limits
from whyface.verification import Verification, Verifier
from whyface.words.analysis import described_face
from whyface.xcos.comparison import unit_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

Drawing = Literal["png", "svg"]
MOST_CANDIDATES: Final = 100


def bounded_detector(limits: Limits) -> CenterFaceDetector:
    """Open the default detector for one thread; a photo with too many faces is refused before each is looked at."""
    return CenterFaceDetector(open_centerface(threads=1), CentreSettings(most_faces=limits.faces), files=FILES)


class Answers:
    """Everything that the service computes. Threads may share it.

    Parameters
    ----------
    verifier
        Opened with :func:`bounded_detector`.
    limits
        Bounds on photos.
    galleries
        Open galleries by name.
    """

    def __init__(self, verifier: Verifier, limits: Limits, galleries: Mapping[str, Gallery] | None = None) -> None:
        self.verifier = verifier
        self.limits = limits
        self.galleries = dict(galleries or {})

    def verify(self, photo_a: bytes, photo_b: bytes, **options: Any) -> Verification:
        """Verify two photos; the options are those of :meth:`face` for each side, ``any_face`` and ``note``."""
        note = options.get("note", "")
        if options.get("any_face"):
            sides = [self.faces(photo, name) for photo, name in ((photo_a, "photo_a"), (photo_b, "photo_b"))]
            return self.verifier.best_pair(sides[0], sides[1], note=note)
        aligned = bool(options.get("aligned"))
        first = self.face(photo_a, "photo_a", index=options.get("face_a", 0), aligned=aligned)
        second = self.face(photo_b, "photo_b", index=options.get("face_b", 0), aligned=aligned)
        return self.verifier.compare(first, second, note=note)

    def explain(
        self, photo_a: bytes, photo_b: bytes, *, crops: bool = False, figure: Drawing | None = None, **options: Any
    ) -> dict[str, Any]:
        """Verify two photos and return the whole explanation, with the crops and a figure in base64 on request."""
        found = self.verify(photo_a, photo_b, **options)
        document = found.explanation.to_dict()
        if crops:
            document["crops"] = [_png(face.image) for face in (found.face_a, found.face_b)]
        if figure is not None:
            drawn = io.BytesIO()
            found.save_figure(drawn, kind=figure)
            document["figure"] = base64.b64encode(drawn.getvalue()).decode("ascii")
        return document

    def detect(self, photo: bytes) -> dict[str, Any]:
        """Return all faces of a photo: box, landmarks, transform, quality."""
        found = self.faces(photo, "photo")
        return {"faces": [described_face(face) for face in found]}

    def represent(self, photo: bytes, *, aligned: bool = False) -> dict[str, Any]:
        """Return the vector of each face of a photo; the dot product of two is the score with uniform weights."""
        found = [self.face(photo, "photo", aligned=True)] if aligned else self.faces(photo, "photo")
        comparison = self.verifier.method.comparison
        vectors = unit_vectors(comparison, comparison.features(stack_faces(found)))
        described = [
            {**described_face(face), "embedding": [float(str(value)) for value in vector]}
            for face, vector in zip(found, vectors, strict=True)
        ]
        return {"model": {"name": comparison.name, "sha256": comparison.sha256}, "faces": described}

    def identify(
        self,
        photo: bytes,
        gallery: str | None,
        *,
        face: int | None = None,
        top: int = 5,
        fpir: float | None = None,
        accept_poor: bool = False,
    ) -> dict[str, Any]:
        """Say who a photo shows, face by face."""
        opened = self.gallery(gallery)
        probes = self.faces(photo, "photo") if face is None else [self.face(photo, "photo", index=face)]
        threshold, source = threshold_for(opened, fpir=fpir)
        found = identify_group(
            opened, probes, threshold=threshold, source=source, k=max(top, 1), accept_poor=accept_poor, threads=1
        )
        return found.to_dict()

    def search(self, photo: bytes, gallery: str | None, *, face: int = 0, top: int = 5) -> dict[str, Any]:
        """Return the most similar people of a gallery, each with the reasons."""
        opened = self.gallery(gallery)
        probe = self.face(photo, "photo", index=face)
        doubt = doubt_about_face(probe)
        if doubt is not None:
            return {"verdict": "undecided", "doubt": doubt, "candidates": []}
        batch = stack_faces([probe])
        (found,) = opened.search(
            opened.features(batch), min(max(top, 1), MOST_CANDIDATES), threads=1, one_per_person=True
        )
        found = with_cells(opened, batch[0], found)
        return {
            "face": {"index": probe.index, "count": probe.count},
            "gallery": {"faces": len(opened), "people": len(opened.names())},
            "candidates": [candidate.to_dict() for candidate in found],
        }

    def add(
        self, gallery: str | None, name: str, photos: Sequence[bytes], *, accept_poor: bool = False
    ) -> dict[str, Any]:
        """Add photos of one person to a gallery; poor faces are refused. The photos themselves are not kept."""
        opened = self.gallery(gallery)
        if not photos:
            raise InputError("no photos to add; send at least one")
        report = EnrolReport()
        good: list[Face] = []
        for number, photo in enumerate(photos):
            # Its hash names it: the file's own name may be anything, and is not kept.
            source = f"upload {ContentHash.of(photo).sha256[:16]}"
            try:
                one = replace(self.face(photo, f"photo {number}"), source=source)
            except FaceError as error:
                report.failures[source] = str(error)
                continue
            doubt = doubt_about_face(one)
            if doubt is not None and not accept_poor:
                report.refused[source] = doubt
            else:
                good.append(one)
        if good:
            enroll_faces(opened, list(stack_faces(good)), [name] * len(good), [one.source for one in good], report)
        report.people = int(name in opened.names())
        return report.to_dict()

    def remove(self, gallery: str | None, who: str | int) -> dict[str, Any]:
        """Remove a person, or one face by its record number."""
        return {"removed": [row.record for row in self.gallery(gallery).remove(who)]}

    def people(self, gallery: str | None) -> dict[str, Any]:
        """Return the people of a gallery and the number of their faces."""
        opened = self.gallery(gallery)
        return {"faces": len(opened), "model": opened.layout.model, "names": opened.names()}

    def gallery(self, name: str | None) -> Gallery:
        """Return a gallery by name; None: the only one.

        Raises
        ------
        InputError
            If there is no such gallery.
        """
        if name is None and len(self.galleries) == 1:
            return next(iter(self.galleries.values()))
        if name not in self.galleries:
            known = ", ".join(self.galleries) or "none (whyface serve --gallery NAME=FOLDER)"
            raise InputError(f"no such gallery here; there is {known}")
        return self.galleries[name]

    def face(self, photo: bytes, name: str, *, index: int = 0, aligned: bool = False) -> Face:
        """Return one face of a photo, under the name of the photo in the request."""
        return self._named(lambda: [load_face(photo, index=index, aligned=aligned, **self._reading)], name)[0]

    def faces(self, photo: bytes, name: str) -> list[Face]:
        """Return all faces of a photo, at least one."""
        return self._named(lambda: load_faces(photo, **self._reading), name)

    @property
    def _reading(self) -> dict[str, Any]:
        return {"max_pixels": self.limits.pixels, "detector": self.verifier.detector}

    def _named(self, load: Callable[[], list[Face]], name: str) -> list[Face]:
        try:
            return [replace(face, source=name) for face in load()]
        except WhyfaceError as error:
            raise type(error)(str(error).replace("the bytes", name)) from error


def _png(pixels: NDArray[Any]) -> str:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode("ascii")
