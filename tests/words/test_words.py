"""Words on faces whose answer is planted, and what sentences, JSON and figures make of it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from helpers.coloured_faces import COLOURS, colour_words, coloured_face, planted_pair
from whyface.errors import FaceError, InputError
from whyface.explain.trust import accepted
from whyface.figures.words import scale_ends, words_figure
from whyface.words.identity_evidence import IdentityClasses
from whyface.words.report_writing import describe_words, words_document
from whyface.words.special_attribute import describe_special, special_attributes
from whyface.words.word_explainer import WordExplainer
from whyface.words.word_maps import erase_in_face, erased_scores
from whyface.words.word_report import WordReport, WordSettings

RED, GREEN = (slice(5, 7), slice(2, 4)), (slice(0, 2), slice(4, 6))
PUBLISHED = {
    "Datasets",
    "Heatmap-method",
    "thresh",
    "verification-net",
    "image-path1",
    "image-path2",
    "match",
    "similarity",
    "class1",
    "class2",
    "Attribute1-class",
    "Attribute2-class",
    "Attribute1-score",
    "Attribute2-score",
    "attributes-image1",
    "attributes-image2",
    "attributes-both-masked",
}


@pytest.fixture(scope="module")
def planted() -> WordReport:
    return colour_words()(*planted_pair(0, RED, GREEN))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("identity", ["similarity", "topk", "threshold"])
def test_the_planted_attribute_is_named(seed: int, identity: str) -> None:
    first, second = planted_pair(seed, RED, GREEN)
    classes = None
    if identity != "similarity":
        grids = [face.image.reshape(7, 16, 7, 16, 3).mean(axis=(1, 3)).transpose(2, 0, 1) for face in (first, second)]
        rows = np.stack([grid.ravel() / np.linalg.norm(grid) for grid in grids]).astype(np.float32)
        classes = IdentityClasses(("a", "b"), rows)
    report = colour_words(identity=identity, classes=classes)(first, second)
    assert not report.is_match
    best = report.telling[0]
    assert (best.attribute.name, best.where) == ("Red", "A")
    assert best.similarity > report.similarity
    assert describe_words(report)[0].startswith("Most telling: red, in photo A. Without it the similarity rises from")
    # Only the red places were erased, and nearly nothing else.
    mask = report.masks[0, COLOURS.index("Red")]
    assert mask[80:, 32:64].mean() > 0.4
    mask[80:, 32:64] = False
    assert mask.mean() < 0.02


def test_a_match_is_explained_by_what_is_shared(planted: WordReport) -> None:
    report = colour_words(threshold=0.5)(*planted_pair(0, RED, GREEN))
    assert report.is_match
    assert report.direction == "alike"
    word = next(word for word in report.words if word.attribute.name == "Green" and word.where == "A")
    assert word.similarity < report.similarity
    assert word.change > 0
    assert planted.direction == "different"
    assert any("falls from" in sentence for sentence in describe_words(report))


def test_nothing_is_invented() -> None:
    rng = np.random.default_rng(0)
    cells = np.repeat(rng.integers(60, 120, (7, 7, 1)), 3, axis=2)
    one, other = (coloured_face(cells + rng.integers(-5, 6, (7, 7, 3))) for _ in range(2))
    assert describe_words(colour_words()(one, other))[0].startswith("None of the words")
    # Asked for words that are not there, they do no more than chance.
    report = colour_words(names=COLOURS, threshold=0.99999)(one, other)
    assert not report.telling
    first, second, third = describe_words(report)
    assert "more than chance" in first
    assert "would have to go" in second
    assert "does not see" in third


def test_a_word_that_is_not_there_is_told_from_one_that_is(planted: WordReport) -> None:
    """Whoever asks for glasses on a face without them must not read that glasses are most telling."""
    best = planted.telling[0]
    absent = replace(planted, words=(replace(best, probability_a=0.031),))
    said = describe_words(absent)
    assert said[1].startswith("The attribute model does not see it in photo A (probability 0.03)")
    assert "where most speaks for it" in said[2]
    assert not any("does not see" in sentence for sentence in describe_words(planted))
    both = replace(absent, words=(replace(absent.words[0], where="both", probability_b=0.2, chance=0.9),))
    assert "in photo A (probability 0.03) or in photo B (probability 0.20)" in describe_words(both)[-1]
    rest = replace(absent.words[0], attribute=replace(best.attribute, name="Glass", phrase="glass"))
    assert "glass in photo A (" in describe_words(replace(absent, words=(best, rest)))[-1]
    assert "not seen there)" in describe_words(replace(absent, words=(best, rest)))[-1]
    for report in (absent, both):
        _check_numbers(describe_words(report), words_document(report)["whyface"])


def test_every_number_in_a_sentence_is_in_the_json(planted: WordReport) -> None:
    for report in (planted, colour_words(threshold=0.5)(*planted_pair(1, RED, GREEN)), _without_reason(planted)):
        _check_numbers(describe_words(report), words_document(report)["whyface"])


def test_json(planted: WordReport) -> None:
    document = json.loads(json.dumps(words_document(planted, dataset="toy", same_person=False), allow_nan=False))
    assert set(document) == PUBLISHED | {"whyface"}
    assert document["match"] == 0
    assert document["Datasets"] == "toy"
    red = COLOURS.index("Red")
    assert document["Attribute1-class"] == [0, 0, 1]
    assert document["Attribute2-class"][red] == 1
    assert all(0.5 <= value <= 1 for value in document["Attribute1-score"])
    own, other = document["attributes-image1"][f"image1-f_attr_{red}"]
    assert other == pytest.approx(planted.scores.single[0, red], abs=1e-6)
    assert own == pytest.approx(planted.scores.own[0, red], abs=1e-6)
    assert len(document["attributes-both-masked"]) == 3
    ours = document["whyface"]
    assert ours["schema"] == "whyface/words/1"
    assert ours["sentences"] == list(describe_words(planted))
    assert ours["words"][0]["is_telling"]
    assert ours["settings"]["eraser"] == "mean"
    by_class = replace(planted, settings=WordSettings(identity="topk", k=9), classes=(("a",), ("b",)))
    assert words_document(by_class)["topk"] == 9
    assert words_document(by_class)["class1"] == ["a"]
    by_share = replace(planted, settings=WordSettings(identity="threshold", share=0.4))
    assert words_document(by_share)["id-thresh"] == 0.4


def test_erasing_nothing_keeps_every_score() -> None:
    words = colour_words()
    first, second = planted_pair(0, RED, GREEN)
    masks = np.zeros((3, 112, 112), bool)
    pictures = [face.image.transpose(2, 0, 1) for face in (first, second)]
    erased = [erase_in_face(words.comparison, picture, masks, "black") for picture in pictures]
    scores = erased_scores(words.comparison, *erased)
    np.testing.assert_array_equal(scores.single, np.float64(np.float32(scores.similarity)))
    np.testing.assert_array_equal(scores.both, scores.single[0])
    np.testing.assert_allclose(scores.own, 1, atol=1e-6)


def test_same_seed_same_report(planted: WordReport) -> None:
    again = colour_words()(*planted_pair(0, RED, GREEN))
    assert again.words == planted.words


def test_random_paint_follows_the_seed() -> None:
    pair = planted_pair(0, RED, GREEN)
    one, again, other = (colour_words(eraser="random", draws=20, seed=seed)(*pair) for seed in (0, 0, 1))
    assert np.array_equal(one.scores.single, again.scores.single)
    assert not np.array_equal(one.scores.single, other.scores.single)


def test_unknown_attribute_and_missing_parts() -> None:
    with pytest.raises(InputError, match="unknown attribute 'reed'; did you mean Red"):
        colour_words(names=("reed",))
    with pytest.raises(InputError, match="needs people to classify"):
        colour_words(identity="topk")
    words = colour_words()
    with pytest.raises(InputError, match="splits by place"):
        WordExplainer(words.comparison, None, words.attributes, threshold=0.5)


def test_poor_faces_get_no_words_unless_they_are_accepted(planted: WordReport) -> None:
    assert planted.doubt is None and words_document(planted)["whyface"]["doubt"] is None
    first, second = (replace(face, quality=None) for face in planted_pair(0, RED, GREEN))
    words = colour_words()
    with pytest.raises(FaceError, match="face is too .* to compare: there are no words for it.*accept_poor"):
        words(first, second)
    with pytest.raises(FaceError, match="a.png: the face is too .* to compare"):
        special_attributes(words, first, [second, second])
    words.accept_poor = True
    report = words(first, second)
    assert report.words == planted.words
    # What was accepted says so, in words and JSON.
    assert report.doubt is not None and report.doubt == words_document(report)["whyface"]["doubt"]
    assert describe_words(report) == (*describe_words(planted), accepted(report.doubt))
    assert special_attributes(words, first, [second, second]).words


@pytest.mark.parametrize(
    "wrong",
    [
        {"identity": "face"},
        {"kind": "all"},
        {"threshold": 2.0},
        {"eraser": "pink"},
        {"draws": 18},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        WordSettings(**wrong)


def test_special_attribute() -> None:
    first, _ = planted_pair(0, RED, GREEN)
    others = [planted_pair(seed, RED, GREEN)[1] for seed in range(1, 9)]
    found = special_attributes(colour_words(), first, others)
    assert found.words[0].name == "Red"
    assert found.words[0].is_special
    assert found.words[0].change > found.words[0].limit
    assert found.words[0].mean_rank < found.words[-1].mean_rank
    assert describe_special(found)[0].startswith("Most special against 8 faces: red. Without it")
    document = json.loads(json.dumps(found.to_dict()))
    assert document["words"][0]["name"] == "Red"
    assert document["settings"]["eraser"] == "mean"
    assert document["model"]["name"] == "colours"
    _check_numbers(describe_special(found), document)
    # Nothing special, and others who are the same person.
    dull = replace(found, words=tuple(replace(word, limit=2.0, chance=0.5) for word in found.words), matches=2)
    said = describe_special(dull)
    assert said[0].startswith("No word is special")
    assert said[1].startswith("2 of these faces are above the threshold")
    _check_numbers(said, dull.to_dict())
    absent = replace(found, words=(replace(found.words[0], probability=0.1),))
    assert "does not see red on this face (probability 0.10)" in describe_special(absent)[1]
    nought = replace(found, similarity=-found.words[0].change - 1e-4)
    assert "rises from -0." in describe_special(nought)[0]
    assert " to 0.000;" in describe_special(nought)[0]
    same = special_attributes(colour_words(), first, [first, *others])
    assert (found.matches, same.matches) == (0, 1)
    with pytest.raises(InputError, match="at least two other faces"):
        special_attributes(colour_words(), first, others[:1])


def test_figure(planted: WordReport) -> None:
    first, second = planted_pair(0, RED, GREEN)
    figure = words_figure(planted, first.image, second.image)
    labels = [axes.get_label() for axes in figure.axes]
    assert {"face A", "face B", "Red A", "Green B", "scale Red A", "legend"} <= set(labels)
    texts = [text.get_text() for text in figure.texts]
    best = planted.telling[0]
    assert f"{planted.similarity:.3f} → {best.similarity:.3f}" in texts
    # A similarity that rounds to zero has no sign.
    nought = replace(planted, words=tuple(replace(word, similarity=-1e-4) for word in planted.words))
    shown = [text.get_text() for text in words_figure(nought, first.image, second.image).texts]
    assert f"{planted.similarity:.3f} → 0.000" in shown
    low, high = scale_ends(planted)
    assert low < planted.similarity < high
    assert low < planted.threshold < high
    with pytest.raises(InputError, match="face_b must be an aligned face"):
        words_figure(planted, first.image, second.image[:100])


def test_the_figure_hatches_what_is_outside_the_photo(planted: WordReport) -> None:
    first, second = planted_pair(0, RED, GREEN)
    assert planted.faces is not None
    cut = replace(planted, faces=(replace(planted.faces[0], outside=((6, 0), (6, 1))), planted.faces[1]))
    figure = words_figure(cut, first.image, second.image)
    hatched = {axes.get_label(): sum(bool(patch.get_hatch()) for patch in axes.patches) for axes in figure.axes}
    assert (hatched["face A"], hatched["face B"], hatched["Red A"]) == (2, 0, 2)
    assert {count for name, count in hatched.items() if str(name).endswith(" B")} == {0}


def test_figure_without_words() -> None:
    plain = coloured_face(np.full((7, 7, 3), 100))
    report = colour_words()(plain, plain)
    figure = words_figure(report, plain.image, plain.image, labels=("one", "other"))
    assert any("No word that the attribute model knows well" in text.get_text() for text in figure.texts)


def _without_reason(report: WordReport) -> WordReport:
    return replace(report, words=tuple(replace(word, chance=0.9) for word in report.words))


def _check_numbers(sentences: tuple[str, ...], document: dict[str, Any]) -> None:
    found = list(_numbers(document))
    for sentence in sentences:
        for text in re.findall(r"-?\d+(?:\.\d+)?", sentence):
            digits = len(text.partition(".")[2])
            assert any(f"{value:.{digits}f}" == text for value in found), (text, sentence)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


@pytest.mark.parametrize("heatmap", ["gradcam", "gradcam++"])
def test_grad_cam_finds_the_planted_attribute(heatmap: str) -> None:
    first, second = planted_pair(0, RED, GREEN)
    grids = [face.image.reshape(7, 16, 7, 16, 3).mean(axis=(1, 3)).transpose(2, 0, 1) for face in (first, second)]
    rows = np.stack([grid.ravel() / np.linalg.norm(grid) for grid in grids]).astype(np.float32)
    classes = IdentityClasses(("a", "b"), rows)
    report = colour_words(identity="topk", classes=classes, heatmap=heatmap)(first, second)
    assert words_document(report)["whyface"]["settings"]["heatmap"] == heatmap
    exact = colour_words(identity="topk", classes=classes)(first, second)
    assert not np.array_equal(report.counterfactual, exact.counterfactual)
    # The map of a word alone is where its channels are, which is where it was planted.
    mask = colour_words(kind="no counterfactual", heatmap=heatmap)(first, second).masks[0, COLOURS.index("Red")]
    assert mask[80:, 32:64].mean() > 0.4
    assert mask[:64].mean() < 0.05
    with pytest.raises(InputError, match="heat map must be one of evidence, gradcam"):
        colour_words(heatmap="odd")
