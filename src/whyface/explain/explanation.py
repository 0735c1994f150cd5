"""The explanation of one verdict: the immutable result that figures, sentences and files are made from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError, ModelError
from whyface.explain.provenance import NO_GRID, Cost, FaceInfo, ModelInfo, ThresholdSource, read_key, string_mapping
from whyface.explain.record import Record
from whyface.explain.usual import Telling
from whyface.files import json_values as values
from whyface.files.guarded import parse_json
from whyface.models.calibration import Bound, LikelihoodRatio
from whyface.models.operating_point import OperatingPoint
from whyface.xcos.grid import AttentionKind

SCHEMA: Final = "whyface/explanation/2"
"""The schema that :meth:`Explanation.to_dict` writes."""

READABLE: Final = ("whyface/explanation/1", SCHEMA)
"""The schemas that :meth:`Explanation.from_dict` reads. The first knows neither quality nor doubt."""

SUM_TOLERANCE: Final = 1e-4
"""Tolerance of the sum of the contributions, relative to the score if that is above 1."""

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

_T = TypeVar("_T")
_ARRAYS: Final = ("map_a", "map_b", "similarity", "attention", "contributions")


@dataclass(frozen=True, eq=False)
class Explanation:
    """A verdict about two faces and the reasons for it.

    Arrays are kept as read-only float32 copies, settings and versions as read-only copies.

    Attributes
    ----------
    score, threshold
        The faces match iff ``score > threshold``, strictly.
    threshold_source
        The operating point of the threshold.
    method
        The method that gave the reasons, such as ``"xcos"``.
    cost
        Forward and backward passes, and seconds.
    model
        The network.
    probability, probability_source
        Calibrated probability of "same person" in [0, 1] and the data it was calibrated on; both or neither.
    probability_bound
        ``"at least"`` or ``"at most"`` if the probability is as far as the calibration's sample reaches; None if it is
        the value itself.
    map_a, map_b
        One signed map per face, (H, W), or None; positive values support "same person".
    similarity, attention
        S and W, (h, w) each, 7 x 7 places for the known models; both or neither.
    contributions
        S * W, (h, w), with the score as its sum; computed if left out.
    attention_kind
        ``"u"`` uniform, ``"p"`` correlated, ``"l"`` learned; None for other weights or none.
    settings
        The method's settings as JSON values.
    versions
        Software versions by name.
    faces
        Origin of the two faces, or None.
    sentences
        The explanation in words; may be empty.
    telling
        How telling the similarity is at each place, against what is usual there; None if that is not on record.
    doubt
        Why the faces cannot support a verdict, such as ``"both faces are too blurred to compare"``; None if they can.
    undecided
        Whether the doubt leaves the verdict open; without it, a doubt only marks a verdict that was asked for all the
        same. There are no reasons and no probability for what is undecided.
    warnings
        What the verdict cannot be relied on for, keys of :data:`whyface.explain.childhood.WARNINGS`.
    operating_points
        The model's measured thresholds with their error rates, for whoever asks what another threshold would do.
    likelihood
        The likelihood ratio with its bounds and origin; None where none was calibrated, or nothing is decided.
    record
        When and with which files and settings the verdict came about; None if that was not kept.

    Raises
    ------
    InputError
        If numbers are not finite, shapes do not fit, or the contributions are not S * W or do not add up to the score.

    References
    ----------
    S, W and the strict rule: Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM
    2021.
    """

    score: float
    threshold: float
    threshold_source: ThresholdSource
    method: str
    cost: Cost
    model: ModelInfo
    probability: float | None = None
    probability_source: str | None = None
    probability_bound: Bound | None = None
    map_a: Map | None = None
    map_b: Map | None = None
    similarity: Map | None = None
    attention: Map | None = None
    contributions: Map | None = None
    attention_kind: AttentionKind | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    faces: tuple[FaceInfo, FaceInfo] | None = None
    sentences: tuple[str, ...] = ()
    telling: Telling | None = None
    doubt: str | None = None
    undecided: bool = False
    warnings: tuple[str, ...] = ()
    operating_points: tuple[OperatingPoint, ...] = ()
    likelihood: LikelihoodRatio | None = None
    record: Record | None = None

    def __post_init__(self) -> None:
        for name in ("score", "threshold", "probability"):
            value = getattr(self, name)
            if value is not None:
                self._set(name, float(value))
                if not math.isfinite(float(value)):
                    raise InputError(f"explanation: {name} must be finite, got {value}; the input was not usable")
        for name in _ARRAYS:
            if getattr(self, name) is not None:
                self._set(name, _read_only(name, getattr(self, name)))
        try:
            self._set("settings", values.freeze(values.mapping(self.settings)))
            self._set("versions", values.freeze(string_mapping(self.versions)))
        except (TypeError, ValueError) as error:
            raise InputError(f"explanation: the settings or versions {error}; use plain JSON values") from error
        self._set("sentences", tuple(self.sentences))
        self._set("warnings", tuple(self.warnings))
        self._check_options()
        self._check_grid()
        rows, columns = NO_GRID if self.similarity is None else self.similarity.shape
        infos: tuple[FaceInfo, ...] = self.faces or ()
        places = [place for info in infos for place in info.outside]
        if not self.undecided and any(row >= rows or column >= columns for row, column in places):
            raise InputError(f"explanation: a place outside the photo is not on the grid of {rows} x {columns} places")

    @property
    def is_match(self) -> bool:
        """Whether the verdict is a match: it is decided, and score > threshold, strictly."""
        return not self.undecided and self.score > self.threshold

    @property
    def verdict(self) -> str:
        """``"match"``, ``"no match"`` or ``"undecided"``."""
        if self.undecided:
            return "undecided"
        return "match" if self.is_match else "no match"

    @property
    def margin(self) -> float:
        """Score minus threshold: how far the verdict is from flipping."""
        return self.score - self.threshold

    @property
    def log10_lr(self) -> float | None:
        """Common logarithm of the likelihood ratio, above 0 for "same person"; None where none was calibrated."""
        return None if self.likelihood is None else self.likelihood.log10

    @property
    def has_grid(self) -> bool:
        """Whether the explanation has S, W and contributions."""
        return self.similarity is not None

    def outside(self, face: int, shape: tuple[int, int]) -> Mask:
        """Return which places of a map of this shape lie outside the photo of face 0 or 1, bool."""
        mask: Mask = np.zeros(NO_GRID if self.similarity is None else self.similarity.shape, np.bool_)
        for row, column in () if self.faces is None else self.faces[face].outside:
            mask[row, column] = True
        rows, columns = (np.arange(shape[axis]) * mask.shape[axis] // shape[axis] for axis in (0, 1))
        return mask[np.ix_(rows, columns)]

    @property
    def unseen(self) -> Mask | None:
        """Places of the grid that lie outside the photo of either face, which carry no reason; None without a grid."""
        shape = None if self.similarity is None else (self.similarity.shape[0], self.similarity.shape[1])
        return None if shape is None else self.outside(0, shape) | self.outside(1, shape)

    def __eq__(self, other: object) -> bool:
        """Compare field by field, arrays by shape and values."""
        if not isinstance(other, Explanation):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        """Hash the scalar fields."""
        return hash((self.score, self.threshold, self.method, self.model))

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle through the constructor, which makes arrays and mappings read-only again."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return _rebuild, ({**plain, "settings": values.thaw(self.settings), "versions": dict(self.versions)},)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON values; arrays become lists of rows."""
        plain: dict[str, Any] = {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "score": self.score,
            "threshold": self.threshold,
            "margin": self.margin,
            "threshold_source": self.threshold_source.to_dict(),
            "probability": self.probability,
            "probability_source": self.probability_source,
            "probability_bound": self.probability_bound,
            "likelihood_ratio": None if self.likelihood is None else self.likelihood.to_dict(),
            "doubt": self.doubt,
            "warnings": list(self.warnings),
            "method": self.method,
            "attention_kind": self.attention_kind,
            "sentences": list(self.sentences),
            "faces": None if self.faces is None else [face.to_dict() for face in self.faces],
            "model": self.model.to_dict(),
            "cost": self.cost.to_dict(),
            "settings": values.thaw(self.settings),
            "versions": dict(self.versions),
        }
        for name in _ARRAYS:
            array = getattr(self, name)
            plain[name] = None if array is None else values.array_to_lists(array)
        plain["telling"] = None if self.telling is None else self.telling.to_dict()
        plain["operating_points"] = [point.to_dict() for point in self.operating_points]
        plain["record"] = None if self.record is None else self.record.to_dict()
        return plain

    def to_json(self, *, indent: int | None = None) -> str:
        """Return strict JSON in ASCII; :meth:`from_json` restores an equal explanation, bit for bit."""
        return json.dumps(self.to_dict(), allow_nan=False, indent=indent)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Explanation:
        """Build from the result of :meth:`to_dict`; unknown keys are ignored.

        Raise DataError if the schema is unknown, a key is missing, a value is invalid, or the verdict contradicts the
        score.
        """
        part, key = "the file", "likelihood_ratio"
        schema = read_key(part, data, "schema", values.text)
        if schema not in READABLE:
            known = " and ".join(map(repr, READABLE))
            raise DataError(f"explanation: unknown schema {values.shown(schema)}; this version reads {known}")
        first = schema == READABLE[0]
        verdict = read_key(part, data, "verdict", values.text)
        read = {name: read_key(part, data, name, _maybe(values.array_from_lists)) for name in _ARRAYS}
        try:
            built = cls(
                score=read_key(part, data, "score", values.number),
                threshold=read_key(part, data, "threshold", values.number),
                threshold_source=ThresholdSource.from_dict(read_key(part, data, "threshold_source", values.mapping)),
                method=read_key(part, data, "method", values.text),
                cost=Cost.from_dict(read_key(part, data, "cost", values.mapping)),
                model=ModelInfo.from_dict(read_key(part, data, "model", values.mapping)),
                probability=read_key(part, data, "probability", _maybe(values.number)),
                probability_source=read_key(part, data, "probability_source", _maybe(values.text)),
                probability_bound=None if first else read_key(part, data, "probability_bound", _bound),
                attention_kind=cast(
                    "AttentionKind | None", read_key(part, data, "attention_kind", _maybe(values.text))
                ),
                settings=read_key(part, data, "settings", values.mapping),
                versions=read_key(part, data, "versions", string_mapping),
                faces=read_key(part, data, "faces", _faces),
                sentences=read_key(part, data, "sentences", _texts),
                doubt=None if first else read_key(part, data, "doubt", _maybe(values.text)),
                undecided=verdict == "undecided",
                warnings=read_key(part, {"warnings": [], **data}, "warnings", _texts),
                operating_points=read_key(part, {"operating_points": [], **data}, "operating_points", _points),
                telling=None if first else read_key(part, data, "telling", _maybe(Telling.from_dict)),
                likelihood=read_key(part, {key: None, **data}, key, _maybe(LikelihoodRatio.from_dict)),
                record=read_key(part, {"record": None, **data}, "record", _maybe(Record.from_dict)),
                **read,
            )
        except InputError as error:
            raise DataError(str(error)) from error
        if verdict != built.verdict:
            raise DataError(
                f"explanation: verdict {values.shown(verdict)} contradicts score {built.score:g} "
                f"and threshold {built.threshold:g}; write the file again"
            )
        return built

    @classmethod
    def from_json(cls, source: str) -> Explanation:
        """Build from what :meth:`to_json` returned; raise DataError if it is no JSON, or as :meth:`from_dict`."""
        try:
            data = parse_json(source)
        except ValueError as error:
            raise DataError(f"explanation: not valid JSON ({error}); write the file again") from error
        return cls.from_dict(data)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_options(self) -> None:
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise InputError(f"explanation: probability {self.probability:g} is not one; give it between 0 and 1")
        if (self.probability is None) != (self.probability_source is None):
            raise InputError("explanation: a probability and what it was calibrated on go together; give both")
        if self.probability_bound not in (None, "at least", "at most"):
            raise InputError("explanation: the bound of a probability is 'at least' or 'at most'; give one or None")
        if self.undecided and self.doubt is None:
            raise InputError("explanation: an undecided verdict needs the doubt that leaves it open; give it in words")
        names = ("probability", "likelihood", "telling", *_ARRAYS)
        if self.undecided and any(getattr(self, name) is not None for name in names):
            raise InputError("explanation: an undecided verdict has no reasons and no probability; leave them out")
        if self.attention_kind not in (None, "u", "p", "l"):
            raise InputError(f"explanation: unknown kind of attention {self.attention_kind!r}; use 'u', 'p' or 'l'")

    def _check_grid(self) -> None:
        s, w = self.similarity, self.attention
        if s is None or w is None:
            if any(part is not None for part in (s, w, self.contributions, self.attention_kind, self.telling)):
                raise InputError("explanation: similarity and attention go together; give both, or no grid at all")
            return
        if self.telling is not None and self.telling.neutral.shape != s.shape:
            raise InputError("explanation: what is usual is of another grid; give it for the places of the similarity")
        if s.shape != w.shape:
            raise InputError(f"explanation: similarity {s.shape} and attention {w.shape} differ; give one grid")
        product = np.multiply(s, w, dtype=np.float64)
        if self.contributions is None:
            self._set("contributions", _read_only("contributions", product))
        found = cast(Map, self.contributions).astype(np.float64)
        tolerance = SUM_TOLERANCE * max(1.0, abs(self.score))
        if found.shape != s.shape or np.abs(found - product).max() > tolerance:
            raise InputError("explanation: the contributions are not similarity times attention; leave them out")
        if abs(float(found.sum()) - self.score) > tolerance:
            raise InputError(
                f"explanation: the contributions add up to {found.sum():.6g}, not to the score {self.score:.6g}; "
                "give the score that belongs to these maps"
            )


def _rebuild(plain: dict[str, Any]) -> Explanation:
    return Explanation(**plain)


def _read_only(name: str, array: Any) -> Map:
    try:
        copy = np.array(array, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"explanation: {name} is not an array of numbers; give a 2-D array") from error
    if copy.ndim != 2 or copy.size == 0:
        raise InputError(f"explanation: {name} must be a 2-D array that is not empty, got shape {copy.shape}")
    if not np.isfinite(copy).all():
        raise InputError(f"explanation: {name} has values that are not finite; the input was not usable")
    copy.flags.writeable = False
    return copy


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        return isinstance(one, np.ndarray) and isinstance(two, np.ndarray) and np.array_equal(one, two)
    return bool(one == two)


def _maybe(read: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    return lambda value: values.optional(read, value)


def _bound(value: object) -> Bound | None:
    return cast("Bound | None", values.optional(values.text, value))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(values.text, values.items(value)))


def _points(value: Any) -> tuple[OperatingPoint, ...]:
    try:
        return tuple(OperatingPoint.from_dict(item) for item in values.items(value))
    except ModelError as error:
        raise ValueError(f"holds a damaged point ({error})") from error


def _faces(value: Any) -> tuple[FaceInfo, FaceInfo] | None:
    if value is None:
        return None
    infos = [FaceInfo.from_dict(item) for item in values.items(value)]
    if len(infos) != 2:
        raise ValueError(f"must be two faces, not {len(infos)}")
    return infos[0], infos[1]
