r"""Plug xCos into the frozen mobilefacenet-large, and compare U, P and L with its own FC layer.

    python -m studies.plug_in.study --network mobilefacenet-large.onnx --cfp cfp-aligned-112.tar \
        --glint glint24-aligned-112.tar --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt \
        --overlap docs/studies/lfw_overlap.json --cache runs/plug-in-maps --model runs/plug-in-large

Trained on CFP and a Glint360K sample without the people in LFW. LFW is measured with a fit on all of them; CFP with two
fits, on the people of folds 1 to 5 and of folds 6 to 10, each tested on the other five folds. Maps are cached, so that
a second run does not need the network.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from whyface.data.pair_lists import read_cfp_pairs, read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.evaluate.rates import equal_error, fold_accuracy, tar_at_fmr
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.train.corpus import people_left_out
from whyface.train.plug_in import PlugIn, PlugInSettings, fit_xcos
from whyface.train.viewed_maps import FrozenMaps, freeze_maps
from whyface.xcos.grid import grid_cosine, normalise_attention, xcos_score

Scores = dict[str, NDArray[np.floating[Any]]]
GRID: Final = "/m/PRelu_33_output_0"
"""The last map, 64 x 7 x 7: after the 1 x 1 convolution, before the FC layer."""
HALVES: Final = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))


def people_of(names: tuple[str, ...]) -> list[str]:
    """Return ``cfp/<id>`` for ``cfp/Images/<id>/frontal/01.jpg`` and ``glint/<name>`` for ``glint24/<name>/0.jpg``."""
    parts = [name.split("/") for name in names]
    return [f"cfp/{part[2]}" if part[0] == "cfp" else f"glint/{part[1]}" for part in parts]


def cached(
    cache: Path, key: str, network: OnnxEmbedder, path: Path, names: tuple[str, ...], *, mirror: bool
) -> FrozenMaps:
    """Run the network over pictures, or read the cached result."""
    file = cache / f"{key}-{network.sha256[:12]}.npz"
    people = np.array(people_of(names)) if key == "train" else np.array(names)
    if file.exists():
        with np.load(file) as stored:
            labels = np.unique(people, return_inverse=True)[1]
            used = dict.fromkeys(("network", "teacher"), network.name)
            used |= {f"{name}_sha256": network.sha256 for name in ("network", "teacher")}
            return FrozenMaps(stored["maps"], stored["embeddings"], labels, used)
    with open_pictures(path) as source, progress_bar(f"Running the network: {key}") as progress:
        faces = np.stack([source.read(name).transpose(2, 0, 1) for name in names])
        frozen = freeze_maps(network, faces, people, mirror=mirror, progress=progress)
    np.savez(file, maps=frozen.maps, embeddings=frozen.embeddings)
    return frozen


def joined(parts: list[FrozenMaps], people: list[str]) -> tuple[FrozenMaps, NDArray[np.str_]]:
    """Join sets of pictures."""
    names = np.array(people)
    maps = np.concatenate([part.maps for part in parts], axis=1)
    embeddings = np.concatenate([part.embeddings for part in parts], axis=1)
    labels = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return FrozenMaps(maps, embeddings, labels, parts[0].names), names


@torch.no_grad()
def scores_of(plug: PlugIn, frozen: FrozenMaps, protocol: PairProtocol, rows: NDArray[np.intp]) -> Scores:
    """Score pairs by the network's own FC layer and by U, P and L."""
    grids = plug.grid(frozen.maps[0])
    embeddings = frozen.embeddings[0]
    weights = normalise_attention(plug.correlated)
    found: dict[str, list[NDArray[np.floating[Any]]]] = {kind: [] for kind in ("fc", "u", "p", "l")}
    for part in np.array_split(rows, max(1, len(rows) // 1000)):
        a, b = protocol.left[part], protocol.right[part]
        similarity = grid_cosine(grids[a], grids[b])
        found["fc"].append((embeddings[a] * embeddings[b]).sum(axis=1))
        found["u"].append(similarity.mean(axis=(1, 2)))
        found["p"].append(xcos_score(similarity, np.broadcast_to(weights, similarity.shape)))
        found["l"].append(plug.xcos.xcos(torch.from_numpy(grids[a]), torch.from_numpy(grids[b])).score.numpy())
    return {kind: np.concatenate(values) for kind, values in found.items()}


def measures(scores: Scores, genuine: NDArray[np.bool_], folds: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Summarise scores; ``folds`` has, for every pair, its fold and the part that its threshold may come from."""
    report: dict[str, Any] = {}
    accuracies: dict[str, NDArray[np.float64]] = {}
    for kind, values in scores.items():
        parts = [folds["part"] == part for part in np.unique(folds["part"])]
        each = [fold_accuracy(values[part], genuine[part], folds["fold"][part]).accuracy for part in parts]
        accuracies[kind] = np.concatenate([np.asarray(one) for one in each])
        report[kind] = {
            "accuracy": round(100 * float(accuracies[kind].mean()), 3),
            "standard_error": round(100 * float(accuracies[kind].std(ddof=1) / np.sqrt(len(accuracies[kind]))), 3),
            "fold_accuracies": [round(100 * float(value), 3) for value in accuracies[kind]],
        }
        if len(parts) == 1:
            eer = equal_error(values, genuine).rate
            report[kind]["eer"] = round(100 * float(eer), 3)
            report[kind]["tar_at_far_1e-3"] = round(100 * float(tar_at_fmr(values, genuine, 1e-3)), 3)
    for kind in ("u", "p", "l"):
        gap = 100 * (accuracies[kind] - accuracies["fc"])
        report[kind]["less_fc"] = round(float(gap.mean()), 3)
        report[kind]["less_fc_standard_error"] = round(float(gap.std(ddof=1) / np.sqrt(len(gap))), 3)
    return report


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("network", "cfp", "glint", "lfw", "pairs", "overlap", "cache"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="write the model here, a folder that every command opens")
    parser.add_argument("--head", choices=["placed", "shared"], default="placed")
    parser.add_argument("--sigma", type=float, default=PlugInSettings.sigma)
    parser.add_argument("--grid-channels", type=int, default=PlugInSettings.grid_channels)
    parser.add_argument("--steps", type=int, default=PlugInSettings.steps)
    parser.add_argument("--head-lr", type=float, default=PlugInSettings.head_lr)
    parser.add_argument("--attention-lr", type=float, default=PlugInSettings.attention_lr)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only-lfw", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    """Fit, measure, and write the results."""
    args = arguments()
    torch.set_num_threads(args.threads)
    console = Console(stderr=True)
    args.cache.mkdir(parents=True, exist_ok=True)
    network = OnnxEmbedder(args.network, grid=GRID, threads=args.threads)
    left_out = people_left_out(args.overlap)
    parts, people = [], []
    for key, path in (("cfp", args.cfp), ("glint", args.glint)):
        with open_pictures(path) as source:
            every = source.names()
        names = tuple(name for name, person in zip(every, people_of(every), strict=True) if person not in left_out)
        parts.append(cached(args.cache, f"train-{key}", network, path, names, mirror=True))
        people += people_of(names)
    training, who = joined(parts, people)
    settings = PlugInSettings(
        head=args.head,
        sigma=args.sigma,
        grid_channels=args.grid_channels,
        steps=args.steps,
        head_lr=args.head_lr,
        attention_lr=args.attention_lr,
        seed=args.seed,
    )

    def fit(chosen: NDArray[np.bool_], what: str) -> PlugIn:
        began = time.monotonic()
        with progress_bar(f"Fitting on {what}") as progress:
            plug = fit_xcos(network, training.of(chosen), settings=settings, progress=progress)
        console.print(
            f"{what}: {plug.trained_on['pictures']} pictures of {plug.trained_on['people']} people, "
            f"{time.monotonic() - began:.0f} s, loss {np.mean(plug.losses[-20:]):.5f}"
        )
        return plug

    report: dict[str, Any] = {}
    sizes: dict[str, Any] = {}
    whole = fit(np.ones(len(who), bool), "all people")
    lfw = read_lfw_pairs(args.pairs)
    frozen = cached(args.cache, "lfw", network, args.lfw, lfw.pictures, mirror=False)
    rows = np.arange(len(lfw.left))
    report["lfw"] = measures(
        scores_of(whole, frozen, lfw, rows), lfw.genuine, {"fold": lfw.fold, "part": np.zeros_like(lfw.fold)}
    )
    sizes["lfw"] = whole.trained_on
    console.print(report["lfw"])
    if args.model is not None:
        whole.save(args.model, training_data="CFP and a Glint360K sample, without people who are or may be in LFW")
    with open_pictures(args.cfp) as source:
        protocols = {kind: read_cfp_pairs(source, kind) for kind in ("FF", "FP")}
    if not args.only_lfw:
        report |= cross_fitted(args, network, protocols, who, fit, sizes)
        console.print(report)
    record = {
        "command": "python -m studies.plug_in.study --network ... --cfp ... --glint ... --lfw ... --pairs ... "
        "--overlap docs/studies/lfw_overlap.json --cache ... "
        f"--head {args.head} --steps {args.steps} --seed {args.seed}",
        "grid": GRID,
        "settings": settings.to_dict(),
        "trained_on": sizes,
        "tested_on": {
            "lfw": "6000 pairs, 10 folds, nobody of LFW was trained on",
            "cfp-ff, cfp-fp": "7000 pairs each; folds 1 to 5 by a fit on people of folds 6 to 10, and the other way "
            "round; thresholds from the other four folds of the same fit",
        },
        "mirror_images": False,
        "report": report,
        "threads": args.threads,
        "versions": software_versions() | {"torch": torch.__version__},
    }
    text = json.dumps(record, indent=1)
    if args.out is not None:
        write_atomic(args.out, f"{text}\n".encode())


def cross_fitted(
    args: argparse.Namespace,
    network: OnnxEmbedder,
    protocols: Mapping[str, PairProtocol],
    who: NDArray[np.str_],
    fit: Any,
    sizes: dict[str, Any],
) -> dict[str, Any]:
    """Measure CFP by two fits, neither of which was trained on the people that it is tested on."""
    report: dict[str, Any] = {}
    maps = {
        kind: cached(args.cache, f"cfp-{kind.lower()}", network, args.cfp, protocol.pictures, mirror=False)
        for kind, protocol in protocols.items()
    }
    found: dict[str, Scores] = {}
    for tested in HALVES:
        of_tested: set[str] = set()
        for protocol in protocols.values():
            here = np.isin(protocol.fold, tested)
            of_tested |= {f"cfp/{person}" for person in [*protocol.people_left[here], *protocol.people_right[here]]}
        plug = fit(~np.isin(who, list(of_tested)), f"people outside folds {tested[0] + 1} to {tested[-1] + 1}")
        sizes[f"cfp folds {tested[0] + 1} to {tested[-1] + 1}"] = plug.trained_on
        for kind, protocol in protocols.items():
            rows = np.flatnonzero(np.isin(protocol.fold, tested))
            for name, values in scores_of(plug, maps[kind], protocol, rows).items():
                empty = np.zeros(len(protocol.left), np.float64)
                found.setdefault(kind, {}).setdefault(name, empty)[rows] = values
    for kind, protocol in protocols.items():
        part = np.isin(protocol.fold, HALVES[1]).astype(int)
        report[f"cfp-{kind.lower()}"] = measures(found[kind], protocol.genuine, {"fold": protocol.fold, "part": part})
    return report


if __name__ == "__main__":
    main()
