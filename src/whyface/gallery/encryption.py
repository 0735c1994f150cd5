"""Encryption of a gallery on disk: AES-256-GCM by record, with a key of the user's (extra ``encrypt``).

A gallery's own key is derived from the user's with HKDF-SHA-256 and a random salt, so that one key may serve many
galleries. Each record and each row of names is sealed alone, under a random nonce and together with its number: what
was changed, or put in the place of another, does not open.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from whyface.errors import DataError, InputError, reason
from whyface.files.guarded import read_guarded

KEY_VARIABLE: Final = "WHYFACE_KEY"
KEY_BYTES: Final = 32
NONCE: Final = 12
OVERHEAD: Final = NONCE + 16
"""Bytes that sealing adds: a nonce before, a tag after."""

_SALT: Final = 16


class Cipher:
    """Seals and opens the data of one gallery. Use :func:`new_cipher` or :func:`cipher_of`.

    Raise InputError if cryptography is not installed.

    Parameters
    ----------
    key
        The user's key, 32 bytes.
    salt
        The gallery's salt.
    """

    def __init__(self, key: bytes, salt: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
            from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
            from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415
        except ImportError as error:
            raise InputError("an encrypted gallery needs cryptography; run: pip install 'whyface[encrypt]'") from error
        if len(key) != KEY_BYTES:
            raise InputError(f"a key has {KEY_BYTES} bytes, got {len(key)}")
        self._aes: Any = AESGCM(HKDF(SHA256(), KEY_BYTES, salt, b"whyface gallery").derive(key))
        self._invalid = InvalidTag
        self.seal = ""
        """What the header keeps: the salt, and a mark that only this key opens."""

    def lock(self, data: bytes, what: bytes) -> bytes:
        """Seal data as what it is, such as ``b"face 7"``."""
        nonce = os.urandom(NONCE)
        return bytes(nonce + self._aes.encrypt(nonce, data, what))

    def unlock(self, data: bytes, what: bytes) -> bytes | None:
        """Open sealed data, or return None if it was changed, or is something else."""
        if len(data) < OVERHEAD:
            return None
        try:
            return bytes(self._aes.decrypt(data[:NONCE], data[NONCE:], what))
        except self._invalid:
            return None


def new_cipher(key: bytes, about: bytes) -> Cipher:
    """Return a cipher for a new gallery; ``about`` is the rest of its header, which the mark protects, too."""
    salt = os.urandom(_SALT)
    cipher = Cipher(key, salt)
    cipher.seal = (salt + cipher.lock(b"", about)).hex()
    return cipher


def cipher_of(seal: str, key: bytes | None, about: bytes, gallery: Path) -> Cipher | None:
    """Return the cipher of a gallery, None if it is not encrypted.

    Raise InputError if the key is missing, wrong, or given for a gallery that is not encrypted.
    """
    if not seal:
        if key is not None:
            raise InputError(f"{gallery}: not encrypted, but a key was given; whyface gallery copy encrypts it")
        return None
    if key is None:
        raise InputError(f"{gallery}: encrypted; give its key with --key FILE or in {KEY_VARIABLE}")
    try:
        mark = bytes.fromhex(seal)
    except (TypeError, ValueError) as error:
        raise DataError(f"{gallery}: the header is damaged; put back a copy of the file") from error
    cipher = Cipher(key, mark[:_SALT])
    if cipher.unlock(mark[_SALT:], about) is None:
        raise InputError(f"{gallery}: this is not the key it was encrypted with (or its header was changed)")
    cipher.seal = seal
    return cipher


def read_key(file: Path | str | None = None) -> bytes | None:
    """Return the key in a file, or else that in the environment variable ``WHYFACE_KEY``: 64 hexadecimal digits.

    Return None if there is neither. Raise InputError if it is no such key.
    """
    if file is None:
        text, source = os.environ.get(KEY_VARIABLE, ""), KEY_VARIABLE
        if not text:
            return None
    else:
        source = str(file)
        try:
            text = read_guarded(file, most=4096).decode("ascii")
        except OSError as error:
            raise InputError(f"{source}: the key cannot be read ({reason(error)})") from error
        except ValueError as error:
            raise InputError(f"{source}: not a key; a key is 64 hexadecimal digits") from error
    digits = text.strip()
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or len(digits) != 2 * KEY_BYTES:
        raise InputError(f"{source}: not a key; a key is 64 hexadecimal digits (openssl rand -hex {KEY_BYTES})")
    return key
