"""Words as exact shares of a score: one term for each concept, and a rest.

A score that is an inner product of two faces' features, divided by a number Z of the pair, splits along any vectors.
Each face A has a part that its words account for, W_A = sum over words k of x_k d_k, where d_k says how the features of
one person's photos move with the word (``scripts/fit_word_shares.py``) and x_k is what the attribute model reads, from
-1/2 (surely not) to 1/2. So

    score = <W_A, W_B> / Z + rest,

exactly, and <W_A, W_B> = sum over words of x_k <d_k, W_B> / 2 + y_k <d_k, W_A> / 2, where y are the readings of B: each
word's Shapley value, if words join one after another in any order.

Directions that stand for nothing are moved along, too. So a word is said only if both faces really lie that way. For a
word that one face has, the difference of the two projections on its direction counts, for a word that both have, their
sum, each in units of its usual size between strangers: it must be larger than the largest of as many random directions
(the maximum of Westfall and Young, exact ranks). Candidates are the words of which the attribute model is sure in both
faces, and which have an effect between photos of one person that was measured and is not zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from whyface.errors import InputError, ModelError, reason
from whyface.files.guarded import parse_json, read_tensors
from whyface.files.integrity import with_sorted_metadata, write_atomic
from whyface.words.attribute_model import Attribute, attribute

SURE: Final = 0.8
"""A word is read in a face if its probability is at least this, and missing if it is at most 1 less this."""
ROUNDS: Final = 999
"""Draws of random directions, as many directions as words in each."""
LEVEL: Final = 0.05
FEWEST_PAIRS: Final = 30
"""Pairs of photos of one person, with a word in one only, from which its effect may be said."""
_RECORD: Final = "whyface"

FloatArray = NDArray[np.float64]
Reading = Literal["both", "A", "B", "neither", "unsure"]


@dataclass(frozen=True)
class NaturalEffect:
    """By how much the score of two photos of one person changes if only one of them has the attribute.

    Attributes
    ----------
    value, low, high
        Change of the score, with its 95 % interval over people.
    pairs
        Number of pairs with the attribute in one photo only.
    """

    value: float
    low: float
    high: float
    pairs: int

    @property
    def is_certain(self) -> bool:
        """Whether the interval excludes zero and enough pairs are behind it."""
        return self.pairs >= FEWEST_PAIRS and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, eq=False)
class Concepts:
    """Directions of words in the features of one model.

    Attributes
    ----------
    names
        K attributes.
    directions
        (K, D) float32: how a person's features move with each attribute.
    mean
        (D,) float32: the mean face, moved half-way between having and lacking every word; projections start there.
    spread
        (2, K) float32: root mean square of the difference and of the sum of strangers' projections on each direction.
    random_spread
        The same of random directions, two numbers.
    record
        Where they come from: ``model``, ``sha256``, ``natural`` (name -> value, low, high, pairs).
    """

    names: tuple[str, ...]
    directions: NDArray[np.float32]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    random_spread: tuple[float, float]
    record: Mapping[str, Any]

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count or len(set(self.names)) != count or self.directions.shape != (count, len(self.mean)):
            raise InputError(f"directions {self.directions.shape} do not fit {count} unique words")
        numbers = (self.directions, self.mean, self.spread, np.array(self.random_spread))
        if self.spread.shape != (2, count) or not all(np.isfinite(part).all() for part in numbers):
            raise InputError("directions need finite numbers and two spreads for each word")
        if (self.spread <= 0).any() or min(self.random_spread) <= 0:
            raise InputError("spreads must be positive")

    @property
    def natural(self) -> dict[str, NaturalEffect]:
        """The natural effects that were measured, by name."""
        return {name: NaturalEffect(**found) for name, found in self.record.get("natural", {}).items()}

    def terms(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """Return each word's share of the inner products of N pairs, (N, K), from what is read in both faces.

        Parameters
        ----------
        first, second
            Probabilities of the words, (N, K) each.
        """
        directions = self.directions.astype(np.float64)
        return shapley_terms(directions @ directions.T, first - 0.5, second - 0.5)

    def projections(self, features: NDArray[np.floating]) -> FloatArray:
        """Return the inner products of features (N, ...), less the middle face, with the directions, (N, K).

        Raise InputError if the features do not fit.
        """
        return self.centred(features) @ self.directions.T.astype(np.float64)

    def centred(self, features: NDArray[np.floating]) -> FloatArray:
        """Return flat features (N, D) less the middle face. Raise InputError if they do not fit."""
        flat = features.reshape(len(features), -1).astype(np.float64)
        if flat.shape[1] != len(self.mean):
            raise InputError(f"features of {flat.shape[1]} numbers, but the words' directions have {len(self.mean)}")
        return flat - self.mean


def shapley_terms(gram: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the Shapley values of K words that share <sum x_k d_k, sum y_k d_k>, (N, K); they add up to it.

    Parameters
    ----------
    gram
        Inner products of the directions d, (K, K).
    x, y
        Amounts of the words in N pairs of faces, (N, K).
    """
    return np.asarray((x * (y @ gram) + y * (x @ gram)) / 2)


def usual_units(
    differ: NDArray[np.bool_], one: FloatArray, other: FloatArray, spread: NDArray[np.floating[Any]]
) -> FloatArray:
    """Return how far two faces lie apart, or together, along K directions, in units of the usual size, (..., K).

    Parameters
    ----------
    differ
        (K,): whether the first face has the word and the second has not; else both have it.
    one, other
        Their projections, (..., K).
    spread
        (2, K): the usual size of the difference and of the sum.
    """
    return np.asarray(np.where(differ, (one - other) / spread[0], (one + other) / spread[1]))


def random_projections(
    first: FloatArray, second: FloatArray, count: int, rounds: int, rng: np.random.Generator
) -> FloatArray:
    """Return the projections of one pair on random directions, (2, rounds, count).

    The projections of two vectors on a Gaussian direction are Gaussian with their inner products as covariance, so that
    no direction need be drawn in all its numbers.

    Parameters
    ----------
    first, second
        Features (D,), less the middle face.
    """
    aa, bb, ab = (float(one @ other) for one, other in ((first, first), (second, second), (first, second)))
    drawn = rng.standard_normal((2, rounds, count))
    slope = ab / np.sqrt(aa) if aa > 0 else 0.0
    across = drawn[0] * slope + drawn[1] * np.sqrt(max(bb - slope**2, 0.0))
    return np.asarray(np.stack([drawn[0] * np.sqrt(aa), across]) / np.sqrt(len(first)))


def corrected_chances(values: FloatArray, random: FloatArray) -> FloatArray:
    """Return for each of K values the share of rounds whose largest is at least as large, (K,).

    The round of the words themselves counts, so that where words are directions like any other, at most a share LEVEL
    of pairs has a value at LEVEL.

    Parameters
    ----------
    values
        The words' values.
    random
        (R, K): the random directions', in the same units.
    """
    reached = random.max(axis=1)[None, :] >= values[:, None]
    return np.asarray((1 + reached.sum(axis=1)) / (len(random) + 1))


def read_in(first: float, second: float) -> Reading:
    """Return which faces have a word of these probabilities; ``"unsure"`` unless both are sure."""
    if any(1 - SURE < chance < SURE for chance in (first, second)):
        return "unsure"
    return "both" if min(first, second) >= SURE else "A" if first >= SURE else "B" if second >= SURE else "neither"


@dataclass(frozen=True)
class WordShare:
    """One word's share of a score.

    Attributes
    ----------
    attribute
        The word.
    term
        What it adds to the score.
    probability_a, probability_b
        Probability that each face has the attribute, by the attribute model.
    chance
        See :func:`corrected_chances`; 1 if the word was no candidate.
    natural
        Its effect between photos of one person, if measured.
    """

    attribute: Attribute
    term: float
    probability_a: float
    probability_b: float
    chance: float
    natural: NaturalEffect | None

    @property
    def reading(self) -> Reading:
        """Which faces have it; ``"unsure"`` if the attribute model is not sure of both."""
        return read_in(self.probability_a, self.probability_b)

    @property
    def is_telling(self) -> bool:
        """Whether it may be said: read surely, beyond chance, of the right sign, with an effect that is known."""
        expected = {"both": self.term > 0, "A": self.term < 0, "B": self.term < 0}.get(self.reading, False)
        return expected and self.chance <= LEVEL and self.natural is not None and self.natural.is_certain


def word_shares(
    concepts: Concepts,
    first: NDArray[np.floating],
    second: NDArray[np.floating],
    score: float,
    probabilities: Mapping[str, tuple[float, float]],
    *,
    seed: int = 0,
) -> tuple[WordShare, ...]:
    """Split the score of one pair into words; the largest share comes first.

    Parameters
    ----------
    first, second
        The features of both faces, (C, H, W) or (D,).
    score
        Their score; the shares and the rest add up to it.
    probabilities
        What the attribute model reads in both faces, by name.
    """
    one, other = (np.asarray(face)[None] for face in (first, second))
    product = float(one.reshape(-1).astype(np.float64) @ other.reshape(-1).astype(np.float64))
    # Z of the pair: the score is the inner product divided by it.
    scale = score / product if product else 0.0
    read = np.array([probabilities[name] for name in concepts.names], np.float64).T
    terms = concepts.terms(read[:1], read[1:])[0]
    natural = concepts.natural
    readings = [read_in(*pair) for pair in read.T.tolist()]
    tried = [
        k
        for k, (name, reading) in enumerate(zip(concepts.names, readings, strict=True))
        if reading in {"both", "A", "B"} and name in natural and natural[name].is_certain
    ]
    chances = np.ones(len(readings))
    if tried:
        a, b = concepts.projections(one)[0, tried], concepts.projections(other)[0, tried]
        # The face that has the word comes first.
        turned = np.array([readings[k] == "B" for k in tried])
        differ = np.array([readings[k] != "both" for k in tried])
        values = usual_units(differ, np.where(turned, b, a), np.where(turned, a, b), concepts.spread[:, tried])
        centred = concepts.centred(one)[0], concepts.centred(other)[0]
        drawn = random_projections(*centred, len(tried), ROUNDS, np.random.default_rng(seed))
        usual = np.repeat(np.array(concepts.random_spread)[:, None], len(tried), axis=1)
        chances[tried] = corrected_chances(values, usual_units(differ, drawn[0], drawn[1], usual))
    found = [
        WordShare(attribute(name), float(scale * term), *probabilities[name], float(chance), natural.get(name))
        for name, term, chance in zip(concepts.names, terms, chances, strict=True)
    ]
    return tuple(sorted(found, key=lambda share: -abs(share.term)))


def shipped_concepts(name: str) -> Path:
    """Return where the directions of a known model are."""
    return Path(str(resources.files("whyface").joinpath("assets", "concepts", f"{name}.safetensors")))


def read_concepts(path: Path | str, sha256: str) -> Concepts:
    """Read directions. Raise ModelError if the file cannot be read or belongs to another network than that SHA-256."""
    try:
        tensors, metadata = read_tensors(path)
        record = parse_json(metadata[_RECORD])
        directions = tensors["directions"].astype(np.float32) * tensors["scale"][:, None]
        mean, spread = (np.asarray(tensors[part], np.float32) for part in ("mean", "spread"))
        found = Concepts(
            tuple(record["names"]),
            directions,
            mean,
            spread,
            (float(record["random_spread"][0]), float(record["random_spread"][1])),
            record,
        )
        fits = record["sha256"] == sha256
        _ = found.natural
    except (OSError, KeyError, TypeError, ValueError, IndexError, InputError) as error:
        raise ModelError(
            f"{path}: no directions of words ({reason(error)}); write them with fit_word_shares.py"
        ) from error
    if not fits:
        raise ModelError(f"{path}: these directions belong to another network; use the model {record.get('model')!r}")
    return found


def save_concepts(path: Path | str, concepts: Concepts) -> None:
    """Write directions to a safetensors file. Raise OutputError if the file cannot be written."""
    record = {**concepts.record, "names": list(concepts.names), "random_spread": list(concepts.random_spread)}
    # Half precision of numbers up to 1; the scale keeps each direction's length.
    scale = np.abs(concepts.directions).max(axis=1)
    tensors = {
        "directions": (concepts.directions / scale[:, None]).astype(np.float16),
        "scale": scale.astype(np.float32),
        "mean": concepts.mean,
        "spread": concepts.spread,
    }
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, sort_keys=True)
    write_atomic(path, with_sorted_metadata(save(tensors, {_RECORD: text})))
