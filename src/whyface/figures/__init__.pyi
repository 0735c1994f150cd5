from .bench import curves_figure as curves_figure
from .bench import merits_figure as merits_figure
from .error_curves import det_figure as det_figure
from .error_curves import roc_figure as roc_figure
from .methods import methods_figure as methods_figure
from .style import save_figure as save_figure
from .verdict import verdict_figure as verdict_figure

__all__ = [
    "curves_figure",
    "det_figure",
    "merits_figure",
    "methods_figure",
    "roc_figure",
    "save_figure",
    "verdict_figure",
]
