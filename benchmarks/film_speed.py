"""How many frames a second ``whyface watch`` keeps up with, at 1280 x 720, and how much memory it takes.

    python benchmarks/film_speed.py --out docs/studies/benchmarks/film_speed.json

The film is made of two photos of the demo, which move through a grey picture, with seeded noise, as MJPG. Counted are
decoding, detection in every third frame, alignment, quality, features and decisions, without opening the models.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from records import publish
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.faces.photo import read_photo
from whyface.gallery.enroll import EnrolReport, enroll_faces
from whyface.gallery.opening import open_or_create
from whyface.identify.film import Film, watch
from whyface.identify.gallery_people import threshold_for

SIZE = (1280, 720)


def write_film(path: Path, frames: int, seed: int) -> None:
    """Write the film: two faces of about 150 pixels that move."""
    rng = np.random.default_rng(seed)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    photos = [
        cv2.resize(cv2.cvtColor(read_photo(demo_photo(name)), cv2.COLOR_RGB2BGR)[:780], (340, 420))
        for name in ("obama-portrait.jpg", "biden-portrait.jpg")
    ]
    noise = rng.normal(0, 4, (SIZE[1], SIZE[0], 1)).astype(np.float32)
    for number in range(frames):
        frame = np.full((SIZE[1], SIZE[0], 3), 110, np.float32)
        for which, photo in enumerate(photos):
            x = 100 + 600 * which + 2 * abs(40 - (number + 20 * which) % 80)
            frame[150:570, x : x + 340] = photo
        writer.write(np.clip(frame + np.roll(noise, 7 * number, axis=1), 0, 255).astype(np.uint8))
    writer.release()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="xcos-large")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_film(Path(folder) / "film.avi", given.frames, given.seed)
        with open_or_create(Path(folder) / "gallery", given.model) as gallery:
            faces = [load_face(demo_photo("obama-speech.jpg"))]
            enroll_faces(gallery, list(stack_faces(faces)), ["Obama"], ["obama-speech.jpg"], EnrolReport())
            threshold, source = threshold_for(gallery)
            film = Film(Path(folder) / "film.avi", every=given.every)
            before = _memory()
            start = time.perf_counter()
            found = list(watch(gallery, film, threshold=threshold, source=source, same=threshold))
            seconds = time.perf_counter() - start
            film.close()
    record: dict[str, Any] = {
        "command": f"python benchmarks/film_speed.py {' '.join(sys.argv[1:])}".strip(),
        "data": f"{given.frames} frames of {SIZE[0]} x {SIZE[1]}, two faces, MJPG, noise with seed {given.seed}",
        "model": given.model,
        "every": given.every,
        "cores": os.cpu_count(),
        "load_average_at_the_end": os.getloadavg()[0],
        "seconds": round(seconds, 2),
        "frames_per_second": round(given.frames / seconds, 1),
        "tracks": [[one.found.name, one.track.seen, one.track.used] for one in found],
        "peak_memory_before": before,
        "peak_memory_after": _memory(),
        "versions": software_versions(),
    }
    publish(record, given.out)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
