r"""The cost of the reasons: one pair with the FC network and with xCos-L on the same backbone.

    PYTHONPATH=scripts python benchmarks/xcos_overhead.py --out docs/studies/benchmarks/xcos_overhead.json
    PYTHONPATH=scripts python benchmarks/xcos_overhead.py --model xcos-large --fc mobilefacenet-large.onnx \
        --rounds 300 --out docs/studies/benchmarks/xcos_overhead_large.json

Aligned input, nothing cached, both on ONNX Runtime: two faces through the backbone, then the FC embeddings' cosine or
S, W and their product. The two alternate in one run, in random order, so that other work on the machine affects both
alike. The fast model's FC network has its backbone and a new head of the published size, since weights do not change
its cost. That of another model is a file; its PReLUs are rewritten as in our models, which saves time by itself.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch

from onnx_rewriting import replace_prelu
from records import publish
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.backbones import MobileFaceNet
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.models.heads import GdcHead
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.train.networks import read_safetensors
from whyface.xcos.export import export_faces
from whyface.xcos.model import open_xcos


def fc_network(path: Path) -> None:
    """Write the FC network's ONNX file."""
    tensors = read_safetensors(model_entry(FAST_MODEL).locate("safetensors"))
    backbone = MobileFaceNet()
    own = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
    backbone.load_state_dict(own, strict=False)
    torch.manual_seed(0)
    export_faces(backbone.eval(), GdcHead().eval(), path, output="embedding")


def alternate(
    functions: dict[str, Callable[[], object]], rounds: int, rng: np.random.Generator
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Time each function once per round, in random order; return milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name in rng.permutation(list(functions)):
            start = time.perf_counter()
            functions[name]()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=FAST_MODEL)
    parser.add_argument("--fc", type=Path, help="ONNX file of the FC network; needed but for the fast model")
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.fc is None and args.model != FAST_MODEL:
        parser.error("the FC network of another model is needed: --fc FILE")

    photos = ("obama-portrait.jpg", "obama-speech.jpg")
    first, second = (stack_faces([load_face(demo_photo(name))]) for name in photos)
    xcos = open_xcos(args.model, threads=args.threads)
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "fc.onnx"
        if args.fc is None:
            fc_network(made)
        else:
            network = onnx.load(args.fc)
            replace_prelu(network)
            onnx.save(network, made)
        embedder = OnnxEmbedder(made, threads=args.threads)

        def fc() -> float:
            a, b = embedder.embed(np.concatenate([first, second]))
            return float(a @ b)

        functions: dict[str, Callable[[], object]] = {"fc": fc, "xcos_l": lambda: xcos.compare(first, second, "l")}
        alternate(functions, 50, rng)
        times = alternate(functions, args.rounds, rng)

    medians = {name: float(np.median(values)) for name, values in times.items()}
    draws = rng.integers(args.rounds, size=(2000, args.rounds))
    ratios = np.median(times["xcos_l"][draws], axis=1) / np.median(times["fc"][draws], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    other = "" if args.fc is None else f"--model {args.model} --fc {args.fc.name} "
    record = {
        "question": "time of one pair, xCos-L over FC, same backbone",
        "command": f"python benchmarks/xcos_overhead.py {other}--rounds {args.rounds} --threads {args.threads}",
        "median_ms": {name: round(value, 3) for name, value in medians.items()},
        "ratio": round(medians["xcos_l"] / medians["fc"], 4),
        "ratio_95_percent": [round(float(low), 4), round(float(high), 4)],
        "target": "at most 1.05 (the paper: 6.7 ms / 6.1 ms = 1.10)",
        "rounds": args.rounds,
        "threads": args.threads,
        "seed": args.seed,
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "model_sha256": xcos.embedder.sha256,
        "versions": software_versions(),
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
