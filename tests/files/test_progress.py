"""What long runs say about themselves where nobody watches a terminal, and how times are written."""

from __future__ import annotations

import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from whyface.files.progress import duration_text, progress_bar


def test_a_log_gets_a_line_a_minute() -> None:
    out = io.StringIO()
    times = iter([0.0, 59.0, 60.0, 90.0, 121.0])
    with progress_bar("comparing", console=Console(file=out), clock=lambda: next(times)) as report:
        report(1, 6000)
        assert out.getvalue() == ""
        report(1500, 6000)
        assert out.getvalue() == "comparing: 1,500 of 6,000, about 3 min left\n"
        report(2000, 6000)
        report(6000, 6000)
    assert out.getvalue().splitlines()[1:] == ["comparing: 6,000 of 6,000"]


def test_a_line_holds_what_it_is_called_whatever_that_is() -> None:
    out = io.StringIO()
    times = iter([0.0, 60.0])
    name = "[bold]a folder[/x] " + 30 * "long "
    with progress_bar(name, console=Console(file=out, width=40), clock=lambda: next(times)) as report:
        report(0, 5)
    assert out.getvalue() == f"{name}: 0 of 5\n"


def test_a_step_that_takes_long_is_not_silent() -> None:
    out = io.StringIO()
    with progress_bar("resampling", console=Console(file=out), every=0.01):
        for _ in range(1000):
            if out.getvalue():
                break
            time.sleep(0.01)
    assert out.getvalue().startswith("resampling: ")
    assert " ms so far\n" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0042, "4.2 ms"),
        (0.0311, "31 ms"),
        (0.99, "990 ms"),
        (0.9999, "1.0 s"),
        (4.21, "4.2 s"),
        (42.4, "42 s"),
        (59.7, "1 min"),
        (220, "3 min 40 s"),
        (3600, "1 h"),
        (7510, "2 h 5 min"),
    ],
)
def test_times_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.floats(0, 1e6))
def test_no_time_is_written_with_an_exponent_or_sixty_of_anything(seconds: float) -> None:
    text = duration_text(seconds)
    assert "e" not in text
    assert "60 s" not in text
    assert "60 min" not in text
    assert not text.startswith("1000 ms")
