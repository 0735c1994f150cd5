"""Is S local? Cover a block of a face and measure at which distance the similarities change.

    python benchmarks/locality.py --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt \
        --out docs/studies/benchmarks/locality.json

Genuine LFW pairs; in face A, every block of 2 x 2 cells (32 x 32 pixels) in turn is painted with the face's mean
colour. The report has the mean |change of S| over cells at each distance (in cells, Chebyshev) from the covered block.
A network whose cells all depended on the whole face equally would give the same number at every distance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from records import publish
from whyface.data.pair_lists import read_lfw_pairs
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.progress import progress_bar
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.xcos.grid import grid_cosine
from whyface.xcos.model import XcosModel
from whyface.xcos.open_model import open_model

CELL, BLOCK, CELLS = 16, 2, 7


def distances(row: int, column: int) -> NDArray[np.int64]:
    """Return every cell's distance from the block whose first cell is (row, column); 0 inside."""
    index = np.arange(CELLS)

    def gap(start: int) -> NDArray[np.int64]:
        return np.maximum(0, np.maximum(start - index, index - (start + BLOCK - 1)))

    return np.maximum(gap(row)[:, None], gap(column)[None, :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--count", type=int, default=150, help="genuine pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="known model, or folder of your own")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    protocol = read_lfw_pairs(args.pairs)
    genuine = np.flatnonzero(protocol.genuine)
    chosen = np.random.default_rng(args.seed).choice(genuine, args.count, replace=False)
    model = open_model(args.model, threads=args.threads).model
    if not isinstance(model, XcosModel):
        raise SystemExit(f"{args.model} has no grid, so it has no S")
    places = [(i, j) for i in range(CELLS - BLOCK + 1) for j in range(CELLS - BLOCK + 1)]
    sums, counts = np.zeros(CELLS), np.zeros(CELLS)
    with open_pictures(args.lfw) as source, progress_bar("covering faces") as progress:
        for done, pair in enumerate(chosen):
            a, b = (
                source.read(protocol.pictures[side[pair]]).transpose(2, 0, 1)
                for side in (protocol.left, protocol.right)
            )
            covered = np.repeat(a[None], len(places), axis=0)
            for k, (i, j) in enumerate(places):
                covered[k, :, i * CELL : (i + BLOCK) * CELL, j * CELL : (j + BLOCK) * CELL] = a.mean(
                    axis=(1, 2)
                ).astype(np.uint8)[:, None, None]
            grids = model.grid(np.concatenate([np.stack([a, b]), covered]))
            before = grid_cosine(grids[:1], grids[1:2])[0]
            change = np.abs(grid_cosine(grids[2:], grids[1:2]) - before)
            for k, (i, j) in enumerate(places):
                np.add.at(sums, distances(i, j), change[k])
                np.add.at(counts, distances(i, j), 1)
            progress(done + 1, args.count)

    profile = (sums[counts > 0] / counts[counts > 0]).round(4)
    record = {
        "question": "mean |change of S| by distance in cells from a covered block of 2 x 2 cells",
        "command": f"python benchmarks/locality.py --lfw ... --pairs ... --count {args.count} --seed {args.seed}",
        "data": f"LFW, {args.count} genuine pairs, {len(places)} blocks each",
        "by_distance": profile.tolist(),
        "model": model.embedder.name,
        "model_sha256": model.embedder.sha256,
        "seed": args.seed,
        "versions": software_versions(),
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
