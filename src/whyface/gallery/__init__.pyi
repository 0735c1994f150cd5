from .enroll import enroll_folder as enroll_folder
from .gallery import Gallery as Gallery
from .opening import open_for_search as open_for_search
from .opening import open_or_create as open_or_create
from .search import Candidate as Candidate
from .search import explain_cells as explain_cells
from .shortlist import build_shortlist as build_shortlist
from .shortlist import open_shortlist as open_shortlist
from .shortlist import search_shortlist as search_shortlist

__all__ = [
    "Candidate",
    "Gallery",
    "build_shortlist",
    "enroll_folder",
    "explain_cells",
    "open_for_search",
    "open_or_create",
    "open_shortlist",
    "search_shortlist",
]
