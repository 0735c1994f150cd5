"""Describe an explanation in two English sentences, whose numbers all follow from the explanation.

Shares are given in points: 1 point is 0.01 of the score. Left and right are as seen in the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.explain.explanation import Explanation
from whyface.explain.provenance import NO_GRID
from whyface.explain.shares import (
    explanation_shares,
    fewest_to_flip,
    map_shares,
    neutral_places,
    neutral_similarity,
    ranked,
    region_shares,
)
from whyface.faces.regions import has_side, region_of_cells, region_phrase

MOST_NAMED: Final = 3
"""Maximum number of regions in a list."""

CLOSE_MARGIN: Final = 0.01
"""A score closer to the threshold than this is "only just" on its side."""

ONCE: Final = 3
"""A similarity is usual for strangers and genuine pairs if it is less than so many times commoner among either."""

USUAL: Final = math.log(ONCE)

_SIDES: Final = " (left and right as seen in the picture)"
_Listed = Sequence[tuple[str, str]]  # region, its share as text


def describe(explanation: Explanation) -> tuple[str, ...]:
    """Describe what supports the verdict, what speaks against it, and how far it is from flipping.

    Return two or more sentences. The first gives the verdict, the distance of the score from the threshold, and the
    regions that support the verdict most, each with its exact share of that distance
    (:func:`whyface.explain.shares.explanation_shares`). The second gives the regions that speak against it and the
    fewest places that would flip it (:func:`whyface.explain.shares.fewest_to_flip`). With per-face maps only, the
    shares are those of the maps' weight (:func:`whyface.explain.shares.map_shares`); without maps, the sentences say
    that there are no reasons by region. With a grid, the third sentence compares the most telling and the highest
    similarity with what is usual there (:mod:`whyface.explain.usual`), or says that this is not on record. Places
    outside a photo give no reasons; a further sentence counts them. What is undecided gets the doubt and what to do
    about it.
    """
    if explanation.undecided:
        return _undecided(explanation)
    shares = explanation_shares(explanation)
    if shares is not None:
        return *_from_grid(explanation, shares), *_usual(explanation), *_outside(explanation, shares)
    by_map = map_shares(explanation)
    if by_map is None:
        return _without_reasons(explanation)
    return *_from_maps(explanation, by_map), *_outside(explanation, None)


def _undecided(explanation: Explanation) -> tuple[str, str]:
    reason = "Strangers look alike in such pictures, so there is no verdict and there are no reasons"
    advice = "give better photos, or accept poor ones (--accept-poor) to see the score"
    return f"Undecided: {explanation.doubt}.", f"{reason}; {advice}."


def points(share: float) -> str:
    """Format a share in points with its sign, such as ``"+5.1"``; 1 point is 0.01 of the score."""
    return f"{100 * share:+.1f}"


def score_and_threshold(explanation: Explanation) -> tuple[str, str]:
    """Format score and threshold with four decimals, or as many as are needed to tell them apart."""
    score, threshold = explanation.score, explanation.threshold
    for digits in range(4, 17):
        texts = f"{score:.{digits}f}", f"{threshold:.{digits}f}"
        if texts[0] != texts[1] or score == threshold:
            return texts if score != threshold else (texts[0], texts[0])
    return repr(score), repr(threshold)


def distance(margin: float) -> str:
    """Format a margin without its sign, such as ``"16.9 points"``; never as 0 if it is not 0."""
    size = 100 * abs(margin)
    number = f"{size:.1f}" if size >= 0.05 or size == 0 else f"{size:.1g}"
    return f"{number} point{'' if number == '1.0' else 's'}"


def _usual(explanation: Explanation) -> tuple[str, ...]:
    """Say which similarity is the most telling, and whether the highest one is."""
    found, s, unseen = explanation.telling, explanation.similarity, explanation.unseen
    assert s is not None
    assert unseen is not None
    if found is None:
        return ("What is usual at each place is not on record for this model: strangers may be as alike there.",)
    if unseen.all():
        return ()
    match, names = explanation.is_match, region_of_cells(*s.shape)
    support = np.where(unseen, -np.inf, found.log_odds if match else -found.log_odds)
    most = np.unravel_index(int(support.argmax()), s.shape)
    where = f"at {region_phrase(str(names[most]))}"
    if support[most] < USUAL:
        text = f"No place is telling: nowhere is the similarity {ONCE} times as common as among {_others(match)}"
    elif match:
        text = (
            f"The most telling place is {where}: {_share(found.strangers[most])} of strangers are less alike there "
            f"than these faces ({s[most]:.2f})"
        )
    else:
        text = (
            f"The most telling place is {where}: {_share(1 - found.genuine[most])} of pairs of one person are more "
            f"alike there than these faces ({s[most]:.2f})"
        )
    high = np.unravel_index(int(np.where(unseen, -np.inf, s).argmax()), s.shape)
    if high != most and abs(float(found.log_odds[high])) < USUAL:
        text += (
            f"; the highest similarity ({s[high]:.2f}, at {region_phrase(str(names[high]))}) says little: "
            f"{_share(1 - found.strangers[high])} of strangers are even more alike there"
        )
    return (f"{text}.",)


def _others(match: bool) -> str:
    return "strangers" if match else "pairs of one person"


def _share(share: float) -> str:
    """Format a share of pairs, which is known between half a percent and the rest."""
    if share > 0.99:
        return "over 99%"
    return "under 1%" if share < 0.01 else f"{100 * share:.0f}%"


def _outside(explanation: Explanation, shares: NDArray[np.float64] | None) -> tuple[str, ...]:
    """Say how many places lie outside the photos, and what the model took from them all the same."""
    shape = NO_GRID if shares is None else (shares.shape[0], shares.shape[1])
    first, second = (explanation.outside(face, shape) for face in (0, 1))
    places = int((first | second).sum())
    if not places:
        return ()
    which = "both photos" if first.any() and second.any() else f"the {'first' if first.any() else 'second'} photo"
    verb = ("lies", "gives no reason") if places == 1 else ("lie", "give no reasons")
    text = f"{places} of the {first.size} places {verb[0]} outside {which} and {verb[1]}"
    if shares is not None:
        text += (
            f"; their part in the distance from the threshold is {points(float(shares[first | second].sum()))} points"
        )
    return (f"{text}.",)


def _from_grid(explanation: Explanation, shares: NDArray[np.float64]) -> tuple[str, str]:
    match, unseen = explanation.is_match, explanation.unseen
    regions = region_shares(shares, unseen)
    assert unseen is not None
    support = _visible(ranked(regions, positive=match))
    against = _visible(ranked(regions, positive=not match))
    flip, flip_regions = _flip(explanation, shares)
    first = f"{_verdict(explanation)}{_support(support, match, explanation.margin)}"
    second = f"{_opposition(against, shares[~unseen], match)}; {flip}"
    if _any_side([name for name, _ in support[:MOST_NAMED]]):
        first += _SIDES
    elif _any_side([*[name for name, _ in against[:MOST_NAMED]], *flip_regions]):
        second += _SIDES
    return f"{first}.", f"{second}."


def _from_maps(explanation: Explanation, by_map: dict[str, float]) -> tuple[str, str]:
    match = explanation.is_match
    lists = [
        [(name, f"{100 * abs(weight):.0f}%") for name, weight in ranked(by_map, positive=sign) if abs(weight) >= 0.005]
        for sign in (match, not match)
    ]
    support, against = lists
    first = _verdict(explanation)
    if support:
        first += f", supported most by {_listed(support)} of the maps' weight"
    what = "against it" if match else "for a match"
    unit = "" if support else " (shares of the maps' weight)"
    second = f"{_speaking(what, against)}{unit}" if against else f"No region of the maps speaks {what}"
    if _any_side([name for name, _ in support[:MOST_NAMED]]):
        first += _SIDES
    elif _any_side([name for name, _ in against[:MOST_NAMED]]):
        second += _SIDES
    return f"{first}.", f"{second}; {_score_flip(explanation)}."


def _without_reasons(explanation: Explanation) -> tuple[str, str]:
    second = "This model compares the faces as a whole and gives no reasons by region"
    return f"{_verdict(explanation)}.", f"{second}; {_score_flip(explanation)}."


def _verdict(explanation: Explanation) -> str:
    opening = "Match" if explanation.is_match else "No match"
    if abs(explanation.margin) < CLOSE_MARGIN:
        opening += ", but only just"
    score, threshold = score_and_threshold(explanation)
    if explanation.margin == 0:
        return f"{opening}: the score is exactly the threshold of {threshold}, and a match needs more (1 point = 0.01)"
    where = "above" if explanation.is_match else "below"
    far = distance(explanation.margin)
    return f"{opening}: the score of {score} is {far} {where} the threshold of {threshold} (1 point = 0.01)"


def _support(support: _Listed, match: bool, margin: float) -> str:
    if not support:
        return ", with no region that stands out"
    if margin == 0:
        return f"; {_speaking('against a match', support, start=False)}"
    return f", {'thanks' if match else 'due'} above all to {_listed(support)}"


def _opposition(against: _Listed, shares: NDArray[np.float64], match: bool) -> str:
    what = "against it" if match else "for a match"
    opposing = shares[shares < 0] if match else shares[shares > 0]
    if not len(opposing):
        return f"Nothing speaks {what}"
    if not against:
        places = "1 place does" if len(opposing) == 1 else f"{len(opposing)} places do"
        return f"No region as a whole speaks {what} ({places}, {points(float(opposing.sum()))} in all)"
    return _speaking(what, against)


def _speaking(what: str, listed: _Listed, *, start: bool = True) -> str:
    how = {1: "only ", 2: "", 3: ""}.get(len(listed), "mainly ")
    text = f"{how}{_listed(listed)} {'speaks' if len(listed) == 1 else 'speak'} {what}"
    return text[0].upper() + text[1:] if start else text


def _flip(explanation: Explanation, shares: NDArray[np.float64]) -> tuple[str, tuple[str, ...]]:
    similarity, attention, match = explanation.similarity, explanation.attention, explanation.is_match
    assert similarity is not None
    assert attention is not None
    flip = fewest_to_flip(shares, is_match=match, unseen=explanation.unseen)
    if flip is None and explanation.unseen is not None and explanation.unseen.any():
        return "what the photos show of it is too little to flip the verdict", ()
    if flip is None:
        total = float(attention.sum(dtype=np.float64))
        if total <= 0:
            return _score_flip(explanation), ()
        rise = -explanation.margin / total
        return f"the verdict would flip only if the similarity rose by more than {rise:.2f} everywhere", ()
    goal = _goal(explanation, attention, flip.cells)
    # A negative weight reverses the direction, so neither word would be true of all places.
    verb = "changed" if attention[flip.cells].min() < 0 else "fell" if match else "rose"
    # Adding 0 avoids -0.00 for a mean that rounds to zero.
    mean = round(float(similarity[flip.cells].mean(dtype=np.float64)), 2) + 0.0
    change = f"{verb} from {mean:.2f}{'' if flip.count == 1 else ' on average'} to {goal}"
    if flip.count == shares.size:
        return f"the verdict would flip if the similarity {change} everywhere", ()
    if len(flip.regions) > MOST_NAMED:
        where = f"in the {flip.count} places (of {shares.size}) that support it most"
        return f"the verdict would flip if the similarity {where} {change}", ()
    places = _joined([region_phrase(name) for name in flip.regions])
    where = f"at {places} ({flip.count} of the {shares.size} places)"
    return f"the verdict would flip if the similarity {where} {change}", flip.regions


def _goal(explanation: Explanation, attention: NDArray[np.float32], cells: NDArray[np.bool_]) -> str:
    """Name the similarity at which places speak neither for nor against a match."""
    if explanation.telling is not None:
        neutral = neutral_places(explanation)
        assert neutral is not None
        mean = f"{float(neutral[cells].mean()):.2f}"
        return f"what is neutral there ({mean}{'' if cells.sum() == 1 else ' on average'})"
    level = neutral_similarity(attention, explanation.threshold)
    return "the threshold" if level == explanation.threshold else f"{level:.4f}"


def _score_flip(explanation: Explanation) -> str:
    if explanation.margin == 0:
        return "the verdict would flip if the score rose at all"
    change = "fell by" if explanation.is_match else "rose by more than"
    return f"the verdict would flip if the score {change} {distance(explanation.margin)}"


def _visible(listed: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    return [(name, points(share)) for name, share in listed if points(share) not in ("+0.0", "-0.0")]


def _listed(listed: _Listed) -> str:
    return _joined([f"{region_phrase(name)} ({amount})" for name, amount in listed[:MOST_NAMED]])


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _any_side(names: Sequence[str]) -> bool:
    return any(has_side(name) for name in names)
