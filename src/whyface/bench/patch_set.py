"""A patched protocol on disk, as PatchLFW is: pictures, where each patch lies and its source; and curves over it.

The patches are those of the bench's replacement test: with the same protocol, pairs and seed, the same pixels.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyface.bench.base import Explain, Faces, PairChunk, Subject, read_chunks, third_person
from whyface.bench.merits import area
from whyface.bench.planted import STEPS, patch_corners, patched_faces, replaced_scores
from whyface.data.protocols import PairProtocol
from whyface.errors import DataError, OutputError
from whyface.evaluate.rates import equal_error
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.files import json_values as values
from whyface.files.guarded import read_json
from whyface.files.integrity import folder_at_once
from whyface.files.progress import ProgressCallback
from whyface.xcos.comparison import Comparison, Features

SCHEMA: Final = "whyface/patches/1"
CURVE: Final = "whyface/patch-curve/1"
RECORD: Final = "patches.json"
CLEAN, PATCHED = "clean", "patched"
Strategy = Literal["best_worst", "random"]
_CHUNK: Final = 20


@dataclass(frozen=True)
class PatchedPair:
    """One pair of the set: its number in the protocol, its two files in both folders, and its label.

    ``source`` is the picture that the patches come from, ``corners`` their top left corners (row, column).
    """

    number: int
    files: tuple[str, str]
    genuine: bool
    source: str
    corners: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class PatchSet:
    """A set on disk: its folder, protocol, seed and pairs."""

    folder: Path
    protocol: str
    seed: int
    pairs: tuple[PatchedPair, ...]

    @property
    def genuine(self) -> NDArray[np.bool_]:
        """Whether each pair shows one person, (N,)."""
        return np.array([pair.genuine for pair in self.pairs], np.bool_)

    def chunks(self, size: int = _CHUNK) -> Iterator[tuple[PairChunk, Faces]]:
        """Yield pairs with clean faces, and the patched first faces. Raise DataError if a picture cannot be read."""
        with open_pictures(self.folder) as source:
            for start in range(0, len(self.pairs), size):
                part = self.pairs[start : start + size]
                first, second = (_read(source, [f"{CLEAN}/{pair.files[side]}" for pair in part]) for side in (0, 1))
                chunk = PairChunk(
                    numbers=np.array([pair.number for pair in part], np.intp),
                    first=first,
                    second=second,
                    # The third people are in the patches already.
                    other=first,
                    genuine=np.array([pair.genuine for pair in part], np.bool_),
                    seed=self.seed,
                )
                yield chunk, _read(source, [f"{PATCHED}/{pair.files[0]}" for pair in part])


def write_patch_set(
    folder: Path,
    protocol: PairProtocol,
    source: PictureSource,
    numbers: NDArray[np.intp],
    *,
    seed: int = 0,
    jpeg: bool = False,
    progress: ProgressCallback | None = None,
) -> None:
    """Write a patched protocol into a new folder.

    ``clean`` and ``patched`` each hold both pictures of every pair, numbered from 0 as published, ``pairs.txt`` lists
    them, ``patch_idx_gen.txt`` and ``patch_idx_imp.txt`` where the patches are, and ``patches.json`` everything.

    Parameters
    ----------
    folder
        The folder; it must not exist.
    protocol, source, numbers
        Pairs, their pictures, and the numbers of the pairs to use.
    seed
        Seed of patches and third people.
    jpeg
        Store JPEG files, as published, which changes pixels; PNG by default.
    progress
        Called with the pairs done and their total.

    Raises
    ------
    OutputError
        If the folder exists or cannot be written.
    DataError
        If a picture cannot be read.
    """
    if folder.exists():
        raise OutputError(f"{folder}: already exists; choose another name")
    ending = "jpg" if jpeg else "png"
    pairs: list[PatchedPair] = []
    try:
        with folder_at_once(folder) as place:
            for name in (CLEAN, PATCHED):
                (place / name).mkdir()
            for chunk in read_chunks(protocol, source, numbers, size=_CHUNK, seed=seed):
                patched, _ = patched_faces(chunk)
                for row, corners in enumerate(patch_corners(chunk)):
                    number, at = int(chunk.numbers[row]), 2 * len(pairs)
                    files = f"{at}.{ending}", f"{at + 1}.{ending}"
                    genuine = bool(chunk.genuine[row])
                    taken = third_person(protocol, number, seed) if genuine else protocol.right[number]
                    spots = tuple((int(top), int(left)) for top, left in corners)
                    pairs.append(PatchedPair(number, files, genuine, protocol.pictures[taken], spots))
                    for name, first in ((CLEAN, chunk.first[row]), (PATCHED, patched[row])):
                        for file, face in zip(files, (first, chunk.second[row]), strict=True):
                            (place / name / file).write_bytes(_encoded(face, jpeg))
                if progress is not None:
                    progress(len(pairs), len(numbers))
            for name, text in _texts(pairs, protocol.name, seed).items():
                (place / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error


def read_patch_set(folder: Path) -> PatchSet:
    """Open a set that :func:`write_patch_set` wrote. Raise DataError if it is none or damaged."""
    path = folder / RECORD
    try:
        found = _document(path, SCHEMA)
        pairs = tuple(_pair(values.mapping(one)) for one in values.items(found["pairs"]))
        known = PatchSet(folder, values.text(found["protocol"]), values.count(found["seed"]), pairs)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a folder of whyface patch create") from error
    except KeyError as error:
        raise DataError(f"{path}: lacks {error.args[0]!r}; create the set again") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}; create the set again") from error
    if not 0 < known.genuine.sum() < len(pairs):
        raise DataError(f"{path}: needs genuine and impostor pairs; create the set again")
    return known


@dataclass(frozen=True)
class PatchRates:
    """FMR and FNMR of a model at one threshold, without and with patches."""

    threshold: float
    clean: dict[str, float]
    patched: dict[str, float]


def evaluate_patches(
    known: PatchSet,
    comparison: Comparison,
    threshold: float | None = None,
    *,
    progress: ProgressCallback | None = None,
) -> PatchRates:
    """Measure a model on a set; the threshold is that of equal errors without patches, if not given."""
    clean: list[Features] = []
    patched: list[Features] = []
    for chunk, faces in known.chunks():
        first, second, changed = map(comparison.features, (chunk.first, chunk.second, faces))
        clean.append(comparison.scores(first, second))
        patched.append(comparison.scores(changed, second))
        if progress is not None:
            progress(sum(map(len, clean)), len(known.pairs))
    before, after = np.concatenate(clean), np.concatenate(patched)
    if threshold is None:
        threshold = float(equal_error(before, known.genuine).threshold)
    return PatchRates(threshold, *(error_rates(scores, known.genuine, threshold) for scores in (before, after)))


def error_rates(scores: NDArray[np.floating[Any]], genuine: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Return ``FMR``, impostor pairs above the threshold, and ``FNMR``, genuine ones not above it."""
    return {
        "FMR": float((scores[~genuine] > threshold).mean()),
        "FNMR": float((scores[genuine] <= threshold).mean()),
    }


@dataclass(frozen=True)
class PatchCurve:
    """Error rates of one model while pixels are replaced in the order of one method.

    Attributes
    ----------
    model, method, strategy
        Names; a method's pixels are replaced by ``"best_worst"``, and ``"random"`` has no method.
    protocol, pairs, threshold
        Where the rates come from.
    shares, fmr, fnmr
        Share of the pixels replaced, and the error rates, in 0..1.
    """

    model: str
    method: str
    strategy: str
    protocol: str
    pairs: int
    threshold: float
    shares: tuple[float, ...]
    fmr: tuple[float, ...]
    fnmr: tuple[float, ...]

    @classmethod
    def of(
        cls,
        known: PatchSet,
        subject: Subject,
        strategy: Strategy,
        shares: Sequence[float],
        scores: NDArray[np.float64],
    ) -> PatchCurve:
        """Summarise the scores of :func:`replacement_curve`."""
        rates = [error_rates(column, known.genuine, subject.threshold) for column in scores.T]
        method = "" if strategy == "random" else subject.method.name
        return cls(
            subject.comparison.name,
            method,
            strategy,
            known.protocol,
            len(known.pairs),
            subject.threshold,
            (0.0, *shares),
            tuple(one["FMR"] for one in rates),
            tuple(one["FNMR"] for one in rates),
        )

    @property
    def area(self) -> float:
        """The mean height of the mean of FMR and FNMR: less is better."""
        errors = (np.array(self.fmr) + self.fnmr) / 2
        return float(area(np.array(self.shares), errors[None])[0])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"schema": CURVE, **asdict(self), "area": self.area}

    @classmethod
    def read(cls, path: Path) -> PatchCurve:
        """Read a file of ``whyface patch replace``. Raise DataError if it is none."""
        try:
            found = _document(path, CURVE)
            model, method, strategy, protocol = (
                values.text(found[name]) for name in ("model", "method", "strategy", "protocol")
            )
            count = len(values.items(found["shares"]))
            shares, fmr, fnmr = (values.numbers(found[name], count) for name in ("shares", "fmr", "fnmr"))
            _check_rising(shares)
            pairs, threshold = values.count(found["pairs"]), values.number(found["threshold"])
            return cls(model, method, strategy, protocol, pairs, threshold, shares, fmr, fnmr)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except KeyError as error:
            raise DataError(f"{path}: lacks {error.args[0]!r}; give files of whyface patch replace") from error
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: {error}; give files of whyface patch replace") from error


def replacement_curve(
    known: PatchSet,
    subject: Subject,
    explain: Explain,
    shares: Sequence[float] = STEPS[1:],
    *,
    pictures: Path | None = None,
    progress: ProgressCallback | None = None,
) -> NDArray[np.float64]:
    """Replace the pixels that a method ranks first by the original ones; return scores (N, 1 + S), unreplaced first.

    A match gives up the pixels most for it, any other pair those most against it.

    Parameters
    ----------
    known, subject
        The set; the method with its model and threshold.
    explain
        Returns the method's maps.
    shares
        Shares of the pixels.
    pictures
        A folder for the replaced pictures, one subfolder per share; None keeps none.
    progress
        Called with the pairs done and their total.

    Raises
    ------
    DataError, OutputError
        If a picture cannot be read or written.
    """
    found: list[NDArray[np.float64]] = []
    for chunk, patched in known.chunks():
        scores, replaced = replaced_scores(chunk, patched, explain(patched, chunk.second).map_a, subject, shares)
        found.append(scores)
        if pictures is not None:
            _write_pictures(pictures, known.pairs[sum(map(len, found[:-1])) :], replaced, shares)
        if progress is not None:
            progress(sum(map(len, found)), len(known.pairs))
    return np.concatenate(found)


def _document(path: Path, schema: str) -> Mapping[str, Any]:
    found = values.mapping(read_json(path))
    if found.get("schema") != schema:
        raise ValueError(f"the schema is not {schema}")
    return found


def _check_rising(shares: Sequence[float]) -> None:
    if len(shares) < 2 or any(low >= high for low, high in pairwise(shares)):
        raise ValueError("there must be two shares or more, which rise")


def _write_pictures(
    folder: Path, pairs: Sequence[PatchedPair], replaced: Sequence[Faces], shares: Sequence[float]
) -> None:
    try:
        for column, share in enumerate(shares):
            place = folder / f"{round(100 * share)}_percent"
            place.mkdir(parents=True, exist_ok=True)
            for pair, faces in zip(pairs, replaced, strict=False):
                name = pair.files[0]
                (place / name).write_bytes(_encoded(faces[column], name.endswith("jpg")))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error


def _pair(one: Any) -> PatchedPair:
    files = tuple(values.text(name) for name in values.items(one["files"]))
    if len(files) != 2:
        raise ValueError("a pair needs two pictures")
    spots = [tuple(map(values.count, values.items(spot))) for spot in values.items(one["corners"])]
    corners = tuple((top, left) for top, left in spots)
    genuine = one["genuine"]
    if not isinstance(genuine, bool):
        raise TypeError("'genuine' must be true or false")
    return PatchedPair(values.count(one["number"]), (files[0], files[1]), genuine, values.text(one["source"]), corners)


def _read(source: PictureSource, names: Sequence[str]) -> Faces:
    return np.ascontiguousarray(np.stack([source.read(name) for name in names]).transpose(0, 3, 1, 2))


def _encoded(face: NDArray[np.uint8], jpeg: bool) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(face.transpose(1, 2, 0)))
    picture.save(buffer, "JPEG" if jpeg else "PNG", **({"quality": 95, "subsampling": 0} if jpeg else {}))
    return buffer.getvalue()


def _texts(pairs: Sequence[PatchedPair], protocol: str, seed: int) -> dict[str, str]:
    lists: dict[str, list[str]] = {"pairs.txt": [], "patch_idx_gen.txt": [], "patch_idx_imp.txt": []}
    for pair in pairs:
        lists["pairs.txt"].append(" ".join([*pair.files, "1" if pair.genuine else "-1"]))
        tops, lefts = ([spot[axis] for spot in pair.corners] for axis in (0, 1))
        ids = ", ".join(name.partition(".")[0] for name in pair.files)
        source = f", {pair.source}" if pair.genuine else ""
        lists[f"patch_idx_{'gen' if pair.genuine else 'imp'}.txt"].append(f"{ids}{source}\t{tops}\t{lefts}")
    record = {
        "schema": SCHEMA,
        "protocol": protocol,
        "seed": seed,
        "pairs": [asdict(pair) for pair in pairs],
    }
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in lists.items()}
    return texts | {RECORD: f"{json.dumps(record, allow_nan=False)}\n"}
