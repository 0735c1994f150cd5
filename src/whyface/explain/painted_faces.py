"""Run a network on many changed copies of one face, in a few buffers that are used again and again."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from whyface.explain.pair_scorer import Features
from whyface.models.embedder import Batch


class Painter(Protocol):
    """Changes of a face, numbered from 0."""

    def paint(self, row: NDArray[Any], index: int) -> None:
        """Change the face in ``row``, (3, H, W), in place."""
        ...

    def undo(self, row: NDArray[Any], index: int) -> None:
        """Take this change back."""
        ...


def painted_features(
    features: Callable[[Batch], Features],
    face: NDArray[Any],
    painter: Painter,
    count: int,
    *,
    batch_size: int = 64,
    workers: int = 1,
    advance: Callable[[int], None] | None = None,
) -> Features:
    """Run the network on ``count`` changed copies of a face.

    No copy of the face is made per change: each row of a buffer is changed in place, and only what was changed is
    written back afterwards.

    Parameters
    ----------
    features
        The network: (n, 3, H, W) -> (n, ...).
    face
        (3, H, W), uint8 or float32.
    painter
        Makes and undoes the changes.
    count
        How many there are, at least 1.
    batch_size
        At most so many faces are in memory and in the network at once, all workers together.
    workers
        Threads that feed the network. On a CPU several single-threaded runs beside each other are faster than one run
        on several threads, since no thread waits for another after each layer.
    advance
        Called after each run with the number of faces in it.

    Returns
    -------
    (count, ...), in the order of the changes.
    """
    workers = max(1, min(workers, batch_size, count))
    size = min(max(1, batch_size // workers), -(-count // workers))
    buffers: queue.SimpleQueue[NDArray[Any]] = queue.SimpleQueue()
    for _ in range(workers):
        buffers.put(np.repeat(face[None], size, axis=0))

    def run(start: int) -> Features:
        buffer = buffers.get()
        try:
            rows = range(min(size, count - start))
            for row in rows:
                painter.paint(buffer[row], start + row)
            made = features(buffer[: len(rows)])
            for row in rows:
                painter.undo(buffer[row], start + row)
            return made
        finally:
            buffers.put(buffer)

    starts = range(0, count, size)
    parts: list[Features] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for made in pool.map(run, starts) if workers > 1 else map(run, starts):
                parts.append(made)
                if advance is not None:
                    advance(len(made))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return np.concatenate(parts)


def usable_cores() -> int:
    """Count the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
