r"""Words as shares: how far they agree with what words cost, and whether they predict scores better than erasing does.

    PYTHONPATH=scripts python -m studies.words.shares xcos-large --celeba celeba290-aligned-112.tar \
        --lfw lfw-aligned-112.tar --labels lfw-attributes.csv --pairs lfw-pairs.txt --kept FOLDER --part splits|sums

The number of pairs from which an effect may be said is chosen on CelebA. LFW's people are then split in halves several
times; each half fits once and judges once, by rules that are fixed beforehand. Intervals resample people.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fit_word_shares import (
    Corpus,
    FloatArray,
    Photos,
    add_sources,
    fit_concepts,
    measured_effects,
    mismatches,
    pairs_of_people,
    pairs_of_strangers,
    read_corpus,
    scores_of,
    with_effects,
    within,
)
from studies.words.sums import STRANGERS, compare_sums
from whyface.explain.verdict import software_versions
from whyface.files.integrity import write_atomic
from whyface.verification import Verifier
from whyface.words.word_shares import FEWEST_PAIRS, Concepts, NaturalEffect, word_shares
from whyface.xcos.comparison import Comparison

SPLITS: Final = 3
"""Splits of LFW's people in halves; the first is that of the files that whyface ships."""
CHOICES: Final = (5, 10, 20, 30, 50, 100)
CHOOSING_SPLITS: Final = 10
WANTED: Final = 0.95
"""Share of the words said whose effect must have the same sign in other people."""
CORRELATED_PAIRS: Final = 100
SAID_PAIRS: Final = 1000


def is_said(effect: NaturalEffect, fewest: int) -> bool:
    """Return whether an effect may be said if this many pairs are asked for."""
    return effect.pairs >= fewest and (effect.low > 0 or effect.high < 0)


def agreement(
    halves: Sequence[tuple[dict[str, NaturalEffect], dict[str, NaturalEffect]]], fewest: int
) -> dict[str, float]:
    """Return how many words may be said by one half of the people, and how many have that sign in the other half.

    Parameters
    ----------
    halves
        The effects on the deciding people and on the others, by word, for each split.
    fewest
        Pairs that the deciding people must have.
    """
    said = [(effect, other[name]) for mine, other in halves for name, effect in mine.items() if is_said(effect, fewest)]
    # Without a pair, the other half says nothing.
    told = [(mine, other) for mine, other in said if other.pairs]
    same = sum(mine.value * other.value > 0 for mine, other in told)
    certain = sum(mine.value * other.value > 0 and (other.low > 0 or other.high < 0) for mine, other in told)
    return {
        "words": len(said) / len(halves),
        "of the same sign": same / len(told) if told else 0.0,
        "certain in the other half": certain / len(told) if told else 0.0,
    }


def choose_fewest(table: dict[int, dict[str, float]]) -> int:
    """Return the smallest number of pairs of which enough effects hold, or the largest of all."""
    enough = [fewest for fewest, row in table.items() if row["words"] and row["of the same sign"] >= WANTED]
    return min(enough, default=max(table))


def choose_on_celeba(corpus: Corpus, comparison: Comparison) -> dict[str, Any]:
    """Choose the fewest pairs on CelebA's people, in random halves, by what the attribute model reads."""
    people = np.unique(corpus.celeba.people)
    halves = []
    for split in range(CHOOSING_SPLITS):
        mixed = np.random.default_rng(split).permutation(people).tolist()
        parts = set(mixed[::2]), set(mixed[1::2])
        one, other = (measured_effects(corpus.names, corpus.celeba, part, comparison) for part in parts)
        halves += [(one, other), (other, one)]
    table = {fewest: agreement(halves, fewest) for fewest in CHOICES}
    return {
        "people": len(people),
        "splits": CHOOSING_SPLITS,
        "fewest pairs": {
            str(fewest): {name: rounded(value) for name, value in row.items()} for fewest, row in table.items()
        },
        "chosen": choose_fewest(table),
    }


def judged(concepts: Concepts, photos: Photos, people: set[str], comparison: Comparison) -> dict[str, Any]:
    """Measure the words' terms, and their natural effects, on people who fitted nothing."""
    natural = concepts.natural
    here = measured_effects(concepts.names, photos, people, comparison)
    first, second = pairs_of_people(photos.people, people)
    scores, products = scores_of(comparison, photos.features, first, second)
    words = photos.words
    differ = mismatches(words[first], words[second])
    terms = concepts.terms(photos.read[first], photos.read[second]) * (scores / products)[:, None]
    alike = (words[first] == 1) & (words[second] == 1)
    mean = np.array([_mean(terms[:, k], differ[:, k] > 0) for k in range(len(here))])
    enough = np.array([here[name].pairs >= CORRELATED_PAIRS for name in concepts.names])
    of_fit = np.array([natural[name].value for name in concepts.names])
    of_here = np.array([here[name].value for name in concepts.names])
    mine = photos.people[first]
    predictors = {
        "the words' sum": terms.sum(axis=1),
        "natural effects of the other half, added up": differ @ of_fit,
        "base rates: likeness of rare words": base_rates(words, first, second),
        "number of words that differ": differ.sum(axis=1),
    }
    return {
        "people": len(set(mine.tolist())),
        "pairs": len(first),
        "words": {
            name: {
                "natural": vars(natural[name]),
                "natural, judging people": vars(here[name]),
                "mean term where they differ": rounded(mean[k]),
                "mean term where both have it": rounded(_mean(terms[:, k], alike[:, k])),
            }
            for k, name in enumerate(concepts.names)
        },
        "words said": {name: rounded(value) for name, value in agreement([(natural, here)], FEWEST_PAIRS).items()},
        "correlation of mean term and natural effect": {
            "attributes": int(enough.sum()),
            "natural effects of the other half": _correlation(mean[enough], of_fit[enough]),
            "natural effects of the same half": _correlation(mean[enough], of_here[enough]),
            "natural effects, one half and the other": _correlation(of_fit[enough], of_here[enough]),
        },
        "share of the score's variance explained, pairs of one person": {
            name: {
                "over all pairs": rounded(explained(values, scores)),
                "within people": rounded(
                    explained(within(values[:, None], mine)[:, 0], within(scores[:, None], mine)[:, 0])
                ),
            }
            for name, values in predictors.items()
        },
        "pairs that have a word": pairs_with_a_word(concepts, photos, people, comparison),
    }


def base_rates(words: FloatArray, first: NDArray[np.intp], second: NDArray[np.intp]) -> FloatArray:
    """Return the likeness of pairs in their words, rare ones counting more."""
    rate = np.nanmean(words, axis=0)
    filled = np.where(np.isfinite(words), words, rate) - rate
    return np.asarray((filled[first] * filled[second] / np.maximum(rate * (1 - rate), 0.01)).sum(axis=1))


def pairs_with_a_word(
    concepts: Concepts, photos: Photos, people: set[str], comparison: Comparison
) -> dict[str, dict[str, Any]]:
    """Count the pairs of which a word may be said, for one person and for two."""
    rng = np.random.default_rng(0)
    same = pairs_of_people(photos.people, people)
    drawn = rng.permutation(len(same[0]))[:SAID_PAIRS]
    kinds = {
        "one person": (same[0][drawn], same[1][drawn]),
        "two people": pairs_of_strangers(photos.people, people, SAID_PAIRS),
    }
    found: dict[str, dict[str, Any]] = {}
    for kind, (first, second) in kinds.items():
        scores, _ = scores_of(comparison, photos.features, first, second)
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


def explained(values: FloatArray, scores: FloatArray) -> float:
    """Return the squared correlation of two series, 0 if one is constant."""
    return _correlation(values, scores) ** 2


def _correlation(one: FloatArray, other: FloatArray) -> float:
    if len(one) < 2 or one.std() == 0 or other.std() == 0:
        return 0.0
    return rounded(np.corrcoef(one, other)[0, 1], 6)


def _mean(values: FloatArray, chosen: NDArray[np.bool_]) -> float:
    return float(values[chosen].mean()) if chosen.any() else 0.0


def rounded(value: float, digits: int = 4) -> float:
    """Return a number for the report."""
    return round(float(value), digits)


def shared_concepts(
    corpus: Corpus, comparison: Comparison, split: int = 0, *, turned: bool = False
) -> tuple[Concepts, set[str]]:
    """Fit directions and effects to one half of LFW's people; return them, and the people of the other half."""
    fitting, judging = corpus.halves(split)[:: -1 if turned else 1]
    concepts = fit_concepts(corpus, fitting, {"model": comparison.name, "sha256": comparison.sha256})
    return with_effects(
        concepts, measured_effects(concepts.names, corpus.photos(concepts), fitting, comparison)
    ), judging


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_sources(parser)
    parser.add_argument("--pairs", type=Path, required=True, help="the official pairs.txt")
    parser.add_argument("--strangers", type=int, default=STRANGERS, help="pairs of two people in the sums; 0 for none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--part", choices=("splits", "sums"), required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/studies"))
    args = parser.parse_args()
    verifier = Verifier(args.model, threads=args.threads, accept_poor=True)
    comparison = verifier.method.comparison
    corpus = read_corpus(args.celeba, args.lfw, args.labels, args.kept, comparison)
    report: dict[str, Any] = {"model": args.model, "versions": software_versions()}
    if args.part == "sums":
        concepts, judging = shared_concepts(corpus, comparison)
        report |= compare_sums(verifier, concepts, args.lfw, args.pairs, judging, args.kept, strangers=args.strangers)
        write_atomic(args.out / "word-sums.json", f"{json.dumps(report, indent=1)}\n".encode())
        return
    report |= {"fewest pairs, chosen on CelebA": choose_on_celeba(corpus, comparison), "splits": []}
    print(report["fewest pairs, chosen on CelebA"], flush=True)
    for split in range(SPLITS):
        for turned in (False, True):
            concepts, judging = shared_concepts(corpus, comparison, split, turned=turned)
            found = judged(concepts, corpus.photos(concepts), judging, comparison)
            report["splits"].append({"split": split, "halves exchanged": turned, **found})
            print(split, turned, found["words said"], flush=True)
    write_atomic(args.out / "word-shares.json", f"{json.dumps(report, indent=1)}\n".encode())


if __name__ == "__main__":
    main()
