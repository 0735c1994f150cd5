r"""Measure what similarity is usual at each place of a model's grid, for strangers and for pairs of one person.

    python scripts/usual_similarity.py xcos-mobilefacenet mobilefacenet-ms1m --model-dir weights \
        --pictures celeba290-aligned-112.tar --about "CelebA, 290 people"

Four pictures of each person: all genuine pairs, and strangers drawn with a fixed seed. Needs the extra ``evaluate``.
The people must be nobody that tests know, and should be nobody that the model was trained on. Results go to the package
for known models, and to the folder of a model of your own.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from whyface.explain.usual import FILE_NAME, LEVELS, UsualSimilarity, save_usual, shipped_usual
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.models.catalogue import find_entry
from whyface.xcos.comparison import Comparison, Features, features_in_parts
from whyface.xcos.open_model import open_model

EACH = 4
STRANGERS = 6000
SEED = 0
BATCH = 32
PAIRS = 500


def main() -> None:
    """Read the faces once, measure every model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="known models, or folders of your own")
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--pictures", type=Path, required=True, help="aligned SET/PERSON/PICTURE, folder or tar")
    parser.add_argument("--about", required=True, help="name of the set, for the record")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    with open_pictures(args.pictures) as source:
        people, faces = some_of_each(source)
    first, second = np.triu_indices(len(people), 1)
    same = people[first] == people[second]
    genuine = np.flatnonzero(same)
    strangers = np.random.default_rng(SEED).choice(np.flatnonzero(~same), STRANGERS, replace=False)
    for name in args.models:
        entry = find_entry(name)
        attention = None if entry is not None and entry.kind == "xcos" else "u"
        opened = open_model(name, attention=attention, directory=args.model_dir, threads=args.threads)
        comparison = opened.comparison()
        features = features_in_parts(comparison, faces, BATCH)

        found = [similarities(comparison, features, first[kind], second[kind]) for kind in (strangers, genuine)]
        about = f"{len(set(people))} people: {len(genuine)} genuine pairs, {STRANGERS} pairs of strangers"
        usual = fit(found[0], found[1], f"{args.about}; {about}")
        folder = None if entry is None or entry.shipped else entry.folder
        path = shipped_usual(opened.name) if folder is None else folder / FILE_NAME
        record = {"model": opened.name, "sha256": comparison.sha256, "whyface": software_versions()["whyface"]}
        save_usual(path, usual, record)
        print(f"{opened.name}: {usual.middle.shape}, {usual.source}")


def some_of_each(source: PictureSource) -> tuple[NDArray[np.str_], NDArray[np.uint8]]:
    """Read the first pictures of each person; return whose they are, and the batch (N, 3, 112, 112)."""
    pictures: dict[str, list[str]] = {}
    for name in source.names():
        pictures.setdefault(name.split("/")[1], []).append(name)
    chosen = [(person, name) for person, names in pictures.items() for name in names[:EACH]]
    faces = np.stack([source.read(name).transpose(2, 0, 1) for _, name in chosen])
    return np.array([person for person, _ in chosen]), np.ascontiguousarray(faces)


def similarities(
    comparison: Comparison, features: Features, first: NDArray[np.intp], second: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return S (N, h, w) of N pairs of rows, some hundred pairs at a time."""
    parts = []
    for start in range(0, len(first), PAIRS):
        maps = comparison.maps(features[first[start : start + PAIRS]], features[second[start : start + PAIRS]])
        if maps is None:
            raise SystemExit(f"{comparison.name} compares faces as a whole; give it an attention")
        parts.append(maps.similarity)
    return np.concatenate(parts)


def fit(strangers: NDArray[np.float32], genuine: NDArray[np.float32], source: str) -> UsualSimilarity:
    """Fit to similarities (N, h, w) of both kinds."""
    shape = strangers.shape[1:]
    slope, middle = np.empty(shape, np.float32), np.empty(shape, np.float32)
    labels = np.repeat([0, 1], [len(strangers), len(genuine)])
    for place in np.ndindex(*shape):
        values = np.concatenate([strangers[:, *place], genuine[:, *place]])[:, None].astype(np.float64)
        curve = LogisticRegression(C=1e6, class_weight="balanced").fit(values, labels)
        slope[place] = curve.coef_[0, 0]
        middle[place] = -curve.intercept_[0] / curve.coef_[0, 0]
    return UsualSimilarity(
        strangers=np.quantile(strangers, LEVELS, axis=0).astype(np.float32),
        genuine=np.quantile(genuine, LEVELS, axis=0).astype(np.float32),
        slope=slope,
        middle=middle,
        pairs=min(len(strangers), len(genuine)),
        source=source,
    )


if __name__ == "__main__":
    main()
