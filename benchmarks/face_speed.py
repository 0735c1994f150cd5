"""The cost of one face on the processor by graph optimisation, threads, batch size and number format, with accuracy.

    python benchmarks/face_speed.py --calibration glint24-aligned-112.tar --lfw lfw-aligned-112.tar \
        --pairs lfw-pairs.txt --cfp cfp-aligned-112.tar --out docs/studies/benchmarks/face_speed.json

The settings alternate in random order, so that other work on the machine affects all of them alike. ``int8`` is made by
studies/quantisation/study.py. ``float16`` is made by ONNX Runtime's converter; most processors convert it to float32,
which takes time. ``bfloat16`` has weights rounded to 8 bits of mantissa: ONNX Runtime has no bfloat16 convolution for
this kind of processor, so that only its accuracy can differ, not its speed.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from studies.quantisation.quantised import quantise, write_variant

from records import publish
from whyface.data.open_protocol import open_protocol, parse_protocol
from whyface.evaluate.scoring import score_grids, summarise_scores
from whyface.explain.verdict import software_versions
from whyface.faces.pictures import open_pictures
from whyface.files.progress import progress_bar
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.onnx_runtime import onnx_runtime, usable_cores
from whyface.xcos.comparison import comparisons
from whyface.xcos.model import open_xcos

onnxruntime: Any = onnx_runtime()

THREADS: Final = (1, 2, 8)
BATCHES: Final = (1, 2, 8, 32, 64)
CALLS: Final = 5
LEVELS: Final = {
    "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def variants(folder: Path, faces: NDArray[np.uint8]) -> dict[str, Path]:
    """Write the network in all its number formats."""
    plain = model_entry(FAST_MODEL).locate("onnx")
    paths = {"float32": plain} | {name: folder / f"{name}.onnx" for name in ("int8", "int8 everywhere")}
    quantise(plain, paths["int8"], faces)
    quantise(plain, paths["int8 everywhere"], faces, first=0, head=0)
    paths["float16"] = folder / "float16.onnx"
    halve = onnx_runtime("transformers.float16").convert_float_to_float16
    onnx.save(halve(onnx.load(plain), keep_io_types=True), paths["float16"])
    rounded = onnx.load(plain)
    for tensor in rounded.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            bits = numpy_helper.to_array(tensor).astype(np.float32).view(np.uint32)
            # To nearest, ties to even, as hardware for this format does.
            cut = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
            tensor.CopyFrom(numpy_helper.from_array(cut.view(np.float32), tensor.name))
    paths["bfloat16 weights"] = folder / "bfloat16.onnx"
    onnx.save(rounded, paths["bfloat16 weights"])
    return paths


def session(path: Path, *, threads: int, level: str = "all", spinning: bool = False) -> Any:
    """Open a network."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = LEVELS[level]
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


Setting = tuple[str, dict[str, Any], int]
"""Number format, how the session is opened, batch size."""


def all_settings(paths: dict[str, Path]) -> dict[str, Setting]:
    """Return the settings to time, by name."""
    found: dict[str, Setting] = {}
    for threads in THREADS:
        many = f"{threads} thread{'s' * (threads > 1)}"
        for batch in BATCHES:
            for name in ("float32", "int8"):
                found[f"{name}, {many}, batch {batch}"] = (name, {"threads": threads}, batch)
            if threads > 1:
                spinning = {"threads": threads, "spinning": True}
                found[f"float32, {many} that spin, batch {batch}"] = ("float32", spinning, batch)
    for level in LEVELS:
        found[f"float32, optimisation {level}, 1 thread, batch 1"] = ("float32", {"threads": 1, "level": level}, 1)
    for name in paths:
        found[f"{name}, 1 thread, batch 1"] = (name, {"threads": 1}, 1)
    return found


def times(paths: dict[str, Path], faces: NDArray[np.uint8], rounds: int, seed: int) -> dict[str, float]:
    """Return milliseconds per face by setting, medians over rounds in random order.

    Only one session is open at a time, since waiting threads of others would keep a core busy.
    """
    given = faces.astype(np.float32)
    settings = all_settings(paths)
    found: dict[str, list[float]] = {key: [] for key in settings}
    rng = np.random.default_rng(seed)
    with progress_bar("timing") as progress:
        for done in range(rounds):
            for key in rng.permutation(list(settings)):
                name, how, batch = settings[key]
                opened = session(paths[name], **how)
                for call in range(2 + CALLS):
                    start = time.perf_counter()
                    opened.run(None, {"faces": given[:batch]})
                    # The first two calls warm up.
                    if call >= 2:
                        found[key].append(1000 * (time.perf_counter() - start) / batch)
                del opened
            progress(done + 1, rounds)
    return {key: round(float(np.median(values)), 4) for key, values in found.items()}


def taking_turns(paths: dict[str, Path], faces: NDArray[np.uint8]) -> dict[str, float]:
    """Return milliseconds per face in batches of 8 with two networks in turn, with and without spinning threads."""
    given = faces[:8].astype(np.float32)
    found: dict[str, float] = {}
    for spinning in (False, True):
        pair = [session(paths["float32"], threads=usable_cores(), spinning=spinning) for _ in range(2)]
        seen = []
        for call in range(10 + 20 * CALLS):
            start = time.perf_counter()
            pair[call % 2].run(None, {"faces": given})
            if call >= 10:
                seen.append(1000 * (time.perf_counter() - start) / len(given))
        found["threads that spin" if spinning else "threads that sleep"] = round(float(np.median(seen)), 4)
    return found


def accuracies(paths: dict[str, Path], args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure each number format on the protocols given."""
    data = {"lfw": args.lfw, "cfp-ff": args.cfp, "cfp-fp": args.cfp}
    found: dict[str, Any] = {}
    for name, path in paths.items():
        model = open_xcos(write_variant(folder / f"{path.stem} folder", path))
        found[name] = {"bytes": path.stat().st_size}
        for protocol_name, where in data.items():
            if where is None:
                continue
            pairs = args.pairs if protocol_name == "lfw" else None
            source, protocol = open_protocol(parse_protocol(protocol_name), where, pairs=pairs)
            with source, progress_bar(f"{name} on {protocol_name}") as progress:
                scores, _ = score_grids(comparisons(model), source, protocol, progress=progress)
            report = summarise_scores({kind: scores[kind] for kind in ("u", "l")}, protocol, protocol_name)
            found[name][protocol_name] = {
                kind: {key: values[key] for key in ("accuracy", "accuracy_standard_error", "eer", "tar_at_far_1e-3")}
                for kind, values in report.items()
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibration", type=Path, required=True, help="aligned faces of people in no test")
    for name in ("lfw", "pairs", "cfp", "out"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    # The quantiser recommends a preparation step that has no effect on this network.
    logging.getLogger().setLevel(logging.ERROR)
    with open_pictures(args.calibration) as source:
        names = np.random.default_rng(args.seed).permutation(source.names())[:256]
        faces = np.stack([source.read(str(name)).transpose(2, 0, 1) for name in names])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = variants(folder, faces)
        load = round(os.getloadavg()[0], 1)
        measured = times(paths, faces[:64], args.rounds, args.seed)
        turns = taking_turns(paths, faces)
        accuracy = accuracies(paths, args, folder)
    record = {
        "question": "milliseconds a face by graph optimisation, threads, batch and number format, accuracy beside",
        "command": f"python benchmarks/face_speed.py --calibration FACES --lfw LFW --pairs PAIRS --cfp CFP "
        f"--rounds {args.rounds}",
        "milliseconds_a_face": measured,
        "milliseconds_a_face_where_two_networks_take_turns": turns,
        "accuracy": accuracy,
        "calibration_faces": len(faces),
        "rounds": args.rounds,
        "seed": args.seed,
        "cores": usable_cores(),
        "load_before": load,
        "processor": platform.machine(),
        "model_sha256": model_entry(FAST_MODEL).files["onnx"].sha256,
        "versions": software_versions(),
    }
    publish(record, args.out)


if __name__ == "__main__":
    main()
