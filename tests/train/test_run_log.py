"""A run's log: one line a step, however often the run was cut off."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from whyface.train.run_log import EVERY, RunLog
from whyface.train.trainer import LOG, Report


def logged(folder: Path, steps: range) -> None:
    with RunLog(folder, Console(quiet=True)) as log:
        for step in steps:
            log.report(Report(step, 1000, {"total": float(steps.start), "pictures_per_s": 1.0}))


def lines(folder: Path) -> list[tuple[int, float]]:
    documents = map(json.loads, (folder / LOG).read_text(encoding="utf-8").splitlines())
    return [(document["step"], document["total"]) for document in documents]


def test_steps_that_are_done_again_are_logged_once(tmp_path: Path) -> None:
    """The last checkpoint was at step 25, the run was killed at step 43."""
    logged(tmp_path, range(1, 44))
    logged(tmp_path, range(26, 61))
    assert lines(tmp_path) == [(10, 1), (20, 1), (30, 26), (40, 26), (50, 26), (60, 26)]


def test_the_curves_have_one_value_a_step(tmp_path: Path) -> None:
    logged(tmp_path, range(1, 44))
    logged(tmp_path, range(26, 51))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        curves = reading.EventAccumulator(str(tmp_path / "tensorboard"))
        curves.Reload()
    assert [(event.step, event.value) for event in curves.Scalars("total")] == [
        (10, 1),
        (20, 1),
        (30, 26),
        (40, 26),
        (50, 26),
    ]


def test_a_run_from_the_first_step_has_a_log_of_its_own(tmp_path: Path) -> None:
    logged(tmp_path, range(1, 44))
    logged(tmp_path, range(1, 21))
    assert lines(tmp_path) == [(10, 1), (20, 1)]


@pytest.mark.parametrize("rest", [b'{"step": 20, "tot', b'{"step": 20}', b"[20]\n", b"\xff\xfe\n"])
def test_a_line_that_was_cut_off_goes(tmp_path: Path, rest: bytes) -> None:
    logged(tmp_path, range(1, 11))
    with (tmp_path / LOG).open("ab") as file:
        file.write(rest)
    logged(tmp_path, range(11, 11 + EVERY))
    assert lines(tmp_path) == [(10, 1), (20, 11)]


def test_a_run_that_never_reports_keeps_the_log(tmp_path: Path) -> None:
    logged(tmp_path, range(1, 21))
    before = (tmp_path / LOG).read_bytes()
    logged(tmp_path, range(0))
    assert (tmp_path / LOG).read_bytes() == before
