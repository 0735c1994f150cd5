"""The style of figures: colours, sizes and measured text; and saving figures atomically."""

from __future__ import annotations

import io
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal, TypeVar

from whyface.errors import OutputError
from whyface.files.integrity import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# No dates, so that the same figure gives the same bytes.
_METADATA: Final[dict[str, dict[str, Any]]] = {
    ".png": {},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}


_SETTINGS = threading.Lock()
_Target = TypeVar("_Target", bound=Path | str | BinaryIO)


def save_figure(fig: Figure, target: _Target, *, kind: str | None = None, dpi: float | None = None) -> _Target:
    """Write a figure as PNG, PDF or SVG.

    The text of an SVG stays text: a small file that can be searched and read aloud. Its fonts are the reader's.

    Parameters
    ----------
    fig
        The figure.
    target
        Path; an existing file is replaced when the new one is complete. Or a file opened in binary mode, such as a
        ``BytesIO``.
    kind
        ``"png"``, ``"pdf"`` or ``"svg"``; by default by the extension of the path, and PNG for an open file.
    dpi
        Pixels per inch of a PNG; by default the figure's own.

    Returns
    -------
    The target.

    Raises
    ------
    OutputError
        If the kind is unknown, the path is a folder, or its folder is missing or not writable. No partial file is left.
    """
    if not isinstance(target, str | Path):
        target.write(_drawn(fig, f".{kind or 'png'}".lower(), "the open file", dpi))
        return target
    path = Path(target)
    suffix = path.suffix.lower() if kind is None else f".{kind.lower()}"
    check_kind(suffix, str(path))
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give a file name")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; create it first")
    write_atomic(path, _drawn(fig, suffix, str(path), dpi))
    return target


def check_kind(suffix: str, name: str) -> None:
    """Raise OutputError if figures cannot be written with this ending."""
    if suffix not in _METADATA:
        known = ", ".join(_METADATA)
        raise OutputError(f"{name}: cannot write figures as {suffix or 'a file without extension'}; use {known}")


def _drawn(fig: Figure, suffix: str, name: str, dpi: float | None) -> bytes:
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import

    check_kind(suffix, name)
    buffer = io.BytesIO()
    if suffix != ".svg":
        fig.savefig(buffer, format=suffix[1:], dpi=dpi or fig.dpi, metadata=_METADATA[suffix])
        return buffer.getvalue()
    # A fixed salt: without it, the names inside differ from run to run. These settings are shared by all threads.
    with _SETTINGS, rc_context({"svg.fonttype": "none", "svg.hashsalt": "whyface"}), _photos_as_they_are(fig):
        fig.savefig(buffer, format="svg", metadata=_METADATA[suffix])
    return buffer.getvalue().replace(f"'{FONT}'".encode(), f"'{FONT}', Verdana, sans-serif".encode())


@contextmanager
def _photos_as_they_are(fig: Figure) -> Iterator[None]:
    """Leave enlarging photos to the reader's program; matplotlib would store the enlarged pixels."""
    enlarged = [image for axes in fig.axes for image in axes.images if image.get_interpolation() == "bicubic"]
    for image in enlarged:
        image.set_interpolation("none")
    try:
        yield
    finally:
        for image in enlarged:
            image.set_interpolation("bicubic")


INK: Final = "#1b1f24"
MUTED: Final = "#5b6470"
HAIRLINE: Final = "#d5dae0"
BLUE: Final = "#2166ac"
"""Similar, above the threshold, for a match: the blue end of the RdBu map, which colour-blind readers can tell from its
red."""
RED: Final = "#b2182b"
"""Different, below the threshold, against a match."""

FONT: Final = "DejaVu Sans"
"""The font that comes with matplotlib, so that figures are the same on every machine."""

DPI: Final = 100
"""Pixels per inch of layouts, which are given in pixels."""

Weight = Literal["normal", "bold"]
Align = Literal["left", "center", "right"]


class Sheet:
    """A figure laid out in pixels from its top left corner.

    Parameters
    ----------
    width, height
        Size in pixels at :data:`DPI`.
    """

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - slow to import
        from matplotlib.figure import Figure  # noqa: PLC0415

        self.width, self.height = width, height
        self.figure: Figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        self._canvas = FigureCanvasAgg(self.figure)

    def box(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Convert a box in pixels from the top left to figure coordinates (left, bottom, width, height)."""
        return x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height

    def text(
        self,
        x: float,
        y: float,
        string: str,
        *,
        size: float,
        color: str = INK,
        weight: Weight = "normal",
        align: Align = "left",
        leading: float = 1.45,
    ) -> float:
        """Draw lines of text, the baseline of the first at y, without mathematical notation.

        Return the baseline of the line after the last.
        """
        for line in string.split("\n"):
            # Line by line, since matplotlib would place several lines by the last one's baseline.
            self.figure.text(
                x / self.width,
                1 - y / self.height,
                line,
                size=size,
                color=color,
                weight=weight,
                family=FONT,
                ha=align,
                va="baseline",
                parse_math=False,
            )
            y += leading * size * DPI / 72
        return y

    def printable(self, string: str) -> str:
        """Replace control characters and characters missing in the font by a box."""
        from matplotlib.font_manager import findfont, get_font  # noqa: PLC0415 - slow to import

        known = get_font(findfont(FONT)).get_charmap()
        return "".join(
            char if ord(char) in known and unicodedata.category(char) != "Cc" else "\N{WHITE SQUARE}" for char in string
        )

    def measure(self, string: str, size: float, weight: Weight = "normal") -> float:
        """Return the width of a line in pixels."""
        from matplotlib.font_manager import FontProperties  # noqa: PLC0415 - slow to import

        font = FontProperties(family=FONT, size=size, weight=weight)
        renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
        width, _, _ = renderer.get_text_width_height_descent(string, font, ismath=False)
        return float(width)

    def wrap(self, string: str, width: float, size: float, weight: Weight = "normal") -> str:
        """Wrap text into lines of at most ``width`` pixels."""
        lines = [""]
        for word in string.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.measure(longer, size, weight) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return "\n".join(lines)

    def shorten(self, string: str, width: float, size: float, weight: Weight = "normal") -> str:
        """Shorten a name to at most ``width`` pixels by cutting out its middle; its end (number, suffix) stays."""
        name = self.printable(string)
        # No letter is narrower than a quarter of the size, which spares long names the trial of every length.
        most = min(len(name), int(4 * width / size))
        for kept in range(most, 1, -1):
            head = (kept + 1) // 2
            tail = name[len(name) - kept + head :]
            shown = name if kept == len(name) else f"{name[:head]}\N{HORIZONTAL ELLIPSIS}{tail}"
            if self.measure(shown, size, weight) <= width:
                return shown
        return name[:1]


def dress(axes: Axes) -> None:
    """Style a panel of curves: two thin spines, a grid of hairlines behind the curves, small labels."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
        axes.spines[side].set_linewidth(0.8)
    axes.grid(color=HAIRLINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=INK, labelfontfamily=FONT, pad=6)
