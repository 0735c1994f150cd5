"""The memory of ``whyface watch`` over an hour of film: is it flat?

    python benchmarks/film_hour.py --out docs/studies/benchmarks/film_hour.json

An hour at 10 frames a second, of which every third is looked at. The frames are made one at a time, 640 x 360: faces
of the demo's photos come, move for a few seconds and go, one or two at a time, with pauses between them. The detector
is a fake that knows where the faces are, since the real one would take most of an hour; alignment, quality, the
network, tracks and decisions are those of ``watch``. Memory is the process's own, without mapped files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from records import publish
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.faces.detection import Detection
from whyface.faces.face import stack_faces
from whyface.faces.load import default_detector, load_face
from whyface.faces.photo import read_photo
from whyface.gallery.enroll import EnrolReport, enroll_faces
from whyface.gallery.opening import open_or_create
from whyface.identify.film import Frame, watch
from whyface.identify.gallery_people import threshold_for
from whyface.models.catalogue import DEFAULT_MODEL

HEIGHT, WIDTH = 360, 640
RATE = 10
EVERY = 3
SIDE = 200


class Stage:
    """Makes frames, and says where their faces are: the detector of this benchmark."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._faces = []
        for name in ("obama-portrait.jpg", "biden-portrait.jpg", "obama-speech.jpg"):
            photo = read_photo(demo_photo(name))
            found = default_detector(threads=1).detect(photo)[0]
            self._faces.append(_cut(photo, found))
        self._noise = self._rng.integers(0, 12, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        self.visits = 0
        self._there: list[Detection] = []

    def frames(self, seconds: float) -> Iterator[Frame]:
        """Yield the frames that are looked at."""
        ends: list[tuple[float, int, int]] = []
        pause = 0.0
        for number in range(0, int(seconds * RATE), EVERY):
            now = number / RATE
            ends = [one for one in ends if one[0] > now]
            if not ends and now > pause:
                for column in self._rng.permutation(2)[: self._rng.integers(1, 3)].tolist():
                    ends.append((now + self._rng.uniform(2, 6), int(self._rng.integers(len(self._faces))), column))
                    self.visits += 1
                pause = max(end for end, _, _ in ends) + self._rng.uniform(2, 8)
            pixels = np.roll(self._noise, number, axis=1) + np.uint8(100)
            self._there = []
            for _, which, column in ends:
                face, detection = self._faces[which]
                x, y = 40 + 300 * column + number % 40, 60 + number % 20
                pixels[y : y + SIDE, x : x + SIDE] = face
                moved = np.array([x, y], np.float32)
                box = tuple(float(value) for value in np.asarray(detection.box) + np.tile(moved, 2))
                self._there.append(Detection(box, detection.landmarks + moved, detection.score))  # type: ignore[arg-type]
            yield Frame(number, now, pixels)

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of the frame that was made last."""
        return list(self._there)


def _cut(photo: NDArray[np.uint8], found: Detection) -> tuple[NDArray[np.uint8], Detection]:
    """Return a square around a face, SIDE pixels wide, and the face in it."""
    x0, y0, x1, y1 = found.box
    half = 0.8 * max(x1 - x0, y1 - y0)
    left, top = int(max((x0 + x1) / 2 - half, 0)), int(max((y0 + y1) / 2 - half, 0))
    square = photo[top : top + int(2 * half), left : left + int(2 * half)]
    scale = np.array([SIDE / square.shape[1], SIDE / square.shape[0]], np.float32)
    corner = np.array([left, top], np.float32)
    box = ((np.asarray(found.box, np.float32).reshape(2, 2) - corner) * scale).reshape(4)
    small = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    detection = Detection(tuple(map(float, box)), (found.landmarks - corner) * scale, found.score)  # type: ignore[arg-type]
    return np.asarray(small, np.uint8), detection


def own_memory() -> int:
    """Return the bytes that are this process's own."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    stage = Stage(given.seed)
    samples: list[list[float]] = []
    looked = seen = tracks = named = 0

    def counted(frames: Iterator[Frame]) -> Iterator[Frame]:
        nonlocal looked
        for frame in frames:
            if frame.seconds >= 300 * len(samples):
                samples.append([round(frame.seconds), own_memory()])
                print(samples[-1], file=sys.stderr, flush=True)
            looked += 1
            yield frame

    start, spent = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, open_or_create(Path(folder) / "gallery", given.model) as gallery:
        faces = [load_face(demo_photo("obama-speech.jpg"))]
        enroll_faces(gallery, list(stack_faces(faces)), ["Obama"], ["obama-speech.jpg"], EnrolReport())
        threshold, source = threshold_for(gallery)
        frames = counted(stage.frames(60 * given.minutes))
        for one in watch(
            gallery, frames, threshold=threshold, source=source, same=threshold, detector=stage, threads=1
        ):
            tracks += 1
            seen += one.track.seen
            named += one.found.name is not None
    samples.append([round(60 * given.minutes), own_memory()])
    record: dict[str, Any] = {
        "command": f"python benchmarks/film_hour.py {' '.join(sys.argv[1:])}".strip(),
        "model": given.model,
        "seed": given.seed,
        "minutes_of_film": given.minutes,
        "frames_looked_at": looked,
        "visits": stage.visits,
        "faces_seen": seen,
        "tracks": tracks,
        "tracks_named": named,
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(time.process_time() - spent, 1),
        "own_memory_bytes_by_second_of_film": samples,
        "versions": software_versions(),
    }
    publish(record, given.out)


if __name__ == "__main__":
    main()
