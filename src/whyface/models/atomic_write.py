"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from whyface.errors import OutputError


def write_atomic(path: Path | str, data: bytes) -> None:
    """Write to a temporary file beside the target, then rename it: readers see the old or the new file.

    Raises
    ------
    OutputError
        The folder is missing or cannot be written to.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes a private file; an existing target keeps its mode, a new one becomes readable.
        temporary.chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise OutputError(f"{target}: cannot write ({error.strerror or error}); check the folder") from error
