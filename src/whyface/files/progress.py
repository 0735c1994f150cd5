"""A progress bar, shown only for runs that take a noticeable time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ProgressCallback]:
    """Yield a callback that draws a progress bar once ``after`` seconds have passed.

    Shorter runs print nothing, and nothing is printed without a terminal.
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
        # In a file it would write an empty line.
        disable=not where.is_terminal,
    )
    task = bar.add_task(description, total=None)
    started = clock()
    shown = False

    def advance(done: int, total: int) -> None:
        nonlocal shown
        if not shown and clock() - started >= after:
            bar.start()
            shown = True
        bar.update(task, completed=done, total=total)

    try:
        yield advance
    finally:
        if shown:
            bar.stop()
