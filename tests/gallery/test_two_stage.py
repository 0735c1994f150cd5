"""The two-stage search: what is on the shortlist is compared exactly, and what may not be there is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.gallery_models import faces, tiny_xcos
from whyface.errors import DataError, InputError
from whyface.gallery.feature_file import HEADER
from whyface.gallery.gallery import Gallery
from whyface.gallery.name_rebuild import ABOUT_NAME, INDEX_NAME
from whyface.gallery.shortlist import (
    Recipe,
    build_shortlist,
    open_shortlist,
    probe_vectors,
    save_shortlist,
    search_shortlist,
)
from whyface.models.embedder import Batch, l2_normalise
from whyface.xcos.grid import AttentionKind

pytest.importorskip("faiss", reason="needs the extra 'ann'")

COUNT = 300
PLAIN = Recipe(dimensions=0)
"""No axes to fit: quick."""


def filled(path: Path, count: int = COUNT) -> Gallery:
    gallery = Gallery.create(path, tiny_xcos())
    gallery.add(gallery.features(faces(count)), [f"person {i // 2}" for i in range(count)], "made up")
    return gallery


@pytest.mark.parametrize("kind", ["u", "p", "l"])
@pytest.mark.parametrize("recipe", [PLAIN, Recipe(dimensions=64, lists=4, visited=4)])
def test_a_shortlist_of_all_is_the_exhaustive_search(tmp_path: Path, kind: AttentionKind, recipe: Recipe) -> None:
    with filled(tmp_path / "g") as gallery:
        shortlist = build_shortlist(gallery, recipe=recipe, threads=1)
        probes = gallery.features(faces(4, seed=9))
        found = search_shortlist(gallery, shortlist, probes, 5, size=COUNT, attention=kind)
        for ours, theirs in zip(found, gallery.search(probes, 5, attention=kind), strict=True):
            assert [one.record for one in ours] == [one.record for one in theirs]
            for one, other in zip(ours, theirs, strict=True):
                assert one.score == other.score
                np.testing.assert_array_equal(one.attention, other.attention)


@pytest.mark.parametrize("kind", ["u", "p"])
def test_with_fixed_attention_the_inner_product_is_the_score(tmp_path: Path, kind: AttentionKind) -> None:
    with filled(tmp_path / "g", 40) as gallery:
        features = gallery.features(faces(3, seed=9))
        units = gallery.records["unit"] * gallery.records["unit_scale"][:, None]
        products = probe_vectors(gallery.model, features, kind) @ units.T
        for row, candidates in enumerate(gallery.search(features, 40, attention=kind)):
            for candidate in candidates:
                assert products[row, candidate.record] == pytest.approx(candidate.score, abs=2e-5)


def test_learned_attention_is_stood_in_for_by_the_probe_s_attention_to_itself(tmp_path: Path) -> None:
    with filled(tmp_path / "g", 4) as gallery:
        features = gallery.features(faces(2, seed=9))
        itself = tiny_xcos().compare_grids(features, features, "l")
        norms = np.linalg.norm(probe_vectors(gallery.model, features, "l").reshape(2, 49, -1), axis=2)
        np.testing.assert_allclose(norms.reshape(2, 7, 7), itself.attention, atol=1e-5)


def test_the_index_alone_names_about_the_right_faces(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        features = gallery.features(faces(8, seed=9))
        named = build_shortlist(gallery, threads=1).find(probe_vectors(gallery.model, features, "u"), 30)
        best = gallery.search(features, 5, attention="u")
        hits = [candidate.record in named[row] for row, found in enumerate(best) for candidate in found]
        # 30 of 300 by chance would hit one in ten.
        assert np.mean(hits) > 0.9


def test_faces_added_since_are_compared_and_removed_ones_are_not(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        shortlist = build_shortlist(gallery, recipe=PLAIN, threads=1)
        late = gallery.features(faces(1, seed=5))
        gallery.add(late, "late", "made up")
        ((best,),) = search_shortlist(gallery, shortlist, late, 1, size=1)
        assert (best.name, best.record) == ("late", COUNT)
        gallery.remove("late")
        ((best,),) = search_shortlist(gallery, shortlist, late, 1, size=1)
        assert best.record != COUNT


def test_damaged_records_are_left_out(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        save_shortlist(build_shortlist(gallery, recipe=PLAIN, threads=1), gallery)
        offset = HEADER + 7 * gallery.layout.record.itemsize + 40
    path = tmp_path / "g" / "features.bin"
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)
    with Gallery.open(tmp_path / "g", tiny_xcos()) as gallery:
        (found,) = search_shortlist(gallery, open_shortlist(gallery), gallery.features(faces(8)[7:]), 5, size=50)
        assert 7 not in {candidate.record for candidate in found}
        assert gallery.damaged == {7}


def test_one_per_person(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        shortlist = build_shortlist(gallery, recipe=PLAIN, threads=1)
        probe = gallery.features(faces(1, seed=9))
        (found,) = search_shortlist(gallery, shortlist, probe, 20, size=40, one_per_person=True)
        names = [candidate.name for candidate in found]
        assert len(set(names)) == len(names) == 20


def test_an_index_is_kept_beside_the_gallery(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        built = build_shortlist(gallery, recipe=Recipe(0, 4, 2), threads=1)
        save_shortlist(built, gallery)
    with Gallery.open(tmp_path / "g", tiny_xcos()) as gallery:
        opened = open_shortlist(gallery)
        assert (opened.count, opened.recipe) == (COUNT, built.recipe)
        vectors = probe_vectors(gallery.model, gallery.features(faces(3, seed=9)), "u")
        np.testing.assert_array_equal(opened.find(vectors, 10), built.find(vectors, 10))


def test_more_lists_visited_find_no_fewer(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        shortlist = build_shortlist(gallery, recipe=Recipe(0, 8, 1), threads=1)
        vectors = probe_vectors(gallery.model, gallery.features(faces(8, seed=9)), "u")
        some, every = (shortlist.find(vectors, COUNT, visited=visited) for visited in (1, 8))
        assert (some < 0).any()
        assert (np.sort(every, axis=1) == np.arange(COUNT)).all()


def test_the_same_seed_gives_the_same_index(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        vectors = probe_vectors(gallery.model, gallery.features(faces(3, seed=9)), "u")
        recipe = Recipe(64, 4, 1)
        first, second = (build_shortlist(gallery, recipe=recipe, threads=1, seed=3) for _ in range(2))
        np.testing.assert_array_equal(first.find(vectors, 20), second.find(vectors, 20))


def test_impossible_recipes() -> None:
    with pytest.raises(InputError, match="visits 1 to all of its lists, got 5 of 4"):
        Recipe(lists=4, visited=5)


def test_bad_input(tmp_path: Path) -> None:
    with filled(tmp_path / "g", 20) as gallery:
        with pytest.raises(DataError, match="no index for a shortlist yet; run: whyface gallery index"):
            open_shortlist(gallery)
        shortlist = build_shortlist(gallery, recipe=PLAIN, threads=1)
        probe = gallery.features(faces(1))
        for k, size in ((0, 5), (6, 5)):
            with pytest.raises(InputError, match=f"from a shortlist of 5, got k = {k}"):
                search_shortlist(gallery, shortlist, probe, k, size=size)
        with pytest.raises(InputError, match="holds features"):
            search_shortlist(gallery, shortlist, probe[:, :, :6], 1)
        save_shortlist(shortlist, gallery)
        about = tmp_path / "g" / ABOUT_NAME
        index = tmp_path / "g" / INDEX_NAME
        for change in ({"count": 21}, {"ends": [1, 2]}, {"count": 0}):
            about_text = about.read_text()
            about.write_text(json.dumps({**json.loads(about_text), **change}))
            with pytest.raises(DataError, match="was built from other records|does not fit its description"):
                open_shortlist(gallery)
            about.write_text(about_text)
        whole = index.read_bytes()
        index.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match="damaged"):
            open_shortlist(gallery)
        about.write_text("{")
        with pytest.raises(DataError, match="damaged"):
            open_shortlist(gallery)
    with Gallery.create(tmp_path / "empty", tiny_xcos()) as empty, pytest.raises(InputError, match="is empty"):
        build_shortlist(empty)


def test_without_faiss_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with filled(tmp_path / "g", 4) as gallery, pytest.raises(InputError, match=r"pip install 'whyface\[ann\]'"):
        build_shortlist(gallery)


class TinyEmbedder:
    """Embeddings without cells."""

    name = "plain"
    sha256 = "f" * 64
    has_grid = False

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        return l2_normalise(batch[:, :, ::16, ::16].reshape(len(batch), -1).astype(np.float32) - 128)


def test_embeddings_of_any_network(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", TinyEmbedder()) as gallery:
        gallery.add(gallery.features(faces(50)), "x", "made up")
        shortlist = build_shortlist(gallery, recipe=PLAIN, threads=1)
        probe = gallery.features(faces(50)[11:12])
        ((best, *_),) = search_shortlist(gallery, shortlist, probe, 3, size=10)
        assert best.record == 11
        assert best.score == pytest.approx(1, abs=1e-4)
