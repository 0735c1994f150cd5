r"""Fit the attribute heads of the package, measure them on other people, and write them.

    python scripts/fit_attributes.py --lfw lfw-aligned-112.tar --labels lfw-attributes.csv --pairs lfw-pairs.txt

``--model`` chooses the network whose maps are read; the package ships the heads of the default.

The split is by people: everybody in the first five folds of LFW's pairs is test data, so that words can be evaluated on
these 3,000 pairs; a fifth of the others is for validation (penalty, calibration), the rest for training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribute_fit import LinearFit, calibrated, fit_logistic
from attribute_labels import LOWEST_CUT, AttributeLabels, read_attribute_labels, soft_targets
from attribute_measures import contrast_map, locality, measure_attribute
from whyface.data.pair_lists import read_lfw_pairs
from whyface.evaluate.rates import auc
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.models.catalogue import DEFAULT_MODEL, model_entry, shipped_models
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.words.attribute_model import LEARNT_AUC, PRESENT, SHIPPED_NAME, AttributeHeads, save_attributes

TENSORS = {
    "xcos-large": {"last wide map": "prelu_32", "last map": "prelu_33"},
    "xcos-mobilefacenet": {"last map": "hardtanh_31", "grid": "grid"},
}
"""Spatial maps of a network that heads may read; the AUC on validation people chooses one."""

PENALTIES = (1e-3, 3e-3, 1e-2)
TEST_FOLDS = range(5)
_BATCH = 64


def read_maps(
    model: str, tensor: str, pictures: Path, labels: AttributeLabels, cache: Path | None
) -> NDArray[np.float16]:
    """Return the maps of all pictures, (N, C, 7, 7); they are kept in ``cache``."""
    file = None if cache is None else cache / f"{model}-{tensor}.npy"
    if file is not None and file.is_file():
        found: NDArray[np.float16] = np.load(file, mmap_mode="r")
        if len(found) == len(labels.pictures):
            return found
    entry = model_entry(model)
    network = OnnxEmbedder(entry.locate("onnx"), preprocessing=entry.preprocessing, grid=tensor)
    parts = []
    with open_pictures(pictures) as source, progress_bar(f"running {model}") as progress:
        names = [f"lfw/{person}/{name}" for person, name in zip(labels.people, labels.pictures, strict=True)]
        for start in range(0, len(names), _BATCH):
            batch = np.stack([source.read(name) for name in names[start : start + _BATCH]]).transpose(0, 3, 1, 2)
            parts.append(network.grid(np.ascontiguousarray(batch)).astype(np.float16))
            progress(min(start + _BATCH, len(names)), len(names))
    maps = np.concatenate(parts)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, maps)
    return maps


def split_people(labels: AttributeLabels, pairs: Path, seed: int) -> dict[str, NDArray[np.bool_]]:
    """Return the pictures of each part; no person is in two."""
    protocol = read_lfw_pairs(pairs)
    tested = {
        protocol.people[picture]
        for side in (protocol.left, protocol.right)
        for picture in side[np.isin(protocol.fold, list(TEST_FOLDS))]
    }
    people = np.array(labels.people)
    test = np.isin(people, sorted(tested))
    others = np.unique(people[~test])
    chosen = np.random.default_rng(seed).choice(others, len(others) // 5, replace=False)
    validation = np.isin(people, chosen) & ~test
    return {"train": ~test & ~validation, "validation": validation, "test": test}


def mean_auc(fit: LinearFit, features: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Return the mean AUC over attributes."""
    logits = fit(features)
    return float(np.mean([auc(logits[:, k], truth[:, k]) for k in range(truth.shape[1])]))


def choose(
    features: NDArray[np.float32],
    parts: dict[str, NDArray[np.bool_]],
    targets: dict[str, NDArray[np.float64]],
    truth: NDArray[np.bool_],
) -> tuple[LinearFit, list[dict[str, Any]]]:
    """Fit with every kind of target and penalty and keep the best on validation people."""
    train, validation = parts["train"], parts["validation"]
    tried: list[dict[str, Any]] = []
    best: tuple[float, LinearFit] | None = None
    for kind, target in targets.items():
        for penalty in PENALTIES:
            fit = fit_logistic(features[train], target[train], penalty=penalty)
            value = mean_auc(fit, features[validation], truth[validation])
            tried.append({"targets": kind, "penalty": penalty, "validation_auc": value})
            print(f"  {kind} targets, penalty {penalty:g}: mean AUC {value:.4f} on validation people", flush=True)
            if best is None or value > best[0]:
                best = value, fit
    assert best is not None
    return best[1], tried


def baselines(
    maps: NDArray[np.float16], weight: NDArray[np.float32], truth: NDArray[np.bool_], rows: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the mean evidence of training faces that lack each attribute, (K, H, W)."""
    train = np.asarray(maps[rows], np.float32)
    lacking = (~truth[rows]).astype(np.float32)
    means = (lacking.T @ train.reshape(len(train), -1)) / lacking.sum(axis=0)[:, None]
    return np.asarray(np.einsum("kchw,kc->khw", means.reshape(-1, *train.shape[1:]), weight), np.float32)


def main() -> None:
    """Fit, measure, and write the heads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="aligned pictures, folder or tar")
    parser.add_argument("--labels", type=Path, required=True, help="table of attributes")
    parser.add_argument("--pairs", type=Path, required=True, help="the official pairs.txt")
    parser.add_argument("--model", choices=sorted(TENSORS), default=DEFAULT_MODEL)
    parser.add_argument("--cache", type=Path, help="folder for the network's maps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=shipped_models() / SHIPPED_NAME)
    parser.add_argument("--report", type=Path, default=Path("docs/studies/attributes.json"))
    args = parser.parse_args()

    labels = read_attribute_labels(args.labels)
    parts = split_people(labels, args.pairs, args.seed)
    known = parts["train"] | parts["validation"]
    cuts = labels.cuts(known)
    truth = labels.probabilities > cuts
    targets = {"soft": soft_targets(labels.probabilities, cuts), "hard": truth.astype(np.float64)}

    results: dict[str, dict[str, Any]] = {}
    fits = {}
    tensors = TENSORS[args.model]
    for name, tensor in tensors.items():
        print(f"{name} ({tensor})", flush=True)
        features = np.asarray(read_maps(args.model, tensor, args.lfw, labels, args.cache), np.float32).mean(axis=(2, 3))
        fits[name], tried = choose(features, parts, targets, truth)
        results[name] = {"tensor": tensor, "tried": tried}
    chosen = max(results, key=lambda name: max(row["validation_auc"] for row in results[name]["tried"]))

    maps = read_maps(args.model, tensors[chosen], args.lfw, labels, args.cache)
    features = np.asarray(maps, np.float32).mean(axis=(2, 3))
    fit = calibrated(fits[chosen], features[parts["validation"]], truth[parts["validation"]])
    chance = 1 / (1 + np.exp(-fit(features)))
    weight = fit.weight.astype(np.float32)
    test = parts["test"]
    people = np.array(labels.people)
    measured: dict[str, Any] = {}
    test_maps = np.asarray(maps[test], np.float32)
    for k, name in enumerate(labels.names):
        row = measure_attribute(
            chance[test, k], truth[test, k], people[test].tolist(), cut=PRESENT, seed=args.seed
        ).to_dict()
        contrast = contrast_map(np.einsum("nchw,c->nhw", test_maps, weight[k], optimize=True), truth[test, k])
        row |= {
            "label_cut": float(cuts[k]),
            "judged": bool(cuts[k] >= LOWEST_CUT),
            "locality": locality(contrast),
            "contrast": [[round(float(value), 3) for value in line] for line in contrast],
        }
        measured[name] = row
        print(f"{name:22} AUC {row['auc']:.3f}  balanced {row['balanced_accuracy']:.3f}  ECE {row['ece']:.3f}")
    entry = model_entry(args.model)
    sizes = {
        part: {"pictures": int(rows.sum()), "people": len(np.unique(people[rows]))} for part, rows in parts.items()
    }
    record = {
        "backbone": args.model,
        "backbone_sha256": entry.files["onnx"].sha256,
        "tensor": tensors[chosen],
        "labels": "opinions of other models: FaRL (CelebA's 40 attributes), DeepFace (gender, race, age); LFW",
        "split": sizes,
        "test_people": "everybody in folds 1 to 5 of LFW's pairs.txt",
        "seed": args.seed,
        "licence": "Apache-2.0",
        "measured": {
            name: {key: round(row[key], 4) for key in ("auc", "base_rate", "locality")} | {"judged": row["judged"]}
            for name, row in measured.items()
        },
    }
    heads = AttributeHeads(
        labels.names, weight, fit.bias.astype(np.float32), baselines(maps, weight, truth, parts["train"]), record
    )
    save_attributes(args.out, heads)
    report = {
        **{key: value for key, value in record.items() if key != "measured"},
        "command": "python scripts/fit_attributes.py --lfw ... --labels ... --pairs ...",
        "chosen": chosen,
        "candidates": results,
        "learnt_auc": LEARNT_AUC,
        "measured": measured,
        "versions": software_versions(),
    }
    args.report.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(args.report, f"{json.dumps(report, indent=1)}\n".encode())


if __name__ == "__main__":
    main()
