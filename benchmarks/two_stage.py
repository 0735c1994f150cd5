"""Recall and cost of a search in two stages, on galleries of 1,000 to 1,000,000 faces.

    python benchmarks/two_stage.py --lfw lfw-aligned-112.tar --work WORK --out docs/studies/benchmarks/two_stage.json \
        --figure docs/figures/two-stage.png

WORK is a folder for the gallery (5 GB at a million faces) and for finished parts: a run that was interrupted, or ended
by ``--minutes``, is resumed when it is started again.

Faces
-----
Probes: one picture each of people who have two or more in LFW, drawn at random. Gallery: all other LFW pictures in
random order, then distractors; a smaller gallery is the beginning of the largest. A distractor is

    mean + sum over i = 1..8 of z_i (grid_i - mean) / sqrt(8),   z_i from a standard normal distribution,

of eight real grids drawn at random from people with a single picture, who are never probes: new people with the mean
and covariance of real grids. The model normalises cells as it does for any face. Their similarity to the probes is
compared with that of other real people.

Measurements
------------
- recall@k: the share of the k best faces of the exhaustive search that are on the shortlist. Faces on the shortlist are
  scored exactly, so that nothing else can differ.
- milliseconds per probe, one probe at a time, exhaustive and in two stages alternately.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from records import publish
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.gallery.gallery import Gallery
from whyface.gallery.kernel import score_records
from whyface.gallery.shortlist import Recipe, Shortlist, build_shortlist, faiss_module, probe_vectors, search_shortlist
from whyface.models.catalogue import FAST_MODEL
from whyface.onnx_runtime import usable_cores
from whyface.xcos.model import XcosModel, open_xcos

Floats = NDArray[np.float32]
KS = (1, 5, 10)
SHORTLISTS = (10, 20, 50, 100, 200, 500, 1000)
MIXED = 8
CHUNK = 4000
TIMED = 15
WITH_LISTS = 50_000
"""Minimum number of faces at which an index with lists is measured as well."""


class OutOfTimeError(Exception):
    """The time limit of ``--minutes`` is reached; finished parts are kept."""


class Clock:
    """The time limit of a run."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def check(self) -> None:
        if self._end is not None and time.monotonic() > self._end:
            raise OutOfTimeError


def lfw_grids(model: XcosModel, lfw: Path, work: Path) -> tuple[Floats, NDArray[np.str_]]:
    """Run the network on all LFW pictures, once."""
    path = work / "lfw.npz"
    if path.exists():
        with np.load(path) as kept:
            return np.asarray(kept["grids"], np.float32), np.asarray(kept["names"])
    with open_pictures(lfw) as source, progress_bar("running the network") as progress:
        names = sorted(source.names())
        parts = []
        for start in range(0, len(names), 64):
            parts.append(
                model.grid(np.stack([source.read(name).transpose(2, 0, 1) for name in names[start : start + 64]]))
            )
            progress(start, len(names))
    grids = np.concatenate(parts)
    np.savez(path, grids=grids, names=np.array(names))
    return grids, np.array(names)


def choose(
    names: NDArray[np.str_], probes: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the pictures of the probes, those of the gallery in order, and the distractors' sources."""
    rng = np.random.default_rng(seed)
    _, person, counts = np.unique([name.split("/")[-2] for name in names], return_inverse=True, return_counts=True)
    several = rng.permutation(np.flatnonzero(counts >= 2))[:probes]
    chosen = np.array([rng.choice(np.flatnonzero(person == one)) for one in several])
    rest = rng.permutation(np.setdiff1d(np.arange(len(names)), chosen))
    return chosen, rest, np.flatnonzero(counts[person] == 1)


def distractors(grids: Floats, sources: NDArray[np.int64], count: int, rng: np.random.Generator) -> Floats:
    """Return new faces mixed from real ones."""
    mean = grids.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = (grids[sources] - mean).reshape(len(sources), -1)
    mixed = np.tile(mean.reshape(-1), (count, 1))
    for _ in range(MIXED):
        weights = rng.standard_normal((count, 1)).astype(np.float32) / np.float32(np.sqrt(MIXED))
        mixed += weights * centred[rng.integers(len(sources), size=count)]
    return mixed.reshape(count, *grids.shape[1:])


def fill(
    model: XcosModel,
    work: Path,
    grids: Floats,
    rest: NDArray[np.int64],
    sources: NDArray[np.int64],
    names: NDArray[np.str_],
    count: int,
    seed: int,
    clock: Clock,
) -> Gallery:
    """Enroll all faces; an interrupted run is resumed with the same faces."""
    path = work / "gallery"
    gallery = Gallery.open(path, model, writable=True) if path.exists() else Gallery.create(path, model)
    with progress_bar("enrolling faces") as progress:
        start = gallery.promised
        while start < count:
            clock.check()
            if start < len(rest):
                stop = min(count, len(rest), start + CHUNK)
                part, people = grids[rest[start:stop]], [str(names[i].split("/")[-2]) for i in rest[start:stop]]
            else:
                # Every chunk has its own seed, so that a resumed run, or a larger gallery, has the same faces.
                chunk, offset = divmod(start - len(rest), CHUNK)
                rng = np.random.default_rng([seed, chunk])
                part = distractors(grids, sources, CHUNK, rng)[offset:][: count - start]
                stop = start + len(part)
                people = [f"made up {chunk}"] * len(part)
            gallery.add(part, people, "benchmark")
            start = stop
            progress(start, count)
    return gallery


def exhaustive(gallery: Gallery, probes: Floats, work: Path, clock: Clock) -> list[Path]:
    """Score every probe against all faces with learned attention; 16 probes per file."""
    paths = []
    with progress_bar("comparing with everybody") as progress:
        for start in range(0, len(probes), 16):
            path = work / f"scores-{len(gallery.records)}-{start}.npy"
            paths.append(path)
            if not path.exists():
                clock.check()
                prepared = gallery.model.probes(probes[start : start + 16], "l")
                scores = score_records(gallery.records, prepared, gallery.model.attention)
                temporary = path.with_suffix(".part.npy")
                np.save(temporary, scores)
                temporary.replace(path)
            progress(start, len(probes))
    return paths


def top(scores: Floats, count: int) -> NDArray[np.int64]:
    """Return the numbers of the ``count`` highest, best first."""
    some = np.argpartition(scores, len(scores) - count)[len(scores) - count :]
    return np.asarray(some[np.argsort(-scores[some], kind="stable")], np.int64)


class Beginning:
    """The first records of a gallery, as a smaller gallery."""

    def __init__(self, gallery: Gallery, count: int) -> None:
        self._gallery = gallery
        self.records = gallery.records[:count]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gallery, name)

    def __len__(self) -> int:
        return len(self.records)


def recalls(named: NDArray[np.int64], best: list[NDArray[np.int64]]) -> dict[str, dict[str, float]]:
    """Return, for every k, the share of the k best that is on a shortlist of every size."""
    return {
        f"recall@{k}": {
            str(size): round(
                float(np.mean([np.isin(truth[:k], row[:size]).mean() for truth, row in zip(best, named, strict=True)])),
                4,
            )
            for size in SHORTLISTS
            if size >= k
        }
        for k in KS
    }


def measure(
    gallery: Gallery, count: int, probes: Floats, people: NDArray[np.str_], paths: list[Path], seed: int
) -> dict[str, Any]:
    """Measure one size of gallery."""
    part: Any = Beginning(gallery, count)
    started = time.perf_counter()
    shortlist = build_shortlist(part, seed=seed)
    build_s = time.perf_counter() - started
    best = [top(row[:count], max(KS)) for path in paths for row in np.load(path, mmap_mode="r")]
    vectors = {kind: probe_vectors(gallery.model, probes, kind) for kind in ("l", "p", "u")}
    found: dict[str, Any] = {
        "recipe": asdict(shortlist.recipe),
        "build_seconds": round(build_s, 1),
        "index_bytes_per_face": round(faiss_module().serialize_index(shortlist.index).nbytes / count, 1),
        "by_stand_in_for_learned_attention": {
            name: recalls(shortlist.find(vectors[kind], max(SHORTLISTS)), best)
            for name, kind in (("the probe's attention to itself", "l"), ("correlated", "p"), ("uniform", "u"))
        },
        **identities(gallery, part, best, shortlist, probes, people),
    }
    found["milliseconds"] = timings(part, shortlist, probes)
    if count >= WITH_LISTS:
        lists = int(2 ** round(np.log2(np.sqrt(count))))
        sorted_index = build_shortlist(part, recipe=Recipe(lists=lists), seed=seed)
        found["with_lists"] = {
            f"{visited} of {lists} visited": recalls(
                sorted_index.find(vectors["l"], max(SHORTLISTS), visited=visited), best
            )
            for visited in (lists // 64, lists // 16, lists // 4)
        }
    return found


def identities(
    gallery: Gallery,
    part: Any,
    best: list[NDArray[np.int64]],
    shortlist: Shortlist,
    probes: Floats,
    people: NDArray[np.str_],
) -> dict[str, Any]:
    """Count how often the best face is the probe's person, exhaustively and with a shortlist of 100."""
    first = [gallery.names_table.faces([int(row[0])])[int(row[0])].name for row in best]
    two = [found[0].name for found in search_shortlist(part, shortlist, probes, 1, size=min(100, len(part)))]
    return {
        "first_is_the_right_person": {
            "exhaustive": round(float(np.mean(np.array(first) == people)), 4),
            "shortlist of 100": round(float(np.mean(np.array(two) == people)), 4),
        }
    }


def timings(part: Any, shortlist: Shortlist, probes: Floats) -> dict[str, dict[str, Any]]:
    """Time one probe at a time, with all ways in turn."""
    learned = part.model.attention

    def everybody(probe: Floats) -> None:
        scores = score_records(part.records, part.model.probes(probe, "l"), learned)
        top(scores[0], 10)

    ways: dict[str, Callable[[Floats], object]] = {
        "exhaustive": everybody,
        "shortlist of 100": lambda probe: search_shortlist(part, shortlist, probe, 10, size=100),
        "shortlist of 500": lambda probe: search_shortlist(part, shortlist, probe, 10, size=500),
        "index alone": lambda probe: shortlist.find(probe_vectors(part.model, probe, "l"), 100),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for row in range(TIMED):
        for name, way in ways.items():
            started = time.perf_counter()
            way(probes[row : row + 1])
            times[name].append(1000 * (time.perf_counter() - started))
    return {
        name: {
            "median": round(float(np.median(values)), 3),
            "quartiles": [round(float(value), 3) for value in np.quantile(values, [0.25, 0.75])],
        }
        for name, values in times.items()
    }


def likeness(paths: list[Path], real: int, names: NDArray[np.str_], people: NDArray[np.str_]) -> dict[str, Any]:
    """Compare the probes' scores with other real people and with distractors."""
    scores = np.concatenate([np.load(path, mmap_mode="r")[:, : real + 100_000] for path in paths])
    others = scores[:, :real][names[None, :real] != people[:, None]]
    groups = {"other people of LFW": others, "distractors": scores[:, real:].ravel()}
    return {
        name: {
            "mean": round(float(values.mean()), 4),
            "deviation": round(float(values.std()), 4),
            "quantile 0.999": round(float(np.quantile(values, 0.999)), 4),
        }
        for name, values in groups.items()
        if values.size
    }


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw cost and recall."""
    from two_stage_figure import two_stage_figure  # noqa: PLC0415
    from whyface.figures.style import save_figure  # noqa: PLC0415 - matplotlib is slow to import

    save_figure(two_stage_figure(record), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--faces", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--probes", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after so long; the same command goes on")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    clock = Clock(args.minutes)
    args.work.mkdir(parents=True, exist_ok=True)
    model = open_xcos(FAST_MODEL, threads=usable_cores())
    grids, names = lfw_grids(model, args.lfw, args.work)
    chosen, rest, sources = choose(names, args.probes, args.seed)
    probes = grids[chosen]
    people = np.array([name.split("/")[-2] for name in names])
    try:
        with fill(model, args.work, grids, rest, sources, names, max(args.faces), args.seed, clock) as gallery:
            paths = exhaustive(gallery, probes, args.work, clock)
            sizes = {}
            for count in sorted(args.faces):
                done = args.work / f"measured-{count}.json"
                if not done.exists():
                    clock.check()
                    found = measure(gallery, count, probes, people[chosen], paths, args.seed)
                    write_atomic(done, json.dumps({**found, "load_before": os.getloadavg()[0]}).encode())
                sizes[str(count)] = json.loads(done.read_text())
                print(count, json.dumps(sizes[str(count)]["milliseconds"]), file=sys.stderr)
            record = {
                "question": "what a search in two stages misses of the exhaustive one, and what both cost",
                "command": "python benchmarks/two_stage.py --lfw LFW --work WORK --out OUT --figure FIGURE",
                "faces": sizes,
                "real_faces": len(rest),
                "likeness_to_probes": likeness(paths, min(len(rest), max(args.faces)), people[rest], people[chosen]),
                "probes": len(probes),
                "attention": "l",
                "bytes_per_record": gallery.layout.record.itemsize,
                "mixed_faces_per_distractor": MIXED,
                "timed_probes": TIMED,
                "seed": args.seed,
                "threads": usable_cores(),
                "processor": platform.machine(),
                "model_sha256": dict(gallery.model.sha256),
                "versions": {**software_versions(), "faiss": faiss_module().__version__},
            }
    except OutOfTimeError:
        raise SystemExit("out of time; run the same command again to go on") from None
    publish(record, args.out)
    if args.figure:
        draw(record, args.figure)


if __name__ == "__main__":
    main()
