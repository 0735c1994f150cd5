"""The reference table of the configuration, made from its schema (needs the extra ``train``)."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from whyface.train.config import TrainConfig

START: Final = "<!-- made by scripts/config_reference.py -->"
END: Final = "<!-- end of what is made -->"
_PLAIN: Final = {int: "whole number", float: "number", bool: "true, false", str: "text", Path: "path"}


def reference_table() -> str:
    """Return every key with its values, its default and its meaning, as a Markdown table."""
    rows = [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in _rows(TrainConfig, "")]
    return "\n".join(["| key | values | default | |", "|---|---|---|---|", *rows])


def _rows(model: type[BaseModel], prefix: str) -> list[tuple[str, str, str, str]]:
    found = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = _part(field.annotation)
        if inner is None:
            text = (field.description or "").replace("``", "`").replace("\n", " ")
            found.append((key, _kind(field.annotation, field.metadata), _default(field), text))
        else:
            found += _rows(inner, f"{key}[]." if get_origin(field.annotation) is list else f"{key}.")
    return found


def _part(annotation: Any) -> type[BaseModel] | None:
    """Return the schema in ``Part`` or ``list[Part]``, or None."""
    inner = get_args(annotation)[0] if get_origin(annotation) is list else annotation
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _kind(annotation: Any, metadata: list[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in {Union, types.UnionType}:
        return " or none".join(_kind(one, metadata) for one in arguments if one is not type(None)) + " or none"
    if hasattr(annotation, "__metadata__"):
        return _kind(annotation.__origin__, [*metadata, *_bounds(annotation.__metadata__)])
    if origin is list:
        return f"list: {_kind(arguments[0], metadata)}"
    if origin is tuple:
        return " and ".join(_kind(one, metadata) for one in arguments)
    return " ".join([_PLAIN[annotation], *_words(_bounds(metadata))])


def _bounds(metadata: Any) -> list[Any]:
    """Return the bounds in annotations, some of which contain others."""
    found: list[Any] = []
    for one in metadata:
        found += _bounds(one.metadata) if isinstance(one, FieldInfo) else [one] if isinstance(one, Ge | Gt | Le) else []
    return found


def _words(bounds: list[Any]) -> list[str]:
    low = [f"≥ {one.ge}" if isinstance(one, Ge) else f"> {one.gt}" for one in bounds if isinstance(one, Ge | Gt)]
    high = [f"≤ {one.le}" for one in bounds if isinstance(one, Le)]
    return [", ".join([*low, *high])] if low or high else []


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "must be given"
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value)}`" if isinstance(value, list | tuple) else f"`{value}`"
