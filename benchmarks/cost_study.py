"""The cost of FC, U, P and L on MobileFaceNet and IR-SE-50: time, floating-point operations and memory of one pair.

    python benchmarks/cost_study.py --out docs/studies/cost.json --table docs/studies/cost.md

On the CPU everything runs on ONNX Runtime, as in use: two aligned faces through the backbone, then the cosine of the FC
embeddings, or S, W and their product. If there is a GPU, the same networks also run there on PyTorch. The four kinds
alternate in random order, so that other work on the machine affects all of them alike. Peak memory is that of a
separate process that opens the files and compares. Operations are counted by PyTorch: a multiplication and an addition
are two. Tensors are random, which does not change the cost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.xcos.model import PairGraph, XcosModel

KINDS: Final = ("fc", "u", "p", "l")
BACKBONES: Final = ("mobilefacenet", "ir-se-50")
START, END = "<!-- table -->", "<!-- end of table -->"
Compare = Callable[[], object]


def networks(backbone: str) -> tuple[Any, Any, Any, Any]:
    """Return backbone, FC head, grid head and attention with random tensors.

    MobileFaceNet gets the placed head that the default model has, IR-SE-50 the published 1 x 1 convolution.
    """
    import torch  # noqa: PLC0415 - the process that measures memory does without

    from whyface.models.backbones import IResNet, MobileFaceNet  # noqa: PLC0415
    from whyface.models.heads import FcHead, GdcHead, GridHead, PlacedGridHead  # noqa: PLC0415
    from whyface.train.networks import ScaledPixels  # noqa: PLC0415
    from whyface.xcos.learned import LearnedAttention  # noqa: PLC0415

    torch.manual_seed(0)
    trunk, fc, grid = (
        (MobileFaceNet(), GdcHead(), PlacedGridHead())
        if backbone == "mobilefacenet"
        else (ScaledPixels(IResNet(50, se=True)), FcHead(), GridHead(activation="none"))
    )
    for part in (parts := (trunk, fc, grid, LearnedAttention())):
        part.eval().requires_grad_(False)
    return parts


def write_files(backbone: str, folder: Path) -> None:
    """Write the ONNX files of one backbone."""
    from whyface.xcos.export import export_faces, export_pair  # noqa: PLC0415

    trunk, fc, grid, attention = networks(backbone)
    export_faces(trunk, fc, folder / f"{backbone}-fc.onnx", output="embedding")
    export_faces(trunk, grid, folder / f"{backbone}-grid.onnx")
    export_pair(attention, folder / f"{backbone}-pair.onnx")


def faces(pairs: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return random pictures: the content does not change the cost."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, pairs, 3, 112, 112), np.uint8)
    return first, second


def on_cpu(backbone: str, kind: str, folder: Path, threads: int, pairs: int) -> Compare:
    """Open one kind on ONNX Runtime."""
    first, second = faces(pairs)
    if kind == "fc":
        embedder = OnnxEmbedder(folder / f"{backbone}-fc.onnx", threads=threads)

        def compare() -> object:
            embeddings = embedder.embed(np.concatenate([first, second]))
            return (embeddings[:pairs] * embeddings[pairs:]).sum(axis=1)

        return compare
    grids = OnnxEmbedder(folder / f"{backbone}-grid.onnx", grid="grid", threads=threads)
    pair = PairGraph(folder / f"{backbone}-pair.onnx") if kind == "l" else None
    model = XcosModel(grids, pair=pair, correlated=np.full((7, 7), 0.5, np.float32))
    attention: Any = kind
    return lambda: model.compare(first, second, attention)


def on_device(backbone: str, device: str, pairs: int) -> dict[str, Compare]:
    """Put all kinds on a torch device."""
    import torch  # noqa: PLC0415

    from whyface.xcos.learned import grid_cosine  # noqa: PLC0415

    trunk, fc, grid, attention = (part.to(device) for part in networks(backbone))
    both = torch.from_numpy(np.concatenate(faces(pairs))).float().to(device)
    weights = torch.full((7, 7), 1 / 49, device=device)

    def done(score: Any) -> object:
        if device == "cuda":
            torch.cuda.synchronize()
        return score

    def by_fc() -> object:
        embeddings = fc(trunk(both))
        return done((embeddings[:pairs] * embeddings[pairs:]).sum(dim=1))

    def by_fixed() -> object:
        a, b = grid(trunk(both)).split(pairs)
        return done((grid_cosine(a, b) * weights).sum(dim=(1, 2)))

    def by_learned() -> object:
        a, b = grid(trunk(both)).split(pairs)
        return done((grid_cosine(a, b) * attention(a, b)).sum(dim=(1, 2)))

    return {"fc": by_fc, "u": by_fixed, "p": by_fixed, "l": by_learned}


def alternate(compares: dict[str, Compare], rounds: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Time each kind once per round, in random order; return milliseconds."""
    times: dict[str, list[float]] = {kind: [] for kind in compares}
    for _ in range(rounds):
        for kind in rng.permutation(list(compares)):
            start = time.perf_counter()
            compares[kind]()
            times[kind].append(1000 * (time.perf_counter() - start))
    return {kind: np.array(values) for kind, values in times.items()}


def summarise(times: dict[str, NDArray[np.float64]], pairs: int, rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    """Return medians per pair, and their ratio to FC with a 95 % interval by resampling the rounds."""
    rounds = len(times["fc"])
    draws = rng.integers(rounds, size=(2000, rounds))
    fc = np.median(times["fc"][draws], axis=1)
    found = {}
    for kind, values in times.items():
        ratios = np.median(values[draws], axis=1) / fc
        low, high = np.percentile(ratios, [2.5, 97.5])
        found[kind] = {
            "ms_per_pair": round(float(np.median(values)) / pairs, 4),
            "ratio_to_fc": round(float(np.median(values) / np.median(times["fc"])), 4),
            "ratio_95_percent": [round(float(low), 4), round(float(high), 4)],
        }
    return found


def operations(backbone: str) -> dict[str, int]:
    """Count the floating-point operations of one pair, and of its parts."""
    import torch  # noqa: PLC0415
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415

    counts = {}
    with torch.no_grad():
        for kind, compare in on_device(backbone, "cpu", 1).items():
            with FlopCounterMode(display=False) as counter:
                compare()
            counts[kind] = counter.get_total_flops()
    return counts


def parameters(backbone: str) -> dict[str, int]:
    """Count the parameters that each kind needs."""
    trunk, fc, grid, attention = (sum(value.numel() for value in part.parameters()) for part in networks(backbone))
    return {"fc": trunk + fc, "u": trunk + grid, "p": trunk + grid + 49, "l": trunk + grid + attention}


def peak_of_this_process(backbone: str, kind: str, folder: Path, threads: int) -> float:
    """Open and compare once; return MiB of resident memory beyond that of the interpreter and the libraries."""
    before = _status("VmRSS")
    compare = on_cpu(backbone, kind, folder, threads, 1)
    for _ in range(3):
        compare()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def peak_memory(backbone: str, kind: str, folder: Path, threads: int, repeats: int) -> float | None:
    """Return the median peak of several processes in MiB; None if the system does not report it."""
    if not Path("/proc/self/status").exists():
        return None
    command = [sys.executable, __file__, "--peak", backbone, kind, str(folder), "--threads", str(threads)]
    found = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(repeats)]
    return round(float(np.median(found)), 1)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all backbones."""
    import torch  # noqa: PLC0415

    from whyface.explain.verdict import software_versions  # noqa: PLC0415

    rng = np.random.default_rng(args.seed)
    report: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for backbone in args.backbones:
            write_files(backbone, folder)
            rows: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
            flops, sizes = operations(backbone), parameters(backbone)
            for kind in KINDS:
                rows[kind] |= {"gflops_per_pair": round(flops[kind] / 1e9, 5), "parameters": sizes[kind]}
                rows[kind]["cpu_peak_mib"] = peak_memory(backbone, kind, folder, args.threads, args.repeats)
            compares = {kind: on_cpu(backbone, kind, folder, args.threads, 1) for kind in KINDS}
            alternate(compares, 10, rng)
            times = summarise(alternate(compares, args.rounds, rng), 1, rng)
            for kind in KINDS:
                rows[kind]["cpu"] = times[kind]
            if torch.cuda.is_available():
                on_gpu(backbone, rows, args, rng)
            report[backbone] = rows
            sys.stderr.write(f"{backbone}: {json.dumps(rows)}\n")
    return {
        "command": f"python benchmarks/cost_study.py --rounds {args.rounds} --threads {args.threads}",
        "question": "cost of one pair of aligned faces, nothing cached",
        "draft": args.draft,
        "rounds": args.rounds,
        "threads": args.threads,
        "gpu_batch": args.batch,
        "seed": args.seed,
        "cores": os.cpu_count(),
        "processor": platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "backbones": report,
        "versions": software_versions() | {"torch": torch.__version__},
    }


def on_gpu(backbone: str, rows: dict[str, dict[str, Any]], args: argparse.Namespace, rng: np.random.Generator) -> None:
    """Add time and peak memory on the GPU, for one pair and for a batch of pairs."""
    import torch  # noqa: PLC0415

    with torch.no_grad():
        for label, pairs in (("gpu", 1), ("gpu_batch", args.batch)):
            compares = on_device(backbone, "cuda", pairs)
            alternate(compares, 20, rng)
            times = summarise(alternate(compares, args.rounds, rng), pairs, rng)
            for kind in KINDS:
                torch.cuda.reset_peak_memory_stats()
                compares[kind]()
                peak = torch.cuda.max_memory_allocated() / 2**20
                rows[kind][label] = {**times[kind], "peak_mib_all_kinds_loaded": round(peak, 1)}


def table(record: dict[str, Any]) -> str:
    """Return the results as a table in Markdown."""
    gpu = record["gpu"] is not None
    head = ["", "parameters, M", "GFLOP a pair", "peak memory, MiB", "CPU, ms a pair", "times FC (95 %)"]
    head += ["GPU, ms a pair", "GPU in batches, ms a pair"] if gpu else []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for backbone, rows in record["backbones"].items():
        for kind, row in rows.items():
            low, high = row["cpu"]["ratio_95_percent"]
            cells = [
                f"{backbone} {kind.upper()}",
                f"{row['parameters'] / 1e6:.3f}",
                f"{row['gflops_per_pair']:.4f}",
                "not measured" if row["cpu_peak_mib"] is None else f"{row['cpu_peak_mib']:.0f}",
                f"{row['cpu']['ms_per_pair']:.2f}",
                "1" if kind == "fc" else f"{row['cpu']['ratio_to_fc']:.3f} ({low:.3f} to {high:.3f})",
            ]
            cells += [f"{row[name]['ms_per_pair']:.3f}" for name in ("gpu", "gpu_batch")] if gpu else []
            lines.append(f"| {' | '.join(cells)} |")
    if record["draft"]:
        lines += ["", "**Draft**: measured beside other work; the times and their ratios are rough."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3, help="processes whose peak memory is measured")
    parser.add_argument("--batch", type=int, default=64, help="pairs in a batch on the GPU")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draft", action="store_true", help="note that the machine was not quiet")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="Markdown file whose table is to be replaced")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        backbone, kind, folder = args.peak
        print(peak_of_this_process(backbone, kind, Path(folder), args.threads))
        return
    from whyface.files.integrity import write_atomic  # noqa: PLC0415

    record = measure(args)
    print(table(record))
    if args.out:
        write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())
    if args.table:
        text = args.table.read_text(encoding="utf-8")
        before, after = text.split(START)[0], text.split(END)[1]
        write_atomic(args.table, f"{before}{START}\n{table(record)}\n{END}{after}".encode())


if __name__ == "__main__":
    main()
