"""What a training run is made of, as a typed schema; a key that it does not know is an error (extra ``torch``)."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from whyface.errors import InputError
from whyface.train.margins import MarginKind

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
PRESETS: Final = ("paper", "published-code", "fine-tune")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceConfig(_Part):
    """Labelled pictures: a tree ``person/picture``, a tar file of one, CFP's own tree, or a ``.rec`` file."""

    path: Path
    layout: Literal["tree", "cfp", "rec"] = "tree"
    name: str = ""
    people: Path | None = None
    align: bool = False
    align_cache: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> SourceConfig:
        if self.align_cache is not None and not self.align:
            raise ValueError("align_cache keeps faces that align finds; add align: true")
        return self


class DataConfig(_Part):
    """Training pictures, who is left out, and what the best network is chosen by."""

    sources: Annotated[list[SourceConfig], Field(min_length=1)]
    leave_out: Path | None = None
    held_out: Annotated[int, Field(ge=0)] = 20
    protocol: str | None = None
    protocol_data: Path | None = None
    cache: bool = True

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if (self.protocol is None) != (self.protocol_data is None):
            raise ValueError("protocol and protocol_data go together; give both or neither")
        if self.protocol is None and self.held_out == 0:
            raise ValueError("the best network needs held_out people or a protocol to be chosen by")
        return self


class NetworkConfig(_Part):
    """Backbone and head; ``init`` holds initial tensors, ``trainable`` says from where on the network learns."""

    backbone: Literal["mobilefacenet", "iresnet18", "iresnet34", "iresnet50", "iresnet100", "iresnet152"] = (
        "mobilefacenet"
    )
    se: bool = False
    head: Literal["fc", "grid", "placed"] = "grid"
    activation: Literal["prelu", "none"] = "prelu"
    sigma: Annotated[float, Field(gt=0)] = 1.0
    init: Path | None = None
    trainable: Literal["all", "late", "head"] = "all"
    norms: Literal["train", "fixed"] = "train"
    symmetric: bool = False

    @model_validator(mode="after")
    def _check(self) -> NetworkConfig:
        if self.head == "placed" and self.backbone != "mobilefacenet":
            raise ValueError("head 'placed' takes over MobileFaceNet's head; use 'grid' with other backbones")
        return self


class LossConfig(_Part):
    """Weights of the branches; a branch of weight 0 is not computed. ``uniform`` also pulls the plain mean of S."""

    identification: Weight = 1.0
    margin_kind: MarginKind = "cosface"
    margin: float | None = None
    scale: float | None = None
    similarity: Weight = 1.0
    uniform: Weight = 0.0
    balanced: bool = False

    @model_validator(mode="after")
    def _check(self) -> LossConfig:
        if self.identification == self.similarity == self.uniform == 0:
            raise ValueError("all losses have weight 0, so nothing would be learnt")
        return self


class BatchConfig(_Part):
    """``pairs``: the paper's, ``size`` pictures with a partner each. ``all``: all pairs of people x pictures."""

    mode: Literal["pairs", "all"] = "pairs"
    size: Count = 48
    genuine: Share = 0.5
    people: Annotated[int, Field(ge=2)] = 24
    pictures: Count = 4


class AugmentConfig(_Part):
    """What happens to a picture: ``masked`` covers a share of the faces by free-form masks of that coverage."""

    flip: bool = True
    geometry: bool = False
    light: bool = False
    occluded: Share = 0.0
    blended: Share = 0.0
    masked: Share = 0.0
    coverage: tuple[Share, Share] = (0.1, 0.5)


class OptimiserConfig(_Part):
    """``paper``: SGD for backbone and head, Adam (amsgrad) for the attention; ``adamw``: one AdamW for all."""

    kind: Literal["paper", "adamw"] = "paper"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    attention_lr: Annotated[float, Field(gt=0)] = 1e-4
    clip: Annotated[float, Field(gt=0)] | None = None
    schedule: Literal["milestones", "step", "cosine", "constant"] = "milestones"
    milestones: list[int] = [12, 15, 18]
    every: Count = 8
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup: Annotated[int, Field(ge=0)] = 0


class TrainConfig(_Part):
    """A whole run. ``epochs`` counts passes over all pictures; ``steps``, where given, ends the run instead."""

    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    teacher: str | None = None
    losses: LossConfig = LossConfig()
    batch: BatchConfig = BatchConfig()
    augment: AugmentConfig = AugmentConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    epochs: Count = 20
    steps: Count | None = None
    seed: Annotated[int, Field(ge=0)] = 1
    average: Share = 0.0
    precision: Literal["32", "bf16"] = "32"
    threads: Count | None = None
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Count = 1
    validate_every: Count = 200
    save_every: Count = 200

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.teacher is None and (self.losses.similarity or self.losses.uniform):
            raise ValueError("the similarity branch needs a teacher; name one or set similarity and uniform to 0")
        return self

    def digest(self) -> str:
        """Return the SHA-256 of the settings."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def preset_text(name: str) -> str:
    """Return the commented YAML of a preset.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return files("whyface").joinpath("assets", "configs", f"{name}.yaml").read_text(encoding="utf-8")


def read_config(path: Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration; relative paths in it are relative to its folder.

    Parameters
    ----------
    path
        YAML.
    changes
        ``key.key=value`` each, value in YAML, in place of what the file says.

    Raises
    ------
    InputError
        If the file cannot be read, is no YAML, or a key or value is wrong; the message names key and file.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a YAML file") from error
    except yaml.YAMLError as error:
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
        part[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"{change!r}: the value is not valid YAML") from error


def _explain(error: ValidationError) -> str:
    """Say in one line what is wrong first, with the nearest known key for an unknown one."""
    found = error.errors()
    # A typo often makes another key missing too; the typo is what to mend.
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
    if teacher is not None and teacher.endswith((".onnx", ".safetensors")):
        teacher = str(base / teacher)
    return config.model_copy(update={"data": data, "network": network, "teacher": teacher})
