r"""Can a small model be trained as a whole? mobilefacenet192 with a grid head and attention that factorises.

    PYTHONPATH=scripts python -m studies.small_model --network mobilefacenet192.onnx \
        --teacher mobilefacenet-large.onnx --celeba celeba290-aligned-112.tar --cfp cfp-aligned-112.tar \
        --glint glint24-aligned-112.tar --fairface fairface-aligned-112.tar \
        --overlap docs/studies/lfw_overlap.json --device cuda --state runs/small.pt --out runs/xcos-small

The score of two pictures learns the cosine that the teacher's own FC layer has for them, or with ``--own-targets`` the
network's. FairFace, one picture a person
and no names, gives strangers. People who are or may be in LFW are not trained on. ``--held-out`` keeps a third of the
people for measuring instead, by which the settings were chosen; see docs/studies/large.md.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from choose_large import held_out, measured
from factorised_fit import FactorisedSettings, pair_loss
from train_large import TRAINING_DATA, load_trunk, training_sets
from whyface.faces.pictures import open_pictures
from whyface.models.backbones import LargeMobileFaceNet, SmallMobileFaceNet
from whyface.models.heads import PlacedGridHead
from whyface.models.linear_head import linear_head
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.placed_fc import PlaceLogits, WeighedHead, WeighedNetwork
from whyface.models.preprocessing import ARCFACE_128
from whyface.train.config import OptimiserConfig, rate_factor
from whyface.train.corpus import people_batch, step_generator
from whyface.train.losses import WeightAverage
from whyface.xcos.learned import FactorisedXcos

TEACHER_GRID: Final = "/m/PRelu_33_output_0"
_EVALUATED_AT_ONCE: Final = 512
_TIMED: Final = 60
"""Steps after which the time for all is known; the rate is still rising then."""


@dataclass(frozen=True)
class SmallSettings:
    """Settings of the training of a whole network.

    Attributes
    ----------
    loss
        Settings of the loss and the head's start; its steps, people and learning rates are not used.
    steps, people, pictures, strangers
        Number of steps; of people in a batch, of pictures of each, and of pictures of unnamed people.
    trunk_lr, head_lr, logits_lr
        Initial learning rates of AdamW; all fall to 0 as a cosine. A trunk with rate 0 is frozen; its maps are then
        computed once, for pictures and their mirror images.
    shift, light
        Largest random shift in pixels and change of contrast and brightness of a picture.
    seed
        Seed of all random draws.
    """

    loss: FactorisedSettings = field(
        default_factory=lambda: FactorisedSettings(sigma=1.6, identity=0.05, place=3.0, degraded=0.0)
    )
    steps: int = 4000
    people: int = 48
    pictures: int = 6
    strangers: int = 96
    trunk_lr: float = 3e-4
    head_lr: float = 1e-3
    logits_lr: float = 3e-3
    shift: float = 2.0
    light: float = 0.2
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Pictures:
    """Training pictures on a device.

    Attributes
    ----------
    faces
        (N, 3, 112, 112) uint8.
    people
        Person in each picture; a person of FairFace has one picture.
    names
        Names of the pictures, which say of which kind each is.
    """

    faces: Tensor
    people: NDArray[np.str_]
    names: tuple[str, ...]


def read_pictures(args: argparse.Namespace) -> Pictures:
    """Read all training pictures."""
    faces: list[NDArray[np.uint8]] = []
    people: list[str] = []
    names: list[str] = []
    for one in training_sets(args):
        with open_pictures(one.path) as source:
            faces += [source.read(name) for name in one.names]
        people += one.people
        names += [f"{one.key}/{name}" for name in one.names]
    with open_pictures(args.fairface) as source:
        for name in source.names():
            faces.append(source.read(name))
            people.append(name)
            names.append(name)
    stacked = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).contiguous()
    return Pictures(stacked.to(args.device), np.array(people), tuple(names))


@torch.no_grad()
def teacher_targets(args: argparse.Namespace, faces: Tensor) -> Tensor:
    """Return the teacher's unit embeddings (N, D) of pictures, each the sum over the picture and its mirror image."""
    if args.own_targets:
        own = OnnxEmbedder(args.network, preprocessing=ARCFACE_128)
        pictures = faces.cpu()
        sums = [own.embed(part.numpy()) + own.embed(part.flip(3).numpy()) for part in torch.split(pictures, 256)]
        return functional.normalize(torch.from_numpy(np.concatenate(sums))).to(args.device)
    trunk = load_trunk(args.teacher, LargeMobileFaceNet()).to(args.device)
    _, head = linear_head(OnnxEmbedder(args.teacher, grid=TEACHER_GRID))
    weights = torch.from_numpy(head.weights).flatten(1).to(args.device)
    constant = torch.from_numpy(head.constant).to(args.device)
    parts = []
    for part in torch.split(faces, _EVALUATED_AT_ONCE):
        both = [torch.flatten(trunk(view.float()), 1) @ weights.T + constant for view in (part, part.flip(3))]
        parts.append(functional.normalize(both[0] + both[1]))
    return torch.cat(parts)


def start_network(args: argparse.Namespace, faces: Tensor, settings: SmallSettings) -> WeighedNetwork:
    """Return the network at its start: the published trunk, and its own head spread over the grid."""
    trunk = load_trunk(args.network, SmallMobileFaceNet()).to(args.device)
    tensors = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(args.network).graph.initializer}
    convolutions = [node.input[1] for node in onnx.load(args.network).graph.node if node.op_type == "Conv"]
    depthwise, first, second = (torch.from_numpy(tensors[name].copy()).flatten(1) for name in convolutions[-3:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        placed = PlacedGridHead(trunk.out_channels, tiles=3, context=7)
        logits = PlaceLogits(settings.loss.grid_channels, hidden=settings.loss.hidden)
    generator = torch.Generator().manual_seed(settings.seed)
    side = placed.scale.shape[1]
    placed.take_over_factors(
        depthwise.reshape(-1, side, side), second @ first, sigma=settings.loss.sigma, generator=generator
    )
    placed.to(args.device)
    with torch.no_grad():
        spread = faces[:: max(1, len(faces) // 2000)]
        placed.centre(
            torch.cat([placed(trunk(part.float())) for part in torch.split(spread, _EVALUATED_AT_ONCE)]).mean(0)
        )
    return WeighedNetwork(trunk, WeighedHead(placed, logits.to(args.device)))


def changed(faces: Tensor, settings: SmallSettings, generator: torch.Generator) -> Tensor:
    """Mirror, shift and relight pictures at random; (N, 3, H, W) uint8 -> float."""
    count, _, height, width = faces.shape
    draws = torch.rand(count, 5, generator=generator).to(faces.device)
    signs = torch.where(draws[:, 0] < 0.5, -1.0, 1.0)
    shifts = (2 * draws[:, 1:3] - 1) * settings.shift * 2 / torch.tensor([width, height], device=faces.device)
    matrix = torch.zeros(count, 2, 3, device=faces.device)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :, 2] = signs, 1.0, shifts
    where = functional.affine_grid(matrix, list(faces.shape), align_corners=False)
    moved = functional.grid_sample(faces.float(), where, padding_mode="reflection", align_corners=False)
    gain, offset = (1 + settings.light * (2 * draws[:, i].view(-1, 1, 1, 1) - 1) for i in (3, 4))
    return ((moved - 127.5) * gain + 127.5 * offset).clamp(0, 255)


@torch.no_grad()
def both_views(trunk: nn.Module, faces: Tensor) -> list[Tensor]:
    """Return the trunk's maps of all pictures and of their mirror images, as float16."""
    views: list[list[Tensor]] = [[], []]
    for part in torch.split(faces, _EVALUATED_AT_ONCE):
        for view, turned in zip(views, (part, part.flip(3)), strict=True):
            view.append(trunk(turned.float()).half())
    return [torch.cat(view) for view in views]


def fit(
    network: WeighedNetwork,
    pictures: Pictures,
    targets: Tensor,
    chosen: NDArray[np.bool_],
    settings: SmallSettings,
    seconds: float = float("inf"),
) -> int:
    """Train the whole network in place on the chosen pictures; return the number of steps, fewer if time is short."""
    device = targets.device
    groups = [
        {"params": list(network.backbone.parameters()), "initial_lr": settings.trunk_lr},
        {"params": list(network.head.head.parameters()), "initial_lr": settings.head_lr},
        {"params": list(network.head.logits.parameters()), "initial_lr": settings.logits_lr},
    ]
    network.train().requires_grad_(True)
    trunk = network.backbone.requires_grad_(False) if settings.trunk_lr == 0 else network.backbone
    frozen = settings.trunk_lr == 0
    views = both_views(trunk, pictures.faces) if frozen else []
    groups = groups[1:] if frozen else groups
    optimiser = torch.optim.AdamW(groups, lr=settings.head_lr, betas=(0.9, 0.99), weight_decay=1e-4)
    schedule = OptimiserConfig(schedule="cosine", warmup=min(200, settings.steps))
    average = WeightAverage(network, 0.998)
    labels = torch.from_numpy(np.unique(pictures.people, return_inverse=True)[1])
    counts = torch.bincount(labels)
    rows = torch.from_numpy(np.flatnonzero(chosen))
    named, unnamed = (rows[several] for several in (counts[labels[rows]] > 1, counts[labels[rows]] == 1))
    numbers = torch.unique(labels[named], return_inverse=True)[1]
    of_person = torch.split(torch.argsort(numbers, stable=True), torch.bincount(numbers).tolist())
    steps, begun = settings.steps, time.monotonic()
    for step in range(settings.steps):
        if step == _TIMED:
            # The rate falls to 0 at the last step, so that the number of steps must be known early.
            steps = int(min(steps, seconds * _TIMED / (time.monotonic() - begun)))
        if step >= steps:
            break
        generator = step_generator(settings.seed, step, 0)
        index = named[people_batch(of_person, settings.people, settings.pictures, generator)]
        others = unnamed[torch.randperm(len(unnamed), generator=generator)[: settings.strangers]]
        index = torch.cat([index, others])
        at = index.to(device)
        if frozen:
            turned = (torch.rand(len(index), generator=generator) < 0.5).to(device).view(-1, 1, 1, 1)
            maps = torch.where(turned, views[1][at], views[0][at])
        else:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                maps = network.backbone(changed(pictures.faces[at], settings, generator))
        grids = network.head(maps.float())
        loss = pair_loss(grids, targets[at], labels.to(device)[at], at, settings.loss)
        factor = rate_factor(schedule, step, steps=steps, epoch_steps=steps)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average.update(network, step + 1)
        if step % 100 == 99 or step + 1 == steps:
            took = time.monotonic() - begun
            print(f"step {step + 1} of {steps}: loss {float(loss.detach()):.5f}, {took:.0f} s", flush=True)
    network.load_state_dict(average.state)
    network.eval().requires_grad_(False)
    return steps


@torch.no_grad()
def grids_of(network: WeighedNetwork, faces: Tensor) -> Tensor:
    """Return the weighed grids of pictures."""
    return torch.cat([network(part.float()) for part in torch.split(faces, _EVALUATED_AT_ONCE)])


@torch.no_grad()
def held_out_results(network: WeighedNetwork, pictures: Pictures, out: NDArray[np.bool_]) -> dict[str, Any]:
    """Compare all pairs of the pictures of people that were held out."""
    names = np.array(pictures.names)
    kinds = {
        "celeba": np.char.startswith(names, "celeba/"),
        "frontal": np.char.find(names, "/frontal/") >= 0,
        "profile": np.char.find(names, "/profile/") >= 0,
    }
    rows = {name: np.flatnonzero(out & kind) for name, kind in kinds.items()}
    grids = {name: grids_of(network, pictures.faces[torch.from_numpy(index)]) for name, index in rows.items()}
    answer: dict[str, Any] = {}
    for one, other in (("celeba", "celeba"), ("frontal", "frontal"), ("frontal", "profile")):
        same = pictures.people[rows[one]][:, None] == pictures.people[rows[other]][None]
        pairs = np.triu(np.ones_like(same), 1) if one == other else np.ones_like(same)
        found = FactorisedXcos().scores(grids[one], grids[other]).cpu().numpy()
        answer[f"{one}, {other}"] = measured(found, same, pairs)
    return answer


def main() -> None:
    """Train or read the state, then measure or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("network", "teacher", "celeba", "cfp", "glint", "fairface", "overlap", "state"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="folder of the model")
    parser.add_argument("--held-out", action="store_true", help="keep a third of the people for measuring")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=SmallSettings.steps)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="train for no longer")
    parser.add_argument("--people", type=int, default=SmallSettings.people, help="people in a batch")
    parser.add_argument("--pictures", type=int, default=SmallSettings.pictures, help="pictures of each in a batch")
    parser.add_argument("--strangers", type=int, default=SmallSettings.strangers, help="unnamed people in a batch")
    parser.add_argument("--trunk-lr", type=float, default=SmallSettings.trunk_lr)
    parser.add_argument("--head-lr", type=float, default=SmallSettings.head_lr)
    parser.add_argument("--identity", type=float, default=0.05)
    parser.add_argument("--own-targets", action="store_true", help="learn the network's own cosines, not the teacher's")
    parser.add_argument("--seed", type=int, default=SmallSettings.seed)
    args = parser.parse_args()
    loss = FactorisedSettings(sigma=1.6, identity=args.identity, place=3.0, degraded=0.0, seed=args.seed)
    settings = SmallSettings(
        loss=loss,
        steps=args.steps,
        people=args.people,
        pictures=args.pictures,
        strangers=args.strangers,
        trunk_lr=args.trunk_lr,
        head_lr=args.head_lr,
        seed=args.seed,
    )
    pictures = read_pictures(args)
    network = start_network(args, pictures.faces, settings)
    out = np.zeros(len(pictures.people), bool)
    if args.held_out:
        chosen = held_out(pictures.people.tolist(), args.seed)
        out = np.array([person in chosen for person in pictures.people])
        print("start", json.dumps(held_out_results(network.eval(), pictures, out)), flush=True)
    if args.state.exists():
        network.load_state_dict(torch.load(args.state, weights_only=True, map_location=args.device))
        network.eval().requires_grad_(False)
    else:
        steps = fit(network, pictures, teacher_targets(args, pictures.faces), ~out, settings, args.seconds)
        settings = replace(settings, steps=steps)
        args.state.parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: value.cpu() for name, value in network.state_dict().items()}, args.state)
    if args.held_out:
        print("end", json.dumps({"settings": asdict(settings), **held_out_results(network, pictures, out)}), flush=True)
    if args.out is not None:
        write_small(network.cpu(), pictures, args, settings)


def write_small(network: WeighedNetwork, pictures: Pictures, args: argparse.Namespace, settings: SmallSettings) -> None:
    """Write the model folder, with weights as float16."""
    from weighed_files import round_float16, write_weighed  # noqa: PLC0415 - the networks are trained without it

    round_float16(network)
    entry = write_weighed(
        network,
        args.out,
        name="xcos-small",
        summary="xCos on mobilefacenet192, trained as a whole: a 32 x 7 x 7 grid with attention that factorises.",
        licence="Apache-2.0",
        training_data=TRAINING_DATA.replace("mobilefacenet-large: not stated by its authors", "MS1M-refine-v2")
        + "; FairFace, without labels. Teacher: mobilefacenet-large (MIT, training set not stated)",
        source=f"whyface; trunk: sirius-ai/MobileFaceNet_TF, SHA-256 {OnnxEmbedder(args.network).sha256}",
        about={"settings": asdict(settings), "pictures": len(pictures.people)},
    )
    for role, file in entry.files.items():
        print(role, file.file_name, file.bytes)


if __name__ == "__main__":
    main()
