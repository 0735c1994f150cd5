from .folders import open_labelled as open_labelled
from .open_protocol import open_any_protocol as open_any_protocol
from .open_protocol import open_protocol as open_protocol
from .open_protocol import parse_protocol as parse_protocol
from .pair_lists import read_cfp_pairs as read_cfp_pairs
from .pair_lists import read_lfw_pairs as read_lfw_pairs
from .pair_lists import read_pair_list as read_pair_list
from .protocols import PairProtocol as PairProtocol
from .protocols import build_protocol as build_protocol

__all__ = [
    "PairProtocol",
    "build_protocol",
    "open_any_protocol",
    "open_labelled",
    "open_protocol",
    "parse_protocol",
    "read_cfp_pairs",
    "read_lfw_pairs",
    "read_pair_list",
]
