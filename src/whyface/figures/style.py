"""How figures look: colours, sizes and measured text; and writing a figure whole or not at all."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from whyface.errors import OutputError
from whyface.files.integrity import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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


INK: Final = "#1b1f24"
MUTED: Final = "#5b6470"
HAIRLINE: Final = "#d5dae0"
BLUE: Final = "#2166ac"
"""Similar, above the threshold, towards a match: the blue end of the RdBu map, which colour-blind readers can tell from
its red."""
RED: Final = "#b2182b"
"""Different, below the threshold, away from a match."""

FONT: Final = "DejaVu Sans"
"""The family that comes with matplotlib: the same figure on every machine."""

DPI: Final = 100
"""Pixels per inch that layouts are made for; they are given in pixels at this resolution."""

Weight = Literal["normal", "bold"]
Align = Literal["left", "center", "right"]


class Sheet:
    """A figure that is laid out in pixels from its top left corner.

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
        """Turn a box in pixels from the top left into the figure's own (left, bottom, width, height)."""
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
        """Set lines of text, the first one's baseline at y; nothing in them is taken as mathematics.

        Returns
        -------
        The baseline of the line after the last.
        """
        for line in string.split("\n"):
            # Line by line: matplotlib would hang several lines on the last one's baseline.
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
        """Replace by a box what cannot be drawn on one line: control characters and what the font does not have."""
        from matplotlib.font_manager import findfont, get_font  # noqa: PLC0415 - slow to import

        known = get_font(findfont(FONT)).get_charmap()
        return "".join(
            char if ord(char) in known and unicodedata.category(char) != "Cc" else "\N{WHITE SQUARE}" for char in string
        )

    def measure(self, string: str, size: float, weight: Weight = "normal") -> float:
        """Measure a line's width in pixels."""
        from matplotlib.font_manager import FontProperties  # noqa: PLC0415 - slow to import

        font = FontProperties(family=FONT, size=size, weight=weight)
        renderer = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
        width, _, _ = renderer.get_text_width_height_descent(string, font, ismath=False)
        return float(width)

    def wrap(self, string: str, width: float, size: float, weight: Weight = "normal") -> str:
        """Break text into lines of at most so many pixels."""
        lines = [""]
        for word in string.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and self.measure(longer, size, weight) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        return "\n".join(lines)

    def shorten(self, string: str, width: float, size: float, weight: Weight = "normal") -> str:
        """Cut a name's middle out until it is at most so many pixels wide; its end (number, suffix) stays."""
        name = self.printable(string)
        # No letter is narrower than a quarter of the size, so that a very long name needs no trial of every length.
        most = min(len(name), int(4 * width / size))
        for kept in range(most, 1, -1):
            head = (kept + 1) // 2
            tail = name[len(name) - kept + head :]
            shown = name if kept == len(name) else f"{name[:head]}\N{HORIZONTAL ELLIPSIS}{tail}"
            if self.measure(shown, size, weight) <= width:
                return shown
        return name[:1]


def dress(axes: Axes) -> None:
    """Give a panel of curves the house's look: two thin spines, hairlines behind the curves, small labels."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
        axes.spines[side].set_linewidth(0.8)
    axes.grid(color=HAIRLINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", length=0, labelsize=9, labelcolor=INK, labelfontfamily=FONT, pad=6)
