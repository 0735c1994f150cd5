"""Read the plain data of an insightface pickle without running its code.

A pickle is a small program. There are two barriers. First, every instruction is read but not run, and all those that
plain data do not need are refused. Then the unpickler runs with stand-ins for the six names that such files
legitimately call. No name in the file is ever imported.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any, Final

import numpy as np

from whyface.errors import DataError

MOST_INSTRUCTIONS: Final = 8_000_000
"""A picture needs about ten; each instruction may need about 60 bytes of memory, so that this also limits memory."""

_NUMBERS: Final = ("NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG1")
_BYTES: Final = ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_TEXT: Final = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE")
_LISTS: Final = (
    "MARK",
    "EMPTY_LIST",
    "LIST",
    "APPEND",
    "APPENDS",
    "EMPTY_TUPLE",
    "TUPLE",
    "TUPLE1",
    "TUPLE2",
    "TUPLE3",
)
_MEMORY: Final = ("GET", "BINGET", "LONG_BINGET", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_CALLS: Final = ("GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD")
_PLAIN: Final = frozenset((*_NUMBERS, *_BYTES, *_TEXT, *_LISTS, *_MEMORY, *_CALLS, "PROTO", "FRAME", "STOP"))
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_DTYPES: Final = {"b1": "?", "?": "?", "u1": "u1", "i1": "i1", "i4": "<i4", "i8": "<i8"}
_NDARRAY: Final = object()
_ARRAY_MODULES: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC_MODULES: Final = ("numpy.core.numeric", "numpy._core.numeric")


def restricted_loads(data: bytes, where: str) -> Any:
    """Read a pickle of tuples, lists, numbers, booleans, byte strings, and small NumPy values.

    Python 2's strings come back as bytes, NumPy's scalars as Python's, and its arrays (bool or integer) as
    :class:`PickledArray`. Raise DataError if it is not a pickle, is cut off, or does anything that such data do not
    need.
    """
    _check_instructions(data, where)
    try:
        return _Restricted(data, where).load()
    except DataError:
        raise
    # A malformed program can fail in any way: stack underflow, missing memo, wrong arguments of a stand-in.
    except Exception as error:
        raise DataError(f"{where}: damaged ({type(error).__name__} while unpickling); fetch the file again") from error


def _check_instructions(data: bytes, where: str) -> None:
    count = end = 0
    try:
        for instruction, argument, position in pickletools.genops(data):
            count += 1
            if instruction.name not in _PLAIN:
                raise DataError(
                    f"{where}: byte {position} holds the pickle instruction {instruction.name}, which no verification "
                    "set needs; do not open the file elsewhere, fetch it from its source"
                )
            # The unpickler would allocate cells for every number below this one.
            if instruction.name in _PUTS and isinstance(argument, int) and not 0 <= argument <= count:
                raise DataError(f"{where}: byte {position} asks for {argument} memory cells; fetch the file again")
            if count > MOST_INSTRUCTIONS:
                raise DataError(f"{where}: more than {MOST_INSTRUCTIONS} pickle instructions; this is not a pair file")
            end = (position or 0) + 1
    except (ValueError, IndexError, OverflowError, UnicodeError) as error:
        raise DataError(f"{where}: not a pickle or cut off; fetch the file again") from error
    if end != len(data):
        raise DataError(f"{where}: {len(data) - end} bytes follow the end of the pickle; fetch the file again")


class PickledArray:
    """A one-dimensional NumPy array as stored in a pickle, not yet unpacked."""

    __slots__ = ("data", "kind")

    def __init__(self) -> None:
        self.kind = ""
        self.data: bytes | bytearray = b""

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, fortran, data = state
        self._fill(shape, kind, data)
        if not isinstance(fortran, bool | int):
            raise TypeError("order")

    def _fill(self, shape: Any, kind: Any, data: Any) -> None:
        if not (isinstance(kind, _Kind) and isinstance(shape, tuple) and isinstance(data, bytes | bytearray)):
            raise TypeError("array")
        if len(shape) != 1 or math.prod(shape) * np.dtype(kind.text).itemsize != len(data):
            raise ValueError("shape")
        self.kind, self.data = kind.text, data

    def __len__(self) -> int:
        return len(self.data) // np.dtype(self.kind).itemsize if self.kind else 0

    def values(self) -> list[int] | list[bool]:
        """Return the elements as Python numbers."""
        return np.frombuffer(self.data, self.kind).tolist() if self.kind else []

    @classmethod
    def of(cls, data: Any, kind: Any, shape: Any, order: Any) -> PickledArray:
        """Stand in for ``numpy._frombuffer``."""
        array = cls()
        if order not in ("C", "F", b"C", b"F"):
            raise ValueError("order")
        array._fill(shape, kind, data)
        return array


class _Kind:
    """Stand-in for a dtype; always little-endian."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, None, None, None, item size, alignment, flags): only the order matters here.
        if _text(state[1]) not in ("|", "<"):
            raise ValueError("byte order")


class _Restricted(pickle.Unpickler):
    """An unpickler that knows six names, all of them functions of this module."""

    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._where = where
        self._room = len(data)
        known: dict[tuple[str, str], object] = {
            ("_codecs", "encode"): self._encode,
            ("numpy", "dtype"): _dtype,
            ("numpy", "ndarray"): _NDARRAY,
        }
        known |= {(module, "scalar"): _scalar for module in _ARRAY_MODULES}
        known |= {(module, "_reconstruct"): _reconstruct for module in _ARRAY_MODULES}
        known |= {(module, "_frombuffer"): PickledArray.of for module in _NUMERIC_MODULES}
        self._known = known

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name; raise DataError for every other name."""
        try:
            return self._known[module, name]
        except KeyError:
            called = ascii(f"{module}.{name}"[:80])
            raise DataError(
                f"{self._where}: refused, since it wants to call {called}, which no verification set "
                "needs; do not open the file elsewhere, fetch it from its source"
            ) from None

    def persistent_load(self, _identity: Any) -> Any:
        """Refuse: there are no outside objects."""
        raise DataError(f"{self._where}: refused, since it refers to objects outside the file")

    def _encode(self, text: Any, encoding: Any) -> bytes:
        """Stand in for ``_codecs.encode``: how Python 3 stores bytes for Python 2."""
        if not isinstance(text, str) or _text(encoding) not in ("latin1", "latin-1"):
            raise TypeError("encode")
        # The same stored text could be encoded any number of times; genuine files do so once per string.
        self._room -= len(text)
        if self._room < 0:
            raise DataError(f"{self._where}: refused, since it unpacks to more than its own size")
        return text.encode("latin-1")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _dtype(kind: Any, _align: Any = False, _copy: Any = True) -> _Kind:
    return _Kind(_DTYPES[_text(kind)])


def _scalar(kind: Any, data: Any) -> int | bool:
    if not isinstance(kind, _Kind) or len(data) != np.dtype(kind.text).itemsize:
        raise TypeError("scalar")
    value: int | bool = np.frombuffer(data, kind.text)[0].item()
    return value


def _reconstruct(kind: Any, _shape: Any, _code: Any) -> PickledArray:
    if kind is not _NDARRAY:
        raise TypeError("array")
    return PickledArray()
