"""Options of several commands as blocks: the model, the threshold, the gallery, and where to do the work."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from whyface.commands.options import (
    AcceptPoor,
    Attention,
    AttentionKind,
    Device,
    Fmr,
    GalleryKey,
    GridTensor,
    ModelFolder,
    ModelName,
    OwnOutput,
    OwnPixels,
    OwnSize,
    Threads,
    Threshold,
    Unchecked,
)
from whyface.errors import InputError

if TYPE_CHECKING:
    from whyface.batch.comparer import ComparerSettings
    from whyface.engines import Engine
    from whyface.gallery.gallery import Gallery
    from whyface.models.operating_point import OperatingPoint
    from whyface.models.preprocessing import Preprocessing
    from whyface.verification import Verifier
    from whyface.xcos.open_model import OpenedModel


class EngineName(StrEnum):
    """Where to do the work."""

    LOCAL = "local"
    RAY = "ray"


class Options:
    """Options of several commands as one block; see the help of each option and :func:`takes_options`."""


@dataclass(frozen=True)
class EngineOptions(Options):
    """Where to do the work."""

    engine: Annotated[EngineName, typer.Option(help="Work on this machine, or on a Ray cluster.")] = EngineName.LOCAL
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that share the work, fastest with one per core; 1 if not given, with Ray one per core.",
            show_default=False,
        ),
    ] = None
    address: Annotated[
        str | None, typer.Option(help="Ray: the cluster; one on this machine if not given.", show_default=False)
    ] = None

    def open(self) -> Engine | None:
        """Return the engine; None for this process."""
        from whyface.engines import Processes, RayEngine  # noqa: PLC0415 - start fast

        if self.engine is EngineName.RAY:
            return RayEngine(self.workers, address=self.address)
        if self.address is not None:
            raise InputError("--address is that of a Ray cluster; add --engine ray, or leave it out")
        return Processes(self.workers) if self.workers is not None else None


@dataclass(frozen=True)
class NetworkOptions(Options):
    """A model and how to open it; see the help of each option."""

    model: ModelName = "xcos-large"
    model_dir: ModelFolder = None
    grid: GridTensor = None
    output: OwnOutput = None
    pixels: OwnPixels = None
    size: OwnSize = None
    unchecked: Unchecked = False
    device: Device = "cpu"
    threads: Threads = None

    @property
    def preprocessing(self) -> Preprocessing | None:
        """Preprocessing of the user's network."""
        from whyface.models.preprocessing import PRESETS, RAW  # noqa: PLC0415 - start fast

        chosen = None if self.pixels is None else PRESETS[self.pixels.value]
        return chosen if self.size is None else replace(chosen or RAW, side=self.size)

    def open(self, attention: Attention | None) -> OpenedModel:
        """Open the model without a threshold."""
        return self.opener(attention, threads=self.threads)()

    def opener(self, attention: Attention | None = None, *, threads: int | None = None) -> Callable[[], OpenedModel]:
        """Return what opens the model without a threshold, also in another process."""
        from whyface.xcos.open_model import open_model  # noqa: PLC0415 - start fast

        return functools.partial(
            open_model,
            self.model,
            attention=None if attention is None else attention.value,
            directory=self.model_dir,
            grid=self.grid,
            output=self.output,
            preprocessing=self.preprocessing,
            unchecked=self.unchecked,
            providers=self.device,
            threads=threads,
        )


@dataclass(frozen=True)
class GalleryOptions(Options):
    """How to open a gallery with its model."""

    model: Annotated[
        str | None,
        typer.Option(
            help="New path of the gallery's model, if it was moved; it must be the same model.", show_default=False
        ),
    ] = None
    model_dir: ModelFolder = None
    device: Device = "cpu"
    threads: Threads = None
    key: GalleryKey = None

    def open(self, gallery: Path, *, writable: bool = False) -> Gallery:
        """Open a gallery with its model."""
        from whyface.gallery.opening import gallery_key, open_for_search  # noqa: PLC0415 - start fast

        return open_for_search(
            gallery,
            writable=writable,
            model=self.model,
            directory=self.model_dir,
            threads=self.threads,
            providers=self.device,
            key=gallery_key(gallery, self.key),
        )


@dataclass(frozen=True)
class ModelOptions(NetworkOptions):
    """A model with attention and threshold; see the help of each option."""

    attention: AttentionKind = None
    threshold: Threshold = None
    fmr: Fmr = None
    accept_poor: AcceptPoor = False

    def comparer_settings(
        self, *, prior: float | None = None, aligned: bool = False, maps: bool = False
    ) -> ComparerSettings:
        """Return how a batch compares pairs with these options."""
        from whyface.batch.comparer import ComparerSettings  # noqa: PLC0415 - start fast

        return ComparerSettings(
            self.model,
            attention=None if self.attention is None else self.attention.value,
            threshold=self.threshold,
            fmr=self.fmr,
            prior=prior,
            directory=None if self.model_dir is None else str(self.model_dir),
            grid=self.grid,
            output=self.output,
            preprocessing=self.preprocessing,
            unchecked=self.unchecked,
            providers=self.device,
            aligned=aligned,
            maps=maps,
            accept_poor=self.accept_poor,
        )

    def verifier(
        self, *, prior: float | None = None, threads: int | None = None, measured: Path | None = None
    ) -> Verifier:
        """Open the model.

        Parameters
        ----------
        prior
            See :class:`~whyface.verification.Verifier`.
        threads
            Overrides the option.
        measured
            A report of ``whyface evaluate`` about this model, for the threshold with its error rates.
        """
        from whyface.verification import Verifier  # noqa: PLC0415 - start fast

        threshold: float | OperatingPoint | None = self.threshold
        networks: frozenset[str] = frozenset()
        if measured is not None:
            from whyface.evaluate.report import read_point  # noqa: PLC0415

            if threshold is not None:
                raise InputError("give a threshold as a number or from a report, not both")
            kind = None if self.attention is None else self.attention.value
            threshold, networks = read_point(measured, kind=kind, fmr=self.fmr)
        found = Verifier(
            self.model,
            attention=None if self.attention is None else self.attention.value,
            threshold=threshold,
            fmr=self.fmr if measured is None else None,
            model_directory=self.model_dir,
            grid=self.grid,
            output=self.output,
            preprocessing=self.preprocessing,
            unchecked=self.unchecked,
            providers=self.device,
            threads=self.threads if threads is None else threads,
            prior=prior,
            accept_poor=self.accept_poor,
        )
        if measured is not None and found.method.comparison.sha256 not in networks:
            raise InputError(f"{measured}: is about another network than {self.model}; measure this one")
        return found


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: replace each parameter of a subclass of :class:`Options` by the options of its fields."""
    hints = get_type_hints(command, include_extras=True)
    blocks = {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Options)}
    names = {place: [field.name for field in fields(block)] for place, block in blocks.items()}  # type: ignore[arg-type]
    parameters: list[Parameter] = []
    for parameter in signature(command).parameters.values():
        if parameter.name in blocks:
            block = blocks[parameter.name]
            shared = get_type_hints(block, include_extras=True)
            parameters += [
                Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=shared[field.name])
                for field in fields(block)  # type: ignore[arg-type]
            ]
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        chosen = {place: block(**{name: values.pop(name) for name in names[place]}) for place, block in blocks.items()}
        command(**chosen, **values)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
