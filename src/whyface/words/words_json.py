"""A report as JSON: the keys that the Sim2Word code writes, and beside them everything that sentences rest on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from whyface.words.word_report import Word, WordReport
from whyface.words.word_sentences import describe_words

SCHEMA: Final = "whyface/words/1"
_DIGITS: Final = 6


def words_document(report: WordReport, *, dataset: str = "", same_person: bool | None = None) -> dict[str, Any]:
    """Give a report as plain values.

    Parameters
    ----------
    report
        The report.
    dataset
        Name of the data set that the pair is from.
    same_person
        What is known about the pair; the published key ``match`` holds it, and the verdict where nothing is known.

    Returns
    -------
    dict
        The published keys, in which attributes are numbered and class 0 is yes, 1 no, and under ``"whyface"`` ours.
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
        "schema": SCHEMA,
        "verdict": "match" if report.is_match else "no match",
        "similarity": report.similarity,
        "threshold": report.threshold,
        "threshold_source": report.threshold_source.to_dict(),
        "direction": report.direction,
        "sentences": list(describe_words(report)),
        "words": [_word(word) for word in report.words],
        "attribute_names": list(report.names),
        "probability": [[_number(value) for value in row] for row in report.probabilities],
        "erased_share": [[_number(value) for value in row] for row in report.masks.mean(axis=(2, 3))],
        "counterfactual": [[[_number(value) for value in line] for line in one] for one in report.counterfactual],
        "settings": report.settings.to_dict(),
        "model": report.model.to_dict(),
        "attribute_model": report.attributes.to_dict(),
        "faces": None if report.faces is None else [face.to_dict() for face in report.faces],
        "versions": dict(report.versions),
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
