"""Compare whyface with other libraries on the same photos, each in its own environment and process.

    python benchmarks/peers.py --venv whyface=ENV --venv insightface=ENV --venv face_recognition=ENV \
        --onnx mobilefacenet-ms1m.onnx --out docs/studies/benchmarks/peers.json

ENV is a folder with a virtual environment that has only that library and its requirements. There are two measurements:

- ``verify``: from two photographs to a verdict, with the library's own detector and network, as in its README;
- ``embed``: one aligned 112 x 112 face through the *same* ONNX file, by the library's own class for it.

Each library gets the same number of threads. A round starts every library's process once, in random order; within a
process the first call, which loads models, is counted separately. The install size is that of the environment's
site-packages without pip and setuptools. Libraries that are not installed, or need a missing download, are named and
left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Final

import numpy as np

from records import publish
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.files.integrity import sha256_of
from whyface.onnx_runtime import PRIVACY

PREAMBLE: Final = """
import json, os, resource, sys, time
started = time.perf_counter()
photos, network, threads, calls = json.loads(sys.argv[1])
"""

ENDING: Final = """
def timed(call):
    start = time.perf_counter(); value = call(); first = time.perf_counter() - start
    times = []
    for _ in range(calls):
        start = time.perf_counter(); call(); times.append(time.perf_counter() - start)
    return {"first": first, "times": times, "value": float(value)}
result = {}
if verify is not None:
    result["verify"] = timed(verify)
    result["to_first_verdict"] = time.perf_counter() - started
if embed is not None:
    result["embed"] = timed(embed)
result["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(result))
"""

LIBRARIES: Final = {
    "whyface": """
import numpy as np
from whyface.verification import Verifier
from whyface.models.onnx_embedder import OnnxEmbedder
verifier = Verifier(threads=threads)
verify = lambda: verifier(*photos[:2]).score
face = np.random.default_rng(0).integers(0, 256, (1, 3, 112, 112), np.uint8)
own = OnnxEmbedder(network, threads=threads, alone=True) if network else None
embed = None if own is None else (lambda: own.embed(face)[0, 0])
""",
    "insightface": """
import numpy as np
import onnxruntime
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
verify = None  # its detectors come from a download
face = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"]) if network else None
own = ArcFaceONNX(network, session=session) if network else None
embed = None if own is None else (lambda: own.get_feat(face)[0, 0])
""",
    "face_recognition": """
import face_recognition
embed = None
def verify():
    found = [face_recognition.face_encodings(face_recognition.load_image_file(path))[0] for path in photos[:2]]
    return 1 - face_recognition.face_distance([found[0]], found[1])[0]
""",
    "deepface": """
from deepface import DeepFace
embed = None
verify = lambda: 1 - DeepFace.verify(*photos[:2])["distance"]
""",
    "onnxruntime": """
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions(); options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
face = np.random.default_rng(0).integers(0, 256, (1, 3, 112, 112)).astype(np.float32)
verify = None
embed = lambda: session.run(None, {name: face})[0][0, 0]
""",
}


def install_megabytes(environment: Path) -> float:
    """Return the size of an environment without pip and setuptools."""
    packages = next(environment.glob("lib/python*/site-packages"))
    own = ("pip", "setuptools", "_distutils_hack", "pkg_resources", "distutils-precedence.pth")
    total = sum(
        path.stat().st_size
        for path in packages.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.relative_to(packages).parts[0].split("-")[0] not in own
    )
    return round(total / 1e6, 1)


def run(environment: Path, library: str, given: str, threads: int) -> dict[str, Any]:
    """Run one library's process and return its results."""
    code = PREAMBLE + LIBRARIES[library] + ENDING
    variables = {**os.environ, **PRIVACY, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    python = environment / "bin" / "python"
    done = subprocess.run([python, "-c", code, given], capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def summary(results: list[dict[str, Any]], environment: Path) -> dict[str, Any]:
    """Summarise the rounds of one library."""
    found: dict[str, Any] = {"install_megabytes": install_megabytes(environment)}
    found["peak_megabytes"] = round(float(np.median([result["peak_megabytes"] for result in results])), 1)
    for what in ("verify", "embed"):
        if what not in results[0]:
            continue
        times = np.concatenate([result[what]["times"] for result in results])
        found[f"{what}_milliseconds"] = round(1000 * float(np.median(times)), 3)
        found[f"{what}_value"] = round(results[0][what]["value"], 4)
    if "to_first_verdict" in results[0]:
        seconds = [result["to_first_verdict"] for result in results]
        found["seconds_to_first_verdict"] = round(float(np.median(seconds)), 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", action="append", required=True, help="LIBRARY=FOLDER")
    parser.add_argument("--onnx", type=Path, help="a network for 112 x 112 faces, for every library's own class")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    environments = {name: Path(path) for name, path in (text.split("=", 1) for text in args.venv)}
    photos = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg")]
    network = None if args.onnx is None else str(args.onnx.resolve())
    given = json.dumps([photos, network, args.threads, args.calls])
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in environments}
    left_out: dict[str, str] = {}
    rng = np.random.default_rng(args.seed)
    for _ in range(args.rounds):
        for name in rng.permutation(list(environments)):
            if name in left_out:
                continue
            try:
                results[name].append(run(environments[name], str(name), given, args.threads))
            except (RuntimeError, OSError, KeyError, ValueError) as error:
                left_out[str(name)] = str(error).replace(str(Path.home()), "~")[:300]
    environments_named = " ".join(f"--venv {name}=ENV" for name in environments)
    measured = {name: found for name, found in results.items() if found and name not in left_out}
    record = {
        "question": "milliseconds for a verdict, memory, install size and time to the first verdict, by library",
        "command": f"python benchmarks/peers.py {environments_named} --onnx NETWORK "
        f"--rounds {args.rounds} --calls {args.calls} --threads {args.threads}",
        "results": {name: summary(found, environments[name]) for name, found in measured.items()},
        "left_out": left_out,
        "network_sha256": None if args.onnx is None else sha256_of(args.onnx),
        "rounds": args.rounds,
        "calls": args.calls,
        "threads": args.threads,
        "seed": args.seed,
        "load_before": round(os.getloadavg()[0], 1),
        "processor": platform.machine(),
        "versions": software_versions(),
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
