r"""How much accuracy could attention regain on covered faces if it knew what is covered? The "why" of the study.

    python -m studies.occlusion.limits --data lfw-aligned-112.tar --pairs lfw-pairs.txt --model xcos-mobilefacenet \
        --reliability studies/reliability/xcos-mobilefacenet-reliability.safetensors \
        --out docs/studies/occlusion-limits.json

The masks are those of the study. Attention is weighted by what no system can know: the share of each cell's own pixels
that is uncovered, or the cosine between the cell's features with and without the mask. The second is what an ideal
reliability would be.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.occlusion.conditions import Condition, StudyModel, clean_features, covered_sides, open_study_model
from studies.reliability.cells import open_reliability, reweigh
from whyface.data.covering import apply_mask
from whyface.data.pair_lists import read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.errors import ModelError
from whyface.evaluate.rates import fold_accuracy
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.xcos.grid import grid_cosine
from whyface.xcos.model import XcosModel
from whyface.xcos.open_model import attention_kind

Grids = NDArray[np.float32]
BATCH = 64
LEAST = 0.01
"""Weight of a completely covered cell, so that no map becomes empty."""
POWERS = (1, 2, 4)


def main() -> None:
    """Cover faces, weight attention, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="aligned LFW, folder or tar")
    parser.add_argument("--pairs", type=Path, required=True, help="LFW's pairs.txt")
    parser.add_argument("--model", default="xcos-mobilefacenet")
    parser.add_argument("--reliability", type=Path, help="fitted for this model")
    parser.add_argument("--percent", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    fitted, _ = open_reliability(args.reliability) if args.reliability else ({}, {})
    model = open_study_model(args.model, threads=args.threads)
    method = model.scoring.model
    if not isinstance(method, XcosModel):
        raise ModelError(f"{args.model}: has no grid, so there is no attention to weight")
    protocol = read_lfw_pairs(args.pairs)
    condition = Condition(f"free-{args.percent}", args.percent)
    with open_pictures(args.data) as source:
        with progress_bar("clean faces") as progress:
            clean = clean_features(model, source, protocol, progress=progress)
        sides, shares = covered(model, source, protocol, condition, clean, args.seed)
    whole = [clean[protocol.left], clean[protocol.right]]
    # One face of a pair is covered; the cells of the other are unchanged and have weight 1.
    kept = np.maximum(grid_cosine(sides[0], whole[0]) * grid_cosine(sides[1], whole[1]), LEAST)
    seen = np.maximum(shares, LEAST)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for name in model.scoring.comparisons:
        kind = attention_kind(name)
        before = method.compare_grids(whole[0], whole[1], kind)
        maps = method.compare_grids(sides[0], sides[1], kind)
        ones = np.ones_like(seen)
        weights = {"attention alone": maps.attention}
        for power in POWERS:
            weights[f"x uncovered share^{power}"] = reweigh(maps.attention, seen**power, ones)
            weights[f"x true likeness^{power}"] = reweigh(maps.attention, kept**power, ones)
        if kind in fitted:
            weights["x reliability"] = reweigh(maps.attention, fitted[kind](sides[0]), fitted[kind](sides[1]))
        whole_accuracy = fold_accuracy(before.score, protocol.genuine, protocol.fold).mean
        rows[name] = {"clean": {"accuracy": round(100 * whole_accuracy, 3)}}
        for what, used in weights.items():
            found = fold_accuracy((maps.similarity * used).sum(axis=(1, 2)), protocol.genuine, protocol.fold)
            rows[name][what] = {
                "accuracy": round(100 * found.mean, 3),
                "standard_error": round(100 * found.standard_error, 3),
                "drop": round(100 * (whole_accuracy - found.mean), 3),
            }
            print(name, what, rows[name][what], flush=True)
    record: dict[str, Any] = {
        "study": "what attention could win back if it knew what is covered; thresholds chosen anew",
        "command": f"python -m studies.occlusion.limits --data ... --pairs ... --model {Path(args.model).name} "
        f"--percent {args.percent} --seed {args.seed} --out ...",
        "model": model.scoring.name,
        "sha256": dict(model.scoring.sha256),
        "pairs": len(protocol.genuine),
        "percent": args.percent,
        "seed": args.seed,
        "results": rows,
        "versions": software_versions(),
    }
    write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())


def covered(
    model: StudyModel, source: PictureSource, protocol: PairProtocol, condition: Condition, clean: Grids, seed: int
) -> tuple[list[Grids], NDArray[np.float64]]:
    """Cover one face of each pair with the study's masks; return both sides' grids and each cell's uncovered share."""
    sides = [clean[protocol.left], clean[protocol.right]]
    height, width = clean.shape[2:]
    shares = np.ones((len(protocol.genuine), height, width))
    rng = np.random.default_rng([seed, *condition.key.encode()])
    chosen = covered_sides(len(protocol.genuine), "one", seed)
    work = [(side, int(row)) for side in (0, 1) for row in np.flatnonzero(chosen[side])]
    pictures = (protocol.left, protocol.right)
    with progress_bar(condition.key) as progress:
        for start in range(0, len(work), BATCH):
            part, faces = work[start : start + BATCH], []
            for side, row in part:
                mask = condition.mask(rng)
                assert mask is not None
                faces.append(apply_mask(source.read(protocol.pictures[pictures[side][row]]), mask))
                cells = mask.reshape(height, mask.shape[0] // height, width, mask.shape[1] // width)
                shares[row] = 1 - cells.mean(axis=(1, 3))
            grids = model.features(np.ascontiguousarray(np.stack(faces).transpose(0, 3, 1, 2)))
            for (side, row), grid in zip(part, grids, strict=True):
                sides[side][row] = grid
            progress(start + len(part), len(work))
    return sides, shares


if __name__ == "__main__":
    main()
