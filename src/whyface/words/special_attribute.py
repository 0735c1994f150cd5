"""What sets one person apart from many: the words whose erasing makes a face more similar to all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.provenance import ModelInfo
from whyface.explain.trust import doubt_about_face, measured
from whyface.explain.verdict import software_versions
from whyface.faces.face import Face, stack_faces
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import Batch
from whyface.words.attribute_model import PRESENT, AttributeEvidence, attribute
from whyface.words.noise_floor import LEVEL, noise_floor, random_blobs
from whyface.words.word_explainer import WordExplainer, refuse_poor
from whyface.words.word_maps import BATCH, erased_faces
from whyface.words.word_report import WordSettings
from whyface.xcos.comparison import Features, features_in_parts

SCHEMA: Final = "whyface/special-attribute/1"


@dataclass(frozen=True)
class SpecialWord:
    """One attribute of the probe, compared with all others.

    Attributes
    ----------
    name, phrase
        The word.
    probability
        Probability that the probe has it.
    change
        Mean rise of the similarity to the others when it is erased in the probe.
    by_chance, limit
        Mean rise by erasing random places of that size, and the rise that a word must exceed to count, see
        :func:`whyface.words.noise_floor.noise_floor`.
    mean_rank
        Mean over the others of the word's rank among the words; 1 is the largest rise.
    chance
        p-value, corrected for the selection among all words.
    """

    name: str
    phrase: str
    probability: float
    change: float
    by_chance: float
    limit: float
    mean_rank: float
    chance: float

    @property
    def is_special(self) -> bool:
        """Whether erasing it raises the similarity more than chance does."""
        return self.chance <= LEVEL


@dataclass(frozen=True, kw_only=True)
class AgainstMany:
    """What every report on one face against many begins with.

    Attributes
    ----------
    source, others
        Photo of the probe, and number of faces compared.
    similarity
        Mean similarity to them.
    threshold, matches
        Match iff score > threshold; number of others that match the probe and may be the same person.
    model, attributes
        The network of the score, and that of the attributes.
    versions
        Versions of the software.
    """

    source: str
    others: int
    similarity: float
    threshold: float
    matches: int
    model: ModelInfo
    attributes: ModelInfo
    versions: Mapping[str, str]

    def head(self, schema: str, sentences: Sequence[str]) -> dict[str, Any]:
        """Return what both reports share, as JSON values."""
        return {
            "schema": schema,
            "image": self.source,
            "others": self.others,
            "similarity": self.similarity,
            "threshold": self.threshold,
            "matches": self.matches,
            "sentences": list(sentences),
            "model": self.model.to_dict(),
            "attribute_model": self.attributes.to_dict(),
            "versions": dict(self.versions),
        }

    def same_person(self) -> tuple[str, ...]:
        """Warn if others may be the same person."""
        if not self.matches:
            return ()
        return (
            f"{self.matches} of these faces {'is' if self.matches == 1 else 'are'} above the threshold "
            f"{self.threshold:.3f} for a match; leave out photos of the same person.",
        )


@dataclass(frozen=True, kw_only=True)
class SpecialAttributes(AgainstMany):
    """Words of one face compared with many, the most special first, and the settings of the test."""

    words: tuple[SpecialWord, ...]
    settings: WordSettings

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            **self.head(SCHEMA, describe_special(self)),
            "words": [
                {
                    **vars(word),
                    "similarity": self.similarity + word.change,
                    "similarity_limit": self.similarity + word.limit,
                }
                for word in self.words
            ],
            "settings": self.settings.to_dict(),
        }


def comparable(probe: Face, others: Sequence[Face], *, accept_poor: bool) -> tuple[Face, list[Face]]:
    """Return a probe and others with their quality.

    Raise InputError if there are fewer than two others, and FaceError if a face cannot support a verdict.
    """
    if len(others) < 2:
        raise InputError(f"special words need at least two other faces, got {len(others)}; give more photos")
    probe, *others = (measured(face) for face in (probe, *others))
    for face in (probe, *others):
        doubt = doubt_about_face(face)
        refuse_poor(doubt and f"{face.source or 'a photo'}: {doubt}", accept_poor)
    return probe, list(others)


def special_attributes(
    explainer: WordExplainer, probe: Face, others: Sequence[Face], *, progress: ProgressCallback | None = None
) -> SpecialAttributes:
    """Test the probe's words against all other faces: erase each where it is seen and matters for the comparison.

    Parameters
    ----------
    explainer
        The models and settings; ``names`` and ``sensitive`` of the settings choose the words.
    probe
        The face.
    others
        Faces of other people, at least two.
    progress
        Called with the number of words done and the total.

    Raises
    ------
    InputError
        If there are fewer than two others.
    FaceError
        If a face cannot support a verdict; see ``accept_poor`` of the explainer.
    """
    probe, others = comparable(probe, others, accept_poor=explainer.accept_poor)
    settings, comparison = explainer.settings, explainer.comparison
    batch = stack_faces([probe])
    evidence = explainer.attributes(batch)
    asked = evidence.present[0] if settings.names is None else np.ones_like(evidence.present[0])
    numbers = np.flatnonzero(explainer.allowed & asked)
    known = features_in_parts(comparison, stack_faces(list(others)), BATCH)
    plain = np.asarray(comparison.scores(comparison.features(batch), known), np.float64)
    if not len(numbers):
        return _report(explainer, probe, plain, ())
    masks = _masks(explainer, batch, others, evidence, numbers)
    rises, by_chance = _rises(explainer, batch[0], masks, known, plain, progress)
    changes = rises.mean(axis=0)
    floor = noise_floor(changes, by_chance)
    ranks = (np.argsort(np.argsort(-rises, axis=1, kind="stable"), axis=1) + 1).mean(axis=0)
    words = [
        SpecialWord(
            name=explainer.names[number],
            phrase=attribute(explainer.names[number]).phrase,
            probability=float(evidence.probabilities[0, number]),
            change=float(changes[column]),
            by_chance=float(floor.mean[column]),
            limit=float(floor.limit[column]),
            mean_rank=float(ranks[column]),
            chance=float(floor.chance[column]),
        )
        for column, number in enumerate(numbers)
    ]
    words.sort(key=lambda word: -word.change)
    return _report(explainer, probe, plain, tuple(words))


def _masks(
    explainer: WordExplainer,
    probe: Batch,
    others: Sequence[Face],
    evidence: AttributeEvidence,
    numbers: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Return one mask for each word, (words, 112, 112), from the mean of the counterfactual maps.

    It is the same for all others, like the random places. With one random place per other, chance would be a mean of
    many places and hardly vary, while the word, with almost the same place each time, would vary like a single place.
    """
    maps = [explainer.counterfactual(probe, stack_faces([other]), "different")[0][0] for other in others]
    return explainer.masks_of(evidence.maps[0][numbers], np.mean(maps, axis=0), numbers)


def _rises(
    explainer: WordExplainer,
    probe: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    known: Features,
    plain: NDArray[np.float64],
    progress: ProgressCallback | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rises by words, (others, words), and the mean rises by random places, (words, draws)."""
    settings, comparison = explainer.settings, explainer.comparison
    rng = np.random.default_rng(settings.seed)
    rises = np.empty((len(known), len(masks)))
    by_chance = np.empty((len(masks), settings.draws))
    for column, mask in enumerate(masks):
        places = np.concatenate([mask[None], random_blobs(int(mask.sum()), settings.draws, rng)])
        copies = features_in_parts(comparison, erased_faces(probe, places, settings.eraser, seed=settings.seed), BATCH)
        moved = [np.asarray(comparison.scores(copy[None], known), np.float64) - plain for copy in copies]
        rises[:, column] = moved[0]
        by_chance[column] = np.mean(moved[1:], axis=1)
        if progress is not None:
            progress(column + 1, len(masks))
    return rises, by_chance


def _report(
    explainer: WordExplainer, probe: Face, plain: NDArray[np.float64], words: tuple[SpecialWord, ...]
) -> SpecialAttributes:
    comparison, network = explainer.comparison, explainer.attributes.network
    return SpecialAttributes(
        source=probe.source,
        others=len(plain),
        similarity=float(plain.mean()),
        words=words,
        threshold=explainer.threshold,
        matches=int((plain > explainer.threshold).sum()),
        model=ModelInfo(comparison.name, comparison.sha256),
        attributes=ModelInfo(network.name, network.sha256),
        settings=explainer.settings,
        versions=software_versions(),
    )


def describe_special(found: SpecialAttributes) -> tuple[str, ...]:
    """Describe what is most special, if anything is, and warn if others may be the same person."""
    return (*_special(found), *_unseen(found.words[:1]), *found.same_person())


def _unseen(first: Sequence[SpecialWord]) -> tuple[str, ...]:
    return tuple(
        f"The attribute model does not see {word.phrase} on this face (probability {word.probability:.2f}), so this is "
        "about a place on it, not about the word."
        for word in first
        if word.probability < PRESENT
    )


def _special(found: SpecialAttributes) -> tuple[str, ...]:
    if not found.words:
        return (
            "None of the words that the attribute model knows well fits the photo, so nothing special can be named.",
        )
    best = found.words[0]
    before, after, limit = (_shown(found.similarity + moved) for moved in (0.0, best.change, best.limit))
    if not best.is_special:
        return (
            f"No word is special against these {found.others} faces: erasing {best.phrase} brings the mean similarity "
            f"from {before} to {after}, and chance reaches {limit}.",
        )
    text = (
        f"Most special against {found.others} faces: {best.phrase}. Without it the mean similarity rises from {before} "
        f"to {after}; only values above {limit} count as more than chance."
    )
    others = [word for word in found.words[1:4] if word.is_special]
    if not others:
        return (text,)
    named = ", ".join(
        f"{word.phrase} ({_shown(found.similarity + word.change)}{', not seen' if _unseen([word]) else ''})"
        for word in others
    )
    return text, f"Next: {named}."


def _shown(value: float) -> str:
    """Format with three decimals, without a sign for zero."""
    return f"{round(value, 3) + 0.0:.3f}"
