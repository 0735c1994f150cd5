"""The one guard for untrusted files: kind, size, depth and numbers are checked before the bytes are used.

It raises :class:`RefusedError`, which is an ``OSError``, or ``ValueError`` with a short phrase, and no other exception.
Readers add the name of the file and what to do.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_TEXT: Final = 64 * 2**20
"""Maximum size of JSON, YAML or settings in bytes; the largest explanation with maps is below 1 MiB."""

LARGEST_MODEL: Final = 2 * 2**30
"""Maximum size of a network or of tensors in bytes; an ONNX file cannot hold more."""

LARGEST_ARCHIVE: Final = 2**44
"""Maximum size of a tar or record file in bytes; these are read one picture at a time."""

LARGEST_NUMBER: Final = 2**63
"""Exclusive upper limit of whole numbers in JSON."""

_TENSOR_TYPES: Final = frozenset({"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"})


class RefusedError(OSError):
    """A file is not read because of its kind or size."""


def read_guarded(path: Path | str, *, most: int = LARGEST_MODEL) -> bytes:
    """Read a plain file of at most ``most`` bytes.

    Raise OSError if the file cannot be read; :class:`RefusedError` if it is not a plain file or too large. ``strerror``
    says why.
    """
    size = check_plain(path, most=most)
    with Path(path).open("rb") as file:
        # Python takes the memory first: asked for the most, it would take gigabytes for a file of a few bytes.
        data = file.read(size + 1)
    if len(data) > size:
        _refuse(path, "another program is writing to it")
    return data


def check_plain(path: Path | str, *, most: int = LARGEST_MODEL) -> int:
    """Return the size of a plain file; see :func:`read_guarded`."""
    try:
        about = Path(path).stat()
    except ValueError as error:  # a NUL byte, or a name that is not UTF-8
        raise RefusedError(errno.EINVAL, f"not a file name: {error}", str(path)) from error
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(about.st_mode):
        _refuse(path, "a pipe, device or socket, not a file")
    if about.st_size > most:
        _refuse(path, f"{about.st_size} bytes, more than the maximum of {most}")
    return about.st_size


def read_json(path: Path | str, *, most: int = LARGEST_TEXT) -> Any:
    """Read a JSON file. Raise what :func:`read_guarded` and :func:`parse_json` raise."""
    return parse_json(read_guarded(path, most=most))


def parse_json(source: str | bytes) -> Any:
    """Parse strict JSON in UTF-8: no NaN, no infinity, no number beyond 64 bits.

    Raise ValueError if the text is not that; the message is one line.
    """
    try:
        text = source.decode("utf-8") if isinstance(source, bytes) else source
        return json.loads(text, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def parse_yaml(source: str) -> Any:
    """Parse YAML of plain values (needs the extra ``train``).

    Raise ValueError if the text is not that; the message is one line.
    """
    import yaml  # noqa: PLC0415 - an extra

    try:
        return yaml.safe_load(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise ValueError(f"{getattr(error, 'problem', None) or 'not YAML'}{where}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except (ValueError, AttributeError, IndexError, KeyError, TypeError, OverflowError) as error:
        # PyYAML lets these through for odd dates, numbers and tags.
        raise ValueError(f"a value that cannot be read ({type(error).__name__})") from error


def read_tensors(
    path: Path | str, names: Iterable[str] | None = None
) -> tuple[dict[str, NDArray[Any]], Mapping[str, str]]:
    """Read a safetensors file.

    Return tensors by name, and the metadata. Raise OSError as :func:`read_guarded` does, and ValueError if it is not a
    safetensors file, or a tensor has a type that NumPy lacks, such as BF16.

    Parameters
    ----------
    names
        Names of the tensors to read; those that the file lacks are left out. None reads all.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - start fast

    check_plain(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            held = set(file.keys())
            chosen = held if names is None else held & set(names)
            for name in sorted(chosen):
                kind = str(file.get_slice(name).get_dtype())
                if kind not in _TENSOR_TYPES:
                    raise ValueError(f"tensor {name[:60]!r} has the type {kind[:20]}; store it as F32")
            return {name: file.get_tensor(name) for name in sorted(chosen)}, metadata
    except (SafetensorError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"not a safetensors file ({str(error)[:120]})") from error


def _refuse(path: Path | str, why: str) -> NoReturn:
    raise RefusedError(errno.EINVAL, why, str(path))


def _whole(digits: str) -> int:
    # Python itself refuses thousands of digits; these would overflow when converted to floats.
    value = int(digits) if len(digits) < 25 else LARGEST_NUMBER
    if abs(value) >= LARGEST_NUMBER:
        raise ValueError("a number beyond 64 bits")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("a number too large for a float")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not strict JSON")
