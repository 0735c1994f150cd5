"""Runs on disk: resumed runs give the same numbers, other settings are refused, summaries are right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.toy_bench import FlatMethod, Pictures, ProductMethod, chunk_of, subject_of
from whyface.bench.base import Remembered
from whyface.bench.merits import area
from whyface.bench.planted import ErasureTest, ReplacementTest
from whyface.bench.run import run_bench
from whyface.bench.summary import differences, paired_differences, summarise_method
from whyface.errors import DataError, OutputError
from whyface.files.parts import Parts, ResultTable, Rows, open_folder, part_bytes, read_results

NUMBERS = np.arange(8)


def run(folder: Path, method: type[ProductMethod] = ProductMethod, **settings: object) -> ResultTable:
    pictures = Pictures()
    open_folder(folder, {"seed": 1, **settings})
    tests = [ReplacementTest(), ErasureTest()]
    run_bench(subject_of(method), tests, pictures.protocol(), pictures, NUMBERS, folder, seed=1, chunk_size=3)
    return read_results(folder)


def part(folder: Path, number: int) -> Path:
    path = Parts(folder).path(number)
    assert path is not None
    return path


def same(one: ResultTable, other: ResultTable) -> bool:
    keep = [table.test != "cost" for table in (one, other)]
    return all(
        np.array_equal(getattr(one, name)[keep[0]], getattr(other, name)[keep[1]])
        for name in ("test", "measure", "pair", "step", "value")
    )


def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "cut")
    part(tmp_path / "cut", 1).unlink()
    kept = part(tmp_path / "cut", 0).stat().st_mtime_ns
    assert same(whole, run(tmp_path / "cut"))
    assert part(tmp_path / "cut", 0).stat().st_mtime_ns == kept


def test_a_damaged_chunk_is_done_again(tmp_path: Path) -> None:
    """One bit is enough; the run reads it before it goes on."""
    whole = run(tmp_path / "run")
    path = part(tmp_path / "run", 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    assert same(whole, run(tmp_path / "run"))
    assert bytes(data) != part(tmp_path / "run", 1).read_bytes()
    assert len(list((tmp_path / "run").iterdir())) == 1 + len(Parts(tmp_path / "run").numbers)


def test_results_from_before_there_were_checksums(tmp_path: Path) -> None:
    whole = run(tmp_path / "run")
    for number in Parts(tmp_path / "run").numbers:
        part(tmp_path / "run", number).rename(tmp_path / "run" / f"part-{number:05d}.parquet")
    assert same(whole, read_results(tmp_path / "run"))
    assert same(whole, run(tmp_path / "run"))


def test_results_whose_settings_are_gone_are_not_taken_for_others(tmp_path: Path) -> None:
    run(tmp_path / "run")
    (tmp_path / "run" / "settings.json").unlink()
    with pytest.raises(DataError, match="not the settings that they were made with"):
        open_folder(tmp_path / "run", {"seed": 2})


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    open_folder(tmp_path / "run", {"seed": 1})
    open_folder(tmp_path / "run", {"seed": 1})
    with pytest.raises(DataError, match="other settings"):
        open_folder(tmp_path / "run", {"seed": 2})


@pytest.mark.parametrize("now", [30, None])
def test_more_pairs_continue_a_run(tmp_path: Path, now: int | None) -> None:
    open_folder(tmp_path, {"seed": 1, "few": 20})
    open_folder(tmp_path, {"seed": 1, "few": now}, growing="few", step=10)
    assert json.loads((tmp_path / "settings.json").read_text()) == {"seed": 1, "few": now}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"few": 20}, {"few": 10}),
        ({"few": 15}, {"few": 30}),
        ({"few": None}, {"few": 30}),
        ({"few": 20, "a": 1}, {"few": 30}),
    ],
)
def test_fewer_pairs_a_file_cut_short_and_other_settings_do_not(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any]
) -> None:
    open_folder(tmp_path, before)
    with pytest.raises(DataError, match="other settings"):
        open_folder(tmp_path, now, growing="few", step=10)
    assert json.loads((tmp_path / "settings.json").read_text()) == before


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputError, match="cannot be used"):
        open_folder(tmp_path / "run", {})


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    run(tmp_path / "run")
    part(tmp_path / "run", 0).write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"part-00000.*: damaged; run the same command again"):
        read_results(tmp_path / "run")


def test_an_empty_folder_has_no_results(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no complete results"):
        read_results(tmp_path)


def test_each_pair_is_explained_once_in_whatever_batches_it_is_asked_for() -> None:
    chunk = chunk_of(Pictures(), [0, 1, 6, 7])
    method = subject_of().method
    explain = Remembered(method)
    whole = explain(chunk.first, chunk.second)
    for rows in ([2], [3, 0], [1, 1, 2]):
        part = explain(chunk.first[rows], chunk.second[rows])
        for name in ("score", "map_a", "map_b"):
            assert np.array_equal(getattr(part, name), getattr(whole, name)[rows])
    assert method.calls == 1  # type: ignore[attr-defined]
    explain(chunk.second, chunk.first)
    assert method.calls == 2  # type: ignore[attr-defined]
    assert explain.cost is not None
    assert explain.cost[2:] == (2, 0)


def test_area_is_the_mean_height() -> None:
    steps = np.array([0.0, 0.5, 1.0])
    assert area(steps, np.array([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.5, 1.0]])).tolist() == [1, 0.5, 0.5]


def table_of(scores: dict[int, list[float]]) -> ResultTable:
    pairs = np.repeat(list(scores), 3)
    steps = np.tile([0.0, 0.5, 1.0], len(scores))
    values = np.concatenate([np.asarray(curve) for curve in scores.values()])
    names = np.full(len(values), "replacement"), np.full(len(values), "score")
    return ResultTable({}, *names, pairs, steps, values)


def test_summary_by_hand() -> None:
    pictures = Pictures()
    # Pairs 0 and 1 are genuine, 6 and 7 are impostors; the threshold is 0.5.
    curves = {0: [0.4, 0.6, 0.6], 1: [0.6, 0.6, 0.6], 6: [0.9, 0.9, 0.1], 7: [0.1, 0.1, 0.1]}
    found = summarise_method(table_of(curves), pictures.protocol(), threshold=0.5, replicates=100)
    assert found.rates == {"FNMR patched": 0.5, "FMR patched": 0.5}
    assert found.curves["replacement"].genuine.tolist() == [0.5, 0, 0]
    assert found.curves["replacement"].impostor.tolist() == [0.5, 0.5, 0]
    # Errors' areas: 0.25 and 0 for the genuine pairs, 0.75 and 0 for the impostors.
    assert found.merits["replacement"].value == pytest.approx((0.125 + 0.375) / 2)
    assert found.pairs == 4


def test_truth_beats_nothing_in_the_summary(tmp_path: Path) -> None:
    protocol = Pictures().protocol()
    exact = summarise_method(run(tmp_path / "a"), protocol, threshold=0.05, replicates=100)
    flat = summarise_method(run(tmp_path / "b", FlatMethod), protocol, threshold=0.05, replicates=100)
    assert exact.merits["deletion"].value < flat.merits["deletion"].value
    interval = exact.merits["deletion"].interval
    assert interval is not None
    assert interval.low <= exact.merits["deletion"].value <= interval.high


def test_rows_of_another_protocol_are_refused() -> None:
    with pytest.raises(DataError, match="do not belong"):
        summarise_method(table_of({99: [0, 0, 0]}), Pictures().protocol(), threshold=0.5)


def test_writing_into_a_missing_folder(tmp_path: Path) -> None:
    empty = Rows("score", np.zeros(1, np.intp), np.zeros(1), np.zeros(1))
    with pytest.raises(OutputError):
        Parts(tmp_path / "none").write(0, part_bytes([("replacement", empty)]))


def test_paired_difference_by_hand() -> None:
    protocol = Pictures().protocol()
    one = table_of({0: [0.4, 0.6, 0.6], 6: [0.9, 0.9, 0.1], 7: [0.1, 0.1, 0.1]})
    other = table_of({0: [0.4, 0.4, 0.4], 6: [0.1, 0.1, 0.1], 1: [0.4, 0.4, 0.4]})
    found = paired_differences(one, other, protocol, ["replacement", "deletion"], threshold=0.5, replicates=100)
    assert set(found) == {"replacement"}
    # Common pairs: 0, genuine, areas 0.25 and 1; 6, an impostor, areas 0.75 and 0.
    assert found["replacement"].value == pytest.approx((-0.75 + 0.75) / 2)


def test_differences_are_opposite_and_against_oneself_not_taken(tmp_path: Path) -> None:
    tables = {"exact": run(tmp_path / "a"), "flat": run(tmp_path / "b", FlatMethod)}
    found = differences(tables, Pictures().protocol(), ("deletion", "deletion blur"), threshold=0.05, replicates=100)
    assert set(found["exact"]) == {"flat"}
    assert set(found["exact"]["flat"]) == {"deletion"}
    assert found["exact"]["flat"]["deletion"].value == pytest.approx(-found["flat"]["exact"]["deletion"].value)
    assert found["exact"]["flat"]["deletion"].value < 0
