from .bootstrap import bootstrap_intervals as bootstrap_intervals
from .group_rates import audit_groups as audit_groups
from .groups import GroupAudit as GroupAudit
from .groups import GroupedPairs as GroupedPairs
from .intervals import Interval as Interval
from .intervals import people_wilson as people_wilson
from .intervals import wilson as wilson
from .rates import auc as auc
from .rates import equal_error as equal_error
from .rates import error_rates as error_rates
from .rates import fold_accuracy as fold_accuracy
from .rates import roc_curve as roc_curve
from .rates import tar_at_fmr as tar_at_fmr
from .rates import threshold_at_fmr as threshold_at_fmr
from .scoring import score_pairs as score_pairs
from .summary import Summary as Summary
from .summary import summarise as summarise

__all__ = [
    "GroupAudit",
    "GroupedPairs",
    "Interval",
    "Summary",
    "auc",
    "audit_groups",
    "bootstrap_intervals",
    "equal_error",
    "error_rates",
    "fold_accuracy",
    "people_wilson",
    "roc_curve",
    "score_pairs",
    "summarise",
    "tar_at_fmr",
    "threshold_at_fmr",
    "wilson",
]
