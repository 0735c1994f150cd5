r"""Measure what the quality meter turns away, and what poor faces that it lets pass still do.

    python -m studies.quality.study --lfw lfw-aligned-112.tar --pairs lfw-pairs.txt --cfp cfp-aligned-112.tar \
        --non-faces .../skimage/data .../sklearn/datasets/images .../tuxpaint-stamps-default ...

Nothing is fitted here: the meter, the default model and its threshold are those that ship (scripts/fit_quality.py).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from studies.quality.discard import Decisions, discard_curve, discard_figure
from studies.quality.faces import CFP_TRAINING, ROWS, Faces, cfp_names, features_of, measure_all, people_of, read_faces
from studies.quality.nonfaces import drawn_face, false_finds, photos
from whyface.data.degradations import draw_degradation
from whyface.data.pair_lists import read_cfp_pairs, read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.explain.verdict import FaceVerifier, VerdictMethod, software_versions
from whyface.faces.centerface import CenterFaceDetector, CentreSettings, open_centerface
from whyface.faces.pictures import open_pictures
from whyface.faces.quality import FaceQuality
from whyface.faces.quality_meter import QualityMeter, open_meter
from whyface.figures.style import save_figure
from whyface.files.guarded import read_json
from whyface.files.integrity import write_atomic
from whyface.models.catalogue import DEFAULT_MODEL, FAST_MODEL

PARTS: Final = ("clean", "rows", "false-finds", "decisions")
MODELS: Final = (DEFAULT_MODEL, FAST_MODEL)
"""Both judge the false finds; all else is the default's."""
DETECTION_SCORES: Final = (0.3, CentreSettings().threshold)
"""The detector's default, and less than that, so that there are more false finds to judge."""


def turned_away(meter: QualityMeter, path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return how many clean pictures are turned away, and why."""
    faces = measure_all(meter, read_faces(path, names))
    reasons = Counter(face.shortcoming for face in faces if face.shortcoming is not None)
    return {"pictures": len(faces), "turned_away": sum(reasons.values()), "reasons": dict(reasons)}


def strangers_made_worse(
    meter: QualityMeter, method: VerdictMethod, faces: Faces, seed: int
) -> dict[str, dict[str, Any]]:
    """Return for each row how many pairs of strangers match, and how many of them the meter lets pass."""
    one, other = np.triu_indices(len(faces), 1)
    found = {}
    for row, (name, way) in enumerate(ROWS.items()):
        rng = np.random.default_rng([seed, row])
        worse = np.stack([way(face, rng) for face in faces])
        measured = measure_all(meter, worse)
        good = np.array([face.shortcoming is None for face in measured])
        features = features_of(method, worse)
        match = method.comparison.scores(features[one], features[other]) > method.threshold
        found[name] = {
            "pairs": len(one),
            "match": int(match.sum()),
            "match_and_pass": int((match & good[one] & good[other]).sum()),
            "faces": len(faces),
            "faces_turned_away": int((~good).sum()),
            "median_unified": round(float(np.median([face.unified or 0.0 for face in measured])), 4),
            "reasons": dict(Counter(face.shortcoming for face in measured if face.shortcoming is not None)),
        }
        print(name, found[name], flush=True)
    return found


def judge_false_finds(method: VerdictMethod, found: Sequence[tuple[str, Faces, FaceQuality]]) -> dict[str, Any]:
    """Return how many pairs of false finds, from different pictures, match, and how many of them pass."""
    features = features_of(method, np.stack([crop for _, crop, _ in found]))
    good = np.array([quality.shortcoming is None for *_, quality in found])
    names = np.array([name.split("#")[0] for name, *_ in found])
    one, other = np.triu_indices(len(found), 1)
    different = names[one] != names[other]
    one, other = one[different], other[different]
    match = method.comparison.scores(features[one], features[other]) > method.threshold
    return {
        "finds": len(found),
        "turned_away": int((~good).sum()),
        "pairs": len(one),
        "match": int(match.sum()),
        "match_and_pass": int((match & good[one] & good[other]).sum()),
        "passing": [
            {
                "picture": name,
                "detection_score": round(quality.detection_score or 0.0, 3),
                "landmark_misfit": round(quality.landmark_misfit or 0.0, 3),
            }
            for name, _, quality in found
            if quality.shortcoming is None
        ],
        "reasons": dict(Counter(quality.shortcoming for *_, quality in found if quality.shortcoming is not None)),
    }


def decide(
    meter: QualityMeter,
    method: VerdictMethod,
    path: Path,
    protocol: PairProtocol,
    chosen: NDArray[np.intp],
    *,
    worse: int | None = None,
) -> Decisions:
    """Decide chosen pairs of a protocol, as they are or, with a seed, each pair made worse alike."""
    pictures = protocol.pictures
    one, other = (read_faces(path, [pictures[row] for row in rows[chosen]]) for rows in (protocol.left, protocol.right))
    if worse is not None:
        rng = np.random.default_rng(worse)
        for row in range(len(chosen)):
            way = draw_degradation(rng)
            one[row], other[row] = way(one[row], rng), way(other[row], rng)
    unified = [[face.unified or 0.0 for face in measure_all(meter, faces)] for faces in (one, other)]
    scores = method.comparison.scores(features_of(method, one), features_of(method, other))
    return Decisions(np.min(unified, axis=0), np.asarray(scores > method.threshold), protocol.genuine[chosen])


def choose(protocol: PairProtocol, count: int, seed: int, allowed: NDArray[np.bool_] | None = None) -> NDArray[np.intp]:
    """Draw so many genuine and so many impostor pairs."""
    rng = np.random.default_rng(seed)
    usable = np.ones(len(protocol.genuine), bool) if allowed is None else allowed
    parts = [rng.permutation(np.flatnonzero(usable & (protocol.genuine == kind)))[:count] for kind in (True, False)]
    return np.concatenate(parts)


def main() -> None:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="aligned LFW")
    parser.add_argument("--pairs", type=Path, required=True, help="the official pairs.txt")
    parser.add_argument("--cfp", type=Path, required=True, help="aligned CFP")
    parser.add_argument("--non-faces", type=Path, nargs="+", required=True, help="folders of pictures without people")
    parser.add_argument("--crops", type=int, default=4, help="crops of each picture without people")
    parser.add_argument("--drawn", type=int, default=120, help="faces drawn by a program")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="others stay as they are in --out")
    parser.add_argument("--faces", type=int, default=80, help="strangers of each row; all their pairs are compared")
    parser.add_argument("--decisions", type=int, default=200, help="pairs of each kind for the curves")
    parser.add_argument("--clean", type=int, default=4000, help="clean pictures of each set, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/quality.png"))
    parser.add_argument("--out", type=Path, default=Path("docs/studies/quality.json"))
    args = parser.parse_args()

    cv2.setNumThreads(1)
    meter, method = open_meter(), FaceVerifier(threads=1).method
    record: dict[str, Any] = read_json(args.out) if args.out.exists() else {}
    record |= {
        "command": "python -m studies.quality.study --lfw ... --pairs ... --cfp ... --non-faces ...",
        "model": method.comparison.name,
        "threshold": method.threshold,
        "limit": meter.limit,
        "seed": args.seed,
        "versions": software_versions(),
    }
    lfw = people_of(args.lfw)
    if "clean" in args.parts:
        record["clean"] = measure_clean(meter, lfw, args)
    if "rows" in args.parts:
        strangers = np.random.default_rng(args.seed).choice(sorted(lfw), args.faces, replace=False)
        faces = read_faces(args.lfw, [lfw[name][0] for name in strangers])
        record["strangers_made_worse_alike"] = strangers_made_worse(meter, method, faces, args.seed)
    if "false-finds" in args.parts:
        record["false_finds"] = measure_false_finds(meter, args)
    if "decisions" in args.parts:
        decisions = decide_sets(meter, method, args)
        curves = {name: discard_curve(made) for name, made in decisions.items()}
        record["error_versus_discard"] = {name: curve.to_dict() for name, curve in curves.items()}
        record["unified_against_decisions"] = {name: made.by_unified() for name, made in decisions.items()}
        record["at_the_limit"] = {name: made.at_limit(meter.limit) for name, made in decisions.items()}
        turned = {name: made.turned_away(meter.limit) for name, made in decisions.items()}
        save_figure(discard_figure(curves, turned), args.figure, dpi=150)
    write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())


def measure_false_finds(meter: QualityMeter, args: argparse.Namespace) -> dict[str, Any]:
    """Judge what the detector takes for faces, at each of its scores, with each model."""
    detector = CenterFaceDetector(open_centerface(threads=1), CentreSettings(threshold=min(DETECTION_SCORES)))
    pictures = 0

    def counted() -> Iterator[tuple[str, Faces]]:
        nonlocal pictures
        drawn = ((f"drawn {seed}", drawn_face(seed)) for seed in range(args.drawn))
        for one in chain(photos(args.non_faces, crops=args.crops, seed=args.seed), drawn):
            pictures += 1
            yield one

    finds = false_finds(detector, meter, counted())
    levels = {
        f"{score:g}": [one for one in finds if (one[2].detection_score or 0.0) >= score] for score in DETECTION_SCORES
    }
    judged = {}
    for name in MODELS:
        method = FaceVerifier(name, threads=1).method
        judged[name] = {score: judge_false_finds(method, some) for score, some in levels.items() if some}
    return {"pictures": pictures, **judged}


def measure_clean(meter: QualityMeter, lfw: dict[str, list[str]], args: argparse.Namespace) -> dict[str, Any]:
    """Measure clean pictures of people whom the fit has not seen."""
    sets = {
        "LFW": (args.lfw, list(chain.from_iterable(lfw.values()))),
        "CFP frontal, people 101-500": (args.cfp, cfp_names(args.cfp, "frontal", training=False)),
        "CFP profile, people 101-500": (args.cfp, cfp_names(args.cfp, "profile", training=False)),
    }
    rng = np.random.default_rng(args.seed)
    clean = {}
    for name, (path, names) in sets.items():
        sample = sorted(rng.choice(names, min(args.clean, len(names)), replace=False).tolist())
        clean[name] = turned_away(meter, path, sample)
        print(name, clean[name], flush=True)
    return clean


def decide_sets(meter: QualityMeter, method: VerdictMethod, args: argparse.Namespace) -> dict[str, Decisions]:
    """Decide pairs of LFW, as they are and made worse, and of CFP's people of whom the fit has seen nothing."""
    protocol = read_lfw_pairs(args.pairs)
    chosen = choose(protocol, args.decisions, args.seed)
    with open_pictures(args.cfp) as source:
        profiles = read_cfp_pairs(source, "FP")
    unseen = np.array([int(name.split("/")[-3]) > CFP_TRAINING for name in profiles.pictures])
    both = choose(profiles, args.decisions, args.seed, unseen[profiles.left] & unseen[profiles.right])
    return {
        "LFW": decide(meter, method, args.lfw, protocol, chosen),
        "LFW, made worse": decide(meter, method, args.lfw, protocol, chosen, worse=args.seed),
        "CFP frontal-profile": decide(meter, method, args.cfp, profiles, both),
    }


if __name__ == "__main__":
    main()
