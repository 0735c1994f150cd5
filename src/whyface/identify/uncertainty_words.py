"""Attribute words on a photo, by how much erasing each changes the uncertainty of identification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.gallery.gallery import Gallery
from whyface.identify.evidential import EvidentialHead
from whyface.identify.gallery_people import cosine_parts, head_features
from whyface.models.embedder import Batch
from whyface.words.attribute_model import AttributeReader, attribute
from whyface.words.noise_floor import FEWEST_DRAWS, LEVEL, noise_floor, random_blobs
from whyface.words.word_maps import THRESHOLD, class_activation, erased_faces, erased_pixels, joint_maps


def gallery_features(gallery: Gallery) -> Features:
    """Return the function from faces to the input of the gallery's head."""
    return lambda faces: head_features(gallery, gallery.features(faces))


def identity_map(head: EvidentialHead, features: NDArray[np.float32], cells: tuple[int, int]) -> NDArray[np.float32]:
    """Return the class activation map of the likeliest person, (H, W) in 0..1; features (1, D).

    The head's cosine is a sum over places, so the map is exact, not estimated from gradients.
    """
    person = int(head(features).probability[0].argmax())
    return np.asarray(class_activation(cosine_parts(features, head.directions[person], cells))[0], np.float32)


def word_masks(
    face: Batch,
    head: EvidentialHead,
    features: NDArray[np.float32],
    cells: tuple[int, int] | None,
    attributes: AttributeReader,
    *,
    threshold: float = THRESHOLD,
    sensitive: bool = False,
) -> dict[str, NDArray[np.bool_]]:
    """Return the pixels of each word that is present and permitted: where both the word and the person are seen.

    Parameters
    ----------
    head, features
        The head and its input for this face, (1, D).
    cells
        Places of the features; None if they have none: words then lie where they are seen, whoever it is.
    threshold
        Pixels of the joint map above this are erased.

    Returns
    -------
    Phrase -> (112, 112) bool; words without a place are left out.
    """
    evidence = attributes(face)
    heads = attributes.heads
    chosen = np.flatnonzero(evidence.present[0] & heads.usable(sensitive=sensitive))
    place = np.ones((1, 1), np.float32) if cells is None else identity_map(head, features, cells)
    joint = joint_maps(place, evidence.maps[0][chosen], "no counterfactual" if cells is None else "joint")
    masks = erased_pixels(joint, threshold)
    return {
        attribute(heads.names[number]).phrase: mask for number, mask in zip(chosen, masks, strict=True) if mask.any()
    }


Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Maps faces (N, 3, 112, 112) to the features that the head was fitted to, (N, D)."""

Masks = Mapping[str, NDArray[np.bool_]]
"""Word -> its pixels, (112, 112)."""

TOP: Final = 3
"""Number of words erased together."""


@dataclass(frozen=True)
class ErasedWord:
    """The effect of erasing one word.

    Attributes
    ----------
    name
        The word.
    area
        Share of the picture that was erased.
    uncertainty, person
        u without it, and the likeliest person then.
    by_chance
        Mean u after erasing random places of the same area.
    limit
        What u must exceed to differ from chance, corrected for the choice among all words.
    chance
        p-value, corrected for the same choice, see :func:`whyface.words.noise_floor.noise_floor`.
    """

    name: str
    area: float
    uncertainty: float
    person: str
    by_chance: float
    limit: float
    chance: float

    @property
    def is_telling(self) -> bool:
        """Whether u rises more than by chance."""
        return self.chance <= LEVEL


@dataclass(frozen=True)
class UncertaintyWords:
    """How the uncertainty depends on words.

    Attributes
    ----------
    uncertainty, person
        u of the whole face, and the likeliest person.
    words
        The words, largest u first.
    eraser
        What replaces the erased pixels.
    draws, seed
        Random erasures of each word's area.
    """

    uncertainty: float
    person: str
    words: tuple[ErasedWord, ...]
    eraser: str
    draws: int
    seed: int

    def top(self, count: int = TOP) -> tuple[str, ...]:
        """Return up to ``count`` words that raise u, largest first."""
        return tuple(word.name for word in self.words[:count] if word.uncertainty > self.uncertainty)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; the first three keys are those of the published files."""
        return {
            "uncertain_original": self.uncertainty,
            "attributes_sortting": [word.name for word in self.words],
            "uncertain_value": [word.uncertainty for word in self.words],
            "predicted_id": self.person,
            "words": [{**asdict(word), "is_telling": word.is_telling} for word in self.words],
            "eraser": self.eraser,
            "draws": self.draws,
            "seed": self.seed,
        }

    def describe(self) -> str:
        """Return one or two sentences: which words matter most, or that none exceeds chance."""
        telling = [word for word in self.words if word.is_telling]
        if not telling:
            return (
                "No word's place raises the uncertainty more than random places of the same size do: "
                "the answer does not hang on a single one"
            )
        first = telling[0]
        text = (
            f"Most hangs on {first.name}: without it u rises from {self.uncertainty:.3g} to {first.uncertainty:.3g} "
            f"(random places of the same size: {first.by_chance:.3g})"
        )
        if first.person != self.person:
            text += f", and the face would rather be {first.person}'s"
        rest = [f"{word.name} ({word.uncertainty:.3g})" for word in telling[1:TOP]]
        return f"{text}; then {' and '.join(rest)}" if rest else text


def uncertainty_words(
    head: EvidentialHead,
    features: Features,
    face: NDArray[np.uint8],
    masks: Masks,
    *,
    eraser: str = "black",
    draws: int = 20,
    seed: int = 0,
) -> UncertaintyWords:
    """Erase each word in turn and measure the uncertainty.

    Raise InputError if there are no pixels to erase, or too few draws.

    Parameters
    ----------
    masks
        Pixels of each word; words without pixels are left out.
    eraser
        See :data:`whyface.words.word_maps.ERASERS`; the same for words and chance.
    draws
        Random erasures of each word's area, at least 19: with fewer, no word can exceed chance.
    seed
        Seed of the random erasures.
    """
    kept = {name: mask for name, mask in masks.items() if mask.any()}
    if not kept:
        raise InputError("no word has a place on this face, so there is nothing to erase")
    if draws < FEWEST_DRAWS:
        raise InputError(f"chance needs at least {FEWEST_DRAWS} draws, got {draws}")
    rng = np.random.default_rng(seed)
    stacked = np.stack(list(kept.values()))
    copies = [face[None], erased_faces(face, stacked, eraser, seed=seed)]
    copies += [erased_faces(face, random_blobs(int(mask.sum()), draws, rng), eraser, seed=seed) for mask in stacked]
    belief = head(features(np.concatenate(copies)))
    u, who = belief.uncertainty, belief.probability.argmax(axis=1)
    count = len(kept)
    chance = u[1 + count :].reshape(count, draws)
    floor = noise_floor(u[1 : 1 + count] - u[0], chance - u[0])
    words = [
        ErasedWord(
            name=name,
            area=float(mask.mean()),
            uncertainty=float(u[1 + row]),
            person=head.people[int(who[1 + row])],
            by_chance=float(u[0] + floor.mean[row]),
            limit=float(u[0] + floor.limit[row]),
            chance=float(floor.chance[row]),
        )
        for row, (name, mask) in enumerate(kept.items())
    ]
    words.sort(key=lambda word: -word.uncertainty)
    return UncertaintyWords(float(u[0]), head.people[int(who[0])], tuple(words), eraser, draws, seed)
