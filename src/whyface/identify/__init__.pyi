from .evidential import EvidentialHead as EvidentialHead
from .evidential import load_evidential_head as load_evidential_head
from .identification import Identification as Identification
from .identification import identify as identify

__all__ = [
    "EvidentialHead",
    "Identification",
    "identify",
    "load_evidential_head",
]
