r"""Group up to a million generated faces into people: with all others compared, and with a shortlist.

    python benchmarks/cluster_scale.py --grids runs/clusters/lfw/lfw-aligned-112/xcos-large-0e8aa46ec41b.npy \
        --lfw lfw-aligned-112.tar --work WORK --faces 10000,100000,1000000 --exhaustive 100000 \
        --out docs/studies/benchmarks/cluster_scale.json

The grids of LFW are what ``studies.clusters.study`` leaves. WORK is a folder for the faces' records (3.4 GB for a
million). A generated person is the mean of LFW plus a random vector with the covariance of people's means; a picture
of that person adds a random vector with the covariance of LFW's pictures around their person's mean, both along 256
principal axes. A person has 1 to 40 pictures, 5 on average; smaller sizes are the first people. What is measured is
the search for neighbours and the grouping, as ``whyface cluster`` does them from records on disk; reading photos is
not. Each size runs in a process of its own; its peak of memory is the kernel's count, less mapped files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.cluster import pair_confusion_matrix

from records import publish
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.gallery.grouping import Grouping, group_faces, mean_between
from whyface.gallery.kernel import GalleryFeatures
from whyface.gallery.neighbours import ChosenRecords, find_neighbours
from whyface.models.catalogue import DEFAULT_MODEL, model_entry
from whyface.xcos.open_model import open_model

Floats = NDArray[np.float32]
AXES = 256
CHUNK = 10_000


def axes_of(vectors: NDArray[np.floating[Any]]) -> Floats:
    """Return principal axes (AXES, D), scaled so that standard normal numbers give the covariance of the vectors."""
    values, turned = np.linalg.eigh(vectors.T @ vectors / len(vectors))
    return np.asarray((turned[:, -AXES:] * np.sqrt(np.maximum(values[-AXES:], 0))).T, np.float32)


def generate(grids: Path, lfw: Path, work: Path, count: int, seed: int) -> None:
    """Write the records and the people of the generated faces."""
    with open_pictures(lfw) as source:
        names = [name for name in source.names() if name.endswith((".jpg", ".png"))]
    real = np.load(grids).astype(np.float64)
    shape = real.shape[1:]
    real = real.reshape(len(real), -1)
    _, person = np.unique([name.split("/")[-2] for name in names], return_inverse=True)
    counts = np.bincount(person)
    means = np.zeros((len(counts), real.shape[1]))
    np.add.at(means, person, real)
    means /= counts[:, None]
    several = counts[person] > 1
    # The mean of n pictures takes 1/n of their scatter away.
    rest = (real - means[person])[several] * np.sqrt(counts[person] / np.maximum(counts[person] - 1, 1))[several, None]
    centre = np.asarray(means.mean(axis=0), np.float32)
    of_people, of_pictures = axes_of((means - centre)[counts > 3]), axes_of(rest)
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.geometric(0.2, count), 40)
    people = np.repeat(np.arange(count), sizes)[:count]
    model = GalleryFeatures(open_model(DEFAULT_MODEL, threads=1).model)
    layout = model.layout(shape, "int16")
    of = rng.standard_normal((people.max() + 1, AXES), dtype=np.float32)
    records = np.memmap(work / "faces.bin", layout.record, "w+", shape=(count,))
    for start in range(0, count, CHUNK):
        who = people[start : start + CHUNK]
        noise = rng.standard_normal((len(who), AXES), dtype=np.float32)
        made = centre + of[who] @ of_people + noise @ of_pictures
        records[start : start + CHUNK] = model.records(layout, start, made.reshape(len(who), *shape))
    records.flush()
    np.save(work / "people.npy", people)


class Memory:
    """The peak of the memory that is this process's own, without mapped files, which the system can drop."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    self.peak = max(self.peak, int(line.split()[1]) * 1024)

    def close(self) -> int:
        """Stop watching and return the peak in bytes."""
        self._stop.set()
        self._thread.join()
        return self.peak


def measure(work: Path, count: int, shortlist: int, threads: int) -> dict[str, Any]:
    """Group the first faces and return the figures; the groups are left in a file."""
    model = GalleryFeatures(open_model(DEFAULT_MODEL, threads=1).model)
    layout = model.layout((32, 7, 7), "int16")
    entry = model_entry(DEFAULT_MODEL)
    tie, mean = (entry.operating_point(entry.default_attention or "l", fmr=fmr).threshold for fmr in (1e-5, 1e-4))
    every = np.memmap(work / "faces.bin", layout.record, "r")
    records = ChosenRecords(every, np.arange(count)) if shortlist else every[:count]
    memory = Memory()
    cpu, start = time.process_time(), time.perf_counter()
    neighbours = find_neighbours(records, layout, tie, shortlist=shortlist or None, threads=threads)
    found, searched = time.perf_counter(), time.process_time()
    grouping: Grouping = group_faces(neighbours, mean_between(records, layout), threshold=tie, least_mean=mean)
    done = time.perf_counter()
    np.save(work / f"groups-{count}-{shortlist}.npy", grouping.groups)
    people = np.load(work / "people.npy")[:count]
    return {
        "faces": count,
        "people": len(np.unique(people)),
        "shortlist": shortlist or None,
        "seconds_neighbours": round(found - start, 1),
        "processor_seconds_neighbours": round(searched - cpu, 1),
        "seconds_grouping": round(done - found, 1),
        "peak_memory_bytes": memory.close(),
        "records_on_disk_bytes": count * layout.record.itemsize,
        "pairs": len(neighbours.pairs),
        "groups": len(np.unique(grouping.groups)),
        "pairwise_with_people": agreement(people, grouping.groups),
    }


def agreement(one: NDArray[np.int64], other: NDArray[np.int64]) -> dict[str, float]:
    """Return pairwise precision, recall and F of the second grouping, as if the first were the truth."""
    (_, wrong), (missed, right) = (part.tolist() for part in pair_confusion_matrix(one, other))
    precision, recall = right / max(right + wrong, 1), right / max(right + missed, 1)
    f = 2 * precision * recall / max(precision + recall, 1e-9)
    return {"precision": round(precision, 5), "recall": round(recall, 5), "f": round(f, 5)}


def main() -> None:
    """Generate, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=Path, required=True)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--faces", default="10000,100000,1000000")
    parser.add_argument("--generate", type=int, help="faces to generate; by default the largest number")
    parser.add_argument("--exhaustive", type=int, default=100_000, help="largest number of faces compared with all")
    parser.add_argument("--shortlist", type=int, default=48)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one:
        count, shortlist = map(int, args.one.split(","))
        print(json.dumps(measure(args.work, count, shortlist, args.threads)))
        return
    sizes = [int(size) for size in args.faces.split(",")]
    args.work.mkdir(parents=True, exist_ok=True)
    if not (args.work / "people.npy").exists():
        generate(args.grids, args.lfw, args.work, args.generate or max(sizes), args.seed)
    about = {
        "command": "python benchmarks/cluster_scale.py --grids ... --lfw ... --work WORK "
        f"--faces {args.faces} --generate {args.generate or max(sizes)} --exhaustive {args.exhaustive}",
        "model": DEFAULT_MODEL,
        "seed": args.seed,
        "cores": os.cpu_count(),
        "versions": software_versions(),
    }
    rows = []
    for size in sizes:
        for shortlist in (0, args.shortlist) if size <= args.exhaustive else (args.shortlist,):
            command = [sys.executable, *sys.argv, "--one", f"{size},{shortlist}"]
            ended = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(ended.stdout))
            print(rows[-1], file=sys.stderr, flush=True)
        if size <= args.exhaustive:
            groups = [np.load(args.work / f"groups-{size}-{named}.npy") for named in (0, args.shortlist)]
            rows[-1]["pairwise_with_exhaustive"] = agreement(*groups)
    publish({**about, "load_average_at_the_end": os.getloadavg()[0], "rows": rows}, args.out)


if __name__ == "__main__":
    main()
