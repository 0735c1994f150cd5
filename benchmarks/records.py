"""How every benchmark gives its numbers back: JSON on the screen and, where a file is named, the same in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from whyface.files.integrity import write_atomic


def publish(record: dict[str, Any], out: Path | None) -> None:
    """Print a record and write it to a file.

    Parameters
    ----------
    record
        What was measured, with the command, the data, the seed and the versions; JSON values only.
    out
        Where to write it; nowhere if None.
    """
    text = f"{json.dumps(record, indent=1)}\n"
    if out:
        write_atomic(out, text.encode())
    sys.stdout.write(text)
