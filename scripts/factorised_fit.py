"""Fit a grid head and attention that factorises to a frozen network (needs the extra ``train``).

As :mod:`whyface.train.plug_in`, but with weights that each face brings along (:mod:`whyface.xcos.grid`). All
pairs of a batch are two matrix products here, so that a step learns from thousands of pairs. Maps are worked out once,
in several views of each picture: clean ones, and degraded ones whose pairs learn the cosine of the clean pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW

from whyface.errors import InputError
from whyface.files.progress import ProgressCallback
from whyface.models.placed_fc import PlacedFcHead, PlaceLogits, WeighedHead
from whyface.train.config import OptimiserConfig, rate_factor
from whyface.train.corpus import people_batch, step_generator
from whyface.train.losses import WeightAverage
from whyface.xcos.learned import FactorisedXcos

_CENTRED_ON: Final = 2000
_BATCH: Final = 256
_ALMOST_ZERO: Final = 0.02


@dataclass(frozen=True)
class FactorisedSettings:
    """Settings of the training of a head and its weights.

    Attributes
    ----------
    grid_channels
        Channels of the grid.
    sigma, context
        Initial width of the head's Gaussian neighbourhood, in places, and its side (odd).
    hidden
        Hidden channels of the module that computes the weight of a place.
    steps, people, pictures
        Number of steps, of people in a batch, and of pictures of each; all pairs of a batch are compared.
    head_lr, logits_lr
        Initial learning rates of AdamW for the head and for the places' weights; both fall to 0 as a cosine.
    uniform
        Weight of the loss of the unweighted mean of S, which also learns from the teacher.
    identity, scale, margin
        Weight of the logistic loss of "same person" over ``scale * (score - margin)``.
    place
        Weight of the loss that draws the strangers' mean S at each place towards 0.
    degraded
        Share of the pictures in a batch that are from degraded views.
    average
        Decay of the moving average of the weights, which is the result.
    seed
        Seed of all random draws.
    """

    grid_channels: int = 32
    sigma: float = 1.2
    context: int = 7
    hidden: int = 16
    steps: int = 800
    people: int = 32
    pictures: int = 4
    head_lr: float = 1e-3
    logits_lr: float = 3e-3
    uniform: float = 0.5
    identity: float = 0.1
    scale: float = 20.0
    margin: float = 0.3
    place: float = 1.0
    degraded: float = 0.2
    average: float = 0.99
    seed: int = 1


@dataclass(frozen=True, eq=False)
class ViewedMaps:
    """Maps of N pictures in several views, and the targets.

    Attributes
    ----------
    clean, degraded
        Views: arrays (N, C, H, W) of any float type, or memory maps; at least one is clean.
    targets
        The teacher's embeddings of the clean pictures, L2-normalised, (N, D).
    people
        Person in each picture, (N,), numbered from 0.
    """

    clean: Sequence[NDArray[np.floating[Any]]]
    degraded: Sequence[NDArray[np.floating[Any]]]
    targets: NDArray[np.float32]
    people: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.clean:
            raise InputError("training needs a clean view of the pictures")
        shape = self.clean[0].shape
        if (
            len(shape) != 4
            or {view.shape for view in (*self.clean, *self.degraded)} != {shape}
            or {len(self.targets), len(self.people)} != {shape[0]}
        ):
            raise InputError("views (N, C, H, W), targets (N, D) and people (N,) do not fit together")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a map."""
        channels, height, width = self.clean[0].shape[1:]
        return channels, height, width


def fit_factorised(
    maps: ViewedMaps,
    weights: NDArray[np.floating[Any]],
    *,
    chosen: NDArray[np.bool_] | None = None,
    settings: FactorisedSettings | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[WeighedHead, list[float]]:
    """Fit a placed grid head and its weights.

    Parameters
    ----------
    maps
        The training pictures.
    weights
        The network's own affine head as a sum over places, (D, C, H, W); see
        :func:`whyface.models.placed_fc.place_weights`.
    chosen
        Pictures to train on, (N,); all by default.
    settings
        See :class:`FactorisedSettings`.
    progress
        Called as ``progress(done, total)`` after every step.

    Returns
    -------
    The head, which returns weighed grids, in eval mode; and the loss at every step.

    Raises
    ------
    InputError
        If there are fewer than two people, or the sizes do not fit.
    """
    settings = settings or FactorisedSettings()
    rows = np.flatnonzero(np.ones(len(maps.people), bool) if chosen is None else chosen)
    labels = torch.from_numpy(np.unique(maps.people[rows], return_inverse=True)[1].astype(np.int64))
    if not len(labels) or int(labels.max()) < 1:
        raise InputError("pairs need pictures of at least two people")
    head = _start(maps, weights, rows, settings)
    return head, _train(head, maps, rows, labels, settings, progress)


def grids_of(head: nn.Module, maps: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the grids of N > 0 maps (N, C, H, W)."""
    with torch.no_grad():
        parts = (torch.from_numpy(np.asarray(maps[at : at + _BATCH], np.float32)) for at in range(0, len(maps), _BATCH))
        return torch.cat([head(part) for part in parts]).numpy()


def _start(
    maps: ViewedMaps, weights: NDArray[np.floating[Any]], rows: NDArray[np.intp], settings: FactorisedSettings
) -> WeighedHead:
    channels, height, width = maps.shape
    # Initial tensors come from torch's global random state, which is restored here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        placed = GatheredFcHead(
            channels,
            (height, width),
            len(weights),
            grid_channels=settings.grid_channels,
            context=settings.context,
        )
        logits = PlaceLogits(settings.grid_channels, hidden=settings.hidden)
    generator = torch.Generator().manual_seed(settings.seed)
    placed.take_over(torch.from_numpy(np.array(weights, np.float32)), sigma=settings.sigma, generator=generator)
    spread = rows[np.linspace(0, len(rows) - 1, min(_CENTRED_ON, len(rows))).astype(int)]
    placed.centre(torch.from_numpy(grids_of(placed, maps.clean[0][spread]).mean(axis=0)))
    return WeighedHead(placed, logits)


def _train(
    head: WeighedHead,
    maps: ViewedMaps,
    rows: NDArray[np.intp],
    labels: Tensor,
    settings: FactorisedSettings,
    progress: ProgressCallback | None,
) -> list[float]:
    groups = [
        {"params": list(head.head.parameters()), "initial_lr": settings.head_lr},
        {"params": list(head.logits.parameters()), "initial_lr": settings.logits_lr},
    ]
    optimiser = AdamW(groups, lr=settings.head_lr, betas=(0.9, 0.99), weight_decay=1e-4)
    schedule = OptimiserConfig(schedule="cosine", warmup=min(50, settings.steps))
    average = WeightAverage(head, settings.average)
    of_person = torch.split(torch.argsort(labels, stable=True), torch.bincount(labels).tolist())
    targets = torch.from_numpy(np.asarray(maps.targets, np.float32))
    seen: list[float] = []
    for step in range(settings.steps):
        generator = step_generator(settings.seed, step, 0)
        index = people_batch(of_person, settings.people, settings.pictures, generator)
        pictures = torch.from_numpy(rows)[index]
        grids = head(_drawn_views(maps, pictures, settings.degraded, generator))
        loss = pair_loss(grids, targets[pictures], labels[index], pictures, settings)
        factor = rate_factor(schedule, step, steps=settings.steps, epoch_steps=settings.steps)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        average.update(head, step + 1)
        seen.append(float(loss.detach()))
        if progress is not None:
            progress(step + 1, settings.steps)
    head.load_state_dict(average.state)
    head.eval().requires_grad_(False)
    return seen


def _drawn_views(maps: ViewedMaps, pictures: Tensor, degraded: float, generator: torch.Generator) -> Tensor:
    count = len(pictures)
    poor = torch.rand(count, generator=generator) < (degraded if maps.degraded else 0.0)
    clean_view = torch.randint(len(maps.clean), (count,), generator=generator).tolist()
    poor_view = torch.randint(max(1, len(maps.degraded)), (count,), generator=generator).tolist()
    parts = [
        maps.degraded[poor_view[at]][number] if poor[at] else maps.clean[clean_view[at]][number]
        for at, number in enumerate(pictures.tolist())
    ]
    return torch.from_numpy(np.stack(parts).astype(np.float32))


def pair_loss(grids: Tensor, targets: Tensor, labels: Tensor, pictures: Tensor, settings: FactorisedSettings) -> Tensor:
    """Return the loss of all pairs of a batch.

    Parameters
    ----------
    grids, targets
        Weighed grids (N, C, H, W), and the teacher's unit embeddings (N, D).
    labels, pictures
        Numbers of the person and of the picture, (N,).
    """
    first, second = torch.triu_indices(len(grids), len(grids), 1, device=grids.device).unbind()
    genuine = labels[first] == labels[second]
    # A picture that was drawn twice is not compared with itself.
    counts = (pictures[first] != pictures[second]).float()
    halves = [counts * group for group in (genuine, ~genuine)]
    # Half of the loss from genuine pairs, of which there are few.
    shares = torch.stack([half / (2 * half.sum().clamp_min(1)) for half in halves]).sum(dim=0)
    score = FactorisedXcos().scores(grids, grids)[first, second]
    cosine = (targets @ targets.T)[first, second]
    units = torch.flatten(functional.normalize(grids, dim=1), 2)
    similarity = torch.einsum("nck,mck->knm", units, units)[:, first, second]
    loss = (shares * (score - cosine).square()).sum()
    loss = loss + settings.uniform * (shares * (similarity.mean(dim=0) - cosine).square()).sum()
    if settings.identity:
        logits = settings.scale * (score - settings.margin)
        loss = loss + settings.identity * (shares * functional.softplus(torch.where(genuine, -logits, logits))).sum()
    if settings.place and not bool(genuine.all()):
        strangers = similarity[:, ~genuine].mean(dim=1)
        loss = loss + settings.place * (strangers.abs() - _ALMOST_ZERO).clamp_min(0).square().mean()
    return loss


class GatheredFcHead(PlacedFcHead):
    """A placed head that computes only what its blocks keep: same grid and tensors, but faster to train."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        height, width = self.cells
        side = self.context.kernel_size[0]
        blocks = self.tiling.argmax(dim=0).flatten()
        self._blocks = len(self.tiling)
        places = [torch.nonzero(blocks == block).flatten().tolist() for block in range(self._blocks)]
        self._most = max(map(len, places))
        # For every block, each of its places and every place: the position in the kernel, and whether the kernel covers
        # it.
        meets = torch.zeros(self._blocks, self._most, height * width, dtype=torch.int64)
        inside = torch.zeros(self._blocks, self._most, height * width)
        order = torch.zeros(height * width, dtype=torch.int64)
        for block, mine in enumerate(places):
            for number, place in enumerate(mine):
                order[place] = block * self._most + number
                for other in range(height * width):
                    down = other // width - place // width + side // 2
                    right = other % width - place % width + side // 2
                    if 0 <= down < side and 0 <= right < side:
                        meets[block, number, other] = down * side + right
                        inside[block, number, other] = 1
        self._meets, self._inside, self._order = meets, inside, order

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, grid_channels, H, W)."""
        height, width = self.cells
        places = torch.flatten(x, 2).permute(2, 1, 0).contiguous()
        parts = torch.bmm(self.place.transpose(1, 2), places)
        kernels = torch.flatten(self.context.weight, 1).view(self._blocks, self.grid_channels, -1)
        kernels = kernels[:, :, None].expand(-1, -1, self._most, -1)
        meets = self._meets[:, None].expand(-1, self.grid_channels, -1, -1)
        gathered = torch.gather(kernels, 3, meets) * self._inside[:, None]
        grid = torch.bmm(torch.flatten(gathered, 0, 1), parts.transpose(0, 1))
        grid = grid.view(self._blocks, self.grid_channels, self._most, -1).transpose(1, 2)
        grid = torch.flatten(grid, 0, 1)[self._order].permute(2, 1, 0)
        result: Tensor = grid.reshape(-1, self.grid_channels, height, width) + self.bias
        return result


def as_placed(head: WeighedHead) -> WeighedHead:
    """Return a copy of a fitted head with a :class:`~whyface.models.placed_fc.PlacedFcHead`, for a small graph."""
    gathered = head.head
    if not isinstance(gathered, GatheredFcHead):
        raise InputError("only heads made by fit_factorised can be written in this way")
    channels = gathered.place.shape[1]
    placed = PlacedFcHead(
        channels,
        gathered.cells,
        gathered.embedding_size,
        grid_channels=gathered.grid_channels,
        context=gathered.context.kernel_size[0],
    )
    logits = PlaceLogits(gathered.grid_channels, hidden=head.logits.first.out_channels)
    copy = WeighedHead(placed, logits)
    copy.load_state_dict(head.state_dict())
    return copy.eval().requires_grad_(False)
