"""The gradient methods compared with the straightforward loop in one run.

    python benchmarks/gradient_methods.py --out docs/studies/benchmarks/gradient_methods.json

Two pairs of calls on the default model's backbone with an FC head of 128 numbers, or on a similar network:

* xSSAB, both faces and both signs: the published call pattern (twelve runs of the network and four backward passes, a
  face at a time, with gradients of the parameters, as after loading), against one run and two backward passes.
* FGGB, both faces: for each dimension a run and a backward pass (``loop``), or one run and a backward pass for each
  dimension over the kept graph (``kept graph``), against backward passes over a batch of copies; also a vectorised
  backward pass over one copy (``vmap``), and several chunk sizes.

All alternate in random order, so that other work on the machine affects them alike. A round of FGGB's loops uses
``--dimensions`` of the 128 dimensions; times are per dimension. First, all are checked to give the same maps.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from records import publish
from whyface.demo import demo_photo
from whyface.explain.fggb import weighted_sizes
from whyface.explain.gradient_method import CosineScore
from whyface.explain.verdict import software_versions
from whyface.explain.xssab import argument_gradients
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.files.progress import progress_bar
from whyface.models.backbones import MobileFaceNet
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.models.heads import GdcHead
from whyface.models.torch_embedder import TorchEmbedder
from whyface.models.torch_layers import PointwiseConv2d, keep_freed_memory
from whyface.models.weights import load_safetensors

THRESHOLD = 0.3
Calls = Mapping[str, Callable[[], Any]]
Times = NDArray[np.float64]


def networks() -> tuple[nn.Module, TorchEmbedder]:
    """Return the network as a user has it, and as an embedder; the weights of the head do not change the cost."""
    backbone = MobileFaceNet()
    load_safetensors(backbone, model_entry(FAST_MODEL).locate("safetensors"), prefix="backbone.")
    torch.manual_seed(0)
    head = GdcHead()
    return nn.Sequential(backbone, head).eval(), TorchEmbedder(backbone, head, name="mobilefacenet, fc")


def as_pytorch_does(embedder: TorchEmbedder) -> TorchEmbedder:
    """Return a copy of the network without our 1 x 1 convolutions, which do not support vmap."""
    copied = copy.deepcopy(embedder)
    for layer in (*copied.trunk.modules(), *copied.head.modules()):
        if isinstance(layer, PointwiseConv2d):
            layer.__class__ = nn.Conv2d  # type: ignore[assignment]
    return copied


def published_xssab(network: nn.Module, first: Tensor, second: Tensor) -> list[Tensor]:
    """Follow the published call pattern: for each face and sign, two runs for the split, one for the gradients."""
    maps = []
    for explained, other in ((first, second), (second, first)):
        for sign in (True, False):
            fixed = network(other).detach()
            group = (network(explained).detach() * fixed >= THRESHOLD / fixed.shape[1]) == sign
            pixels = explained.clone().requires_grad_()
            torch.autograd.backward((network(pixels) * fixed * group).sum())
            assert pixels.grad is not None
            maps.append(pixels.grad.abs().mean(dim=1)[0])
    return maps


def our_xssab(score: CosineScore, first: Tensor, second: Tensor) -> list[Tensor]:
    """Both faces and both signs from one run."""
    _, positive, negative = argument_gradients(score, first, second, THRESHOLD)
    return [side.abs().mean(dim=1)[0] for pair in zip(positive, negative, strict=True) for side in pair]


def doubled_xssab(score: CosineScore, first: Tensor, second: Tensor) -> list[Tensor]:
    """Run both faces twice in one batch and go backward once."""
    pixels = torch.cat([first, second, first, second]).requires_grad_()
    features = score.features(pixels)
    terms, shares = score.arguments(features[0::2], features[1::2])
    group = terms.detach() >= THRESHOLD * shares
    (gradient,) = torch.autograd.grad((terms[0] * group[0]).sum() + (terms[1] * ~group[1]).sum(), pixels)
    sizes = gradient.abs().mean(dim=1)
    return [sizes[0], sizes[2], sizes[1], sizes[3]]


def vectorised_xssab(score: CosineScore, first: Tensor, second: Tensor) -> list[Tensor]:
    """Go backward once over one run, vectorised over the two signs."""
    pixels = torch.cat([first, second]).requires_grad_()
    terms, shares = score.arguments(*score.features(pixels).tensor_split(2))
    group = terms.detach() >= THRESHOLD * shares
    wanted = torch.stack([group, ~group]).float()
    (gradient,) = torch.autograd.grad(terms, pixels, wanted, is_grads_batched=True)
    sizes = gradient.abs().mean(dim=2)
    return [sizes[0, 0], sizes[1, 0], sizes[0, 1], sizes[1, 1]]


def looped_fggb(network: nn.Module, faces: Tensor, weights: Tensor, dimensions: int, *, keep: bool) -> Tensor:
    """Go backward for one dimension after the other, with a run for each or over a kept graph."""
    maps = []
    for face in faces:
        total = torch.zeros(112, 112)
        pixels = face[None].clone().requires_grad_()
        output = network(pixels)
        for index in range(dimensions):
            if not keep and index:
                output = network(pixels)
            pixels.grad = None
            torch.autograd.backward(output[0, index], retain_graph=keep)
            assert pixels.grad is not None
            size = pixels.grad.abs().mean(dim=1)[0]
            total += weights[index] * size / size.norm()
        maps.append(total)
    return torch.stack(maps)


def vectorised_fggb(score: CosineScore, faces: Tensor, weights: Tensor, chunk: int) -> Tensor:
    """Go backward for a chunk of dimensions at a time, vectorised over one copy of each face."""
    pixels = faces.clone().requires_grad_()
    features = score.features(pixels)
    total = torch.zeros(2, 112, 112)
    for part in torch.split(torch.arange(len(weights)), chunk):
        wanted = functional.one_hot(part, features.shape[1]).float()[:, None].expand(-1, 2, -1)
        (gradient,) = torch.autograd.grad(features, pixels, wanted, retain_graph=True, is_grads_batched=True)
        sizes = gradient.abs().mean(dim=2)
        total += torch.einsum("k,kshw->shw", weights[part], sizes / sizes.flatten(2).norm(dim=2)[..., None, None])
    return total


def alternate(calls: Calls, rounds: int, rng: np.random.Generator, progress: Callable[[int, int], None]) -> Times:
    """Time each call once per round, in random order; return wall and processor seconds, (2, calls, rounds).

    Processor seconds are the sum over all cores, without other processes.
    """
    names = list(calls)
    times = np.zeros((2, len(names), rounds))
    for done in range(rounds):
        for index in rng.permutation(len(names)):
            start = np.array([time.perf_counter(), time.process_time()])
            calls[names[index]]()
            times[:, index, done] = np.array([time.perf_counter(), time.process_time()]) - start
        progress(done + 1, rounds)
    return times


def ratio(slow: Times, fast: Times, rng: np.random.Generator) -> dict[str, Any]:
    """Return the ratio of medians with its 95 % interval over rounds."""
    draws = rng.integers(len(slow), size=(2000, len(slow)))
    ratios = np.median(slow[draws], axis=1) / np.median(fast[draws], axis=1)
    low, high = np.percentile(ratios, [2.5, 97.5])
    value = float(np.median(slow) / np.median(fast))
    return {"ratio": round(value, 2), "ratio_95_percent": [round(float(low), 2), round(float(high), 2)]}


def same(maps: Any, expected: Any) -> None:
    """Check that two implementations give the same maps, except for single pixels after a neuron at its kink."""
    one, other = (torch.stack(list(each)) for each in (maps, expected))
    error = float((one - other).norm() / other.norm())
    if not error < 0.01:
        raise SystemExit(f"the ways that are timed give different maps (relative difference {error:.2g})")


def our_fggb(score: CosineScore, faces: Tensor, weights: Tensor, chunk: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """Fix the chunk."""
    return lambda: weighted_sizes(score, faces[0], faces[1], weights, chunk)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--dimensions", type=int, default=32, help="dimensions per round of FGGB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    keep_freed_memory()
    network, embedder = networks()
    score, plain = CosineScore(embedder), CosineScore(as_pytorch_does(embedder))
    photos = ("obama-portrait.jpg", "obama-speech.jpg")
    faces = embedder.pixels(stack_faces([load_face(demo_photo(name)) for name in photos]))
    first, second = faces[:1], faces[1:]
    weights = torch.randn(args.dimensions, generator=torch.Generator().manual_seed(args.seed))

    xssab: Calls = {
        "published pattern": lambda: published_xssab(network, first, second),
        "ours": lambda: our_xssab(score, first, second),
        "doubled batch": lambda: doubled_xssab(score, first, second),
        "vmap": lambda: vectorised_xssab(plain, first, second),
    }
    chunks = [size for size in (4, 8, 16, 32) if size <= args.dimensions]
    fggb: Calls = {
        "loop": lambda: looped_fggb(network, faces, weights, args.dimensions, keep=False),
        "kept graph": lambda: looped_fggb(network, faces, weights, args.dimensions, keep=True),
        "vmap, chunk 16": lambda: vectorised_fggb(plain, faces, weights, 16),
        **{f"ours, chunk {size}": our_fggb(score, faces, weights, size) for size in chunks},
    }
    rng = np.random.default_rng(args.seed)
    results: dict[str, Any] = {}
    for name, calls, base in (("xssab", xssab, "published pattern"), ("fggb", fggb, "loop")):
        expected = calls[base]()
        for call in calls.values():
            same(call(), expected)
        rounds = args.rounds if name == "xssab" else max(5, args.rounds // 8)
        with progress_bar(f"timing {name}") as progress:
            times = alternate(calls, rounds, rng, progress)
        unit = 1000 if name == "xssab" else 1000 / (2 * args.dimensions)
        results[name] = {"rounds": rounds}
        for kind, measured in zip(("clock", "processor"), times, strict=True):
            rows = dict(zip(calls, measured, strict=True))
            results[name][kind] = {
                "median_ms": {key: round(float(np.median(row)) * unit, 2) for key, row in rows.items()},
                f"{base} over": {key: ratio(rows[base], row, rng) for key, row in rows.items() if key != base},
            }
    results["fggb"]["unit"] = "milliseconds per face and dimension"
    results["xssab"]["unit"] = "milliseconds per pair, both faces and both signs"
    record = {
        "question": "time of the gradient methods over the straightforward loop, same network, side by side",
        "command": f"python benchmarks/gradient_methods.py --rounds {args.rounds} --dimensions {args.dimensions} "
        f"--threads {args.threads} --seed {args.seed}",
        "targets": "xSSAB at least 3x the published call pattern, FGGB at least 8x one by one",
        **results,
        "network": "MobileFaceNet with a 128-number FC head, 112 x 112",
        "seed": args.seed,
        "threads": args.threads,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "model_sha256": embedder.sha256,
        "versions": {**software_versions(), "torch": torch.__version__},
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
