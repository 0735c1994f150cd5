"""Sim2Word's own files: 30 attributes by number, one JSON file per pair, and what its scripts read from them.

The published scripts stop at any other number of attributes. Some of their 30 are choices among several words (gender,
age, race, hair colour) or the opposite of one of ours; five are unknown to our attribute model: they have class 2,
undefined, erase nothing, and never count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError
from whyface.faces.face import Face, stack_faces
from whyface.files import json_values as values
from whyface.files.guarded import read_json
from whyface.words.attribute_model import AttributeEvidence
from whyface.words.word_explainer import WordExplainer
from whyface.words.word_maps import Direction, ErasedScores, erase_in_face, erased_scores

UNKNOWN: Final = 2
"""Class of an attribute that the attribute model does not know."""


@dataclass(frozen=True)
class PublishedAttribute:
    """One of the 30: its name, the words of its classes, and our attributes behind them.

    With one attribute, class 0 is yes and 1 no, the other way round if ``is_opposite``. With several, the class is the
    most likely one.
    """

    name: str
    ours: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    is_opposite: bool = False

    @property
    def always_counts(self) -> bool:
        """Whether every class of it is a word."""
        return bool(self.classes)


_SAME: Final = {
    "Bald": "Bald",
    "Wavy Hair": "Wavy_Hair",
    "Receding Hairline": "Receding_Hairline",
    "Bangs": "Bangs",
    "Sideburns": "Sideburns",
}

PUBLISHED: Final = (
    PublishedAttribute("Gender", ("Male",), ("Male", "Female")),
    PublishedAttribute("Age", ("Age_Under_30", "Age_30_To_44", "Age_45_Up"), ("Young", "Middle Aged", "Senior")),
    PublishedAttribute("Race", ("Race_Asian", "Race_White", "Race_Black"), ("Asian", "White", "Black")),
    *(PublishedAttribute(name, (ours,)) for name, ours in _SAME.items()),
    PublishedAttribute(
        "Hair color",
        ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"),
        ("Black Hair", "Blond Hair", "Brown Hair", "Gray Hair", "Unknown Hair"),
    ),
    PublishedAttribute("no beard", ("No_Beard",)),
    PublishedAttribute("Mustache", ("Mustache",)),
    PublishedAttribute("5 o Clock Shadow", ("5_o_Clock_Shadow",)),
    PublishedAttribute("Goatee", ("Goatee",)),
    PublishedAttribute("Oval Face", ("Oval_Face",)),
    PublishedAttribute("Square Face"),
    PublishedAttribute("Round Face"),
    PublishedAttribute("Double Chin", ("Double_Chin",)),
    PublishedAttribute("High Cheekbones", ("High_Cheekbones",)),
    PublishedAttribute("Chubby", ("Chubby",)),
    PublishedAttribute("Obstructed Forehead"),
    PublishedAttribute("Fully Visible Forehead"),
    PublishedAttribute("Brown Eyes"),
    PublishedAttribute("Bags Under Eyes", ("Bags_Under_Eyes",)),
    PublishedAttribute("Bushy Eyebrows", ("Bushy_Eyebrows",)),
    PublishedAttribute("Arched Eyebrows", ("Arched_Eyebrows",)),
    PublishedAttribute("Mouth Closed", ("Mouth_Slightly_Open",), is_opposite=True),
    PublishedAttribute("Smiling", ("Smiling",)),
    PublishedAttribute("Big Lips", ("Big_Lips",)),
    PublishedAttribute("Big Nose", ("Big_Nose",)),
    PublishedAttribute("Pointy Nose", ("Pointy_Nose",)),
)
"""The 30 attributes in the published order."""


@dataclass(frozen=True, eq=False)
class PublishedEvidence:
    """What the attribute model says of one face in the published terms.

    Attributes
    ----------
    classes, scores
        (30,) each: the predicted class, and its probability; 0 for an unknown attribute.
    maps
        (30, H, W): signed evidence for the predicted class; 0 for an unknown attribute.
    """

    classes: NDArray[np.intp]
    scores: NDArray[np.float64]
    maps: NDArray[np.float32]

    def word(self, number: int) -> str | None:
        """Return the word of an attribute that counts as present, else None."""
        return word_of(number, int(self.classes[number]))


def word_of(number: int, chosen: int) -> str | None:
    """Return the word of an attribute with this class, or None if it does not count as present."""
    known = PUBLISHED[number]
    if known.always_counts:
        return known.classes[chosen] if chosen < len(known.classes) else None
    return known.name if chosen == 0 else None


def published_evidence(evidence: AttributeEvidence, names: Sequence[str], side: int) -> PublishedEvidence:
    """Translate one face's evidence. Raise InputError if the attribute model lacks an attribute behind the 30."""
    rows = {name: row for row, name in enumerate(names)}
    if missing := [name for known in PUBLISHED for name in known.ours if name not in rows]:
        raise InputError(f"the attribute model does not know {missing[0]!r}, which the published names need")
    chances = evidence.probabilities[side].astype(np.float64)
    maps = np.zeros((len(PUBLISHED), *evidence.maps.shape[2:]), np.float32)
    classes = np.full(len(PUBLISHED), UNKNOWN, np.intp)
    scores = np.zeros(len(PUBLISHED))
    for number, known in enumerate(PUBLISHED):
        if not known.ours:
            continue
        these = chances[[rows[name] for name in known.ours]]
        best = int(np.argmax(these))
        row = rows[known.ours[best]]
        own = evidence.maps[side][row]
        if len(known.ours) > 1:
            is_none = len(known.classes) > len(known.ours) and these[best] < 0.5
            classes[number] = len(known.ours) if is_none else best
            scores[number] = 1 - these[best] if is_none else these[best] / max(these.sum(), 1e-12)
            maps[number] = own
        else:
            says_yes = these[0] >= 0.5
            classes[number] = int(says_yes == known.is_opposite)
            scores[number] = these[0] if says_yes else 1 - these[0]
            # As published, the map is that of the predicted class, "no" included.
            maps[number] = own if says_yes else evidence.against[side][row]
    return PublishedEvidence(classes, scores, maps)


_HEATMAPS: Final = {"evidence": "closed form", "gradcam": "GradCAM", "gradcam++": "GradCAM++"}


@dataclass(frozen=True, eq=False)
class PublishedReport:
    """A pair with each of the 30 attributes erased: evidence of both faces, masks (2, 30, 112, 112), and scores."""

    evidence: tuple[PublishedEvidence, PublishedEvidence]
    masks: NDArray[np.bool_]
    scores: ErasedScores
    classes: tuple[tuple[str, ...], tuple[str, ...]]

    def document(
        self, explainer: WordExplainer, paths: tuple[str, str], *, same_person: bool, dataset: str = ""
    ) -> dict[str, Any]:
        """Return the published keys, and no others."""
        settings = explainer.settings
        found: dict[str, Any] = {
            "Datasets": dataset,
            "Heatmap-method": _HEATMAPS[settings.heatmap],
            "thresh": settings.threshold,
            "verification-net": explainer.comparison.name,
            "image-path1": paths[0],
            "image-path2": paths[1],
            "match": int(same_person),
            "similarity": _number(self.scores.similarity),
            "class1": list(self.classes[0]),
            "class2": list(self.classes[1]),
            **({"id-thresh": settings.share} if settings.identity == "threshold" else {"topk": settings.k}),
        }
        for side, label in enumerate(("1", "2")):
            known = self.evidence[side]
            found[f"Attribute{label}-class"] = known.classes.tolist()
            found[f"Attribute{label}-score"] = [_number(score) for score in known.scores]
            pairs = zip(self.scores.own[side], self.scores.single[side], strict=True)
            found[f"attributes-image{label}"] = {
                f"image{label}-f_attr_{number}": [_number(own), _number(single)]
                for number, (own, single) in enumerate(pairs)
            }
        found["attributes-both-masked"] = {
            f"Both_masked-f_attr_{number}": _number(score) for number, score in enumerate(self.scores.both)
        }
        return found


def publish(explainer: WordExplainer, face_a: Face, face_b: Face) -> PublishedReport:
    """Erase each of the 30 attributes of a pair, in one face and in both, without random erasures.

    The maps are those of the explainer's settings; :attr:`whyface.words.word_report.WordSettings.anywhere` and
    ``least=0`` erase as published.
    """
    batch = stack_faces([face_a, face_b])
    similarity = explainer.similarity(batch)
    direction: Direction = "alike" if similarity > explainer.threshold else "different"
    counterfactual, classes = explainer.counterfactual(batch[:1], batch[1:], direction)
    read = explainer.attributes(batch, explainer.settings.heatmap)
    evidence = tuple(published_evidence(read, explainer.names, side) for side in (0, 1))
    # The places of a word that is no attribute of ours are not known: anywhere.
    numbers = np.array([explainer.names.index(known.ours[0]) if known.ours else 0 for known in PUBLISHED], np.intp)
    masks = np.stack([explainer.masks_of(evidence[side].maps, counterfactual[side], numbers) for side in (0, 1)])
    masks[:, [not known.ours for known in PUBLISHED]] = False
    settings = explainer.settings
    erased = [
        erase_in_face(explainer.comparison, batch[side], masks[side], settings.eraser, seed=settings.seed)
        for side in (0, 1)
    ]
    return PublishedReport((evidence[0], evidence[1]), masks, erased_scores(explainer.comparison, *erased), classes)


def display_score(cosine: float) -> float:
    """Return Sim2Word's similarity in 0..1: 1 - arccos(cosine) / pi."""
    return 1 - math.acos(min(max(cosine, -1.0), 1.0)) / math.pi


@dataclass(frozen=True)
class PublishedPair:
    """One file of ``json/``, by us or by the authors' code.

    ``single`` are the similarities with each attribute erased in face 1 and in face 2, ``both`` those with it erased in
    both, and ``present`` says which attributes count in which face, all (.., 30).
    """

    paths: tuple[str, str]
    is_match: bool
    similarity: float
    classes: tuple[tuple[int, ...], tuple[int, ...]]
    single: tuple[tuple[float, ...], tuple[float, ...]]
    both: tuple[float, ...]

    @property
    def present(self) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
        """Which attributes count as present in each face."""
        one, other = (
            tuple(word_of(number, chosen) is not None for number, chosen in enumerate(side)) for side in self.classes
        )
        return one, other

    def most_raised(self, side: int) -> float:
        """Return the highest similarity with a present attribute of one face erased, at least the original one."""
        kept = [score for score, present in zip(self.single[side], self.present[side], strict=True) if present]
        return max([self.similarity, *kept])

    def top(self, side: int | None, count: int = 5) -> list[tuple[str, float]]:
        """Return words and similarities, highest first: of one face, or of both (either face has the attribute)."""
        sides = (0, 1) if side is None else (side,)
        scores = self.both if side is None else self.single[side]
        found = []
        for number, score in enumerate(scores):
            words = [word for one in sides if (word := word_of(number, self.classes[one][number])) is not None]
            if words:
                found.append((PUBLISHED[number].name if side is None else words[0], score))
        return sorted(found, key=lambda item: -item[1])[:count]


def read_published(path: Path) -> PublishedPair:
    """Read one file of ``json/``. Raise DataError if it is none."""
    try:
        found = values.mapping(read_json(path))
        classes, single = [], []
        for label in ("1", "2"):
            chosen = tuple(values.count(one) for one in values.items(found[f"Attribute{label}-class"]))
            if len(chosen) != len(PUBLISHED):
                _fail(f"{len(chosen)} attributes, not {len(PUBLISHED)}")
            table = values.mapping(found[f"attributes-image{label}"])
            rows = [values.numbers(table[f"image{label}-f_attr_{number}"], 2) for number in range(len(PUBLISHED))]
            classes.append(chosen)
            single.append(tuple(row[1] for row in rows))
        both = values.mapping(found["attributes-both-masked"])
        return PublishedPair(
            paths=(values.text(found["image-path1"]), values.text(found["image-path2"])),
            is_match=values.count(found["match"]) == 1,
            similarity=values.number(found["similarity"]),
            classes=(classes[0], classes[1]),
            single=(single[0], single[1]),
            both=tuple(values.number(both[f"Both_masked-f_attr_{number}"]) for number in range(len(PUBLISHED))),
        )
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except KeyError as error:
        raise DataError(f"{path}: lacks {error.args[0]!r}; give files of Sim2Word's layout") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}; give files of Sim2Word's layout") from error


def read_published_folder(folder: Path) -> list[PublishedPair]:
    """Read all of ``json/`` of a folder, or of the folder itself, by number. Raise DataError if there is none."""
    place = folder / "json" if (folder / "json").is_dir() else folder
    files = sorted(place.glob("*.json"), key=lambda path: (len(path.stem), path.stem))
    if not files:
        raise DataError(f"{folder}: no JSON files; give a folder of whyface words batch --format sim2word")
    return [read_published(path) for path in files]


def published_scores(pairs: Sequence[PublishedPair]) -> Mapping[str, NDArray[np.float64]]:
    """Return what the published AUC is made of: scores before and after erasing, and the labels of both.

    A pair of two people contributes, for each face, the highest similarity that erasing a word in it brings; a pair of
    one person contributes its similarity twice.
    """
    after = [
        display_score(pair.similarity if pair.is_match else pair.most_raised(side)) for pair in pairs for side in (0, 1)
    ]
    return {
        "before": np.array([display_score(pair.similarity) for pair in pairs]),
        "before label": np.array([pair.is_match for pair in pairs], np.float64),
        "after": np.array(after),
        "after label": np.repeat([float(pair.is_match) for pair in pairs], 2),
    }


def _fail(why: str) -> None:
    raise ValueError(why)


def _number(value: float | np.floating[Any]) -> float:
    return round(float(value), 6)
