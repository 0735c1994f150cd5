"""Which vector database selects faces best? LanceDB and PostgreSQL with pgvector, beside one matrix product.

    python benchmarks/vector_databases.py --faces 20000 --out docs/studies/benchmarks/vector-databases.json

Generated unit vectors of 1,568 numbers, ten to a person; 20 probes ask for 100 faces each. Recall is the share of the
ten best that are among them. Needs ``lancedb``, ``pgserver``, ``psycopg[binary]`` and ``pgvector``; starts a server.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from records import publish
from whyface.explain.verdict import software_versions
from whyface.onnx_runtime import usable_cores

WIDTH, WANTED, BEST, PROBES = 1568, 100, 10, 20

Search = Callable[[NDArray[np.float32]], list[int]]


def made_up(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return unit vectors of ten faces a person, and one more face of each of the first people."""
    rng = np.random.default_rng(seed)
    people = rng.standard_normal((count // 10, WIDTH), dtype=np.float32)
    faces = np.repeat(people, 10, axis=0) + np.float32(0.8) * rng.standard_normal((len(people) * 10, WIDTH), np.float32)
    probes = people[:PROBES] + np.float32(0.8) * rng.standard_normal((PROBES, WIDTH), np.float32)
    return faces / np.linalg.norm(faces, axis=1, keepdims=True), probes / np.linalg.norm(probes, axis=1, keepdims=True)


def size_of(folder: Path) -> float:
    """Return the megabytes of a folder."""
    return round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6, 1)


def measured(search: Search, faces: NDArray[np.float32], probes: NDArray[np.float32]) -> dict[str, float]:
    """Return milliseconds a probe, and recall."""
    best = np.argsort(-(probes @ faces.T), axis=1)[:, :BEST]
    search(probes[0])
    start = time.perf_counter()
    found = [search(probe) for probe in probes]
    taken = time.perf_counter() - start
    recall = float(np.mean([len(set(one) & set(row.tolist())) / BEST for one, row in zip(found, best, strict=True)]))
    return {"milliseconds_a_probe": round(1000 * taken / len(probes), 2), "recall_at_10": round(recall, 4)}


def in_lancedb(folder: Path, faces: NDArray[np.float32], probes: NDArray[np.float32]) -> dict[str, Any]:
    """Measure LanceDB, which compares all vectors."""
    import lancedb  # noqa: PLC0415 - only here
    import pyarrow as pa  # noqa: PLC0415

    start = time.perf_counter()
    rows = {"id": np.arange(len(faces)), "vector": pa.FixedSizeListArray.from_arrays(pa.array(faces.ravel()), WIDTH)}
    table: Any = lancedb.connect(str(folder)).create_table("faces", pa.table(rows))
    result: dict[str, Any] = {"seconds_to_fill": round(time.perf_counter() - start, 2)}

    def search(probe: NDArray[np.float32]) -> list[int]:
        query = table.search(probe).distance_type("dot").select(["id", "_distance"]).limit(WANTED)
        return [int(number) for number in query.to_arrow()["id"].to_pylist()]

    return result | {"megabytes": size_of(folder), "all compared": measured(search, faces, probes)}


def in_postgresql(folder: Path, faces: NDArray[np.float32], probes: NDArray[np.float32]) -> dict[str, Any]:
    """Measure PostgreSQL, which compares all vectors or searches an HNSW index."""
    import pgserver  # noqa: PLC0415 - only here
    import psycopg  # noqa: PLC0415
    from pgvector.psycopg import register_vector  # noqa: PLC0415

    server = pgserver.get_server(folder)
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as link:
            link.execute("create extension vector")
            register_vector(link)
            start = time.perf_counter()
            link.execute(f"create table faces (id bigint primary key, v vector({WIDTH}))")
            with link.cursor().copy("copy faces from stdin with (format binary)") as copy:
                copy.set_types(["int8", "vector"])
                for number, vector in enumerate(faces):
                    copy.write_row([number, vector])
            result: dict[str, Any] = {"seconds_to_fill": round(time.perf_counter() - start, 2)}
            order = f"select id from faces order by v <#> %s limit {WANTED}"

            def search(probe: NDArray[np.float32]) -> list[int]:
                return [int(row[0]) for row in link.execute(order, (probe,)).fetchall()]

            result |= {"megabytes": size_of(folder), "all compared": measured(search, faces, probes)}
            link.execute("set maintenance_work_mem = '512MB'")
            start = time.perf_counter()
            link.execute("create index on faces using hnsw (v vector_ip_ops)")
            result["seconds_to_index"] = round(time.perf_counter() - start, 1)
            link.execute("set hnsw.ef_search = 200")
            return result | {"megabytes_with_index": size_of(folder), "HNSW": measured(search, faces, probes)}
    finally:
        server.cleanup()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    faces, probes = made_up(args.faces, args.seed)
    results: dict[str, Any] = {
        "matrix product": measured(lambda p: np.argsort(-(faces @ p))[:WANTED].tolist(), faces, probes)
    }
    for name, measure in (("LanceDB", in_lancedb), ("PostgreSQL, pgvector", in_postgresql)):
        folder = Path(tempfile.mkdtemp())
        try:
            results[name] = measure(folder, faces, probes)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    document = {
        "command": f"python benchmarks/vector_databases.py --faces {args.faces} --seed {args.seed}",
        "cores": usable_cores(),
        "faces": len(faces),
        "software": software_versions(),
        "results": results,
    }
    publish(document, args.out)


if __name__ == "__main__":
    main()
