"""The training loop: seeded, resumable with bit-identical results, on one or more devices (extra ``torch``)."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from whyface.data.open_protocol import open_protocol, parse_protocol
from whyface.errors import InputError
from whyface.explain.verdict import software_versions
from whyface.files.integrity import remove_leftovers, sha256_of, write_atomic
from whyface.files.progress import ProgressCallback
from whyface.gallery.name_rebuild import HEAD_NAME
from whyface.models.weights import save_safetensors
from whyface.train.config import TrainConfig, rate_factor
from whyface.train.corpus import (
    bundle_singles,
    draw_partners,
    epoch_batch,
    people_batch,
    step_generator,
    steps_per_epoch,
)
from whyface.train.losses import Hint, PairIndices, WeightAverage, all_pairs
from whyface.train.networks import Network, build_network, channels_last, load_initial, read_safetensors, settle
from whyface.train.objective import (
    Losses,
    Objective,
    ValidationSet,
    build_margin,
    correlated_attention,
    from_people,
    from_protocol,
    trained_head,
    verification_accuracy,
)
from whyface.train.picture_store import Augmentation, PictureStore, blend_people, open_stores
from whyface.train.run_files import (
    BEST,
    NETWORK,
    TrainingState,
    describe_trained,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
)
from whyface.train.teachers import FrozenNetwork, Seen, Teacher, open_teacher
from whyface.xcos.model import CORRELATED_TENSOR

LAST, LOG = "last.safetensors", "log.jsonl"
_SETTLING, _NAMED = 256, 20
_CORRELATED = (256, 4)
"""Number of people, and of pictures of each, that attention P is measured on."""


@dataclass(frozen=True)
class Report:
    """The progress of a run: step, total steps, and numbers such as ``loss`` or ``accuracy`` by name."""

    step: int
    steps: int
    values: dict[str, float] = field(default_factory=dict)


Reporter = Callable[[Report], None]


def train(
    config: TrainConfig,
    folder: Path,
    *,
    model_directory: Path | None = None,
    fresh: bool = False,
    report: Reporter | None = None,
    say: Callable[[str], None] = lambda _: None,
    decoding: ProgressCallback | None = None,
) -> Path:
    """Train a network, or resume an interrupted run.

    Return the path of the best network. Raise InputError, DataError or ModelError if settings, pictures or weights do
    not fit, and OutputError if a checkpoint cannot be written; the previous one is kept.

    Parameters
    ----------
    folder
        Folder of the checkpoints and results: ``network.safetensors`` (the best), ``last.safetensors``.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    fabric = Fabric(accelerator=config.accelerator, devices=config.devices)
    fabric.launch()
    if fabric.global_rank:
        report, say = None, lambda _: None
    with ExitStack() as stack:
        pictures, held_out = open_stores(
            config.data, seed=config.seed, stack=stack, threads=config.threads, progress=decoding
        )
        validation = _validation(config, held_out, stack)
        say(f"training on {pictures.summary()}; choosing by {len(validation.genuine)} pairs")
        run = _Run(config, pictures, fabric, model_directory)
        digest = config.digest()
        if fabric.global_rank == 0:
            remove_leftovers(folder)
        if fresh:
            if fabric.global_rank == 0:
                remove_checkpoint(folder)
            say("starting anew")
        elif load_checkpoint(folder, run.state, digest):
            say(f"going on at step {run.state.step}")
        run.loop(folder, digest, validation, report)
        tell_broken(run.all_broken(), say)
    return folder / NETWORK


class _Run:
    """The state of the loop."""

    def __init__(self, config: TrainConfig, pictures: PictureStore, fabric: Fabric, directory: Path | None) -> None:
        self.config, self.pictures, self.fabric = config, pictures, fabric
        torch.manual_seed(config.seed)
        half = config.precision == "bf16"
        network = build_network(config.network)
        load_initial(network, config.network, seed=config.seed)
        if config.network.norms == "fixed":
            settle(network.eval(), self._some_faces())
        self.margin = build_margin(network, config.losses, len(pictures.people))
        channels_last(network)
        self.teacher: Teacher | None = None
        if config.teacher is not None:
            self.teacher = open_teacher(config.teacher, directory=directory, half=half, threads=config.threads)
            if isinstance(self.teacher, nn.Module):
                self.teacher.to(fabric.device)
        hint = build_hint(network, self.teacher, self._some_faces()) if config.losses.hint else None
        self.objective = Objective(
            network, self.margin, config.losses, config.network, half=half, hint=hint, apart=config.batch.apart
        ).train()
        self.optimisers = build_optimisers(config, self.objective)
        if config.data.cache == "device":
            pictures.move(fabric.device)
        self.rows = pictures.rows
        self.known = torch.ones(len(pictures), dtype=torch.bool)
        if config.batch.mode == "all":
            # One picture again and again says nothing about a person.
            self.rows = bundle_singles(pictures.rows, config.batch.pictures)
            self.known = torch.bincount(pictures.labels)[pictures.labels] > 1
        self.augment = Augmentation(config.augment, seed=config.seed)
        self.average = WeightAverage(network, config.average) if config.average else None
        state = {} if self.average is None else self.average.state
        self.state = TrainingState(self.objective, self.optimisers, state)
        wrapped: Any = fabric.setup(self.objective, *self.optimisers)
        self.module: Callable[..., Losses] = wrapped[0]
        self.wrapped_optimisers = wrapped[1:]
        if config.batch.mode == "pairs":
            self.epoch_steps = steps_per_epoch(len(pictures), config.batch.size)
        else:
            self.epoch_steps = steps_per_epoch(len(pictures), config.batch.people * config.batch.pictures)
        self.steps = config.steps or config.epochs * self.epoch_steps

    def loop(self, folder: Path, digest: str, validation: ValidationSet, report: Reporter | None) -> None:
        """Do the remaining steps."""
        config, state = self.config, self.state
        began, done = time.monotonic(), 0
        while state.step < self.steps:
            losses, count = self.step()
            done += count
            ended = state.step == self.steps
            values = {name: float(value.detach()) for name, value in losses._asdict().items()}
            values["rate"] = self.optimisers[0].param_groups[0]["lr"]
            values["pictures_per_s"] = done * self.fabric.world_size / max(time.monotonic() - began, 1e-9)
            if self.fabric.global_rank == 0:
                if state.step % config.validate_every == 0 or ended:
                    values["accuracy"] = self._validate(folder, digest, validation)
                # The log before the checkpoint: a saved step is not repeated, so that its line would be missing.
                if report is not None:
                    report(Report(state.step, self.steps, values))
                if state.step % config.save_every == 0 or ended:
                    save_checkpoint(folder, state, digest)
            self.fabric.barrier()
        if self.fabric.global_rank == 0:
            self._write(folder / LAST, self.current_network(), digest)
            self._release(folder)

    def step(self) -> tuple[Losses, int]:
        """Do one step on one batch; return the losses and the number of pictures."""
        config, step = self.config, self.state.step
        generator = step_generator(config.seed, step, self.fabric.global_rank)
        index, pairs = self._draw(step, generator)
        device = self.fabric.device
        faces, labels = self.pictures.read(index).to(device).float(), self.pictures.labels[index]
        known = self.known[index].to(device)
        looks = generator
        if device.type != "cpu":
            looks = torch.Generator(device).manual_seed(generator.initial_seed())
        if config.augment.blended and config.batch.mode == "all":
            people = len(index) // config.batch.pictures
            others = people_batch(self.rows, people, config.batch.pictures, generator)
            faces, virtual = blend_people(
                faces, self.pictures.read(others).to(device).float(), people, config.augment.blended, looks
            )
            known &= ~virtual
        faces = self.augment.look(faces, looks)
        self.objective.epoch, self.objective.progress = step // self.epoch_steps, step / self.steps
        here = None if pairs is None else PairIndices(pairs.first.to(device), pairs.second.to(device))
        targets, seen = self._targets(faces, here)
        covered = self.augment.cover(faces, looks).contiguous(memory_format=torch.channels_last)
        losses = self.module(covered, labels.to(device), known, targets, here, seen)
        factor = rate_factor(config.optimiser, step, steps=self.steps, epoch_steps=self.epoch_steps)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * factor
            optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(losses.total)
        if config.optimiser.clip is not None:
            nn.utils.clip_grad_norm_(self.objective.network.parameters(), config.optimiser.clip)
        for optimiser in self.wrapped_optimisers:
            optimiser.step()
        self.state.step += 1
        if self.average is not None:
            self.average.update(self.objective.network, self.state.step)
        return losses, len(index)

    def all_broken(self) -> dict[str, str]:
        """Return the damaged pictures found by any process, and why they were skipped."""
        broken = self.pictures.broken
        if self.fabric.world_size == 1:
            return broken
        found: list[dict[str, str]] = [{} for _ in range(self.fabric.world_size)]
        torch.distributed.all_gather_object(found, broken)
        return {name: reason for part in found for name, reason in part.items()}

    def current_network(self) -> Network:
        """Return a copy of the network in eval mode, with averaged weights if the settings ask for them."""
        network = copy.deepcopy(self.objective.network).eval()
        if self.average is not None:
            network.load_state_dict(self.average.state)
        return network

    def _draw(self, step: int, generator: torch.Generator) -> tuple[Tensor, PairIndices | None]:
        batch, pictures = self.config.batch, self.pictures
        rank, world = self.fabric.global_rank, self.fabric.world_size
        if batch.mode == "all":
            return people_batch(self.rows, max(2, batch.people // world), batch.pictures, generator), None
        index = epoch_batch(len(pictures), batch.size, self.config.seed, step)
        # A process with nothing left in the last batch repeats its first picture, so that all stay in step.
        index = index[rank::world] if len(index) > rank else index[:1]
        partners = draw_partners(index, pictures.labels, pictures.rows, genuine=batch.genuine, generator=generator)
        here = torch.arange(len(index))
        return torch.cat([index, partners]), PairIndices(here, here + len(index))

    def _targets(self, faces: Tensor, pairs: PairIndices | None) -> tuple[Tensor | None, Seen | None]:
        """Return the teacher's cosines, and what it sees in the faces if a hint needs that."""
        if self.teacher is None:
            return None, None
        faces, seen = faces.contiguous(memory_format=torch.channels_last), None
        if isinstance(self.teacher, FrozenNetwork):
            seen = self.teacher.see(faces)
        embeddings = self.teacher(faces) if seen is None else seen.embeddings
        pairs = all_pairs(len(faces), faces.device) if pairs is None else pairs
        cosines = (embeddings[pairs.first] * embeddings[pairs.second]).sum(dim=1)
        return cosines, seen if self.config.losses.hint else None

    def _validate(self, folder: Path, digest: str, validation: ValidationSet) -> float:
        network = self.current_network()
        accuracy = verification_accuracy(network, validation, half=self.config.precision == "bf16")
        # Of two equal ones the later is taken: it was trained longer.
        if accuracy >= self.state.best:
            self.state.best = accuracy
            self._write(folder / BEST, network, digest)
            record = {"model_sha256": sha256_of(folder / BEST), "losses": self.config.losses.model_dump(mode="json")}
            head = trained_head(network, self.margin, self.pictures.people, record)
            if head is not None:
                head.save(folder / HEAD_NAME)
        return accuracy

    def _release(self, folder: Path) -> None:
        """Write the best network, with attention P if there is a teacher to correlate with."""
        data = (folder / BEST).read_bytes()
        network = self.current_network()
        if self.teacher is None or network.xcos is None:
            write_atomic(folder / NETWORK, data)
            return
        tensors = read_safetensors(folder / BEST)
        network.load_state_dict(tensors)
        generator = torch.Generator().manual_seed(self.config.seed)
        index = people_batch(self.pictures.rows, *_CORRELATED, generator)
        grids, embeddings = [], []
        with torch.no_grad():
            for part in torch.split(index, _SETTLING):
                faces = self.pictures.read(part).float().to(self.fabric.device)
                grids.append(network.features(faces).cpu())
                embeddings.append(self.teacher(faces).cpu())
        raw = correlated_attention(
            torch.cat(grids).numpy(),
            torch.cat(embeddings).numpy(),
            self.pictures.labels[index].numpy(),
            seed=self.config.seed,
        )
        with safe_open(folder / BEST, framework="pt") as file:
            metadata = file.metadata()
        save_safetensors({**tensors, CORRELATED_TENSOR: torch.from_numpy(raw)}, folder / NETWORK, metadata)

    def _write(self, path: Path, network: Network, digest: str) -> None:
        versions = software_versions() | {"torch": torch.__version__}
        metadata = describe_trained(
            self.config.network, step=self.state.step, seed=self.config.seed, config_sha256=digest, versions=versions
        )
        save_safetensors(network, path, metadata)

    def _some_faces(self) -> Tensor:
        spread = torch.linspace(0, len(self.pictures) - 1, min(_SETTLING, len(self.pictures))).long()
        return self.pictures.read(spread).cpu().float()


def build_hint(network: Network, teacher: Teacher | None, faces: Tensor) -> Hint:
    """Return the loss that learns from a torch teacher's maps.

    Raise InputError if the teacher is not a torch network, or its maps have another size than the network's.
    """
    if not isinstance(teacher, FrozenNetwork):
        raise InputError("losses.hint needs a teacher that is a torch network: a run's folder or a .safetensors file")
    was = network.training
    with torch.no_grad():
        own = network.eval().backbone(faces[:1])
    network.train(was)
    device = next(teacher.parameters()).device
    maps = torch.cat([teacher.see(part.to(device)).maps.cpu() for part in torch.split(faces, 64)])
    if own.shape[2:] != maps.shape[2:]:
        raise InputError(f"losses.hint: maps of {tuple(own.shape[2:])} places cannot follow {tuple(maps.shape[2:])}")
    return Hint(own.shape[1], maps, teacher.embed_maps)


def tell_broken(broken: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Report the skipped pictures: how many, and the first of them with the reason."""
    if broken:
        say(f"Broken pictures, skipped: {len(broken)}")
    for name, reason in list(broken.items())[:_NAMED]:
        say(f"skipped {name}: {reason}")
    if len(broken) > _NAMED:
        say(f"and {len(broken) - _NAMED} more")


def build_optimisers(config: TrainConfig, objective: Objective) -> list[Optimizer]:
    """Return the optimisers of the trainable parts: the three published ones, or one AdamW.

    Published: SGD with momentum 0.9 for backbone and grid head (weight decay 4e-5) and for the margin head (4e-4), Adam
    (amsgrad) for the attention (4e-5). AdamW: the early half of a backbone learns at ``lr``, the rest at three times
    that rate, attention and margin head at ``attention_lr``. Raise InputError if nothing is trainable.
    """
    settings, network = config.optimiser, objective.network

    def learning(*modules: nn.Module | None) -> list[nn.Parameter]:
        return [p for module in modules if module is not None for p in module.parameters() if p.requires_grad]

    if settings.kind == "adamw":
        groups = [
            {"params": learning(network.backbone), "lr": settings.lr},
            {"params": learning(network.head, objective.hint), "lr": 3 * settings.lr},
            {"params": learning(network.xcos, objective.margin), "lr": settings.attention_lr},
        ]
        groups = [group for group in groups if group["params"]]
        optimisers: list[Optimizer] = [AdamW(groups, betas=(0.9, 0.99), weight_decay=1e-4)] if groups else []
    else:
        optimisers = []
        trunk, margin, weighing = (
            learning(network.backbone, network.head, objective.hint),
            learning(objective.margin),
            learning(network.xcos),
        )
        if trunk:
            optimisers.append(SGD(trunk, settings.lr, momentum=0.9, weight_decay=4e-5))
        if margin:
            optimisers.append(SGD(margin, settings.lr, momentum=0.9, weight_decay=4e-4))
        if weighing:
            optimisers.append(Adam(weighing, settings.attention_lr, weight_decay=4e-5, amsgrad=True))
    if not optimisers:
        raise InputError("nothing is trainable with these settings; see network.trainable")
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["initial_lr"] = group["lr"]
    return optimisers


def _validation(config: TrainConfig, held_out: PictureStore | None, stack: ExitStack) -> ValidationSet:
    if config.data.protocol is not None and config.data.protocol_data is not None:
        source, protocol = open_protocol(parse_protocol(config.data.protocol), config.data.protocol_data)
        stack.enter_context(source)
        return from_protocol(source, protocol)
    assert held_out is not None
    return from_people(held_out, seed=config.seed)
