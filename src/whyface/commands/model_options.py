"""The options of model and threshold, shared by several commands."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, get_type_hints

from whyface.commands.options import (
    AcceptPoor,
    AttentionKind,
    Fmr,
    GridTensor,
    ModelFolder,
    ModelName,
    OwnPixels,
    Threads,
    Threshold,
)

if TYPE_CHECKING:
    from whyface.models.preprocessing import Preprocessing
    from whyface.verification import Verifier


@dataclass(frozen=True)
class ModelOptions:
    """Model, attention and threshold; see the help of each option."""

    model: ModelName = "xcos-mobilefacenet"
    attention: AttentionKind = None
    threshold: Threshold = None
    fmr: Fmr = None
    model_dir: ModelFolder = None
    grid: GridTensor = None
    pixels: OwnPixels = None
    threads: Threads = None
    accept_poor: AcceptPoor = False

    @property
    def preprocessing(self) -> Preprocessing | None:
        """Preprocessing of the user's network."""
        return None if self.pixels is None else self.pixels.preprocessing()

    def verifier(self, *, prior: float | None = None, threads: int | None = None) -> Verifier:
        """Open the model.

        Parameters
        ----------
        prior
            See :class:`~whyface.verification.Verifier`.
        threads
            Overrides the option.
        """
        from whyface.verification import Verifier  # noqa: PLC0415 - start fast

        return Verifier(
            self.model,
            attention=None if self.attention is None else self.attention.value,
            threshold=self.threshold,
            fmr=self.fmr,
            model_directory=self.model_dir,
            grid=self.grid,
            preprocessing=self.preprocessing,
            threads=self.threads if threads is None else threads,
            prior=prior,
            accept_poor=self.accept_poor,
        )


def takes_model(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: replace its parameter of type :class:`ModelOptions` by the fields as options."""
    hints = get_type_hints(command, include_extras=True)
    shared = get_type_hints(ModelOptions, include_extras=True)
    names = [field.name for field in fields(ModelOptions)]
    parameters: list[Parameter] = []
    place = ""
    for parameter in signature(command).parameters.values():
        if hints[parameter.name] is ModelOptions:
            place = parameter.name
            parameters += [
                Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=shared[field.name])
                for field in fields(ModelOptions)
            ]
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        chosen = ModelOptions(**{name: values.pop(name) for name in names})
        command(**{place: chosen}, **values)

    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
