"""The command line, called as a user calls it but in the tests' own process."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from whyface.cli import main


def run_whyface(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Run a command; return exit status, standard output and standard error."""
    monkeypatch.setattr(sys, "argv", ["whyface", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def assert_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str, *arguments: str
) -> None:
    """Assert that a command ends with status 2 and one line on standard error that says this."""
    code, out, err = run_whyface(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("whyface: ")
    assert err.count("\n") == 1
    assert message in err


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> Ended:
    """Run a command as :func:`run_whyface` does, with the result named as a child process's is."""
    return Ended(*run_whyface(monkeypatch, capsys, *arguments))
