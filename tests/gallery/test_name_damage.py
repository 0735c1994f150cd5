"""Names that the disk has changed: never served as if nothing had happened, reported by record, and the rest served."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.gallery_models import TinyGrids, faces
from helpers.old_galleries import change, make_old
from whyface.cli import main
from whyface.errors import DataError, OutputError, WhyfaceError
from whyface.gallery.gallery import Gallery, pixel_digest
from whyface.gallery.name_database import FaceRow
from whyface.gallery.name_rebuild import repair_gallery

MODEL = TinyGrids()
COUNT = 40
FLIPS = 300
PROBES = MODEL.embed(faces(2, seed=9))
PEOPLE = [f"person {number // 2:02d}" for number in range(COUNT)]
DIGESTS = [pixel_digest(face) for face in faces(COUNT)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty faces of twenty people, two people removed."""
    path = tmp_path_factory.mktemp("whole") / "g"
    with Gallery.create(path, MODEL) as gallery:
        sources = [f"{name}/{number}.jpg" for number, name in enumerate(PEOPLE)]
        gallery.add(MODEL.embed(faces(COUNT)), PEOPLE, sources, digests=DIGESTS)
        gallery.remove("person 03")
        gallery.remove("person 17")
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "g")
    return tmp_path / "g"


def found_faces(gallery: Gallery) -> list[dict[tuple[int, str, str], float]]:
    found = gallery.search(PROBES, k=COUNT, threads=1)
    return [{(one.record, one.name, one.source): one.score for one in candidates} for candidates in found]


def everything(path: Path) -> dict[str, Any]:
    """All that a gallery tells about its people."""
    with Gallery.open(path, MODEL) as gallery:
        table = gallery.names_table
        told: dict[str, Any] = {
            "rows": gallery.rows(range(len(gallery.records))),
            "names": gallery.names(),
            "labels": dict(gallery.labels()),
            "found": found_faces(gallery),
            "of person": {row.record: row for name in sorted(set(PEOPLE)) for row in table.of_person(name)},
            "of digest": {row.record: row for digest in DIGESTS for row in table.of_digest(digest)},
            "faces": len(gallery),
        }
        told["check"] = (gallery.check(), gallery.names_damage)
    return told


def holds(part: dict[Any, Any], truth: dict[Any, Any]) -> bool:
    return part.items() <= truth.items()


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def bits(data: bytes, seed: int, count: int = FLIPS) -> list[int]:
    return [int(bit) for bit in np.random.default_rng(seed).choice(8 * len(data), count, replace=False)]


def test_no_flipped_bit_makes_other_names(path: Path) -> None:
    """For each of 300: one line that says what is wrong, or the truth, or a part of it and a report of the rest."""
    truth = everything(path)
    assert truth["check"] == (set(), ())
    file = path / "names.sqlite"
    data = file.read_bytes()
    refused = reported = 0
    for bit in bits(data, seed=17):
        file.write_bytes(flipped(data, bit))
        try:
            told = everything(path)
        except WhyfaceError as error:
            refused += 1
            assert "\n" not in str(error)
            assert "names.sqlite" in str(error)
            continue
        for key in ("rows", "labels", "of person", "of digest"):
            assert holds(told[key], truth[key]), (bit, key)
        for one, other in zip(told["found"], truth["found"], strict=True):
            assert holds(one, other), bit
        assert set(told["names"]) <= set(truth["names"]), bit
        assert all(count <= truth["names"][name] for name, count in told["names"].items()), bit
        damaged, problems = told["check"]
        assert all(0 <= number < COUNT for number in damaged), bit
        if damaged or problems:
            reported += 1
        else:
            assert {**told, "check": None} == {**truth, "check": None}, bit
        # Only what was reported is missing.
        assert set(truth["rows"]) - set(told["rows"]) <= damaged, bit
    assert refused < FLIPS // 4
    assert reported > FLIPS // 10


def test_no_flipped_bit_in_the_features_makes_another_score(path: Path) -> None:
    truth = everything(path)
    file = path / "features.bin"
    data = file.read_bytes()
    refused = reported = 0
    for bit in bits(data, seed=18):
        file.write_bytes(flipped(data, bit))
        try:
            with Gallery.open(path, MODEL) as gallery:
                told = found_faces(gallery)
                damaged, problems = gallery.check(), gallery.names_damage
        except WhyfaceError as error:
            refused += 1
            assert "\n" not in str(error)
            continue
        for one, other in zip(told, truth["found"], strict=True):
            assert holds(one, other), bit
            assert {record for record, _, _ in other.keys() - one.keys()} == damaged, bit
        assert not problems
        reported += bool(damaged)
    assert refused < FLIPS // 4
    assert reported > FLIPS // 2


def test_no_flipped_bit_in_a_table_without_checksums_ends_in_another_error(path: Path) -> None:
    """Other names cannot be told from the true ones there, but errors of SQLite, or of Python, do not come out."""
    make_old(path)
    file = path / "names.sqlite"
    data = file.read_bytes()
    for bit in bits(data, seed=19, count=100):
        file.write_bytes(flipped(data, bit))
        try:
            everything(path)
        except WhyfaceError as error:
            assert "\n" not in str(error)
        try:
            with Gallery.open(path, MODEL, writable=True) as gallery:
                gallery.remove(0)
        except WhyfaceError as error:
            assert "\n" not in str(error)
        for left in path.glob("names.sqlite-journal"):
            left.unlink()


HOSTILE = Path(__file__).resolve().parents[3] / "shared" / "cases" / "hostile" / "names"


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs the damaged tables of ../shared/cases")
@pytest.mark.parametrize("number", range(1, 9))
def test_tables_that_were_found_damaged(path: Path, number: int) -> None:
    shutil.copy(HOSTILE / f"damaged-{number}.sqlite", path / "names.sqlite")
    (path / "names.sqlite").chmod(0o644)
    try:
        told = everything(path)
    except DataError as error:
        assert "\n" not in str(error)
        assert "names.sqlite: damaged beyond use; put back a copy of the file" in str(error)
        return
    damaged, problems = told["check"]
    assert damaged or problems
    assert len(told["rows"]) + len(damaged) >= COUNT - 4
    with pytest.raises(OutputError, match="damaged, and without checksums; put back a copy, or keep what can be read"):
        Gallery.open(path, writable=True)
    given_up = {row.record for row in repair_gallery(path)}
    told = everything(path)
    assert told["check"] == (set(), ())
    assert len(told["rows"]) + len(given_up) == COUNT - 4


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("number", [50_000_000, 2**40, 2**62, -1])
def test_a_record_number_beyond_all_bounds(path: Path, old: bool, number: int) -> None:
    """It made a check run for minutes, and then a MemoryError."""
    if old:
        make_old(path)
    change(path, f"UPDATE faces SET record = {number} WHERE record = 12")
    told = everything(path)
    assert told["check"][0] == {12} if not old or number > 0 else {12, 39}
    assert set(told["rows"]) >= set(range(COUNT)) - {6, 7, 12, 34, 35, 39}
    assert told["faces"] <= COUNT


@pytest.mark.parametrize(
    "totals",
    ["faces = 50000000", "faces = 0", "checksum = 1", "removed = 0", "faces = 'x'", "checksums = checksums + 1"],
)
def test_damaged_totals(path: Path, totals: str) -> None:
    """The rows are served, the damage is reported, and nothing is added that could overwrite faces."""
    truth = everything(path)
    change(path, f"UPDATE totals SET {totals}")
    told = everything(path)
    damaged, problems = told["check"]
    assert told["rows"] == truth["rows"]
    assert not damaged
    assert problems == ("the rows do not add up to the table's totals",)
    size = (path / "features.bin").stat().st_size
    with (
        Gallery.open(path, MODEL, writable=True) as gallery,
        pytest.raises(OutputError, match="has no sound checksums; run: whyface gallery repair"),
    ):
        gallery.add(PROBES, "new", "s")
    assert (path / "features.bin").stat().st_size == size
    assert repair_gallery(path) == []
    assert everything(path)["check"] == (set(), ())


def test_a_row_of_another_time(path: Path) -> None:
    """A page that was never written leaves a row that is whole, but old: here, a removed face is there again."""
    with Gallery.open(path) as gallery:
        row = gallery.names_table.faces([6])[6]
    back = row._replace(removed=None)
    change(path, f"UPDATE faces SET removed = NULL, checksum = {back.checksum()} WHERE record = 6")
    assert everything(path)["check"][1] == ("the rows do not add up to the table's totals",)


def test_the_files_of_two_galleries_do_not_go_together(path: Path, tmp_path: Path) -> None:
    """Their records have the same numbers, and each is whole."""
    with Gallery.create(tmp_path / "other", MODEL) as gallery:
        gallery.add(MODEL.embed(faces(COUNT, seed=5)), PEOPLE, "s")
    shutil.copy(tmp_path / "other" / "features.bin", path / "features.bin")
    with Gallery.open(path, MODEL) as gallery:
        assert gallery.rows(range(COUNT)) == {}
        assert gallery.check() == set(range(COUNT)) - {6, 7, 34, 35}
        with pytest.raises(DataError, match="all faces are damaged; run: whyface gallery info --check"):
            gallery.search(PROBES)


def test_rows_whose_features_were_cut_off(path: Path) -> None:
    """Asking for them ended in an IndexError."""
    with Gallery.open(path) as gallery:
        size = gallery.layout.record.itemsize
    with (path / "features.bin").open("r+b") as file:
        file.truncate(4096 + (COUNT - 2) * size)
    with Gallery.open(path) as gallery:
        assert set(gallery.rows(range(COUNT))) == set(range(COUNT - 2)) - {6, 7, 34, 35}
        assert gallery.damaged >= {COUNT - 2, COUNT - 1}


def test_damage_in_the_index_of_removed_faces(path: Path) -> None:
    """A removed face that the index does not list is not found either: its row says so."""
    truth = everything(path)
    change(path, "DROP INDEX faces_removed", "CREATE INDEX faces_removed ON faces (record) WHERE removed = 'never'")
    assert everything(path)["found"] == truth["found"]


def test_repair_gives_up_what_is_damaged_and_keeps_the_rest(path: Path) -> None:
    truth = everything(path)
    with Gallery.open(path) as gallery:
        size = gallery.layout.record.itemsize
    change(path, "UPDATE faces SET name = 'person 99' WHERE record = 10", "DELETE FROM faces WHERE record = 20")
    with (path / "features.bin").open("r+b") as file:
        file.seek(4096 + 30 * size + 200)
        file.write(b"\xff" * 8)
        file.truncate(4096 + (COUNT - 2) * size)
    given_up = repair_gallery(path)
    assert [(row.record, row.name) for row in given_up] == [
        (10, ""),
        (20, ""),
        (30, "person 15"),
        (38, "person 19"),
        (39, "person 19"),
    ]
    told = everything(path)
    lost = {row.record for row in given_up}
    assert told["check"] == (set(), ())
    assert told["labels"] == {number: name for number, name in truth["labels"].items() if number not in lost}
    with Gallery.open(path, MODEL, writable=True) as gallery:
        assert list(gallery.add(PROBES[:1], "person 19", "s")) == [38]
        assert gallery.search(PROBES[:1])[0][0].name == "person 19"
        assert gallery.check() == set()


def test_an_old_gallery_gets_checksums_with_the_next_change(path: Path) -> None:
    truth = everything(path)
    make_old(path)
    with Gallery.open(path, MODEL) as reader:
        assert not reader.names_table.checked
        assert reader.check() == set()
        with Gallery.open(path, MODEL, writable=True) as writer:
            assert writer.names_table.checked
            assert everything(path)["found"] == truth["found"]
            writer.remove(0)
        assert 0 in reader.rows([0])
        reader.refresh()
        assert reader.names_table.checked
        assert reader.rows([0]) == {}
    assert everything(path)["check"] == (set(), ())
    change(path, "UPDATE faces SET name = 'somebody else' WHERE record = 1")
    assert everything(path)["check"][0] == {1}


def test_an_old_gallery_with_a_damaged_record(path: Path) -> None:
    """Its name is not tied to what is damaged, so that a copy of the file can be put back later."""
    make_old(path)
    data = (path / "features.bin").read_bytes()
    (path / "features.bin").write_bytes(flipped(data, 8 * (len(data) - 1000)))
    Gallery.open(path, writable=True).close()
    assert len(everything(path)["check"][0]) == 1
    (path / "features.bin").write_bytes(data)
    assert everything(path)["check"] == (set(), ())


def test_a_table_of_a_later_release(path: Path) -> None:
    change(path, "PRAGMA user_version = 3")
    with pytest.raises(DataError, match=r"of a later release \(format 3\), or damaged; update whyface"):
        Gallery.open(path)


def test_a_closed_gallery(path: Path) -> None:
    gallery = Gallery.open(path, MODEL)
    gallery.close()
    with pytest.raises(WhyfaceError, match="the gallery was closed; open it again"):
        gallery.search(PROBES)


def test_rows_know_what_belongs_to_them() -> None:
    row = FaceRow(3, "ann", "a.jpg", "", "2026-01-01T00:00:00+00:00", None, 77)
    assert row.belongs_to(77)
    assert not row.belongs_to(78)
    assert row._replace(feature=-1).belongs_to(78)
    changed = [row._replace(record=4), row._replace(name="anna"), row._replace(removed="x")]
    assert len({one.checksum() for one in [row, *changed]}) == 4


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["whyface", "gallery", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def test_what_the_command_says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path) -> None:
    gallery = str(path)
    assert "all records are intact" in run(monkeypatch, capsys, "info", gallery, "--check")[1]
    make_old(path)
    code, out, _ = run(monkeypatch, capsys, "info", gallery, "--check")
    assert code == 0
    assert "names have no checksums: the gallery is of an earlier release" in out
    assert f"whyface gallery repair {gallery}" in out
    assert "intact" not in out
    assert run(monkeypatch, capsys, "repair", gallery)[1] == f"{gallery}: repaired, 0 faces dropped\n"
    change(path, "UPDATE faces SET name = 'x' WHERE record = 1", "DROP INDEX faces_by_name")
    change(path, "UPDATE totals SET checksum = 1")
    code, out, _ = run(monkeypatch, capsys, "info", gallery, "--check")
    assert code == 1
    assert "damaged: record 1, (unreadable), (unreadable); enroll it again" in out
    document = json.loads(run(monkeypatch, capsys, "info", gallery, "--check", "--json")[1])
    assert document["damaged"] == [{"record": 1, "name": None, "source": None}]
    assert document["names_have_checksums"] is True
    code, out, _ = run(monkeypatch, capsys, "repair", gallery)
    assert (code, out.splitlines()) == (
        0,
        ["dropped: record 1, (unreadable), (unreadable)", f"{gallery}: repaired, 1 face dropped"],
    )
    assert run(monkeypatch, capsys, "info", gallery, "--check")[0] == 0
    for where in (path / "nothing", path.parent):
        code, out, err = run(monkeypatch, capsys, "repair", str(where))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "no gallery here" in err
