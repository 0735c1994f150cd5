r"""Does comparing only what both faces show help with faces that are turned apart? It does not.

    python -m studies.cross_pose --cfp cfp-aligned-112.tar --fsanet fsanet-1x1.onnx --fsanet fsanet-var.onnx

The article on xCos names frontalisation as future work (section 5.2). Without a 3-D model of a free licence, three ways
are compared with doing nothing: the mirror image of one face (mean, maximum, or where the two are turned to different
sides), and weights that rise or fall towards the side that is turned to the camera. The yaw is the mean of FSA-Net's
networks (Yang et al., CVPR 2019). Pairs are those of CFP-FP whose people the default model was not trained on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.data.open_protocol import open_protocol, parse_protocol
from whyface.evaluate.rates import equal_error, fold_accuracy
from whyface.files.progress import progress_bar
from whyface.onnx_runtime import open_session
from whyface.train.corpus import people_left_out
from whyface.xcos.comparison import SearchableComparison
from whyface.xcos.open_model import open_model

if TYPE_CHECKING:
    from whyface.onnx_runtime import InferenceSession

OVERLAP: Final = Path("docs/studies/lfw_overlap.json")
TURNED: Final = 15.0
"""Degrees of yaw beyond which a face counts as turned to a side."""

STRENGTHS: Final = (0.5, 1.0, 2.0, -0.5, -1.0, -2.0)
_HALF_TURN: Final = 45.0
_SIDE: Final = 64
_AT_ONCE: Final = 32

Grids = NDArray[np.floating[Any]]


def weighed_scores(first: Grids, second: Grids, visible: Grids | None = None) -> NDArray[np.float64]:
    """Return the factorised score of pairs of grids (N, C, H, W), its weights times ``visible``, (N, H, W)."""
    one, other = first.astype(np.float64), second.astype(np.float64)
    weights = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    if visible is not None:
        weights = weights * visible
    cosines = (one * other).sum(axis=1) / np.maximum(np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1), 1e-9)
    return np.asarray((cosines * weights).sum(axis=(1, 2)) / weights.sum(axis=(1, 2)))


def ways(
    first: Grids, mirrored: Grids, second: Grids, yaw: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return the scores of N pairs by each way; ``mirrored`` are the first faces' mirror images, yaw in degrees."""
    plain, mirror = weighed_scores(first, second), weighed_scores(mirrored, second)
    apart = (np.sign(yaw[0]) != np.sign(yaw[1])) & (np.minimum(abs(yaw[0]), abs(yaw[1])) > TURNED)
    found = {
        "nothing": plain,
        "mean with the mirror image": (plain + mirror) / 2,
        "the better of both": np.maximum(plain, mirror),
        "mirror image where turned apart": np.where(apart, mirror, plain),
    }
    column = np.linspace(-1, 1, first.shape[3])
    turn = (yaw[0] + yaw[1])[:, None, None] / _HALF_TURN
    for strength in STRENGTHS:
        found[f"visibility, {strength:+g}"] = weighed_scores(first, second, np.exp(strength * turn * column))
    return found


def read_yaw(networks: list[InferenceSession], face: NDArray[np.uint8]) -> float:
    """Return the yaw of an aligned RGB face in degrees, as FSA-Net reads it: 64 x 64, BGR, (x - 127.5) / 128."""
    small = (cv2.resize(face[:, :, ::-1], (_SIDE, _SIDE)).astype(np.float32) - 127.5) / 128
    batch = np.ascontiguousarray(small.transpose(2, 0, 1))[None]
    return float(np.mean([one.run(None, {one.get_inputs()[0].name: batch})[0][0][0] for one in networks]))


def features(comparison: SearchableComparison, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the grids of faces (N, 112, 112, 3)."""
    batch = np.ascontiguousarray(faces.transpose(0, 3, 1, 2))
    return np.concatenate([comparison.features(batch[k : k + _AT_ONCE]) for k in range(0, len(batch), _AT_ONCE)])


def main() -> None:
    """Measure, and print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cfp", type=Path, required=True, help="aligned pictures of CFP, a folder or tar file")
    parser.add_argument("--fsanet", type=Path, action="append", required=True, help="network for the yaw")
    parser.add_argument("--pairs", type=int, help="only so many pairs, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    networks = [open_session(path.read_bytes(), threads=args.threads) for path in args.fsanet]
    comparison = open_model("xcos-large", threads=args.threads).comparison()
    unseen = people_left_out(OVERLAP)
    source, protocol = open_protocol(parse_protocol("cfp-fp"), args.cfp)
    people = np.array([f"cfp/{person}" in unseen for person in protocol.people])
    numbers = np.flatnonzero(people[protocol.left] & people[protocol.right])
    if args.pairs is not None:
        numbers = np.sort(np.random.default_rng(args.seed).permutation(numbers)[: args.pairs])
    sides = [protocol.left[numbers], protocol.right[numbers]]
    rows = np.unique(np.concatenate(sides))
    grids, mirrors, yaws = [], [], []
    with source, progress_bar("running the networks") as progress:
        for start in range(0, len(rows), _AT_ONCE):
            faces = np.stack([source.read(protocol.pictures[row]) for row in rows[start : start + _AT_ONCE]])
            grids.append(features(comparison, faces))
            mirrors.append(features(comparison, faces[:, :, ::-1]))
            yaws += [read_yaw(networks, face) for face in faces]
            progress(min(start + _AT_ONCE, len(rows)), len(rows))
    grid, mirror, yaw = np.concatenate(grids), np.concatenate(mirrors), np.array(yaws)
    left, right = (np.searchsorted(rows, side) for side in sides)
    genuine, fold = protocol.genuine[numbers], protocol.fold[numbers]
    print(json.dumps({"pairs": len(numbers), "genuine": int(genuine.sum())}))
    for name, scores in ways(grid[left], mirror[left], grid[right], (yaw[left], yaw[right])).items():
        accuracy = fold_accuracy(scores.astype(np.float32), genuine, fold)
        error = equal_error(scores.astype(np.float32), genuine).rate
        print(f"{name:32} {100 * accuracy.mean:.2f} +- {100 * accuracy.standard_error:.2f}, EER {100 * error:.2f} %")


if __name__ == "__main__":
    main()
