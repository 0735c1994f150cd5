from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyface.data import restricted_pickle
from whyface.data.restricted_pickle import PickledArray, restricted_loads
from whyface.errors import DataError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.binary(min_size=1),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=12,
)


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@given(plain, st.sampled_from(range(1, pickle.HIGHEST_PROTOCOL + 1)))
def test_plain_data_come_back(value: Any, protocol: int) -> None:
    assert restricted_loads(pickle.dumps(value, protocol), "x") == value


@given(st.binary(min_size=1))
def test_python_2_strings_are_bytes(data: bytes) -> None:
    short = b"U" + bytes([min(len(data), 255)]) + data[:255]
    assert restricted_loads(b"\x80\x02" + short + b".", "x") == data[:255]
    long = b"T" + len(data).to_bytes(4, "little") + data
    assert restricted_loads(b"\x80\x02" + long + b".", "x") == data


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["bool", "uint8", "int64"])
def test_numpy_values_come_back_without_numpy_being_called(protocol: int, kind: str) -> None:
    array = np.array([1, 0, 1, 1]).astype(kind)
    found = restricted_loads(pickle.dumps([array, array[0], array[1]], protocol), "x")
    assert isinstance(found[0], PickledArray)
    assert found[0].values() == array.tolist()
    assert len(found[0]) == 4
    assert found[1:] == [1, 0]


def test_the_module_names_of_older_numpy_are_known() -> None:
    data = pickle.dumps([np.array([True]), np.True_], 2).replace(b"numpy._core.", b"numpy.core.")
    assert restricted_loads(data, "x")[1] is True


HOSTILE = {
    "system": Calls(os.system, "touch HIT"),
    "eval": Calls(eval, "open('HIT', 'w')"),
    "exec": Calls(exec, "open('HIT', 'w')"),
    "open": Calls(open, "HIT", "w"),
    "subprocess": Calls(subprocess.check_call, ["touch", "HIT"]),
    "getattr": Calls(getattr, "x", "upper"),
    "import": Calls(__import__, "os"),
    "nested": ([b"jpeg"], [Calls(os.system, "touch HIT")]),
    "inner pickle": Calls(pickle.loads, pickle.dumps(Calls(os.system, "touch HIT"))),
    "numpy load": Calls(np.load, "HIT", None, True),
    "numpy frombuffer": Calls(np.frombuffer, b"abcd"),
    "numpy zeros": Calls(np.ones, 2**28),
    "bytes of a length": Calls(bytes, 2**30),
    "bytearray": bytearray(b"abc"),
    "a class": Path("HIT"),
    "a set": {1, 2},
    "a dictionary": {"a": 1},
    "a huge number": 1 << 5000,
    "a number of decimals": 1.5,
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_else_a_pickle_does_is_refused(
    what: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(HOSTILE[what], protocol)
    if what == "bytearray" and protocol == 5:
        return
    with pytest.raises(DataError) as caught:
        restricted_loads(data, "evil.bin")
    assert str(caught.value).startswith("evil.bin")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "HIT").exists()


def test_the_refused_name_is_told() -> None:
    with pytest.raises(DataError, match=r"wants to call '(posix|nt)\.system', which no verification set needs"):
        restricted_loads(pickle.dumps(Calls(os.system, "true")), "evil.bin")


HAND_MADE = {
    "a control character in a name": (b"c\x1b[2Jos\nsystem\n.", r"'\\x1b\[2Jos\.system'"),
    "an attribute by a dotted name": (b"\x80\x04\x8c\x07_codecs\x8c\x12encode.__globals__\x93.", "wants to call"),
    "an old-style class": (b"(ios\nsystem\n.", "INST"),
    "an extension code": (b"\x80\x02\x82\x01.", "EXT1"),
    "a persistent name": (b"Pname\n.", "PERSID"),
    "an outside buffer": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "a memo bomb": (b"\x80\x02Nr\xff\xff\xff\x7f.", "2147483647 memory cells"),
    "a negative memo": (b"Np-1\n.", "memory cells"),
    "a length bomb": (b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b"x.", "cut off"),
    "an unknown instruction": (b"\xff.", "not a pickle"),
    "no stop": (b"\x80\x02N", "not a pickle or cut off"),
    "data behind the stop": (b"\x80\x02N.N.", "2 bytes follow"),
    "an empty stack": (b"\x80\x02.", "damaged"),
    "a missing memo": (b"\x80\x02h\x07.", "damaged"),
    "a call of data": (b"\x80\x02K\x01K\x02\x85R.", "damaged"),
    "a state on data": (b"\x80\x02]N\x85b.", "damaged"),
    "an encoding that runs code": (b"c_codecs\nencode\n(X\x01\0\0\0aX\x03\0\0\0zipt R.", "damaged|not a pickle"),
    "object arrays": (b"cnumpy\ndtype\n(X\x02\0\0\0O8tR.", "damaged"),
}


@pytest.mark.parametrize("what", HAND_MADE)
def test_hand_made_programs_are_refused(what: str) -> None:
    data, message = HAND_MADE[what]
    with pytest.raises(DataError, match=message):
        restricted_loads(data, "evil.bin")


def test_one_text_cannot_be_unpacked_again_and_again() -> None:
    text = b"X" + (10_000).to_bytes(4, "little") + b"a" * 10_000
    again = b"h\x01(h\x00h\x02tR" * 50
    head = b"\x80\x02c_codecs\nencode\nq\x01" + text + b"q\x00X\x06\0\0\0latin1q\x02"
    with pytest.raises(DataError, match="more than its own size"):
        restricted_loads(head + again + b".", "evil.bin")


def test_arrays_that_claim_more_than_they_hold_are_refused() -> None:
    good = pickle.dumps(np.zeros(100, np.bool_), 4)
    with pytest.raises(DataError, match="damaged"):
        restricted_loads(good.replace(b"Kd\x85", b"Ke\x85"), "evil.bin")


def test_shapes_of_more_dimensions_are_refused() -> None:
    with pytest.raises(DataError, match="damaged"):
        restricted_loads(pickle.dumps(np.zeros((2, 2), np.bool_)), "evil.bin")


def test_instructions_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restricted_pickle, "MOST_INSTRUCTIONS", 100)
    with pytest.raises(DataError, match="more than 100 pickle instructions"):
        restricted_loads(b"\x80\x02" + b"]" * 200 + b".", "evil.bin")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_cut_off_anywhere_is_refused(protocol: int) -> None:
    data = pickle.dumps(([b"one", b"two"], [True]), protocol)
    for length in range(len(data)):
        with pytest.raises(DataError):
            restricted_loads(data[:length], "cut.bin")


@given(st.binary(max_size=60))
def test_no_bytes_at_all_raise_anything_else(data: bytes) -> None:
    before = set(sys.modules)
    for start in (b"", b"\x80\x02", b"\x80\x04"):
        try:
            restricted_loads(start + data + b".", "noise.bin")
        except DataError as error:
            assert "\n" not in str(error)
    assert set(sys.modules) == before
