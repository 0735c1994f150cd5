from .base import BenchTest as BenchTest
from .base import Subject as Subject
from .run import run_bench as run_bench
from .subjects import open_subject as open_subject
from .summary import MethodSummary as MethodSummary
from .summary import summarise_method as summarise_method

__all__ = [
    "BenchTest",
    "MethodSummary",
    "Subject",
    "open_subject",
    "run_bench",
    "summarise_method",
]
