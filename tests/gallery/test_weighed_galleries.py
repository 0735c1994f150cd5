"""Galleries of weighed grids: two matrix products and a division give what the pair formula gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.gallery_models import TinyGrids, faces
from whyface.errors import InputError, ModelError
from whyface.gallery import kernel
from whyface.gallery.feature_file import HEADER, Layout, Storage, read_header
from whyface.gallery.gallery import Gallery
from whyface.gallery.kernel import score_records
from whyface.gallery.shortlist import build_shortlist, search_shortlist
from whyface.xcos.grid import AttentionKind
from whyface.xcos.model import XcosModel

TOLERANCE: dict[Storage, float] = {"float32": 1e-6, "int16": 5e-5, "int8": 1e-2}


def weighed_model() -> XcosModel:
    return XcosModel(TinyGrids(), weighed=True)


def filled(path: Path, storage: Storage, count: int = 500) -> Gallery:
    gallery = Gallery.create(path, weighed_model(), storage=storage)
    gallery.add(gallery.features(faces(count)), [f"person {i // 2}" for i in range(count)], "made up")
    return gallery


@pytest.mark.parametrize("storage", list(TOLERANCE))
@pytest.mark.parametrize("kind", ["l", "u"])
def test_scores_and_maps_are_those_of_the_pairs(tmp_path: Path, storage: Storage, kind: AttentionKind) -> None:
    model, close = weighed_model(), TOLERANCE[storage]
    with filled(tmp_path / "g", storage) as gallery:
        probes = gallery.features(faces(3, seed=9))
        everybody = gallery.features(faces(500))
        for row, candidates in enumerate(gallery.search(probes, k=500, attention=kind)):
            expected = model.compare_grids(np.repeat(probes[row : row + 1], 500, 0), everybody, kind)
            assert sorted(candidate.record for candidate in candidates) == list(range(500))
            for candidate in candidates:
                assert candidate.score == pytest.approx(expected.score[candidate.record], abs=close)
            best = candidates[0]
            assert best.similarity is not None
            assert best.attention is not None
            np.testing.assert_allclose(best.similarity, expected.similarity[best.record], atol=10 * close)
            np.testing.assert_allclose(best.attention, expected.attention[best.record], atol=1e-6)
            assert best.attention.sum() == pytest.approx(1, abs=1e-6)
            assert (best.similarity.astype(float) * best.attention).sum() == pytest.approx(best.score, abs=1e-9)


@pytest.mark.parametrize("storage", list(TOLERANCE))
def test_a_probe_alone_gets_the_scores_that_it_gets_among_others(tmp_path: Path, storage: Storage) -> None:
    with filled(tmp_path / "g", storage) as gallery:
        probes = gallery.features(faces(3, seed=9))
        together = gallery.search(probes, k=500)
        for row, expected in enumerate(together):
            (alone,) = gallery.search(probes[row : row + 1], k=500)
            scores = {one.record: one.score for one in alone}
            assert scores == pytest.approx({one.record: one.score for one in expected}, abs=1e-6)


def lookalikes(path: Path, seed: int, count: int = 300) -> Gallery:
    """A gallery of 8-bit faces that hardly differ from the face of ``seed``: rounding changes their order."""
    gallery = Gallery.create(path, weighed_model(), storage="int8")
    features = gallery.features(faces(1, seed=seed))
    noise = np.random.default_rng(seed).standard_normal((count, *features.shape[1:])).astype(np.float32)
    gallery.add(features + 0.2 * features.std() * noise, [f"person {i // 3}" for i in range(count)], "made up")
    return gallery


@pytest.mark.parametrize("seed", range(5))
def test_rounded_probes_err_no_more_than_they_say(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("simsimd", reason="needs the extra ann")
    with lookalikes(tmp_path / "g", seed) as gallery:
        probes = gallery.model.probes(gallery.features(faces(3, seed=seed)), "l")
        exact = score_records(gallery.records, probes, None)
        errors = np.ones_like(exact)
        rough = score_records(gallery.records, probes, None, errors=errors)
    assert (rough != exact).any()
    assert (np.abs(rough - exact) <= errors).all()
    assert 0 < errors.min() <= errors.max() < 0.05


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("one_per_person", [False, True])
def test_a_search_by_rounded_probes_is_exact(tmp_path: Path, seed: int, one_per_person: bool) -> None:
    pytest.importorskip("simsimd", reason="needs the extra ann")
    with lookalikes(tmp_path / "g", seed) as gallery:
        probe = gallery.features(faces(1, seed=seed))
        probes = gallery.model.probes(probe, "l")
        (scores,) = score_records(gallery.records, probes, None)
        (rough,) = score_records(gallery.records, probes, None, errors=np.empty((1, len(scores)), np.float32))
        order = np.argsort(-scores, kind="stable")
        assert (np.argsort(-rough, kind="stable")[:20] != order[:20]).any()
        if one_per_person:
            order = order[np.sort(np.unique(order // 3, return_index=True)[1])]
        (found,) = gallery.search(probe, k=20, one_per_person=one_per_person)
        # Scores that differ by a last digit may change places.
        assert scores[[one.record for one in found]] == pytest.approx(scores[order[:20]], abs=1e-6)
        assert [one.score for one in found] == pytest.approx(scores[order[:20]].tolist(), abs=1e-6)


def test_without_simsimd_every_score_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "find_spec", lambda name: None)
    with lookalikes(tmp_path / "g", 0) as gallery:
        probes = gallery.model.probes(gallery.features(faces(1)), "l")
        errors = np.ones((1, len(gallery)), np.float32)
        scores = score_records(gallery.records, probes, None, errors=errors)
        np.testing.assert_array_equal(scores, score_records(gallery.records, probes, None))
        assert not errors.any()


def test_a_damaged_record_does_not_stop_a_search_by_rounded_probes(tmp_path: Path) -> None:
    path = tmp_path / "g"
    with lookalikes(path, 1) as gallery:
        probe, layout = gallery.features(faces(1, seed=1)), gallery.layout
        best = gallery.search(probe, k=1)[0][0].record
    for record, field, bits in ((best, "unit", 0x7F), (5, "terms", 0xFF), (6, "unit_scale", 0xFF)):
        with (path / "features.bin").open("r+b") as file:
            file.seek(HEADER + record * layout.stride + layout.record.fields[field][1])  # type: ignore[index]
            file.write(bytes([bits] * 4))
    with Gallery.open(path, weighed_model()) as gallery:
        (found,) = gallery.search(probe, k=300)
        assert {one.record for one in found} == set(range(300)) - {best, 5, 6}
        assert gallery.damaged == {best, 5, 6}


def test_learned_attention_is_the_default_and_a_face_finds_itself(tmp_path: Path) -> None:
    with filled(tmp_path / "g", "int8") as gallery:
        assert gallery.model.default_kind == "l"
        ((best, *_),) = gallery.search(gallery.features(faces(8)[7:8]), k=3)
        assert best.record == 7
        assert best.score == pytest.approx(1, abs=1e-2)


def test_the_length_of_a_whole_grid_does_not_count(tmp_path: Path) -> None:
    with filled(tmp_path / "g", "float32") as gallery:
        probe = gallery.features(faces(1, seed=4))
        one, other = (gallery.search(scale * probe, k=5)[0] for scale in (np.float32(1), np.float32(1000)))
        for first, second in zip(one, other, strict=True):
            assert first.record == second.record
            assert first.score == pytest.approx(second.score, abs=1e-6)


@pytest.mark.parametrize("storage", list(TOLERANCE))
def test_a_place_that_nobody_looks_at_has_no_say(tmp_path: Path, storage: Storage) -> None:
    model = weighed_model()
    features = model.grid(faces(4))
    features[:2, :, 0, 0] = 0
    with Gallery.create(tmp_path / "g", model, storage=storage) as gallery:
        gallery.add(features, ["a", "b", "c", "d"], "made up")
        for candidate in gallery.search(features[:1], k=4)[0]:
            assert candidate.attention is not None
            assert candidate.attention[0, 0] == 0
            assert np.isfinite(candidate.score)


def test_the_format_says_what_a_record_holds(tmp_path: Path) -> None:
    with filled(tmp_path / "g", "int16", count=2) as gallery:
        layout, path = gallery.layout, gallery.path
    assert (layout.version, layout.weighed, layout.terms) == (2, True, 49)
    data = (path / "features.bin").read_bytes()
    assert read_header(data, "g") == layout
    assert b'"version": 2' in data[:HEADER]
    with Gallery.open(path, weighed_model()) as gallery:
        assert len(gallery) == 2


def test_old_galleries_keep_their_bytes() -> None:
    layout = Layout("grid", "tiny", {"onnx": "0" * 64}, (32, 7, 7))
    assert layout.version == 1
    assert b"weighed" not in layout.header()
    assert read_header(layout.header(), "g") == layout


def test_formats_that_are_not_known_are_refused() -> None:
    layout = Layout("grid", "tiny", {}, (32, 7, 7), 49, "int8", weighed=True)
    assert read_header(layout.header(), "g") == layout
    with pytest.raises(InputError, match="one length for each place"):
        Layout("grid", "tiny", {}, (32, 7, 7), 48, weighed=True)
    with pytest.raises(InputError, match="one length for each place"):
        Layout("embedding", "tiny", {}, (32,), 1, weighed=True)


def test_a_gallery_of_other_weights_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "g", "int16", count=2).close()
    with pytest.raises(ModelError, match="weighed grids, those of the model are plain; enroll"):
        Gallery.open(tmp_path / "g", XcosModel(TinyGrids()))


@pytest.mark.parametrize("storage", list(TOLERANCE))
@pytest.mark.parametrize("kind", ["l", "u"])
def test_a_shortlist_of_all_is_the_exhaustive_search(tmp_path: Path, storage: Storage, kind: AttentionKind) -> None:
    pytest.importorskip("faiss", reason="needs the extra ann")
    with filled(tmp_path / "g", storage, 60) as gallery:
        probes = gallery.features(faces(2, seed=9))
        shortlist = build_shortlist(gallery)
        exact = gallery.search(probes, k=5, attention=kind)
        named = search_shortlist(gallery, shortlist, probes, k=5, size=60, attention=kind)
        for expected, found in zip(exact, named, strict=True):
            assert [one.record for one in found] == [one.record for one in expected]
            assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-6)
