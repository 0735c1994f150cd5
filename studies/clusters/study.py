r"""Group faces whose people are known, choose how on people outside LFW, and compare ways of grouping on LFW.

    python -m studies.clusters.study --celeba celeba290-aligned-112.tar \
        --fairface fairface-aligned-112.tar --lfw lfw-aligned-112.tar --wrong docs/studies/lfw_label_errors.json \
        --cache runs/clusters --out docs/studies/clusters.json

Chosen on celeba290, people who are not in LFW (the default model's head was trained on them), among FairFace's
strangers, one picture each. Every way of grouping has its own settings tried there, and the one with the highest
pairwise F is measured on LFW. All pictures count, also those too poor for a verdict, which ``whyface cluster`` leaves
apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import DBSCAN, HDBSCAN

from studies.all_faces import features_of
from studies.clusters.measures import bcubed, pairwise
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.gallery.feature_file import Layout
from whyface.gallery.grouping import group_faces, mean_between
from whyface.gallery.kernel import GalleryFeatures
from whyface.gallery.neighbours import Neighbours, find_neighbours
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.xcos.open_model import open_model

FC: Final = "mobilefacenet-large"
TIES: Final = (0.24, 0.27, 0.30, 0.33, 0.36, 0.39, 0.43)
MEANS: Final = (0.21, 0.24, 0.27, 0.30, 0.33, 0.36, 0.39)
LEAST: Final = 0.2

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Faces:
    """A set of faces: who they are, and what the models say about them."""

    people: list[str]
    records: NDArray[Any]
    layout: Layout
    neighbours: Neighbours
    fc_neighbours: Neighbours


def read_set(
    sets: list[tuple[Path, list[str], list[str]]], cache: Path, directory: Path | None, threads: int, name: str
) -> Faces:
    """Run both models on the pictures of some files, or open what an earlier run left."""
    people = [person for _, _, of in sets for person in of]
    found = {}
    for model_name in (DEFAULT_MODEL, FC):
        model = GalleryFeatures(open_model(model_name, directory=directory, threads=threads).model)
        parts = [features_of(model, path, names, cache / name / path.stem) for path, names, _ in sets]
        features = np.concatenate(parts)
        layout = model.layout(features.shape[1:], "float32")
        records = model.records(layout, 0, features)
        with progress_bar(f"{name}: neighbours by {model_name}") as progress:
            found[model_name] = (
                records,
                layout,
                find_neighbours(records, layout, LEAST, threads=threads, progress=progress),
            )
    records, layout, neighbours = found[DEFAULT_MODEL]
    return Faces(people, records, layout, neighbours, found[FC][2])


def ours(faces: Faces, tie: float, mean: float) -> Labels:
    """Group by average linkage over neighbours, as ``whyface cluster`` does."""
    between = mean_between(faces.records, faces.layout)
    return group_faces(faces.neighbours, between, threshold=tie, least_mean=mean).groups


def whispers(faces: Faces, threshold: float, *, rounds: int = 20, seed: int = 0) -> Labels:
    """Group by Chinese whispers (Biemann 2006): each face takes the label with the largest sum among its neighbours."""
    count = len(faces.people)
    graph = _graph(faces.neighbours, threshold, count)
    labels = np.arange(count)
    rng = np.random.default_rng(seed)
    for _ in range(rounds):
        for face in rng.permutation(count):
            row = slice(graph.indptr[face], graph.indptr[face + 1])
            if row.start < row.stop:
                seen, where = np.unique(labels[graph.indices[row]], return_inverse=True)
                labels[face] = seen[np.bincount(where, graph.data[row]).argmax()]
    return labels


def dbscan(faces: Faces, threshold: float, least: int, *, fc: bool = True) -> Labels:
    """Group by DBSCAN over distances 1 - score; noise is alone."""
    count = len(faces.people)
    graph = _graph(faces.fc_neighbours if fc else faces.neighbours, threshold, count)
    graph.data = np.maximum(1 - graph.data, 0)
    found = DBSCAN(eps=1 - threshold, min_samples=least, metric="precomputed").fit(graph)
    return _noise_alone(found.labels_)


def hdbscan(faces: Faces, least: int) -> Labels:
    """Group by HDBSCAN over the distances between all faces; noise is alone."""
    unit = faces.records["unit"].reshape(len(faces.people), -1)
    lengths = np.linalg.norm(unit, axis=1, keepdims=True)
    distances = np.clip(1 - (unit / lengths) @ (unit / lengths).T, 0, 2)
    distances = (distances + distances.T) / 2
    np.fill_diagonal(distances, 0)
    found = HDBSCAN(min_cluster_size=2, min_samples=least, metric="precomputed", copy=False).fit(distances)
    return _noise_alone(found.labels_)


def _graph(neighbours: Neighbours, threshold: float, count: int) -> csr_matrix:
    kept = neighbours.scores >= threshold
    one, other = neighbours.pairs[kept].T
    values = np.concatenate([neighbours.scores[kept]] * 2)
    return csr_matrix((values, (np.concatenate([one, other]), np.concatenate([other, one]))), shape=(count, count))


def _noise_alone(labels: Labels) -> Labels:
    alone = labels < 0
    labels = labels.copy()
    labels[alone] = labels.max() + 1 + np.arange(alone.sum())
    return labels


WAYS: Final[dict[str, tuple[Callable[..., Labels], list[tuple[float, ...]]]]] = {
    "average linkage over neighbours (ours)": (ours, [pair for pair in product(TIES, MEANS) if pair[0] >= pair[1]]),
    "Chinese whispers": (whispers, [(tie,) for tie in TIES]),
    "DBSCAN": (lambda faces, tie, least: dbscan(faces, tie, int(least), fc=False), list(product(TIES, (2, 3)))),
    f"DBSCAN, FC layer of {FC}": (
        lambda faces, tie, least: dbscan(faces, tie, int(least)),
        list(product(TIES, (2, 3))),
    ),
    "HDBSCAN": (lambda faces, least: hdbscan(faces, int(least)), [(1.0,), (2.0,), (3.0,)]),
}


def measured(people: list[str], labels: Labels) -> dict[str, Any]:
    """Return the measures of a grouping."""
    names = ("precision", "recall", "f")
    return {
        "pairwise": dict(zip(names, (round(value, 4) for value in pairwise(people, labels)), strict=True)),
        "bcubed": dict(zip(names, (round(value, 4) for value in bcubed(people, labels)), strict=True)),
        "groups": len(np.unique(labels)),
    }


def main() -> None:
    """Choose, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("celeba", "fairface", "lfw", "wrong", "cache", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    wrong = {entry["picture"] for entry in json.loads(args.wrong.read_text(encoding="utf-8"))["pictures"]}
    sets = {}
    for key in ("celeba", "fairface", "lfw"):
        with open_pictures(getattr(args, key)) as source:
            sets[key] = [name for name in source.names() if name.endswith((".jpg", ".png"))]
    celeba = sets["celeba"]
    choosing = read_set(
        [
            (args.celeba, celeba, [name.split("/")[1] for name in celeba]),
            (args.fairface, sets["fairface"], sets["fairface"]),
        ],
        args.cache,
        args.model_dir,
        args.threads,
        "choosing",
    )
    every = sets["lfw"]
    judging = read_set(
        [(args.lfw, every, [name.split("/")[1] for name in every])], args.cache, args.model_dir, args.threads, "lfw"
    )
    counted = np.array(["/".join(name.split("/")[-2:]) not in wrong for name in every])
    people = [person for person, kept in zip(judging.people, counted.tolist(), strict=True) if kept]
    ways = {}
    for name, (way, settings) in WAYS.items():
        tried = {}
        for setting in settings:
            tried[setting] = measured(choosing.people, way(choosing, *setting))
        best = max(tried, key=lambda one: tried[one]["pairwise"]["f"])
        start = time.perf_counter()
        labels = way(judging, *best)
        seconds = time.perf_counter() - start
        ways[name] = {
            "setting": list(best),
            "chosen_on": tried[best],
            "lfw": measured(people, labels[counted]),
            "seconds_without_comparing": round(seconds, 2),
            "tried": [{"setting": list(setting), **values} for setting, values in tried.items()],
        }
        print(name, best, tried[best]["pairwise"], ways[name]["lfw"], flush=True)
    record = {
        "command": "python -m studies.clusters.study --celeba ... --fairface ... --lfw ... --wrong ... --cache ...",
        "chosen_on": {"faces": len(choosing.people), "people": len(set(choosing.people))},
        "lfw": {"faces": int(counted.sum()), "people": len(set(people)), "left_out": sorted(wrong)},
        "models": [DEFAULT_MODEL, FC],
        "versions": software_versions(),
        "ways": ways,
    }
    write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())


if __name__ == "__main__":
    main()
