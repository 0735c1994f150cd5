"""Spoil files by the thousand and hold whyface to its rule, in processes that are watched from outside.

    PYTHONPATH=src:tests python -m hostile.fuzz --count 300 --seed 0

The rule: a result or exactly one WhyfaceError of one line, or the command's one line and exit status; less than 2 GiB,
less than 20 s of the processor, and no file outside the folder of the input.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from hostile.samples import Kind

MEMORY: Final = 2 * 2**30
SECONDS: Final = 20
COMMAND_EVERY: Final = 10
_LOST: Final = 900
_MOST_FOUND: Final = 200


class TooSlow(BaseException):
    """The time is over; no ``except Exception`` may stop it."""


def main() -> None:
    """Fuzz, print what was found as JSON, and end with status 1 if that is anything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--count", type=int, default=300, help="inputs of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=None, help="only these")
    parser.add_argument("--one", type=int, help="only the input with this number")
    parser.add_argument("--keep", type=Path, help="keep what was found in this folder")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        _work(json.loads(given.child))
        return
    report = fuzz(given.count, given.seed, kinds=given.kinds, one=given.one, keep=given.keep)
    print(json.dumps(report, indent=1))
    sys.exit(bool(report["found"]))


def fuzz(
    count: int, seed: int, *, kinds: list[str] | None = None, one: int | None = None, keep: Path | None = None
) -> dict[str, Any]:
    """Try so many inputs, the kinds in turn; a child that dies is a finding, and the next goes on behind it."""
    from hostile.samples import KINDS

    names = [name for name in KINDS if kinds is None or name in kinds]
    found: list[dict[str, Any]] = []
    totals: dict[str, dict[str, Any]] = {}
    tasks = []
    for place, name in enumerate(names):
        share = count // len(names) + (place < count % len(names))
        tasks.append((name, 0, share) if one is None else (name, one, one + 1))
    while tasks and len(found) < _MOST_FOUND:
        with tempfile.TemporaryDirectory() as folder:
            kept = str(keep.absolute()) if keep else None
            lines, end = _child({"tasks": tasks, "seed": seed, "keep": kept, "folder": folder})
        found += [line for line in lines if "problem" in line]
        for line in lines:
            if "done" in line:
                _add(totals.setdefault(line.pop("kind"), {}), line)
        if end == 0:
            break
        name, at = [line["started"] for line in lines if "started" in line][-1]
        found.append({"kind": name, "number": at, "problem": f"the process ended with {end}: {lines[-3:]}"})
        left = [task[0] for task in tasks].index(name)
        tasks = [(name, at + 1, tasks[left][2]), *tasks[left + 1 :]]
    return {"count": count, "seed": seed, "kinds": totals, "found": found}


def _add(total: dict[str, Any], part: dict[str, Any]) -> None:
    for key in ("done", "results", "refused", "seconds"):
        total[key] = round(total.get(key, 0) + part.get(key, 0), 1)
    for key in ("slowest", "most_mib"):
        total[key] = max(total.get(key, 0), part.get(key, 0))


def _child(task: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "hostile.fuzz", "--child", json.dumps(task)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
        end = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False, cwd=task["folder"]
        ).returncode
        output.seek(0)
        lines = []
        for line in output:
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"said": line.rstrip()})
    return [line if isinstance(line, dict) else {"said": str(line)} for line in lines], end


def _work(task: dict[str, Any]) -> None:
    """Try a stretch of one kind's inputs, in a process of its own."""
    from hostile.samples import KINDS

    root = Path(task["folder"])
    for name in ("home", "tmp", "input"):
        (root / name).mkdir()
    samples = {name: KINDS[name].samples() for name, _, _ in task["tasks"]}
    os.environ.update(HOME=str(root / "home"), XDG_CACHE_HOME=str(root / "home"), TMPDIR=str(root / "tmp"))
    tempfile.tempdir = None
    report = os.fdopen(os.dup(1), "w")

    def tell(**line: object) -> None:
        print(json.dumps(line), file=report, flush=True)

    # What is mapped already, Python and its libraries, does not count; what is taken beyond the limit fails.
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + MEMORY, resource.RLIM_INFINITY))
    faulthandler.enable()
    # As the command does; a library leaves it to the program.
    warnings.simplefilter("ignore")
    watch = Watch(root)
    for name, start, end in task["tasks"]:
        tally = {"done": 0, "results": 0, "refused": 0, "seconds": 0.0, "slowest": 0.0, "most_mib": 0}
        for number in range(start, end):
            tell(started=(name, number))
            folder = write_input(root / "input" / str(number), name, samples[name], task["seed"], number)
            problem, refused, seconds, most = try_input(watch, KINDS[name], folder, number)
            tally["done"] += 1
            tally["refused" if refused else "results"] += 1
            tally["seconds"] += seconds
            tally["slowest"] = max(tally["slowest"], round(seconds, 2))
            tally["most_mib"] = max(tally["most_mib"], most >> 20)
            if problem:
                tell(kind=name, number=number, problem=problem)
                if task["keep"]:
                    shutil.copytree(folder, Path(task["keep"]) / f"{name}-{task['seed']}-{number}", dirs_exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        tell(kind=name, **tally)


def write_input(folder: Path, name: str, samples: list[dict[str, bytes]], seed: int, number: int) -> Path:
    """Write one spoilt input; its name, the seed and the number say all about it."""
    from hostile.mutators import spoil
    from hostile.samples import KINDS

    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    files = dict(samples[rng.integers(len(samples))])
    spoilt = list(files)[rng.integers(len(files)) if KINDS[name].spoil_any else 0]
    files[spoilt] = spoil(files[spoilt], KINDS[name].mutators, rng)
    for inner, data in files.items():
        (folder / inner).parent.mkdir(parents=True, exist_ok=True)
        (folder / inner).write_bytes(data)
    return folder


def try_input(watch: Watch, kind: Kind, folder: Path, number: int) -> tuple[str, bool, float, int]:
    """Read an input as the library does, and every tenth with the command, too."""
    problem, refused, seconds, most = watch(lambda: kind.read(folder))
    if not problem and kind.command is not None and number % COMMAND_EVERY == 0:
        problem, _, longer, more = watch.command(kind.command(folder))
        seconds, most = max(seconds, longer), max(most, more)
    return problem, refused, seconds, most


class Watch:
    """Run something and say what was wrong about the way it ended.

    Parameters
    ----------
    root
        Folder of ``home``, ``tmp`` and ``input``, of which only the last may change.
    memory, seconds
        The limits.
    """

    def __init__(self, root: Path, *, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self.root, self.memory, self.seconds = root, memory, seconds

    def __call__(self, step: Callable[[], object]) -> tuple[str, bool, float, int]:
        """Call the step; return (problem or "", whether it was refused, seconds, bytes of memory at most)."""
        from whyface.errors import WhyfaceError

        problem, refused = "", False
        before = self._files()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        started = time.process_time()
        with self._printed() as printed:
            try:
                with self._timed():
                    step()
            except WhyfaceError as error:
                refused = True
                if "\n" in str(error) or not str(error):
                    problem = f"not one line: {str(error)!r}"
            except (Exception, TooSlow) as error:
                where = traceback.extract_tb(error.__traceback__)[-3:]
                problem = f"{type(error).__name__}: {str(error)[:200]} at {[f'{f.filename}:{f.lineno}' for f in where]}"
        seconds, most = time.process_time() - started, _peak()
        if said := printed():
            problem = problem or f"printed: {said[:300]!r}"
        if seconds > self.seconds:
            problem = problem or f"took {seconds:.0f} s"
        if most > self.memory:
            problem = problem or f"took {most >> 20} MiB"
        if new := self._files() - before:
            problem = problem or f"wrote {sorted(new)[:5]}"
        return problem, refused, seconds, most

    def command(self, arguments: list[str]) -> tuple[str, bool, float, int]:
        """Call the command line in this process."""
        from whyface.cli import main as whyface

        ends: list[Any] = []

        def step() -> None:
            sys.argv = ["whyface", *arguments]
            try:
                whyface()
            except SystemExit as end:
                ends.append(end.code)

        self._own_output = True
        try:
            problem, _, seconds, most = self(step)
        finally:
            self._own_output = False
        code = ends[0] if ends else None
        lines = self._stderr.splitlines()
        if not problem and code not in (0, 1, 2, 3):
            problem = f"exit status {code}"
        if not problem and (code == 2) != (len(lines) == 1 and lines[0].startswith("whyface: ")):
            problem = f"exit status {code}, standard error {self._stderr[:300]!r}"
        return problem and f"{' '.join(arguments)}: {problem}", code == 2, seconds, most

    _own_output = False
    _stderr = ""

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        def over(_signal: int, _frame: object) -> None:
            raise TooSlow(f"more than {self.seconds} s")

        # Of the processor: the clock runs on where other processes have it.
        signal.signal(signal.SIGPROF, over)
        signal.setitimer(signal.ITIMER_PROF, self.seconds)
        # Whatever waits, or never comes back from C, takes no signal; then the process ends, and its parent is told.
        faulthandler.dump_traceback_later(self.seconds + _LOST, exit=True)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.cancel_dump_traceback_later()

    @contextlib.contextmanager
    def _printed(self) -> Iterator[Callable[[], str]]:
        """Catch what Python and libraries print; a function that says what, beyond what a command may."""
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        with tempfile.TemporaryFile(dir=self.root) as out, tempfile.TemporaryFile(dir=self.root) as err:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            texts: list[str] = []
            try:
                yield lambda: "".join(texts)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os.dup2(kept[0], 1)
                os.dup2(kept[1], 2)
                os.close(kept[0])
                os.close(kept[1])
                out.seek(0)
                err.seek(0)
                self._stderr = err.read().decode(errors="replace")
                if not self._own_output:
                    texts += [out.read().decode(errors="replace"), self._stderr]

    def _files(self) -> set[str]:
        return {str(p) for name in ("home", "tmp") for p in (self.root / name).rglob("*")} | {
            str(p) for p in self.root.iterdir()
        }


def _mapped() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    main()
