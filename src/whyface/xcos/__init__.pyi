from .comparison import Comparison as Comparison
from .comparison import CosineComparison as CosineComparison
from .comparison import XcosComparison as XcosComparison
from .comparison import comparisons as comparisons
from .grid import PearsonAttention as PearsonAttention
from .grid import grid_cosine as grid_cosine
from .grid import normalise_attention as normalise_attention
from .grid import uniform_attention as uniform_attention
from .grid import xcos_score as xcos_score
from .model import XcosMaps as XcosMaps
from .model import XcosModel as XcosModel
from .model import open_xcos as open_xcos
from .open_model import OpenedModel as OpenedModel
from .open_model import open_model as open_model

__all__ = [
    "Comparison",
    "CosineComparison",
    "OpenedModel",
    "PearsonAttention",
    "XcosComparison",
    "XcosMaps",
    "XcosModel",
    "comparisons",
    "grid_cosine",
    "normalise_attention",
    "open_model",
    "open_xcos",
    "uniform_attention",
    "xcos_score",
]
