"""How much of an FC network's accuracy does a grid head keep without any training?

    PYTHONPATH=scripts python benchmarks/untrained_heads.py --teacher mobilefacenet-ms1m.safetensors \
        --cfp cfp-aligned-112.tar --glint glint24-aligned-112.tar --overlap docs/studies/lfw_overlap.json \
        --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt --out docs/studies/benchmarks/untrained_heads.json

The trunk is the FC network's own, frozen. Each placed head starts from the FC head and is centred on training pictures;
nothing is trained. There are two attentions that need no training: uniform, and proportional to the product of the two
features' lengths. LFW, 10 folds, no mirror images.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from corpus import load_corpus
from whyface.data.pair_lists import read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.evaluate.rates import fold_accuracy, tar_at_fmr
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.models.backbones import MobileFaceNet
from whyface.models.heads import GdcHead, PlacedGridHead
from whyface.train.corpus import people_left_out
from whyface.train.networks import read_safetensors, split_state
from whyface.xcos.learned import grid_cosine

CHUNK = 500


def scores_of(grid: Tensor, protocol: PairProtocol) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Score all pairs with uniform weights and with weights by feature length."""
    lengths = grid.norm(dim=1)
    uniform, by_length = [], []
    for start in range(0, len(protocol.left), CHUNK):
        a, b = (torch.from_numpy(side[start : start + CHUNK]) for side in (protocol.left, protocol.right))
        similarity = grid_cosine(grid[a], grid[b])
        weights = lengths[a] * lengths[b]
        weights = weights / weights.sum(dim=(1, 2), keepdim=True)
        uniform.append(similarity.mean(dim=(1, 2)))
        by_length.append((similarity * weights).sum(dim=(1, 2)))
    return {"uniform": torch.cat(uniform).numpy(), "by length": torch.cat(by_length).numpy()}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("teacher", "cfp", "glint", "overlap", "lfw", "pairs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--sigma", type=float, nargs="+", default=[0.3, 0.7, 1.0, 1.4, 2.0, 100.0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    trunk, head = MobileFaceNet().eval(), GdcHead().eval()
    split_state(read_safetensors(args.teacher), {"trunk": trunk, "head": head}, str(args.teacher))
    protocol = read_lfw_pairs(args.pairs)
    maps = []
    with open_pictures(args.lfw) as source, progress_bar("LFW") as progress:
        for start in range(0, len(protocol.pictures), 64):
            names = protocol.pictures[start : start + 64]
            faces = np.stack([source.read(name).transpose(2, 0, 1) for name in names])
            maps.append(trunk(torch.from_numpy(faces).float()).to(torch.bfloat16))
            progress(start + len(names), len(protocol.pictures))
    corpus, _ = load_corpus(args.cfp, args.glint, people_left_out(args.overlap), held_out=20, seed=args.seed)
    training = torch.cat([trunk(part.float()) for part in torch.split(corpus.pictures[::5], 64)])

    def run(module: nn.Module) -> Tensor:
        return torch.cat([module(torch.cat(maps[i : i + 8]).float()) for i in range(0, len(maps), 8)])

    rows: list[dict[str, Any]] = []

    def add(name: str, scores: np.ndarray[Any, np.dtype[np.float32]], **extra: Any) -> None:
        accuracy = round(100 * fold_accuracy(scores, protocol.genuine, protocol.fold).mean, 2)
        tar = round(100 * tar_at_fmr(scores, protocol.genuine, 1e-3), 2)
        rows.append({"head": name, **extra, "accuracy": accuracy, "tar_at_far_1e-3": tar})
        print(rows[-1])

    embedding = run(head)
    add("FC", (embedding[protocol.left] * embedding[protocol.right]).sum(1).numpy())
    raw = torch.cat([part.float() for part in maps])
    for attention, scores in scores_of(raw, protocol).items():
        add("none: the raw last map", scores, attention=attention)
    for sigma in args.sigma:
        for centred in (False, True):
            placed = PlacedGridHead(context=7)
            placed.take_over(head, sigma=sigma, generator=torch.Generator().manual_seed(args.seed))
            if centred:
                placed.centre(placed(training).mean(dim=0))
            for attention, scores in scores_of(run(placed), protocol).items():
                add("placed", scores, sigma=sigma, centred=centred, attention=attention)
    record = {
        "question": "LFW accuracy (percent) of grid heads taken over from an FC head, nothing trained",
        "command": "python benchmarks/untrained_heads.py --teacher ... --cfp ... --glint ... --lfw ... --pairs ...",
        "data": "LFW, 6000 pairs, 10 folds; centred on every fifth training picture",
        "rows": rows,
        "seed": args.seed,
        "versions": {**software_versions(), "torch": torch.__version__},
    }
    if args.out:
        write_atomic(args.out, (json.dumps(record, indent=1) + "\n").encode())
    sys.stdout.write(f"{len(rows)} rows\n")


if __name__ == "__main__":
    main()
