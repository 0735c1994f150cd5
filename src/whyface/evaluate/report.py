"""The results of an evaluation as a JSON document."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from whyface.evaluate.intervals import Interval
from whyface.evaluate.protocols import PairProtocol
from whyface.evaluate.scoring_model import ScoringModel
from whyface.evaluate.summary import RateAtFmr, Summary
from whyface.explain.xcos_method import software_versions

KIND_NAMES: Final[Mapping[str, str]] = {
    "cosine": "Cosine of embeddings",
    "u": "Uniform (U)",
    "p": "Correlated (P)",
    "l": "Learned (L)",
}

NOTES: Final = (
    "Match iff score > threshold. Rates and accuracies lie in [0, 1].",
    "Accuracy: mean over the folds, each judged with the threshold that is best on the others; its interval takes "
    "these thresholds as fixed.",
    "Intervals are for 95 %, pointwise, by resampling people; they err on the wide side where pairs hardly share "
    "people. Rates without any error have Wilson's interval instead.",
    "fmr_interval_fixed and fnmr_interval_fixed take the threshold as given (Wilson's, widened for shared people): "
    "use them for a threshold that is kept.",
)


def run_metadata(
    model: ScoringModel,
    protocol: PairProtocol,
    *,
    data: str,
    mirror: bool,
    replicates: int,
    seed: int,
    about: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say what was evaluated with what, in plain JSON values.

    Parameters
    ----------
    model, protocol
        What was evaluated on what.
    data
        Name of the folder or tar file with the pictures.
    mirror, replicates, seed
        Settings of the run.
    about
        What else there is to say about the protocol, in plain JSON values.
    settings
        Further settings.
    """
    genuine = int(protocol.genuine.sum())
    return {
        "model": {
            "name": model.name,
            "sha256": dict(model.sha256),
            "preprocessing": model.preprocessing.to_dict(),
            "scores": list(model.kinds),
        },
        "protocol": {
            "name": protocol.name,
            "data": data,
            "genuine_pairs": genuine,
            "impostor_pairs": len(protocol.genuine) - genuine,
            "pictures": len(protocol.pictures),
            "people": len(set(protocol.people)),
            "folds": len(set(protocol.fold.tolist())),
            **(about or {}),
        },
        "settings": {
            "mirror": mirror,
            "bootstrap_replicates": replicates,
            "seed": seed,
            "confidence": 0.95,
            **(settings or {}),
        },
        "versions": _versions(),
    }


def report_document(
    metadata: Mapping[str, Any], summaries: Mapping[str, Summary], *, command: str | None = None
) -> dict[str, Any]:
    """Put metadata and results into one document of plain JSON values, with the command that gives them again."""
    results = {kind: _result(summary) for kind, summary in summaries.items()}
    said = {} if command is None else {"command": command}
    return {**said, **metadata, "results": results, "notes": list(NOTES)}


def _result(summary: Summary) -> dict[str, Any]:
    return {
        "accuracy": summary.folds.mean,
        "accuracy_standard_error": summary.folds.standard_error,
        "accuracy_interval": _ends(summary.accuracy_interval),
        "fold_accuracies": summary.folds.accuracy.tolist(),
        "fold_thresholds": summary.folds.thresholds.tolist(),
        "auc": summary.auc,
        "auc_interval": _ends(summary.auc_interval),
        "eer": summary.eer,
        "eer_threshold": summary.eer_threshold,
        "eer_interval": _ends(summary.eer_interval),
        "at_fmr": [_rate(rate) for rate in summary.at_fmr],
    }


def _rate(rate: RateAtFmr) -> dict[str, Any]:
    if not rate.supported:
        return {"target_fmr": rate.target, "supported": False, "note": rate.note}
    return {
        "target_fmr": rate.target,
        "supported": True,
        "threshold": rate.threshold,
        "false_matches": rate.false_matches,
        "fmr": rate.fmr,
        "fmr_interval_fixed": _ends(rate.fmr_fixed),
        "fnmr": rate.fnmr,
        "fnmr_interval": _ends(rate.interval),
        "fnmr_interval_fixed": _ends(rate.fnmr_fixed),
        "tar": rate.tar,
        "note": rate.note,
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _versions() -> dict[str, str]:
    versions = software_versions()
    with contextlib.suppress(PackageNotFoundError):
        versions["pyarrow"] = version("pyarrow")
    return versions
