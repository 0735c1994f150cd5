r"""Compare face detectors on hard cases: small, cut off and turned faces, landmarks, false finds, time and size.

    OMP_NUM_THREADS=1 python -m benchmarks.detector_cases --data DATA --weights WEIGHTS --non-faces FOLDER

``DATA`` holds ``lfw-deepfunneled-folds-1-2.tar`` (the original 250 x 250 photos of LFW's folds 1 and 2),
``lfw-pairs.txt``, ``lfw-landmarks-mtcnn.txt`` and ``london-512.tar`` (Face Research Lab London Set, points by hand);
``WEIGHTS`` holds ``yunet.onnx`` (OpenCV Zoo). The folders of non-faces are searched for pictures. Nothing is random.
Times are processor time, so that other work on the machine does not count.
"""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, cast

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from studies.quality.nonfaces import drawn_face
from studies.quality.nonfaces import photos as non_faces

from whyface.data.pair_lists import read_lfw_pairs
from whyface.errors import FaceError, ModelError
from whyface.evaluate.intervals import wilson
from whyface.explain.verdict import FaceVerifier, software_versions
from whyface.faces.align import align, apply_affine
from whyface.faces.centerface import ASSET, CenterFaceDetector, CentreSettings, open_centerface
from whyface.faces.detection import Detection, Detector, largest_first
from whyface.faces.load import open_detector
from whyface.faces.photo import decode_photo
from whyface.files.progress import progress_bar

Photo = NDArray[np.uint8]
Points = NDArray[np.float64]
FOLDS: Final = (0, 1)
THREADS: Final = 1
LONDON_SIDE, LONDON_DRAWN = 512, 1350
LONDON_POINTS: Final = (0, 1, 87, 93)
"""Of the 189 points: both pupils and both corners of the mouth; the tip of the nose is none of them."""
PARTS: Final = (0, 1, 3, 4)
"""The same among a detector's five points."""
DRAWN: Final = 60
HEIGHTS: Final = (40, 30, 20, 16)
CUTS: Final = (0.25, 0.5)
TURNS: Final = (45, 90, 135, 180)


class YuNet:
    """YuNet (Wu et al., Machine Intelligence Research 2023) as OpenCV runs it, with OpenCV's defaults but the score."""

    def __init__(self, path: Path) -> None:
        self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), 0.6, 0.3, 5000)

    def detect(self, photo: Photo) -> list[Detection]:
        """Return the faces, the largest first."""
        self._network.setInputSize((photo.shape[1], photo.shape[0]))
        rows = self._network.detect(cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1]
        faces = []
        for row in np.empty((0, 15)) if rows is None else np.asarray(rows, np.float64):
            x, y, width, height = row[:4]
            # Its points are those of the person's right first, which is the left of the picture.
            points = row[4:14].reshape(5, 2).astype(np.float32)
            faces.append(Detection((x, y, x + width, y + height), points, float(min(row[14], 1))))
        return largest_first(faces)


class Timed:
    """A detector that notes the milliseconds of processor time of each call."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.times: list[float] = []

    def detect(self, photo: Photo) -> list[Detection]:
        """Detect."""
        start = time.process_time()
        found = self._detector.detect(photo)
        self.times.append(1000 * (time.process_time() - start))
        return found


def read_tar(path: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
            if content is not None:
                found[Path(member.name).name] = content.read()
    return found


def most_central(photo: Photo, found: list[Detection]) -> Detection:
    middle = np.array([photo.shape[1], photo.shape[0]]) / 2
    return min(found, key=lambda face: float(np.hypot(*(np.reshape(face.box, (2, 2)).mean(axis=0) - middle))))


def nearest(found: list[Detection], truth: Points) -> Detection | None:
    """Return the face that is within half a face of the true one; None if there is none."""
    reach = np.ptp(truth[:, 1]) + np.ptp(truth[:, 0])
    close = [(float(np.hypot(*(face.landmarks.mean(axis=0) - truth.mean(axis=0)))), n) for n, face in enumerate(found)]
    return found[min(close)[1]] if close and min(close)[0] < reach / 2 else None


def misplaced(points: NDArray[Any], truth: Points) -> float:
    """Mean distance of points from the truth, in distances between the eyes, whose points come first."""
    eyes = float(np.hypot(*(truth[1] - truth[0])))
    return float(np.hypot(*(np.asarray(points, np.float64) - truth).T).mean()) / eyes


def share(hits: int, count: int) -> dict[str, Any]:
    low, high = wilson(hits, count)
    return {"of": count, "count": hits, "wilson_95": [round(low, 4), round(high, 4)]}


def found_and_misplaced(detector: Detector, faces: Mapping[str, tuple[Photo, Points]], parts: Any) -> dict[str, Any]:
    """Count the faces found, and measure how far their landmarks are off."""
    errors = []
    for photo, truth in faces.values():
        face = nearest(detector.detect(photo), truth)
        if face is not None:
            errors.append(misplaced(face.landmarks[list(parts)], truth))
    middle = {"median": np.median(errors), "p95": np.percentile(errors, 95)} if errors else {}
    off = {name: round(float(value), 4) for name, value in middle.items()}
    return {"found": share(len(errors), len(faces)), "landmark_error_in_eye_distances": off}


def scaled(photo: Photo, truth: Points, height: float) -> tuple[Photo, Points]:
    """Shrink a photo until the face is ``height`` pixels high; eyes to mouth are two fifths of a face."""
    zoom = 0.4 * height / float(truth[3:, 1].mean() - truth[:2, 1].mean())
    small = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small, (truth + 0.5) * zoom - 0.5


def cut_off(photo: Photo, truth: Points, part: float) -> tuple[Photo, Points]:
    """Cut a photo so that a part of the face's width is beyond its left edge."""
    eyes = float(np.hypot(*(truth[1] - truth[0])))
    left = max(0, round(float(truth[:2, 0].mean()) - 1.1 * eyes + part * 2.2 * eyes))
    return np.ascontiguousarray(photo[:, left:]), truth - (left, 0)


def turned(photo: Photo, truth: Points, degrees: float) -> tuple[Photo, Points]:
    """Turn a photo clockwise on a canvas that holds all of it."""
    height, width = photo.shape[:2]
    matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1), np.float64)
    across, down = np.abs(matrix[:, :2]) @ (width, height)
    matrix[:, 2] += (across - width) / 2, (down - height) / 2
    picture = cv2.warpAffine(photo, matrix, (round(across), round(down))).astype(np.uint8)
    return picture, np.asarray(apply_affine(matrix, truth))


def crop_of(
    photo: Photo, found: list[Detection], choose: Callable[[Photo, list[Detection]], Detection]
) -> Photo | None:
    try:
        return align(photo, choose(photo, found).landmarks)[0] if found else None
    except FaceError:
        return None


def verified(verifier: FaceVerifier, crops: Mapping[str, Photo | None], pairs: list[tuple[str, str, bool]]) -> Any:
    """Count the errors at the shipped threshold; a pair without a face is a genuine pair missed, or no match."""
    comparison = verifier.method.comparison
    names = [name for name, crop in crops.items() if crop is not None]
    batch = np.stack([cast(Photo, crops[name]).transpose(2, 0, 1) for name in names])
    rows = [comparison.features(np.ascontiguousarray(batch[at : at + 32])) for at in range(0, len(batch), 32)]
    features = dict(zip(names, np.concatenate(rows), strict=True))
    missed = false = 0
    for left, right, genuine in pairs:
        match = False
        if left in features and right in features:
            score = comparison.scores(features[left][None], features[right][None])[0]
            match = float(score) > verifier.method.threshold
        missed += genuine and not match
        false += match and not genuine
    genuine_pairs = sum(genuine for *_, genuine in pairs)
    result = {"genuine_missed": share(missed, genuine_pairs)}
    if genuine_pairs < len(pairs):
        result["false_matches"] = share(false, len(pairs) - genuine_pairs)
    return result


def candidates(weights: Path) -> dict[str, Detector]:
    plain = CentreSettings(turned=False)
    detectors: dict[str, Detector] = {
        "centerface": open_detector("centerface", threads=THREADS),
        "centerface, not turned": CenterFaceDetector(open_centerface(threads=THREADS), plain),
        "yunet": YuNet(weights / "yunet.onnx"),
    }
    try:
        detectors["mtcnn"] = open_detector("mtcnn")
    except ModelError as error:
        typer.echo(f"left out: {error}", err=True)
    return detectors


def false_finds(detector: Detector, pictures: list[Photo]) -> dict[str, Any]:
    return share(sum(bool(detector.detect(picture)) for picture in pictures), len(pictures))


def main(
    data: Annotated[Path, typer.Option(help="Folder with the photos.", exists=True, file_okay=False)],
    weights: Annotated[Path, typer.Option(help="Folder with yunet.onnx.", exists=True, file_okay=False)],
    non_faces_in: Annotated[list[Path], typer.Option("--non-faces", help="Folders of pictures without people.")],
    out: Annotated[Path, typer.Option(help="Where to write the figures.")] = Path("docs/studies/detector-cases.json"),
    each: Annotated[int, typer.Option(help="Genuine and impostor pairs of each fold.")] = 20,
    london: Annotated[int, typer.Option(help="Photos of the London set.")] = 40,
    only: Annotated[
        list[str] | None, typer.Option(help="Measure these detectors alone; the file keeps the others.")
    ] = None,
) -> None:
    """Measure every detector and write the figures."""
    cv2.setNumThreads(THREADS)
    protocol = read_lfw_pairs(data / "lfw-pairs.txt")
    files = [Path(name).name for name in protocol.pictures]
    pairs: list[tuple[str, str, bool]] = []
    for fold in FOLDS:
        for genuine in (True, False):
            rows = np.flatnonzero((protocol.fold == fold) & (protocol.genuine == genuine))[:each]
            pairs += [(files[protocol.left[row]], files[protocol.right[row]], genuine) for row in rows]
    needed = {name for left, right, _ in pairs for name in (left, right)}
    encoded = read_tar(data / "lfw-deepfunneled-folds-1-2.tar", lambda name: Path(name).name in needed)
    lfw = {name: decode_photo(content, name) for name, content in encoded.items()}
    lines = (line.split() for line in (data / "lfw-landmarks-mtcnn.txt").read_text(encoding="utf-8").splitlines())
    points = {Path(line[0]).name: np.array(line[1:], np.float64).reshape(5, 2) for line in lines}
    some = {name: (lfw[name], points[name]) for left, right, same in pairs if same for name in (left,)}
    genuine_pairs = [pair for pair in pairs if pair[2]]
    pictures = [picture for _, picture in non_faces(non_faces_in)]
    drawings = [drawn_face(seed) for seed in range(DRAWN)]
    by_hand = london_photos(data / "london-512.tar", london)
    verifier = FaceVerifier(threads=THREADS)
    sizes = {"yunet": (weights / "yunet.onnx").stat().st_size}
    sizes |= dict.fromkeys(
        ("centerface", "centerface, not turned"), len((resources.files("whyface") / ASSET).read_bytes())
    )
    kept = json.loads(out.read_text(encoding="utf-8"))["detectors"] if only and out.exists() else {}
    results: dict[str, Any] = kept
    for title, plain in candidates(weights).items():
        if only and title not in only:
            continue
        detector = Timed(plain)
        with progress_bar(title) as progress:
            detections = {}
            for count, (name, photo) in enumerate(lfw.items(), start=1):
                detections[name] = detector.detect(photo)
                progress(count, len(lfw))
        times = detector.times[1:]
        upright = {name: crop_of(lfw[name], found, most_central) for name, found in detections.items()}
        result: dict[str, Any] = {
            "bytes": sizes.get(title),
            "cpu_ms_per_photo_median": round(float(np.median(times)), 2),
            "lfw_found": share(sum(map(bool, detections.values())), len(detections)),
            "lfw_verification": verified(verifier, upright, pairs),
            "lfw_against_machine_made_points": found_and_misplaced(plain, some, range(5)),
            "london_against_points_by_hand": found_and_misplaced(plain, by_hand, PARTS),
            "photos_without_people": false_finds(plain, pictures),
            "drawn_faces": false_finds(plain, drawings),
        }
        for height in HEIGHTS:
            small = {name: scaled(*face, height) for name, face in some.items()}
            result[f"faces_{height}_px_high"] = found_and_misplaced(plain, small, range(5))
        for part in CUTS:
            cut = {name: cut_off(*face, part) for name, face in some.items()}
            result[f"faces_{100 * part:.0f}_percent_cut_off"] = found_and_misplaced(plain, cut, range(5))
        for degrees in TURNS:
            lying = {right: turned(lfw[right], points[right], degrees) for _, right, _ in genuine_pairs}
            crops = {}
            for name, (photo, truth) in lying.items():
                face = nearest(plain.detect(photo), truth)
                crops[name] = None if face is None else crop_of(photo, [face], most_central)
            renamed = {f"turned {name}": crop for name, crop in crops.items()}
            turned_pairs = [(left, f"turned {right}", True) for left, right, _ in genuine_pairs]
            result[f"turned_{degrees}"] = verified(verifier, upright | renamed, turned_pairs)
        results[title] = result
        typer.echo(f"{title}: {json.dumps(result)}")
    figures = {
        "command": "OMP_NUM_THREADS=1 python -m benchmarks.detector_cases "
        "--data DATA --weights WEIGHTS --non-faces FOLDER",
        "versions": software_versions(),
        "samples": {
            "lfw_pairs": len(pairs),
            "lfw_photos": len(lfw),
            "lfw_faces_shrunk_or_cut": len(some),
            "lfw_pairs_turned": len(genuine_pairs),
            "london_photos": len(by_hand),
            "photos_without_people": len(pictures),
            "drawn_faces": DRAWN,
        },
        "verification": "xcos-mobilefacenet at its shipped threshold, the most central face; no face: no match",
        "detectors": results,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def london_photos(path: Path, count: int) -> dict[str, tuple[Photo, Points]]:
    """Read the first photos and their four points in pixels of the photo."""
    held = read_tar(path, lambda name: "neutral" in name)
    faces = {}
    for name in sorted(name for name in held if name.endswith(".jpg"))[:count]:
        lines = held[name.replace(".jpg", ".tem")].decode().splitlines()
        drawn = np.array([lines[1 + number].split() for number in LONDON_POINTS], np.float64)
        # Both sizes are of whole pixels, and pixel centres lie at integers.
        faces[name] = (decode_photo(held[name], name), (drawn + 0.5) * LONDON_SIDE / LONDON_DRAWN - 0.5)
    return faces


if __name__ == "__main__":
    typer.run(main)
