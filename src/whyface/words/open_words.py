"""Open everything that words need in one call."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from whyface.errors import DataError
from whyface.explain.verdict import FaceVerifier
from whyface.faces.pictures import open_pictures
from whyface.files.progress import ProgressCallback
from whyface.words.attribute_model import AttributeReader, open_attributes
from whyface.words.identity_evidence import IdentityClasses, fit_classes, identity_cells
from whyface.words.word_explainer import WordExplainer
from whyface.words.word_report import WordSettings


def open_words(
    verifier: FaceVerifier,
    *,
    settings: WordSettings | None = None,
    attributes: AttributeReader | Path | str | None = None,
    classes: IdentityClasses | None = None,
    threads: int | None = None,
) -> WordExplainer:
    """Open words for the score of a verifier.

    Parameters
    ----------
    verifier
        The model with its threshold.
    settings
        See :class:`~whyface.words.word_report.WordSettings`.
    attributes
        Attribute heads or their file; by default those that come with whyface.
    classes
        Classifier of people, for the strategies that need one.
    threads
        Threads of ONNX Runtime for the attribute model; by default the verifier's.

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
    comparison = verifier.method.comparison
    return WordExplainer(
        comparison,
        identity_cells(comparison) if chosen.kind != "no counterfactual" else None,
        reader,
        threshold=verifier.method.threshold,
        source=verifier.method.source,
        settings=chosen,
        classes=classes,
    )


_BATCH = 64


def classes_of_pictures(
    verifier: FaceVerifier, path: Path | str, *, least: int = 2, progress: ProgressCallback | None = None
) -> IdentityClasses:
    """Fit a classifier to aligned 112 x 112 pictures named ``.../Person/picture.jpg``.

    Parameters
    ----------
    verifier
        The verifier whose embeddings are classified.
    path
        A folder or an uncompressed tar file.
    least
        People with fewer pictures are left out.
    progress
        Called with the number of pictures read and the total.

    Raises
    ------
    DataError
        If a picture cannot be read or is not in the folder of a person.
    InputError
        If fewer than two people are left.
    """
    cells = identity_cells(verifier.method.comparison)
    embeddings, owners = [], []
    with open_pictures(path) as source:
        names = source.names()
        for start in range(0, len(names), _BATCH):
            part = names[start : start + _BATCH]
            batch = np.ascontiguousarray(np.stack([source.read(name) for name in part]).transpose(0, 3, 1, 2))
            embeddings.append(cells.embedding(cells.read(batch)))
            owners += [_person(name, path) for name in part]
            if progress is not None:
                progress(len(owners), len(names))
    if not owners:
        raise DataError(f"{path}: no pictures; give a folder with a subfolder of aligned pictures for each person")
    return fit_classes(np.concatenate(embeddings), owners, least=least)


def _person(name: str, path: Path | str) -> str:
    folder = PurePosixPath(name).parent.name
    if not folder:
        raise DataError(f"{path}: {name} is not in a person's folder; sort the pictures into one folder per person")
    return folder
