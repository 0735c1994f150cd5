"""Compare the chunks of a batch on a Ray cluster (needs the extra ``ray``).

Workers compare and the driver writes. If a worker is lost, its chunk is compared again; since only the driver writes,
one part per chunk, nothing is lost or duplicated. All machines must have the photos and the model under the same
paths, for example on a shared disk.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from whyface.batch.comparer import Comparer, ComparerSettings, PairResult
from whyface.batch.pair_source import PhotoPair
from whyface.batch.run import Chunk
from whyface.errors import DataError, InputError, WhyfaceError
from whyface.onnx_runtime import PRIVACY

WAITING_EACH: Final = 2
"""Chunks assigned to each worker: one in progress and one waiting."""

RETRIES: Final = 3
"""How often a chunk is compared again after its worker was lost."""


class RayEngine:
    """Compare chunks on the workers of a cluster.

    Parameters
    ----------
    settings, folder
        As for :class:`whyface.batch.comparer.Comparer`.
    workers
        Number of processes; by default the number of cores of the cluster.
    address
        The cluster's address; None starts one on this machine, or uses one that runs in this process.
    threads
        Threads of ONNX Runtime in each worker.

    Raises
    ------
    InputError
        If Ray is not installed, there is no such cluster, or fewer than one worker is asked for.
    """

    def __init__(
        self,
        settings: ComparerSettings,
        folder: Path,
        *,
        workers: int | None = None,
        address: str | None = None,
        threads: int = 1,
    ) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"a cluster needs at least one worker, got {workers}")
        self._ray = ray_module()
        self._settings, self._folder, self._threads = settings, folder, threads
        if not self._ray.is_initialized():
            try:
                self._ray.init(address=address, num_cpus=workers if address is None else None, log_to_driver=False)
            except Exception as error:
                raise InputError(f"no Ray cluster at {address or 'this machine'} ({error})") from error
        self.workers = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def __call__(self, chunks: Iterator[Chunk], write: Callable[[int, list[PairResult]], None]) -> None:
        """Compare every chunk; ``write`` is called here, once for each."""
        # A worker that dies is restarted and its chunk compared again, but only a few times, since a chunk that
        # kills every worker would never end.
        # A worker's process may load ONNX Runtime before whyface, for example through another package.
        private = {"env_vars": dict(PRIVACY)}
        remote = self._ray.remote(max_restarts=-1, max_task_retries=RETRIES, runtime_env=private)(_Worker)
        workers = [remote.remote(self._settings, self._folder.absolute(), self._threads) for _ in range(self.workers)]
        try:
            self._share(workers, chunks, write)
        finally:
            for worker in workers:
                self._ray.kill(worker)

    def _share(
        self, workers: list[Any], chunks: Iterator[Chunk], write: Callable[[int, list[PairResult]], None]
    ) -> None:
        running: dict[Any, int] = {}
        turn = itertools.cycle(workers)
        more = True
        while more or running:
            while more and len(running) < WAITING_EACH * len(workers):
                item = next(chunks, None)
                if item is None:
                    more = False
                    break
                running[next(turn).compare.remote(item[1])] = item[0]
            if running:
                (ready, *_), _ = self._ray.wait(list(running), num_returns=1)
                write(running.pop(ready), self._result(ready))

    def _result(self, reference: Any) -> list[PairResult]:
        try:
            results: list[PairResult] = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, WhyfaceError):
                raise error.cause from error
            raise
        except self._ray.exceptions.RayError as error:
            raise DataError(
                f"the cluster lost one chunk {RETRIES + 1} times; run the same command again, what is done is kept "
                f"({type(error).__name__})"
            ) from error
        return results


class _Worker:
    """A model in a separate process."""

    def __init__(self, settings: ComparerSettings, folder: Path, threads: int) -> None:
        self._comparer = Comparer(settings, folder, threads=threads)

    def compare(self, pairs: list[PhotoPair]) -> list[PairResult]:
        """Compare one chunk."""
        return self._comparer(pairs)


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
