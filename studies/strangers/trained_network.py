r"""A network trained by evidence beside heads on a frozen one: which tells its people from strangers.

    python -m studies.strangers.trained_network --celeba celeba290-aligned-112.tar --photos FOLDER
    whyface train docs/studies/configs/evidential.yaml --set "data.sources=[{path: FOLDER/few}]" --out RUN
    python -m studies.strangers.trained_network --photos FOLDER --run RUN --out docs/studies/evidential-network.json

The first command writes three folders of people: ``few``, which trains, ``probes``, other photos of the same people,
and ``strangers``. Only people who were not held out from training count. Intervals resample people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyface.evaluate.bootstrap import auc_measure, bootstrap_intervals
from whyface.evaluate.rates import auc
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import sha256_of, write_atomic
from whyface.gallery.name_rebuild import HEAD_NAME
from whyface.identify.evidential import EvidentialHead, load_evidential_head
from whyface.models.embedder import l2_normalise
from whyface.train.evidential_fit import fit_evidential_head
from whyface.train.run_files import BEST, load_trained, run_features
from whyface.verification import Verifier

START: Final = "mobilefacenet-ms1m"
"""The network that training starts from."""
STRANGERS: Final = 60
TAUGHT: Final = 64
PROBES: Final = 3
_BATCH: Final = 50
FloatArray = NDArray[np.floating[Any]]
Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def split_photos(pictures: Sequence[str], seed: int = 0) -> dict[str, str]:
    """Return the folder of each chosen picture, ``.../person/picture``: ``few``, ``probes`` or ``strangers``."""
    by_person: dict[str, list[str]] = {}
    for name in sorted(pictures):
        by_person.setdefault(name.split("/")[-2], []).append(name)
    rng = np.random.default_rng(seed)
    people = rng.permutation(sorted(by_person)).tolist()
    found: dict[str, str] = {}
    taught = set(sorted(people[STRANGERS:])[:TAUGHT])
    for person in people[STRANGERS:]:
        names = rng.permutation(by_person[person]).tolist()
        count = PROBES if len(names) > 2 * PROBES else 0
        if person in taught:
            found |= {name: "probes" if place < count else "few" for place, name in enumerate(names)}
    for person in people[:STRANGERS]:
        found |= dict.fromkeys(rng.permutation(by_person[person]).tolist()[: 2 * PROBES], "strangers")
    return found


def write_photos(celeba: Path, out: Path) -> None:
    """Write the three folders."""
    with open_pictures(celeba) as source:
        for name, part in split_photos(list(source.names())).items():
            person, picture = name.split("/")[-2:]
            (out / part / person).mkdir(parents=True, exist_ok=True)
            Image.fromarray(source.read(name)).save((out / part / person / picture).with_suffix(".png"))


def summary(
    known: FloatArray,
    strangers: FloatArray,
    right: NDArray[np.bool_],
    people: tuple[NDArray[np.str_], NDArray[np.str_]],
    *,
    replicates: int = 400,
) -> dict[str, Any]:
    """Return how well a score, high for known people, tells them from strangers, and how often the person is right.

    Parameters
    ----------
    known, strangers
        Scores of the photos of either.
    right
        Whether each known photo's likeliest person is the person.
    people
        Who is in the photos of either.
    """
    scores = np.concatenate([known, strangers]).astype(np.float64)
    labels = np.repeat([True, False], [len(known), len(strangers)])
    _, numbers = np.unique(np.concatenate(people), return_inverse=True)
    numbers = numbers.astype(np.intp)
    interval = bootstrap_intervals({"auc": auc_measure(scores, labels)}, numbers, numbers, replicates=replicates)
    return {
        "auroc": round(float(auc(scores, labels)), 4),
        "interval": [round(float(end), 4) for end in interval["auc"]],
        "rank 1": round(float(right.mean()), 4),
        "median, known": round(float(np.median(known)), 4),
        "median, strangers": round(float(np.median(strangers)), 4),
    }


def read_folder(path: Path, people: set[str] | None = None) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Return the pictures of a folder of people, (N, 3, 112, 112), and who is in them."""
    with open_pictures(path) as source:
        names = [name for name in sorted(source.names()) if people is None or name.split("/")[-2] in people]
        faces = np.stack([source.read(name).transpose(2, 0, 1) for name in names])
    return np.ascontiguousarray(faces), np.array([name.split("/")[-2] for name in names])


def means(features: FloatArray, people: NDArray[np.str_]) -> tuple[list[str], FloatArray]:
    """Return people and the mean of each one's features, of unit length."""
    names = sorted(set(people.tolist()))
    return names, l2_normalise(np.stack([features[people == name].mean(axis=0) for name in names]).astype(np.float32))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--celeba", type=Path, help="write the photos of this data set, and stop")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/studies/evidential-network.json"))
    args = parser.parse_args()
    if args.celeba is not None:
        write_photos(args.celeba, args.photos)
        return
    trained = load_evidential_head(args.run / HEAD_NAME)
    taught = set(trained.people)
    parts = {name: read_folder(args.photos / name, who) for name, who in (("few", taught), ("probes", taught))}
    parts["strangers"] = read_folder(args.photos / "strangers")
    network, _ = load_trained(args.run)
    embedder = Verifier(START, threads=1).method.comparison.embedder

    def start_features(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(l2_normalise(embedder.embed(faces)), np.float32)

    rows: dict[str, Any] = {}
    for title, read in (("the start", start_features), ("trained by evidence", run_features(network))):
        found = {
            name: np.concatenate([read(faces[at : at + _BATCH]) for at in range(0, len(faces), _BATCH)])
            for name, (faces, _) in parts.items()
        }
        whose = parts["probes"][1], parts["strangers"][1]
        names, mean = means(found["few"], parts["few"][1])
        near = [found[name] @ mean.T for name in ("probes", "strangers")]
        right = np.array(names)[near[0].argmax(axis=1)] == whose[0]
        rows[f"cosine to the person's mean, {title}"] = summary(near[0].max(axis=1), near[1].max(axis=1), right, whose)
        labels = np.array([names.index(person) for person in parts["few"][1].tolist()], np.int64)
        heads: dict[str, EvidentialHead] = {
            f"u of a head fitted to features, {title}": fit_evidential_head(found["few"], labels, names)
        }
        if title == "trained by evidence":
            heads["u of the network trained by evidence"] = trained
        for name, head in heads.items():
            beliefs = [head(found[part]) for part in ("probes", "strangers")]
            right = np.array(head.people)[beliefs[0].alpha.argmax(axis=1)] == whose[0]
            # A low u is a known person.
            rows[name] = summary(-beliefs[0].uncertainty, -beliefs[1].uncertainty, right, whose)
            for end in ("median, known", "median, strangers"):
                rows[name][end] = -rows[name][end]
    document = {
        "people": len(taught),
        "photos": {name: len(faces) for name, (faces, _) in parts.items()},
        "strangers": len(set(parts["strangers"][1].tolist())),
        "run": {"sha256": sha256_of(args.run / BEST), "head": trained.record},
        "rows": rows,
        "versions": software_versions(),
    }
    write_atomic(args.out, f"{json.dumps(document, indent=1)}\n".encode())
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
