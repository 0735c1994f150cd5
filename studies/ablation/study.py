r"""Train and measure the ablation: FC baseline and xCos (U, P, L), ArcFace and CosFace, one recipe for all.

    python -m studies.ablation.study --cfp cfp-aligned-112.tar --glint glint24-aligned-112.tar \
        --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt --teacher mobilefacenet-ms1m.safetensors \
        --strong mobilefacenet-large.onnx --overlap docs/studies/lfw_overlap.json --runs runs/ablation --seeds 1 2 3

The paper's Table 2 on the available data. Trained on the people of CFP's folds 1 to 6 and of a Glint360K sample,
without those in LFW; tested on LFW and on CFP's folds 7 to 10, whose people were not trained on. A run can be resumed:
finished trainings and measurements are not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from torch import nn

from studies.ablation.report import ablation_table, against_baseline, lead_table
from studies.occlusion.report import put_between_marks
from whyface.data.open_protocol import open_protocol, parse_protocol
from whyface.data.pair_lists import read_lfw_pairs
from whyface.data.protocols import PairProtocol, build_protocol
from whyface.evaluate.rates import fold_accuracy
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import sha256_of, write_atomic
from whyface.files.progress import progress_bar
from whyface.train.networks import Network
from whyface.train.run_files import load_trained
from whyface.train.teachers import Teacher, open_teacher
from whyface.xcos.grid import PearsonAttention, grid_cosine, normalise_attention, xcos_score
from whyface.xcos.learned import XcosNetwork

TEST_FOLDS: Final = (6, 7, 8, 9)
MEASURED: Final = "measured.json"
START: Final = "<!-- results: written by studies/ablation/study.py -->"
VARIANTS: Final[dict[str, dict[str, Any]]] = {
    "xcos-arcface": {"head": "placed", "margin_kind": "arcface"},
    "fc-arcface": {"head": "fc", "margin_kind": "arcface"},
    "xcos-cosface": {"head": "placed", "margin_kind": "cosface"},
    "fc-cosface": {"head": "fc", "margin_kind": "cosface"},
    "xcos-arcface-strong": {"head": "placed", "margin_kind": "arcface", "strong": True},
    "fc-arcface-strong": {"head": "fc", "margin_kind": "arcface", "strong": True},
    "xcos-arcface-masked": {"head": "placed", "margin_kind": "arcface", "masked": 0.5},
    "fc-arcface-masked": {"head": "fc", "margin_kind": "arcface", "masked": 0.5},
}


def settings_of(variant: dict[str, Any], args: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the configuration of one run."""
    teacher = args.strong if variant.get("strong") else args.teacher
    return {
        "data": {
            "sources": [
                {
                    "path": str(args.cfp.resolve()),
                    "layout": "cfp",
                    "name": "cfp",
                    "people": str((args.runs / "people.json").resolve()),
                },
                {"path": str(args.glint.resolve()), "name": "glint"},
            ],
            "leave_out": str(args.overlap.resolve()),
            "held_out": 15,
        },
        "network": {
            "backbone": "mobilefacenet",
            "head": variant["head"],
            "init": str(args.teacher.resolve()),
            "trainable": "late",
            "norms": "fixed",
            "symmetric": True,
        },
        "teacher": str(teacher.resolve()),
        "losses": {
            "identification": 0.005,
            "margin_kind": variant["margin_kind"],
            "margin": 0.3 if variant["margin_kind"] == "arcface" else 0.2,
            "scale": 32,
            "similarity": 1.0,
            "uniform": 0.5,
            "balanced": True,
        },
        "batch": {"mode": "all", "people": 24, "pictures": 4},
        "augment": {
            "geometry": True,
            "light": True,
            "occluded": 0.1,
            "blended": 0.3,
            "masked": variant.get("masked", 0.0),
            "coverage": [0.1, 0.6],
        },
        "optimiser": {
            "kind": "adamw",
            "lr": 3e-4,
            "attention_lr": 3e-3,
            "clip": 1.0,
            "schedule": "cosine",
            "warmup": 30,
        },
        "steps": args.steps,
        "seed": seed,
        "average": 0.99,
        "precision": "bf16",
        "threads": args.threads,
        "accelerator": "cpu",
        "validate_every": args.steps,
        "save_every": 50,
    }


def train_all(args: argparse.Namespace) -> None:
    """Train the missing networks, each in its own process."""
    args.runs.mkdir(parents=True, exist_ok=True)
    _, protocol = open_protocol(parse_protocol("cfp-fp"), args.cfp)
    tested = np.isin(protocol.fold, TEST_FOLDS)
    people = sorted({*protocol.people_left[~tested].tolist(), *protocol.people_right[~tested].tolist()})
    (args.runs / "people.json").write_text(json.dumps(people), encoding="utf-8")
    for seed in args.seeds:
        for name in args.variants or VARIANTS:
            folder = args.runs / f"{name}-{seed}"
            if (folder / "last.safetensors").exists():
                continue
            folder.mkdir(exist_ok=True)
            config = folder / "config.yaml"
            config.write_text(
                yaml.safe_dump(settings_of(VARIANTS[name], args, seed), sort_keys=False), encoding="utf-8"
            )
            print(f"training {name}, seed {seed}", flush=True)
            subprocess.run(
                [sys.executable, "-m", "whyface", "train", str(config), "--out", str(folder)], check=True, text=True
            )


def read_all(path: Path, protocol: PairProtocol) -> torch.Tensor:
    """Decode a protocol's pictures."""
    with open_pictures(path) as source:
        return torch.from_numpy(np.stack([source.read(name).transpose(2, 0, 1) for name in protocol.pictures]))


@torch.no_grad()
def features_of(network: Network, pictures: torch.Tensor) -> NDArray[np.float32]:
    """Run a network: grids of xCos, embeddings of the baseline."""
    device = next(network.parameters()).device
    parts = []
    for part in torch.split(pictures, 128):
        faces = part.to(device).float().contiguous(memory_format=torch.channels_last)
        parts.append(network.features(faces).cpu())
    return torch.cat(parts).numpy()


@torch.no_grad()
def scores_of(
    network: Network,
    features: NDArray[np.float32],
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    correlated: NDArray[np.float32] | None,
) -> dict[str, NDArray[np.float32]]:
    """Score pairs by every kind that the network has."""
    if not isinstance(network, XcosNetwork):
        return {"fc": (features[first] * features[second]).sum(axis=1)}
    found: dict[str, list[NDArray[np.float32]]] = {"u": [], "p": [], "l": []}
    for start in range(0, len(first), 2000):
        a, b = features[first[start : start + 2000]], features[second[start : start + 2000]]
        similarity = grid_cosine(a, b)
        found["u"].append(similarity.mean(axis=(1, 2)))
        if correlated is not None:
            weights = np.broadcast_to(normalise_attention(correlated), similarity.shape)
            found["p"].append(xcos_score(similarity, weights))
        device = next(network.parameters()).device
        grids = torch.from_numpy(a).to(device), torch.from_numpy(b).to(device)
        found["l"].append(network.scores(*grids).cpu().numpy())
    return {kind: np.concatenate(values) for kind, values in found.items() if values}


@torch.no_grad()
def correlate(network: Network, teacher: Teacher, pictures: torch.Tensor, seed: int) -> NDArray[np.float32] | None:
    """Measure attention P on training people: Pearson between each place's S and the teacher's cosine."""
    if not isinstance(network, XcosNetwork):
        return None
    grids = features_of(network, pictures)
    device = next(network.parameters()).device
    parts = [teacher(part.to(device).float()).cpu() for part in torch.split(pictures, 128)]
    embeddings = torch.cat(parts).numpy()
    rng = np.random.default_rng(seed)
    pearson = PearsonAttention()
    for _ in range(20):
        first, second = rng.integers(0, len(pictures), (2, 2000))
        keep = first != second
        first, second = first[keep], second[keep]
        pearson.update(grid_cosine(grids[first], grids[second]), (embeddings[first] * embeddings[second]).sum(axis=1))
    return pearson.raw()


def measure_all(args: argparse.Namespace) -> dict[str, Any]:
    """Measure all networks; earlier measurements are read from the folders of their runs."""
    rows: list[dict[str, Any]] = []
    bench: Bench | None = None
    folders = sorted(folder for folder in args.runs.iterdir() if (folder / "network.safetensors").exists())
    with progress_bar("Measuring") as progress:
        for number, folder in enumerate(folders):
            digest, kept = sha256_of(folder / "network.safetensors"), folder / MEASURED
            found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
            if found.get("network_sha256") != digest:
                bench = bench or Bench(args)
                found = {"network_sha256": digest, "rows": bench.rows(folder)}
                write_atomic(kept, f"{json.dumps(found, indent=1)}\n".encode())
            variant, seed = folder.name.rsplit("-", 1)
            rows += [{"variant": variant, "seed": int(seed), **row, "network_sha256": digest} for row in found["rows"]]
            progress(number + 1, len(folders))
    return {
        "command": "python -m studies.ablation.study --cfp ... --glint ... --lfw ... --pairs ... --teacher ... "
        "--strong ...",
        "data": "LFW: 6000 pairs, 10 folds. CFP-FF, CFP-FP: folds 7 to 10, 2800 pairs each, people not trained on.",
        "steps": args.steps,
        "teachers": {"default": _file(args.teacher), "strong": _file(args.strong)},
        "rows": rows,
        "against_baseline": against_baseline(rows),
        "versions": software_versions() | {"torch": torch.__version__},
    }


class Bench:
    """The decoded pictures of all test sets, and those that attention P is measured on."""

    def __init__(self, args: argparse.Namespace) -> None:
        people = set(json.loads((args.runs / "people.json").read_text(encoding="utf-8")))
        sets: dict[str, tuple[Path, PairProtocol]] = {"LFW": (args.lfw, read_lfw_pairs(args.pairs))}
        for name in ("cfp-ff", "cfp-fp"):
            _, protocol = open_protocol(parse_protocol(name), args.cfp)
            sets[name.upper()] = (args.cfp, _folds_of(protocol, TEST_FOLDS))
        self.sets = {name: (protocol, read_all(path, protocol)) for name, (path, protocol) in sets.items()}
        _, whole = open_protocol(parse_protocol("cfp-fp"), args.cfp)
        seen = [k for k, person in enumerate(whole.people) if person in people][::2]
        self.training = read_all(args.cfp, whole)[seen]
        self.device = torch.device(args.device)
        self.teacher = open_teacher(str(args.teacher))
        if isinstance(self.teacher, nn.Module):
            self.teacher.to(self.device)

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """Measure one network on all sets, by every kind of score."""
        network = load_trained(folder)[0].to(self.device)
        seed = int(folder.name.rsplit("-", 1)[1])
        correlated = correlate(network, self.teacher, self.training, seed)
        rows = []
        for name, (protocol, pictures) in self.sets.items():
            features = features_of(network, pictures)
            for kind, values in scores_of(network, features, protocol.left, protocol.right, correlated).items():
                found = fold_accuracy(values, protocol.genuine, protocol.fold)
                row = {
                    "kind": kind,
                    "set": name,
                    "accuracy": round(100 * found.mean, 3),
                    "standard_error": round(100 * found.standard_error, 3),
                    "pairs": len(values),
                }
                print(folder.name, row, flush=True)
                rows.append(row)
        return rows


def _file(path: Path) -> dict[str, str]:
    return {"file": path.name, "sha256": sha256_of(path)}


def write_configs(runs: Path, folder: Path) -> None:
    """Write the configuration of every trained network, with file names instead of paths; one of the seeds is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(runs.glob("*/config.yaml")):
        if not (path.parent / "network.safetensors").exists():
            continue
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        for part in (*config["data"]["sources"], config["data"], config["network"], config):
            for key in ("path", "people", "leave_out", "init", "teacher"):
                if isinstance(part.get(key), str):
                    part[key] = Path(part[key]).name
        target = folder / f"ablation-{path.parent.name.rsplit('-', 1)[0]}.yaml"
        write_atomic(target, yaml.safe_dump(config, sort_keys=False).encode())


def _folds_of(protocol: PairProtocol, folds: tuple[int, ...]) -> PairProtocol:
    keep = np.flatnonzero(np.isin(protocol.fold, folds))
    names = protocol.pictures
    pairs = [
        (names[protocol.left[k]], names[protocol.right[k]], bool(protocol.genuine[k]), int(protocol.fold[k]))
        for k in keep
    ]
    return build_protocol(protocol.name, pairs, dict(zip(names, protocol.people, strict=True)))


def main() -> None:
    """Train, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cfp", "glint", "lfw", "pairs", "teacher", "strong", "overlap", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), help="all by default")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="where the networks are measured")
    parser.add_argument("--out", type=Path, default=Path("docs/studies/ablation.json"))
    parser.add_argument("--configs", type=Path, help="folder for the configurations, with file names for paths")
    parser.add_argument("--measure-only", action="store_true")
    args = parser.parse_args()
    if not args.measure_only:
        train_all(args)
    record = measure_all(args)
    write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())
    table, leads = ablation_table(record["rows"]), record["against_baseline"]
    print(table)
    if args.configs is not None:
        write_configs(args.runs, args.configs)
    document = args.out.with_suffix(".md")
    if document.exists():
        lead = f"Lead over the baseline in points:\n\n{lead_table(leads)}" if leads else ""
        put_between_marks(document, f"{table}\n{lead}", START)


if __name__ == "__main__":
    main()
