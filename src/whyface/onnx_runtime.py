"""Open ONNX Runtime with the settings that every network of whyface runs with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped, unused-ignore]

CPU: Final = ("CPUExecutionProvider",)
"""The execution provider that every build of ONNX Runtime has."""

_FATAL_ONLY: Final = 4


def open_session(model: bytes, *, threads: int | None = None, providers: Sequence[str] = CPU) -> InferenceSession:
    """Open a network.

    All graph optimisations are on, ONNX Runtime's default. Its threads sleep while they have nothing to do instead of
    looking for work for a while, as they would by default: a detector and a face network take turns, and the waiting
    threads of one would take the processor from the other. Where threads outnumber the cores it matters even more
    (benchmarks/face_speed.py).

    Parameters
    ----------
    model
        The bytes of the ONNX file.
    threads
        Threads within one operator; None leaves it to ONNX Runtime, which takes as many as there are cores.
    providers
        Execution providers of ONNX Runtime, in order of preference.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    Exception
        ONNX Runtime refuses the network; its errors share no base class.
    """
    import onnxruntime  # noqa: PLC0415 - heavy, and needed only once a network runs

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.inter_op_num_threads = 1
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=list(providers))
