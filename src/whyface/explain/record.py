"""The record of one verdict: when, with which files and settings, and what a person decided about it.

With the photos and these files, anybody can compute the verdict again and compare (:mod:`whyface.record_check`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from whyface.errors import InputError
from whyface.explain.provenance import hexadecimal, read_key
from whyface.explain.usual import usual_path
from whyface.files import json_values as values
from whyface.files.integrity import HashedFile, sha256_of
from whyface.xcos.open_model import OpenedModel

Clock = Callable[[], datetime]
"""Returns the time now, with its time zone."""

LONGEST_NOTE: Final = 10_000
"""Maximum number of characters of a note."""


def utc_now() -> datetime:
    """Return the time now in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Record:
    """How a verdict came about, beside what the explanation says, and what a person decided.

    Attributes
    ----------
    time
        Date and time of the verdict in UTC, ISO 8601, such as ``"2026-11-27T09:30:00Z"``.
    files
        The files that the verdict depends on, each with its SHA-256: those of the model, the detector, and quality.
    request
        The options with which the model was opened, as JSON values.
    note
        The operator's note.
    reviewer, decision, decided
        Who reviewed the verdict, what that person decided, and when; None until somebody does. The program never fills
        them.

    Raises
    ------
    InputError
        If the time is not in UTC, or the note is too long.
    """

    time: str
    files: tuple[HashedFile, ...] = ()
    request: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    reviewer: str | None = None
    decision: str | None = None
    decided: str | None = None

    def __post_init__(self) -> None:
        for name in ("time", "decided"):
            if (value := getattr(self, name)) is not None and not _is_utc(value):
                raise InputError(f"record: {name} must be in UTC, such as 2026-11-27T09:30:00Z, got {value[:40]!r}")
        if len(self.note) > LONGEST_NOTE:
            raise InputError(f"record: a note of {len(self.note)} characters; it may have {LONGEST_NOTE}")
        object.__setattr__(self, "request", values.freeze(values.mapping(self.request)))

    @classmethod
    def now(cls, clock: Clock, *, files: tuple[HashedFile, ...], request: Mapping[str, Any], note: str) -> Record:
        """Return a record of what is being decided now."""
        time = clock().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(time, tuple(dict.fromkeys(files)), request, note)

    def __reduce__(self) -> tuple[Any, ...]:
        """Unpickle through the constructor, which makes the request read-only again."""
        people = (self.note, self.reviewer, self.decision, self.decided)
        return Record, (self.time, self.files, values.thaw(self.request), *people)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "time": self.time,
            "note": self.note,
            "reviewer": self.reviewer,
            "decision": self.decision,
            "decided": self.decided,
            "files": [{"role": file.role, "name": file.name, "sha256": file.sha256} for file in self.files],
            "request": values.thaw(self.request),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """Build from the result of :meth:`to_dict`; raise DataError if a value is missing or invalid."""
        return cls(
            time=read_key("record", data, "time", values.text),
            files=read_key("record", data, "files", lambda value: tuple(map(_file, values.items(value)))),
            request=read_key("record", data, "request", values.mapping),
            note=read_key("record", data, "note", values.text),
            **{name: read_key("record", data, name, _text_or_none) for name in ("reviewer", "decision", "decided")},
        )


def model_files(opened: OpenedModel, kind: str | None) -> tuple[HashedFile, ...]:
    """Return the files that a model's scores and reasons depend on.

    Parameters
    ----------
    opened
        The model.
    kind
        The attention; None if embeddings are compared, which have no usual similarities.
    """
    recorded = {} if opened.entry is None else {role: file.file_name for role, file in opened.entry.files.items()}
    files = tuple(
        HashedFile("embedder" if role == "onnx" else role, recorded.get(role, opened.name), sha256)
        for role, sha256 in opened.sha256.items()
    )
    usual = None if kind is None else usual_path(opened.entry)
    return files if usual is None else (*files, HashedFile("usual", usual.name, sha256_of(usual)))


def _file(value: Any) -> HashedFile:
    return HashedFile(
        read_key("a file", value, "role", values.text),
        read_key("a file", value, "name", values.text),
        read_key("a file", value, "sha256", lambda digits: values.optional(hexadecimal, digits)),
    )


def _text_or_none(value: Any) -> str | None:
    return values.optional(values.text, value)


def _is_utc(text: str) -> bool:
    try:
        return text.endswith("Z") and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
