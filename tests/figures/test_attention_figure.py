"""The figure of mean attention."""

from __future__ import annotations

import numpy as np
import pytest

from attention_figure import attention_figure
from whyface.errors import InputError


def test_one_panel_per_map_with_percent_in_the_cells() -> None:
    learned = np.full((7, 7), 0.5 / 48, np.float32)
    learned[3, 3] = 0.5
    figure = attention_figure({"u": np.full((7, 7), 1 / 49, np.float32), "l": learned}, title="Toy")
    assert [axes.get_label() for axes in figure.axes] == ["u", "l"]
    assert {text.get_text() for text in figure.axes[0].texts} == {"2.0"}
    assert "50.0" in {text.get_text() for text in figure.axes[1].texts}


@pytest.mark.parametrize("maps", [{}, {"l": np.zeros(49, np.float32)}])
def test_nothing_to_draw(maps: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match="attention map"):
        attention_figure(maps, title="Toy")
