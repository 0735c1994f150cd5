"""How fast is a search with reasons, where attention factorises? Pairs a second, beside a plain cosine in the same run.

    python benchmarks/weighed_search.py --faces 100000 --out docs/studies/benchmarks/weighed-search.json

Generated grids of 32 x 7 x 7; all scores of 1, 16 and 64 probes with every record, for each storage. The references, in
the same run: one matrix product over the same 1,568 float32 numbers, and the rate at which they are read from memory.

    python benchmarks/weighed_search.py --sizes 1e3 1e4 1e5 1e6 1e7 --out docs/studies/benchmarks/weighed-sizes.json

Seconds a search by the size of the gallery, one probe and 64, 8-bit records in a mapped file, as in a gallery.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from records import publish
from whyface.explain.verdict import software_versions
from whyface.files.progress import progress_bar
from whyface.gallery.feature_file import Layout, Storage, make_records
from whyface.gallery.kernel import Probes, score_records
from whyface.gallery.search import sharpen
from whyface.onnx_runtime import usable_cores

Floats = NDArray[np.float32]

CHANNELS, PLACES = 32, 49
MANY = 1_000_000
"""Above so many records one run is enough."""
STORAGES: tuple[Storage, ...] = ("float32", "int16", "int8")


def seconds(function: Callable[[], object], *, runs: int) -> float:
    """Return the median time of some runs, after one that does not count."""
    function()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def by_size(args: argparse.Namespace, flat: Floats, unit: Floats, lengths: Floats) -> dict[str, Any]:
    """Return seconds a search by the number of records, which repeat the generated faces."""
    layout = Layout("grid", "made up", {}, (CHANNELS, 7, 7), PLACES, "int8", weighed=True)
    records = make_records(layout, 0, flat, lengths)
    found = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder, progress_bar("sizes") as progress:
        path = Path(folder) / "records"
        for done, size in enumerate(int(size) for size in args.sizes):
            with path.open("wb") as file:
                for start in range(0, size, len(records)):
                    file.write(records[: size - start].tobytes())
            mapped = np.memmap(path, layout.record, "r")
            found[str(size)] = {
                f"{count} probes": round(
                    seconds(
                        partial(
                            score_records,
                            mapped,
                            Probes(unit[:count], lengths[:count], None, True),
                            None,
                            threads=args.threads,
                        ),
                        runs=args.runs if size <= MANY else 1,
                    ),
                    6,
                )
                for count in (1, 64)
            }
            found[str(size)]["gigabytes"] = round(path.stat().st_size / 1e9, 3)
            progress(done + 1, len(args.sizes))
    return {
        "question": "seconds a search by the size of the gallery, 8-bit records in a mapped file",
        "command": "python benchmarks/weighed_search.py --sizes " + " ".join(f"{size:g}" for size in args.sizes),
        "cores": usable_cores(),
        "generated_faces": args.faces,
        "seed": args.seed,
        "software": software_versions(),
        "results": found,
    }


def ten_best(records: NDArray[Any], probes: Probes, threads: int | None) -> None:
    """Score all records as a search does, and those that may be among the ten best exactly."""
    errors = np.empty((len(probes.cells), len(records)), np.float32)
    scores = score_records(records, probes, None, threads=threads, errors=errors)
    for row, (line, error) in enumerate(zip(scores, errors, strict=True)):
        if error.any():
            sharpen(records, probes.row(row), line, error, 10)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--sizes", type=float, nargs="+", help="measure galleries of these sizes instead")
    parser.add_argument(
        "--folder", type=Path, help="with --sizes: where the mapped file is written; by default a temporary one"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    lengths = rng.uniform(0.2, 1, (args.faces, PLACES)).astype(np.float32)
    lengths /= np.linalg.norm(lengths, axis=1, keepdims=True)
    unit = rng.standard_normal((args.faces, PLACES, CHANNELS), dtype=np.float32)
    unit *= (lengths / np.linalg.norm(unit, axis=2))[:, :, None]
    flat = unit.reshape(args.faces, -1)
    if args.sizes:
        publish(by_size(args, flat, unit, lengths), args.out)
        return
    words = flat.reshape(-1).view(np.int64)
    with ThreadPoolExecutor(args.threads or usable_cores()) as pool:
        parts = np.array_split(words, args.threads or usable_cores())
        read = seconds(lambda: list(pool.map(np.sum, parts)), runs=args.runs)
    results: dict[str, dict[str, float]] = {"read_from_memory": {"gigabytes_per_second": flat.nbytes / read / 1e9}}
    for count in (1, 16, 64):
        vectors = np.ascontiguousarray(flat[:count])
        cosine = seconds(partial(np.matmul, vectors, flat.T), runs=args.runs)
        results[f"{count} probes"] = {"plain cosine": count * args.faces / cosine / 1e6}
    for storage in STORAGES:
        layout = Layout("grid", "made up", {}, (CHANNELS, 7, 7), PLACES, storage, weighed=True)
        records = make_records(layout, 0, flat, lengths)
        for count in (1, 16, 64):
            probes = Probes(unit[:count], lengths[:count], None, True)
            search = partial(score_records, records, probes, None, threads=args.threads)
            time_taken = seconds(search, runs=args.runs)
            results[f"{count} probes"][storage] = count * args.faces / time_taken / 1e6
        for count in (1, 2, 4, 8) if storage == "int8" else ():
            probes = Probes(unit[-count:], lengths[-count:], None, True)
            time_taken = seconds(partial(ten_best, records, probes, args.threads), runs=args.runs)
            results.setdefault(f"{count} probes", {})["int8, the 10 best"] = count * args.faces / time_taken / 1e6
    command = f"python benchmarks/weighed_search.py --faces {args.faces} --runs {args.runs} --seed {args.seed}"
    document = {
        "command": command,
        "cores": usable_cores(),
        "faces": args.faces,
        "unit": "million pairs a second",
        "software": software_versions(),
        "results": results,
    }
    publish(document, args.out)


if __name__ == "__main__":
    main()
