"""Ctrl-C in a run with several processes: status 130, no traceback, no process left, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.command_line import in_process
from helpers.face_folders import write_faces
from whyface.models.catalogue import FAST_MODEL


def children(process: int) -> list[int]:
    found = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(number) for number in found.split()]


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return state.rsplit(")", 1)[1].split()[0] != "Z"


# A process that a script put into the background ignores Ctrl-C, and so do those that it starts.
AS_IN_A_TERMINAL = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("whyface", run_name="__main__")
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the processes of a process are listed under Linux")
@pytest.mark.parametrize("kind", ["enroll", pytest.param("cluster", marks=pytest.mark.slow)])
def test_ctrl_c_with_worker_processes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = write_faces(tmp_path / "people", {f"p{n}": 1 for n in range(100)}), tmp_path / "out"
    start = {
        "enroll": ["gallery", "enroll", str(out), str(photos)],
        "cluster": ["cluster", str(photos), "--out", str(out)],
    }[kind]
    command = [*start, "--aligned", "--accept-poor", "--model", FAST_MODEL]
    running = subprocess.Popen(
        [sys.executable, "-c", AS_IN_A_TERMINAL, *command, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while running.poll() is None and not (workers := children(running.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    # A terminal sends it to every process.
    os.killpg(running.pid, signal.SIGINT)
    _, error = running.communicate(timeout=60)
    assert running.returncode == 130, error
    assert "Traceback" not in error
    assert workers
    # Their pipes are closed a moment before they are gone.
    until = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(is_running, workers))
    assert not list(tmp_path.rglob("*.tmp"))
    again = in_process(monkeypatch, capsys, *command)
    assert again.returncode == 0, again.stderr
