r"""Train the default model: xCos-L on MobileFaceNet, distilled from its own FC network.

    python scripts/train_default.py --teacher mobilefacenet-ms1m.safetensors \
        --cfp cfp-aligned-112.tar --glint glint24-aligned-112.tar \
        --overlap docs/studies/lfw_overlap.json --out runs/default

Seeded; a killed run is resumed from its last checkpoint when started again with the same arguments.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from corpus import Corpus, load_corpus, sample_batch
from whyface.models.backbones import MobileFaceNet
from whyface.models.heads import GdcHead, GridHead, PlacedGridHead, flatten_grid
from whyface.train.corpus import people_left_out
from whyface.train.losses import MarginHead, WeightAverage, all_pairs, balanced_regression, compare_all, tie_pair_halves
from whyface.train.networks import channels_last, read_safetensors, split_state
from whyface.train.picture_store import blend_people, jitter_geometry, jitter_light, occlude
from whyface.train.teachers import mobilefacenet_teacher
from whyface.xcos.learned import LearnedAttention, XcosNetwork

STEM_BLOCKS = 5
"""Inverted residuals before the 14 x 14 map: frozen in the first phase, where they cost most and matter least."""
LATE_BLOCKS = 11
"""Inverted residuals before the last 14 x 14 one. The trunk has most to relearn after it: it was trained for a head
with separate weights for every place, and now has one that treats all places alike."""


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="FC network, and the student's initial tensors")
    parser.add_argument("--cfp", type=Path, required=True)
    parser.add_argument("--glint", type=Path, required=True)
    parser.add_argument("--overlap", type=Path, required=True, help="people to leave out, from lfw_overlap.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--deep-from", type=int, default=150, help="step from which the late layers train")
    parser.add_argument("--stem-from", type=int, default=1100, help="step from which the early layers train too")
    parser.add_argument("--people", type=int, default=24, help="people in a batch")
    parser.add_argument("--pictures", type=int, default=4, help="pictures of each")
    parser.add_argument("--lr", type=float, default=1e-4, help="early layers; middle ones learn at twice this")
    parser.add_argument("--late-factor", type=float, default=3.0, help="late layers and head: x this")
    parser.add_argument("--fresh-factor", type=float, default=15.0, help="attention: x this")
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--virtual", type=float, default=0.5, help="share of people who are blends of two")
    parser.add_argument("--init", type=Path, help="network.safetensors of an earlier run to start from")
    parser.add_argument("--occluded", type=float, default=0.1)
    parser.add_argument("--id-weight", type=float, default=0.002)
    parser.add_argument("--uniform-weight", type=float, default=0.5)
    parser.add_argument(
        "--head", choices=["placed", "shared", "shared-prelu"], default="placed", help="see whyface.models.heads"
    )
    parser.add_argument("--sigma", type=float, default=1.0, help="placed head: initial neighbourhood, in cells")
    parser.add_argument("--floor", type=float, default=-1.0, help="see balanced_regression")
    parser.add_argument("--below", type=float, default=1.0, help="see balanced_regression")
    parser.add_argument("--held-out", type=int, default=20, help="CFP people kept for validation")
    parser.add_argument("--save-every", type=int, default=150)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def build_student(teacher: dict[str, Tensor], args: argparse.Namespace) -> XcosNetwork:
    """Return the student: the teacher's trunk, a grid head (from the teacher's, if placed) and a new attention."""
    torch.manual_seed(args.seed)
    trunk, head = MobileFaceNet(), GdcHead().eval()
    split_state(teacher, {"backbone": trunk, "head": head}, "the teacher")
    grid_head: GridHead | PlacedGridHead
    if args.head == "placed":
        grid_head = PlacedGridHead()
        grid_head.take_over(head, sigma=args.sigma, generator=torch.Generator().manual_seed(args.seed))
    else:
        grid_head = GridHead(activation="none" if args.head == "shared" else "prelu")
    network = XcosNetwork(trunk, grid_head, LearnedAttention())
    tie_pair_halves(network.xcos.attention)
    channels_last(network)
    return network


@torch.no_grad()
def settle_norms(network: XcosNetwork, faces: Tensor) -> None:
    """Centre a placed head, and give the new BatchNorms the statistics of real faces.

    All BatchNorms then have fixed statistics.
    """
    if isinstance(network.head, PlacedGridHead):
        network.head.centre(torch.cat([network.features(part) for part in torch.split(faces, 128)]).mean(dim=0))
    faces = faces[:128]
    fresh = [
        m for m in [*network.head.modules(), *network.xcos.modules()] if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    for norm in fresh:
        norm.momentum = 1.0
        norm.train()
        grid = network.features(faces)
        network.xcos(grid, grid.roll(1, 0))
        norm.eval()
        norm.momentum = 0.1


def student_map(network: XcosNetwork, faces: Tensor, *, deep: bool, stem: bool) -> Tensor:
    """Run the trunk in bfloat16, with gradients for its late layers (``deep``) and its early ones (``stem``)."""
    trunk = network.backbone
    assert isinstance(trunk, MobileFaceNet)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.set_grad_enabled(stem and torch.is_grad_enabled()):
            early = trunk.features[:STEM_BLOCKS](trunk.dw_conv(trunk.conv1((faces - trunk.mean) / trunk.std)))
        with torch.set_grad_enabled(deep and torch.is_grad_enabled()):
            late: Tensor = trunk.conv2(trunk.features[STEM_BLOCKS:](early))
    return late.float()


@torch.no_grad()
def validate(network: XcosNetwork, teacher: nn.Module, corpus: Corpus) -> dict[str, float]:
    """Compare all pairs of held-out people: error against the teacher, and verification AUC of teacher, U and L."""
    grids, embeddings = [], []
    for start in range(0, len(corpus.pictures), 128):
        faces = corpus.pictures[start : start + 128].float().contiguous(memory_format=torch.channels_last)
        grids.append(network.head(student_map(network, faces, deep=False, stem=False)))
        embeddings.append(teacher(faces))
    grid, embedding = torch.cat(grids), torch.cat(embeddings)
    pairs = all_pairs(len(grid))
    parts = torch.split(torch.arange(len(pairs.first)), 20000)
    outs = [compare_all(grid, network.xcos.attention, type(pairs)(pairs.first[p], pairs.second[p])) for p in parts]
    learned = torch.cat([o.score for o in outs])
    uniform = torch.cat([o.similarity.mean(dim=(1, 2)) for o in outs])
    target = (embedding @ embedding.T)[pairs.first, pairs.second]
    genuine = corpus.labels[pairs.first] == corpus.labels[pairs.second]

    def separation(score: Tensor) -> float:
        spread = (score[genuine].var() + score[~genuine].var()).sqrt()
        return float((score[genuine].mean() - score[~genuine].mean()) / spread)

    return {
        "mse_l": float((learned - target).square().mean()),
        "mse_l_genuine": float((learned - target)[genuine].square().mean()),
        "d_teacher": separation(target),
        "d_l": separation(learned),
        "d_u": separation(uniform),
    }


class Run:
    """Network, optimiser, average and random state: the content of a checkpoint."""

    def __init__(self, args: argparse.Namespace, network: XcosNetwork, margin: MarginHead) -> None:
        self.args, self.network, self.margin = args, network, margin
        trunk = network.backbone
        assert isinstance(trunk, MobileFaceNet)
        late = [*trunk.features[LATE_BLOCKS:].parameters(), *trunk.conv2.parameters()]
        middle = list(trunk.features[STEM_BLOCKS:LATE_BLOCKS].parameters())
        taken = {id(parameter) for parameter in [*late, *middle]}
        stem = [parameter for parameter in trunk.parameters() if id(parameter) not in taken]
        head = list(network.head.parameters())
        fresh = [*network.xcos.parameters(), *margin.parameters()]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": stem, "factor": 1.0},
                {"params": middle, "factor": 2.0},
                {"params": [*late, *head], "factor": args.late_factor},
                {"params": fresh, "factor": args.fresh_factor},
            ],
            lr=args.lr,
            betas=(0.9, 0.99),
            weight_decay=1e-4,
        )
        self.average = WeightAverage(network, 0.998)
        self.generator = torch.Generator().manual_seed(args.seed)
        self.step = 0

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero."""
        progress = self.step / self.args.steps
        return float(self.args.lr * min(1, (self.step + 1) / self.args.warmup) * (0.5 + 0.5 * np.cos(np.pi * progress)))

    def save(self) -> None:
        """Write a checkpoint: tensors first, then the JSON that makes it valid, each atomically."""
        tensors: dict[str, Tensor] = {"generator": self.generator.get_state()}
        tensors |= {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"margin.{k}": v for k, v in self.margin.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {k: v.contiguous().clone() for k, v in tensors.items()}
        partial = self.args.out / "state.partial"
        save_file(tensors, partial, metadata={"step": str(self.step)})
        partial.replace(self.args.out / "state.safetensors")

    def resume(self) -> bool:
        """Load the last checkpoint, if there is one."""
        path = self.args.out / "state.safetensors"
        if not path.exists():
            return False
        tensors = load_file(path)

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.network.load_state_dict(part("network."))
        self.margin.load_state_dict(part("margin."))
        self.average.state = part("average.")
        self.generator.set_state(tensors["generator"])
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimiser.").items():
            index, name = key.split(".", 1)
            states.setdefault(int(index), {})[name] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": states, "param_groups": groups})
        self.step = int(max(float(s["step"]) for s in states.values())) if states else 0
        return True


def train_step(run: Run, teacher: nn.Module, corpus: Corpus) -> dict[str, float]:
    """Do one step on one batch."""
    args, generator = run.args, run.generator
    pictures, labels = sample_batch(corpus, args.people, args.pictures, generator)
    partners, _ = sample_batch(corpus, args.people, args.pictures, generator)
    faces, virtual = blend_people(pictures.float(), partners.float(), args.people, args.virtual, generator)
    faces = jitter_light(jitter_geometry(faces, generator), generator)
    clean = faces.contiguous(memory_format=torch.channels_last)
    embedding = teacher(clean)
    covered = occlude(faces, args.occluded, generator).contiguous(memory_format=torch.channels_last)
    deep, stem = run.step >= args.deep_from, run.step >= args.stem_from
    grid = run.network.head(student_map(run.network, covered, deep=deep, stem=stem))

    pairs = all_pairs(len(grid))
    output = compare_all(grid, run.network.xcos.attention, pairs)
    target = (embedding @ embedding.T)[pairs.first, pairs.second]
    learned = balanced_regression(output.score, target, floor=args.floor, below=args.below)
    mean = output.similarity.mean(dim=(1, 2))
    uniform = balanced_regression(mean, target, floor=args.floor, below=args.below)
    logits = run.margin(flatten_grid(grid[~virtual]), labels[~virtual])
    identity = functional.cross_entropy(logits, labels[~virtual])
    loss = learned + args.uniform_weight * uniform + args.id_weight * identity

    rate = run.learning_rate()
    for group in run.optimiser.param_groups:
        group["lr"] = rate * group["factor"]
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    run.optimiser.step()
    run.step += 1
    run.average.update(run.network, run.step)
    return {"l": learned.item(), "u": uniform.item(), "id": identity.item(), "grad": float(norm)}


def main() -> None:
    """Train, checkpoint, log; leave the averaged network in ``out/network.safetensors``."""
    args = arguments()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    left_out = people_left_out(args.overlap)
    console = Console()
    corpus, held_out = load_corpus(args.cfp, args.glint, left_out, held_out=args.held_out, seed=args.seed)
    console.print(f"train: {corpus.summary()}; held out: {held_out.summary()}; left out: {len(left_out)} people")

    tensors = read_safetensors(args.teacher)
    teacher = mobilefacenet_teacher(args.teacher, half=True)
    network = build_student(tensors, args).eval()
    margin = MarginHead(32 * 49, corpus.people, "arcface", margin=0.3, scale=32)
    if args.init:
        network.load_state_dict(read_safetensors(args.init))
    run = Run(args, network, margin)
    if run.resume():
        console.print(f"resumed at step {run.step}")
    elif not args.init:
        settle_norms(network, sample_batch(corpus, corpus.people, args.pictures, run.generator)[0].float())
        run.average = WeightAverage(network, 0.998)

    log = (args.out / "log.jsonl").open("a", encoding="utf-8")
    window: list[dict[str, float]] = []
    start, done = time.monotonic(), run.step
    with Progress(console=console, refresh_per_second=0.2, disable=not console.is_terminal) as progress:
        task = progress.add_task("training", total=args.steps, completed=run.step)
        while run.step < args.steps:
            window.append(train_step(run, teacher, corpus))
            progress.update(task, completed=run.step)
            if run.step % 50 == 0 or run.step == args.steps:
                speed = (run.step - done) * args.people * args.pictures / (time.monotonic() - start)
                row = {"step": run.step, "lr": run.learning_rate(), "pictures_per_s": speed}
                row |= {key: float(np.mean([w[key] for w in window])) for key in window[0]}
                window.clear()
                if run.step % args.save_every == 0 or run.step == args.steps:
                    run.save()
                    current = {k: v.clone() for k, v in network.state_dict().items()}
                    network.load_state_dict(run.average.state)
                    row |= validate(network, teacher, held_out)
                    network.load_state_dict(current)
                    save_file(
                        {k: v.contiguous() for k, v in run.average.state.items()},
                        args.out / "network.safetensors",
                    )
                log.write(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
                log.flush()
                console.print(" ".join(f"{k}={v:.4g}" for k, v in row.items()))


if __name__ == "__main__":
    main()
