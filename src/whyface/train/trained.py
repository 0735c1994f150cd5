"""The file of a trained network: tensors, and all that is needed to rebuild it (needs the extra ``torch``).

The metadata of the safetensors file has an entry ``whyface``, JSON with these keys:

``format``
    ``"whyface/trained/1"``.
``network``
    The architecture: :class:`~whyface.train.config.NetworkConfig` without its initial tensors.
``step``, ``seed``, ``config_sha256``
    How long it was trained, and which settings gave it.
``versions``
    Of whyface, Python and the libraries.

Of an xCos network that had a teacher, ``attention_p`` beside the network's tensors is the raw attention P.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open
from torch import Tensor

from whyface.errors import ModelError
from whyface.train.config import NetworkConfig
from whyface.train.networks import Network, build_network, load_part
from whyface.train.teachers import read_safetensors
from whyface.xcos.model import CORRELATED_TENSOR

TRAINED: Final = "whyface/trained/1"
"""Format of a trained network's metadata."""

NETWORK: Final = "network.safetensors"
"""The file of the best network in a run's folder."""


def describe_trained(config: NetworkConfig, **more: Any) -> dict[str, str]:
    """Make the metadata of a trained network's file."""
    architecture = config.model_dump(mode="json", exclude={"init"})
    return {"format": "pt", "whyface": json.dumps({"format": TRAINED, "network": architecture, **more})}


def trained_correlation(path: Path | str) -> Tensor | None:
    """Read the raw attention P, (H, W), of a trained network's file; None where it has none."""
    return read_safetensors(_file(path)).get(CORRELATED_TENSOR)


def is_trained(path: Path | str) -> bool:
    """Say whether ``whyface train`` wrote a file, or the network in a folder."""
    try:
        with safe_open(_file(path), framework="numpy") as file:
            return "whyface" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def load_trained(path: Path | str) -> tuple[Network, dict[str, Any]]:
    """Rebuild a trained network from its ``.safetensors`` file, or from ``network.safetensors`` in a run's folder.

    Returns
    -------
    The network in eval mode, and what the file says about itself (see the module's text).

    Raises
    ------
    ModelError
        If it is no file that ``whyface train`` wrote.
    """
    path = _file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})["whyface"])
        if description["format"] != TRAINED:
            raise ValueError(f"format {description['format']!r}")  # noqa: TRY301 - same message as for the others
        config = NetworkConfig.model_validate(description["network"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: no network that whyface train wrote ({error}); give its folder or file") from error
    network = build_network(config).eval()
    load_part(network, read_safetensors(path), path)
    return network, description


def _file(path: Path | str) -> Path:
    path = Path(path)
    return path / NETWORK if path.is_dir() else path
