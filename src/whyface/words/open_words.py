"""Open everything that words need with one call."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from whyface.explain.pair_scorer import CosineScorer, PairScorer, XcosScorer
from whyface.explain.xcos_method import XcosMethod
from whyface.words.attribute_model import AttributeReader, open_attributes
from whyface.words.identity_cells import IdentityCells, identity_cells
from whyface.words.word_explainer import WordExplainer
from whyface.words.word_settings import WordSettings

if TYPE_CHECKING:
    from whyface.verification import Verifier
    from whyface.words.identity_classes import IdentityClasses


def scorer_and_cells(verifier: Verifier, *, with_cells: bool = True) -> tuple[PairScorer, IdentityCells | None]:
    """Give a verifier's score and its view of identity place by place.

    Raises
    ------
    ModelError
        If the model cannot be read place by place, which only words without the counterfactual map need not.
    """
    method = verifier.method
    if isinstance(method, XcosMethod):
        scorer: PairScorer = XcosScorer(method.model, method.attention)
        return scorer, identity_cells(scorer) if with_cells else None
    scorer = CosineScorer(method.embedder)
    return scorer, identity_cells(scorer, method.embedder) if with_cells else None


def open_words(
    verifier: Verifier,
    *,
    settings: WordSettings | None = None,
    attributes: AttributeReader | Path | str | None = None,
    classes: IdentityClasses | None = None,
    threads: int | None = None,
) -> WordExplainer:
    """Open words for the score that a verifier decides by.

    Parameters
    ----------
    verifier
        The model with its threshold.
    settings
        See :class:`~whyface.words.word_settings.WordSettings`.
    attributes
        Attribute heads, or the file of some; the shipped ones if left out.
    classes
        People to classify, for the strategies that need them.
    threads
        Threads of ONNX Runtime for the attribute model; as many as the verifier's unless given.

    Raises
    ------
    ModelError, InputError
        If a model or a setting does not fit.

    Examples
    --------
    >>> from whyface.verification import Verifier  # doctest: +SKIP
    >>> words = open_words(Verifier())  # doctest: +SKIP
    >>> report = words(face_a, face_b)  # doctest: +SKIP
    >>> describe_words(report)  # doctest: +SKIP
    """
    chosen = WordSettings() if settings is None else settings
    if isinstance(attributes, AttributeReader):
        reader = attributes
    else:
        reader = open_attributes(attributes, threads=verifier.threads if threads is None else threads)
    scorer, cells = scorer_and_cells(verifier, with_cells=chosen.kind != "no counterfactual")
    return WordExplainer(
        scorer,
        cells,
        reader,
        threshold=verifier.method.threshold,
        source=verifier.method.source,
        settings=chosen,
        classes=classes,
    )
