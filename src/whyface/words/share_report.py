"""The report on words as shares of a score: made for a pair, said in sentences, and written as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from whyface.errors import ModelError
from whyface.explain.provenance import FaceInfo, ModelInfo
from whyface.explain.trust import accepted, doubt_about, measured
from whyface.explain.verdict import FaceVerifier, software_versions
from whyface.faces.face import Face, stack_faces
from whyface.words.attribute_model import Attribute, AttributeReader, match_names, open_attributes
from whyface.words.word_explainer import refuse_poor
from whyface.words.word_report import PairReport
from whyface.words.word_shares import Concepts, NaturalEffect, WordShare, read_concepts, shipped_concepts, word_shares

SCHEMA: Final = "whyface/word-shares/1"
MOST_SAID: Final = 4
"""Maximum number of words in the sentences."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ShareReport(PairReport):
    """A score split into words and a rest; the largest share comes first."""

    words: tuple[WordShare, ...]

    @property
    def rest(self) -> float:
        """What no word accounts for: words and rest add up to the score."""
        return self.similarity - sum(word.term for word in self.words)

    @property
    def telling(self) -> tuple[WordShare, ...]:
        """The words that may be said, see :attr:`whyface.words.word_shares.WordShare.is_telling`."""
        return tuple(word for word in self.words if word.is_telling)


class ShareExplainer:
    """Split the score of pairs into words.

    Raise InputError if an attribute is unknown.

    Parameters
    ----------
    verifier
        The model with its threshold.
    concepts
        Directions of words in the model's features.
    attributes
        The attribute model, which reads the words in both faces.
    names
        Only these attributes are said; the others count all the same. None for all.
    accept_poor
        Explain also faces that cannot support a verdict; the doubt then marks the report.
    seed
        Seed of the random directions.
    """

    def __init__(
        self,
        verifier: FaceVerifier,
        concepts: Concepts,
        attributes: AttributeReader,
        *,
        names: tuple[str, ...] | None = None,
        accept_poor: bool = False,
        seed: int = 0,
    ) -> None:
        self.comparison = verifier.method.comparison
        self.threshold, self.source = verifier.method.threshold, verifier.method.source
        self.concepts, self.attributes = concepts, attributes
        self.names = concepts.names if names is None else tuple(match_names(names, concepts.names))
        self.accept_poor, self.seed = accept_poor, seed

    def __call__(self, face_a: Face, face_b: Face) -> ShareReport:
        """Split the score of a pair.

        Raise FaceError if a face cannot support a verdict; see ``accept_poor``.
        """
        face_a, face_b = measured(face_a), measured(face_b)
        doubt = doubt_about([face_a.quality, face_b.quality])
        refuse_poor(doubt, self.accept_poor)
        batch = stack_faces([face_a, face_b])
        features = self.comparison.features(batch)
        score = float(self.comparison.scores(features[:1], features[1:])[0])
        read = self.attributes(batch).probabilities
        known = self.attributes.heads.names
        chances = {name: (float(read[0, k]), float(read[1, k])) for k, name in enumerate(known)}
        words = word_shares(self.concepts, features[0], features[1], score, chances, seed=self.seed)
        network = self.attributes.network
        return ShareReport(
            similarity=score,
            threshold=self.threshold,
            threshold_source=self.source,
            words=tuple(word for word in words if word.attribute.name in self.names),
            model=ModelInfo(self.comparison.name, self.comparison.sha256),
            attributes=ModelInfo(network.name, network.sha256),
            versions=software_versions(),
            faces=(FaceInfo.from_face(face_a), FaceInfo.from_face(face_b)),
            doubt=doubt,
        )


def open_word_shares(
    verifier: FaceVerifier,
    *,
    concepts: Concepts | None = None,
    names: tuple[str, ...] | None = None,
    accept_poor: bool = False,
    seed: int = 0,
) -> ShareExplainer:
    """Open words as shares of a verifier's score.

    Parameters
    ----------
    verifier
        The model with its threshold.
    concepts
        Directions of words in the model's features; by default those that come with whyface.
    names, accept_poor, seed
        As for :class:`ShareExplainer`.

    Raises
    ------
    ModelError
        If whyface has no directions for this model.
    InputError
        If an attribute is unknown.
    """
    comparison = verifier.method.comparison
    if concepts is None:
        path = shipped_concepts(comparison.name)
        if not path.exists() or not (comparison.weighed or comparison.attention is None):
            raise ModelError(
                f"the score of {comparison.name!r} does not split into words: that needs attention that factorises and "
                "directions of words; use --model xcos-large, or --by erasing"
            )
        concepts = read_concepts(path, comparison.sha256)
    reader = open_attributes(threads=verifier.threads, providers=verifier.providers)
    return ShareExplainer(verifier, concepts, reader, names=names, accept_poor=accept_poor, seed=seed)


def describe_shares(report: ShareReport) -> tuple[str, ...]:
    """Say which words speak for and against a match, in both faces and how surely they were read, or that none does."""
    marked = () if report.doubt is None else (accepted(report.doubt),)
    said = report.telling[:MOST_SAID]
    together = sum(word.term for word in report.words)
    if not said:
        return (
            f"No word tells: none of the {len(report.words)} words has a share of the score of {report.similarity:.2f} "
            "that is beyond chance, read surely in both faces, and known to matter.",
            f"All words together have a share of {signed(together)}; the rest of the score is in no word.",
            *marked,
        )
    rest = report.similarity - sum(word.term for word in said)
    listed = "; ".join(_share(word) for word in said)
    return (
        f"The score of {report.similarity:.2f} is {listed}; everything else {signed(rest)}.",
        *natural_sentences([word for word in said if word.reading != "both"]),
        *marked,
    )


class HasEffect(Protocol):
    """A word with its effect between photos of one person."""

    @property
    def attribute(self) -> Attribute:
        """The word."""

    @property
    def natural(self) -> NaturalEffect | None:
        """Its effect, if measured."""


def natural_sentences(words: Sequence[HasEffect]) -> list[str]:
    """Say what each word costs between photos of one person."""
    return [
        f"Between photos of one person, {word.attribute.phrase} in one photo only change"
        f"{'' if word.attribute.is_plural else 's'} the score by {_natural(word.natural)}."
        for word in words
        if word.natural is not None
    ]


def natural_dict(found: NaturalEffect | None) -> dict[str, float] | None:
    """Return an effect as JSON values."""
    return None if found is None else vars(found)


def shares_document(report: ShareReport) -> dict[str, Any]:
    """Return a report as JSON values; the terms of all words and the rest add up to the score."""
    return {
        **report.head(SCHEMA, describe_shares(report)),
        "words": [_word(word) for word in report.words],
        "rest": report.rest,
    }


def _word(word: WordShare) -> dict[str, Any]:
    return {
        "name": word.attribute.name,
        "phrase": word.attribute.phrase,
        "share": word.term,
        "read_in": word.reading,
        "probability_a": word.probability_a,
        "probability_b": word.probability_b,
        "chance": word.chance,
        "natural_effect": natural_dict(word.natural),
        "is_telling": word.is_telling,
    }


def _share(word: WordShare) -> str:
    sides = [
        f"photo {side} {'yes' if chance >= 0.5 else 'no'}, {max(chance, 1 - chance):.2f}"
        for side, chance in (("A", word.probability_a), ("B", word.probability_b))
    ]
    kind = "shared" if word.reading == "both" else "different"
    return f"{word.attribute.phrase} {signed(word.term)} ({kind}: {'; '.join(sides)})"


def _natural(found: NaturalEffect) -> str:
    return f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def signed(value: float) -> str:
    """Write a share with two significant digits or more: the sum must still be seen to hold."""
    digits = 2 if abs(value) >= 0.1 else 3 if abs(value) >= 0.01 else 4
    return f"{value:+.{digits}f}"
