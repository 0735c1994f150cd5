"""The same batch on a Ray cluster of two workers, one of which is killed half-way."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from whyface.batch.comparer import ComparerSettings, PairResult
from whyface.batch.pair_source import open_pair_source
from whyface.batch.run import run_batch
from whyface.errors import InputError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'whyface[ray]'")

SETTINGS = ComparerSettings("xcos-mobilefacenet", aligned=True)


@pytest.fixture
def cluster() -> Iterator[Any]:
    from whyface.batch.ray_engine import RayEngine

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
    engine = cluster(SETTINGS, tmp_path, workers=2)
    killed: list[int] = []

    def with_a_loss(chunks: Any, write: Any) -> None:
        def writing(number: int, results: list[PairResult]) -> None:
            write(number, results)
            if not killed and number >= 8:
                killed.append(own_workers()[0])
                os.kill(killed[0], signal.SIGKILL)

        engine(chunks, writing)

    report = run_batch(source, SETTINGS, tmp_path / "ray.parquet", chunk=10, engine=with_a_loss)
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


def test_bad_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from whyface.batch.ray_engine import RayEngine

    with pytest.raises(InputError, match="at least one worker"):
        RayEngine(SETTINGS, tmp_path, workers=0)

    def nobody(**_: object) -> None:
        raise ConnectionError("nobody answers")

    # Ray itself tries for minutes before it says so.
    monkeypatch.setattr(ray, "init", nobody)
    with pytest.raises(InputError, match=r"no Ray cluster at 127\.0\.0\.1:1 \(nobody answers\)"):
        RayEngine(SETTINGS, tmp_path, address="127.0.0.1:1")
