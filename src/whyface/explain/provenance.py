"""The origin of an explanation: threshold, model, faces and the cost of the computation."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeVar, cast

import numpy as np

from whyface.errors import DataError, InputError
from whyface.faces.face import Face
from whyface.faces.quality import FaceQuality
from whyface.files.integrity import ContentHash
from whyface.files.json_values import count, items, mapping, number, numbers, optional, text
from whyface.models.operating_point import OperatingPoint

_T = TypeVar("_T")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

NO_GRID: Final = (7, 7)
"""The grid on which places outside the photo are listed where an explanation has none."""

ThresholdKind = Literal["operating point", "user"]


@dataclass(frozen=True)
class ThresholdSource:
    """The origin of a threshold and its error rates there, as recorded in an explanation's JSON.

    It has the fields of an :class:`~whyface.models.operating_point.OperatingPoint` except the threshold, or says that
    the user set the threshold. Raise InputError if a rate, interval or kind is invalid.

    Attributes
    ----------
    kind
        ``"operating point"``: measured on a data set; ``"user"``: set by the user, the rest is unknown.
    name, dataset
        Such as ``"FMR 1e-3"`` and ``"LFW, 6000 pairs"``.
    fmr, fnmr
        False match rate and false non-match rate at the threshold, in [0, 1].
    fmr_interval, fnmr_interval
        Their 95 % confidence intervals ``(low, high)``.
    genuine_pairs, impostor_pairs
        Number of pairs behind the rates.
    note
        A caveat, such as a sample too small for the target.
    """

    kind: ThresholdKind = "user"
    name: str = ""
    dataset: str = ""
    fmr: float | None = None
    fnmr: float | None = None
    fmr_interval: tuple[float, float] | None = None
    fnmr_interval: tuple[float, float] | None = None
    genuine_pairs: int | None = None
    impostor_pairs: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("operating point", "user"):
            raise InputError(f"unknown kind of threshold {self.kind!r}; use 'operating point' or 'user'")
        for name in ("fmr", "fnmr"):
            rate, interval = getattr(self, name), getattr(self, f"{name}_interval")
            if rate is not None and not 0 <= rate <= 1:
                raise InputError(f"threshold: {name} {rate} is not a rate; give it between 0 and 1")
            if interval is not None and not 0 <= interval[0] <= interval[1] <= 1:
                raise InputError(f"threshold: {name}_interval {interval} is not an interval; give (low, high) in 0..1")

    def describe(self) -> str:
        """Return the origin in a few words, such as ``"FMR 1e-3 on LFW, 6000 pairs"``."""
        if self.kind == "user":
            return self.name or "set by the user"
        return " on ".join(part for part in (self.name, self.dataset) if part) or "a measured operating point"

    @classmethod
    def from_operating_point(cls, point: OperatingPoint) -> ThresholdSource:
        """Build from a measured operating point, without its threshold."""
        return cls("operating point", **{key: value for key, value in vars(point).items() if key != "threshold"})

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        plain = asdict(self)
        for name in ("fmr_interval", "fnmr_interval"):
            plain[name] = None if plain[name] is None else list(plain[name])
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ThresholdSource:
        """Build from the result of :meth:`to_dict`; unknown keys are ignored.

        Raise DataError if a key is missing or a value is of the wrong type or out of range.
        """
        part = "threshold_source"
        return _built(
            lambda: cls(
                kind=cast(ThresholdKind, read_key(part, data, "kind", text)),
                name=read_key(part, data, "name", text),
                dataset=read_key(part, data, "dataset", text),
                fmr=read_key(part, data, "fmr", _maybe(number)),
                fnmr=read_key(part, data, "fnmr", _maybe(number)),
                fmr_interval=read_key(part, data, "fmr_interval", _maybe(_pair)),
                fnmr_interval=read_key(part, data, "fnmr_interval", _maybe(_pair)),
                genuine_pairs=read_key(part, data, "genuine_pairs", _maybe(count)),
                impostor_pairs=read_key(part, data, "impostor_pairs", _maybe(count)),
                note=read_key(part, data, "note", text),
            )
        )


@dataclass(frozen=True)
class Cost:
    """Cost of an explanation: forward and backward passes of the network, and seconds if they were measured."""

    forward: int
    backward: int = 0
    seconds: float | None = None

    def __post_init__(self) -> None:
        seconds = 0.0 if self.seconds is None else self.seconds
        if self.forward < 0 or self.backward < 0 or not 0 <= seconds < math.inf:
            raise InputError(f"{self} is not a cost; passes and seconds must be finite and at least 0")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cost:
        """Build from the result of :meth:`to_dict`; raise DataError if a value is missing or invalid."""
        return _built(
            lambda: cls(
                forward=read_key("cost", data, "forward", count),
                backward=read_key("cost", data, "backward", count),
                seconds=read_key("cost", data, "seconds", _maybe(number)),
            )
        )


@dataclass(frozen=True)
class ModelInfo:
    """A network: its name and the SHA-256 of its file (64 lower-case hex digits; None without a file)."""

    name: str
    sha256: str | None = None

    def __post_init__(self) -> None:
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise InputError(f"model {self.name!r}: {self.sha256!r} is not a SHA-256; give 64 hex digits or None")

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelInfo:
        """Build from the result of :meth:`to_dict`; raise DataError if a value is missing or invalid."""
        return _built(
            lambda: cls(
                name=read_key("model", data, "name", text), sha256=read_key("model", data, "sha256", _maybe(text))
            )
        )


@dataclass(frozen=True)
class FaceInfo:
    """A :class:`~whyface.faces.face.Face` without its pixels.

    Attributes
    ----------
    source
        Path of the photo as given, or ``""``.
    box
        ``(x0, y0, x1, y1)`` in photo pixels; None for an aligned crop.
    landmarks
        Five points ``(x, y)`` in photo pixels: left eye, right eye, nose tip, left and right mouth corner, as seen in
        the picture; None for an aligned crop.
    score
        The detector's confidence, or None.
    index, count
        Index of the face in the photo (0 = largest), and number of faces found there.
    quality
        Measures of the face and whether it can support a verdict; None if it was not measured.
    sha256
        SHA-256 of the crop's pixels; None where it is not on record.
    outside
        Row and column of each place that lies outside the photo, on the explanation's grid, or on 7 x 7 places if it
        has none; these carry no reason.
    transform
        Rows of the affine map (2, 3) from crop pixels to photo pixels; None for an aligned crop.
    photo_size
        Height and width of the photo in pixels; None for an aligned crop.
    file
        Hash and size of the picture file, as it was read; None where it was no file.
    """

    source: str = ""
    box: tuple[float, float, float, float] | None = None
    landmarks: tuple[tuple[float, float], ...] | None = None
    score: float | None = None
    index: int = 0
    count: int = 1
    quality: FaceQuality | None = None
    sha256: str | None = None
    outside: tuple[tuple[int, int], ...] = ()
    transform: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    photo_size: tuple[int, int] | None = None
    file: ContentHash | None = None

    def __post_init__(self) -> None:
        if self.landmarks is not None and (len(self.landmarks) != 5 or any(len(p) != 2 for p in self.landmarks)):
            raise InputError("a face must have five landmarks (x, y); give those or None")
        if not 0 <= self.index < self.count:
            raise InputError(f"there is no face {self.index} among {self.count}; count from 0")
        given = (self.score, *(self.box or ()), *(value for point in self.landmarks or () for value in point))
        if not all(value is None or math.isfinite(value) for value in given):
            raise InputError(f"face {self.source!r}: score, box and landmarks must be finite; leave them out")

    @classmethod
    def from_face(cls, face: Face, grid: tuple[int, int] = NO_GRID) -> FaceInfo:
        """Build from a face; ``grid`` is the size of the explanation's grid in places."""
        return cls(
            source=face.source,
            box=None if face.box is None else _box(list(map(float, face.box))),
            landmarks=None if face.landmarks is None else tuple((float(x), float(y)) for x, y in face.landmarks),
            score=None if face.score is None else float(face.score),
            index=face.index,
            count=face.count,
            quality=face.quality,
            sha256=face.sha256,
            outside=tuple((int(row), int(column)) for row, column in np.argwhere(face.outside(*grid))),
            transform=None if face.to_photo is None else _transform(face.to_photo.tolist()),
            photo_size=face.photo_size,
            file=face.file,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        plain = asdict(self)
        plain["box"] = None if self.box is None else list(self.box)
        plain["landmarks"] = None if self.landmarks is None else [list(point) for point in self.landmarks]
        plain["outside"] = [list(place) for place in self.outside]
        plain["transform"] = None if self.transform is None else [list(row) for row in self.transform]
        plain["photo_size"] = None if self.photo_size is None else list(self.photo_size)
        return plain

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FaceInfo:
        """Build from the result of :meth:`to_dict`; raise DataError if a value is missing or invalid."""
        # These came later than the first files.
        data = {**dict.fromkeys(("quality", "sha256", "transform", "photo_size", "file")), "outside": [], **data}
        return _built(
            lambda: cls(
                source=read_key("face", data, "source", text),
                box=read_key("face", data, "box", _maybe(_box)),
                landmarks=read_key("face", data, "landmarks", _maybe(_points)),
                score=read_key("face", data, "score", _maybe(number)),
                index=read_key("face", data, "index", count),
                count=read_key("face", data, "count", count),
                quality=read_key("face", data, "quality", _maybe(_quality)),
                sha256=read_key("face", data, "sha256", _maybe(text)),
                outside=read_key("face", data, "outside", _places),
                transform=read_key("face", data, "transform", _maybe(_transform)),
                photo_size=read_key("face", data, "photo_size", _maybe(_size)),
                file=read_key("face", data, "file", _maybe(_file)),
            )
        )


def _places(value: Any) -> tuple[tuple[int, int], ...]:
    places = [list(map(count, items(place))) for place in items(value)]
    if any(len(place) != 2 for place in places):
        raise ValueError("must hold a row and a column for each place")
    return tuple((row, column) for row, column in places)


def _transform(value: Any) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    first, second = (numbers(row, 3) for row in items(value))
    return (first[0], first[1], first[2]), (second[0], second[1], second[2])


def _size(value: Any) -> tuple[int, int]:
    height, width = (count(side) for side in items(value))
    return height, width


def _file(value: Any) -> ContentHash:
    found = mapping(value)
    return ContentHash(hexadecimal(found.get("sha256")), count(found.get("size")))


def hexadecimal(value: Any) -> str:
    """Read a SHA-256 as 64 lower-case hexadecimal digits."""
    if not _SHA256.fullmatch(text(value)):
        raise ValueError("must be a SHA-256 of 64 hexadecimal digits")
    return text(value)


def _quality(value: Any) -> FaceQuality:
    return FaceQuality.from_dict(mapping(value))


def read_key(part: str, data: Mapping[str, Any], key: str, read: Callable[[Any], _T]) -> _T:
    """Read one key of a part of an explanation.

    Raise DataError if the key is missing or ``read`` refuses its value; the message names part and key.
    """
    if not isinstance(data, Mapping):
        raise DataError(f"explanation: {part} must be an object; write the file again")
    if key not in data:
        raise DataError(f"explanation: {part} has no {key!r}; write the file again")
    try:
        return read(data[key])
    except (TypeError, ValueError) as error:
        raise DataError(f"explanation: {key!r} of {part} {error}; write the file again") from error


def _built(build: Callable[[], _T]) -> _T:
    try:
        return build()
    except InputError as error:
        raise DataError(f"explanation: {error}") from error


def _maybe(read: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    return lambda value: optional(read, value)


def _pair(value: Any) -> tuple[float, float]:
    low, high = numbers(value, 2)
    return low, high


def _box(value: Any) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = numbers(value, 4)
    return x0, y0, x1, y1


def _points(value: Any) -> tuple[tuple[float, float], ...]:
    return tuple(_pair(point) for point in items(value))


def string_mapping(value: Any) -> dict[str, str]:
    """Read an object whose values are strings."""
    return {key: text(item) for key, item in mapping(value).items()}
