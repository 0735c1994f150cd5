"""Fit an evidential head to the people of a gallery (needs the extra ``torch``)."""

from __future__ import annotations

from whyface.errors import InputError
from whyface.explain.xcos_method import software_versions
from whyface.gallery.gallery import Gallery
from whyface.identify.evidential_head import EvidentialHead
from whyface.identify.gallery_people import gallery_people, head_path, model_record
from whyface.train.evidential_fit import EvidentialSettings, fit_evidential_head


def fit_gallery_head(gallery: Gallery, settings: EvidentialSettings | None = None) -> EvidentialHead:
    """Fit a head to everybody in a gallery and put it into the gallery's folder.

    Parameters
    ----------
    gallery
        Read only; the features in it are enough, neither model nor photos are needed.
    settings
        See :class:`whyface.train.evidential_fit.EvidentialSettings`.

    Raises
    ------
    InputError
        If the gallery is empty, or has fewer than two people with two photos each.
    OutputError
        If the folder cannot be written to.
    """
    everybody = gallery_people(gallery)
    if not everybody.people:
        raise InputError(f"{gallery.path}: the gallery is empty; enroll somebody first")
    record = {**model_record(gallery), "versions": software_versions()}
    try:
        head = fit_evidential_head(everybody.features, everybody.labels, everybody.people, settings, record=record)
    except InputError as error:
        raise InputError(f"{gallery.path}: {error}") from error
    head.save(head_path(gallery))
    return head
