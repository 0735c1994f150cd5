r"""Fit the directions of words in a model's features, and what each word costs between photos of one person.

    python scripts/fit_word_shares.py xcos-large --celeba celeba290-aligned-112.tar --lfw lfw-aligned-112.tar \
        --labels lfw-attributes.csv --kept FOLDER

A direction is how a person's features move with an attribute: ridge regression within people, on CelebA's people with
what the attribute model reads, and on half of LFW's people with FaRL's labels. Each direction is shortened to what two
halves of these people agree on. The natural effects come from pairs of photos of one person of LFW: words that the
labels are sure of in both, person effects taken out, intervals by resampling people. The same half of LFW's people
decides which words may be said; ``studies/words/shares.py`` measures on the other half, with the halves exchanged, and
with other halves. ``--kept`` keeps features.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.verification import Verifier
from whyface.words.attribute_model import AttributeReader, open_attributes
from whyface.words.word_shares import SURE, Concepts, NaturalEffect, save_concepts, shipped_concepts
from whyface.xcos.comparison import Comparison

SEED: Final = 0
PENALTY: Final = 1.0
LEAST_VARIATION: Final = 20.0
MOST_PHOTOS: Final = 10
TRAINING_PHOTOS: Final = 8
"""Photos of one person of LFW, and of CelebA."""
REPLICATES: Final = 1000
STRANGERS: Final = 4000
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Photos:
    """N photos: the person in each, features (N, ...), and probabilities of words, (N, K)."""

    people: NDArray[np.str_]
    features: NDArray[np.float16]
    read: FloatArray

    @property
    def words(self) -> FloatArray:
        """1 or 0 where a word is sure, else NaN, (N, K)."""
        return sure(self.read)

    def with_words(self, columns: Sequence[int]) -> Photos:
        """Return the same photos with some of the words."""
        return Photos(self.people, self.features, self.read[:, list(columns)])


@dataclass(frozen=True, eq=False)
class Corpus:
    """Photos of CelebA, with what the attribute model reads, and of LFW, with FaRL's labels, and the words' names."""

    celeba: Photos
    lfw: Photos
    names: tuple[str, ...]

    def halves(self, seed: int = SEED) -> tuple[set[str], set[str]]:
        """Return LFW's people in two halves."""
        everybody = np.random.default_rng(seed).permutation(np.unique(self.lfw.people)).tolist()
        return set(everybody[::2]), set(everybody[1::2])

    def photos(self, concepts: Concepts) -> Photos:
        """Return LFW's photos with the words of some concepts."""
        return self.lfw.with_words([self.names.index(name) for name in concepts.names])


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
    left = (drawn @ xx.reshape(len(names), -1)).reshape(replicates, *small.shape) + small
    found = np.linalg.solve(left, (drawn @ xy)[..., None])[..., 0]
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


def scores_of(
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


def read_corpus(celeba: Path, lfw: Path, labels: Path, kept: Path, comparison: Comparison) -> Corpus:
    """Read or make the features of both data sets; ``kept`` keeps them."""
    known, by_picture = read_words(labels)
    heads = open_attributes().heads
    training = read_photos(
        celeba, kept / "celeba.npz", comparison, photos_of_people(celeba, TRAINING_PHOTOS), attributes=True
    )
    labelled = photos_of_people(lfw, MOST_PHOTOS, set(by_picture))
    others = read_photos(lfw, kept / "lfw.npz", comparison, labelled, attributes=False)
    shared = [name for name, fits in zip(heads.names, heads.usable(), strict=True) if fits and name in known]
    rows = [heads.names.index(name) for name in shared]
    of_lfw = np.stack([by_picture[name.split("/")[-1]] for name in others["names"].tolist()])
    return Corpus(
        Photos(people_of(training, "celeba "), training["features"], chances(training["logits"][:, rows])),
        Photos(people_of(others), others["features"], of_lfw[:, [known.index(name) for name in shared]]),
        tuple(shared),
    )


def people_of(photos: dict[str, NDArray[Any]], prefix: str = "") -> NDArray[np.str_]:
    """Return who is in each photo of :func:`read_photos`."""
    return np.array([prefix + name.split("/")[-2] for name in photos["names"].tolist()])


def chances(logits: NDArray[np.floating[Any]]) -> FloatArray:
    """Return the probabilities of logits."""
    return np.asarray(0.5 * (1 + np.tanh(logits.astype(np.float64) / 2)))


def fit_concepts(corpus: Corpus, fitting: set[str], record: dict[str, Any]) -> Concepts:
    """Fit directions to CelebA and some people of LFW; their natural effects are not in it yet."""
    rows = np.isin(corpus.lfw.people, list(fitting))
    people = np.concatenate([corpus.celeba.people, corpus.lfw.people[rows]])
    features = np.concatenate([corpus.celeba.features, corpus.lfw.features[rows]])
    flat = features.reshape(len(people), -1).astype(np.float64)
    readings = np.concatenate([corpus.celeba.read, corpus.lfw.read[rows]])
    moved = (within(readings, people) ** 2).sum(axis=0) >= LEAST_VARIATION
    directions = agreed_directions(flat, readings[:, moved], people)
    moved[moved] = (directions**2).sum(axis=1) > 0
    directions = directions[(directions**2).sum(axis=1) > 0]
    # Half-way between having and lacking each word.
    mean = flat.mean(axis=0) + (0.5 - readings[:, moved].mean(axis=0)) @ directions
    spread, random_spread = usual_sizes(flat - mean, directions, people)
    return Concepts(
        tuple(name for name, fits in zip(corpus.names, moved, strict=True) if fits),
        directions.astype(np.float32),
        mean.astype(np.float32),
        spread.astype(np.float32),
        random_spread,
        record,
    )


def measured_effects(
    names: Sequence[str], photos: Photos, people: set[str], comparison: Comparison
) -> dict[str, NaturalEffect]:
    """Return the natural effects of words between photos of these people."""
    first, second = pairs_of_people(photos.people, people)
    scores, _ = scores_of(comparison, photos.features, first, second)
    words = photos.words
    differ = mismatches(words[first], words[second])
    found = zip(names, *natural_effects(scores, differ, photos.people[first]), differ.sum(axis=0), strict=True)
    return {
        name: NaturalEffect(round(float(value), 4), round(float(low), 4), round(float(high), 4), int(pairs))
        for name, value, low, high, pairs in found
    }


def with_effects(concepts: Concepts, effects: dict[str, NaturalEffect]) -> Concepts:
    """Return concepts whose words have these natural effects."""
    return replace(concepts, record={**concepts.record, "natural": {name: vars(one) for name, one in effects.items()}})


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Add the model, the data sets and the folder of features to a command."""
    parser.add_argument("model")
    parser.add_argument("--celeba", type=Path, required=True)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--kept", type=Path, required=True, help="folder for features")


def main() -> None:
    """Fit, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sources(parser)
    args = parser.parse_args()
    comparison = Verifier(args.model).method.comparison
    corpus = read_corpus(args.celeba, args.lfw, args.labels, args.kept, comparison)
    fitting, _ = corpus.halves()
    record = {"model": args.model, "sha256": comparison.sha256, "versions": software_versions()}
    concepts = fit_concepts(corpus, fitting, record)
    effects = measured_effects(concepts.names, corpus.photos(concepts), fitting, comparison)
    save_concepts(shipped_concepts(args.model), with_effects(concepts, effects))


if __name__ == "__main__":
    main()
