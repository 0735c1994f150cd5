"""Batches: the scores of ``whyface verify``, a reason for every row that has none, and what a killed run leaves."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.poor_photos import poor_photo
from whyface.batch.comparer import Comparer, ComparerSettings, PairResult
from whyface.batch.pair_source import PairSource, PhotoPair, open_pair_source
from whyface.batch.run import CHUNK, parts_folder, run_batch
from whyface.cli import main
from whyface.demo import demo_photo
from whyface.errors import DataError, InputError, OutputError
from whyface.faces.load import load_face
from whyface.gallery.feature_file import take_lock
from whyface.verification import Verifier

# The pictures of these tests are noise, which says nothing about anybody.
ALIGNED = ComparerSettings("xcos-mobilefacenet", aligned=True, accept_poor=True)


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["whyface", "batch", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    return rows


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Six aligned pictures of two people."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for name in ("ann/1", "ann/2", "ann/3", "bob/1", "bob/2", "bob/3"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (112, 112, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def test_photos_of_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The scores are those of ``whyface verify``; a bad photo fails its own rows only, with a reason."""
    names = ["obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg"]
    for name in names:
        shutil.copy(demo_photo(name), tmp_path / name)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    Image.new("RGB", (300, 300)).save(tmp_path / "nobody.png")
    table = tmp_path / "pairs.csv"
    lines = [
        "\ufeffa,b,case",
        f'{names[0]},{names[1]},"one, same"',
        f"{names[0]},{names[2]},two",
        f"{names[0]},broken.jpg,three",
        "missing.jpg,nobody.png,four",
        f"{names[1]},,five",
        f"{names[1]},{names[2]},six",
    ]
    table.write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "results.parquet"
    code, printed, err = run(monkeypatch, capsys, str(table), "--out", str(out), "--maps")
    assert (code, err.strip()) == (0, "")
    assert "results.parquet: 6 rows: 1 match, 2 no match, 0 undecided, 3 failed\nwhy a row failed" in printed
    rows = rows_of(out)
    assert [row["row"] for row in rows] == list(range(6))
    assert [row["case"] for row in rows] == ["one, same", "two", "three", "four", "five", "six"]
    assert [row["verdict"] for row in rows] == ["match", "no match", None, None, None, "no match"]
    verifier = Verifier()
    for row in (rows[0], rows[1], rows[5]):
        expected = verifier(tmp_path / row["a"], tmp_path / row["b"]).explanation
        assert row["score"] == pytest.approx(expected.score, abs=1e-5)
        assert row["threshold"] == expected.threshold
        assert row["margin"] == pytest.approx(expected.margin, abs=1e-5)
        assert row["probability"] == pytest.approx(expected.probability, abs=1e-3)
        assert np.dot(row["S"], row["W"]) == pytest.approx(row["score"], abs=1e-5)
        assert row["error"] is None and row["doubt"] is None and row["status"] == "decided"
        assert row["quality_a"] > 0.9 and row["quality_b"] > 0.9
    assert rows[2]["error"].startswith("broken.jpg: ")
    assert "missing.jpg" in rows[3]["error"]
    assert "nobody.png: no face found" in rows[3]["error"]
    assert [row["status"] for row in rows[2:5]] == ["failed"] * 3
    assert rows[4]["error"] == "a photo's name is missing"
    assert all(rows[2][name] is None for name in ("score", "margin", "probability", "S", "W"))
    metadata = json.loads(pq.ParquetFile(out).schema_arrow.metadata[b"whyface"])
    assert len(metadata["model_sha256"]) == 64
    assert metadata["versions"]["whyface"]
    assert not (tmp_path / "results.parquet.parts").exists()


@pytest.mark.parametrize(("which", "count"), [("all", 15), ("genuine", 6)])
def test_a_folder(noise: Path, tmp_path: Path, which: Any, count: int) -> None:
    source = open_pair_source(noise, pairs=which)
    assert source.count() == count
    report = run_batch(source, ALIGNED, tmp_path / "r.parquet", chunk=4)
    rows = rows_of(tmp_path / "r.parquet")
    assert (report.rows, report.errors, len(rows)) == (count, 0, count)
    assert len({(row["a"], row["b"]) for row in rows}) == count
    assert all(row["a"] < row["b"] for row in rows)
    if which == "genuine":
        assert all(row["a"].split("/")[0] == row["b"].split("/")[0] for row in rows)


def test_a_folder_of_scans(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TIFF is compared like any other photo; what is no photo is counted, and hidden files are not touched."""
    for path in list((noise / "ann").iterdir()):
        path.rename(path.with_suffix(".tif"))
    (noise / "bob" / "._1.png").write_bytes(b"x")
    (noise / "bob" / "notes.txt").write_bytes(b"x")
    out = tmp_path / "r.parquet"
    code, printed, _ = run(
        monkeypatch, capsys, str(noise), "--pairs", "genuine", "--aligned", "--out", str(out), "--threads", "1"
    )
    assert (code, len(rows_of(out))) == (0, 6)
    first, *rest = printed.splitlines()
    # Noise is nobody's face.
    assert first == f"{out}: 6 rows: 0 matches, 0 no match, 6 undecided, none failed"
    assert "Skipped, not photos: 1 ending in .txt" in rest


def test_poor_photos_are_undecided_unless_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "anybody"
    folder.mkdir(parents=True)
    for fault in ("good", "blurred", "dark"):
        poor_photo(folder, "obama-portrait", fault)
    source = open_pair_source(folder.parent, pairs="genuine")
    settings = ComparerSettings("xcos-mobilefacenet", maps=True)
    report = run_batch(source, settings, tmp_path / "strict.parquet", threads=1)
    assert (report.undecided, report.errors, report.rows) == (3, 0, 3)
    for row in rows_of(tmp_path / "strict.parquet"):
        assert row["verdict"] == row["status"] == "undecided" and "too " in row["doubt"]
        assert all(row[name] is None for name in ("score", "margin", "probability", "S", "W", "error"))
        assert min(row["quality_a"], row["quality_b"]) < 0.5
    report = run_batch(source, replace(settings, accept_poor=True), tmp_path / "all.parquet", threads=1)
    assert (report.undecided, report.matches + report.non_matches) == (0, 3)
    for row in rows_of(tmp_path / "all.parquet"):
        assert row["status"] == "accepted" and row["score"] is not None and row["S"] is not None
        assert row["probability"] is None and "too " in row["doubt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b,who\nx.png,y.png,Jürgen\n".encode("latin-1"), "not in UTF-8; save it as CSV UTF-8"),
        ("a,b,Größe\nx.png,y.png,1\n".encode("latin-1"), "not in UTF-8"),
        (b'a,b,note\nx.png,y.png,"' + b"x" * 200_000, "not a CSV file (field larger"),
        (b"a,b,case,case\nx.png,y.png,1,2\n", "two columns are called 'case'"),
        (b"a,b,a\nx.png,y.png,1\n", "two columns are called 'a'"),
        (b"a,b\n" + 3000 * b"x.png,y.png\n" + b"J\xfcrgen,y.png\n", "not in UTF-8"),
        ("a,b\nx.png,y.png\n".encode("utf-16"), "not in UTF-8; save it as CSV UTF-8"),
        ("a,b\nx.png,y.png\n".encode("utf-16-le"), "must name the columns a and b"),
    ],
)
def test_tables_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "pairs.csv").write_bytes(content)
    code, out, err = run(monkeypatch, capsys, str(tmp_path / "pairs.csv"), "--out", str(tmp_path / "r.parquet"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    # Parts would refuse the corrected list.
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


def test_a_folder_with_a_name_that_is_no_text(noise: Path, tmp_path: Path) -> None:
    (noise / "ann" / "1.png").rename(noise / "ann" / os.fsdecode(b"caf\xe9.png"))
    source = open_pair_source(noise, pairs="genuine")
    assert run_batch(source, ALIGNED, tmp_path / "r.parquet").rows == 4
    assert source.passed_over() == "Skipped, not photos: 1 with a name that is not in UTF-8"


def test_a_folder_within_a_person_s_folder_hides_no_pair(noise: Path) -> None:
    """Sorted by name, ann/2/... lies between ann/1.png and ann/3.png."""
    (noise / "ann" / "2").mkdir()
    (noise / "ann" / "2.png").rename(noise / "ann" / "2" / "old.png")
    source = open_pair_source(noise, pairs="genuine")
    found = [(pair.a, pair.b) for pair in source]
    assert found == [
        ("ann/1.png", "ann/3.png"),
        ("bob/1.png", "bob/2.png"),
        ("bob/1.png", "bob/3.png"),
        ("bob/2.png", "bob/3.png"),
    ]
    assert source.count() == 4
    assert [pair.row for pair in source] == list(range(4))


def test_a_batch_that_another_process_writes_is_refused(noise: Path, tmp_path: Path) -> None:
    source, out = open_pair_source(noise), tmp_path / "r.parquet"
    parts = tmp_path / "r.parquet.parts"
    parts.mkdir()
    lock = take_lock(parts)
    with pytest.raises(OutputError, match="another process is writing to this batch"):
        run_batch(source, ALIGNED, out, chunk=4)
    lock.release()
    assert run_batch(source, ALIGNED, out, chunk=4).rows == 15
    assert not parts.exists()


def test_a_stopped_run_goes_on(noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows as without a stop, and what was done is not done again."""
    source = open_pair_source(noise)
    run_batch(source, ALIGNED, tmp_path / "whole.parquet", chunk=4)
    compared: list[int] = []
    plain = Comparer.__call__

    def failing(self: Comparer, pairs: list[PhotoPair]) -> list[PairResult]:
        if len(compared) == 2:
            raise KeyboardInterrupt
        compared.append(pairs[0].row)
        return plain(self, pairs)

    monkeypatch.setattr(Comparer, "__call__", failing)
    with pytest.raises(KeyboardInterrupt):
        run_batch(source, ALIGNED, tmp_path / "r.parquet", chunk=4)
    assert not (tmp_path / "r.parquet").exists()
    compared.clear()
    compared.append(-1)

    def counting(self: Comparer, pairs: list[PhotoPair]) -> list[PairResult]:
        compared.append(pairs[0].row)
        return plain(self, pairs)

    monkeypatch.setattr(Comparer, "__call__", counting)
    report = run_batch(source, ALIGNED, tmp_path / "r.parquet", chunk=4)
    assert (report.rows, report.resumed, compared) == (15, 8, [-1, 8, 12])
    for one, other in zip(rows_of(tmp_path / "whole.parquet"), rows_of(tmp_path / "r.parquet"), strict=True):
        assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-6)
        assert one.pop("margin") == pytest.approx(other.pop("margin"), abs=1e-6)
        assert one.pop("probability") == pytest.approx(other.pop("probability"), abs=1e-4)
        assert one == other


def test_killed_hard(noise: Path, tmp_path: Path) -> None:
    """A process killed with SIGKILL loses at most the chunk that it was working on."""
    table = tmp_path / "many.csv"
    names = sorted(path.relative_to(noise).as_posix() for path in noise.rglob("*.png"))
    pairs = [f"{names[i % 6]},{names[(i * 5 + 1) % 6]}" for i in range(3000)]
    table.write_text("a,b\n" + "\n".join(pairs) + "\n")
    out = tmp_path / "r.parquet"
    command = [
        sys.executable,
        "-m",
        "whyface",
        "batch",
        str(table),
        "--data",
        str(noise),
        "--model",
        ALIGNED.model,
        "--aligned",
        "--accept-poor",
        "--out",
        str(out),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("r.parquet.parts/part-*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
    report = run_batch(open_pair_source(table, folder=noise), ALIGNED, out)
    rows = rows_of(out)
    assert [row["row"] for row in rows] == list(range(3000))
    assert [f"{row['a']},{row['b']}" for row in rows] == pairs
    assert report.resumed >= CHUNK
    assert report.resumed % CHUNK == 0 or report.resumed == 3000


def test_a_damaged_part_is_made_again(noise: Path, tmp_path: Path) -> None:
    source, out = open_pair_source(noise), tmp_path / "r.parquet"
    original = __import__("whyface.batch.run", fromlist=["ResultParts"]).ResultParts.merge

    def merge_later(self: Any, *arguments: Any) -> tuple[int, int]:
        next(self.folder.glob("part-00001.*")).write_bytes(b"PAR1 not")
        result: tuple[int, int] = original(self, *arguments)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whyface.batch.run.ResultParts.merge", merge_later)
        with pytest.raises(DataError, match="run the same command again"):
            run_batch(source, ALIGNED, out, chunk=4)
    report = run_batch(source, ALIGNED, out, chunk=4)
    assert (report.rows, report.resumed) == (15, 11)


def stopped_before_merging(source: PairSource, out: Path, **options: Any) -> Path:
    """Leave the parts of a whole batch, and no result."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whyface.batch.run.ResultParts.merge", stop)
        with pytest.raises(KeyboardInterrupt):
            run_batch(source, ALIGNED, out, **options)
    return parts_folder(out)


def test_a_part_with_a_flipped_bit_is_done_again_in_the_same_run(noise: Path, tmp_path: Path) -> None:
    source, out = open_pair_source(noise), tmp_path / "r.parquet"
    run_batch(source, ALIGNED, tmp_path / "whole.parquet", chunk=4)
    part = next(stopped_before_merging(source, out, chunk=4).glob("part-00002.*"))
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    report = run_batch(source, ALIGNED, out, chunk=4)
    assert (report.rows, report.resumed) == (15, 11)
    whole, again = ([row["score"] for row in rows_of(tmp_path / name)] for name in ("whole.parquet", "r.parquet"))
    np.testing.assert_allclose(whole, again, atol=1e-6)


@pytest.mark.parametrize("left", ["all", "half", "settings", "nothing"])
def test_killed_after_the_result_was_there(noise: Path, tmp_path: Path, left: str) -> None:
    """What is left of the parts goes, whatever it is; the result stays as it was."""
    source, out = open_pair_source(noise), tmp_path / "r.parquet"
    folder = stopped_before_merging(source, out, chunk=4)
    shutil.copytree(folder, tmp_path / "copy")
    run_batch(source, ALIGNED, out, chunk=4)
    before = out.read_bytes()
    (tmp_path / "copy").rename(folder)
    for path in sorted(folder.glob("part-*"))[{"all": 4, "half": 2}.get(left, 0) :]:
        path.unlink()
    if left == "nothing":
        (folder / "settings.json").unlink()
    report = run_batch(source, ALIGNED, out, chunk=4)
    assert (report.rows, report.errors, report.resumed) == (15, 0, 15)
    assert not folder.exists()
    assert out.read_bytes() == before
    with pytest.raises(OutputError, match="exists already"):
        run_batch(source, ALIGNED, out, chunk=4)


@pytest.mark.parametrize("content", [b"", b"PAR1 no result", None])
def test_something_else_in_the_place_of_the_result(noise: Path, tmp_path: Path, content: bytes | None) -> None:
    """With parts beside it, it is taken for this batch's result only if it says so."""
    source, out = open_pair_source(noise), tmp_path / "r.parquet"
    folder = stopped_before_merging(source, out)
    if content is None:
        run_batch(open_pair_source(noise, pairs="genuine"), ALIGNED, tmp_path / "other.parquet")
        content = (tmp_path / "other.parquet").read_bytes()
    out.write_bytes(content)
    with pytest.raises(OutputError, match="exists already"):
        run_batch(source, ALIGNED, out)
    assert out.read_bytes() == content
    assert len(list(folder.glob("part-*"))) == 1


def test_parts_go_only_when_the_result_is_on_the_disk(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the steps is what is tested: a power cut may undo whatever was not synced."""
    source, out = open_pair_source(noise), tmp_path / "r.parquet"
    stopped_before_merging(source, out)
    steps: list[str] = []
    sync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def watched_sync(descriptor: int) -> None:
        steps.append(f"sync the {'folder' if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 'file'}")
        sync(descriptor)

    def watched_replace(self: Path, other: Path) -> Path:
        steps.append(f"rename to {other.name}")
        return replace(self, other)

    def watched_unlink(self: Path, missing_ok: bool = False) -> None:
        steps.append(f"remove {self.name[:10]}")
        unlink(self, missing_ok)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    monkeypatch.setattr(Path, "unlink", watched_unlink)
    run_batch(source, ALIGNED, out)
    assert steps == ["sync the file", "rename to r.parquet", "sync the folder", "remove part-00000"]


def test_a_network_without_grid(noise: Path, tmp_path: Path) -> None:
    from helpers.tiny_networks import write_tiny

    network = str(write_tiny(tmp_path / "net.onnx"))
    settings = ComparerSettings(network, threshold=0.5, aligned=True)
    report = run_batch(open_pair_source(noise), settings, tmp_path / "r.parquet")
    assert (report.rows, report.errors) == (15, 0)
    assert all(row["probability"] is None for row in rows_of(tmp_path / "r.parquet"))
    with pytest.raises(InputError, match="no S and W to keep"):
        run_batch(
            open_pair_source(noise), ComparerSettings(network, threshold=0.5, maps=True), tmp_path / "other.parquet"
        )


def test_other_settings_do_not_go_on(noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = open_pair_source(noise), tmp_path / "r.parquet"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("whyface.batch.run.ResultParts.merge", stop)
        with pytest.raises(KeyboardInterrupt):
            run_batch(source, ALIGNED, out)
    with pytest.raises(DataError, match="results of other settings"):
        run_batch(source, ComparerSettings("xcos-mobilefacenet", aligned=True, attention="u"), out)
    assert run_batch(source, ALIGNED, out).resumed == 15
    with pytest.raises(OutputError, match="exists already"):
        run_batch(source, ALIGNED, out)


def test_parts_of_other_photos_do_not_go_on(noise: Path, tmp_path: Path) -> None:
    """As many photos, but others: pairs would be lost and doubled."""
    before = open_pair_source(noise).describe()
    shutil.copytree(noise, tmp_path / "elsewhere")
    assert open_pair_source(tmp_path / "elsewhere").describe() != before
    (noise / "ann" / "1.png").rename(noise / "ann" / "4.png")
    assert open_pair_source(noise).describe() != before
    table = tmp_path / "pairs.csv"
    table.write_text("a,b\nann/2.png,bob/1.png\n")
    here, there = (open_pair_source(table, folder=folder) for folder in (noise, tmp_path / "elsewhere"))
    assert here.describe() != there.describe()
    assert here.describe() == open_pair_source(table, folder=noise).describe()


def test_few_photos_are_read_once(noise: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import whyface.batch.comparer as module

    read: list[str] = []
    plain = load_face

    def counting(path: Path, **options: Any) -> Any:
        read.append(path.name)
        return plain(path, **options)

    monkeypatch.setattr(module, "load_face", counting)
    comparer = Comparer(ALIGNED, noise)
    comparer(list(open_pair_source(noise)))
    comparer(list(open_pair_source(noise)))
    assert len(read) == 6
    monkeypatch.setattr(module, "KEPT", 2)
    comparer(list(open_pair_source(noise)))
    assert len(comparer._kept) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file or folder"),
        ("", "must name the columns a and b"),
        ("left,right\nx,y\n", "it lacks 'a'"),
        ("a,b\n", "holds no pairs"),
        ("a,b,score\nx,y,1\n", "'score' would hide a result"),
        ("a,b,status\nx,y,1\n", "'status' would hide a result"),
    ],
)
def test_bad_lists(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    text: str | None,
    message: str,
) -> None:
    table = tmp_path / "pairs.csv"
    if text is not None:
        table.write_text(text)
    code, out, err = run(monkeypatch, capsys, str(table), "--out", str(tmp_path / "r.parquet"))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_bad_folders_and_outputs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, noise: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((str(tmp_path / "empty"), "--out", str(tmp_path / "r.parquet")), "no two photos to compare"),
        ((str(noise), "--out", str(tmp_path / "no" / "r.parquet")), "does not exist"),
        ((str(noise), "--out", str(tmp_path)), "give a file name for the results"),
    ):
        code, out, err = run(monkeypatch, capsys, *arguments)
        assert (code, out) == (2, "")
        assert message in err


def test_a_csv_file_holds_text_that_says_what_the_parquet_file_says(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parquet bytes were written under any name."""
    table = noise / "pairs.csv"
    table.write_text('a,b,case\nann/1.png,ann/2.png,"one, ""Ü"""\nann/1.png,missing.png,\nann/1.png,ann/1.png,=1+1\n')
    for name in ("r.csv", "r.parquet"):
        code, printed, _ = run(
            monkeypatch,
            capsys,
            str(table),
            "--aligned",
            "--accept-poor",
            "--threads",
            "1",
            "--out",
            str(tmp_path / name),
        )
        assert code == 0
        assert "3 rows: 2 matches, 0 no match, 0 undecided, 1 failed" in printed
    data = (tmp_path / "r.csv").read_bytes()
    assert data.startswith(b"row,a,b,case,verdict,score,") and b"PAR1" not in data
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = rows_of(tmp_path / "r.parquet")
    # No spreadsheet may take a text of the list for a formula.
    assert [row.pop("case") for row in rows] == ['one, "Ü"', "", "'=1+1"]
    assert [row.pop("case") for row in expected] == ['one, "Ü"', "", "=1+1"]
    for row, other in zip(rows, expected, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in other.items()}
    about = json.loads((tmp_path / "r.csv.json").read_text(encoding="utf-8"))
    assert about["rows"] == {"match": 2, "failed": 1}
    assert about["csv_file_sha256"] == hashlib.sha256(data).hexdigest()
    assert len(about["model_sha256"]) == 64 and about["versions"]["whyface"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "r.csv", "r.csv.json", "r.parquet"]


@pytest.mark.parametrize("name", ["r.txt", "r", "r.xlsx", "r.csv.gz"])
def test_other_endings_are_refused_before_the_work(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    message = "results are written as CSV or Parquet; end the name in .csv or .parquet"
    # Nothing is opened, not even the model.
    arguments = (str(noise), "--model", "unknown", "--out", str(tmp_path / name))
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    with pytest.raises(InputError, match=message):
        run_batch(open_pair_source(noise), ALIGNED, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_csv_has_no_cells_for_maps_and_does_not_replace_files(noise: Path, tmp_path: Path) -> None:
    source, out = open_pair_source(noise), tmp_path / "R.CSV"
    with pytest.raises(InputError, match="do not fit into the cells of a CSV file"):
        run_batch(source, replace(ALIGNED, maps=True), out)
    for path in (tmp_path / "R.CSV.json", out):
        path.write_text("{}")
        with pytest.raises(OutputError, match=f"{path.name}: exists already"):
            run_batch(source, ALIGNED, out)
        path.unlink()


@pytest.mark.parametrize("left", ["all", "nothing"])
def test_a_csv_that_was_killed_after_the_result_was_there(noise: Path, tmp_path: Path, left: str) -> None:
    source, out = open_pair_source(noise), tmp_path / "r.csv"
    folder = stopped_before_merging(source, out, chunk=4)
    shutil.copytree(folder, tmp_path / "copy")
    report = run_batch(source, ALIGNED, out, chunk=4)
    before = out.read_bytes()
    (tmp_path / "copy").rename(folder)
    if left == "nothing":
        for path in folder.iterdir():
            path.unlink()
    again = run_batch(source, ALIGNED, out, chunk=4)
    assert again == replace(report, resumed=15)
    assert out.read_bytes() == before and not folder.exists()
    # Changed by somebody, it is no longer the batch's result.
    folder.mkdir()
    out.write_bytes(before + b"x")
    with pytest.raises(OutputError, match="exists already"):
        run_batch(source, ALIGNED, out, chunk=4)
