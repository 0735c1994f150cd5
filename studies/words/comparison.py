"""Compare words with other methods under one protocol: all erase the same number of pixels with the same eraser.

Otherwise, a method that erases more would win. A method orders the pixels of a face: in an impostor pair, those that
count most against a match come first; in a genuine pair, those that count most for one. Words have one order for each
word, and the best of several is chosen by the score, so that chance is given the same choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.words.arms import PairSide, candidate_words, score_copies
from whyface.explain.pair_method import PairMethod
from whyface.faces.face import FACE_SIZE
from whyface.words.noise_floor import random_blobs
from whyface.words.word_explainer import WordExplainer
from whyface.words.word_maps import erased_faces, joint_maps, to_pixels, word_places

SHARES: Final = (0.05,)
"""Shares of a face's pixels that are erased."""

WORD_KINDS: Final = ("words", "words anywhere", "words without counterfactual map")
"""For these, the most telling of a face's words counts, chosen by the score."""

_SMALL: Final = 1e-3


def top_pixels(maps: NDArray[np.floating[Any]], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the highest pixels of maps (N, 112, 112), exactly the same number in each; ties are broken at random."""
    count = round(share * FACE_SIZE * FACE_SIZE)
    flat = maps.reshape(len(maps), FACE_SIZE * FACE_SIZE)
    masks = np.zeros(flat.shape, bool)
    for row, values in enumerate(flat):
        shuffled = rng.permutation(len(values))
        masks[row, shuffled[np.argpartition(-values[shuffled], count)[:count]]] = True
    return masks.reshape(len(maps), FACE_SIZE, FACE_SIZE)


def compare_methods(
    explainer: WordExplainer,
    methods: Mapping[str, PairMethod],
    sides: tuple[PairSide, PairSide],
    numbers: NDArray[np.intp],
    genuine: NDArray[np.bool_],
    *,
    shares: Sequence[float] = SHARES,
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
    seed
        Seed of all random draws.

    Returns
    -------
    Name -> (N, 2, S): the score with the first face erased and with the second, for every share. :data:`WORD_KINDS`
    and ``"random, best of as many"`` are the most telling of several; ``"first word"`` is the word that the attribute
    model is surest of, chosen beforehand; ``"counterfactual map"`` is D without any word.
    """
    names = [*methods, "counterfactual map", "first word", *WORD_KINDS, "random", "random, best of as many"]
    found = {name: np.full((len(numbers), 2, len(shares)), np.nan, np.float32) for name in names}
    maps = {
        name: tuple(to_pixels(one) * np.where(genuine, 1, -1)[:, None, None] for one in _maps(method, sides))
        for name, method in methods.items()
    }
    allowed = [candidate_words(explainer, side) for side in sides]
    places = word_places(explainer.names)
    for row, number in enumerate(numbers):
        pair = [side.batch[row : row + 1] for side in sides]
        identity = np.concatenate([side.identity[row : row + 1] for side in sides])
        counterfactual, _ = explainer.counterfactual_of(identity, "alike" if genuine[row] else "different")
        for side in (0, 1):
            rng = np.random.default_rng((seed, int(number), side))
            place = to_pixels(counterfactual[side][None])[0]
            words = np.flatnonzero(allowed[side][row])
            evidence = sides[side].evidence.maps[row][words]
            # If a word's own places do not fill the share, the map without words fills it.
            joint = _SMALL * place + np.concatenate(
                [
                    joint_maps(counterfactual[side], evidence, places=places[words]),
                    joint_maps(counterfactual[side], evidence),
                    joint_maps(counterfactual[side], evidence, "no counterfactual", places=places[words]),
                ]
            )
            surest = int(np.argmax(sides[side].evidence.logits[row][words])) if len(words) else -1
            single = np.stack([*(maps[name][side][row] for name in methods), place])
            for column, share in enumerate(shares):
                pixels = round(share * FACE_SIZE * FACE_SIZE)
                tries = max(1, len(words))
                masks = np.concatenate(
                    [top_pixels(single, share, rng), top_pixels(joint, share, rng), random_blobs(pixels, tries, rng)]
                )
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


def _maps(method: PairMethod, sides: tuple[PairSide, PairSide]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    both = method.maps(sides[0].batch, sides[1].batch)
    return both.map_a, both.map_b
