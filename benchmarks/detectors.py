"""Compare the face detectors on LFW: faces found, time per photo, and verification accuracy with their alignment.

    OMP_NUM_THREADS=1 python benchmarks/detectors.py --data DATA --weights WEIGHTS

``DATA`` holds ``lfw-deepfunneled-folds-1-2.tar`` (the original 250 x 250 photos of LFW's folds 1 and 2),
``lfw-aligned-112.tar`` and ``lfw-pairs.txt``; ``WEIGHTS`` holds ``mobilefacenet-ms1m.onnx``. Nothing is random.
"""

from __future__ import annotations

import json
import platform
import tarfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from whyface.data.pair_lists import read_lfw_pairs
from whyface.data.protocols import PairProtocol
from whyface.errors import FaceError, ModelError
from whyface.evaluate.intervals import wilson
from whyface.evaluate.rates import best_threshold
from whyface.faces.align import align
from whyface.faces.centerface import CenterFaceDetector, CentreSettings, open_centerface
from whyface.faces.detection import Detection, Detector
from whyface.faces.load import open_detector
from whyface.faces.photo import decode_photo
from whyface.faces.pictures import TarPictures
from whyface.files.progress import progress_bar
from whyface.models.onnx_embedder import OnnxEmbedder

Photo = NDArray[np.uint8]
FOLDS: Final = (0, 1)
THREADS: Final = 1
PACKAGES: Final = ("whyface", "numpy", "onnxruntime", "opencv-python-headless", "mtcnn")


def read_photos(path: Path) -> dict[str, Photo]:
    photos: dict[str, Photo] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                photos[Path(member.name).name] = decode_photo(content.read(), member.name)
    return photos


def largest(photo: Photo, found: list[Detection]) -> Detection:
    return found[0]


def most_central(photo: Photo, found: list[Detection]) -> Detection:
    middle = np.array([photo.shape[1], photo.shape[0]]) / 2
    return min(found, key=lambda face: float(np.hypot(*(np.reshape(face.box, (2, 2)).mean(axis=0) - middle))))


def cut(
    photos: dict[str, Photo],
    found: dict[str, list[Detection]],
    choose: Callable[[Photo, list[Detection]], Detection],
) -> dict[str, Photo]:
    """Align the chosen face of every photo that has one."""
    crops: dict[str, Photo] = {}
    for name, faces in found.items():
        if faces:
            try:
                crops[name], _ = align(photos[name], choose(photos[name], faces).landmarks)
            except FaceError:
                continue
    return crops


def embed(embedder: OnnxEmbedder, crops: dict[str, Photo], title: str) -> dict[str, NDArray[np.float32]]:
    names, vectors = sorted(crops), []
    with progress_bar(title) as progress:
        for start in range(0, len(names), 64):
            batch = np.stack([crops[name] for name in names[start : start + 64]]).transpose(0, 3, 1, 2)
            vectors.append(embedder.embed(np.ascontiguousarray(batch)))
            progress(min(start + 64, len(names)), len(names))
    joined = np.concatenate(vectors)
    return dict(zip(names, joined / np.linalg.norm(joined, axis=1, keepdims=True), strict=True))


def verification(protocol: PairProtocol, vectors: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Return the accuracy of each fold with the threshold of the other; a pair without a face counts as an error."""
    pairs = [pair for pair in pairs_of(protocol) if pair[3] in FOLDS]
    scores = np.array([cosine(vectors, left, right) for left, right, *_ in pairs])
    genuine = np.array([pair[2] for pair in pairs])
    fold = np.array([pair[3] for pair in pairs])
    known = ~np.isnan(scores)
    right = np.zeros(len(pairs), bool)
    thresholds = []
    for number in FOLDS:
        other = known & (fold != number)
        thresholds.append(best_threshold(scores[other], genuine[other]))
        held_out = known & (fold == number)
        right[held_out] = (scores[held_out] > thresholds[-1]) == genuine[held_out]
    errors = int(len(pairs) - right.sum())
    low, high = wilson(errors, len(pairs))
    return {
        "pairs": len(pairs),
        "errors": errors,
        "accuracy": round(1 - errors / len(pairs), 5),
        "wilson_95": [round(1 - high, 5), round(1 - low, 5)],
        "thresholds": [round(value, 4) for value in thresholds],
    }


def cosine(vectors: dict[str, NDArray[np.float32]], left: str, right: str) -> float:
    return float(vectors[left] @ vectors[right]) if left in vectors and right in vectors else float("nan")


def pairs_of(protocol: PairProtocol) -> list[tuple[str, str, bool, int]]:
    """Return (left file, right file, genuine, fold) of every pair."""
    files = [Path(name).name for name in protocol.pictures]
    rows = zip(protocol.left, protocol.right, protocol.genuine, protocol.fold, strict=True)
    return [(files[left], files[right], bool(genuine), int(fold)) for left, right, genuine, fold in rows]


def detect_all(
    detector: Detector, photos: dict[str, Photo], title: str
) -> tuple[dict[str, list[Detection]], list[float]]:
    """Return the faces of every photo, and the milliseconds for each."""
    found: dict[str, list[Detection]] = {}
    times: list[float] = []
    detector.detect(next(iter(photos.values())))
    with progress_bar(title) as progress:
        for name in sorted(photos):
            start = time.perf_counter()
            found[name] = detector.detect(photos[name])
            times.append(1000 * (time.perf_counter() - start))
            progress(len(found), len(photos))
    return found, times


def candidates() -> dict[str, Detector]:
    one_look = CentreSettings(close_up=0)
    detectors: dict[str, Detector] = {
        "centerface": open_detector("centerface", threads=THREADS),
        "centerface, one look": CenterFaceDetector(open_centerface(threads=THREADS), one_look),
    }
    try:
        detectors["mtcnn"] = open_detector("mtcnn")
    except ModelError as error:
        typer.echo(f"left out: {error}", err=True)
    return detectors


def timing(milliseconds: list[float]) -> dict[str, float]:
    return {
        "photos": len(milliseconds),
        "ms_per_photo_median": round(float(np.median(milliseconds)), 2),
        "ms_per_photo_mean": round(float(np.mean(milliseconds)), 2),
    }


def time_anew(photos: dict[str, Photo], out: Path) -> None:
    """Replace the times in a file of results, in case the machine was busy during the first run."""
    figures = json.loads(out.read_text(encoding="utf-8"))
    for title, detector in candidates().items():
        _, times = detect_all(detector, photos, title)
        figures["detectors"][title]["timing"] = timing(times)
        typer.echo(f"{title}: {figures['detectors'][title]['timing']}")
    out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def installed() -> dict[str, str]:
    versions: dict[str, str] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def main(
    data: Annotated[Path, typer.Option(help="Folder with the LFW files.", exists=True, file_okay=False)],
    weights: Annotated[Path, typer.Option(help="Folder with mobilefacenet-ms1m.onnx.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="Where to write the figures.")] = Path("docs/studies/detectors.json"),
    time_only: Annotated[int, typer.Option(help="Only time this many photos anew; 0 measures everything.")] = 0,
) -> None:
    """Measure every detector and write the results."""
    cv2.setNumThreads(THREADS)
    photos = read_photos(data / "lfw-deepfunneled-folds-1-2.tar")
    if time_only:
        time_anew(dict(sorted(photos.items())[:time_only]), out)
        return
    protocol = read_lfw_pairs(data / "lfw-pairs.txt")
    embedder = OnnxEmbedder(weights / "mobilefacenet-ms1m.onnx")
    with TarPictures(data / "lfw-aligned-112.tar") as source:
        names = {Path(name).name: name for name in source.names()}
        given = {name: source.read(names[name]) for name in photos}
    results: dict[str, Any] = {}
    for title, detector in candidates().items():
        found, times = detect_all(detector, photos, title)
        by_choice = {
            choose.__name__: verification(protocol, embed(embedder, cut(photos, found, choose), f"{title}: embed"))
            for choose in (largest, most_central)
        }
        results[title] = {
            "photos": len(photos),
            "photos_with_a_face": sum(bool(faces) for faces in found.values()),
            "photos_with_several": sum(len(faces) > 1 for faces in found.values()),
            "timing": timing(times),
            "verification": by_choice,
        }
    figures = {
        "command": "OMP_NUM_THREADS=1 python benchmarks/detectors.py --data DATA --weights WEIGHTS",
        "versions": {"python": platform.python_version(), **installed()},
        "settings": {
            "threads": THREADS,
            "embedder": "mobilefacenet-ms1m.onnx",
            "embedder_sha256": embedder.sha256,
            "score": "cosine, no mirror image",
            "threshold": "for each fold the best on the other fold",
            "no_face": "counts as an error",
            "centerface": vars(CentreSettings()),
        },
        "aligned_crops_given": verification(protocol, embed(embedder, given, "aligned crops: embed")),
        "detectors": results,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(figures["detectors"], indent=2))


if __name__ == "__main__":
    typer.run(main)
