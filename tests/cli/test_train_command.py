"""The train command: prints presets, and every mistake ends in one line and status 2."""

import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "whyface", "train", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_preset_can_be_printed_and_used(tmp_path: Path) -> None:
    printed = run("--print-config", "paper")
    assert printed.returncode == 0
    path = tmp_path / "run.yaml"
    path.write_text(printed.stdout, encoding="utf-8")
    found = run(str(path), "--out", str(tmp_path / "out"))
    # The preset names a folder that is not there: it was read, and that is what stops it.
    assert found.returncode == 2
    assert "faces" in found.stderr
    assert found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [("learning_rate: 1", "unknown key 'learning_rate'"), ("data: {sources: []}", "data.sources"), ("[", "YAML")],
)
def test_mistakes(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    found = run(str(path), "--out", str(tmp_path / "out"))
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stderr.count("\n") == 1


def test_no_configuration() -> None:
    found = run()
    assert found.returncode == 2
    assert "give the run's configuration" in found.stderr
