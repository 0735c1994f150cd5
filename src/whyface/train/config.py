"""Configuration of a training run as a typed schema; unknown keys are errors (extra ``torch``)."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from whyface.errors import InputError, reason
from whyface.files.guarded import LARGEST_TEXT, parse_yaml, read_guarded
from whyface.identify.evidential import EXP_LIMIT, EvidenceKind
from whyface.train.losses import LossKind, MarginKind

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
PRESETS: Final = ("paper", "published-code", "fine-tune")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class SourceConfig(_Part):
    """Pictures: a tree ``person/picture``, a tar file of one, CFP's own tree, a ``.rec`` file, or people seen once."""

    path: Path
    """Folder, tar file or record file."""
    layout: Literal["tree", "cfp", "rec", "singles"] = "tree"
    """``tree``: person/picture; ``cfp``: its tree; ``rec``: insightface's records; ``singles``: one picture each."""
    name: str = ""
    """Prefix of its people, so that two sets do not mix: ``cfp`` makes ``cfp/001``."""
    people: Path | None = None
    """JSON list of the people to use; all if not given."""
    align: bool = False
    """The pictures are photographs: find and align the largest face of each."""
    align_cache: Path | None = None
    """Folder that keeps the aligned faces; a temporary one if not given."""

    @model_validator(mode="after")
    def _check(self) -> SourceConfig:
        if self.align_cache is not None and not self.align:
            raise ValueError("align_cache keeps faces that align finds; add align: true")
        return self


class DataConfig(_Part):
    """Training pictures, the people left out, and the pairs that the best network is chosen by."""

    sources: Annotated[list[SourceConfig], Field(min_length=1)]
    """Sources of pictures: a list of the entries above."""
    leave_out: Path | None = None
    """JSON list of people to leave out of the training, or the report of ``scripts/lfw_overlap.py``."""
    held_out: Annotated[int, Field(ge=0)] = 20
    """Number of people held out; the best network is chosen on their pairs."""
    protocol: str | None = None
    """Choose the best network on a protocol instead: ``lfw``, ``cfp-ff``, ``cfp-fp`` or ``pairs:FILE``."""
    protocol_data: Path | None = None
    """Pictures of the protocol."""
    cache: bool | Literal["device"] = True
    """Keep all decoded pictures in memory, 37 kB each; ``device``: in that of the GPU."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if (self.protocol is None) != (self.protocol_data is None):
            raise ValueError("protocol and protocol_data go together; give both or neither")
        if self.protocol is None and self.held_out == 0:
            raise ValueError("choosing the best network needs held_out people or a protocol")
        return self


class NetworkConfig(_Part):
    """Backbone and head; ``init`` holds initial tensors, ``trainable`` says which part of the network is trained."""

    backbone: Literal[
        "mobilefacenet", "mobilefacenet-large", "iresnet18", "iresnet34", "iresnet50", "iresnet100", "iresnet152"
    ] = "mobilefacenet"
    """Network up to the last map."""
    se: bool = False
    """Squeeze and excitation, for an iresnet."""
    units: Literal["ir", "insightface"] = "ir"
    """Units of an iresnet: those of the xCos authors, or of insightface, with one more BatchNorm and a convolution in
    every stage's shortcut."""
    head: Literal["fc", "grid", "placed"] = "grid"
    """``fc``: the baseline; ``grid``: the paper's 1 x 1 convolution; ``placed``: weights for every place, from the FC
    head in ``init``."""
    activation: Literal["prelu", "none"] = "prelu"
    """Activation after the 1 x 1 convolution: none as in the paper, or PReLU as in the public code."""
    grid_norm: bool = True
    """BatchNorm behind the 1 x 1 convolution: it is in the public code, and not in the paper."""
    pixels: Annotated[float, Field(gt=0)] = 127.5
    """What an iresnet's pixels are divided by after 127.5 is subtracted: 127.5 in the public code, 128 in the paper."""
    sigma: Annotated[float, Field(gt=0)] = 1.0
    """Initial width of a placed head's neighbourhood, in places."""
    init: Path | None = None
    """File of initial tensors: of the trunk, of trunk and FC head, or of a whole network."""
    trainable: Literal["all", "late", "head"] = "all"
    """``late``: train the deeper half of the backbone and everything after it; ``head``: keep the backbone fixed."""
    norms: Literal["train", "fixed"] = "train"
    """``fixed``: BatchNorms keep their statistics."""
    symmetric: bool = False
    """Whether to make the attention independent of the order of the faces."""

    @model_validator(mode="after")
    def _check(self) -> NetworkConfig:
        if self.head == "placed" and self.backbone != "mobilefacenet":
            raise ValueError("head 'placed' takes over MobileFaceNet's head; use 'grid' with other backbones")
        return self


class LossConfig(_Part):
    """Weights of the branches; a branch of weight 0 is not computed. ``uniform`` trains the mean of S, too."""

    identification: Weight = 1.0
    """Weight of the identity branch; ``evidential`` stands for 1 and ``evidential: log``."""
    margin_kind: MarginKind = "cosface"
    """Its loss."""
    margin: Weight | None = None
    """Margin m; the published value if not given (0.5, 0.35, 0)."""
    scale: Annotated[float, Field(gt=0)] | None = None
    """Scale s; the published value if not given (64, 30, 30)."""
    evidential: LossKind | None = None
    """Loss of evidence instead of a margin: ``log``, ``digamma`` or ``mse``."""
    evidence: EvidenceKind = "exp"
    """Evidence of a logit."""
    clamp: Annotated[float, Field(gt=0)] = EXP_LIMIT
    """Largest logit of ``exp`` evidence; the published code has 10."""
    divergence: Weight = 1.0
    """Final weight of the divergence on misleading evidence, after 10 epochs; published for ``mse`` only."""
    avu: Weight = 0.0
    """Weight of the term on accuracy and uncertainty."""
    similarity: Weight = 1.0
    """Weight of the squared distance between the score and the teacher's cosine."""
    uniform: Weight = 0.0
    """The same for the unweighted mean of S."""
    hint: Weight = 0.0
    """Weight of the distance to what the teacher sees: to its last map from a 1 x 1 projection of the network's, and
    between the embeddings that its head makes of both. It is for training from scratch on few pictures."""
    balanced: bool = False
    """Average the pairs that the teacher finds alike separately from the others."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("identification") == "evidential":
            return {"evidential": "log", **given, "identification": 1.0}
        return given

    @model_validator(mode="after")
    def _check(self) -> LossConfig:
        if self.identification == self.similarity == self.uniform == self.hint == 0:
            raise ValueError("all losses have weight 0, so nothing would be learnt")
        return self


class BatchConfig(_Part):
    """``pairs``: as in the paper, ``size`` pictures with a partner each. ``all``: all pairs of people x pictures."""

    mode: Literal["pairs", "all"] = "pairs"
    """``pairs``: every picture with one partner; ``all``: every picture with every other."""
    size: Count = 48
    """``pairs``: number of pictures that get a partner."""
    genuine: Share = 0.5
    """``pairs``: share of partners that show the same person."""
    apart: bool = False
    """``pairs``: the two sides go through the network one after the other, each with its own BatchNorm statistics, as
    in the public code."""
    people: Annotated[int, Field(ge=2)] = 24
    """``all``: number of people in a batch."""
    pictures: Count = 4
    """``all``: number of pictures of each person."""

    @model_validator(mode="after")
    def _check(self) -> BatchConfig:
        if self.apart and self.mode != "pairs":
            raise ValueError("apart is for mode pairs, where a face has one partner")
        return self


class AugmentConfig(_Part):
    """Augmentation of a picture: ``masked`` covers a share of the faces with free-form masks of that coverage."""

    flip: bool = True
    """Mirror half of the pictures."""
    geometry: bool = False
    """Mirror, shift, rotate and scale a little."""
    light: bool = False
    """Vary brightness, contrast, colour and sharpness."""
    occluded: Share = 0.0
    """Share of faces with a rectangle over them, for the student only."""
    blended: Share = 0.0
    """``all``: share of people in a batch who are blends of two."""
    masked: Share = 0.0
    """Share of faces under a black free-form mask, for the student only."""
    coverage: tuple[Share, Share] = (0.1, 0.5)
    """Smallest and largest share of the face that a mask covers."""

    @model_validator(mode="after")
    def _check(self) -> AugmentConfig:
        if self.coverage[0] > self.coverage[1]:
            raise ValueError(f"coverage falls from {self.coverage[0]} to {self.coverage[1]}; write the smaller first")
        return self


class OptimiserConfig(_Part):
    """``paper``: SGD for backbone and head, Adam (amsgrad) for the attention; ``adamw``: one AdamW for all."""

    kind: Literal["paper", "adamw"] = "paper"
    """``paper``: SGD, and Adam (amsgrad) for the attention; ``adamw``: one AdamW."""
    lr: Annotated[float, Field(gt=0)] = 1e-3
    """Learning rate of the backbone; with AdamW the heads learn at three times this rate."""
    attention_lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate of the attention; with AdamW also of the identity classifier."""
    clip: Annotated[float, Field(gt=0)] | None = None
    """Maximum norm of the gradient."""
    schedule: Literal["milestones", "step", "cosine", "constant"] = "milestones"
    """Schedule of the learning rate."""
    milestones: list[int] = [12, 15, 18]
    """``milestones``: epochs after which the rate is multiplied by gamma."""
    every: Count = 8
    """``step``: epochs between two multiplications by gamma."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The factor."""
    warmup: Annotated[int, Field(ge=0)] = 0
    """Steps of warm-up, in which the rate rises."""


class TrainConfig(_Part):
    """A whole run. ``epochs`` counts passes over all pictures; ``steps``, if given, ends the run instead."""

    data: DataConfig
    """Pictures."""
    network: NetworkConfig = NetworkConfig()
    """Network."""
    teacher: str | None = None
    """The teacher: a run's folder or network, ``.onnx``, ``.safetensors`` of a backbone with its FC head, a model
    folder, or a known model."""
    losses: LossConfig = LossConfig()
    """Losses."""
    batch: BatchConfig = BatchConfig()
    """Batches."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation."""
    optimiser: OptimiserConfig = OptimiserConfig()
    """Optimiser."""
    epochs: Count = 20
    """Passes over all pictures."""
    steps: Count | None = None
    """Number of steps, instead of ``epochs``."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of all random draws."""
    average: Share = 0.0
    """Decay of a moving average of the weights, which is then evaluated and saved; 0 for none."""
    precision: Literal["32", "bf16"] = "32"
    """``bf16``: run the backbone in bfloat16."""
    threads: Count | None = None
    """Threads of PyTorch; results are bit-identical only with the same number."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Device to train on."""
    devices: Count = 1
    """Processes."""
    validate_every: Count = 200
    """Steps between two measurements of the accuracy."""
    save_every: Count = 200
    """Steps between two checkpoints."""

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.teacher is None and (self.losses.similarity or self.losses.uniform or self.losses.hint):
            raise ValueError("the similarity branch needs a teacher; name one or set similarity, uniform and hint to 0")
        return self

    def digest(self) -> str:
        """Return the SHA-256 of the settings."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def preset_text(name: str) -> str:
    """Return the commented YAML of a preset. Raise InputError if there is no preset of that name."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return files("whyface").joinpath("assets", "configs", f"{name}.yaml").read_text(encoding="utf-8")


def read_config(path: Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration from YAML; relative paths in it are relative to its folder.

    Raise InputError if the file cannot be read or is not YAML, or a key or value is wrong; the message names key and
    file.

    Parameters
    ----------
    changes
        ``key.key=value`` each, with the value in YAML; they override the file.
    """
    try:
        text = read_guarded(path, most=LARGEST_TEXT).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)}); give a YAML file") from error
    try:
        document = parse_yaml(text)
    except ValueError as error:
        raise InputError(f"{path}: not valid YAML ({error}); see whyface train --print-config") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: must hold keys and values; see whyface train --print-config")
    for change in changes:
        _apply(document, change)
    try:
        config = TrainConfig.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from error
    return _absolute(config, path.parent)


def _apply(document: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals:
        raise InputError(f"{change!r} changes nothing; write key.key=value")
    *parents, last = key.split(".")
    part = document
    for name in parents:
        part = part.setdefault(name, {})
        if not isinstance(part, dict):
            raise InputError(f"{change!r}: {name!r} holds no keys")
    try:
        part[last] = parse_yaml(value)
    except ValueError as error:
        raise InputError(f"{change!r}: the value is not valid YAML") from error


def _explain(error: ValidationError) -> str:
    """Return the first error in one line, with the nearest known key for an unknown one."""
    found = error.errors()
    # A typo often makes another key missing too; the typo is what the user must correct.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    where = ".".join(map(str, first["loc"])) or "the configuration"
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg'].removeprefix('Value error, ')}"
    model: Any = TrainConfig
    for name in first["loc"][:-1]:
        if isinstance(name, str):
            annotation = model.model_fields[name].annotation
            model = SourceConfig if name == "sources" else annotation
    known = sorted(model.model_fields)
    close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown key {where!r}; {hint}known here: {', '.join(known)}"


def _absolute(config: TrainConfig, base: Path) -> TrainConfig:
    """Resolve every path of the file against its folder; the teacher is a path only if it looks like one."""

    def full(path: Path | None) -> Path | None:
        return None if path is None else base / path

    data = config.data.model_copy(
        update={
            "sources": [
                source.model_copy(
                    update={
                        "path": base / source.path,
                        "people": full(source.people),
                        "align_cache": full(source.align_cache),
                    }
                )
                for source in config.data.sources
            ],
            "leave_out": full(config.data.leave_out),
            "protocol_data": full(config.data.protocol_data),
        }
    )
    network = config.network.model_copy(update={"init": full(config.network.init)})
    teacher = config.teacher
    if teacher is not None and (teacher.endswith((".onnx", ".safetensors")) or (base / teacher).is_dir()):
        teacher = str(base / teacher)
    return config.model_copy(update={"data": data, "network": network, "teacher": teacher})


def rate_factor(config: OptimiserConfig, step: int, *, steps: int, epoch_steps: int) -> float:
    """Return the factor of the learning rate at a step.

    ``milestones``: x gamma after each of these epochs (in the paper, x 0.1 after 12, 15 and 18); ``step``: x gamma
    every few epochs; ``cosine``: from 1 to 0 over the run; ``constant``: 1. Warm-up rises linearly in the first steps.
    """
    epoch = step // epoch_steps
    factor = 1.0
    if config.schedule == "milestones":
        factor = config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    elif config.schedule == "step":
        factor = config.gamma ** (epoch // config.every)
    elif config.schedule == "cosine":
        factor = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps))
    return factor * min(1.0, (step + 1) / config.warmup) if config.warmup else factor
