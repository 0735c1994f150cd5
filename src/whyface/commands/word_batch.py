"""Files of ``whyface words batch`` and ``top5``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from PIL import Image

from whyface.commands.verify import import_matplotlib
from whyface.data.pair_lists import read_pair_list
from whyface.errors import DataError, OutputError, WhyfaceError
from whyface.explain.trust import doubt_about_face
from whyface.faces.load import load_face
from whyface.faces.photo import read_photo
from whyface.files.integrity import check_folder, make_folder, write_atomic
from whyface.files.progress import progress_bar
from whyface.words.report_writing import words_document
from whyface.words.sim2word import PUBLISHED, PublishedEvidence, PublishedReport, publish, read_published_folder
from whyface.words.word_explainer import open_words
from whyface.words.word_maps import Heatmap, class_activation, erased_faces, to_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from whyface.faces.face import Face
    from whyface.verification import Verifier
    from whyface.words.identity_evidence import IdentityClasses
    from whyface.words.word_report import WordSettings


_MAP_NAMES: Final[dict[Heatmap, str]] = {"evidence": "evidence", "gradcam": "GradCAM", "gradcam++": "GradCAM++"}


def write_batch(
    verifier: Verifier,
    settings: WordSettings,
    classes: IdentityClasses | None,
    pairs: Path,
    out: Path,
    *,
    data: Path | None,
    published: bool,
    pictures: bool,
    aligned: bool,
) -> tuple[int, list[str]]:
    """Explain all pairs of a list; return how many were, and why others were left out.

    Raise OutputError if the folder exists or cannot be written, and DataError if the list cannot be read or no
    pair of it can be used.
    """
    protocol = read_pair_list(pairs, folds=1)
    folder = pairs.parent if data is None else data
    explainer = open_words(verifier, settings=settings, classes=classes)
    check_folder(out / "json", empty=True)
    done, left_out = 0, []
    drawn: dict[str, str] = {}
    with progress_bar("erasing") as progress:
        for number, (left, right, genuine) in enumerate(
            zip(protocol.left, protocol.right, protocol.genuine, strict=True), start=1
        ):
            paths = str(folder / protocol.pictures[left]), str(folder / protocol.pictures[right])
            try:
                faces = [load_pair_face(verifier, path, aligned) for path in paths]
            except WhyfaceError as error:
                left_out.append(str(error))
                continue
            if published:
                report = publish(explainer, faces[0], faces[1])
                document = report.document(explainer, paths, same_person=bool(genuine), dataset=protocol.name)
                if pictures:
                    _write_cam(out / "cam", number, (faces[0], faces[1]), report, settings)
                    for face, path, evidence in zip(faces, paths, report.evidence, strict=True):
                        # Published by the picture's name, whatever its folder: a second one gets its number before it.
                        stem = Path(path).stem
                        name = stem if drawn.setdefault(stem, path) == path else f"{number}-{stem}"
                        write_overlays(out / "visualization" / name, face.image, evidence, settings.heatmap)
            else:
                document = words_document(
                    explainer(faces[0], faces[1]), dataset=protocol.name, same_person=bool(genuine)
                )
            make_folder(out / "json")
            text = json.dumps(document, indent=4, allow_nan=False)
            write_atomic(out / "json" / f"{number}.json", f"{text}\n".encode())
            done += 1
            progress(number, len(protocol.genuine))
    if not done:
        raise DataError(f"{pairs}: none of {len(left_out)} pairs could be used, the first: {left_out[0]}")
    return done, left_out


def write_overlays(folder: Path, image: NDArray[np.uint8], evidence: PublishedEvidence, heatmap: Heatmap) -> None:
    """Draw the map of each known attribute over a face, half JET, half face, as published.

    Raise OutputError if the folder cannot be written.
    """
    maps = class_activation(to_pixels(evidence.maps, len(image)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (known, heat) in enumerate(zip(PUBLISHED, maps, strict=True)):
            if known.ours:
                colours = cv2.applyColorMap((255 * heat).round().astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
                half = (colours.astype(np.float32) + image) / 2
                name = f"Attribute-{number}-{evidence.word(number) or known.name}-{_MAP_NAMES[heatmap]}.jpg"
                Image.fromarray(half.round().astype(np.uint8)).save(folder / name, quality=95)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error


def write_plates(folder: Path, out: Path, data: Path | None) -> int:
    """Draw the plates of all pairs of a folder; return their number. Raise DataError or OutputError if that fails."""
    pairs = read_published_folder(folder)
    import_matplotlib()
    from whyface.figures.style import save_figure  # noqa: PLC0415 - matplotlib is slow to import
    from whyface.figures.words import plate_figure  # noqa: PLC0415

    make_folder(out)
    for number, pair in enumerate(pairs, start=1):
        photos = [read_photo(path if data is None else data / path) for path in pair.paths]
        save_figure(plate_figure(pair, photos[0], photos[1]), out / f"{number}.png")
    return len(pairs)


def load_pair_face(verifier: Verifier, path: str, aligned: bool) -> Face:
    """Read a face; raise WhyfaceError if that fails, or it is too poor for words."""
    face = load_face(path, aligned=aligned, threads=verifier.threads)
    doubt = None if verifier.accept_poor else doubt_about_face(face)
    if doubt is not None:
        raise WhyfaceError(f"{path}: {doubt}")
    return face


def _write_cam(
    folder: Path, number: int, faces: tuple[Face, Face], report: PublishedReport, settings: WordSettings
) -> None:
    stems = [Path(face.source or str(side)).stem for side, face in enumerate(faces)]
    try:
        for side in (0, 1):
            place = folder / f"{number}-{stems[side]}-{stems[1 - side]}"
            for name in ("mask", "images"):
                (place / name).mkdir(parents=True, exist_ok=True)
            planes = faces[side].image.transpose(2, 0, 1)
            copies = erased_faces(planes, report.masks[side], settings.eraser, seed=settings.seed)
            for known, mask, copy, index in zip(PUBLISHED, report.masks[side], copies, range(30), strict=True):
                file = f"Attribute-{index}-{known.name}.png"
                # 255 is kept, as published.
                Image.fromarray(np.where(mask, 0, 255).astype(np.uint8)).save(place / "mask" / file)
                Image.fromarray(np.ascontiguousarray(copy.transpose(1, 2, 0))).save(place / "images" / file)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error
