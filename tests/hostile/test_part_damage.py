"""Parts of batches and benchmarks with any one bit flipped: told, and done again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="needs the extra evaluate")

from helpers.toy_bench import Pictures, ProductMethod, subject_of
from whyface.batch.comparer import PairResult
from whyface.batch.pair_source import PhotoPair
from whyface.batch.run import ResultParts
from whyface.bench.planted import ErasureTest
from whyface.bench.run import run_bench
from whyface.errors import DataError, WhyfaceError
from whyface.files.parts import SETTINGS, Parts, open_folder, read_results

FLIPS = 300


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def bits(data: bytes, seed: int) -> list[int]:
    count = min(FLIPS, 8 * len(data))
    return [int(bit) for bit in np.random.default_rng(seed).choice(8 * len(data), count, replace=False)]


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    measure(tmp_path / "bench")
    return tmp_path / "bench"


def measure(folder: Path) -> None:
    pictures = Pictures()
    open_folder(folder, {"seed": 1, "pairs": 4}, growing="pairs", step=2)
    numbers = np.arange(4)
    subject = subject_of(ProductMethod)
    run_bench(subject, [ErasureTest()], pictures.protocol(), pictures, numbers, folder, seed=1, chunk_size=2)


@pytest.fixture
def batch(tmp_path: Path) -> Path:
    parts = ResultParts(tmp_path / "r.parquet", {"chunk": 2}, threshold=0.3, columns=("note",), maps=0)
    for number in range(2):
        pairs = [PhotoPair(2 * number + n, "a.png", "b.png", {"note": "x"}) for n in range(2)]
        parts.write(number, [PairResult(pair, 0.5, "match", 0.9) for pair in pairs])
    return parts.folder


@pytest.mark.parametrize("kind", ["bench", "batch"])
def test_no_flipped_bit_is_read(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    path = Parts(folder).path(1)
    assert path is not None
    data = path.read_bytes()
    for bit in bits(data, seed=6):
        path.write_bytes(flipped(data, bit))
        with pytest.raises(DataError, match=r"damaged; run the same command again") as told:
            Parts(folder).read(1)
        assert "\n" not in str(told.value)
    # Whoever goes on does it again.
    parts = Parts(folder)
    assert parts.has(0)
    assert not parts.has(1)
    assert not path.exists()
    parts.write(1, data)
    assert Parts(folder).read(1) == data


def test_damaged_parts_of_a_benchmark_are_done_again(bench: Path) -> None:
    whole = read_results(bench)
    rng = np.random.default_rng(7)
    for _ in range(5):
        path = Parts(bench).path(int(rng.integers(2)))
        assert path is not None
        data = path.read_bytes()
        path.write_bytes(flipped(data, int(rng.integers(8 * len(data)))))
        with pytest.raises(DataError, match="damaged"):
            read_results(bench)
        measure(bench)
        again = read_results(bench)
        keep = [table.test != "cost" for table in (whole, again)]
        assert whole.value[keep[0]].tolist() == again.value[keep[1]].tolist()


def test_no_flipped_bit_in_the_settings_goes_unnoticed(bench: Path) -> None:
    """One line that says so; or the same settings, as spaces may differ; or fewer pairs, which only adds to a run."""
    path = bench / SETTINGS
    data = path.read_bytes()
    settings = json.loads(data)
    noticed = 0
    for bit in range(8 * len(data)):
        path.write_bytes(flipped(data, bit))
        for use in (lambda: open_folder(bench, settings, growing="pairs", step=2), lambda: read_results(bench)):
            try:
                use()
            except WhyfaceError as error:
                noticed += 1
                assert "\n" not in str(error)
        found = json.loads(path.read_bytes()) if path.read_bytes() == data else None
        assert found in (None, settings)
    assert noticed > 8 * len(data)


@pytest.mark.parametrize("text", [b"\xff", b"[" * 100_000, b"9" * 5000, b"[]", b"null", b""])
def test_settings_that_are_none(bench: Path, text: bytes) -> None:
    (bench / SETTINGS).write_bytes(text)
    with pytest.raises(WhyfaceError):
        open_folder(bench, {"seed": 1, "pairs": 8}, growing="pairs", step=2)
    with pytest.raises(WhyfaceError):
        read_results(bench)
