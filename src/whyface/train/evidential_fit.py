"""Fit an evidential head to the features of enrolled people (needs the extra ``torch``).

There are two ways. ``"prototypes"`` keeps each person's direction at the mean of the person's photos and fits two
numbers, scale and shift, for everybody. Each photo is compared with its person's mean *without that photo*, so that the
head learns what a new photo looks like. ``"free"`` also trains the directions, as the published networks do, from the
same start. They then turn away from each other, which separates strangers (docs/studies/identify.md measures both).

For one photo, the divergence on misleading evidence asks "what if this person were not in the gallery?", so that a head
learns about strangers from its own people.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.errors import InputError
from whyface.explain.verdict import software_versions
from whyface.gallery.gallery import Gallery
from whyface.gallery.shortlist import require_plain
from whyface.identify.evidential import EVIDENCE_KINDS, EvidenceKind, EvidentialHead
from whyface.identify.gallery_people import gallery_people, head_path, model_record
from whyface.models.embedder import l2_normalise
from whyface.train.losses import (
    LOSS_KINDS,
    START,
    LossKind,
    annealing,
    evidential_loss,
    kl_to_uniform,
    torch_evidence,
)

Directions = Literal["prototypes", "free"]


@dataclass(frozen=True)
class EvidentialSettings:
    """Settings of a head's fit; the defaults were best in a study (docs/studies/identify.md).

    Raise InputError if a setting is unknown or out of range.

    Attributes
    ----------
    loss
        ``"log"``, ``"digamma"`` or ``"mse"``.
    evidence
        ``"relu"``, ``"exp"`` or ``"softplus"``.
    divergence
        Final weight of the divergence on misleading evidence; 0 omits it.
    directions
        ``"prototypes"`` or ``"free"``.
    scale, shift
        Fixed values, as in the published code (200 and 0 with relu); None fits both.
    epochs
        Passes over all photos; each pass is one step with all of them.
    rate
        Learning rate of Adam; that of the directions is a tenth of it.
    """

    loss: LossKind = "log"
    evidence: EvidenceKind = "exp"
    divergence: float = 1.0
    directions: Directions = "free"
    scale: float | None = None
    shift: float | None = None
    epochs: int = 100
    rate: float = 0.03

    def __post_init__(self) -> None:
        if self.loss not in LOSS_KINDS:
            raise InputError(f"unknown evidential loss {self.loss!r}; use one of {', '.join(LOSS_KINDS)}")
        if self.evidence not in EVIDENCE_KINDS:
            raise InputError(f"unknown evidence {self.evidence!r}; use one of {', '.join(EVIDENCE_KINDS)}")
        if self.directions not in ("prototypes", "free"):
            raise InputError(f"directions must be 'prototypes' or 'free', got {self.directions!r}")
        if self.epochs < 1 or not 0 < self.rate < 10 or self.divergence < 0:
            raise InputError("a fit needs at least one epoch, a rate in (0, 10) and a divergence of 0 or more")
        if (self.scale is None) != (self.shift is None):
            raise InputError("give scale and shift together, or neither")
        if self.scale is not None and not self.scale > 0:
            raise InputError(f"scale must be positive, got {self.scale:g}")


def fit_evidential_head(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    people: Sequence[str],
    settings: EvidentialSettings | None = None,
    *,
    record: dict[str, Any] | None = None,
) -> EvidentialHead:
    """Fit a head; equal input gives equal heads.

    Raise InputError if there are fewer than two people (uncertainty about "who" is then undefined), fewer than two
    people have two photos, or the arrays do not fit.

    Parameters
    ----------
    features
        Features of N photos, (N, D), rows of unit length.
    labels
        The person in each photo, an index into ``people``, (N,).
    people
        K names, each with at least one photo.
    record
        Values to store in the head, in addition to settings and counts.
    """
    chosen = settings or EvidentialSettings()
    counts = check_people(features, labels, people)
    x = torch.from_numpy(l2_normalise(features)).double()
    y = torch.from_numpy(labels.astype(np.int64))
    sums = torch.zeros(len(people), x.shape[1], dtype=x.dtype).index_add_(0, y, x)
    means = torch.nn.functional.normalize(sums)
    if chosen.directions == "free":
        directions, scale, shift = _fit_free(x.float(), y, means.float(), chosen)
    else:
        directions = means
        scale, shift = _fit_scale(_without_itself(x, y, sums), y, torch.from_numpy(counts)[y] > 1, chosen)
    about = {
        **(record or {}),
        "settings": asdict(chosen),
        "people": len(people),
        "photos": len(labels),
        "people_with_two_photos_or_more": int((counts > 1).sum()),
    }
    unit = torch.nn.functional.normalize(directions).float().numpy()
    return EvidentialHead(tuple(people), unit, scale, shift, chosen.evidence, about)


def check_people(features: NDArray[np.float32], labels: NDArray[np.int64], people: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of photos of each person, (K,), or raise an error if no head can be fitted.

    Raise what :func:`fit_evidential_head` raises.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or not np.isfinite(features).all():
        raise InputError(f"features (N, D), finite, and labels (N,) are needed, got {features.shape}, {labels.shape}")
    if len(people) < 2:
        raise InputError(
            f"uncertainty about who it is needs at least two people to choose from, got {len(people)}; enroll more"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(people):
        raise InputError(f"labels must be indices of the {len(people)} people")
    counts = np.bincount(labels, minlength=len(people)).astype(np.int64)
    if (counts == 0).any():
        raise InputError(f"{people[int(np.argmin(counts))]!r} has no photo; leave that person out")
    if (counts > 1).sum() < 2:
        raise InputError(
            "uncertainty is learnt from how photos of one person differ: at least two people need two photos each, "
            f"got {int((counts > 1).sum())}; enroll more photos"
        )
    return counts


def _without_itself(x: Tensor, y: Tensor, sums: Tensor) -> Tensor:
    """Return cosines (N, K) of photos with all people's means; the own person's mean leaves the photo out."""
    cosine = x @ torch.nn.functional.normalize(sums).T
    others = sums[y] - x
    cosine[torch.arange(len(y)), y] = (torch.nn.functional.normalize(others) * x).sum(dim=1)
    return cosine


def _fit_scale(cosine: Tensor, y: Tensor, paired: Tensor, settings: EvidentialSettings) -> tuple[float, float]:
    """Fit scale and shift; people with only one photo contribute only to the divergence."""
    if settings.scale is not None and settings.shift is not None:
        return settings.scale, settings.shift
    start_scale, start_shift = START[settings.evidence]
    raw = torch.tensor([math.log(start_scale), start_shift / start_scale], dtype=cosine.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=settings.rate)
    alone = ~paired
    for epoch in range(settings.epochs):
        scale = raw[0].exp()
        alpha = torch_evidence(scale * (cosine + raw[1]), settings.evidence) + 1
        weight = settings.divergence * annealing(epoch)
        loss = evidential_loss(alpha[paired], y[paired], settings.loss, kl_weight=weight)
        if weight and bool(alone.any()):
            stranger = alpha[alone].scatter(1, y[alone][:, None], 1.0)
            loss = loss + weight * kl_to_uniform(stranger).sum() / len(y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return _scale_and_shift(raw)


def _fit_free(x: Tensor, y: Tensor, means: Tensor, settings: EvidentialSettings) -> tuple[Tensor, float, float]:
    start_scale, start_shift = (
        START[settings.evidence]
        if settings.scale is None or settings.shift is None
        else (settings.scale, settings.shift)
    )
    directions = means.clone().requires_grad_()
    raw = torch.tensor(
        [math.log(start_scale), start_shift / start_scale], dtype=x.dtype, requires_grad=settings.scale is None
    )
    groups: list[dict[str, Any]] = [{"params": [directions], "lr": settings.rate / 10}]
    if settings.scale is None:
        groups.append({"params": [raw]})
    optimizer = torch.optim.Adam(groups, lr=settings.rate)
    for epoch in range(settings.epochs):
        cosine = x @ torch.nn.functional.normalize(directions).T
        alpha = torch_evidence(raw[0].exp() * (cosine + raw[1]), settings.evidence) + 1
        loss = evidential_loss(alpha, y, settings.loss, kl_weight=settings.divergence * annealing(epoch))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return directions.detach(), *_scale_and_shift(raw)


def _scale_and_shift(raw: Tensor) -> tuple[float, float]:
    """Undo the parametrisation of the search: the logarithm of the scale, and the shift in cosines."""
    scale = float(raw[0].detach().exp())
    return scale, scale * float(raw[1].detach())


def fit_gallery_head(gallery: Gallery, settings: EvidentialSettings | None = None) -> EvidentialHead:
    """Fit a head to all people of a gallery and save it in the gallery's folder.

    Raise InputError if the gallery is empty or encrypted, or has fewer than two people with two photos each, and
    OutputError if the folder cannot be written to.
    """
    require_plain(gallery)
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
