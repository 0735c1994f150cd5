"""xCos for a frozen network: only a grid head and the attention are trained (needs the extra ``train``).

Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, section 3: a 1 x 1
convolution in place of the fully connected layer, and the attention. Here the backbone is frozen, so that one minute
of training is enough.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import AdamW

from whyface.errors import InputError, ModelError
from whyface.files.progress import ProgressCallback
from whyface.models.catalogue import NOT_STATED
from whyface.models.embedder import Batch
from whyface.models.entry import ModelEntry
from whyface.models.heads import GridHead
from whyface.models.linear_head import linear_head
from whyface.models.placed_fc import PlacedFcHead
from whyface.train.config import LossConfig, NetworkConfig, OptimiserConfig, rate_factor
from whyface.train.corpus import people_batch, step_generator
from whyface.train.export import write_plug_in
from whyface.train.losses import MarginHead, WeightAverage, tie_pair_halves
from whyface.train.networks import settle
from whyface.train.objective import Objective, correlated_attention
from whyface.train.viewed_maps import FrozenMaps, MapNetwork, freeze_maps
from whyface.xcos.learned import LearnedAttention, XcosNetwork

_SETTLING: Final = 512
_BATCH: Final = 512

DISTILLATION: Final = LossConfig(identification=0.0, similarity=1.0, uniform=0.5, balanced=True)
"""Only the teacher's cosine. With ``identification`` above 0 it is the paper's two-branch objective."""


@dataclass(frozen=True)
class PlugInSettings:
    """Settings of the training of a plug-in.

    Attributes
    ----------
    head
        ``"placed"``: a 1 x 1 convolution for every place, which starts from the network's own affine head and gathers a
        Gaussian neighbourhood; ``"shared"``: the paper's one 1 x 1 convolution, from scratch.
    grid_channels
        Channels of the grid.
    sigma, context
        Placed head: width of the neighbourhood in places, and its side (odd).
    losses
        Weights of the branches; see :class:`~whyface.train.config.LossConfig`.
    steps, people, pictures
        Number of steps, of people in a batch, and of pictures of each; all pairs of a batch are compared.
    head_lr, attention_lr
        Initial learning rates of AdamW; both fall to 0 as a cosine.
    average
        Decay of the moving average of the weights, which is the result.
    symmetric
        Whether to keep the attention independent of the order of the faces.
    seed
        Seed of all random draws.
    """

    head: Literal["placed", "shared"] = "placed"
    grid_channels: int = 32
    sigma: float = 1.0
    context: int = 7
    losses: LossConfig = DISTILLATION
    steps: int = 400
    people: int = 24
    pictures: int = 4
    head_lr: float = 1e-3
    attention_lr: float = 1e-2
    average: float = 0.99
    symmetric: bool = True
    seed: int = 1

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {**asdict(self), "losses": self.losses.model_dump(mode="json")}


@dataclass(frozen=True, eq=False)
class PlugIn:
    """A fitted plug-in.

    Attributes
    ----------
    network
        The frozen network.
    xcos
        Head and metric; its ``backbone`` is empty, so that its input is maps (N, C, H, W) instead of faces.
    correlated
        Raw correlated attention P, (H, W) float32.
    settings
        Training settings and results.
    trained_on
        Numbers of pictures and people, and the names of network and teacher.
    losses
        The loss at every step.
    """

    network: MapNetwork
    xcos: XcosNetwork
    correlated: NDArray[np.float32]
    settings: PlugInSettings
    trained_on: dict[str, Any]
    losses: list[float] = field(repr=False)

    def grid(self, maps: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the grids of N > 0 maps of the frozen network, (N, C, H, W)."""
        return _grids(self.xcos, maps)

    def save(
        self, folder: Path | str, *, name: str | None = None, licence: str = NOT_STATED, training_data: str = NOT_STATED
    ) -> ModelEntry:
        """Write a model folder that every command opens, and check it against torch on real faces.

        Parameters
        ----------
        folder
            Folder to write to; created if it does not exist.
        name
            The model's name; the folder's by default.
        licence, training_data
            Stored in the description.

        Raises
        ------
        ModelError
            If the graphs differ from torch.
        OutputError
            If the network cannot be written as ONNX, or a file cannot be written.
        """
        about = {"settings": self.settings.to_dict(), "trained_on": self.trained_on}
        return write_plug_in(
            self.network,
            self.xcos,
            self.correlated,
            Path(folder),
            name=name or Path(folder).resolve().name,
            licence=licence,
            training_data=training_data,
            about=about,
        )


def fit_xcos(
    network: MapNetwork,
    faces: Batch | FrozenMaps,
    people: NDArray[Any] | None = None,
    *,
    settings: PlugInSettings | None = None,
    progress: ProgressCallback | None = None,
) -> PlugIn:
    """Fit xCos to a frozen network.

    Parameters
    ----------
    network
        An ONNX network whose grid is named, or a torch one
        (:meth:`TorchEmbedder.from_layer <whyface.models.torch_embedder.TorchEmbedder.from_layer>`).
    faces
        Training faces (N, 3, 112, 112), RGB, 0..255, or the result of :func:`~whyface.train.viewed_maps.freeze_maps`,
        so that several fits share one pass.
    people
        Person in each picture, (N,): names or numbers. A person with only one picture is used in impostor pairs only.
    settings
        See :class:`PlugInSettings`.
    progress
        Called as ``progress(done, total)``, first while the network runs, then after every step.

    Raises
    ------
    InputError
        If pictures, people and settings do not fit together.
    ModelError
        If the network has no spatial map, or its head is not affine, which a placed head needs.

    Examples
    --------
    >>> network = OnnxEmbedder("mine.onnx", grid="last_map")  # doctest: +SKIP
    >>> faces, people = read_faces("faces")  # doctest: +SKIP
    >>> model = open_xcos(fit_xcos(network, faces, people).save("mine"))  # doctest: +SKIP
    """
    settings = settings or PlugInSettings()
    if isinstance(faces, FrozenMaps):
        frozen = faces
    elif people is None:
        raise InputError("say who is in each picture (people)")
    else:
        frozen = freeze_maps(network, faces, people, progress=progress)
    count = int(frozen.people.max()) + 1
    if count < 2:
        raise InputError("pairs need pictures of at least two people")
    generator = torch.Generator().manual_seed(settings.seed)
    # Initial tensors come from torch's global random state, which is restored here.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        xcos = XcosNetwork(nn.Identity(), _head(network, frozen, settings, generator), _attention(settings)).eval()
        margin = None
        if settings.losses.identification:
            size = settings.grid_channels * frozen.shape[1] * frozen.shape[2]
            losses = settings.losses
            margin = MarginHead(size, count, losses.margin_kind, margin=losses.margin, scale=losses.scale)
    spread = np.linspace(0, len(frozen.people) - 1, min(_SETTLING, len(frozen.people))).astype(int)
    settle(xcos, torch.from_numpy(frozen.maps[0, spread].astype(np.float32)))
    losses_seen = _train(xcos, margin, frozen, settings, progress)
    trained_on = {**frozen.names, "pictures": len(frozen.people), "people": count}
    correlated = correlated_attention(
        _grids(xcos, frozen.maps[0]), frozen.embeddings[0], frozen.people, seed=settings.seed
    )
    return PlugIn(network, xcos, correlated, settings, trained_on, losses_seen)


@torch.no_grad()
def _grids(xcos: XcosNetwork, maps: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    parts = (torch.from_numpy(maps[at : at + _BATCH].astype(np.float32)) for at in range(0, len(maps), _BATCH))
    return torch.cat([xcos.head(part) for part in parts]).numpy()


def _head(
    network: MapNetwork, frozen: FrozenMaps, settings: PlugInSettings, generator: torch.Generator
) -> GridHead | PlacedFcHead:
    channels, height, width = frozen.shape
    if settings.head == "shared":
        return GridHead(channels, grid_channels=settings.grid_channels, activation="none")
    try:
        weights = torch.from_numpy(linear_head(network)[1].weights)
    except ModelError as error:
        raise ModelError(f"{error}. PlugInSettings(head='shared') trains a 1 x 1 convolution from scratch") from error
    head = PlacedFcHead(
        channels, (height, width), len(weights), grid_channels=settings.grid_channels, context=settings.context
    )
    head.take_over(weights, sigma=settings.sigma, generator=generator)
    return head


def _attention(settings: PlugInSettings) -> LearnedAttention:
    attention = LearnedAttention(settings.grid_channels)
    if settings.symmetric:
        tie_pair_halves(attention)
    return attention


def _train(
    xcos: XcosNetwork,
    margin: MarginHead | None,
    frozen: FrozenMaps,
    settings: PlugInSettings,
    progress: ProgressCallback | None,
) -> list[float]:
    config = NetworkConfig(trainable="head", norms="fixed")
    objective = Objective(xcos, margin, settings.losses, config, half=False).train()
    # These are learnt from scratch, not taken over.
    fresh = [*xcos.xcos.parameters(), *([] if margin is None else margin.parameters())]
    groups = [
        {"params": list(xcos.head.parameters()), "initial_lr": settings.head_lr},
        {"params": fresh, "initial_lr": settings.attention_lr},
    ]
    optimiser = AdamW(groups, lr=settings.head_lr, betas=(0.9, 0.99), weight_decay=1e-4)
    schedule = OptimiserConfig(schedule="cosine", warmup=min(50, settings.steps))
    average = WeightAverage(xcos, settings.average)
    labels = torch.from_numpy(frozen.people)
    order = torch.argsort(labels, stable=True)
    rows = torch.split(order, torch.bincount(labels).tolist())
    seen: list[float] = []
    for step in range(settings.steps):
        generator = step_generator(settings.seed, step, 0)
        index = people_batch(rows, settings.people, settings.pictures, generator)
        view = torch.randint(len(frozen.maps), (len(index),), generator=generator).numpy()
        maps = torch.from_numpy(frozen.maps[view, index.numpy()].astype(np.float32))
        teacher = torch.from_numpy(frozen.embeddings[view, index.numpy()])
        targets = (teacher @ teacher.T)[torch.triu_indices(len(index), len(index), 1).unbind()]
        losses = objective(maps, labels[index], torch.ones(len(index), dtype=torch.bool), targets, None)
        factor = rate_factor(schedule, step, steps=settings.steps, epoch_steps=settings.steps)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        optimiser.step()
        average.update(xcos, step + 1)
        seen.append(float(losses.total.detach()))
        if progress is not None:
            progress(step + 1, settings.steps)
    xcos.load_state_dict(average.state)
    xcos.eval().requires_grad_(False)
    return seen
