r"""Fit the head that tells faces with a child's look, for any model, and measure what children do to verdicts.

    python -m scripts.fit_children xcos-mobilefacenet xcos-large --fairface fairface-aligned-112.tar \
        --labels fairface-val.csv --adults celeba290-aligned-112.tar --lfw lfw-aligned-112.tar

Ages are those that FairFace's crowd gave (Karkkainen and Joo 2021, CC BY 4.0); a child is 0 to 9 years, and faces of 10
to 19 are left out of the fit. Every person of FairFace has one picture, so folds share nobody. The pictures of
``--adults`` count as adults, so that LFW-like pictures are known to the head. Needs the extra ``evaluate``.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from whyface.evaluate.intervals import wilson
from whyface.explain.childhood import FILE_NAME, ChildHead, save_child_head, shipped_child_head
from whyface.explain.verdict import FaceVerifier, software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.models.catalogue import find_entry
from whyface.xcos.comparison import Comparison, features_in_parts

FOLDS: Final = 5
SEED: Final = 0
PENALTY: Final = 0.01
PAIRS: Final = 20_000
LFW_PICTURES: Final = 3_000
ADULTS: Final = 2_000
CHILD: Final = ("0-2", "3-9")
TEEN: Final = "10-19"
_MANGLED: Final = {"03-Sep": "3-9", "Oct-19": "10-19"}  # a spreadsheet took these for dates


def read_ages(path: Path) -> dict[str, str]:
    """Return the age group by the file's name."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"].split("/")[-1]: _MANGLED.get(row["age"], row["age"]) for row in csv.DictReader(file)}


def read_features(comparison: Comparison, path: Path, most: int | None = None) -> tuple[list[str], NDArray[np.float32]]:
    """Return the names of pictures, all or so many drawn with the seed, and their features."""
    with open_pictures(path) as source:
        names = sorted(source.names())
        if most is not None and most < len(names):
            chosen = np.sort(np.random.default_rng(SEED).choice(len(names), most, replace=False))
            names = [names[number] for number in chosen]
        parts = []
        for start in range(0, len(names), 64):
            faces = np.stack([source.read(name).transpose(2, 0, 1) for name in names[start : start + 64]])
            parts.append(np.asarray(features_in_parts(comparison, np.ascontiguousarray(faces), 32), np.float32))
    return names, np.concatenate(parts)


def fit(features: NDArray[np.float32], child: NDArray[np.bool_]) -> ChildHead:
    """Fit a logistic regression to features (N, ...), whatever their scale."""
    scale = float(np.sqrt(np.mean(np.square(features, dtype=np.float64))))
    found = LogisticRegression(C=PENALTY, max_iter=1000).fit(features.reshape(len(features), -1) / scale, child)
    return ChildHead((found.coef_[0] / scale).astype(np.float32), float(found.intercept_[0]))


def share(found: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a share with its 95 % interval (Wilson)."""
    low, high = wilson(int(found.sum()), len(found))
    return {"pictures": len(found), "share": round(float(found.mean()), 5), "interval": [round(low, 5), round(high, 5)]}


def pairs_that_match(
    verifier: FaceVerifier, features: NDArray[np.float32], groups: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> dict[str, Any]:
    """Return how many pairs of strangers, one of each group, match at the shipped threshold."""
    rng = np.random.default_rng(SEED)
    first, second = (rng.choice(group, PAIRS) for group in groups)
    kept = first != second
    first, second = first[kept], second[kept]
    scores = [
        verifier.method.comparison.scores(features[first[at : at + 1000]], features[second[at : at + 1000]])
        for at in range(0, len(first), 1000)
    ]
    return share(np.concatenate(scores) > verifier.method.threshold)


def measure(verifier: FaceVerifier, args: argparse.Namespace) -> tuple[ChildHead, dict[str, Any]]:
    """Fit the head on everything, and measure it on people outside the fit."""
    comparison = verifier.method.comparison
    labels = read_ages(args.labels)
    names, features = read_features(comparison, args.fairface)
    age = np.array([labels[name.split("/")[-1]] for name in names])
    child, teen = np.isin(age, CHILD), age == TEEN
    _, others = read_features(comparison, args.adults, ADULTS)
    fold = np.random.default_rng(SEED).integers(0, FOLDS, len(features))
    young = np.zeros(len(features), np.bool_)
    strength = np.zeros(len(features))
    for number in range(FOLDS):
        used, left = (fold != number) & ~teen, fold == number
        head = fit(np.concatenate([features[used], others]), np.concatenate([child[used], np.zeros(len(others), bool)]))
        young[left] = head(features[left])
        strength[left] = features[left].reshape(left.sum(), -1) @ head.weight
    head = fit(np.concatenate([features[~teen], others]), np.concatenate([child[~teen], np.zeros(len(others), bool)]))
    _, lfw = read_features(comparison, args.lfw, LFW_PICTURES)
    adult = np.flatnonzero(~child & ~teen)
    children = np.flatnonzero(child)
    return head, {
        "sha256": comparison.sha256,
        "threshold": verifier.method.threshold,
        "auc": round(float(roc_auc_score(child[~teen], strength[~teen])), 4),
        "warned": {group: share(young[age == group]) for group in sorted(set(age.tolist()))},
        "warned_children": share(young[child]),
        "warned_adults": share(young[~child & ~teen]),
        "warned_lfw": share(head(lfw)),
        "strangers_that_match": {
            "two children": pairs_that_match(verifier, features, (children, children)),
            "child and adult": pairs_that_match(verifier, features, (children, adult)),
            "two adults": pairs_that_match(verifier, features, (adult, adult)),
        },
    }


def main() -> None:
    """Fit and measure each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="xCos models, known ones or folders of your own")
    for name in ("fairface", "labels", "adults", "lfw"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, default=Path("docs/studies/children.json"))
    args = parser.parse_args()
    report: dict[str, Any] = {}
    for name in args.models:
        verifier = FaceVerifier(name, threads=args.threads)
        head, report[name] = measure(verifier, args)
        entry = find_entry(name)
        folder = None if entry is None or entry.shipped else entry.folder
        path = shipped_child_head(name) if folder is None else folder / FILE_NAME
        path.parent.mkdir(exist_ok=True)
        versions = software_versions()
        record = {"model": name, "sha256": report[name]["sha256"], "whyface": versions["whyface"]}
        save_child_head(path, head, record | {"labels": "FairFace, validation part, one picture a person; CC BY 4.0"})
        print(name, json.dumps(report[name]["warned_children"]), json.dumps(report[name]["strangers_that_match"]))
    text = json.dumps(
        {"command": "python -m scripts.fit_children ...", "versions": software_versions(), **report}, indent=1
    )
    write_atomic(args.out, f"{text}\n".encode())


if __name__ == "__main__":
    main()
