"""Write a figure to a file, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from whyface.errors import OutputError
from whyface.models.atomic_write import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# No dates: the same figure gives the same bytes.
_METADATA: Final[dict[str, dict[str, Any]]] = {
    ".png": {},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}


def save_figure(fig: Figure, path: Path | str, *, dpi: float | None = None) -> Path:
    """Write a figure as PNG, PDF or SVG, by the path's extension.

    Parameters
    ----------
    fig
        The figure.
    path
        Target; an existing file is replaced once the new one is complete.
    dpi
        Pixels per inch of a PNG; the figure's own where left out.

    Returns
    -------
    The path.

    Raises
    ------
    OutputError
        The extension is another, the path is a folder, or the folder is missing or cannot be written to. Nothing is
        left behind then.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _METADATA:
        known = ", ".join(_METADATA)
        raise OutputError(f"{target}: cannot write figures as {suffix or 'a file without extension'}; use {known}")
    if target.is_dir():
        raise OutputError(f"{target}: is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise OutputError(f"{target}: the folder {target.parent} does not exist; create it first")
    buffer = io.BytesIO()
    fig.savefig(buffer, format=suffix[1:], dpi=dpi or fig.dpi, metadata=_METADATA[suffix])
    write_atomic(target, buffer.getvalue())
    return target
