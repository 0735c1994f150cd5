"""Logs of a training run: a JSON line per report, TensorBoard curves, a progress bar."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from whyface.train.trainer import LOG, Report

EVERY = 10
"""Steps between two lines of the log."""


class RunLog:
    """Log of one run.

    Parameters
    ----------
    folder
        Folder of ``log.jsonl`` and the TensorBoard files.
    console
        Console of the bar; standard error by default.
    """

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self._console = console if console is not None else Console(stderr=True)
        self._folder = folder
        # Opened at once, so that a folder that cannot be written to is noticed before the work.
        self._file = (folder / LOG).open("a", encoding="utf-8")
        self._board: SummaryWriter | None = None
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("Training", total=None, numbers="")
        self._shown = False
        self._accuracy = ""

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def report(self, report: Report) -> None:
        """Log the numbers of a step.

        The first report removes the lines that an earlier run left about this step and later ones: a run that was
        interrupted after its last checkpoint repeats those steps.
        """
        if self._board is None:
            _drop_from(self._folder / LOG, report.step)
            self._board = SummaryWriter(str(self._folder / "tensorboard"), purge_step=report.step)
        if not self._shown and self._console.is_terminal:
            self._bar.start()
            self._shown = True
        values = report.values
        if "accuracy" in values:
            self._accuracy = f"accuracy {values['accuracy']:.2%}  "
        numbers = f"loss {values['total']:.4f}  {self._accuracy}{values['pictures_per_s']:.0f} pictures/s"
        self._bar.update(self._task, completed=report.step, total=report.steps, numbers=numbers)
        if report.step % EVERY and "accuracy" not in values and report.step != report.steps:
            return
        self._file.write(json.dumps({"step": report.step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, report.step)

    def close(self) -> None:
        """End the bar and close the files."""
        if self._shown:
            self._bar.stop()
        try:
            self._file.close()
        finally:
            if self._board is not None:
                self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _drop_from(path: Path, step: int) -> None:
    """Truncate a log before its first line of this step or a later one, or before an incomplete line."""
    if not path.is_file():
        return
    with path.open("r+b") as file:
        kept = 0
        for line in file:
            if not _is_before(line, step):
                break
            kept += len(line)
        file.truncate(kept)


def _is_before(line: bytes, step: int) -> bool:
    try:
        return line.endswith(b"\n") and int(json.loads(line)["step"]) < step
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
