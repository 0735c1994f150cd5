"""Time until the first answer: whole processes, from the command to the verdict.

    python benchmarks/cold_start.py --out docs/studies/benchmarks/cold_start.json

The commands are started in random order, so that other work on the machine affects all of them alike. Files are in the
page cache after the first round, which is not counted. Processor seconds are reported too: other work on the machine
hardly changes them.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from records import publish
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.models.catalogue import FAST_MODEL
from whyface.onnx_runtime import PRIVACY


def once(command: list[str]) -> tuple[float, float]:
    """Run a command; return wall and processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    environment = {**os.environ, **PRIVACY}
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode()}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    photos = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg")]
    whyface = [sys.executable, "-m", "whyface"]
    commands = {
        "whyface verify A B": [*whyface, "verify", *photos],
        f"whyface verify A B --model {FAST_MODEL}": [*whyface, "verify", *photos, "--model", FAST_MODEL],
        "whyface verify A B --json": [*whyface, "verify", *photos, "--json"],
        "whyface --help": [*whyface, "--help"],
        "import whyface": [sys.executable, "-c", "import whyface"],
        "import numpy, cv2, onnxruntime": [sys.executable, "-c", "import numpy, cv2, onnxruntime"],
        "python alone": [sys.executable, "-c", "pass"],
    }
    rng = np.random.default_rng(args.seed)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for done in range(args.rounds + 1):
        for name in rng.permutation(list(commands)):
            measured = once(commands[name])
            if done:
                times[name].append(measured)
    walls = {name: np.array(values)[:, 0] for name, values in times.items()}
    record = {
        "question": "seconds from the command to the answer, each in a process of its own",
        "command": f"python benchmarks/cold_start.py --rounds {args.rounds}",
        "median_seconds": {name: round(float(np.median(values)), 3) for name, values in walls.items()},
        "range_seconds": {
            name: [round(float(values.min()), 3), round(float(values.max()), 3)] for name, values in walls.items()
        },
        "median_processor_seconds": {
            name: round(float(np.median(np.array(values)[:, 1])), 3) for name, values in times.items()
        },
        "target": "whyface verify under 1.5 s",
        "rounds": args.rounds,
        "seed": args.seed,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "processor": platform.machine(),
        "versions": software_versions(),
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
