from .explanation import Explanation as Explanation
from .method_table import MethodEntry as MethodEntry
from .methods import open_method as open_method
from .pair_method import PairMaps as PairMaps
from .pair_method import PairMethod as PairMethod
from .registry import METHODS as METHODS
from .registry import register_method as register_method
from .verdict import FaceVerifier as FaceVerifier
from .verdict import VerdictMethod as VerdictMethod

__all__ = [
    "METHODS",
    "Explanation",
    "FaceVerifier",
    "MethodEntry",
    "PairMaps",
    "PairMethod",
    "VerdictMethod",
    "open_method",
    "register_method",
]
