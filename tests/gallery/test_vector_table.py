"""A gallery's vectors in LanceDB: the same faces as the exhaustive search, and one line for what cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import run_whyface
from helpers.gallery_models import TinyGrids, faces, tiny_xcos
from whyface.errors import DataError, InputError, OutputError
from whyface.gallery.gallery import Gallery
from whyface.gallery.shortlist import search_shortlist
from whyface.gallery.vector_table import VectorTable, open_vector_table, write_vector_table
from whyface.xcos.model import XcosModel

COUNT = 40


def filled(path: Path, *, weighed: bool = True, count: int = COUNT, seed: int = 0) -> Gallery:
    gallery = Gallery.create(path, XcosModel(TinyGrids(), weighed=True) if weighed else tiny_xcos())
    gallery.add(gallery.features(faces(count, seed=seed)), [f"person {i // 2}" for i in range(count)], "made up")
    return gallery


@pytest.mark.parametrize("weighed", [True, False])
def test_a_shortlist_of_all_is_the_exhaustive_search(tmp_path: Path, weighed: bool) -> None:
    pytest.importorskip("lancedb", reason="needs the extra lancedb")
    with filled(tmp_path / "g", weighed=weighed) as gallery:
        write_vector_table(gallery, tmp_path / "db")
        table = open_vector_table(gallery, tmp_path / "db")
        probes = gallery.features(faces(3, seed=9))
        found = search_shortlist(gallery, table, probes, 5, size=COUNT)
        for ours, theirs in zip(found, gallery.search(probes, 5), strict=True):
            assert [one.record for one in ours] == [one.record for one in theirs]
            assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-6)


def test_the_nearest_come_first_and_names_are_there_for_others(tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="needs the extra lancedb")
    seen: list[tuple[int, int]] = []
    with filled(tmp_path / "g") as gallery:
        table = write_vector_table(gallery, tmp_path / "db", progress=lambda done, total: seen.append((done, total)))
        vectors = gallery.records["unit"][[7, 12]] * gallery.records["unit_scale"][[7, 12]][:, None]
        assert table.find(vectors, 3)[:, 0].tolist() == [7, 12]
        assert table.find(vectors, 1000).shape == (2, COUNT)
        rows = table.table.search(vectors[0]).limit(1).to_list()
        assert (rows[0]["record"], rows[0]["name"]) == (7, "person 3")
        with pytest.raises(InputError, match="at least one face"):
            table.find(vectors, 0)
    assert seen == [(COUNT, COUNT)]


def test_faces_added_since_are_compared_too(tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="needs the extra lancedb")
    with filled(tmp_path / "g") as gallery:
        write_vector_table(gallery, tmp_path / "db")
        late = gallery.features(faces(1, seed=77))
        gallery.add(late, ["late"], "made up")
        table = open_vector_table(gallery, tmp_path / "db")
        ((best,),) = search_shortlist(gallery, table, late, 1, size=5)
        assert (table.count, best.record) == (COUNT, COUNT)


def test_writing_it_again_leaves_nothing_of_removed_faces(tmp_path: Path) -> None:
    """LanceDB keeps former versions of a table unless it is told not to."""
    pytest.importorskip("lancedb", reason="needs the extra lancedb")

    def holds(trace: bytes) -> bool:
        return any(trace in file.read_bytes() for file in (tmp_path / "db").rglob("*") if file.is_file())

    with filled(tmp_path / "g") as gallery:
        record = gallery.records[7]
        numbers = (record["unit"] * record["unit_scale"]).astype(np.float32)[100:108].tobytes()
        write_vector_table(gallery, tmp_path / "db")
        assert holds(numbers)
        gallery.remove(7)
        write_vector_table(gallery, tmp_path / "db")
        assert not holds(numbers)
        probes = gallery.features(faces(3, seed=9))
        assert len(search_shortlist(gallery, open_vector_table(gallery, tmp_path / "db"), probes, 2, size=9)) == 3


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    pytest.importorskip("lancedb", reason="needs the extra lancedb")
    with filled(tmp_path / "g") as gallery, filled(tmp_path / "other", seed=5) as other:
        with pytest.raises(DataError, match="no vector database here; run: whyface gallery index"):
            open_vector_table(gallery, tmp_path / "nothing")
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="not a usable vector database"):
            open_vector_table(gallery, tmp_path / "empty")
        write_vector_table(other, tmp_path / "db")
        with pytest.raises(DataError, match="other records than this gallery"):
            open_vector_table(gallery, tmp_path / "db")
        # Written again for this one, over the other.
        write_vector_table(gallery, tmp_path / "db")
        table = open_vector_table(gallery, tmp_path / "db")
        for part in sorted((tmp_path / "db").rglob("*.lance"), reverse=True):
            if part.is_file():
                part.write_bytes(b"x" * 40)
        with pytest.raises(DataError, match="cannot be searched"):
            VectorTable(table.table, COUNT).find(gallery.records["unit"][:1].astype("f4"), 3)
        (tmp_path / "file").write_text("x")
        with pytest.raises(OutputError, match="cannot be written"):
            write_vector_table(gallery, tmp_path / "file" / "db")
    with (
        Gallery.create(tmp_path / "none", tiny_xcos()) as nobody,
        pytest.raises(InputError, match="the gallery is empty"),
    ):
        write_vector_table(nobody, tmp_path / "db")


def test_without_lancedb_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lancedb", None)
    with filled(tmp_path / "g", count=2) as gallery, pytest.raises(InputError, match=r"whyface\[lancedb\]"):
        write_vector_table(gallery, tmp_path / "db")


def test_the_database_needs_a_length_of_the_shortlist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = Path(__file__).parents[2] / "src/whyface/assets/photos/obama-portrait.jpg"
    code, out, err = run_whyface(
        monkeypatch, capsys, "gallery", "search", str(tmp_path), str(photo), "--database", str(tmp_path / "db")
    )
    assert (code, out) == (2, "")
    assert "--shortlist 100" in err
