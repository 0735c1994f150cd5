"""Where work is done: in this process, in one process a core, or on a Ray cluster; results come in order.

Work is a sequence of items, and a worker is what turns an item into a result, such as photos into features. Workers
only compute; the caller writes. So a worker may be lost at any time without leaving anything half-done.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Final, Protocol, TypeVar

from whyface.errors import DataError, InputError, WhyfaceError
from whyface.onnx_runtime import PRIVACY, usable_cores

AHEAD: Final = 2
"""Items given out for each worker: one in progress and one waiting. This bounds the memory."""

RETRIES: Final = 3
"""How often Ray does an item again after its worker was lost."""

ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
"""The environment of a worker that has one core to itself."""

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """A callable that lets workers do all items and yields their results in the order of the items."""

    def __call__(
        self, make: Callable[[], Callable[[Item], Result]], work: Iterator[tuple[Key, Item]]
    ) -> Iterator[tuple[Key, Result]]:
        """Yield each key with the result of its item.

        Parameters
        ----------
        make
            Makes a worker, once in each process; it must be possible to pickle it.
        work
            Keys, which stay here, and items, which workers get. Few are taken in advance.
        """
        ...


def here(
    make: Callable[[], Callable[[Item], Result]], work: Iterator[tuple[Key, Item]]
) -> Iterator[tuple[Key, Result]]:
    """Do all work in this process, an item at a time: the default :class:`Engine`."""
    worker = make()
    for key, item in work:
        yield key, worker(item)


class Processes:
    """An engine with several processes on this machine.

    As with all of Python's child processes, a script that uses it must be guarded by ``if __name__ == "__main__":``.
    Raise InputError if fewer than one process is asked for.

    Parameters
    ----------
    workers
        Number of processes; by default one for each core.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = _at_least_one(usable_cores() if workers is None else workers)

    def __call__(
        self, make: Callable[[], Callable[[Item], Result]], work: Iterator[tuple[Key, Item]]
    ) -> Iterator[tuple[Key, Result]]:
        """See :class:`Engine`. Raise DataError if a process ends by itself."""
        pickled = pickle.dumps(make)
        helpers = [_Helper(pickled) for _ in range(self.workers)]
        free: SimpleQueue[_Helper] = SimpleQueue()
        for helper in helpers:
            free.put(helper)

        def run(item: Item) -> Any:
            helper = free.get()
            try:
                return helper(item)
            finally:
                free.put(helper)

        # A thread waits for each process.
        pool = ThreadPoolExecutor(self.workers)
        try:
            yield from _in_order(lambda item: pool.submit(run, item), Future.result, work, AHEAD * self.workers)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for helper in helpers:
                helper.stop()
            pool.shutdown()


class _Helper:
    """One process with a worker; it is started at the first item."""

    def __init__(self, make: bytes) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, self._theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs, make), daemon=True)

    def __call__(self, item: Any) -> Any:
        if self._process.pid is None:
            with _without_ctrl_c():
                self._process.start()
            # Now the process alone holds its end, and its death closes it.
            self._theirs.close()
        try:
            self._connection.send(item)
            done, result = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise DataError(
                f"a worker process ended unexpectedly (status {self._process.exitcode}), perhaps for want of memory; "
                "run the same command again, with fewer workers: what is done is kept"
            ) from error
        if not done:
            raise result
        return result

    def stop(self) -> None:
        if self._process.pid is not None:
            self._process.terminate()
            self._process.join()
        self._connection.close()


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Keep Ctrl-C from a process that this thread starts: before it can ignore it, Python would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Any, make: bytes) -> None:
    """Be a worker process: answer each item until nobody listens."""
    # Ctrl-C reaches all processes of a terminal; the one that gives out the work ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(ONE_THREAD)
    worker: Callable[[Any], Any] | None = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            try:
                worker = worker or pickle.loads(make)()
                answer = True, worker(item)
            except Exception as error:
                # Raised again by the process that gave out the work.
                if not isinstance(error, WhyfaceError):
                    error.add_note(traceback.format_exc())
                answer = False, error
            connection.send(answer)


class RayEngine:
    """An engine with the workers of a Ray cluster (needs the extra ``ray``).

    If a worker is lost, its item is done again. All machines must have the photos and the model under the same paths,
    for example on a shared disk.

    Parameters
    ----------
    workers
        Number of processes; by default the number of cores of the cluster.
    address
        The cluster's address; None starts one on this machine, or uses one that runs in this process.

    Raises
    ------
    InputError
        If Ray is not installed, there is no such cluster, or fewer than one worker is asked for.
    """

    def __init__(self, workers: int | None = None, *, address: str | None = None) -> None:
        if workers is not None:
            _at_least_one(workers)
        self._ray = ray_module()
        if not self._ray.is_initialized():
            try:
                self._ray.init(address=address, num_cpus=workers if address is None else None, log_to_driver=False)
            except Exception as error:
                raise InputError(f"no Ray cluster at {address or 'this machine'} ({error})") from error
        self.workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def __call__(
        self, make: Callable[[], Callable[[Item], Result]], work: Iterator[tuple[Key, Item]]
    ) -> Iterator[tuple[Key, Result]]:
        """See :class:`Engine`. Raise DataError if an item's workers are lost again and again."""
        # A worker that dies is restarted and its item done again, but only a few times, since an item that kills every
        # worker would never end.
        # A worker's process may load ONNX Runtime before whyface, for example through another package.
        private = {"env_vars": {**PRIVACY, **ONE_THREAD}}
        remote = self._ray.remote(max_restarts=-1, max_task_retries=RETRIES, runtime_env=private)(_Worker)
        workers = [remote.remote(make) for _ in range(self.workers)]
        turn = itertools.cycle(workers)

        def give(item: Item) -> Any:
            return next(turn).run.remote(item)

        try:
            yield from _in_order(give, self._result, work, AHEAD * len(workers))
        finally:
            for worker in workers:
                self._ray.kill(worker)

    def _result(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, WhyfaceError):
                raise error.cause from error
            raise
        except self._ray.exceptions.RayError as error:
            raise DataError(
                f"the cluster lost one piece of work {RETRIES + 1} times; run the same command again, what is done is "
                f"kept ({type(error).__name__})"
            ) from error


class _Worker:
    """A worker in a process of the cluster."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._worker = make()

    def run(self, item: Any) -> Any:
        """Do one item."""
        return self._worker(item)


def ray_module() -> Any:
    """Import Ray with its usage statistics off, regardless of the environment.

    By default Ray sends them to its developers, unless disabled before it starts a cluster. A running cluster keeps the
    settings that it was started with. Raise InputError if Ray is not installed; the message names the extra to install.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError("a cluster needs Ray; run: pip install 'whyface[ray]'") from error
    return ray


def _in_order(
    submit: Callable[[Item], Any], collect: Callable[[Any], Result], work: Iterator[tuple[Key, Item]], ahead: int
) -> Iterator[tuple[Key, Result]]:
    waiting: deque[tuple[Key, Any]] = deque()
    for key, item in work:
        waiting.append((key, submit(item)))
        if len(waiting) == ahead:
            first, given = waiting.popleft()
            yield first, collect(given)
    for first, given in waiting:
        yield first, collect(given)


def _at_least_one(workers: int) -> int:
    if workers < 1:
        raise InputError(f"there must be at least one worker, got {workers}")
    return workers
