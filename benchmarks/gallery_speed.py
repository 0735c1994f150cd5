"""The cost of an explained 1:N search: ours, the pair graph, plain cosine, and other implementations of the same maths.

    python benchmarks/gallery_speed.py --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt \
        --out docs/studies/benchmarks/gallery_speed.json

- ``search``: the whole of ``Gallery.search`` on a memory-mapped gallery, top 10 with S and W;
- ``pair graph``: the model's ONNX pair graph on batches of 1,024 grids that are already in memory, on all cores;
- ``kernel``: scores of one probe from 16-bit records in memory, without the top 10, by ours and by the ways of
  ``gallery_kernels.py``, all in blocks on as many threads;
- ``cosine``: without reasons, embeddings of 512 float32 numbers: one matrix product, and pair by pair in Python.

The variants alternate in random order, so that other work on the machine affects all of them alike. Wall times and
processor times of this process are reported; a busy machine changes the latter less. With LFW, the report also has the
difference from the pair graph's scores on real faces, and the effect of 16 bits.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import gallery_kernels
from records import publish
from whyface.data.pair_lists import read_lfw_pairs
from whyface.evaluate.rates import fold_accuracy
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.progress import progress_bar
from whyface.gallery import feature_file, name_table
from whyface.gallery.feature_file import HEADER, Storage
from whyface.gallery.gallery import Gallery
from whyface.gallery.kernel import BLOCK, GalleryFeatures, score_records
from whyface.gallery.name_database import UNKNOWN
from whyface.models.catalogue import FAST_MODEL
from whyface.onnx_runtime import usable_cores
from whyface.xcos.grid import AttentionKind
from whyface.xcos.model import PairGraph, XcosModel, open_xcos

Floats = NDArray[np.float32]
STORAGES: Final[tuple[Storage, ...]] = ("float32", "int16")
KINDS: Final[tuple[AttentionKind, ...]] = ("u", "p", "l")
OTHERS = {
    "NumPy without the clipping": gallery_kernels.numpy_direct,
    "ONNX graph": gallery_kernels.onnx_graph,
    "PyTorch": gallery_kernels.pytorch,
    "Numba": gallery_kernels.compiled,
}


def real_grids(model: XcosModel, names: list[str], source: Any) -> Floats:
    """Run the network on the named faces."""
    parts = []
    with progress_bar("running the network") as progress:
        for start in range(0, len(names), 64):
            batch = np.stack([source.read(name).transpose(2, 0, 1) for name in names[start : start + 64]])
            parts.append(model.grid(batch))
            progress(start, len(names))
    return np.concatenate(parts)


def on_lfw(model: XcosModel, features: GalleryFeatures, lfw: Path, pairs: Path) -> dict[str, Any]:
    """Compare a gallery's scores with the pair graph's on LFW's pairs, for both kinds of storage."""
    with open_pictures(lfw) as source:
        protocol = read_lfw_pairs(pairs)
        grids = real_grids(model, list(protocol.pictures), source)
    first, second = grids[protocol.left], grids[protocol.right]
    results: dict[str, Any] = {"pairs": len(first)}
    stored: dict[str, NDArray[Any]] = {
        storage: features.records(features.layout(grids.shape[1:], storage), 0, grids) for storage in STORAGES
    }
    # 16-bit floats, for comparison: rounded, then kept in 32 bits.
    stored["float16"] = stored["float32"].copy()
    for field in ("unit", "terms"):
        stored["float16"][field] = stored["float16"][field].astype(np.float16)
    for kind in KINDS:
        expected = np.concatenate(
            [
                model.compare_grids(first[i : i + 500], second[i : i + 500], kind).score
                for i in range(0, len(first), 500)
            ]
        )
        accuracy = {"pair graph": round(100 * fold_accuracy(expected, protocol.genuine, protocol.fold).mean, 3)}
        difference = {}
        for storage, records in stored.items():
            found = np.empty(len(first), np.float32)
            for start in range(0, len(first), 32):
                probes = features.probes(first[start : start + 32], kind)
                some = records[protocol.right[start : start + 32]]
                scores = score_records(some, probes, features.attention if kind == "l" else None, threads=1)
                found[start : start + 32] = np.diagonal(scores)
            difference[storage] = float(f"{np.abs(found - expected).max():.2g}")
            accuracy[storage] = round(100 * fold_accuracy(found, protocol.genuine, protocol.fold).mean, 3)
        results[kind] = {"largest_difference_of_scores": difference, "accuracy_percent": accuracy}
    return results


def million_open_ms(model: XcosModel, folder: Path, faces: int = 1_000_000) -> float:
    """Time the opening of a gallery of a million faces whose feature file is sparse."""
    with Gallery.create(folder, model) as gallery:
        size = HEADER + faces * gallery.layout.record.itemsize
        rows = [(f"person {i // 3}", "made up", "") for i in range(faces)]
        gallery.names_table.add(0, rows, [UNKNOWN] * faces)
    os.truncate(folder / feature_file.FILE_NAME, size)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        Gallery.open(folder, model).close()
        times.append(1000 * (time.perf_counter() - start))
    (folder / name_table.FILE_NAME).unlink()
    return float(np.median(times))


def copy_speed(records: NDArray[Any]) -> float:
    """Return the bytes per second at which one thread copies records, block by block."""
    raw = records.view(np.uint8).reshape(len(records), -1)
    block = np.empty_like(raw[:BLOCK])
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for first in range(0, len(raw) - BLOCK + 1, BLOCK):
            np.copyto(block, raw[first : first + BLOCK])
        best = max(best, raw.nbytes / (time.perf_counter() - start))
    return best


def cosine_loop(probe: Floats, others: Floats) -> list[float]:
    """Compare pair by pair, with norms, as pipelines with a list of embeddings do."""
    return [float(probe @ other / (np.linalg.norm(probe) * np.linalg.norm(other))) for other in others]


def measure(
    variants: dict[str, tuple[int, Callable[[], object]]], rounds: int, rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """Run each variant once per round, in random order; return pairs per second of wall and of processor time."""
    wall: dict[str, list[float]] = {name: [] for name in variants}
    cpu: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(rounds + 1):
        for name in rng.permutation(list(variants)):
            count, way = variants[name]
            start, processor = time.perf_counter(), time.process_time()
            way()
            if round_:  # the first is for warming up
                wall[name].append((time.perf_counter() - start) / count)
                cpu[name].append((time.process_time() - processor) / count)
    return {
        name: {
            "pairs_per_second": round(float(1 / np.median(wall[name]))),
            "best_pairs_per_second": round(1 / min(wall[name])),
            "processor_microseconds_per_pair": round(1e6 * float(np.median(cpu[name])), 3),
        }
        for name in variants
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lfw", type=Path)
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    threads = usable_cores()
    load = os.getloadavg()[0]
    model = open_xcos(FAST_MODEL)
    assert model.pair is not None
    graph = PairGraph(model.pair.path, threads=threads)
    features = GalleryFeatures(model)
    attention = features.attention
    assert attention is not None
    # The time does not depend on the values; the gallery repeats a few thousand grids.
    some = rng.standard_normal((4096, 32, 7, 7)).astype(np.float32)
    probe = rng.standard_normal((16, 32, 7, 7)).astype(np.float32)
    one = features.probes(probe[:1], "l")
    with tempfile.TemporaryDirectory() as folder:
        galleries = {storage: Gallery.create(Path(folder) / storage, model, storage=storage) for storage in STORAGES}
        for gallery in galleries.values():
            for start in range(0, args.faces, len(some)):
                gallery.add(some[: min(len(some), args.faces - start)], "x", "made up")
        int16, float32 = galleries["int16"], galleries["float32"]
        records = np.array(int16.records[: min(args.faces, 65_536)])
        ways = {}
        for name, make in OTHERS.items():
            try:
                ways[name] = make(records, one, attention, threads)
            except ImportError as missing:
                print(f"left out: {name} ({missing})", file=sys.stderr)
        expected = score_records(records, one, attention)[0]
        for name, way in ways.items():
            error = float(np.abs(way() - expected).max())
            if error > 1e-5:
                raise SystemExit(f"{name} gives other scores than our kernel, by up to {error:.2g}")
        repeated = np.repeat(probe[:1], 1024, 0)
        embeddings = rng.standard_normal((args.faces, 512)).astype(np.float32)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        variants: dict[str, tuple[int, Callable[[], object]]] = {
            "search, int16": (args.faces, lambda: int16.search(probe[:1], 10)),
            "search, int16, 16 probes": (16 * args.faces, lambda: int16.search(probe, 10)),
            "search, int16, uniform": (args.faces, lambda: int16.search(probe[:1], 10, attention="u")),
            "search, float32": (args.faces, lambda: float32.search(probe[:1], 10)),
            "pair graph": (4096, lambda: [graph.run(repeated, some[i : i + 1024]) for i in range(0, 4096, 1024)]),
            "kernel, ours": (len(records), lambda: score_records(records, one, attention)),
            **{f"kernel, {name}": (len(records), way) for name, way in ways.items()},
            **{
                f"kernel, ours, blocks of {size}": (
                    len(records),
                    partial(score_records, records, one, attention, block=size),
                )
                for size in (32, 64, 128, 384, 768)
            },
            "cosine, one matrix product": (args.faces, lambda: embeddings @ embeddings[0]),
            "cosine, pair by pair": (4096, lambda: cosine_loop(embeddings[0], embeddings[:4096])),
        }
        results = measure(variants, args.rounds, rng)
        bandwidth = copy_speed(records)
        opened = million_open_ms(model, Path(folder) / "million")
        layout = int16.layout
        for gallery in galleries.values():
            gallery.close()

    needed = 2 * (layout.values + layout.terms) + 8
    ours, naive = results["search, int16"], results["pair graph"]
    record: dict[str, Any] = {
        "question": "explained pair scores a second in a 1:N search, top 10 with S and W",
        "command": (
            f"python benchmarks/gallery_speed.py --faces {args.faces} --rounds {args.rounds} --seed {args.seed} "
            "--lfw LFW --pairs PAIRS"
        ),
        "targets": {"pairs_per_second": 1_000_000, "over_pair_graph": 30, "bytes_read_over_needed": 2},
        "search_over_pair_graph": {
            "wall": round(ours["pairs_per_second"] / naive["pairs_per_second"], 1),
            "processor": round(naive["processor_microseconds_per_pair"] / ours["processor_microseconds_per_pair"], 1),
        },
        "results": results,
        "bytes_per_face": {"unit vectors, terms and scales": needed, "record": layout.record.itemsize},
        "bytes_read_over_needed": round(layout.record.itemsize / needed, 3),
        "gigabytes_per_second": {
            "read by search, int16": round(1e-9 * ours["pairs_per_second"] * layout.record.itemsize, 2),
            "copied by one thread": round(1e-9 * bandwidth, 2),
        },
        "milliseconds_to_open_a_million_faces": round(opened, 1),
        "on_lfw": None if args.lfw is None else on_lfw(model, features, args.lfw, args.pairs),
        "faces": args.faces,
        "kernel_faces": len(records),
        "block": BLOCK,
        "rounds": args.rounds,
        "seed": args.seed,
        "threads": threads,
        "load_average_before": round(load, 1),
        "processor": platform.machine(),
        "model_sha256": dict(features.sha256),
        "versions": software_versions(),
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
