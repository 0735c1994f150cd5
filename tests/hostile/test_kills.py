"""Kill at seeded random moments what writes results, then let it go on: nothing acknowledged is lost, nothing blocks.

python -m pytest -m slow tests/hostile/test_kills.py
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="needs the extra evaluate")
pytest.importorskip("yaml", reason="needs the extra train")

from helpers.face_folders import write_config, write_faces
from helpers.gallery_models import TinyGrids, faces
from helpers.toy_bench import Pictures, ProductMethod, subject_of
from whyface.batch.comparer import ComparerSettings
from whyface.batch.pair_source import open_pair_source
from whyface.batch.run import run_batch
from whyface.bench.planted import ErasureTest, ReplacementTest
from whyface.bench.run import run_bench
from whyface.files.integrity import TEMPORARY
from whyface.files.parts import open_folder, parquet_modules, read_results
from whyface.gallery.gallery import Gallery

pytestmark = pytest.mark.slow

KILLS: Final = int(os.environ.get("KILLS", "20"))
SEED: Final = int(os.environ.get("SEED", "0"))
MODEL: Final = TinyGrids()
FACES: Final = 60

Job = Callable[[Path], None]


def fill_gallery(folder: Path) -> None:
    """Add faces, two at a time, and say of each that it is there."""
    with (folder / "acknowledged").open("ab", buffering=0) as said:
        path = folder / "g"
        gallery = Gallery.open(path, MODEL, writable=True) if path.is_dir() else Gallery.create(path, MODEL)
        with gallery:
            for start in range(gallery.promised, FACES, 2):
                pictures = np.concatenate([faces(1, seed=number) for number in (start, start + 1)])
                gallery.add(MODEL.embed(pictures), [f"number {start}", f"number {start + 1}"], "s")
                said.write(f"{start}\n{start + 1}\n".encode())


def check_gallery(folder: Path) -> None:
    """Whatever was said to be there is there, under its name."""
    said = folder / "acknowledged"
    numbers = [int(line) for line in said.read_text().split()] if said.exists() else []
    if not numbers:
        return
    with Gallery.open(folder / "g", MODEL) as gallery:
        assert gallery.check() == set()
        labels = dict(gallery.labels())
        assert all(labels[number] == f"number {number}" for number in numbers)
        ((best,),) = gallery.search(MODEL.embed(faces(1, seed=numbers[-1])), k=1, threads=1)
        assert best.record == numbers[-1]


def gallery_result(folder: Path) -> Any:
    with Gallery.open(folder / "g", MODEL) as gallery:
        return [dict(gallery.labels()), (folder / "g" / "features.bin").read_bytes()]


def compare_batch(folder: Path) -> None:
    photos = folder / "photos"
    if not photos.is_dir():
        made = folder / "being made"
        made.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        for number in range(8):
            Image.fromarray(rng.integers(0, 256, (112, 112, 3), np.uint8)).save(made / f"{number}.png")
        (made / "pairs.csv").write_text("a,b\n" + "".join(f"{n % 8}.png,{(n * 5 + 1) % 8}.png\n" for n in range(600)))
        made.rename(photos)
    settings = ComparerSettings("xcos-mobilefacenet", aligned=True, accept_poor=True)
    if not (folder / "r.parquet").exists() or (folder / "r.parquet.parts").exists():
        run_batch(open_pair_source(photos / "pairs.csv"), settings, folder / "r.parquet", chunk=8, threads=1)


def batch_result(folder: Path) -> Any:
    assert {path.name for path in folder.iterdir()} == {"photos", "r.parquet"}
    _, parquet = parquet_modules()
    return parquet.ParquetFile(folder / "r.parquet").read().to_pydict()


def measure_bench(folder: Path) -> None:
    pictures = Pictures()
    open_folder(folder / "run", {"seed": 1})
    tests = [ReplacementTest(), ErasureTest()]
    subject = subject_of(ProductMethod)
    run_bench(subject, tests, pictures.protocol(), pictures, np.arange(8), folder / "run", seed=1, chunk_size=1)


def bench_result(folder: Path) -> Any:
    table = read_results(folder / "run")
    keep = table.test != "cost"
    return [getattr(table, name)[keep].tolist() for name in ("test", "measure", "pair", "step", "value")]


def train_network(folder: Path) -> None:
    pytest.importorskip("lightning_fabric")
    from whyface.train.config import read_config
    from whyface.train.trainer import train

    if not (folder / "run.yaml").exists():
        write_faces(folder / "faces", {"a": 3, "b": 2, "c": 2, "d": 3, "e": 1})
        write_config(folder / "being made", folder / "faces", steps=6, save_every=1).rename(folder / "run.yaml")
    (folder / "out").mkdir(exist_ok=True)
    if not (folder / "out" / "network.safetensors").exists():
        train(read_config(folder / "run.yaml"), folder / "out")


def train_result(folder: Path) -> Any:
    from safetensors.numpy import load_file

    assert not list((folder / "out").glob(f"*{TEMPORARY}"))
    found = load_file(folder / "out" / "network.safetensors")
    return {name: values.tobytes() for name, values in found.items()}


def nothing(_: Path) -> None:
    pass


JOBS: Final[dict[str, tuple[Job, Callable[[Path], Any], Job]]] = {
    "gallery": (fill_gallery, gallery_result, check_gallery),
    "batch": (compare_batch, batch_result, nothing),
    "bench": (measure_bench, bench_result, nothing),
    "train": (train_network, train_result, nothing),
}


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_any_moment(tmp_path: Path, name: str) -> None:
    """The result is that of a run that nobody disturbed."""
    job, result, check = JOBS[name]
    context = multiprocessing.get_context("forkserver")
    # Imports take longer than the work, and are done once, in the server.
    context.set_forkserver_preload([__name__, *(["whyface.train.trainer"] if name == "train" else [])])
    rng = np.random.default_rng([SEED, len(name)])

    def start(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        process = context.Process(target=job, args=(folder,))
        process.start()
        return process

    start(tmp_path / "warm").join()
    began = time.monotonic()
    whole = start(tmp_path / "whole")
    whole.join()
    duration = time.monotonic() - began
    assert whole.exitcode == 0
    expected = result(tmp_path / "whole")
    kills = runs = 0
    while kills < KILLS:
        folder = tmp_path / str(runs)
        process = start(folder)
        process.join(float(rng.uniform(0, duration)))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        check(folder)
        if process.exitcode == 0:
            assert result(folder) == expected
            runs += 1
        else:
            assert process.exitcode == -9
    last = start(tmp_path / str(runs))
    last.join()
    assert last.exitcode == 0
    check(tmp_path / str(runs))
    assert result(tmp_path / str(runs)) == expected
    print(f"{name}: {kills} kills, {runs + 1} runs finished, {duration:.1f} s each")
