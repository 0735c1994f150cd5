r"""Make the model xcos-large: the frozen mobilefacenet-large with a grid head and attention that factorises.

    python scripts/train_large.py --network mobilefacenet-large.onnx --celeba celeba290-aligned-112.tar \
        --cfp cfp-aligned-112.tar --glint glint24-aligned-112.tar --overlap docs/studies/lfw_overlap.json \
        --cache runs/large --out runs/large/xcos-large

The cache keeps the maps of the training pictures by view, and the fitted head by its settings, so that a run can be
resumed. People who are or may be in LFW are not trained on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from factorised_fit import FactorisedSettings, ViewedMaps, as_placed, fit_factorised, grids_of
from onnx_rewriting import replace_prelu
from picture_views import PictureSet, read_views
from weighed_files import round_placed, write_weighed
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.models.backbones import LargeMobileFaceNet, PreluMobileFaceNet
from whyface.models.linear_head import LinearHead, linear_head
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.placed_fc import WeighedHead, WeighedNetwork
from whyface.train.corpus import people_left_out
from whyface.train.objective import correlated_attention

Trunk = TypeVar("Trunk", bound=PreluMobileFaceNet)

GRID: Final = "/m/PRelu_33_output_0"
"""The last map, 64 x 7 x 7: after the 1 x 1 convolution, before the FC layer."""

CLEAN: Final = ("plain", "mirror")
DEGRADED: Final = ("poor-1", "poor-2", "poor-3")
SETTINGS: Final = FactorisedSettings(sigma=1.6, steps=800, head_lr=2e-4, identity=0.05, place=3.0, degraded=0.0)
"""Chosen on 182 people held out of training, none of them in LFW; see docs/studies/large.md."""

TRAINING_DATA: Final = (
    "The trunk, mobilefacenet-large: not stated by its authors. Head and attention: CFP, a CelebA sample (290 people; "
    "non-commercial research, no redistribution of the pictures) and a Glint360K sample, without people who are or may "
    "be in LFW"
)


def fast_network(path: Path, cache: Path, threads: int) -> OnnxEmbedder:
    """Open the network with its PReLUs rewritten, which computes the same faster."""
    cache.mkdir(parents=True, exist_ok=True)
    model = onnx.load(path)
    replace_prelu(model)
    fast = cache / f"{path.stem}-fast.onnx"
    write_atomic(fast, model.SerializeToString())
    return OnnxEmbedder(fast, grid=GRID, threads=threads, name=path.stem)


def training_sets(args: argparse.Namespace) -> list[PictureSet]:
    """Return the training pictures: all of celeba290, and those of CFP and glint24 without people who may be in LFW."""
    left_out = people_left_out(args.overlap)
    sets = []
    for key, path, place in (("celeba", args.celeba, 1), ("cfp", args.cfp, 2), ("glint", args.glint, 1)):
        with open_pictures(path) as source:
            every = [(name, f"{key}/{name.split('/')[place]}") for name in source.names()]
        kept = [(name, person) for name, person in every if person not in left_out]
        sets.append(PictureSet(key, path, tuple(name for name, _ in kept), tuple(person for _, person in kept)))
    return sets


def load_trunk(path: Path, trunk: Trunk) -> Trunk:
    """Read a trunk from a published ONNX file; its layers are there in the order in which they run."""
    graph = onnx.load(path).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor).copy() for tensor in graph.initializer}
    found = [values for node in graph.node if (values := _layer(node, tensors))]
    layers = [module for module in trunk.modules() if isinstance(module, nn.Conv2d | nn.PReLU)]
    # Behind the trunk, the file has the network's own head.
    for layer, values in zip(layers, found[: len(layers)], strict=True):
        for parameter, value in zip(layer.parameters(), values, strict=True):
            parameter.data = torch.from_numpy(value).reshape(parameter.shape)
    return trunk.eval().requires_grad_(False)


def _layer(node: onnx.NodeProto, tensors: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return the tensors of a convolution or PReLU; TensorFlow's is relu(x) + slope / 2 * (x - |x|)."""
    named = [tensors[name] for name in node.input if name in tensors]
    if node.op_type in {"Conv", "PRelu"}:
        return named
    return [2 * named[0]] if node.op_type == "Mul" and named else []


def fitted_head(
    cache: Path, maps: ViewedMaps, head: LinearHead, chosen: NDArray[np.bool_], settings: FactorisedSettings, what: str
) -> WeighedHead:
    """Fit a head on chosen pictures, or read what an earlier run fitted with the same settings on as many of them."""
    about = json.dumps([asdict(settings), what, len(maps.clean), len(maps.degraded), chosen.tolist()])
    path = cache / f"head-{hashlib.sha256(about.encode()).hexdigest()[:16]}.pt"
    if path.exists():
        empty = FactorisedSettings(**{**asdict(settings), "steps": 0})
        fitted, _ = fit_factorised(maps, head.weights, chosen=chosen, settings=empty)
        fitted.load_state_dict(torch.load(path, weights_only=True))
        return fitted
    with progress_bar(f"Fitting on {what}") as progress:
        fitted, losses = fit_factorised(maps, head.weights, chosen=chosen, settings=settings, progress=progress)
    Console(stderr=True).print(f"{what}: {int(chosen.sum())} pictures, loss {np.mean(losses[-50:]):.5f}")
    torch.save(fitted.state_dict(), path)
    return fitted


def arguments(description: str | None = __doc__) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("network", "celeba", "cfp", "glint", "overlap", "cache", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=SETTINGS.steps)
    parser.add_argument("--seed", type=int, default=SETTINGS.seed)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Read maps, fit, round, write."""
    args = arguments()
    torch.set_num_threads(args.threads)
    network = fast_network(args.network, args.cache, args.threads)
    _, own_head = linear_head(network)
    sets = training_sets(args)
    with progress_bar("Running the network") as progress:
        maps, who = read_views(args.cache, network, own_head, sets, clean=CLEAN, degraded=DEGRADED, progress=progress)
    settings = FactorisedSettings(**{**asdict(SETTINGS), "steps": args.steps, "seed": args.seed})
    everybody = np.ones(len(who), bool)
    head = as_placed(fitted_head(args.cache, maps, own_head, everybody, settings, "all people"))
    lost = round_placed(head)
    grids = grids_of(head, maps.clean[0])
    correlated = correlated_attention(grids, maps.targets, maps.people, seed=args.seed)
    about: dict[str, Any] = {
        "settings": asdict(settings),
        "trained_on": {one.key: {"pictures": len(one.names), "people": len(set(one.people))} for one in sets},
        "views": {"clean": CLEAN, "degraded": DEGRADED},
        "rounding_error": round(lost, 5),
    }
    entry = write_weighed(
        WeighedNetwork(load_trunk(args.network, LargeMobileFaceNet()), head),
        args.out,
        name="xcos-large",
        correlated=correlated,
        summary="xCos on mobilefacenet-large: a 32 x 7 x 7 grid with attention that factorises.",
        licence="MIT (trunk), Apache-2.0 (head)",
        training_data=TRAINING_DATA,
        source=f"whyface; trunk: espressif/esp-dl, human_face_feat_mbf, SHA-256 {OnnxEmbedder(args.network).sha256}",
        about=about,
    )
    for role, file in entry.files.items():
        print(role, file.file_name, file.bytes)
    print(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
