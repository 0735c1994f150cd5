from .comparer import Comparer as Comparer
from .comparer import ComparerSettings as ComparerSettings
from .pair_source import PairSource as PairSource
from .pair_source import open_pair_source as open_pair_source
from .run import run_batch as run_batch

__all__ = [
    "Comparer",
    "ComparerSettings",
    "PairSource",
    "open_pair_source",
    "run_batch",
]
