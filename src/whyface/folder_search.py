"""Find the photos of a folder that show the person of another photo, without a gallery: every face is compared."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from whyface.errors import FaceError, InputError, PhotoError
from whyface.explain.trust import doubt_about_face
from whyface.faces.face import Face, stack_faces
from whyface.faces.load import load_faces
from whyface.files.photo_folder import describe_passed_over, list_photos
from whyface.files.progress import ProgressCallback
from whyface.verification import Verification, Verifier

MOST_KEPT: Final = 10_000
"""Maximum number of results, which bounds the memory."""


@dataclass(frozen=True)
class FolderSearch:
    """The result of a search in a folder.

    Attributes
    ----------
    found
        The most alike faces, matches or not, best first; each with its reasons.
    compared
        Number of faces that were compared, all photos together.
    photos
        Number of photos read.
    left_out
        Why a photo, a face or a file was not compared.
    """

    found: tuple[Verification, ...]
    compared: int
    photos: int
    left_out: tuple[str, ...] = field(default=())

    @property
    def matches(self) -> tuple[Verification, ...]:
        """Those above the threshold."""
        return tuple(one for one in self.found if one.is_match)

    def note(self) -> str:
        """Say what so many comparisons mean for the error rate."""
        return (
            f"{self.compared} faces of {self.photos} photos were compared. The threshold's false match rate is that of "
            f"one comparison; a match of strangers is up to {self.compared} times as likely here."
        )


def find_in_folder(
    verifier: Verifier,
    probe: Face,
    folder: Path | str,
    *,
    top: int = 20,
    progress: ProgressCallback | None = None,
) -> FolderSearch:
    """Compare a face with every face of every photo in a folder, at any depth.

    Only the best ``top`` are kept. Faces that cannot support a verdict are left out, unless the verifier accepts poor
    ones; the photo of the probe itself is passed over.

    Parameters
    ----------
    verifier, probe
        The model, and the face to look for.
    folder
        The folder.
    top
        Maximum number of results.
    progress
        Called with the number of photos done and the total.

    Raises
    ------
    DataError
        If the folder cannot be read.
    InputError
        If ``top`` is out of range, or no face could be compared.
    """
    if not 1 <= top <= MOST_KEPT:
        raise InputError(f"top must be 1 to {MOST_KEPT}, got {top}")
    root = Path(folder)
    listed = list_photos(root)
    comparison = verifier.method.comparison
    features = comparison.features(stack_faces([probe]))
    best: list[tuple[float, int, Face]] = []
    left_out: list[str] = []
    compared = 0
    for number, name in enumerate(listed.photos, start=1):
        faces = _usable(verifier, root / name, probe, left_out)
        if faces:
            scores = comparison.scores(features, comparison.features(stack_faces(faces)))
            for face, score in zip(faces, scores, strict=True):
                # The order of reading decides between equal scores, since faces cannot be compared.
                entry = (float(score), -compared, face)
                compared += 1
                (heapq.heappush if len(best) < top else heapq.heappushpop)(best, entry)
        if progress is not None:
            progress(number, len(listed.photos))
    if listed.passed_over:
        left_out.append(f"{root}: {describe_passed_over(listed.passed_over)}")
    if not best:
        why = f", the first: {left_out[0]}" if left_out else ""
        raise InputError(f"{root}: no face in it can be compared{why}")
    found = tuple(
        verifier.compare(probe, face) for _, _, face in sorted(best, key=lambda entry: entry[:2], reverse=True)
    )
    return FolderSearch(found, compared, len(listed.photos), tuple(left_out))


def _usable(verifier: Verifier, photo: Path, probe: Face, left_out: list[str]) -> list[Face]:
    if Path(probe.source).exists() and photo.samefile(probe.source):
        return []
    try:
        faces = load_faces(photo, detector=verifier.detector, threads=verifier.threads)
    except (PhotoError, FaceError) as error:
        left_out.append(str(error))
        return []
    if verifier.accept_poor:
        return faces
    good = []
    for face in faces:
        doubt = doubt_about_face(face)
        if doubt is None:
            good.append(face)
        else:
            left_out.append(f"{photo}: face {face.index}: {doubt}")
    return good
