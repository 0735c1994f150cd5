"""Whether long use costs memory, file descriptors or threads: verifications, enrolments and batches by the thousand.

    python benchmarks/soak.py --out docs/studies/benchmarks/soak.json

One process does all of it, as a service would: every verification decodes two aligned pictures and explains its
verdict; every enrolment opens the gallery, adds one new person's picture and closes it; every batch compares all pairs
of eight pictures and writes a Parquet file. The pictures are the two faces of the demo with seeded noise on them, so
that no two are equal. After each hundredth of a part, what the process holds is read from /proc. The first tenth warms
up; the rise is from the mean of the second tenth to the mean of the last.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from records import publish
from whyface.batch.comparer import ComparerSettings
from whyface.batch.pair_source import open_pair_source
from whyface.batch.run import run_batch
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.faces.load import load_face
from whyface.gallery.enroll import enroll_folder
from whyface.gallery.opening import open_or_create
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.verification import Verifier

PHOTOS: Final = ("obama-portrait.jpg", "biden-portrait.jpg")
POINTS: Final = 100
PICTURES: Final = 16


def held() -> dict[str, int]:
    """Return what this process holds now, in bytes and pieces."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "memory": pages * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "system_threads": sum(1 for _ in Path("/proc/self/task").iterdir()),
        "python_threads": threading.active_count(),
    }


def soak(count: int, step: Callable[[int], None]) -> dict[str, Any]:
    """Call ``step`` so many times and measure on the way."""
    every = max(count // POINTS, 1)
    points, started, used = [], time.monotonic(), time.process_time()
    for number in range(count):
        step(number)
        if (number + 1) % every == 0:
            points.append(held())
    tenth = max(len(points) // 10, 1)
    early, late = points[tenth : 2 * tenth] or points, points[-tenth:]
    rise = {name: float(np.mean([p[name] for p in late]) - np.mean([p[name] for p in early])) for name in points[0]}
    return {
        "count": count,
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(time.process_time() - used, 1),
        "first": points[0],
        "last": points[-1],
        "most": {name: max(point[name] for point in points) for name in points[0]},
        "rise": rise,
    }


def write_picture(path: Path, face: NDArray[np.uint8], rng: np.random.Generator) -> Path:
    """Write an aligned picture: the face with a little noise."""
    noise = rng.normal(0, 4, face.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(face + noise, 0, 255).astype(np.uint8)).save(path)
    return path


def main() -> None:
    """Soak and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--verifications", type=int, default=10_000)
    parser.add_argument("--enrolments", type=int, default=1_000)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    faces = [load_face(demo_photo(name), threads=1).image for name in PHOTOS]
    parts: dict[str, Any] = {}

    def write() -> None:
        record = {
            "command": "python benchmarks/soak.py --out docs/studies/benchmarks/soak.json",
            "data": f"the faces of {' and '.join(PHOTOS)}, with Gaussian noise of 4 levels",
            "seed": given.seed,
            "model": DEFAULT_MODEL,
            "threads": 1,
            "versions": software_versions(),
            "parts": parts,
        }
        # After every part, so that a long run that is ended early has something to show.
        publish(record, given.out)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = [write_picture(folder / "verify" / f"{n}.png", faces[n % 2], rng) for n in range(PICTURES)]
        verifier = Verifier(threads=1)

        def verify(number: int) -> None:
            one, other = photos[number % PICTURES], photos[(number * 7 + 3) % PICTURES]
            verifier(one, other, aligned=True).sentences  # noqa: B018 - made when asked for

        parts["verifications"] = soak(given.verifications, verify)
        write()

        def add(number: int) -> None:
            people = folder / "people"
            write_picture(people / f"person {number}" / "1.png", faces[number % 2], rng)
            with open_or_create(folder / "gallery", DEFAULT_MODEL, threads=1) as gallery:
                enroll_folder(gallery, people, aligned=True)
            shutil.rmtree(people)

        parts["enrolments"] = soak(given.enrolments, add)
        write()
        for n in range(8):
            write_picture(folder / "batch" / "who" / f"{n}.png", faces[n % 2], rng)
        settings = ComparerSettings(DEFAULT_MODEL, aligned=True)

        def batch(number: int) -> None:
            out = folder / f"{number}.parquet"
            run_batch(open_pair_source(folder / "batch"), settings, out, threads=1)
            out.unlink()

        parts["batches"] = soak(given.batches, batch)
    write()


if __name__ == "__main__":
    main()
