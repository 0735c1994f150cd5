"""The one exception hierarchy of whyface.

Every error that a user can cause derives from :class:`WhyfaceError`; its message is a single line that says what was
wrong, with which file or value, and what to do. The command line prints that line and exits with status 2.
"""

from __future__ import annotations


class WhyfaceError(Exception):
    """Base class of every error that whyface raises on purpose."""


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
