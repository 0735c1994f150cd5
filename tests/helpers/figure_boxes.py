"""Where the texts and panels of a figure lie."""

from __future__ import annotations

from matplotlib.figure import Figure


def assert_nothing_overlaps(figure: Figure) -> None:
    """Assert that every text and panel lies on the sheet, and that no text covers another or a panel."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    width, height = figure.canvas.get_width_height()
    boxes = [text.get_window_extent(renderer) for text in figure.texts if text.get_text()]
    panels = [axes.get_window_extent(renderer) for axes in figure.axes]
    for box in boxes + panels:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    for number, box in enumerate(boxes):
        assert not any(box.padded(-1).overlaps(other.padded(-1)) for other in boxes[number + 1 :])
        assert not any(box.padded(-1).overlaps(other) for other in panels)
