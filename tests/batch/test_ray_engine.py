"""The same batch on a Ray cluster of two workers, one of which is killed half-way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from helpers.command_line import in_process
from whyface.albums.album import FEATURES
from whyface.batch.comparer import ComparerSettings
from whyface.batch.pair_source import open_pair_source
from whyface.batch.run import run_batch
from whyface.demo import demo_photo
from whyface.engines import Engine, RayEngine
from whyface.errors import InputError
from whyface.gallery.feature_file import FILE_NAME
from whyface.models.catalogue import FAST_MODEL

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'whyface[ray]'")

SETTINGS = ComparerSettings("xcos-mobilefacenet", aligned=True)


@pytest.fixture
def cluster() -> Iterator[Any]:
    yield RayEngine
    ray.shutdown()


def write_pairs(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for index in range(8):
        Image.fromarray(rng.integers(0, 256, (112, 112, 3), np.uint8)).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    names = [f"{index}.png" for index in range(8)] + ["broken.png"]
    table = folder / "pairs.csv"
    table.write_text("a,b\n" + "".join(f"{names[i % 9]},{names[i * 7 % 8]}\n" for i in range(count)))
    return table


def own_workers() -> list[int]:
    """Give the process ids of this test's workers; other clusters on the machine are left alone."""
    table = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in table.splitlines()[1:]]
    parents = {int(pid): int(parent) for pid, parent, _ in lines}

    def is_ours(process: int) -> bool:
        while process > 1:
            if process == os.getpid():
                return True
            process = parents.get(process, 0)
        return False

    return [int(pid) for pid, _, command in lines if "ray::_Worker" in command and is_ours(int(pid))]


@pytest.mark.slow
def test_a_worker_is_killed_half_way(cluster: Any, tmp_path: Path) -> None:
    source = open_pair_source(write_pairs(tmp_path, 400))
    run_batch(source, SETTINGS, tmp_path / "here.parquet", chunk=10)
    engine = cluster(2)
    killed: list[int] = []

    def with_a_loss(make: Any, chunks: Any) -> Iterator[tuple[Any, Any]]:
        for number, results in engine(make, chunks):
            yield number, results
            if not killed and number >= 8:
                killed.append(own_workers()[0])
                os.kill(killed[0], signal.SIGKILL)

    report = run_batch(source, SETTINGS, tmp_path / "ray.parquet", chunk=10, engine=cast(Engine, with_a_loss))
    assert len(killed) == 1
    assert (report.rows, report.resumed) == (400, 0)
    here, there = (pq.ParquetFile(tmp_path / f"{name}.parquet").read().to_pylist() for name in ("here", "ray"))
    assert [row["row"] for row in there] == list(range(400))
    for one, other in zip(here, there, strict=True):
        assert (one["a"], one["b"], one["verdict"], one["error"]) == (
            other["a"],
            other["b"],
            other["verdict"],
            other["error"],
        )
        if one["score"] is not None:
            assert one["score"] == pytest.approx(other["score"], abs=1e-6)


@pytest.mark.slow
def test_people_are_enrolled_and_grouped_on_a_cluster(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for person, name in (("ann", "obama-portrait"), ("ann", "obama-speech"), ("bob", "biden-portrait")):
        (tmp_path / "people" / person).mkdir(parents=True, exist_ok=True)
        shutil.copy(demo_photo(f"{name}.jpg"), tmp_path / "people" / person)
    common = ("--model", FAST_MODEL, "--threads", "1", "--workers", "2")
    features = {}
    for engine in ("local", "ray"):
        gallery, album = tmp_path / f"g-{engine}", tmp_path / f"a-{engine}"
        for command in (
            ("gallery", "enroll", str(gallery), str(tmp_path / "people")),
            ("cluster", str(tmp_path / "people"), "--out", str(album)),
        ):
            done = in_process(monkeypatch, capsys, *command, *common, "--engine", engine)
            assert not done.returncode, done.stderr
        features[engine] = [path.read_bytes() for path in (gallery / FILE_NAME, album / FEATURES / FILE_NAME)]
    assert features["ray"] == features["local"]


def test_bad_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="at least one worker"):
        RayEngine(0)

    def nobody(**_: object) -> None:
        raise ConnectionError("nobody answers")

    # Ray itself tries for minutes before it says so.
    monkeypatch.setattr(ray, "init", nobody)
    with pytest.raises(InputError, match=r"no Ray cluster at 127\.0\.0\.1:1 \(nobody answers\)"):
        RayEngine(address="127.0.0.1:1")
