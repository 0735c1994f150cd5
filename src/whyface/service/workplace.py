"""The place where answers are computed: a few workers, a bounded queue before them, and a time for each answer."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from whyface.service.limits import Limits, RefusedError

_T = TypeVar("_T")
_SMOOTHING = 0.9


class Workplace:
    """Run functions in threads, no more at a time than there are workers.

    Used from one event loop only.

    Parameters
    ----------
    limits
        Number of workers, length of the queue, and time of an answer.

    Attributes
    ----------
    running, waiting
        How many functions run, and how many wait.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.running = 0
        self.waiting = 0
        self._usual = 0.1
        self._free = asyncio.Semaphore(limits.workers)
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="whyface")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Return the result of a function.

        Raises
        ------
        RefusedError
            With status 503 if the queue is full, or the answer takes too long. A thread cannot be stopped: it keeps its
            worker until it ends.
        """
        if self._free.locked() and self.waiting >= self.limits.queue:
            raise self.busy()
        start = time.monotonic()
        self.waiting += 1
        try:
            async with asyncio.timeout(self.limits.seconds):
                await self._free.acquire()
        except TimeoutError as error:
            raise self.busy() from error
        finally:
            self.waiting -= 1
        self.running += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        began = time.monotonic()

        def ended(_: object) -> None:
            self.running -= 1
            self._usual += (1 - _SMOOTHING) * (time.monotonic() - began - self._usual)
            self._free.release()
            if not future.cancelled():
                future.exception()  # It was answered already, or nobody waits for it.

        future.add_done_callback(ended)
        left = max(self.limits.seconds - (began - start), 0.001)
        try:
            return await asyncio.wait_for(asyncio.shield(future), left)
        except TimeoutError as error:
            raise RefusedError(
                503,
                "time",
                f"no answer within {self.limits.seconds:g} s; send a smaller photo, or try again",
                retry_after=self._wait(),
            ) from error

    def busy(self) -> RefusedError:
        """Return the refusal of a request for which there is no room."""
        wait = self._wait()
        return RefusedError(503, "busy", f"too many requests at once; try again in {wait} s", retry_after=wait)

    def close(self) -> None:
        """Let the threads end, without waiting for them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _wait(self) -> int:
        return max(1, min(60, math.ceil((self.waiting + 1) * self._usual / self.limits.workers)))
