r"""Which attribute words does an identification depend on, and what remains without them? Measured on LFW people.

    python -m studies.words.uncertainty --lfw lfw-aligned-112.tar --people lfw-peopleDevTrain.txt \
        --study docs/studies/identify.json --photos 200 --out docs/studies/identify-words.json

The head is the one that studies/strangers/study.py chose, on its first division of these people. In each of the photos,
drawn from those that were not enrolled, the place of every word is erased in turn. Then the three words whose erasure
raises u most are erased together, and as many pixels at random places, always with the same eraser.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from studies.strangers.figures import word_rises_figure
from studies.strangers.open_set import split_open_set
from whyface.errors import DataError, InputError
from whyface.evaluate.intervals import wilson
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.figures.style import save_figure
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.identify.gallery_people import grid_features
from whyface.identify.uncertainty_words import TOP, Masks, UncertaintyWords, uncertainty_words, word_masks
from whyface.train.evidential_fit import EvidentialSettings, fit_evidential_head
from whyface.words.attribute_model import open_attributes
from whyface.words.noise_floor import random_blobs
from whyface.words.word_maps import ERASERS, erased_faces
from whyface.xcos.model import XcosModel, open_xcos

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAYS: Final = (
    "before",
    f"without the top {TOP} words",
    "without random places of that area",
    f"without the top {TOP} of as many random places",
)


def erase_together(
    face: NDArray[np.uint8], masks: Masks, names: Sequence[str], *, eraser: str = "black", seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Erase several words at once, and in another copy as many pixels at random places, with the same eraser.

    Parameters
    ----------
    face
        (3, 112, 112) uint8, RGB.
    masks
        Pixels of each word.
    names
        The words to erase.
    eraser
        Eraser of both.
    seed
        Seed of the random places.

    Returns
    -------
    The face with the words erased and the face with random places erased, both (3, 112, 112).

    Raises
    ------
    InputError
        If a word has no mask.
    """
    unknown = [name for name in names if name not in masks]
    if unknown:
        raise InputError(f"no place is known for {', '.join(unknown)}")
    together = np.zeros(face.shape[1:], bool)
    for name in names:
        together |= masks[name]
    blob = random_blobs(int(together.sum()), 1, np.random.default_rng(seed))
    pair = erased_faces(face, np.concatenate([together[None], blob]), eraser, seed=seed)
    return pair[0], pair[1]


def main() -> None:
    """Fit a head, erase words, and count the effects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="aligned LFW, folder or tar")
    parser.add_argument("--people", type=Path, required=True, help="lfw-peopleDevTrain.txt")
    parser.add_argument("--study", type=Path, required=True, help="identify.json of studies/strangers/study.py")
    parser.add_argument("--out", type=Path, required=True, help="result to write")
    parser.add_argument("--figure", type=Path, help="chart of the words to write")
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--draws", type=int, default=20, help="random erasures of each word's area, at least 19")
    parser.add_argument("--eraser", nargs="+", default=["black", "mean"], choices=list(ERASERS))
    parser.add_argument("--threshold", type=float, default=0.6, help="erase above this of the joint map")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = json.loads(args.study.read_text(encoding="utf-8"))
    chosen = dict(study["chosen_on"]["best"])
    name = chosen.pop("name")
    model = open_xcos(study["model"], threads=args.threads)
    if model.embedder.sha256 != study["sha256"]:
        raise DataError(f"{args.study}: made with another version of {study['model']}; run studies.strangers.study")
    listed = [line.split("\t")[0] for line in args.people.read_text(encoding="utf-8").splitlines() if "\t" in line]
    with open_pictures(args.lfw) as source:
        names = source.names()
        split = split_open_set([one.split("/")[-2] for one in names], listed, seed=args.seed)
        enrolled = [names[row] for row in split.enrolled]
        with progress_bar("enrolling") as progress:
            features = []
            for start in range(0, len(enrolled), 64):
                features.append(grid_features(model.grid(faces(source, enrolled[start : start + 64]))))
                progress(start, len(enrolled))
        head = fit_evidential_head(
            np.concatenate(features), split.enrolled_labels, split.people, EvidentialSettings(**chosen)
        )
        rng = np.random.default_rng(args.seed)
        probes = rng.permutation(len(split.probes))[: args.photos]
        attributes = open_attributes(threads=args.threads)
        results: dict[str, list[dict[str, Any]]] = {eraser: [] for eraser in args.eraser}
        with progress_bar("erasing words") as progress:
            for count, probe in enumerate(probes, start=1):
                face = faces(source, [names[split.probes[probe]]])
                person = split.people[split.probe_labels[probe]]
                own = features_of(model, face)
                masks = word_masks(face, head, own, (7, 7), attributes, threshold=args.threshold)
                for eraser in args.eraser if masks else ():
                    told = uncertainty_words(
                        head,
                        lambda one: features_of(model, one),
                        face[0],
                        masks,
                        eraser=eraser,
                        draws=args.draws,
                        seed=args.seed + count,
                    )
                    results[eraser].append(look(model, head, face[0], masks, told, person, args.seed + count))
                progress(count, len(probes))
    document = {
        "model": study["model"],
        "sha256": study["sha256"],
        "attributes": dict(attributes.heads.record).get("backbone"),
        "head": {
            "name": name,
            **chosen,
            "scale_fitted": head.scale,
            "shift_fitted": head.shift,
            "people": len(head.people),
        },
        "dataset": f"LFW, {args.people.name}, division {args.seed}: {len(split.people)} people, {len(enrolled)} photos",
        "settings": {key: getattr(args, key) for key in ("photos", "draws", "threshold", "seed")},
        "words_named": "those that are present, learnt, and not about gender, age or race",
        "command": "python -m studies.words.uncertainty --lfw ... --people lfw-peopleDevTrain.txt --study "
        f"docs/studies/identify.json --photos {args.photos} --draws {args.draws}",
        "versions": {**software_versions(), "torch": torch.__version__},
        "erasers": {eraser: summary(rows) for eraser, rows in results.items()},
    }
    write_atomic(args.out, f"{json.dumps(document, indent=1)}\n".encode())
    print(json.dumps(document["erasers"], indent=1))
    if args.figure is not None:
        save_figure(rises_figure(document), args.figure)


def rises_figure(document: dict[str, Any]) -> Figure:
    """Draw the words' mean rises with the first filler."""
    eraser, found = next(iter(document["erasers"].items()))
    return word_rises_figure(
        found["words"],
        title="Which words raise the uncertainty when they are erased",
        subtitle=f"{found['photos']} LFW photos of people in a gallery of {document['head']['people']}, painted "
        f"{eraser}; mean u before: {found['before']['mean_u']:.2f}",
    )


def faces(source: PictureSource, names: list[str]) -> NDArray[np.uint8]:
    """Read aligned faces, (N, 3, 112, 112)."""
    return np.stack([source.read(name).transpose(2, 0, 1) for name in names])


def features_of(model: XcosModel, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the features of faces that the head takes."""
    return grid_features(model.grid(np.ascontiguousarray(batch)))


def look(
    model: XcosModel,
    head: Any,
    face: NDArray[np.uint8],
    masks: Mapping[str, NDArray[np.bool_]],
    told: UncertaintyWords,
    person: str,
    seed: int,
) -> dict[str, Any]:
    """Erase the top words together, and random places for comparison."""
    top = told.top()
    erased, random = erase_together(face, masks, top, eraser=told.eraser, seed=seed)
    # The top words are chosen from many; so are these: the worst of as many random places of the words' sizes.
    rng = np.random.default_rng((seed, 1))
    places = {name: random_blobs(int(mask.sum()), 1, rng)[0] for name, mask in masks.items()}
    u = head(
        features_of(model, erased_faces(face, np.stack(list(places.values())), told.eraser, seed=seed))
    ).uncertainty
    worst = [list(places)[row] for row in np.argsort(-u)[:TOP] if u[row] > told.uncertainty]
    chosen, _ = erase_together(face, places, worst, eraser=told.eraser, seed=seed)
    belief = head(features_of(model, np.stack([face, erased, random, chosen])))
    who = [head.people[int(number)] == person for number in belief.probability.argmax(axis=1)]
    areas = [
        float(np.any([one[name] for name in names], axis=0).mean()) if names else 0.0
        for one, names in ((masks, top), (places, worst))
    ]
    return {
        "right": who,
        "u": belief.uncertainty.tolist(),
        "area": [0.0, areas[0], areas[0], areas[1]],
        "words": [
            {
                "name": word.name,
                "rise": word.uncertainty - told.uncertainty,
                "chance": word.by_chance - told.uncertainty,
                "area": word.area,
                "rank": rank,
            }
            for rank, word in enumerate(told.words)
        ],
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise one eraser: accuracy and u before and after, and every word's mean rise of u."""
    right = np.array([row["right"] for row in rows])
    u = np.array([row["u"] for row in rows])
    area = np.mean([row["area"] for row in rows], axis=0)
    found: dict[str, Any] = {"photos": len(rows)}
    for column, what in enumerate(WAYS):
        hits = int(right[:, column].sum())
        found[what] = {
            "accuracy": hits / len(rows),
            "accuracy_interval": list(wilson(hits, len(rows))),
            "mean_u": float(u[:, column].mean()),
            "median_u": float(np.median(u[:, column])),
            "area_erased": float(area[column]),
        }
    for column in (2, 3):
        # Photos that are attributed wrongly after only one of the two ways of erasing.
        only = (right[:, column] & ~right[:, 1]).sum(), (right[:, 1] & ~right[:, column]).sum()
        found[f"lost by words only, or only {WAYS[column]}"] = [int(count) for count in only]
    by_word: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for word in row["words"]:
            by_word.setdefault(word["name"], []).append(word)
    found["words"] = {
        name: {
            "photos": len(own),
            "mean_rise": float(np.mean([word["rise"] for word in own])),
            "mean_rise_by_chance": float(np.mean([word["chance"] for word in own])),
            "mean_area": float(np.mean([word["area"] for word in own])),
            "first": sum(word["rank"] == 0 for word in own),
        }
        for name, own in sorted(by_word.items(), key=lambda item: -float(np.mean([w["rise"] for w in item[1]])))
    }
    return found


if __name__ == "__main__":
    main()
