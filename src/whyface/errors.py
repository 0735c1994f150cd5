"""The one exception hierarchy of whyface.

Every error that a user can cause derives from :class:`WhyfaceError`; its message is a single line that says what was
wrong, with which file or value, and what to do. The command line prints that line and exits with status 2.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST_DATA: Final = 200
"""Maximum number of characters of a user's text, such as a path or a name, in a message."""

LONGEST_MESSAGE: Final = 600
"""Maximum number of characters of a message."""

_GAP: Final = " ... "
_LONG_WORD: Final = re.compile(rf"\S{{{LONGEST_DATA + 1},}}")


def shortened(text: str, most: int = LONGEST_DATA) -> str:
    """Return the text, with its middle left out where it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    end = (most - len(_GAP)) // 3
    return f"{text[: most - len(_GAP) - end]}{_GAP}{text[-end:]}"


def reason(error: BaseException) -> str:
    """Return why something failed, for a message: what the system says, without error number and path, or the text."""
    return getattr(error, "strerror", None) or str(error)


class WhyfaceError(Exception):
    """Base class of every error that whyface raises on purpose.

    Parameters
    ----------
    message
        What was wrong and what to do. Overlong words, which are a user's data, and an overlong message are shortened.
    """

    def __init__(self, message: str = "") -> None:
        # One path may stand twice in a message.
        share = LONGEST_DATA // max(len(_LONG_WORD.findall(message)), 1)
        words = _LONG_WORD.sub(lambda found: shortened(found[0], max(share, 20)), message)
        super().__init__(shortened(words, LONGEST_MESSAGE))


class InputError(WhyfaceError):
    """An argument, array or option does not fit (wrong shape, range or combination)."""


class PhotoError(WhyfaceError):
    """A picture file cannot be used: missing, empty, truncated, not a picture, or too large."""


class FaceError(WhyfaceError):
    """A picture was read but the face asked for is not in it."""


class ModelError(WhyfaceError):
    """A model is unknown, its file is missing or unreadable, or it cannot do what was asked."""


class ModelIntegrityError(ModelError):
    """A model file's SHA-256 is not the one on record."""


class DataError(WhyfaceError):
    """A data set, protocol file or result file is missing or malformed."""


class OutputError(WhyfaceError):
    """A result cannot be written where it was asked for."""
