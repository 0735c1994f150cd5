"""The cost of x-face: our occlusion compared with the straightforward loop in one run.

    python benchmarks/occlusion_methods.py --out docs/studies/benchmarks/occlusion_methods.json

All variants cover the same places (ours, which reach the borders) of the same two faces and run the same ONNX network,
so that they make the same number of passes unless the last column says otherwise:

- ``loop, batch 1``: for each mask a copy of the face, image * mask + fill * (1 - mask), one run of the network on ONNX
  Runtime's own threads, a distance, and mask * deviation added to a full-size map;
- ``loop, batch 64``: the same, the network fed with 64 copies at a time, as the published demo does;
- ``ours``: one reused uint8 buffer per worker, single-threaded runs in parallel, maps summed by window;
- ``three pairings``: the published generator runs everything again for each of its three methods, with a K x K loop of
  distances for the first; ours computes all three from the same covered faces and a mean.

The variants alternate in random order, so that other work on the machine affects all of them alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from records import publish
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.explain.xface import XfaceMethod, patches
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.catalogue import FAST_MODEL, open_embedder
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.onnx_runtime import usable_cores

Pairing = Literal["one", "all", "both"]


def straightforward(
    embedder: OnnxEmbedder, faces: NDArray[np.uint8], sizes: tuple[int, ...], stride: int, pairing: Pairing, batch: int
) -> list[NDArray[np.float64]]:
    """Explain one pair mask by mask, in the simplest way."""
    images = [face.transpose(1, 2, 0).astype(np.float64) / 255 for face in faces]
    plain = embedder.embed(faces)
    distance = 1 - float(plain[0] @ plain[1])
    maps = [np.zeros((112, 112)) for _ in range(2)]
    for size in sizes:
        of_one_size = patches(size, stride)
        masks = []
        for index in range(len(of_one_size)):
            mask = np.ones((112, 112, 1))
            mask[of_one_size.window(index)] = 0
            masks.append(mask)
        covered = []
        for image in images:
            embeddings = []
            for start in range(0, len(masks), batch):
                copies = [image * mask + 0.0 * (1 - mask) for mask in masks[start : start + batch]]
                stacked = (np.stack(copies).transpose(0, 3, 1, 2) * 255).astype(np.float32)
                embeddings.append(embedder.embed(stacked))
            covered.append(np.concatenate(embeddings))
        for side in range(2):
            for index, mask in enumerate(masks):
                one = covered[side][index]
                if pairing == "one":
                    found = 1 - float(one @ plain[1 - side])
                elif pairing == "both":
                    found = 1 - float(one @ covered[1 - side][index])
                else:
                    found = float(np.mean([1 - one @ other for other in covered[1 - side]]))
                maps[side] += (1 - mask[..., 0]) * (found - distance) / size**2 / len(masks)
    return maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[28])
    parser.add_argument("--stride", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    sizes, stride = tuple(args.sizes), args.stride

    faces = stack_faces([load_face(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg")])
    theirs, single = open_embedder(FAST_MODEL), open_embedder(FAST_MODEL, threads=1)
    cores = usable_cores()

    def ours(batch: int) -> XfaceMethod:
        return XfaceMethod(single, patch_sizes=sizes, stride=stride, fill=0, workers=cores, batch_size=batch)

    def ours_three() -> Any:
        method = ours(16)
        plain = single.embed(faces)
        return method.explain_pairings((faces[0], faces[1]), (plain[:1], plain[1:]))

    variants: dict[str, Callable[[], object]] = {
        "loop, batch 1": lambda: straightforward(theirs, faces, sizes, stride, "one", 1),
        "loop, batch 64": lambda: straightforward(theirs, faces, sizes, stride, "one", 64),
        "ours, batch 64": lambda: ours(64).maps(faces[:1], faces[1:]),
        "ours, batch 16": lambda: ours(16).maps(faces[:1], faces[1:]),
        "loop, batch 64, three pairings": lambda: [
            straightforward(theirs, faces, sizes, stride, pairing, 64) for pairing in ("one", "all", "both")
        ],
        "ours, batch 16, three pairings": ours_three,
    }
    # Times can be compared only if the results are the same.
    reference = np.array(straightforward(theirs, faces, sizes, stride, "one", 64))
    found = ours(16).maps(faces[:1], faces[1:])
    agreement = [
        round(float(np.corrcoef(one[28:84, 28:84].ravel(), other[28:84, 28:84].ravel())[0, 1]), 4)
        for one, other in zip(reference, (found.map_a[0], found.map_b[0]), strict=True)
    ]
    rng = np.random.default_rng(args.seed)
    times: dict[str, list[float]] = {name: [] for name in variants}
    busy: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name in rng.permutation(list(variants)):
            start, start_busy = time.perf_counter(), time.process_time()
            variants[name]()
            times[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - start_busy)
            print(f"{name}: {times[name][-1]:.2f} s", file=sys.stderr)

    def ratio(slow: str, fast: str) -> dict[str, Any]:
        each = np.array(times[slow]) / np.array(times[fast])
        return {
            "median": round(float(np.median(each)), 2),
            "range": [round(float(f(each)), 2) for f in (np.min, np.max)],
        }

    record = {
        "question": "time of one pair by x-face, ours against the straightforward loop",
        "command": f"python benchmarks/occlusion_methods.py --rounds {args.rounds} --sizes {' '.join(map(str, sizes))} "
        f"--stride {stride}",
        "median_seconds": {name: round(float(np.median(values)), 3) for name, values in times.items()},
        # Sum over all cores, without other processes.
        "median_processor_seconds": {name: round(float(np.median(values)), 3) for name, values in busy.items()},
        "ratios": {
            "one pairing, loop of batch 1 / ours": ratio("loop, batch 1", "ours, batch 16"),
            "one pairing, loop of batch 64 / ours": ratio("loop, batch 64", "ours, batch 16"),
            "three pairings, loop of batch 64 / ours": ratio(
                "loop, batch 64, three pairings", "ours, batch 16, three pairings"
            ),
        },
        "target": "at least 3",
        "patches_per_face": sum(len(patches(size, stride)) for size in sizes),
        "passes": {"one pairing": ours(16).passes, "three pairings, loop": 3 * ours(16).passes},
        "correlation_of_maps_inside": agreement,
        "rounds": args.rounds,
        "seed": args.seed,
        "cores": cores,
        "load_before": round(os.getloadavg()[0], 1),
        "processor": platform.machine(),
        "model_sha256": single.sha256,
        "versions": software_versions(),
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
