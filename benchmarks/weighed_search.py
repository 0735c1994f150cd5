"""How fast is a search with reasons, where attention factorises? Pairs a second, beside a plain cosine in the same run.

    python benchmarks/weighed_search.py --faces 100000 --out docs/studies/benchmarks/weighed-search.json

Generated grids of 32 x 7 x 7; all scores of 1, 16 and 64 probes with every record, for each storage. The references, in
the same run: one matrix product over the same 1,568 float32 numbers, and the rate at which they are read from memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from records import publish
from whyface.explain.verdict import software_versions
from whyface.gallery.feature_file import Layout, Storage, make_records
from whyface.gallery.kernel import Probes, score_records
from whyface.onnx_runtime import usable_cores

CHANNELS, PLACES = 32, 49
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


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    lengths = rng.uniform(0.2, 1, (args.faces, PLACES)).astype(np.float32)
    lengths /= np.linalg.norm(lengths, axis=1, keepdims=True)
    unit = rng.standard_normal((args.faces, PLACES, CHANNELS), dtype=np.float32)
    unit *= (lengths / np.linalg.norm(unit, axis=2))[:, :, None]
    flat = unit.reshape(args.faces, -1)
    read = seconds(lambda: flat.sum(axis=1, dtype=np.float32), runs=args.runs)
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
