r"""Fit the directions of words in a model's features, and measure what each word costs between photos of one person.

    python -m scripts.fit_word_shares xcos-large --celeba celeba290-aligned-112.tar --lfw lfw-aligned-112.tar \
        --labels lfw-attributes.csv --kept FOLDER --out docs/studies/word-shares.json

A direction is how a person's features move with an attribute: ridge regression within people, on CelebA's people with
what the attribute model reads, and on half of LFW's people with FaRL's labels. Each direction is shortened to what two
halves of these people agree on. The natural effects come from pairs of photos of one person of LFW: words that the
labels are sure of in both, person effects taken out, intervals by resampling people. The same half of LFW's people
decides which words may be said; what is reported is measured on the other half. ``--kept`` keeps features.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.integrity import write_atomic
from whyface.verification import Verifier
from whyface.words.attribute_model import AttributeReader, open_attributes
from whyface.words.word_shares import SURE, Concepts, save_concepts, shipped_concepts, word_shares
from whyface.xcos.comparison import Comparison

SEED: Final = 0
PENALTY: Final = 1.0
LEAST_VARIATION: Final = 20.0
MOST_PHOTOS: Final = 10
TRAINING_PHOTOS: Final = 8
"""Photos of one person of LFW, and of CelebA."""
REPLICATES: Final = 1000
FEWEST_PAIRS: Final = 100
STRANGERS: Final = 4000
SAID_PAIRS: Final = 1000
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Photos:
    """N photos: the person in each, features (N, ...), probabilities of words (N, K), 1 or 0 where they are sure."""

    people: NDArray[np.str_]
    features: NDArray[np.float16]
    read: FloatArray
    words: FloatArray


def within(values: FloatArray, people: NDArray[Any]) -> FloatArray:
    """Return rows less the mean of their person's rows."""
    _, place, count = np.unique(people, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), values.shape[1]))
    np.add.at(sums, place, values)
    return np.asarray(values - (sums / count[:, None])[place])


def fit_directions(features: FloatArray, readings: FloatArray, people: NDArray[Any], penalty: float) -> FloatArray:
    """Return how the features of a person move with each reading, (K, D): ridge regression within people."""
    x, y = within(readings, people), within(features, people)
    return np.asarray(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y), np.float64)


def agreed_directions(features: FloatArray, readings: FloatArray, people: NDArray[Any]) -> FloatArray:
    """Return directions, each shortened to the length on which two halves of the people agree."""
    found = fit_directions(features, readings, people, PENALTY)
    half = np.isin(people, np.random.default_rng(SEED).permutation(np.unique(people))[::2])
    one, other = (fit_directions(features[part], readings[part], people[part], PENALTY) for part in (half, ~half))
    agreed = np.maximum((one * other).sum(axis=1), 0)
    return np.asarray(found * np.sqrt(np.minimum(agreed / (found**2).sum(axis=1), 1))[:, None])


def mismatches(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return 1 where two photos' words (N, K) are both sure and differ, else 0."""
    known = np.isfinite(first) & np.isfinite(second)
    return np.where(known & (first != second), 1.0, 0.0)


def natural_effects(
    scores: FloatArray, mismatch: FloatArray, people: NDArray[Any], *, replicates: int = REPLICATES, seed: int = SEED
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Regress scores of pairs of one person on mismatches, person effects taken out.

    Return the effects (K,), and the ends of their 95 % intervals by resampling people.
    """
    x, y = within(mismatch, people), within(scores[:, None], people)[:, 0]
    names, place = np.unique(people, return_inverse=True)
    xx = np.zeros((len(names), x.shape[1], x.shape[1]))
    xy = np.zeros((len(names), x.shape[1]))
    for person in range(len(names)):
        rows = place == person
        xx[person], xy[person] = x[rows].T @ x[rows], x[rows].T @ y[rows]
    small = 1e-6 * np.eye(x.shape[1])
    value = np.linalg.solve(xx.sum(axis=0) + small, xy.sum(axis=0))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates).astype(np.float64)
    found = np.stack([np.linalg.solve(np.tensordot(w, xx, 1) + small, w @ xy) for w in drawn])
    low, high = np.quantile(found, (0.025, 0.975), axis=0)
    return value, low, high


def pairs_of_people(people: NDArray[Any], wanted: set[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return all pairs of photos of one person, of these people."""
    rows = defaultdict(list)
    for row, person in enumerate(people.tolist()):
        if person in wanted:
            rows[person].append(row)
    pairs = [pair for mine in rows.values() for pair in combinations(mine, 2)]
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    return first, second


def pairs_of_strangers(people: NDArray[Any], wanted: set[str], count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw pairs of photos of two people."""
    rows = np.flatnonzero(np.isin(people, list(wanted)))
    first, second = np.random.default_rng(SEED).choice(rows, (2, 2 * count))
    kept = people[first] != people[second]
    return first[kept][:count], second[kept][:count]


def explained(values: FloatArray, scores: FloatArray) -> float:
    """Return the squared correlation of two series, 0 if one is constant."""
    if values.std() == 0 or scores.std() == 0:
        return 0.0
    return float(np.corrcoef(values, scores)[0, 1] ** 2)


def judged(
    concepts: Concepts, photos: Photos, halves: tuple[set[str], set[str]], comparison: Comparison
) -> dict[str, Any]:
    """Measure natural effects on both halves of the people, and the words' terms on the second."""
    report: dict[str, Any] = {"words": {}}
    effects = []
    counted = []
    for half in halves:
        first, second = pairs_of_people(photos.people, half)
        scores, products = _scores(comparison, photos.features, first, second)
        differ = mismatches(photos.words[first], photos.words[second])
        effects.append(natural_effects(scores, differ, photos.people[first]))
        counted.append(differ.sum(axis=0))
    # The last pairs are those of the second half.
    terms = concepts.terms(photos.read[first], photos.read[second]) * (scores / products)[:, None]
    counts = differ.sum(axis=0)
    alike = (photos.words[first] == 1) & (photos.words[second] == 1)
    for k, name in enumerate(concepts.names):
        (value, low, high), (other, *_) = ([part[k] for part in half] for half in effects)
        report["words"][name] = {
            "natural": {"value": _round(value), "low": _round(low), "high": _round(high), "pairs": int(counted[0][k])},
            "natural, other half": _round(other),
            "pairs that differ": int(counts[k]),
            "mean term where they differ": _round(_mean(terms[:, k], differ[:, k] > 0)),
            "mean term where both have it": _round(_mean(terms[:, k], alike[:, k])),
        }
    enough = counts >= FEWEST_PAIRS
    mean = np.array([_mean(terms[:, k], differ[:, k] > 0) for k in range(len(counts))])
    report["correlation of mean term and natural effect"] = {
        "attributes": int(enough.sum()),
        "natural effects of the other half": _round(np.corrcoef(mean[enough], effects[0][0][enough])[0, 1]),
        "natural effects of the same half": _round(np.corrcoef(mean[enough], effects[1][0][enough])[0, 1]),
        "natural effects, one half and the other": _round(
            np.corrcoef(effects[0][0][enough], effects[1][0][enough])[0, 1]
        ),
    }
    mine = photos.people[first]
    rate = np.nanmean(photos.words, axis=0)
    filled = np.where(np.isfinite(photos.words), photos.words, rate) - rate
    base = (filled[first] * filled[second] / np.maximum(rate * (1 - rate), 0.01)).sum(axis=1)
    predictors = {
        "the words' sum": terms.sum(axis=1),
        "natural effects of the other half, added up": differ @ effects[0][0],
        "base rates: likeness of rare words": base,
        "number of words that differ": differ.sum(axis=1),
    }
    report["pairs"] = {"people": len(set(mine.tolist())), "pairs": len(first)}
    report["share of the score's variance explained, pairs of one person"] = {
        name: {
            "over all pairs": _round(explained(values, scores)),
            "within people": _round(
                explained(within(values[:, None], mine)[:, 0], within(scores[:, None], mine)[:, 0])
            ),
        }
        for name, values in predictors.items()
    }
    return report


def pairs_with_a_word(
    concepts: Concepts, photos: Photos, people: set[str], comparison: Comparison
) -> dict[str, dict[str, Any]]:
    """Count the pairs of which a word may be said, for one person and for two; the labels stand for the reader."""
    rng = np.random.default_rng(SEED)
    same = pairs_of_people(photos.people, people)
    drawn = rng.permutation(len(same[0]))[:SAID_PAIRS]
    kinds = {
        "one person": (same[0][drawn], same[1][drawn]),
        "two people": pairs_of_strangers(photos.people, people, SAID_PAIRS),
    }
    found: dict[str, dict[str, Any]] = {}
    for kind, (first, second) in kinds.items():
        scores, _ = _scores(comparison, photos.features, first, second)
        said: Counter[str] = Counter()
        for one, other, score in zip(first, second, scores, strict=True):
            read = zip(photos.read[one].tolist(), photos.read[other].tolist(), strict=True)
            known = dict(zip(concepts.names, read, strict=True))
            a, b = (photos.features[side].astype(np.float32) for side in (one, other))
            words = word_shares(concepts, a, b, float(score), known)
            said.update(word.attribute.name for word in words if word.is_telling)
            said["any"] += any(word.is_telling for word in words)
        found[kind] = {"pairs": len(first), "with a word": said.pop("any"), "words": dict(said.most_common())}
    return found


def _scores(
    comparison: Comparison, features: NDArray[np.float16], first: NDArray[np.intp], second: NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Return the scores and the inner products of pairs."""
    scores, products = [], []
    for start in range(0, len(first), 500):
        one, other = (features[rows[start : start + 500]].astype(np.float32) for rows in (first, second))
        scores.append(comparison.scores(one, other))
        flat = (part.reshape(len(part), -1) for part in (one, other))
        products.append(np.einsum("nd,nd->n", *flat, dtype=np.float64))
    return np.concatenate(scores).astype(np.float64), np.concatenate(products)


def _mean(values: FloatArray, chosen: NDArray[np.bool_]) -> float:
    return float(values[chosen].mean()) if chosen.any() else 0.0


def _round(value: float) -> float:
    return round(float(value), 4)


def read_photos(
    path: Path, kept: Path, comparison: Comparison, names: Sequence[str], *, attributes: bool
) -> dict[str, NDArray[Any]]:
    """Return names and features of pictures, and what the attribute model reads; from ``kept`` if they lie there."""
    if kept.exists():
        with np.load(kept, allow_pickle=False) as stored:
            return dict(stored)
    reader: AttributeReader | None = open_attributes() if attributes else None
    features, logits = [], []
    with open_pictures(path) as source:
        for start in range(0, len(names), 50):
            faces = np.stack([source.read(name).transpose(2, 0, 1) for name in names[start : start + 50]])
            features.append(comparison.features(np.ascontiguousarray(faces)).astype(np.float16))
            if reader is not None:
                logits.append(reader(np.ascontiguousarray(faces)).logits)
    found: dict[str, NDArray[Any]] = {"names": np.array(names), "features": np.concatenate(features)}
    found["logits"] = np.concatenate(logits) if logits else np.zeros(0, np.float32)
    np.savez(kept, allow_pickle=False, **found)
    return found


def read_words(path: Path) -> tuple[list[str], dict[str, FloatArray]]:
    """Return the attributes and the probabilities of each picture of the label file, by the picture's file name."""
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))
    names = table[0][1:41]
    return names, {row[0]: np.array([float(value) if value else np.nan for value in row[1:41]]) for row in table[1:]}


def sure(probabilities: FloatArray) -> FloatArray:
    """Return 1 or 0 where a probability is sure, else NaN."""
    return np.where(probabilities >= SURE, 1.0, np.where(probabilities <= 1 - SURE, 0.0, np.nan))


def photos_of_people(path: Path, most: int, labelled: set[str] | None = None) -> list[str]:
    """Return at most so many pictures, of those that are labelled, of everybody who has two or more."""
    by_person = defaultdict(list)
    with open_pictures(path) as source:
        for name in sorted(source.names()):
            if labelled is None or name.split("/")[-1] in labelled:
                by_person[name.split("/")[-2]].append(name)
    rng = np.random.default_rng(SEED)
    chosen: list[str] = []
    for _, mine in sorted(by_person.items()):
        if len(mine) >= 2:
            chosen += [mine[row] for row in sorted(rng.permutation(len(mine))[:most])]
    return chosen


def usual_sizes(
    centred: FloatArray, directions: FloatArray, people: NDArray[Any]
) -> tuple[FloatArray, tuple[float, float]]:
    """Return root mean squares of the difference and the sum of strangers' projections, (2, K), and of random ones."""
    first, second = pairs_of_strangers(people, set(people.tolist()), STRANGERS)
    projected = centred @ directions.T
    one, other = projected[first], projected[second]
    spread = np.sqrt([((one - other) ** 2).mean(axis=0), ((one + other) ** 2).mean(axis=0)])
    lengths = np.einsum("nd,nd->n", centred, centred)
    inner = np.einsum("nd,nd->n", centred[first], centred[second])
    apart, together = ((lengths[first] + lengths[second] + sign * 2 * inner).mean() for sign in (-1, 1))
    return spread, (float(np.sqrt(apart / centred.shape[1])), float(np.sqrt(together / centred.shape[1])))


def main() -> None:
    """Fit, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--celeba", type=Path, required=True)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kept", type=Path, required=True, help="folder for features")
    args = parser.parse_args()
    verifier = Verifier(args.model)
    comparison = verifier.method.comparison
    heads = open_attributes().heads

    known, labels = read_words(args.labels)
    training = photos_of_people(args.celeba, TRAINING_PHOTOS)
    judging = photos_of_people(args.lfw, MOST_PHOTOS, set(labels))
    celeba = read_photos(args.celeba, args.kept / "celeba.npz", comparison, training, attributes=True)
    lfw = read_photos(args.lfw, args.kept / "lfw.npz", comparison, judging, attributes=False)

    # Half of LFW's people fit, the other half judges.
    whose = np.array([name.split("/")[-2] for name in lfw["names"].tolist()])
    everybody = np.random.default_rng(SEED).permutation(np.unique(whose)).tolist()
    halves = set(everybody[::2]), set(everybody[1::2])
    fitting = np.isin(whose, list(halves[0]))
    labelled = np.stack([labels[name.split("/")[-1]] for name in lfw["names"].tolist()])
    people = np.array([f"celeba {name.split('/')[-2]}" for name in celeba["names"].tolist()])
    people = np.concatenate([people, whose[fitting]])
    flat = np.concatenate([celeba["features"], lfw["features"][fitting]]).reshape(len(people), -1).astype(np.float64)
    shared = [name for name, fits in zip(heads.names, heads.usable(), strict=True) if fits and name in known]
    columns = [known.index(name) for name in shared]
    rows = [heads.names.index(name) for name in shared]
    readings = 0.5 * (1 + np.tanh(celeba["logits"][:, rows].astype(np.float64) / 2))
    readings = np.concatenate([readings, labelled[fitting][:, columns]])
    moved = (within(readings, people) ** 2).sum(axis=0) >= LEAST_VARIATION
    directions = agreed_directions(flat, readings[:, moved], people)
    moved[moved] = (directions**2).sum(axis=1) > 0
    directions = directions[(directions**2).sum(axis=1) > 0]
    names = tuple(name for name, fits in zip(shared, moved, strict=True) if fits)
    # Half-way between having and lacking each word.
    mean = flat.mean(axis=0) + (0.5 - readings[:, moved].mean(axis=0)) @ directions

    spread, random_spread = usual_sizes(flat - mean, directions, people)
    parts = (directions.astype(np.float32), mean.astype(np.float32), spread.astype(np.float32), random_spread)
    record = {"model": args.model, "sha256": comparison.sha256}
    read = labelled[:, [known.index(name) for name in names]]
    photos = Photos(whose, lfw["features"], read, sure(read))
    report = judged(Concepts(names, *parts, record), photos, halves, comparison)
    natural = {name: found["natural"] for name, found in report["words"].items()}
    concepts = Concepts(names, *parts, {**record, "natural": natural, "versions": software_versions()})
    report["pairs that have a word"] = pairs_with_a_word(concepts, photos, halves[1], comparison)
    save_concepts(shipped_concepts(args.model), concepts)
    write_atomic(args.out, f"{json.dumps({'model': args.model, **report}, indent=1)}\n".encode())


if __name__ == "__main__":
    main()
