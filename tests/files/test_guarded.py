"""The guard before files of others: pipes, devices, sizes, depth, numbers, types; each refused in a short phrase."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from whyface.files.guarded import RefusedError, parse_json, parse_yaml, read_guarded, read_json, read_tensors


def test_a_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2.5, "x", null]}', encoding="utf-8")
    assert read_json(path) == {"a": [1, 2.5, "x", None]}
    assert read_guarded(path, most=26) == path.read_bytes()


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RefusedError, match="pipe, device"):
        read_guarded(tmp_path / "pipe")


def test_a_device_without_end() -> None:
    with pytest.raises(RefusedError, match="pipe, device"):
        read_guarded("/dev/zero")


def test_a_sparse_file_of_50_gigabytes(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(50 * 2**30)
    with pytest.raises(RefusedError, match="more than the"):
        read_guarded(tmp_path / "large")


def test_a_small_file_takes_little_memory(tmp_path: Path) -> None:
    """However much would be read at most: 2 GiB were taken first."""
    (tmp_path / "small").write_bytes(b"x")
    tracemalloc.start()
    try:
        read_guarded(tmp_path / "small")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\udcff"])
def test_odd_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError):
        read_guarded(f"{tmp_path}/{name}")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_guarded(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        "NaN",
        "[Infinity]",
        "1" + "0" * 400,
        "-" + "9" * 5000,
        str(2**63),
        "{",
        "",
        '"\\ud800',
        "\xff",
    ],
)
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_json(text)
    assert len(str(caught.value).splitlines()) == 1


def test_json_that_is_not_utf_8() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        parse_json(b'"\xff"')


def test_the_largest_numbers_are_read() -> None:
    assert parse_json(f"[{2**63 - 1}, {-(2**63) + 1}, 1e300]") == [2**63 - 1, -(2**63) + 1, 1e300]


@pytest.mark.parametrize(
    "text",
    [
        "a: 2024-99-99",
        "[" * 5000,
        "&a [*a, *b]",
        "!!python/object:os.system x",
        "a: !!int 0x",
        "? [a]\n: {}\n? {b: c}",
        "\t:",
    ],
)
def test_yaml_that_is_refused(text: str) -> None:
    pytest.importorskip("yaml", reason="needs the extra train")
    with pytest.raises(ValueError) as caught:
        parse_yaml(text)
    assert len(str(caught.value)) < 200
    assert len(str(caught.value).splitlines()) == 1


def test_tensors_and_those_of_types_that_numpy_lacks(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a": np.arange(3, dtype=np.float32)}, metadata={"k": "v"}))
    tensors, metadata = read_tensors(path)
    np.testing.assert_array_equal(tensors["a"], [0, 1, 2])
    assert metadata == {"k": "v"}
    assert read_tensors(path, ("b",))[0] == {}
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match="type BF16; store it as F32"):
        read_tensors(path)


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}x", (2**40).to_bytes(8, "little") + b"{}"])
def test_no_safetensors(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a safetensors file"):
        read_tensors(path)
