r"""Turn a trained network into the shipped files: safetensors, ONNX graphs and the zoo entry.

    python scripts/release_default.py --network runs/default/network.safetensors \
        --teacher mobilefacenet-ms1m.safetensors --cfp cfp-aligned-112.tar --glint glint24-aligned-112.tar \
        --overlap docs/studies/lfw_overlap.json

The correlated attention P is measured here, on the training pictures. Afterwards run measure_thresholds.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corpus import Corpus, load_corpus
from norms import restate_norms
from whyface.explain.verdict import software_versions
from whyface.models.backbones import MobileFaceNet
from whyface.models.catalogue import FAST_MODEL, shipped_models, update_entry, zoo_path
from whyface.models.heads import GridHead, PlacedGridHead
from whyface.models.weights import save_safetensors
from whyface.train.corpus import people_left_out
from whyface.train.networks import read_safetensors
from whyface.train.teachers import mobilefacenet_teacher
from whyface.xcos.export import export_faces, export_pair
from whyface.xcos.grid import PearsonAttention
from whyface.xcos.learned import LearnedAttention, XcosNetwork, grid_cosine
from whyface.xcos.model import CORRELATED_TENSOR

CHUNK = 128


def batches(corpus: Corpus) -> list[Tensor]:
    """Split the pictures into float batches."""
    return [corpus.pictures[i : i + CHUNK].float() for i in range(0, len(corpus.pictures), CHUNK)]


@torch.no_grad()
def correlated_attention(
    network: XcosNetwork, teacher: nn.Module, corpus: Corpus, *, pairs: int, seed: int
) -> tuple[Tensor, dict[str, Any]]:
    """Measure P over random pairs of training pictures, half genuine and half impostor, people drawn uniformly."""
    grids = torch.cat([network.features(batch) for batch in batches(corpus)])
    embeddings = torch.cat([teacher(batch) for batch in batches(corpus)])
    rng = np.random.default_rng(seed)
    pearson = PearsonAttention()
    drawn = 0
    while drawn < pairs:
        first, second = rng.integers(corpus.people, size=(2, CHUNK * 8))
        genuine = rng.random(first.shape) < 0.5
        second = np.where(genuine, first, second)
        a, b = (random_rows(corpus, people, rng) for people in (first, second))
        keep = (a != b) & torch.from_numpy(genuine | (first != second))
        a, b = a[keep], b[keep]
        similarity = grid_cosine(grids[a], grids[b])
        pearson.update(similarity.numpy(), (embeddings[a] * embeddings[b]).sum(1).numpy())
        drawn += len(a)
    raw = pearson.raw()
    return torch.from_numpy(raw), {"pairs": drawn, "seed": seed, "people": corpus.people, "raw": raw.tolist()}


def random_rows(corpus: Corpus, people: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """Draw one picture of each of these people."""
    return torch.stack([corpus.rows[p][rng.integers(len(corpus.rows[p]))] for p in people])


def file_entry(path: Path) -> dict[str, object]:
    """Return the zoo's record of a file."""
    data = path.read_bytes()
    return {"file_name": path.name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def main() -> None:
    """Build and register the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--cfp", type=Path, required=True)
    parser.add_argument("--glint", type=Path, required=True)
    parser.add_argument("--overlap", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=shipped_models())
    parser.add_argument("--zoo", type=Path, default=zoo_path())
    parser.add_argument("--results", type=Path, default=Path("docs/studies"))
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--held-out", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    tensors = read_safetensors(args.network)
    head: GridHead | PlacedGridHead = PlacedGridHead() if "head.scale" in tensors else GridHead(activation="none")
    network = XcosNetwork(MobileFaceNet(), head, LearnedAttention()).eval()
    network.load_state_dict(tensors)
    corpus, _ = load_corpus(args.cfp, args.glint, people_left_out(args.overlap), held_out=args.held_out, seed=args.seed)

    def run(batch: Tensor) -> None:
        grid = network.features(batch)
        network.xcos(grid, grid.roll(1, 0))

    with torch.no_grad():
        sample = batches(corpus)[::4]
        before = network.features(sample[0])
        print("norms restated:", restate_norms(network, sample, run))
        print("largest change of a grid value:", float((network.features(sample[0]) - before).abs().max()))
    teacher = mobilefacenet_teacher(args.teacher)
    correlated, record = correlated_attention(network, teacher, corpus, pairs=args.pairs, seed=args.seed)

    files = {
        role: args.out / f"{FAST_MODEL}{suffix}"
        for role, suffix in (("onnx", ".onnx"), ("pair", "-pair.onnx"), ("safetensors", ".safetensors"))
    }
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    metadata = {"format": "pt", "model": FAST_MODEL, "licence": "Apache-2.0", "head": type(head).__name__}
    save_safetensors({**state, CORRELATED_TENSOR: correlated}, files["safetensors"], metadata)
    export_faces(network.backbone, network.head, files["onnx"])
    export_pair(network.xcos.attention, files["pair"])
    update_entry(
        args.zoo,
        FAST_MODEL,
        files={role: file_entry(path) for role, path in files.items()},
        grid={"tensor": "grid", "shape": [32, 7, 7]},
        thresholds={},
        results={},
    )
    record |= {
        "question": "Pearson correlation of each cell's S with the teacher's cosine, training pictures",
        "command": f"python scripts/release_default.py --network ... --pairs {args.pairs} --seed {args.seed}",
        "model": FAST_MODEL,
        "sha256": file_entry(files["onnx"])["sha256"],
        "versions": {**software_versions(), "torch": torch.__version__},
    }
    (args.results / "correlated-attention.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for role, path in files.items():
        print(role, path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
