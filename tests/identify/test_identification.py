from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.gallery_models import faces, tiny_xcos
from whyface.errors import InputError, ModelError
from whyface.explain.provenance import FaceInfo, ThresholdSource
from whyface.explain.usual import LEVELS, UsualSimilarity
from whyface.faces.face import Face
from whyface.figures.identify import identification_figure
from whyface.gallery.gallery import Gallery
from whyface.identify import identification
from whyface.identify.gallery_people import gallery_head, gallery_people, head_features, head_path
from whyface.identify.identity_sentences import POOR_ADVICE, sentences
from whyface.train.evidential_fit import fit_gallery_head

# The faces here are noise, in which there is nothing to recognise.
identify = partial(identification.identify, accept_poor=True)

USER = ThresholdSource(kind="user", name="set by the user")


def photos_of(person: int, count: int = 3) -> NDArray[np.uint8]:
    """Noisy copies of one made-up face, (count, 3, 112, 112)."""
    rng = np.random.default_rng(person)
    base = faces(1, seed=100 + person).astype(float)
    return np.clip(base + rng.normal(0, 30, (count, 3, 112, 112)), 0, 255).astype(np.uint8)


def test_a_face_that_tells_nothing_is_compared_with_nobody(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        gallery.add(gallery.features(photos_of(1)), ["ann"] * 3, ["1", "2", "3"])
        probe = a_face(photos_of(1)[0])
        found = identification.identify(gallery, probe, threshold=-1.0, source=USER)
        assert (found.verdict, found.name, found.gap, found.candidates) == ("undecided", None, None, ())
        assert sentences(found) == ("UNDECIDED: the face is too noisy to compare", POOR_ADVICE)
        accepted = identify(gallery, probe, threshold=-1.0, source=USER)
        assert (accepted.verdict, accepted.name) == ("known", "ann")
        assert accepted.doubt == "the face is too noisy to compare"
        assert any("Accepted as asked" in line for line in sentences(accepted))


def a_face(pixels: NDArray[np.uint8]) -> Face:
    return Face(image=np.ascontiguousarray(pixels.transpose(1, 2, 0)), source="probe.png")


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.create(tmp_path / "g", tiny_xcos()) as opened:
        for person, name in enumerate(("Ann", "Bob", "Cem", "Dee")):
            opened.add(opened.features(photos_of(person)), name, f"{name}.png")
        yield opened


def test_people_and_features_are_the_gallerys(gallery: Gallery) -> None:
    gallery.remove("Cem")
    everybody = gallery_people(gallery)
    assert everybody.people == ("Ann", "Bob", "Dee")
    assert everybody.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    expected = head_features(gallery, gallery.features(photos_of(3)))
    np.testing.assert_allclose(everybody.features[6:], expected, atol=1e-4)


def test_a_known_person(gallery: Gallery) -> None:
    probe = a_face(photos_of(1, 4)[3])
    found = identify(gallery, probe, threshold=0.5, source=USER, fmr=1e-3, k=3)
    assert (found.name, found.is_known, found.people, found.faces) == ("Bob", True, 4, 12)
    assert [candidate.score for candidate in found.candidates] == sorted(
        (candidate.score for candidate in found.candidates), reverse=True
    )
    assert len({candidate.name for candidate in found.candidates}) == 3
    difference = found.difference()
    assert difference is not None
    assert found.gap == pytest.approx(found.candidates[0].score - found.candidates[1].score)
    assert difference.sum() == pytest.approx(found.gap, abs=1e-5)
    assert sum(found.reasons().values()) == pytest.approx(found.gap, abs=1e-5)
    assert found.expected_fpir == pytest.approx(1 - 0.999**12)
    assert found.uncertainty is None
    assert "--fit" in found.uncertainty_note


def some_usual(middle: NDArray[np.float32]) -> UsualSimilarity:
    flat = np.linspace(-1, 1, len(LEVELS), dtype=np.float32)[:, None, None] + np.zeros_like(middle)
    return UsualSimilarity(flat, flat, np.ones_like(middle), middle, 100, "made up")


def test_reasons_are_measured_from_what_is_usual_and_from_what_is_in_the_photo(gallery: Gallery) -> None:
    found = identify(gallery, a_face(photos_of(1, 4)[3]), threshold=0.5, source=USER, k=2)
    assert found.usual is None and found.unseen is not None and not found.unseen.any()
    best, other = found.candidates
    assert best.similarity is not None and best.attention is not None
    # With equal weights, what is usual takes nothing from the difference of two people.
    plain = found.difference()
    middle = np.linspace(0, 0.8, best.similarity.size, dtype=np.float32).reshape(best.similarity.shape)
    known = replace(found, usual=some_usual(middle))
    shares = known.shares(best)
    assert plain is not None and shares is not None
    assert shares.sum() == pytest.approx(best.score - 0.5, abs=1e-5)
    neutral = middle + (0.5 - float((best.attention * middle).sum()))
    np.testing.assert_allclose(shares, best.attention * (best.similarity - neutral), atol=1e-5)
    np.testing.assert_allclose(known.difference(), shares - known.shares(other), atol=1e-9)  # type: ignore[arg-type, operator]
    assert known.difference().sum() == pytest.approx(found.gap, abs=1e-5)  # type: ignore[union-attr]
    # What lies outside the photo is listed, but is no reason.
    rows, columns = best.similarity.shape
    outside = tuple((row, column) for row in range(rows - 2, rows) for column in range(columns))
    cut = replace(known, face=replace(found.face or FaceInfo(), outside=outside))
    assert cut.unseen is not None and int(cut.unseen.sum()) == 2 * columns
    gone = set(known.reasons()) - set(cut.reasons())
    assert "chin" in gone and not gone & set(cut.to_dict()["gap_by_region"])
    said = sentences(cut)
    assert not any("chin" in line for line in said)
    hidden = float(np.asarray(cut.difference())[-2:].sum())
    line = f"{2 * columns} of the {rows * columns} places lie outside the photo and give no reasons"
    assert f"{line}; their part in the difference is {100 * hidden:+.1f} points" in said
    assert sum(cut.reasons().values()) + hidden == pytest.approx(found.gap, abs=1e-5)
    drawn = identification_figure(cut, photos_of(1)[0].transpose(1, 2, 0), {})
    hatched = [sum(bool(patch.get_hatch()) for patch in axes.patches) for axes in drawn.axes]
    # The face, S, W and contributions of two people, and the difference.
    assert hatched.count(2 * columns) == 8 and set(hatched) == {0, 2 * columns}


def test_a_stranger(gallery: Gallery) -> None:
    found = identify(gallery, a_face(photos_of(9, 1)[0]), threshold=0.5, source=USER)
    assert (found.name, found.is_known) == (None, False)
    assert sentences(found)[0].startswith(f"NOBODY IN THE GALLERY: the best, {found.best.name}, has score")
    assert found.to_dict()["verdict"] == "nobody in the gallery"
    # A threshold of the user's own says nothing about false alarms.
    assert found.expected_fpir is None


def test_numbers_of_the_sentences_are_in_the_json(gallery: Gallery) -> None:
    found = identify(gallery, a_face(photos_of(1, 4)[3]), threshold=0.5, source=USER, fmr=0.01)
    document = json.loads(json.dumps(found.to_dict()))
    assert document["schema"] == "whyface/identification/1"
    assert document["candidates"][0]["rank"] == 1
    assert document["score"] == document["candidates"][0]["score"]
    said = " ".join(sentences(found))
    for number in (f"{document['score']:.4f}", f"{document['threshold']:.4f}", f"{100 * document['gap_to_next']:.1f}"):
        assert number in said
    region, share = max(document["gap_by_region"].items(), key=lambda item: item[1])
    assert f"the {region} ({100 * share:+.1f})" in said or f"the {region} of the picture" in said
    assert f"{100 * document['expected_fpir']:.2g} % of strangers" in said


def test_uncertainty_tells_strangers(gallery: Gallery) -> None:
    head = fit_gallery_head(gallery)
    assert head_path(gallery).is_file()
    assert head.record["model_sha256"] == gallery.layout.sha256["onnx"]
    known = identify(gallery, a_face(photos_of(1, 4)[3]), threshold=0.5, source=USER)
    stranger = identify(gallery, a_face(photos_of(9, 1)[0]), threshold=0.5, source=USER)
    assert known.uncertainty is not None
    assert stranger.uncertainty is not None
    assert known.uncertainty < stranger.uncertainty
    assert max(known.beliefs, key=known.beliefs.__getitem__) == "Bob"
    assert known.to_dict()["uncertainty"] == known.uncertainty


def test_a_head_of_other_people_or_another_model_is_not_used(gallery: Gallery) -> None:
    fit_gallery_head(gallery)
    gallery.add(gallery.features(photos_of(7)), "Eve", "eve.png")
    head, note = gallery_head(gallery)
    assert head is None
    assert "People came or went" in note
    found = identify(gallery, a_face(photos_of(7, 1)[0]), threshold=0.5, source=USER)
    assert (found.name, found.uncertainty) == ("Eve", None)
    # What was computed from the faces of somebody who is gone is gone, too.
    gallery.remove("Eve")
    head, note = gallery_head(gallery)
    assert head is None
    assert "No uncertainty was fitted" in note
    fit_gallery_head(gallery)
    assert gallery_head(gallery)[0] is not None
    path = head_path(gallery)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="cannot read"):
        gallery_head(gallery)


def test_one_person_makes_no_uncertainty(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        with pytest.raises(InputError, match="empty"):
            identify(gallery, a_face(photos_of(0)[0]), threshold=0.5, source=USER)
        with pytest.raises(InputError, match="empty"):
            fit_gallery_head(gallery)
        gallery.add(gallery.features(photos_of(0)), "Ann", "ann.png")
        with pytest.raises(InputError, match="at least two people"):
            fit_gallery_head(gallery)
        found = identify(gallery, a_face(photos_of(0)[1]), threshold=0.5, source=USER)
        assert (found.name, found.gap, found.difference(), found.reasons()) == ("Ann", None, None, {})
        said = " ".join(sentences(found))
        assert "the only person in the gallery" in said
        assert "this is a verification" in said
        assert identification_figure(found, photos_of(0)[1].transpose(1, 2, 0)).axes


def test_figure_shows_what_was_found(gallery: Gallery) -> None:
    found = identify(gallery, a_face(photos_of(1, 4)[3]), threshold=0.5, source=USER)
    face = np.ascontiguousarray(photos_of(1)[0].transpose(1, 2, 0))
    figure = identification_figure(found, face, {found.best.record: face})
    labels = [axes.get_label() for axes in figure.axes]
    assert {"photo", "scale", "scores", "face", "next face", "regions"} <= set(labels)
    assert any("Difference: sums to" in str(label) for label in labels)
    texts = [text.get_text() for text in figure.texts]
    assert "Bob" in texts
    with pytest.raises(InputError, match="aligned"):
        identification_figure(found, face[:50])


def test_bad_questions_are_refused(gallery: Gallery) -> None:
    with pytest.raises(InputError, match="k = 0"):
        identify(gallery, a_face(photos_of(1)[0]), threshold=0.5, source=USER, k=0)


def test_an_exact_tie_is_undecided(gallery: Gallery) -> None:
    # A picture that nobody has: the features of one that was added with others may differ in the last bits.
    twin = photos_of(8)[:1]
    gallery.add(gallery.features(twin), "Bob", "again.png")
    gallery.add(gallery.features(twin), "Bobby", "twin.png")
    found = identify(gallery, a_face(twin[0]), threshold=0.5, source=USER)
    assert found.best.score == found.candidates[1].score
    assert (found.verdict, found.name, found.is_known) == ("undecided", None, False)
    assert set(found.tied) == {"Bob", "Bobby"}
    assert "very same score" in sentences(found)[0]
    assert found.to_dict()["tied"] == list(found.tied)
    # Below the threshold it is nobody, tie or not.
    below = identify(gallery, a_face(twin[0]), threshold=1.0, source=USER)
    assert (below.tied, below.verdict) == ((), "nobody in the gallery")
    title = [text.get_text() for text in identification_figure(found, np.zeros((112, 112, 3), np.uint8)).texts]
    assert "Undecided" in title


def test_who_else_is_above_the_threshold_is_said(gallery: Gallery) -> None:
    probe = a_face(photos_of(1)[1])
    found = identify(gallery, probe, threshold=-1.0, source=USER)
    near = next(line for line in sentences(found) if line.startswith("Above the threshold, too: "))
    assert all(one.name in near for one in found.candidates[1:])
    alone = identify(gallery, probe, threshold=found.candidates[1].score, source=USER)
    assert alone.name == found.name
    assert not any(line.startswith("Above the threshold, too") for line in sentences(alone))
