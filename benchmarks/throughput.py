"""Faces and photos a second, beside insightface and uniface on the same ONNX file, each in its own process.

    python benchmarks/throughput.py --python insightface=ENV/bin/python --python uniface=ENV/bin/python \
        --onnx mobilefacenet.onnx --out docs/studies/benchmarks/throughput.json

- ``faces``: aligned 112 x 112 faces through the same network, by the library's own class: in batches of 8 where it
  takes batches, else one at a time. What it does to pixels before the network counts, too.
- ``photos``: the photos of ``whyface demo``, from the file to the vector: decode, find the faces, align the largest,
  embed. whyface also measures the quality of each face. The others need detectors that they download: left out.

A round runs every library once, in random order; all get the same number of threads. One more entry has that many
processes of whyface at once, with one thread each, as ``--workers`` has.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np

from records import publish
from whyface.demo import demo_photo
from whyface.explain.verdict import software_versions
from whyface.files.integrity import sha256_of
from whyface.onnx_runtime import PRIVACY

EACH: Final = "whyface, one process a core"
PHOTOS: Final = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")

OPENING: Final = """
import json, sys, time
import numpy as np
network, photos, threads, seconds = json.loads(sys.argv[1])
faces = np.random.default_rng(0).integers(0, 256, (64, 112, 112, 3), np.uint8)
def rate(call, count):
    call()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call(); done += count
    return done / (time.perf_counter() - start)
"""

LIBRARIES: Final = {
    "whyface": """
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.onnx_embedder import OnnxEmbedder
import whyface
version = whyface.__version__
own = OnnxEmbedder(network, threads=threads)
batch = np.ascontiguousarray(faces.transpose(0, 3, 1, 2))
def many():
    for start in range(0, 64, 8):
        own.embed(batch[start : start + 8])
def read():
    own.embed(stack_faces([load_face(path, threads=threads) for path in photos]))
found = {"faces": rate(many, 64), "photos": rate(read, len(photos))}
""",
    "insightface": """
import onnxruntime
import insightface
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
version = insightface.__version__
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
own = ArcFaceONNX(network, session=session)
own.input_size = (112, 112)
def many():
    for start in range(0, 64, 8):
        own.get_feat(list(faces[start : start + 8]))
found = {"faces": rate(many, 64)}
""",
    "uniface": """
import onnxruntime
import uniface
from uniface.recognition.base import BaseRecognizer, PreprocessConfig
version = uniface.__version__
class Own(BaseRecognizer):
    def __init__(self):
        super().__init__(model_path=network, preprocessing=PreprocessConfig(), providers=["CPUExecutionProvider"])
own = Own()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
own.session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
def many():
    for face in faces:
        own.get_embedding(face)
found = {"faces": rate(many, 64)}
""",
}
ENDING: Final = "print(json.dumps({**found, 'version': version}))"


def run(python: str, library: str, given: str, threads: int) -> dict[str, Any]:
    """Run one library's process and return its rates."""
    variables = {**os.environ, **PRIVACY, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    code = OPENING + LIBRARIES[library] + ENDING
    done = subprocess.run([python, "-c", code, given], capture_output=True, text=True, env=variables, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no message")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def run_on_every_core(python: str, given: list[Any], cores: int) -> dict[str, Any]:
    """Run one process of whyface for each core, with one thread each, at once; return the sums of their rates."""
    text = json.dumps([*given[:2], 1, given[3]])
    with ThreadPoolExecutor(cores) as pool:
        found = list(pool.map(lambda _: run(python, "whyface", text, 1), range(cores)))
    sums = {what: sum(one[what] for one in found) for what in ("faces", "photos")}
    return {**sums, "version": found[0]["version"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], help="LIBRARY=INTERPRETER that has the library")
    parser.add_argument("--onnx", type=Path, required=True, help="a network for 112 x 112 faces with one output")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    pythons = {"whyface": sys.executable, **dict(text.split("=", 1) for text in args.python)}
    photos = [str(demo_photo(name)) for name in PHOTOS]
    given = [str(args.onnx.resolve()), photos, args.threads, args.seconds]
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in (*pythons, EACH)}
    rng = np.random.default_rng(args.seed)
    for _ in range(args.rounds):
        for name in rng.permutation(list(rounds)):
            if name == EACH:
                rounds[name].append(run_on_every_core(sys.executable, given, args.threads))
            else:
                rounds[name].append(run(pythons[name], str(name), json.dumps(given), args.threads))
    results: dict[str, dict[str, Any]] = {}
    for name, found in rounds.items():
        results[name] = {"version": found[0]["version"]}
        for what in ("faces", "photos"):
            if what in found[0]:
                rates = sorted(one[what] for one in found)
                results[name][f"{what}_per_second"] = round(float(np.median(rates)), 1)
                results[name][f"{what}_lowest_and_highest"] = [round(rates[0], 1), round(rates[-1], 1)]
    record = {
        "question": "faces and photos a second through the same network, by library",
        "command": "python benchmarks/throughput.py "
        + " ".join(f"--python {name}=PYTHON" for name in pythons if name != "whyface")
        + f" --onnx NETWORK --rounds {args.rounds} --seconds {args.seconds:g} --threads {args.threads}",
        "results": results,
        "photos": list(PHOTOS),
        "network_sha256": sha256_of(args.onnx),
        "rounds": args.rounds,
        "threads": args.threads,
        "seed": args.seed,
        "versions": software_versions(),
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
