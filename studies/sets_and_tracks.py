r"""Error rates of sets of photos and of tracks of a film, against one photo, on people who are labelled.

    python -m studies.sets_and_tracks --lfw lfw-aligned-112.tar --wrong docs/studies/lfw_label_errors.json \
        --cfp cfp-aligned-112.tar --people docs/studies/lfw_overlap.json --cache runs/clusters \
        --out docs/studies/sets-and-tracks.json

*Sets* (``whyface verify --set-a A --set-b B``): two sets of k different pictures of each person; FMR over all pairs
of different people, FNMR over all people, at the thresholds on record, which were measured on single pictures of LFW.

*Tracks* (``whyface watch``): one picture of half of the people is the gallery. k other pictures of every person are a
track; its features are the mean weighted by quality, as ``watch`` computes them. FPIR is the share of tracks of the
other half whose best score is above the gallery's threshold, FNIR the share of tracks of the first half that are not
given their name. Then the halves change places.

CFP's people are those whom nothing was trained on. Pictures that ``verify`` and ``watch`` leave out as too poor are
left out; a set of nothing else is used as it is, a track of nothing else is undecided. Pictures of LFW and CFP differ
more than the frames of a film do, so a film gains less. Nothing is chosen here.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.all_faces import features_of
from whyface.evaluate.intervals import people_wilson
from whyface.evaluate.set_scoring import SetMean, set_features
from whyface.explain.trust import measured
from whyface.explain.verdict import software_versions
from whyface.faces.load import load_face
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.files.integrity import write_atomic
from whyface.files.progress import progress_bar
from whyface.gallery.kernel import GalleryFeatures
from whyface.identify.film import weight_of
from whyface.identify.gallery_people import TARGET_FPIR, gallery_threshold
from whyface.models.catalogue import DEFAULT_MODEL, model_entry
from whyface.xcos.open_model import open_model

RATES: Final = (1e-2, 1e-3, 1e-4)
SIZES: Final = (1, 2, 3, 4)

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class People:
    """Pictures of people: features (N, C, H, W), weights (N,), 0 where too poor, and the rows of each person."""

    features: Floats
    weights: NDArray[np.float64]
    rows: dict[str, list[int]]


def mean_of(model: GalleryFeatures, people: People, rows: Sequence[int], *, by_quality: bool) -> Floats:
    """Return the mean features of some pictures as sets and tracks have them, (1, C, H, W)."""
    mean = SetMean()
    good = [row for row in rows if people.weights[row] > 0] or list(rows)
    for row in good:
        mean.add(people.features[row : row + 1], max(people.weights[row], 1e-3) if by_quality else 1.0)
    return set_features(model.comparison, mean.value[None]).astype(np.float32)


def score_matrix(model: GalleryFeatures, first: Floats, second: Floats) -> Floats:
    """Return the scores of all pairs, (N, M)."""
    return np.stack([model.comparison.scores(one[None], second) for one in first])


def rate(wrong: NDArray[np.bool_], first: NDArray[np.str_], second: NDArray[np.str_]) -> dict[str, Any]:
    """Return an error rate with its interval over people."""
    low, high = people_wilson(wrong, first.tolist(), second.tolist())
    return {"rate": round(float(wrong.mean()), 6), "interval": [round(low, 6), round(high, 6)], "of": len(wrong)}


def sets_of(
    model: GalleryFeatures,
    people: People,
    chosen: dict[str, tuple[list[int], list[int]]],
    thresholds: dict[float, float],
) -> dict[str, Any]:
    """Compare the first set of every person with the second set of everybody."""
    names = np.array(list(chosen))
    sides = [
        np.concatenate([mean_of(model, people, chosen[name][side], by_quality=False) for name in names.tolist()])
        for side in (0, 1)
    ]
    scores = score_matrix(model, *sides)
    own = np.eye(len(names), dtype=bool)
    row, column = np.nonzero(~own)
    found = {}
    for fmr, threshold in thresholds.items():
        found[f"FMR {fmr:g}"] = {
            "threshold": round(threshold, 4),
            "fmr": rate(scores[~own] > threshold, names[row], names[column]),
            "fnmr": rate(scores[own] <= threshold, names, names),
        }
    return {"people": len(names), "at": found}


def tracks_of(
    model: GalleryFeatures, people: People, chosen: dict[str, tuple[int, list[int]]], seed: int
) -> dict[str, Any]:
    """Look every person's track up in a gallery of one half of the people, and then of the other half."""
    entry = model_entry(DEFAULT_MODEL)
    names = np.random.default_rng(seed).permutation(np.array(sorted(chosen)))
    missed: list[bool] = []
    named: list[bool] = []
    wrong_name = undecided = 0
    strangers: list[str] = []
    known: list[str] = []
    halves = np.array_split(names, 2)
    for mine, others in (halves, halves[::-1]):
        threshold, _ = gallery_threshold(entry, model.default_kind, len(mine))
        enrolled = np.concatenate([people.features[chosen[name][0]][None] for name in mine.tolist()])
        for name in names.tolist():
            rows = chosen[name][1]
            if not any(people.weights[row] > 0 for row in rows):
                undecided += 1
                who = None
            else:
                (scores,) = score_matrix(model, mean_of(model, people, rows, by_quality=True), enrolled)
                who = str(mine[scores.argmax()]) if scores.max() > threshold else None
            if name in others:
                named.append(who is not None)
                strangers.append(name)
            else:
                missed.append(who != name)
                wrong_name += who not in (None, name)
                known.append(name)
    return {
        "gallery": len(halves[0]),
        "fpir": rate(np.array(named), np.array(strangers), np.array(strangers)),
        "fnir": rate(np.array(missed), np.array(known), np.array(known)),
        "known_people_with_another_name": int(wrong_name),
        "undecided_tracks": undecided,
        "tracks": 2 * len(names),
    }


def read_people(
    model: GalleryFeatures, path: Path, cache: Path, kept: dict[str, list[str]], every: list[str]
) -> People:
    """Read the features that are kept, and measure the pictures' quality."""
    features = features_of(model, path, every, cache)
    place = {name: number for number, name in enumerate(every)}
    names = [name for of in kept.values() for name in of]
    weights = []
    with open_pictures(path) as source, progress_bar("measuring quality") as progress:
        for done, name in enumerate(names, start=1):
            weights.append(_weight(source, name))
            progress(done, len(names))
    numbers = iter(range(len(names)))
    rows = {person: [next(numbers) for _ in of] for person, of in kept.items()}
    return People(features[[place[name] for name in names]], np.array(weights), rows)


def _weight(source: PictureSource, name: str) -> float:
    return weight_of(measured(load_face(source.read(name), aligned=True)))


def names_in(path: Path) -> list[str]:
    """Return the pictures of a file, in the order of the features."""
    with open_pictures(path) as source:
        return [name for name in source.names() if name.endswith((".jpg", ".png"))]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lfw", "wrong", "cfp", "people", "cache", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = GalleryFeatures(open_model(DEFAULT_MODEL, threads=1).model)
    entry = model_entry(DEFAULT_MODEL)
    thresholds = {fmr: entry.operating_point(model.default_kind, fmr=fmr).threshold for fmr in RATES}
    rng = np.random.default_rng(args.seed)
    record: dict[str, Any] = {
        "command": "python -m studies.sets_and_tracks --lfw ... --wrong ... --cfp ... --people ... --cache ...",
        "model": DEFAULT_MODEL,
        "seed": args.seed,
        "fpir_meant": TARGET_FPIR,
        "versions": software_versions(),
    }
    wrong = {one["picture"] for one in json.loads(args.wrong.read_text(encoding="utf-8"))["pictures"]}
    every = names_in(args.lfw)
    of: dict[str, list[str]] = {}
    for name in every:
        if "/".join(name.split("/")[-2:]) not in wrong:
            of.setdefault(name.split("/")[1], []).append(name)
    # Twice the largest set, one picture each time.
    lfw = {
        person: [names[number] for number in rng.permutation(len(names))[: 2 * max(SIZES)]]
        for person, names in of.items()
        if len(names) >= 2 * max(SIZES)
    }
    found = read_people(model, args.lfw, args.cache / "lfw" / args.lfw.stem, lfw, every)
    record["lfw"] = _both(
        model, found, {person: (rows[:4], rows[4:]) for person, rows in found.rows.items()}, thresholds
    )
    unseen = {one["person"] for one in json.loads(args.people.read_text(encoding="utf-8"))["cfp"]}
    every = names_in(args.cfp)
    cfp: dict[str, list[str]] = {}
    for name in every:
        if name.split("/")[2] in unseen:
            cfp.setdefault(name.split("/")[2], []).append(name)
    # Frontal pictures come first: ten of them, then four profiles.
    assert all([name.split("/")[3] for name in names] == ["frontal"] * 10 + ["profile"] * 4 for names in cfp.values())
    found = read_people(model, args.cfp, args.cache / "cfp" / args.cfp.stem, cfp, every)
    for kind, second in (("frontal", slice(4, 8)), ("profile", slice(10, 14))):
        sides = {person: (rows[:4], rows[second]) for person, rows in found.rows.items()}
        record[f"cfp {kind}"] = _both(model, found, sides, thresholds)
    write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())


def _both(
    model: GalleryFeatures,
    people: People,
    sides: dict[str, tuple[list[int], list[int]]],
    thresholds: dict[float, float],
) -> dict[str, Any]:
    found: dict[str, Any] = {"sets": {}, "tracks": {}}
    for size in SIZES:
        sets = {person: (first[:size], second[:size]) for person, (first, second) in sides.items()}
        found["sets"][str(size)] = sets_of(model, people, sets, thresholds)
        tracks = {person: (first[0], second[:size]) for person, (first, second) in sides.items()}
        found["tracks"][str(size)] = tracks_of(model, people, tracks, 0)
    print(json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    main()
