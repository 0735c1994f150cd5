"""The only door to ONNX Runtime: its telemetry is off, and every network of whyface runs with the same settings.

ONNX Runtime 1.32 and later send events to Microsoft unless told not to: their builds write a device id and a database
into the user's cache folder and into the folder for temporary files, and events hold paths, graph names and error
texts. The library's own switch, ``disable_telemetry_events()``, comes too late. An environment variable that is set
before the library is loaded prevents all of it; so no other module imports ONNX Runtime.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from whyface.errors import InputError, ModelError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession as InferenceSession  # noqa: PLC0414 - for other modules

CPU: Final = ("CPUExecutionProvider",)
"""The execution provider that every build of ONNX Runtime has."""

DEVICES: Final = {"cpu": CPU, "cuda": ("CUDAExecutionProvider", *CPU)}
"""Execution providers by the short name of a device."""

PRIVACY: Final = {"ORT_DISABLE_TELEMETRY": "1"}
"""The environment in which ONNX Runtime must be loaded, for processes that load it on their own."""

_FATAL_ONLY: Final = 4
_MOST_MEMORY: Final = 2**30 + 2**29
_LARGEST_LIMITED: Final = 2**28


def onnx_runtime(part: str = "") -> Any:
    """Import ONNX Runtime with its telemetry off, whatever the environment says.

    It cannot be turned off any more where the process has loaded ONNX Runtime before, without whyface.

    Parameters
    ----------
    part
        A module of it, such as ``"quantization"``; the package itself by default.
    """
    os.environ.update(PRIVACY)
    return importlib.import_module(f"onnxruntime.{part}" if part else "onnxruntime")


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_providers(device: str | Sequence[str]) -> tuple[str, ...]:
    """Return execution providers by the name of a device, ``"cpu"`` or ``"cuda"``, or by their own names.

    Parameters
    ----------
    device
        A device, names of providers with commas between, or a sequence of names, in order of preference.

    Raises
    ------
    InputError
        If a provider is not in the installed ONNX Runtime.
    """
    names = [name.strip() for name in device.split(",")] if isinstance(device, str) else list(device)
    providers = tuple(dict.fromkeys(provider for name in names for provider in DEVICES.get(name.lower(), (name,))))
    # The processor is always there, and asking would load the library before it is needed.
    if providers == CPU:
        return providers
    there = onnx_runtime().get_available_providers()
    missing = [provider for provider in providers if provider not in there]
    if missing:
        raise InputError(
            f"this ONNX Runtime has no {missing[0] or 'provider without a name'}, but {', '.join(there)}; for NVIDIA "
            "cards replace onnxruntime by onnxruntime-gpu: pip install 'whyface[gpu]'"
        )
    return providers


@cache
def _limit_memory() -> None:
    """Set up the memory that limited sessions share, once per process."""
    runtime = onnx_runtime()
    kind = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    # As large as asked for, not the next power of two; -1: as is usual.
    runtime.create_and_register_allocator(kind, runtime.OrtArenaCfg(_MOST_MEMORY, 1, -1, -1))


def open_session(
    model: bytes,
    *,
    threads: int | None = None,
    providers: Sequence[str] = CPU,
    limited: bool = False,
    alone: bool = False,
) -> InferenceSession:
    """Open a network.

    All graph optimisations are on, ONNX Runtime's default. Its threads sleep while they have nothing to do instead of
    looking for work for a while, as they would by default: a detector and a face network take turns, and the waiting
    threads of one would take the processor from the other. Where threads outnumber the cores it matters even more
    (benchmarks/face_speed.py). A network that runs alone is faster with threads that keep looking.

    Parameters
    ----------
    model
        The bytes of the ONNX file.
    threads
        Threads within one operator; None leaves it to ONNX Runtime, which takes as many as there are cores.
    providers
        Execution providers of ONNX Runtime, in order of preference.
    limited
        Whether the network is somebody else's: a few bytes can ask for terabytes. All such sessions together get
        1.5 GiB on the processor; what is beyond fails. A file above 256 MiB is large itself, and gets what it asks for.
    alone
        Whether no other network runs in this process, so that waiting threads take nothing from anybody, as long as
        there are no more of them than cores.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    ModelError
        The first provider cannot be started here, so that ONNX Runtime would go on with another in silence.
    Exception
        ONNX Runtime refuses the network; its errors share no base class.
    """
    runtime = onnx_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    spins = alone and (threads is None or threads <= usable_cores())
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.inter_op_num_threads = 1
    if b"QuantizeLinear" not in model:
        # Only weights are stored as integers. Turn them into float32 once, when the network is opened: by default
        # ONNX Runtime keeps them, for integer arithmetic that this network does not have, and is slower by far.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    if limited and len(model) <= _LARGEST_LIMITED:
        _limit_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
    # Without a second try, which ONNX Runtime announces on standard output.
    session = runtime.InferenceSession(model, options, providers=list(providers), enable_fallback=0)
    used = session.get_providers()
    if used[0] != providers[0]:
        raise ModelError(
            f"{providers[0]} could not be started here, only {', '.join(used)}; check the driver and the libraries of "
            "the card, or use the processor (cpu)"
        )
    return session
