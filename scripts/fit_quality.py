r"""Fit the quality meter that comes with whyface to training people, and write its file.

    python -m scripts.fit_quality --celeba celeba290-aligned-112.tar --cfp cfp-aligned-112.tar

Nobody in LFW is read, and of CFP only people 1 to 100. Three steps:

1. Each measure's limit is one quantile of good pictures, the same for all measures; the quantile is such that all
   measures together turn away at most ``--turned-away`` of the pictures of every source (CelebA, CFP frontal, CFP
   profile). A component is 0.5 at its limit, and the median good picture is ``STEEPNESS`` widths away.
2. The limit of the share outside the photo is the smallest at which more than 1 % of strangers match, both cut alike.
3. The scale from the product of the components to the unified score: pairs of one person and of strangers, both made
   worse alike, are decided by the default model; the rate of right decisions rises with the product (isotonic fit).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from studies.quality.faces import Faces, cfp_names, cut, features_of, measure_all, people_of, read_faces

from whyface.data.degradations import draw_degradation
from whyface.explain.verdict import FaceVerifier, VerdictMethod, software_versions
from whyface.faces.quality import FaceQuality
from whyface.faces.quality_meter import ASSETS, Component, QualityMeter, Scale, log_odds, open_meter
from whyface.files.integrity import write_atomic

LOW_IS_POOR: Final = ("sharpness", "dynamic_range", "recognisability")
HIGH_IS_POOR: Final = ("noise",)
STEEPNESS: Final = 12.0
"""Steep enough that two middling measures together do not turn a face away."""

CUTS: Final = (0.2, 0.25, 0.3, 0.35, 0.4)
STRANGERS_MATCH: Final = 0.01


def fit_components(sources: Mapping[str, Sequence[FaceQuality]], turned_away: float) -> dict[str, Component]:
    """Find the largest quantile whose limits turn away at most that share of every source's good pictures."""
    low, high = 0.0, turned_away
    for _ in range(30):
        middle = (low + high) / 2
        fits = max(turned_away_by(components_at(sources, middle), sources).values()) <= turned_away
        low, high = (middle, high) if fits else (low, middle)
    return components_at(sources, low)


def components_at(sources: Mapping[str, Sequence[FaceQuality]], quantile: float) -> dict[str, Component]:
    """Return the components whose limits are a quantile of good pictures, taken of the poorest source."""
    found = {}
    for name in (*LOW_IS_POOR, *HIGH_IS_POOR):
        logarithmic, poor = name in HIGH_IS_POOR, -1 if name in HIGH_IS_POOR else 1
        values = [np.array([getattr(face, name) for face in faces], np.float64) for faces in sources.values()]
        scaled = [poor * (np.log1p(each) if logarithmic else each) for each in values]
        limit = min(float(np.quantile(each, quantile)) for each in scaled)
        width = (float(np.median(np.concatenate(scaled))) - limit) / STEEPNESS
        found[name] = Component(round(poor * limit, 4), round(poor * width, 4), logarithmic)
    return found


def turned_away_by(
    components: Mapping[str, Component], sources: Mapping[str, Sequence[FaceQuality]]
) -> dict[str, float]:
    """Return the share of each source's pictures whose product of components is below 0.5."""
    meter = QualityMeter(components, limit=0.5)
    return {
        source: float(np.mean([meter.judge(face).shortcoming is not None for face in faces]))
        for source, faces in sources.items()
    }


def fit_outside(method: VerdictMethod, faces: Faces) -> tuple[float, dict[str, float]]:
    """Return the smallest share outside the photo at which strangers match too often, and how often they do.

    All pairs of the faces are compared; each is of another person.
    """
    one, other = np.triu_indices(len(faces), 1)
    rates: dict[float, float] = {}
    for share in CUTS:
        for side in ("bottom", "right"):
            features = features_of(method, np.stack([cut(face, share, side) for face in faces]))
            match = method.comparison.scores(features[one], features[other]) > method.threshold
            rates[share] = max(rates.get(share, 0.0), float(np.mean(match)))
    too_often = [share for share in CUTS if rates[share] > STRANGERS_MATCH]
    return min(too_often, default=CUTS[-1]), {f"{share:g}": round(rate, 4) for share, rate in rates.items()}


def fit_scale(
    products: NDArray[np.float64], right: NDArray[np.bool_], genuine: NDArray[np.bool_], *, knots: int = 12
) -> Scale:
    """Fit the scale: 0 where decisions are chance, 1 where they are as good as for the best faces.

    Parameters
    ----------
    products
        Product of the components of the poorer face of each pair.
    right
        Whether the decision was right.
    genuine
        Whether the pair is of one person; both kinds weigh the same.
    """
    x = np.array([log_odds(float(product)) for product in products])
    weights = np.where(genuine, 0.5 / genuine.mean(), 0.5 / (~genuine).mean())
    fitted = IsotonicRegression(y_min=0.5, y_max=1, out_of_bounds="clip").fit(x, right, sample_weight=weights)
    points = np.quantile(x, np.linspace(0.02, 0.98, knots))
    # Around each point, so that the steps of isotonic regression become slopes.
    edges = np.concatenate([[x.min()], (points[1:] + points[:-1]) / 2, [x.max()]])
    means = [fitted.predict(x[(x >= low) & (x <= high)]).mean() for low, high in pairwise(edges)]
    gain = 2 * np.asarray(means) - 1
    scores = np.clip(gain / gain.max(), 0, 1)
    keep = [0]
    for row in range(1, len(points)):
        if scores[row] > scores[keep[-1]] + 1e-3 and points[row] > points[keep[-1]]:
            keep.append(row)
    kept, risen = points[keep].round(4).tolist(), scores[keep].round(4).tolist()
    return Scale(kept, risen)


def main() -> None:
    """Read, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--celeba", type=Path, required=True, help="aligned CelebA pictures, PERSON/PICTURE")
    parser.add_argument("--cfp", type=Path, required=True, help="aligned CFP")
    parser.add_argument("--turned-away", type=float, default=0.005, help="largest share of good pictures")
    parser.add_argument("--groups", type=int, default=100, help="groups of 16 pictures for the scale")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("src/whyface") / ASSETS / "quality.json")
    args = parser.parse_args()

    cv2.setNumThreads(1)
    meter, method = open_meter(), FaceVerifier(threads=1).method
    people = people_of(args.celeba)
    names = [name for pictures in people.values() for name in pictures]
    pictures = {
        "CelebA, 290 people": read_faces(args.celeba, names),
        "CFP frontal, people 1-100": read_faces(args.cfp, cfp_names(args.cfp, "frontal", training=True)),
        "CFP profile, people 1-100": read_faces(args.cfp, cfp_names(args.cfp, "profile", training=True)),
    }
    sources = {name: measure_all(meter, faces) for name, faces in pictures.items()}
    components = fit_components(sources, args.turned_away)
    shares = turned_away_by(components, sources)
    print(components, shares)

    starts = np.cumsum([0, *(len(of) for of in people.values())])
    several = [pictures["CelebA, 290 people"][low:high] for low, high in pairwise(starts) if high - low > 1]
    outside, rates = fit_outside(method, np.stack([faces[0] for faces in several[:120]]))
    components["outside"] = Component(outside, round(-outside / STEEPNESS, 4))
    print(outside, rates)

    fitted = QualityMeter(components, limit=0.5, recogniser=meter.recogniser)
    products, right, genuine = decide_pairs(method, fitted, several, args.groups, args.seed)
    scale = fit_scale(products, right, genuine)
    limit = scale.value(0.5)
    print(scale, limit)
    record: dict[str, Any] = {
        "format": 2,
        "limit": limit,
        "scale": {"log_odds": list(scale.log_odds), "scores": list(scale.scores)},
        "components": {name: asdict(component) for name, component in components.items()},
        "fitted": {
            "command": "python -m scripts.fit_quality --celeba ... --cfp ...",
            "good_pictures": {name: len(faces) for name, faces in sources.items()},
            "turned_away": {name: round(share, 5) for name, share in shares.items()},
            "turned_away_at_most": args.turned_away,
            "strangers_cut_alike_that_match": rates,
            "pairs_of_the_scale": {"genuine": int(genuine.sum()), "strangers": int((~genuine).sum())},
            "model": method.comparison.name,
            "model_sha256": method.comparison.sha256,
            "threshold": method.threshold,
            "seed": args.seed,
            "versions": software_versions(),
        },
    }
    write_atomic(args.out, f"{json.dumps(record, indent=1)}\n".encode())


def decide_pairs(
    method: VerdictMethod, meter: QualityMeter, people: Sequence[Faces], groups: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Decide all pairs within groups of eight people with two pictures each; a group is made worse alike.

    Every tenth group stays as it is.
    """
    rng = np.random.default_rng(seed)
    one, other = np.triu_indices(16, 1)
    same = one // 2 == other // 2
    products, right = [], []
    for group in range(groups):
        way = draw_degradation(rng) if group % 10 else None
        chosen = [people[row] for row in rng.choice(len(people), 8, replace=False)]
        faces = np.concatenate([of[rng.choice(len(of), 2, replace=False)] for of in chosen])
        if way is not None:
            faces = np.stack([way(face, rng) for face in faces])
        features = features_of(method, faces)
        right.append((method.comparison.scores(features[one], features[other]) > method.threshold) == same)
        of_face = np.array([math.prod(meter.component_values(face).values()) for face in measure_all(meter, faces)])
        products.append(np.minimum(of_face[one], of_face[other]))
    return np.concatenate(products), np.concatenate(right), np.tile(same, groups)


if __name__ == "__main__":
    main()
