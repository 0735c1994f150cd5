"""Seeded ways to spoil a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import numpy as np

Mutator = Callable[[bytes, np.random.Generator], bytes]

HUGE: Final = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
NUMBERS: Final = (b"-1", b"0", b"1e999", b"-1e999", b"NaN", b"Infinity", b"9" * 19, b"9" * 400, b"1" * 5000, b".inf")
TEXTS: Final = (b"\0", b"\xff\xfe", b"\r\n", b"../../../x", b"/etc/passwd", b"\xed\xa0\x80", "é".encode(), b"x" * 300)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**62, -(2**62), 0.5, 1e308, -1e308, 5e-324),
    *("", "x" * 300, "\0", "..", "/etc/passwd", "2026-99-99", "\ud800"),
    *([], {}, [[]], [None], {"": None}, [0] * 1000, {"x": {"x": {"x": []}}}),
)


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(data)
    for bit in rng.integers(0, 8 * len(data), rng.integers(1, 9)):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flip_bits_in_front(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits where headers are."""
    head = min(len(data), 512)
    return flip_bits(data[:head], rng) + data[head:]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut the end off."""
    return data[: int(rng.integers(0, len(data)))]


def splice(data: bytes, rng: np.random.Generator) -> bytes:
    """Copy a part to another place, over what is there or between."""
    start, end = sorted(int(n) for n in rng.integers(0, len(data) + 1, 2))
    part = data[start : min(end, start + 4096)]
    at = int(rng.integers(0, len(data)))
    return data[:at] + part + data[at + (len(part) if rng.random() < 0.5 else 0) :]


def set_size(data: bytes, rng: np.random.Generator) -> bytes:
    """Write an extreme number where a size may be."""
    width = int(rng.choice([1, 2, 4, 8]))
    value = HUGE[rng.integers(len(HUGE))] & (1 << 8 * width) - 1
    at = int(rng.integers(0, max(min(len(data), 2048 if rng.random() < 0.7 else len(data)) - width, 1)))
    return data[:at] + value.to_bytes(width, "big" if rng.random() < 0.5 else "little") + data[at + width :]


def put_block(data: bytes, rng: np.random.Generator) -> bytes:
    """Write a block of one byte, or of noise."""
    at, length = int(rng.integers(0, len(data))), int(rng.integers(1, 513))
    block = rng.bytes(length) if rng.random() < 0.5 else bytes([int(rng.choice([0, 0xFF, 0x20, 0x80]))]) * length
    return data[:at] + block + data[at + length :]


def put_text(data: bytes, rng: np.random.Generator) -> bytes:
    """Put an odd text or number in the place of a word, or between."""
    choice = (*NUMBERS, *TEXTS)
    words = [n for n, byte in enumerate(data[:65536]) if byte in b" ,:=\t\n\"'[{"]
    start = words[rng.integers(len(words))] + 1 if words else int(rng.integers(0, len(data)))
    end = start
    while end < len(data) and data[end] not in b" ,:=\t\n\"']}" and rng.random() < 0.95:
        end += 1
    return data[:start] + choice[rng.integers(len(choice))] + data[end:]


def nest(data: bytes, rng: np.random.Generator) -> bytes:
    """Nest deeply."""
    opening, closing = [(b"[", b"]"), (b'{"a":', b"}"), (b"(", b")"), (b"- ", b""), (b"{a: ", b"}")][rng.integers(5)]
    depth = int(rng.choice([20, 500, 5000, 50_000]))
    at = int(rng.integers(0, len(data)))
    return data[:at] + opening * depth + (closing * depth if rng.random() < 0.5 else b"") + data[at:]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    """Say a part many times."""
    start, end = sorted(int(n) for n in rng.integers(0, len(data) + 1, 2))
    part = data[start : min(end, start + 256)]
    return data[:start] + part * int(rng.choice([2, 10, 1000])) + data[start:]


def change_value(data: bytes, rng: np.random.Generator) -> bytes:
    """Put a value of another kind somewhere into JSON; other data gets an odd text."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return put_text(data, rng)
    places: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        places += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys]
    for _ in range(int(rng.integers(1, 3))):
        holder, key = places[rng.integers(len(places))]
        value = VALUES[rng.integers(len(VALUES))]
        if isinstance(holder, dict) and rng.random() < 0.15:
            holder.pop(key, None)
        elif isinstance(holder, dict) or key < len(holder):
            holder[key] = value
    return json.dumps(document).encode()


BINARY: Final[tuple[Mutator, ...]] = (flip_bits, flip_bits_in_front, cut, splice, set_size, put_block, repeat)
TEXT: Final[tuple[Mutator, ...]] = (flip_bits, cut, splice, put_block, put_text, put_text, nest, repeat, change_value)


def spoil(data: bytes, mutators: tuple[Mutator, ...], rng: np.random.Generator) -> bytes:
    """Spoil a file in one to three ways."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        if data:
            data = mutators[rng.integers(len(mutators))](data, rng)
    return data
