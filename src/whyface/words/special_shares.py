"""What sets one person apart from many, as exact shares: the mean over the others of each word's share of the score.

The mean score with N others is the sum of the words' mean shares and the mean rest, exactly. A word may be said if the
probe surely has it and more than half of the others surely lack it, or the other way round; if the probe lies further
from the mean of these others along the word's direction than along the best of as many random directions; and if it has
an effect that was measured. All random directions of a word's round are compared with the same others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.explain.provenance import ModelInfo
from whyface.explain.verdict import software_versions
from whyface.faces.face import Face, stack_faces
from whyface.words.attribute_model import Attribute, attribute
from whyface.words.share_report import MOST_SAID, ShareExplainer, natural_dict, natural_sentences, signed
from whyface.words.special_attribute import AgainstMany, comparable
from whyface.words.word_maps import BATCH
from whyface.words.word_shares import LEVEL, ROUNDS, Concepts, NaturalEffect, corrected_chances, read_in
from whyface.xcos.comparison import features_in_parts

SCHEMA: Final = "whyface/special-shares/1"
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SpecialShare:
    """One word of the probe against N others.

    Attributes
    ----------
    attribute
        The word.
    term
        Its mean share of the scores.
    probability
        Probability that the probe has it.
    unlike, others
        How many of how many others surely read the opposite.
    chance
        See :func:`whyface.words.word_shares.corrected_chances`; 1 if the word was no candidate.
    natural
        Its effect between photos of one person, if measured.
    """

    attribute: Attribute
    term: float
    probability: float
    unlike: int
    others: int
    chance: float
    natural: NaturalEffect | None

    @property
    def is_telling(self) -> bool:
        """Whether it may be said to set the probe apart."""
        known = self.natural is not None and self.natural.is_certain
        return known and 2 * self.unlike > self.others and self.term < 0 and self.chance <= LEVEL


@dataclass(frozen=True, kw_only=True)
class SpecialShares(AgainstMany):
    """The mean score of one face with many, split into words, the largest share first, and a rest."""

    words: tuple[SpecialShare, ...]
    rest: float

    @property
    def telling(self) -> tuple[SpecialShare, ...]:
        """The words that may be said."""
        return tuple(word for word in self.words if word.is_telling)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; words and rest add up to the similarity."""
        return {
            **self.head(SCHEMA, describe_special_shares(self)),
            "words": [
                {
                    "name": word.attribute.name,
                    "phrase": word.attribute.phrase,
                    "share": word.term,
                    "probability": word.probability,
                    "unlike": word.unlike,
                    "chance": word.chance,
                    "natural_effect": natural_dict(word.natural),
                    "is_telling": word.is_telling,
                }
                for word in self.words
            ],
            "rest": self.rest,
        }


def special_words(
    concepts: Concepts,
    probe: NDArray[np.floating[Any]],
    others: NDArray[np.floating[Any]],
    scores: FloatArray,
    read: FloatArray,
    *,
    seed: int = 0,
) -> tuple[SpecialShare, ...]:
    """Split the mean score of a face with many into words; the largest share comes first.

    Parameters
    ----------
    probe, others
        Features (C, H, W) or (D,), and (N, ...).
    scores
        Their scores (N,).
    read
        What the attribute model reads in the probe, and in the others, (1 + N, K).
    """
    flat = others.reshape(len(others), -1).astype(np.float64)
    products = flat @ probe.reshape(-1).astype(np.float64)
    # Z of each pair: the score is the inner product divided by it.
    scale = np.divide(scores, products, out=np.zeros_like(products), where=products != 0)
    terms = (concepts.terms(np.repeat(read[:1], len(others), axis=0), read[1:]) * scale[:, None]).mean(axis=0)
    unlike = np.array(
        [[read_in(mine, its) in {"A", "B"} for mine, its in zip(read[0], row, strict=True)] for row in read[1:]]
    )
    natural = concepts.natural
    tried = [
        k
        for k, name in enumerate(concepts.names)
        if 2 * unlike[:, k].sum() > len(others) and name in natural and natural[name].is_certain
    ]
    chances = np.ones(len(concepts.names))
    if tried:
        one, many = concepts.centred(probe[None])[0], concepts.centred(others)
        apart = np.stack([one - many[unlike[:, k]].mean(axis=0) for k in tried])
        # Towards the face that has the word.
        sign = np.where(read[0, tried] >= 0.5, 1.0, -1.0)
        values = sign * (apart * concepts.directions[tried]).sum(axis=1) / concepts.spread[0, tried]
        size = np.linalg.norm(apart, axis=1) / np.sqrt(apart.shape[1]) / concepts.random_spread[0]
        random = np.random.default_rng(seed).standard_normal((ROUNDS, len(tried))) * size
        chances[tried] = corrected_chances(values, random)
    found = [
        SpecialShare(
            attribute(name),
            float(terms[k]),
            float(read[0, k]),
            int(unlike[:, k].sum()),
            len(others),
            float(chances[k]),
            natural.get(name),
        )
        for k, name in enumerate(concepts.names)
    ]
    return tuple(sorted(found, key=lambda word: -abs(word.term)))


def special_shares(explainer: ShareExplainer, probe: Face, others: Sequence[Face]) -> SpecialShares:
    """Split the mean score of a face with at least two others into words.

    Raise InputError if there are fewer, and FaceError if a face cannot support a verdict; see ``accept_poor`` of the
    explainer.
    """
    probe, others = comparable(probe, others, accept_poor=explainer.accept_poor)
    comparison, concepts, reader = explainer.comparison, explainer.concepts, explainer.attributes
    batch = stack_faces([probe, *others])
    features = features_in_parts(comparison, batch, BATCH)
    scores = np.asarray(comparison.scores(features[:1], features[1:]), np.float64)
    columns = [reader.heads.names.index(name) for name in concepts.names]
    read = np.concatenate([reader(batch[at : at + BATCH]).probabilities for at in range(0, len(batch), BATCH)])
    words = special_words(
        concepts, features[0], features[1:], scores, read[:, columns].astype(np.float64), seed=explainer.seed
    )
    mean = float(scores.mean())
    return SpecialShares(
        source=probe.source,
        others=len(others),
        similarity=mean,
        threshold=explainer.threshold,
        matches=int((scores > explainer.threshold).sum()),
        model=ModelInfo(comparison.name, comparison.sha256),
        attributes=ModelInfo(reader.network.name, reader.network.sha256),
        versions=software_versions(),
        words=tuple(word for word in words if word.attribute.name in explainer.names),
        rest=mean - sum(word.term for word in words if word.attribute.name in explainer.names),
    )


def describe_special_shares(found: SpecialShares) -> tuple[str, ...]:
    """Say which words set the face apart, or that none does, and warn if others may be the same person."""
    said = found.telling[:MOST_SAID]
    if not said:
        return (
            f"No word tells this face from these {found.others}: none of {len(found.words)} words has a share of the "
            f"mean score of {found.similarity:.2f} that is beyond chance, is read surely in the face and otherwise in "
            "most others, and is known to matter.",
            *found.same_person(),
        )
    listed = "; ".join(
        f"{word.attribute.phrase} {signed(word.term)} (this face {'yes' if word.probability >= 0.5 else 'no'}, "
        f"{max(word.probability, 1 - word.probability):.2f}; {word.unlike} of {word.others} others "
        f"{'no' if word.probability >= 0.5 else 'yes'})"
        for word in said
    )
    rest = found.similarity - sum(word.term for word in said)
    return (
        f"The mean score of {found.similarity:.2f} with {found.others} faces is {listed}; "
        f"everything else {signed(rest)}.",
        *natural_sentences(said),
        *found.same_person(),
    )
