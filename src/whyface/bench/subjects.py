"""Methods opened on a model for the bench, and the bench's threshold."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import Explain, Remembered, Subject, read_chunks
from whyface.data.protocols import PairProtocol
from whyface.errors import ModelError, OutputError
from whyface.evaluate.rates import equal_error
from whyface.explain.cells import XcosEvidenceMethod
from whyface.explain.method_table import MethodEntry
from whyface.explain.methods import open_method
from whyface.explain.pair_method import PairMethod
from whyface.explain.provenance import ThresholdSource
from whyface.explain.registry import METHODS, method_entry
from whyface.explain.usual import find_usual
from whyface.explain.verdict import VerdictMethod
from whyface.faces.pictures import PictureSource
from whyface.files import json_values as values
from whyface.files.guarded import read_json
from whyface.files.integrity import write_atomic
from whyface.files.progress import ProgressCallback
from whyface.xcos.comparison import SearchableComparison
from whyface.xcos.open_model import OpenedModel

_CHUNK: Final = 50


def equal_error_threshold(
    comparison: SearchableComparison,
    protocol: PairProtocol,
    source: PictureSource,
    numbers: NDArray[np.intp],
    *,
    known: Path | None = None,
    progress: ProgressCallback | None = None,
) -> float:
    """Return the threshold where FMR and FNMR of these pairs are equal.

    The bench's decision threshold comes from pairs that it does not judge, see
    :func:`whyface.bench.base.pairs_set_aside`. ``known`` is a file with the threshold of an earlier run, which is used
    if its model and pairs are the same, and written otherwise.
    """
    asked = {"model": comparison.sha256, "kind": comparison.kind, "protocol": protocol.name, "pairs": numbers.tolist()}
    asked["pictures"] = [protocol.pictures[row] for row in (*protocol.left[numbers], *protocol.right[numbers])]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    with contextlib.suppress(OSError, KeyError, ValueError, TypeError):
        before = values.mapping(read_json(known)) if known is not None else {}
        if before["of"] == digest:
            return values.number(before["threshold"])
    scores: list[NDArray[np.float32]] = []
    for chunk in read_chunks(protocol, source, numbers, size=_CHUNK, seed=0):
        scores.append(comparison.scores(comparison.features(chunk.first), comparison.features(chunk.second)))
        if progress is not None:
            progress(sum(map(len, scores)), len(numbers))
    threshold = float(equal_error(np.concatenate(scores), protocol.genuine[numbers]).threshold)
    if known is not None:
        try:
            known.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{known.parent}: cannot be used ({error.strerror}); choose another folder") from error
        write_atomic(known, json.dumps({"threshold": threshold, "of": digest}).encode())
    return threshold


def fitting_methods(
    model: OpenedModel, *, directory: Path | None = None, options: Mapping[str, Mapping[str, Any]] | None = None
) -> list[str]:
    """Return all methods that can explain this model, including controls; each is opened with its options to see."""
    comparison = model.comparison()
    fitting = []
    for name in METHODS:
        try:
            open_subject(name, model, comparison, threshold=0.0, directory=directory, options=(options or {}).get(name))
        except ModelError:
            continue
        fitting.append(name)
    return fitting


def open_subject(
    name: str,
    model: OpenedModel,
    comparison: SearchableComparison,
    *,
    threshold: float,
    directory: Path | None = None,
    seed: int = 0,
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
) -> Subject:
    """Open a method so that it explains a model's own score.

    Parameters
    ----------
    name
        See :data:`~whyface.explain.registry.METHODS`.
    model, comparison
        The model, and the comparison that is explained.
    threshold
        Match iff score > threshold.
    directory
        Folder of models that are not part of whyface.
    seed, workers
        For methods with random draws, and for black-box methods.
    options
        Options of the method's class.

    Raises
    ------
    InputError
        If the method does not exist.
    ModelError
        If it cannot explain this model.
    """
    entry, chosen = method_entry(name), dict(options or {})
    if entry.needs == "xcos" and comparison.attention is not None:
        chosen.setdefault("usual", find_usual(model.entry, comparison.sha256))

    def opened(seed: int) -> PairMethod:
        return _open(entry, model, comparison, threshold, directory, seed, workers, chosen)

    method = opened(seed)
    return Subject(
        method,
        comparison,
        threshold,
        is_unsigned=entry.is_control,
        other_seed=(lambda: opened(seed + 1)) if "seed" in method.settings else None,
        randomised=_randomised(entry, model, comparison, threshold, directory, seed, chosen),
    )


def _randomised(
    entry: MethodEntry,
    model: OpenedModel,
    comparison: SearchableComparison,
    threshold: float,
    directory: Path | None,
    seed: int,
    options: Mapping[str, Any],
) -> Callable[[float], Explain] | None:
    """Return what gives a method's maps with randomised layers; None without PyTorch or the torch network."""
    if importlib.util.find_spec("torch") is None:
        return None
    from whyface.bench.randomised import open_on_torch, randomised_score  # noqa: PLC0415 - imports torch
    from whyface.explain.gradient_method import gives_gradients, pair_score  # noqa: PLC0415

    if not gives_gradients(comparison.embedder):
        return None

    @functools.cache
    def opened(share: float) -> Explain:
        score = pair_score(comparison, directory=directory)
        changed = randomised_score(score, share, seed=seed)
        return Remembered(open_on_torch(entry, changed, threshold=threshold, seed=seed, options=options))

    return opened


def _open(
    entry: MethodEntry,
    model: OpenedModel,
    comparison: SearchableComparison,
    threshold: float,
    directory: Path | None,
    seed: int,
    workers: int,
    options: Mapping[str, Any],
) -> PairMethod:
    common: dict[str, Any] = {
        "threshold": threshold,
        "source": ThresholdSource(kind="user", name="equal error on other pairs of the protocol"),
    }
    if entry.needs == "xcos":
        return XcosEvidenceMethod(comparison, **common, **options)
    verdict = VerdictMethod(comparison, **common)
    method = open_method(entry.name, verdict, directory=directory, seed=seed, workers=workers, **options)
    if not isinstance(method, PairMethod):
        raise ModelError(f"method {entry.name!r} gives no maps for each face of {model.name!r}")
    return method
