"""Whether the words' shares predict a score better than Sim2Word's erased words and than base rates do.

Each gives one number for a pair: the sum of the words' shares; the sum of what erasing each word of a face takes from
the score, by the published protocol; the largest of these; and the likeness in rare words. They are compared by how
much of the scores' variance they explain. Erasing runs the network again and sees the score, which shares do as well,
so random places of the words' areas are erased, too. The attribute model reads the words; nobody in these pairs was
seen by it, nor by the directions.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.words.arms import WordArm, arm_scores
from studies.words.study import TEST_FOLDS
from whyface.data.pair_lists import read_lfw_pairs
from whyface.evaluate.bootstrap import Measure, bootstrap_intervals
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.verification import Verifier
from whyface.words.attribute_model import AttributeEvidence
from whyface.words.method_comparison import PairSide, read_side
from whyface.words.word_explainer import WordExplainer, open_words
from whyface.words.word_report import WordSettings
from whyface.words.word_shares import SURE, Concepts

PEOPLE: Final = 40
PHOTOS: Final = 3
"""People, and photos of each: all pairs of these are pairs of one person."""
STRANGERS: Final = 80
PUBLISHED: Final = WordSettings(average_maps=True, fine=True, anywhere=True, least=0.0)
_CHUNK: Final = 20
FloatArray = NDArray[np.float64]


def weighted_correlation(values: FloatArray, scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the correlation of two series (N,) under each of R rows of weights (R, N), 0 if one is constant."""
    total = weights.sum(axis=1, keepdims=True)
    one = values[None] - weights @ values[:, None] / total
    other = scores[None] - weights @ scores[:, None] / total
    both = (weights * one * other).sum(axis=1)
    size = np.sqrt((weights * one**2).sum(axis=1) * (weights * other**2).sum(axis=1))
    return np.asarray(np.divide(both, size, out=np.zeros_like(both), where=size > 0))


def explained_by(
    predictors: dict[str, FloatArray],
    scores: FloatArray,
    people: tuple[NDArray[np.str_], NDArray[np.str_]],
    reference: str,
    *,
    replicates: int = 1000,
) -> dict[str, Any]:
    """Return each predictor's correlation with the scores and its square, and the reference's square less it.

    Intervals resample people. One pass over all weights serves every predictor.
    """
    measures = {name: partial(weighted_correlation, values, scores) for name, values in predictors.items()}
    squares = {f"{name}, squared": _square(measure) for name, measure in measures.items()}
    leads = {
        f"lead over {name}": _lead(squares[f"{reference}, squared"], squares[f"{name}, squared"])
        for name in predictors
        if name != reference
    }
    _, numbers = np.unique(np.concatenate(people), return_inverse=True)
    first, second = (part.astype(np.intp) for part in np.split(numbers, 2))
    intervals = bootstrap_intervals({**squares, **leads}, first, second, replicates=replicates)
    even = np.ones((1, len(scores)))
    rows: dict[str, Any] = {}
    for name, measure in measures.items():
        rows[name] = {
            "correlation": round(float(measure(even)[0]), 4),
            "share of variance": round(float(measure(even)[0] ** 2), 4),
            "interval": [round(float(end), 4) for end in intervals[f"{name}, squared"]],
        }
        if name != reference:
            lead = leads[f"lead over {name}"]
            rows[name] |= {
                "lead of the words' sum": round(float(lead(even)[0]), 4),
                "lead interval": [round(float(end), 4) for end in intervals[f"lead over {name}"]],
            }
    return rows


def _square(measure: Measure) -> Measure:
    return lambda weights: measure(weights) ** 2


def _lead(one: Measure, other: Measure) -> Measure:
    return lambda weights: one(weights) - other(weights)


def draw_pairs(
    source: PictureSource, judging: set[str], pairs: Path, strangers: int, seed: int = 0
) -> tuple[list[str], NDArray[np.str_], dict[str, tuple[NDArray[np.intp], NDArray[np.intp]]]]:
    """Draw photos of people whom neither directions nor attribute heads saw, and pairs of one person and of two."""
    protocol = read_lfw_pairs(pairs)
    tested = {
        protocol.people[picture]
        for side in (protocol.left, protocol.right)
        for picture in side[np.isin(protocol.fold, list(TEST_FOLDS))]
    }
    photos: dict[str, list[str]] = {}
    for name in sorted(source.names()):
        person = name.split("/")[-2]
        if person in judging and person in tested:
            photos.setdefault(person, []).append(name)
    rng = np.random.default_rng(seed)
    often = rng.permutation(sorted(person for person, mine in photos.items() if len(mine) >= PHOTOS)).tolist()[:PEOPLE]
    chosen = [name for person in often for name in rng.permutation(photos[person]).tolist()[:PHOTOS]]
    people = np.repeat(np.array(often), PHOTOS)
    one, other = np.triu_indices(len(people), 1)
    same = people[one] == people[other]
    drawn = rng.permutation(np.flatnonzero(~same))[:strangers]
    kinds = {"one person": (one[same], other[same]), "two people": (one[drawn], other[drawn])}
    return chosen, people, {kind: pair for kind, pair in kinds.items() if len(pair[0])}


def compare_sums(
    verifier: Verifier,
    concepts: Concepts,
    lfw: Path,
    pairs: Path,
    judging: set[str],
    kept: Path,
    *,
    strangers: int = STRANGERS,
) -> dict[str, Any]:
    """Measure what each of the predictors explains; ``kept`` keeps the erased scores.

    Parameters
    ----------
    strangers
        Pairs of two people; 0 for none.
    """
    explainer = open_words(verifier, settings=PUBLISHED)
    with open_pictures(lfw) as source:
        names, people, kinds = draw_pairs(source, judging, pairs, strangers)
        parts = []
        for start in range(0, len(names), _CHUNK):
            faces = np.stack([source.read(name).transpose(2, 0, 1) for name in names[start : start + _CHUNK]])
            parts.append(read_side(explainer, np.ascontiguousarray(faces)))
    pool = joined(parts)
    report: dict[str, Any] = {"people": len(set(people.tolist())), "photos": len(names)}
    read = pool.evidence.probabilities[:, [explainer.names.index(name) for name in concepts.names]].astype(np.float64)
    words = np.where(read >= SURE, 1.0, np.where(read <= 1 - SURE, 0.0, np.nan))
    natural = np.array([concepts.natural[name].value for name in concepts.names])
    rate = np.nanmean(words, axis=0)
    filled = np.where(np.isfinite(words), words, rate) - rate
    for kind, (first, second) in kinds.items():
        path = kept / f"erased {kind}.npz"
        if not path.exists():
            np.savez(path, allow_pickle=False, **_erased(explainer, pool, first, second))
        with np.load(path) as stored:
            erased = {name: stored[name].astype(np.float64) for name in stored.files}
        one, other = pool.features[first], pool.features[second]
        scores = erased.pop("score")
        products = np.einsum("nd,nd->n", one.reshape(len(one), -1), other.reshape(len(other), -1), dtype=np.float64)
        known = np.isfinite(words[first]) & np.isfinite(words[second])
        differ = known & (words[first] != words[second])
        predictors = {
            "the words' shares": concepts.terms(read[first], read[second]).sum(axis=1) * scores / products,
            **erased,
            "base rates: likeness of rare words": (
                filled[first] * filled[second] / np.maximum(rate * (1 - rate), 0.01)
            ).sum(axis=1),
            "number of words that differ": differ.sum(axis=1).astype(np.float64),
            "natural effects of the other half, added up": differ @ natural,
        }
        whose = people[first], people[second]
        report[kind] = {
            "pairs": len(first),
            "over all pairs": explained_by(predictors, scores, whose, "the words' shares"),
        }
        if kind == "one person":
            inside = {name: less_person(values, whose[0]) for name, values in predictors.items()}
            report[kind]["within people"] = explained_by(
                inside, less_person(scores, whose[0]), whose, "the words' shares"
            )
    return report


def joined(parts: list[PairSide]) -> PairSide:
    """Return the faces of several parts as one."""
    evidence = AttributeEvidence(
        np.concatenate([part.evidence.maps for part in parts]),
        np.concatenate([part.evidence.logits for part in parts]),
    )
    batch, features, identity = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("batch", "features", "identity")
    )
    return PairSide(batch, features, identity, evidence)


def less_person(values: FloatArray, people: NDArray[np.str_]) -> FloatArray:
    """Return values less the mean of their person's."""
    _, place, count = np.unique(people, return_inverse=True, return_counts=True)
    return np.asarray(values - (np.bincount(place, values) / count)[place])


def _erased(
    explainer: WordExplainer, pool: PairSide, first: NDArray[np.intp], second: NDArray[np.intp]
) -> dict[str, FloatArray]:
    """Return the scores, and what erasing words, and random places of their areas, takes from them."""
    found: dict[str, list[FloatArray]] = {}
    arms = {"erasing": WordArm("words", PUBLISHED), "random places": WordArm("random", PUBLISHED, is_random=True)}
    for start in range(0, len(first), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(first)))
        sides = pool.rows(first[rows]), pool.rows(second[rows])
        scores = np.asarray(explainer.comparison.scores(sides[0].features, sides[1].features), np.float64)
        found.setdefault("score", []).append(scores)
        for name, arm in arms.items():
            after = arm_scores(explainer, arm, sides, rows, "different").score
            # Without a word, erasing takes nothing.
            taken = np.nan_to_num(scores[:, None, None] - after).reshape(len(rows), -1)
            found.setdefault(f"{name}: sum of changes", []).append(taken.sum(axis=1))
            found.setdefault(f"{name}: largest rise", []).append(np.minimum(taken, 0).min(axis=1))
        print(f"erased {start + len(rows)} of {len(first)}", flush=True)
    return {name: np.concatenate(parts) for name, parts in found.items()}
