"""Faces of other people from a folder of photos, for what is only to be seen against many."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from whyface.errors import FaceError, InputError, PhotoError
from whyface.evaluate.progress import ProgressCallback
from whyface.faces.face import Face
from whyface.faces.load import load_face
from whyface.files.photo_folder import describe_passed_over, list_photos


def other_photos(
    folder: Path,
    *,
    besides: Collection[Path] = (),
    aligned: bool = False,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[list[Face], list[str]]:
    """Read one face from every picture of a folder, leaving out those without one.

    Parameters
    ----------
    folder
        Photos, in folders of it too.
    besides
        Photos that do not count, wherever they are.
    aligned
        The photos are aligned 112 x 112 crops.
    threads
        Threads of ONNX Runtime for the face detector; None leaves it to ONNX Runtime.
    progress
        Called with the number of photos read and their total.

    Returns
    -------
    The faces, and why each picture was left out that shows none or cannot be read.

    Raises
    ------
    InputError
        If none is left.
    """
    listed = list_photos(folder)
    files = [folder / name for name in listed.photos]
    skipped = {path.resolve() for path in besides}
    faces, left_out = [], []
    for number, path in enumerate(files, start=1):
        if path.resolve() not in skipped:
            try:
                faces.append(load_face(path, aligned=aligned, threads=threads))
            except (FaceError, PhotoError) as error:
                left_out.append(str(error))
        if progress is not None:
            progress(number, len(files))
    if listed.passed_over:
        left_out.append(f"{folder}: {describe_passed_over(listed.passed_over)}")
    if not faces:
        raise InputError(f"{folder}: no picture in it shows a face; give a folder with photos of other people")
    return faces, left_out
