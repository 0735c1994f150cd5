"""People in a film: faces followed from frame to frame, and one decision about each track."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import FaceError, InputError, PhotoError
from whyface.evaluate.set_scoring import SetMean, set_features
from whyface.explain.provenance import ThresholdSource
from whyface.explain.shares import region_shares
from whyface.explain.trust import doubt_about_face
from whyface.faces.detection import Box, Detector
from whyface.faces.face import Face, stack_faces
from whyface.faces.load import find_faces
from whyface.faces.photo import MAX_PIXELS
from whyface.gallery.gallery import Gallery
from whyface.gallery.search import scores_with
from whyface.identify.identification import Identification, identify
from whyface.identify.identity_sentences import sentences

SCHEMA: Final = "whyface/film-event/1"

_RATE: Final = 25.0
"""Frames a second of a film that does not say its own."""


@dataclass(frozen=True)
class WatchSettings:
    """How faces are followed.

    Attributes
    ----------
    every
        Look for faces in every so many frames.
    gap
        Seconds without the face that end a track.
    overlap
        Boxes that overlap by more than this (intersection over union) may be the same face.
    most_tracks
        Maximum number of faces that are followed at the same time; beyond, the one not seen for longest is decided.
    kept
        Number of the best faces of a track that are kept as pictures.
    """

    every: int = 3
    gap: float = 1.0
    overlap: float = 0.3
    most_tracks: int = 50
    kept: int = 5

    def __post_init__(self) -> None:
        if self.every < 1 or self.kept < 1 or self.most_tracks < 1 or not self.gap > 0 or not 0 < self.overlap < 1:
            raise InputError("every, kept and most_tracks must be at least 1, gap above 0, overlap in (0, 1)")


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its number from 0, its time in seconds, and its pixels, RGB uint8 (H, W, 3)."""

    number: int
    seconds: float
    pixels: NDArray[np.uint8]


class Film:
    """The frames of a film file or of a camera, one at a time.

    Parameters
    ----------
    source
        Path of a film that OpenCV can read, or the number of a camera. Addresses are not opened.
    every
        Yield every so many frames; the others are passed over.

    Attributes
    ----------
    count
        Number of frames read, those passed over included.
    complete
        False once the film has ended before its own count of frames, or the camera gives no more.

    Raises
    ------
    PhotoError
        If there is no such film or camera, or nothing in it can be read.
    """

    def __init__(self, source: Path | int, *, every: int = 1, max_pixels: int = MAX_PIXELS) -> None:
        self.name = f"camera {source}" if isinstance(source, int) else str(source)
        self.every = every
        self.count = 0
        self.complete = True
        self._camera = isinstance(source, int)
        if isinstance(source, Path) and not source.is_file():
            raise PhotoError(f"{source}: no such film; give a file, or the number of a camera")
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source.resolve()))
        size = [self._capture.get(which) for which in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        if not self._capture.isOpened() or not all(side >= 1 for side in size):
            self.close()
            why = "cannot be read as a film; give one that OpenCV plays, such as .mp4 or .avi"
            raise PhotoError(f"{self.name}: {'gives no picture; is it connected?' if self._camera else why}")
        if size[0] * size[1] > max_pixels:
            self.close()
            raise PhotoError(f"{self.name}: {size[0]:.0f} x {size[1]:.0f} pixels exceed the limit of {max_pixels}")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0.1 <= rate <= 1000 else _RATE
        total = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.total = int(total) if 0 < total < 2**31 and not self._camera else 0

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until there are no more."""
        start = time.monotonic()
        while self._capture.grab():
            number, self.count = self.count, self.count + 1
            if number % self.every:
                continue
            taken, pixels = self._capture.retrieve()
            if not taken:
                break
            seconds = time.monotonic() - start if self._camera else number / self.rate
            yield Frame(number, seconds, np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8))
        if self.count == 0:
            raise PhotoError(f"{self.name}: no frame of it can be read; it is damaged or empty")
        # A film's own count of its frames may be an estimate.
        self.complete = not self._camera and self.count >= self.total - max(2, self.total // 50)

    def close(self) -> None:
        """Let the file or the camera go."""
        self._capture.release()


@dataclass(frozen=True, eq=False)
class Sighting:
    """A face in one frame, with its features (1, ...) and its weight in the mean."""

    face: Face
    frame: int
    seconds: float
    features: NDArray[np.float32]
    weight: float


@dataclass(eq=False)
class Track:
    """One face followed through the frames; memory does not grow with its length."""

    number: int
    first: Sighting
    last: Sighting
    mean: SetMean = field(default_factory=SetMean)
    best: list[Sighting] = field(default_factory=list)
    seen: int = 0
    used: int = 0

    def add(self, one: Sighting, kept: int) -> None:
        """Add a sighting; a face too poor to support a verdict has no weight."""
        self.last = one
        self.seen += 1
        if one.weight > 0:
            self.used += 1
            self.mean.add(one.features, one.weight)
        self.best = sorted([*self.best, one], key=lambda seen: -seen.weight)[:kept]


@dataclass(frozen=True, eq=False)
class TrackDecision:
    """Who a track shows.

    Attributes
    ----------
    track
        The track.
    found
        The identification of the mean of its faces' features, weighted by quality.
    scores
        Score of each of ``track.best`` alone with the best person; empty where nothing was compared.
    """

    track: Track
    found: Identification
    scores: tuple[float, ...]

    @property
    def deciding(self) -> Sighting:
        """The kept face most like the best person; where nothing was compared, the best face."""
        return self.track.best[int(np.argmax(self.scores)) if self.scores else 0]

    def sentences(self) -> tuple[str, ...]:
        """Say who it is, which frame decided, and why."""
        track, one = self.track, self.deciding
        where = f"frame {one.frame} ({one.seconds:.1f} s)"
        said = f"{track.used} of {track.seen} faces in {track.last.seconds - track.first.seconds:.1f} s could be used"
        if not self.scores:
            return (*sentences(self.found), f"{said}; the best is in {where}.")
        alone = f"{max(self.scores):.4f} alone, {self.found.best.score:.4f} as the mean of all"
        return (*sentences(self.found), f"{said}; the most like {self.found.best.name} is in {where}: {alone}.")

    def to_dict(self) -> dict[str, Any]:
        """Return the event as JSON values."""
        track, found, one = self.track, self.found, self.deciding
        shares = None if not found.candidates else found.shares(found.best)
        return {
            "schema": SCHEMA,
            "event": "track",
            "track": track.number,
            "first": {"frame": track.first.frame, "seconds": track.first.seconds},
            "last": {"frame": track.last.frame, "seconds": track.last.seconds},
            "faces": track.seen,
            "used": track.used,
            "verdict": found.verdict,
            "name": found.name,
            "doubt": found.doubt,
            "score": None if not found.candidates else found.best.score,
            "threshold": found.threshold,
            "threshold_source": found.threshold_source.to_dict(),
            "candidates": [{"name": other.name, "score": other.score} for other in found.candidates],
            "reasons": {} if shares is None else region_shares(shares, found.unseen),
            "gap_by_region": found.reasons(),
            "deciding": {
                "frame": one.frame,
                "seconds": one.seconds,
                "box": None if one.face.box is None else list(one.face.box),
                "weight": one.weight,
                "score": max(self.scores, default=None),
                "sha256": one.face.sha256,
            },
            "sentences": list(self.sentences()),
        }


def watch(
    gallery: Gallery,
    frames: Iterable[Frame],
    *,
    threshold: float,
    source: ThresholdSource,
    same: float,
    settings: WatchSettings | None = None,
    detector: Detector | None = None,
    threads: int | None = None,
) -> Iterator[TrackDecision]:
    """Follow the faces of a film and yield one decision about each track, when it ends.

    A face continues the track whose mean is most like it: one that its box overlaps if they are more alike than
    ``same`` or one of them cannot be compared, and any other if they are more alike than ``threshold``. Another face in
    the same place, after a cut, begins a track of its own.

    Parameters
    ----------
    gallery
        Opened with its model.
    frames
        The frames to search, such as a :class:`Film`; none is kept.
    threshold, source
        As for :func:`whyface.identify.identification.identify`.
    same
        Score above which overlapping faces in successive frames are one, such as the threshold for FMR 1e-2.
    """
    settings = settings or WatchSettings()
    tracks: list[Track] = []
    number = 0

    def decided(track: Track) -> TrackDecision:
        return _decide(gallery, track, threshold, source, threads)

    for frame in frames:
        for track in [one for one in tracks if frame.seconds - one.last.seconds > settings.gap]:
            tracks.remove(track)
            yield decided(track)
        sightings = _sightings(gallery, frame, detector, threads)
        for one, known in _continued(gallery, tracks, sightings, threshold, same, settings.overlap):
            if known is None:
                tracks.append(Track(number, one, one))
                number += 1
            (known or tracks[-1]).add(one, settings.kept)
        while len(tracks) > settings.most_tracks:
            track = min(tracks, key=lambda one: one.last.seconds)
            tracks.remove(track)
            yield decided(track)
    for track in tracks:
        yield decided(track)


def overlap_of(first: Box, second: Box) -> float:
    """Return the intersection of two boxes over their union, in [0, 1]."""
    sides = [max(0.0, min(first[k + 2], second[k + 2]) - max(first[k], second[k])) for k in (0, 1)]
    shared = sides[0] * sides[1]
    whole = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - shared
    return shared / whole if whole > 0 else 0.0


def _sightings(gallery: Gallery, frame: Frame, detector: Detector | None, threads: int | None) -> list[Sighting]:
    try:
        faces = find_faces(frame.pixels, source=f"frame {frame.number}", detector=detector, threads=threads)
    except FaceError:  # more faces than the detector was told to look at
        return []
    if not faces:
        return []
    features = gallery.features(stack_faces(faces))
    return [
        Sighting(face, frame.number, frame.seconds, features[row : row + 1], weight_of(face))
        for row, face in enumerate(faces)
    ]


def weight_of(face: Face) -> float:
    """Return the weight of a face in the mean of its track: its quality, or 0 if it cannot support a verdict."""
    if doubt_about_face(face) is not None:
        return 0.0
    quality = None if face.quality is None else face.quality.unified
    return 1.0 if quality is None or not math.isfinite(quality) else max(quality, 1e-3)


def _continued(
    gallery: Gallery, tracks: list[Track], sightings: list[Sighting], threshold: float, same: float, overlap: float
) -> list[tuple[Sighting, Track | None]]:
    """Pair each sighting with the track that it continues, the best pairs first; None: with none."""
    comparison = gallery.model.comparison
    pairs = []
    for row, one in enumerate(sightings):
        for column, track in enumerate(tracks):
            shared = overlap_of(one.face.box or (0, 0, 0, 0), track.last.face.box or (0, 0, 0, 0))
            if one.weight > 0 and track.used:
                mean = set_features(comparison, track.mean.value[None]).astype(np.float32)
                alike = float(comparison.scores(one.features, mean)[0])
                joins = alike > threshold or (shared > overlap and alike > same)
            else:
                alike, joins = 0.0, shared > overlap
            if joins:
                pairs.append((alike + shared, row, column))
    chosen: dict[int, int] = {}
    for _, row, column in sorted(pairs, reverse=True):
        if row not in chosen and column not in chosen.values():
            chosen[row] = column
    return [(one, tracks[chosen[row]] if row in chosen else None) for row, one in enumerate(sightings)]


def _decide(
    gallery: Gallery, track: Track, threshold: float, source: ThresholdSource, threads: int | None
) -> TrackDecision:
    best = track.best[0]
    features = best.features
    if track.used:
        features = set_features(gallery.model.comparison, track.mean.value[None]).astype(np.float32)
    found = identify(gallery, best.face, threshold=threshold, source=source, features=features, threads=threads)
    if not found.candidates:
        return TrackDecision(track, found, ())
    alone = scores_with(gallery, np.concatenate([one.features for one in track.best]), [found.best.record])
    return TrackDecision(track, found, tuple(float(score) for score in alone[:, 0]))
