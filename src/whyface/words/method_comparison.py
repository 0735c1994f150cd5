"""Compare words with other methods under one protocol: all erase the same number of pixels with the same eraser.

Otherwise, a method that erases more would win, as in Sim2Word's comparison, where each erases what exceeds a threshold
of its map (``above``). A method orders the pixels of a face: in an impostor pair, those that count most against a match
come first; in a genuine pair, those that count most for one. Words have one order for each word, and the best of
several is chosen by the score, so that chance is given the same choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.pair_method import PairMethod
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Batch
from whyface.words.attribute_model import AttributeEvidence
from whyface.words.noise_floor import random_blobs
from whyface.words.word_explainer import WordExplainer
from whyface.words.word_maps import erased_faces, joint_maps, to_pixels, to_unit_range, word_places
from whyface.xcos.comparison import Comparison, Features, features_in_parts

SHARES: Final = (0.05,)
"""Shares of a face's pixels that are erased."""

WORD_KINDS: Final = ("words", "words anywhere", "words without counterfactual map")
"""For these, the most telling of a face's words counts, chosen by the score."""

SideMaps = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]

_SMALL: Final = 1e-3
_BATCH: Final = 64


@dataclass(frozen=True, eq=False)
class PairSide:
    """N faces of one side of the pairs, prepared once.

    Attributes
    ----------
    batch
        (N, 3, 112, 112) uint8.
    features
        The features that the score compares.
    identity
        Input of the identity evidence, see :class:`~whyface.words.identity_evidence.IdentityCells`.
    evidence
        Evidence of the attribute model.
    """

    batch: Batch
    features: Features
    identity: Features
    evidence: AttributeEvidence

    def rows(self, rows: NDArray[np.intp]) -> PairSide:
        """Return some of the faces."""
        evidence = AttributeEvidence(self.evidence.maps[rows], self.evidence.logits[rows])
        return PairSide(self.batch[rows], self.features[rows], self.identity[rows], evidence)


def read_side(explainer: WordExplainer, batch: Batch) -> PairSide:
    """Run both networks on one side of the pairs. Raise InputError if the explainer does not use identity."""
    if explainer.cells is None:
        raise InputError("words can be compared only on a model that can be read place by place")
    features = features_in_parts(explainer.comparison, batch, _BATCH)
    # In an xCos model both are the grid.
    identity = features if explainer.comparison.attention is not None else explainer.cells.read(batch)
    return PairSide(batch, features, identity, explainer.attributes(batch))


def candidate_words(explainer: WordExplainer, side: PairSide) -> NDArray[np.bool_]:
    """Return which words each face has, (N, K): present, learnt and allowed."""
    return np.asarray(side.evidence.present & explainer.allowed)


def top_pixels(maps: NDArray[np.floating[Any]], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the highest pixels of maps (N, 112, 112), exactly the same number in each; ties are broken at random."""
    count = round(share * FACE_SIZE * FACE_SIZE)
    flat = maps.reshape(len(maps), FACE_SIZE * FACE_SIZE)
    masks = np.zeros(flat.shape, bool)
    for row, values in enumerate(flat):
        shuffled = rng.permutation(len(values))
        masks[row, shuffled[np.argpartition(-values[shuffled], count)[:count]]] = True
    return masks.reshape(len(maps), FACE_SIZE, FACE_SIZE)


def signed_maps(
    methods: Mapping[str, PairMethod], sides: tuple[PairSide, PairSide], genuine: NDArray[np.bool_]
) -> dict[str, SideMaps]:
    """Return each method's maps of both faces, (N, 112, 112): of genuine pairs for a match, of others against it."""
    sign = np.where(genuine, 1, -1)[:, None, None]
    found = {}
    for name, method in methods.items():
        both = method.maps(sides[0].batch, sides[1].batch)
        found[name] = (to_pixels(both.map_a) * sign, to_pixels(both.map_b) * sign)
    return found


def compare_methods(
    explainer: WordExplainer,
    methods: Mapping[str, PairMethod],
    sides: tuple[PairSide, PairSide],
    numbers: NDArray[np.intp],
    genuine: NDArray[np.bool_],
    *,
    shares: Sequence[float] = SHARES,
    above: float | None = None,
    elsewhere: bool = False,
    maps: Mapping[str, SideMaps] | None = None,
    seed: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Score N pairs with each method's pixels erased.

    Parameters
    ----------
    explainer
        The explainer by words, which also has the score.
    methods
        Name -> method with signed maps; positive supports a match.
    sides, numbers, genuine
        The pairs.
    shares
        Shares of the pixels.
    above
        Instead of a share: erase what is above this in a map rescaled to 0..1, and at random as much on average.
    elsewhere
        Erase what the methods and words say of another of the pairs, of the same kind: what a method gains beyond this
        it owes to the pair, as with the specific gain of ``whyface benchmark``. NaN if there is no other pair.
    maps
        What :func:`signed_maps` returned, if it is there already.
    seed
        Seed of all random draws.

    Returns
    -------
    Name -> (N, 2, S): the score with the first face erased and with the second, for every share. :data:`WORD_KINDS`
    and ``"random, best of as many"`` are the most telling of several; ``"first word"`` is the word that the attribute
    model is surest of, chosen beforehand; ``"counterfactual map"`` is D without any word.
    """
    columns = len(shares) if above is None else 1
    names = [*methods, "counterfactual map", "first word", *WORD_KINDS, "random", "random, best of as many"]
    found = {name: np.full((len(numbers), 2, columns), np.nan, np.float32) for name in names}
    origins = _origins(genuine, elsewhere)
    if max(origins, default=-1) < 0:
        return found
    if maps is None:
        maps = signed_maps(methods, sides, genuine)
    allowed = [candidate_words(explainer, side) for side in sides]
    places = word_places(explainer.names)
    for row, (number, origin) in enumerate(zip(numbers, origins, strict=True)):
        if origin < 0:
            continue
        pair = [side.batch[row : row + 1] for side in sides]
        identity = np.concatenate([side.identity[origin : origin + 1] for side in sides])
        counterfactual, _ = explainer.counterfactual_of(identity, "alike" if genuine[row] else "different")
        for side in (0, 1):
            rng = np.random.default_rng((seed, int(number), side))
            place = to_pixels(counterfactual[side][None])[0]
            words = np.flatnonzero(allowed[side][origin])
            evidence = sides[side].evidence.maps[origin][words]
            # If a word's own places do not fill the share, the map without words fills it.
            joint = _SMALL * place + np.concatenate(
                [
                    joint_maps(counterfactual[side], evidence, places=places[words]),
                    joint_maps(counterfactual[side], evidence),
                    joint_maps(counterfactual[side], evidence, "no counterfactual", places=places[words]),
                ]
            )
            surest = int(np.argmax(sides[side].evidence.logits[origin][words])) if len(words) else -1
            single = np.stack([*(maps[name][side][origin] for name in methods), place])
            for column, share in enumerate(shares if above is None else shares[:1]):
                chosen = [
                    top_pixels(one, share, rng) if above is None else to_unit_range(one) > above
                    for one in (single, joint)
                ]
                pixels = round(sum(float(one.sum()) for one in chosen) / sum(map(len, chosen)))
                masks = np.concatenate([*chosen, random_blobs(max(pixels, 1), max(1, len(words)), rng)])
                copies = erased_faces(pair[side][0], masks, explainer.settings.eraser, seed=explainer.settings.seed)
                scores = score_copies(explainer.comparison, [copies], [(row, side)] * len(copies), sides)
                best = np.min if genuine[row] else np.max
                for order, name in enumerate([*methods, "counterfactual map"]):
                    found[name][row, side, column] = scores[order]
                of_words, of_chance = np.split(scores[len(single) :], [len(joint)])
                found["random"][row, side, column] = of_chance[0]
                found["random, best of as many"][row, side, column] = best(of_chance)
                if len(words):
                    for name, part in zip(WORD_KINDS, np.split(of_words, len(WORD_KINDS)), strict=True):
                        found[name][row, side, column] = best(part)
                    found["first word"][row, side, column] = of_words[surest]
    return found


def _origins(genuine: NDArray[np.bool_], elsewhere: bool) -> list[int]:
    """Return the pair that each pair's masks come from: itself, or the one before it of its kind; -1 for none."""
    rows = np.arange(len(genuine))
    if elsewhere:
        for kind in (False, True):
            same = np.flatnonzero(genuine == kind)
            rows[same] = np.roll(same, 1) if len(same) > 1 else -1
    return rows.tolist()


def score_copies(
    comparison: Comparison,
    copies: Sequence[NDArray[Any]],
    places: Sequence[tuple[int, int]],
    sides: tuple[PairSide, PairSide],
) -> NDArray[np.float32]:
    """Score erased copies against the original other face of their pair.

    Parameters
    ----------
    comparison
        The score.
    copies
        Blocks of copies, M in all.
    places
        For each copy, the pair's row, and 0 for the first face or 1 for the second.
    sides
        The original faces.
    """
    features = features_in_parts(comparison, np.concatenate(copies), _BATCH)
    rows = np.array([row for row, _ in places])
    first = np.array([side == 0 for _, side in places])
    found = np.empty(len(rows), np.float32)
    for is_first, other in ((True, sides[1]), (False, sides[0])):
        chosen = first == is_first
        if chosen.any():
            plain = other.features[rows[chosen]]
            pair = (features[chosen], plain) if is_first else (plain, features[chosen])
            found[chosen] = comparison.scores(*pair)
    return found
