"""A progress bar for runs that take a noticeable time, or a line a minute where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

ProgressCallback = Callable[[int, int], None]
"""Called as ``progress(done, total)`` after every step."""


@contextmanager
def progress_bar(
    description: str,
    *,
    console: Console | None = None,
    after: float = 2.0,
    every: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ProgressCallback]:
    """Yield a callback that draws a progress bar once ``after`` seconds have passed.

    Shorter runs print nothing. Without a terminal, as in a log file, a line is written every ``every`` seconds. Both
    show even if the callback is not called, since one step may take long.
    """
    # Imported here because modules that draw nothing need the type of the callbacks.
    from rich import console as consoles  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    where = consoles.Console(stderr=True) if console is None else console
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=where,
        transient=True,
    )
    task = bar.add_task(description, total=None)
    started = said = clock()
    shown = False
    step: tuple[int, int] | None = None
    lock, ended = Lock(), Event()

    def show() -> None:
        nonlocal shown, said
        now = clock()
        if not where.is_terminal:
            # The bar is not even started: Rich before 13.8 ends each with an empty line.
            if now - said >= every:
                said = now
                where.print(_line(description, step, now - started), highlight=False, soft_wrap=True, markup=False)
            return
        if not shown and now - started >= after:
            bar.start()
            shown = True
        if step is not None:
            bar.update(task, completed=step[0], total=step[1])

    def advance(done: int, total: int) -> None:
        nonlocal step
        with lock:
            step = done, total
            show()

    def watch() -> None:
        while not ended.wait(after if where.is_terminal else every):
            with lock:
                show()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield advance
    finally:
        ended.set()
        watcher.join()
        if shown:
            bar.stop()


def _line(description: str, step: tuple[int, int] | None, seconds: float) -> str:
    if step is None:
        return f"{description}: {duration_text(seconds)} so far"
    done, total = step
    rest = f", about {duration_text(seconds * (total - done) / done)} left" if 0 < done < total else ""
    return f"{description}: {done:,} of {total:,}{rest}"


def duration_text(seconds: float) -> str:
    """Return a time as a person would say it: "31 ms", "4.2 s", "3 min 40 s", "2 h 5 min"."""
    if seconds < 0.9995:
        return f"{1000 * seconds:.{0 if seconds >= 0.00995 else 1}f} ms"
    if seconds < 59.5:
        return f"{seconds:.{1 if seconds < 9.95 else 0}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
