"""The output of every benchmark: JSON on the screen, and in a file if one is named."""

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
        The measurements, with the command, the data, the seed and the versions; JSON values only.
    out
        File to write, or None.
    """
    text = f"{json.dumps(record, indent=1)}\n"
    if out:
        write_atomic(out, text.encode())
    sys.stdout.write(text)
