"""Compute a recorded verdict again from the photos, and say what is the same and what is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from whyface.errors import DataError, InputError, WhyfaceError, reason, shortened
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import FaceInfo
from whyface.explain.record import Record
from whyface.faces.detection import Detector
from whyface.faces.face import Face
from whyface.faces.load import DETECTORS, load_face, load_faces, open_detector
from whyface.faces.picture_input import PictureInput
from whyface.files import json_values as values
from whyface.files.guarded import read_json
from whyface.files.integrity import HashedFile, sha256_of
from whyface.files.json_values import optional, text
from whyface.files.photo_folder import list_photos
from whyface.models.operating_point import OperatingPoint
from whyface.models.preprocessing import preprocessing_from_dict
from whyface.set_verification import verify_sets
from whyface.verification import Verification, Verifier

State = Literal["same", "close", "different", "not checked"]

TOLERANCE: Final = 1e-6
"""Numbers are close if they differ by at most this, relative to the recorded number where that is above 1."""

_FACE_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "photo": ("file", "photo_size"),
    "face found": ("index", "count", "box", "score"),
    "landmarks": ("landmarks",),
    "transform": ("transform", "outside"),
    "crop": ("sha256",),
    "quality": ("quality",),
}
_VERDICT_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "score": ("score", "margin"),
    "threshold": ("threshold", "threshold_source"),
    "probability": ("probability", "probability_source", "probability_bound"),
    "verdict": ("verdict", "doubt"),
}
_REASON_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "S": ("similarity",),
    "W": ("attention", "attention_kind"),
    "S * W": ("contributions",),
    "usual similarity": ("telling",),
    "sentences": ("sentences",),
    "settings": ("settings",),
}


@dataclass(frozen=True)
class Finding:
    """What became of one part of a record.

    Attributes
    ----------
    part
        The part, such as ``"photo A"`` or ``"score"``.
    state
        ``"same"``: to the bit; ``"close"``: within :data:`TOLERANCE`; ``"different"``; or ``"not checked"``.
    detail
        What differs, or why it was not checked.
    """

    part: str
    state: State
    detail: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return JSON values."""
        return {"part": self.part, "state": self.state, "detail": self.detail}


def read_recorded(path: Path | str) -> Explanation:
    """Read the JSON of a verdict.

    Raises
    ------
    DataError
        If the file cannot be read, is no explanation, or contradicts itself.
    """
    try:
        return Explanation.from_dict(read_json(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); check the path") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); write the file again") from error
    except WhyfaceError as error:
        raise DataError(f"{path}: {error}") from error


def check_record(
    recorded: Explanation,
    photos: tuple[PictureInput, PictureInput] | None = None,
    *,
    model: str | None = None,
    model_directory: Path | str | None = None,
    providers: str | None = None,
    beside: Path | str | None = None,
) -> list[Finding]:
    """Compute a verdict again and compare every part of it with the record.

    Parameters
    ----------
    recorded
        The verdict, from :func:`read_recorded`.
    photos
        Both photos, or for a verdict about sets both folders; by default from the paths in the record.
    model
        Where the model is now, if it was moved.
    model_directory
        Folder of models that do not come with whyface.
    providers
        Where the network runs, if not where it ran then.
    beside
        Folder of the record, in which photos are looked for, too, that are not at the paths on record.

    Returns
    -------
    One finding for each part, in the order of the computation.

    Raises
    ------
    DataError
        If the explanation has no record or no faces.
    InputError
        If what is given is not there, or not two photos, or two folders for a verdict about sets.
    """
    if recorded.record is None or recorded.faces is None:
        raise DataError("the file has no record of files and settings, so that nothing can be computed again")
    _check_given(photos or (), sets="sets" in recorded.settings)
    try:
        verifier = _verifier(recorded.record, model, model_directory, providers)
    except DataError:
        raise
    except WhyfaceError as error:
        return [Finding("model", "not checked", str(error)), *_unread("the model is not at hand")]
    several = "pairs_compared" in recorded.settings
    loaded: list[list[Face] | Finding] = []
    for letter, info, photo in zip("AB", recorded.faces, photos or (None, None), strict=True):
        if "sets" in recorded.settings:
            loaded.append(_set(letter, info, recorded.settings, photo, verifier.detector))
        else:
            photo_at = photo or _there(info, beside)
            loaded.append(_faces(letter, info, photo_at, verifier.detector, several=several))
    missing = [found for found in loaded if isinstance(found, Finding)]
    if missing:
        found = [*_compared_files(recorded.record.files, verifier.files), *missing]
        return [*found, *_unread("both sets are needed" if "sets" in recorded.settings else "both photos are needed")]
    first, second = (faces for faces in loaded if not isinstance(faces, Finding))
    if "sets" in recorded.settings:
        again = verify_sets(verifier, first, second)
    elif several:
        again = verifier.best_pair(first, second)
    else:
        again = verifier.compare(first[0], second[0])
    return list(_compared(recorded, again))


def without_paths(verification: Verification) -> Verification:
    """Return a verdict with file names instead of paths, for records and reports that are handed on.

    The record's SHA-256 still say which photos and which network they were.
    """
    found = verification.explanation
    if found.faces is not None:
        first, second = (replace(info, source=Path(info.source).name) for info in found.faces)
        found = replace(found, faces=(first, second))
    if found.record is not None:
        model = Path(str(found.record.request.get("model", ""))).name
        found = replace(found, record=replace(found.record, request={**found.record.request, "model": model}))
    a, b = (replace(face, source=Path(face.source).name) for face in (verification.face_a, verification.face_b))
    return replace(verification, explanation=found, face_a=a, face_b=b)


def status_of(findings: Sequence[Finding]) -> int:
    """Return 0 if all is the same or close, 1 if something differs, 3 if only something was not checked."""
    states = {finding.state for finding in findings}
    return 1 if "different" in states else 3 if "not checked" in states else 0


def _verifier(record: Record, model: str | None, directory: Path | str | None, providers: str | None) -> Verifier:
    request: dict[str, Any] = values.thaw(record.request)
    known = ("model", "attention", "threshold", "fmr", "grid", "output", "prior", "accept_poor", "providers", "threads")
    options = {name: request[name] for name in known if request.get(name) is not None}
    options |= {name: value for name, value in (("model", model), ("providers", providers)) if value is not None}
    try:
        pixels = request.get("preprocessing")
        preprocessing = None if pixels is None else preprocessing_from_dict(pixels)
        # Its SHA-256 says whether it is the network that was tried then.
        options |= {"detector": _detector(record), "preprocessing": preprocessing, "model_directory": directory}
        if request.get("measured") is not None:
            options["threshold"] = OperatingPoint.from_dict(request["measured"], "the record's threshold")
        return Verifier(**options, unchecked=True)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"the record's request cannot be used ({error}); write the file again") from error


def _detector(record: Record) -> Detector | None:
    """Open the detector on record; None: the default, whose SHA-256 then says whether it is the same."""
    names = {file.name.split()[0] for file in record.files if file.role == "detector"}
    return next((open_detector(name) for name in DETECTORS[1:] if name in names), None)


def _check_given(photos: Sequence[PictureInput], *, sets: bool) -> None:
    """Refuse wrong paths: the finding that a photo differs is about a photo, never about a slip of the pen."""
    for photo in photos:
        if not isinstance(photo, str | Path):
            if sets:
                raise InputError("the record is of two sets of photos; give two folders")
        elif sets and not Path(photo).is_dir():
            raise InputError(f"{photo}: not a folder; the record is of two sets of photos, so give two folders")
        elif not sets and not Path(photo).is_file():
            raise InputError(f"{photo}: no such file; the record is of two photos, so give two files")


def _there(info: FaceInfo, beside: Path | str | None) -> Path | None:
    """Return where a photo lies: at the path on record, or by its name in the folder of the record."""
    path = Path(info.source)
    places = [path] if beside is None else [path, Path(beside) / path.name]
    return None if info.file is None else next((place for place in places if place.is_file()), None)


def _faces(
    letter: str, info: FaceInfo, photo: PictureInput | None, detector: Detector | None, *, several: bool
) -> list[Face] | Finding:
    part = f"photo {letter}"
    if photo is None:
        return Finding(part, "not checked", f"{shortened(info.source)}: not at hand; give both with --photos")
    try:
        if several:
            return load_faces(photo, detector=detector)
        return [load_face(photo, aligned=info.transform is None, index=info.index, detector=detector)]
    except WhyfaceError as error:
        return Finding(part, "different", str(error))


def _set(
    letter: str, info: FaceInfo, settings: Mapping[str, Any], folder: PictureInput | None, detector: Detector | None
) -> list[Face] | Finding:
    """Read the photos of a set, those that were too poor included; in a new folder by their SHA-256."""
    part = f"set {letter}"
    try:
        listed = [*settings[f"set_{letter.lower()}"], *settings.get(f"poor_{letter.lower()}", ())]
        files = [(text(entry["file"]), optional(text, entry["sha256"])) for entry in listed]
    except (KeyError, TypeError) as error:
        raise DataError(f"the record does not list the photos of {part} ({error})") from error
    faces = []
    try:
        there = {} if folder is None else _photos_by_sha256(folder)
        for name, sha256 in files:
            path = Path(name) if folder is None else there.get(sha256)
            if path is None:
                return Finding(part, "different", f"no photo in the folder has the SHA-256 of {shortened(name)}")
            if sha256 is None or not path.is_file():
                return Finding(part, "not checked", f"{shortened(name)}: not at hand; give both folders with --photos")
            faces.append(replace(load_face(path, aligned=info.transform is None, detector=detector), source=name))
    except WhyfaceError as error:
        return Finding(part, "different", str(error))
    return faces


def _photos_by_sha256(folder: PictureInput) -> dict[str | None, Path]:
    assert isinstance(folder, str | Path)  # See _check_given.
    paths = [Path(folder) / name for name in list_photos(folder).photos]
    return {sha256_of(path): path for path in paths}


def _compared(recorded: Explanation, again: Verification) -> Iterator[Finding]:
    assert recorded.record is not None
    assert recorded.faces is not None
    now = again.explanation
    assert now.record is not None
    assert now.faces is not None
    yield from _compared_files(recorded.record.files, now.record.files)
    for letter, before, after in zip("AB", recorded.faces, now.faces, strict=True):
        old, new = before.to_dict(), after.to_dict()
        for part, keys in _FACE_PARTS.items():
            yield _compared_keys(f"{part} {letter}", keys, old, new)
    old, new = recorded.to_dict(), now.to_dict()
    for part, keys in _VERDICT_PARTS.items():
        yield _compared_keys(part, keys, old, new)
    if recorded.method != now.method:
        yield Finding("reasons", "not checked", f"those of method {recorded.method!r}; run whyface explain again")
        return
    for part, keys in _REASON_PARTS.items():
        yield _compared_keys(part, keys, old, new)


def _compared_files(recorded: Sequence[HashedFile], now: Sequence[HashedFile]) -> Iterator[Finding]:
    found = {(file.role, file.name): file.sha256 for file in now}
    roles = {file.role: file.sha256 for file in now}
    for file in recorded:
        part = f"file {file.name} ({file.role})"
        sha256 = found.get((file.role, file.name), roles.get(file.role))
        if file.sha256 is None or sha256 is None:
            yield Finding(part, "not checked", "no SHA-256 on record" if file.sha256 is None else "not used again")
        elif file.sha256 == sha256:
            yield Finding(part, "same")
        else:
            yield Finding(part, "different", f"SHA-256 {file.sha256[:12]}... on record, now {sha256[:12]}...")


def _compared_keys(part: str, keys: Sequence[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> Finding:
    before, after = {key: old.get(key) for key in keys}, {key: new.get(key) for key in keys}
    if before == after:
        return Finding(part, "same")
    largest, where = _distance(before, after)
    if largest <= TOLERANCE:
        return Finding(part, "close", f"at most {largest:.1e} apart")
    return Finding(part, "different", where)


def _distance(old: Any, new: Any) -> tuple[float, str]:
    """Return the largest relative distance of numbers, infinite if anything else differs, and where it is."""
    if isinstance(old, Mapping) and isinstance(new, Mapping) and old.keys() == new.keys():
        return max((_distance(old[key], new[key]) for key in old), default=(0.0, ""))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return max((_distance(one, other) for one, other in zip(old, new, strict=True)), default=(0.0, ""))
    if old == new:
        return 0.0, ""
    where = f"{_shown(old)} on record, now {_shown(new)}"
    plain = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (old, new))
    if plain:
        return abs(old - new) / max(1.0, abs(old)), f"largest difference: {where}"
    return math.inf, where


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    return shortened(str(value), 80)


def _unread(why: str) -> list[Finding]:
    return [Finding(part, "not checked", why) for part in (*_VERDICT_PARTS, *_REASON_PARTS)]
