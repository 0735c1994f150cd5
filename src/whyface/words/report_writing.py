"""A report on words as sentences and as JSON; the numbers in sentences are rounded values of the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from whyface.explain.trust import accepted
from whyface.words.attribute_model import PRESENT
from whyface.words.word_report import Where, Word, WordReport

MOST_NAMED: Final = 3
"""Maximum number of further words named."""

_PLACES: Final[dict[Where, str]] = {"A": "in photo A", "B": "in photo B", "both": "in both photos"}


def describe_words(report: WordReport) -> tuple[str, ...]:
    """Describe which words tell the faces apart or show that they are alike, or say that none does.

    Returns
    -------
    Sentences. Of the words with an effect beyond chance, the one with the largest comes first. If there is none, the
    sentences say so and give no reasons.
    """
    marked = () if report.doubt is None else (accepted(report.doubt),)
    if not report.words:
        return (
            "None of the words that the attribute model knows well fits either photo, so there are no reasons in "
            "words.",
            *marked,
        )
    found = report.telling
    return *(_telling(report, found) if found else _nothing(report)), *marked


def _telling(report: WordReport, found: Sequence[Word]) -> tuple[str, ...]:
    best = found[0]
    before, after, limit, chance, threshold = _rounded(
        report.similarity, best.similarity, best.limit, best.by_chance, report.threshold
    )
    moved = "falls" if report.is_match else "rises"
    unseen = _unseen(best)
    pronoun = best.attribute.pronoun
    where = f"most speaks for {pronoun}" if unseen else f"the attribute model sees {pronoun}"
    sentences = [
        f"Most telling: {best.attribute.phrase}, {_PLACES[best.where]}. Without {pronoun} the "
        f"similarity {moved} from {before} to {after} (threshold {threshold}).",
        *unseen,
        f"Erased: {_area(best)}, where {where} and it matters. Erasing random places of that size gives {chance} on "
        f"average; only values {'below' if report.is_match else 'above'} {limit} count as more than chance.",
    ]
    if (best.similarity > report.threshold) != report.is_match:
        verdict = "no match" if report.is_match else "a match"
        sentences.append(f"That alone would make it {verdict}.")
    others = [
        f"{word.attribute.phrase} {_PLACES[word.where]} ({_rounded(report.similarity, word.similarity)[1]}"
        f"{', not seen there' if _unseen(word) else ''})"
        for word in _each_once(found[1:], best)[:MOST_NAMED]
    ]
    if others:
        sentences.append(f"Also more than chance: {_list(others)}.")
    return tuple(sentences)


def _nothing(report: WordReport) -> tuple[str, ...]:
    best = max(report.words, key=lambda word: word.change)
    before, after, limit, threshold = _rounded(report.similarity, best.similarity, best.limit, report.threshold)
    return (
        f"No word changes the similarity of {before} (threshold {threshold}) more than chance does, so there are no "
        "reasons in words.",
        f"The word with the largest effect, {best.attribute.phrase} {_PLACES[best.where]}, brings it to {after}; to "
        f"count, it would have to go {'below' if report.is_match else 'above'} {limit}, the limit of chance.",
        *_unseen(best),
    )


def _unseen(word: Word) -> tuple[str, ...]:
    """Warn if a requested word is not present, so that erasing it only erases a place."""
    sides: tuple[Where, ...] = ("A", "B") if word.where == "both" else (word.where,)
    chances: dict[Where, float] = {"A": word.probability_a, "B": word.probability_b}
    low = [f"{_PLACES[side]} (probability {chances[side]:.2f})" for side in sides if chances[side] < PRESENT]
    if not low:
        return ()
    return (
        f"The attribute model does not see {word.attribute.pronoun} {' or '.join(low)}, so this is about a place on "
        "the face, not about the word.",
    )


def _each_once(words: Sequence[Word], best: Word) -> list[Word]:
    """Keep each attribute once, erased in the way with the largest effect."""
    seen = {best.attribute.name}
    kept = []
    for word in words:
        if word.attribute.name not in seen:
            seen.add(word.attribute.name)
            kept.append(word)
    return kept


def _area(word: Word) -> str:
    one, other = percent(word.area_a), percent(word.area_b)
    if word.where == "both":
        return f"{one} of photo A and {other} of photo B" if one != other else f"{one} of each photo"
    return f"{one if word.where == 'A' else other} of photo {word.where}"


def percent(share: float) -> str:
    """Format a share in whole percent, or with one decimal below 1 %."""
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1f} %"


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _rounded(*values: float) -> list[str]:
    """Format with two decimals, or as many as are needed to tell different numbers apart."""
    for digits in (2, 3):
        shown = [f"{round(value, digits) + 0.0:.{digits}f}" for value in values]
        if len(set(shown)) == len(set(values)):
            return shown
    return [f"{round(value, 4) + 0.0:.4f}" for value in values]


SCHEMA: Final = "whyface/words/1"
_DIGITS: Final = 6


def words_document(report: WordReport, *, dataset: str = "", same_person: bool | None = None) -> dict[str, Any]:
    """Return a report as JSON values.

    Parameters
    ----------
    report
        The report.
    dataset
        Name of the data set of the pair.
    same_person
        The truth about the pair for the published key ``match``; None: the verdict.

    Returns
    -------
    dict
        The published keys, where attributes are numbered and class 0 is yes, 1 no; and ours under ``"whyface"``.
    """
    numbers = range(len(report.names))
    scores, chances = report.scores, report.probabilities
    settings = report.settings
    sources = [face.source for face in report.faces] if report.faces is not None else ["", ""]
    document: dict[str, Any] = {
        "Datasets": dataset,
        "Heatmap-method": "closed form",
        "thresh": settings.threshold,
        "verification-net": report.model.name,
        "image-path1": sources[0],
        "image-path2": sources[1],
        "match": int(report.is_match if same_person is None else same_person),
        "similarity": _number(scores.similarity),
        "class1": list(report.classes[0]),
        "class2": list(report.classes[1]),
    }
    if settings.identity == "topk":
        document["topk"] = settings.k
    elif settings.identity == "threshold":
        document["id-thresh"] = settings.share
    for side, label in enumerate(("1", "2")):
        document[f"Attribute{label}-class"] = [int(not yes) for yes in report.present[side]]
        document[f"Attribute{label}-score"] = [
            _number(chance if yes else 1 - chance)
            for chance, yes in zip(chances[side], report.present[side], strict=True)
        ]
        document[f"attributes-image{label}"] = {
            f"image{label}-f_attr_{number}": [_number(scores.own[side, number]), _number(scores.single[side, number])]
            for number in numbers
        }
    document["attributes-both-masked"] = {
        f"Both_masked-f_attr_{number}": _number(scores.both[number]) for number in numbers
    }
    document["whyface"] = _ours(report)
    return document


def _ours(report: WordReport) -> dict[str, Any]:
    return {
        **report.head(SCHEMA, describe_words(report)),
        "direction": report.direction,
        "words": [_word(word) for word in report.words],
        "attribute_names": list(report.names),
        "probability": [[_number(value) for value in row] for row in report.probabilities],
        "erased_share": [[_number(value) for value in row] for row in report.masks.mean(axis=(2, 3))],
        "counterfactual": [[[_number(value) for value in line] for line in one] for one in report.counterfactual],
        "settings": report.settings.to_dict(),
    }


def _word(word: Word) -> dict[str, Any]:
    return {
        "name": word.attribute.name,
        "phrase": word.attribute.phrase,
        "erased_in": word.where,
        "probability_a": word.probability_a,
        "probability_b": word.probability_b,
        "erased_share_a": word.area_a,
        "erased_share_b": word.area_b,
        "erased_percent_a": 100 * word.area_a,
        "erased_percent_b": 100 * word.area_b,
        "similarity": word.similarity,
        "change": word.change,
        "similarity_by_chance": word.by_chance,
        "similarity_limit": word.limit,
        "chance": word.chance,
        "is_telling": word.is_telling,
    }


def _number(value: float | np.floating[Any]) -> float:
    return round(float(value), _DIGITS)
