"""An xCos model ready to compare faces, without torch."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError, reason
from whyface.files.guarded import read_tensors
from whyface.files.integrity import check_digest, read_model
from whyface.models.catalogue import model_entry, open_embedder
from whyface.models.embedder import Batch, GridEmbedder
from whyface.models.entry import ModelEntry
from whyface.models.onnx_session import read_summary
from whyface.onnx_runtime import CPU, open_session
from whyface.xcos.grid import (
    AttentionKind,
    factorised_maps,
    grid_cosine,
    normalise_attention,
    uniform_attention,
    xcos_score,
)

if TYPE_CHECKING:
    from whyface.onnx_runtime import InferenceSession


OUTPUTS: Final = ("similarity", "attention", "score")
_CHUNK: Final = 4096


class PairGraph:
    """The pairwise part of an xCos model on ONNX Runtime.

    Parameters
    ----------
    path
        ONNX file with the inputs ``grid_a`` and ``grid_b`` (n, C, H, W) and the outputs ``similarity`` and
        ``attention`` (n, H, W) and ``score`` (n,), as :func:`whyface.xcos.export.export_pair` writes it.
    sha256
        Refuse the file unless it has this SHA-256.
    threads
        Threads within one operator; one unless given.

    Raises
    ------
    ModelError
        The file is missing, is not an ONNX model, or is not such a graph.
    ModelIntegrityError
        The SHA-256 differs.
    """

    def __init__(self, path: Path | str, *, sha256: str | None = None, threads: int | None = None) -> None:
        self.path = Path(path)
        self._threads = threads
        self._model = read_model(self.path)
        self.sha256 = hashlib.sha256(self._model).hexdigest()
        if sha256 is not None:
            check_digest(self.sha256, sha256, self.path)
        missing = set(OUTPUTS) - set(read_summary(self._model, self.path).outputs)
        if missing:
            raise ModelError(f"{self.path}: not a pair graph, it has no output {min(missing)!r}")
        self._session: InferenceSession | None = None
        self._lock = threading.Lock()

    def run(
        self, grid_a: NDArray[np.float32], grid_b: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Compare N pairs of grids (N, C, H, W).

        Returns
        -------
        S (N, H, W), W (N, H, W), score (N,), float32.

        Raises
        ------
        InputError
            If the grids do not fit each other.
        ModelError
            If the graph cannot be run on them.
        """
        if grid_a.shape != grid_b.shape or grid_a.ndim != 4:
            raise InputError(f"the two grids do not fit together: {grid_a.shape} and {grid_b.shape}")
        session = self._open()
        starts = range(0, max(len(grid_a), 1), _CHUNK)
        try:
            parts = [
                session.run(list(OUTPUTS), {"grid_a": grid_a[i : i + _CHUNK], "grid_b": grid_b[i : i + _CHUNK]})
                for i in starts
            ]
        except Exception as error:  # ONNX Runtime's errors share no base class.
            raise ModelError(f"{self.path}: cannot compare grids of shape {grid_a.shape[1:]} ({error})") from error
        similarity, attention, score = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return similarity, attention, score

    def _open(self) -> InferenceSession:
        with self._lock:
            if self._session is None:
                try:
                    # The graph is tiny; more than one thread would make it slower.
                    self._session = open_session(self._model, threads=self._threads or 1, limited=True)
                except Exception as error:
                    raise ModelError(f"{self.path}: ONNX Runtime cannot use this graph ({error})") from error
            return self._session


CORRELATED_TENSOR: Final = "attention_p"
"""Name, in a model's safetensors file, of the raw correlated attention (H, W)."""

ATTENTION_NAMES: Final[Mapping[AttentionKind, str]] = {"u": "uniform", "p": "correlated", "l": "learned"}


@dataclass(frozen=True, eq=False)
class XcosMaps:
    """Maps and scores of N pairs.

    Attributes
    ----------
    similarity, attention
        S and W, (N, H, W) float32; every W sums to 1.
    score
        <S, W>, (N,) float32.
    """

    similarity: NDArray[np.float32]
    attention: NDArray[np.float32]
    score: NDArray[np.float32]


class XcosModel:
    """Grid network, attention and score in one object.

    Any network with a spatial map can be used: without ``pair`` and ``correlated``, its attention is uniform.

    Parameters
    ----------
    embedder
        Returns grid features, e.g. an :class:`~whyface.models.onnx_embedder.OnnxEmbedder` with its grid named.
    pair
        The learned attention, or None.
    correlated
        The correlated attention (H, W), raw or normalised, or None.
    tensors
        The safetensors file with the learned attention's tensors, which a search over a gallery needs, or None.
    weighed
        Whether the grid carries each face's own weights, so that learned attention needs no pair graph
        (:mod:`whyface.xcos.grid`).
    """

    def __init__(
        self,
        embedder: GridEmbedder,
        *,
        pair: PairGraph | None = None,
        correlated: NDArray[np.float32] | None = None,
        tensors: Path | None = None,
        weighed: bool = False,
    ) -> None:
        self.embedder = embedder
        self.pair = pair
        self.weighed = weighed
        self.tensors = tensors
        self.correlated = None if correlated is None else normalise_attention(correlated)

    @property
    def attentions(self) -> tuple[AttentionKind, ...]:
        """The kinds of attention that this model can use."""
        kinds: list[AttentionKind] = ["u"]
        if self.correlated is not None:
            kinds.append("p")
        if self.weighed or self.pair is not None:
            kinds.append("l")
        return tuple(kinds)

    def require(self, attention: AttentionKind) -> None:
        """Raise ModelError, which lists the available kinds, if the model lacks this attention."""
        if attention not in self.attentions:
            known = ", ".join(f"{kind} ({ATTENTION_NAMES[kind]})" for kind in self.attentions)
            raise ModelError(f"model {self.embedder.name!r} has no attention {attention!r}; it has {known}")

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces (N, 3, 112, 112), RGB, 0..255, to grid features (N, C, H, W)."""
        return self.embedder.grid(batch)

    def compare(self, batch_a: Batch, batch_b: Batch, attention: AttentionKind = "l") -> XcosMaps:
        """Compare N pairs of faces, (N, 3, 112, 112) each; see :meth:`compare_grids`."""
        if len(batch_a) != len(batch_b):
            raise InputError(f"cannot pair {len(batch_a)} faces with {len(batch_b)}")
        # One run over both sides: the backbone dominates the cost, and a larger batch is more efficient.
        grids = self.grid(np.concatenate([batch_a, batch_b]))
        return self.compare_grids(grids[: len(batch_a)], grids[len(batch_a) :], attention)

    def compare_grids(
        self, grid_a: NDArray[np.float32], grid_b: NDArray[np.float32], attention: AttentionKind = "l"
    ) -> XcosMaps:
        """Compare N pairs of grids (N, C, H, W).

        Raises
        ------
        InputError
            If the grids do not fit each other.
        ModelError
            If the model lacks this attention.
        """
        self.require(attention)
        if attention == "l" and self.weighed:
            return XcosMaps(*factorised_maps(grid_a, grid_b))
        if attention == "l" and self.pair is not None:
            return XcosMaps(*self.pair.run(grid_a, grid_b))
        similarity = grid_cosine(grid_a, grid_b)
        fixed = self.correlated if attention == "p" else uniform_attention(*similarity.shape[1:])
        if fixed is None or fixed.shape != similarity.shape[1:]:
            raise ModelError(f"model {self.embedder.name!r}: attention and grid differ in shape")
        weights = np.broadcast_to(fixed, similarity.shape).copy()
        return XcosMaps(similarity, weights, xcos_score(similarity, weights))


def open_xcos(
    model: str | ModelEntry,
    *,
    directory: Path | str | None = None,
    threads: int | None = None,
    providers: Sequence[str] = CPU,
) -> XcosModel:
    """Open a model with all the attention that its files hold.

    Parameters
    ----------
    model
        A known model's name, or any model's entry. If it is not an xCos model, the attention over its grid is uniform.
    directory
        Folder of models that are not part of whyface.
    threads
        Threads of ONNX Runtime; None leaves it to ONNX Runtime.
    providers
        Execution providers of ONNX Runtime for the backbone, in order of preference.

    Raises
    ------
    ModelError
        The model is unknown, has no grid, or its files are missing or unreadable.
    ModelIntegrityError
        A file differs from the one on record.
    """
    entry = model_entry(model) if isinstance(model, str) else model
    if entry.grid is None:
        raise ModelError(f"model {entry.name!r} has no grid on record, so there is no attention over it; leave it out")
    embedder = open_embedder(entry, directory=directory, threads=threads, providers=providers)
    pair = tensors = None
    if entry.kind == "xcos" and "pair" in entry.files:
        pair = PairGraph(entry.locate("pair", directory=directory), sha256=entry.files["pair"].sha256)
    if entry.kind == "xcos" and "safetensors" in entry.files:
        tensors = entry.locate("safetensors", directory=directory)
    correlated = None if tensors is None else read_correlated(tensors)
    weighed = entry.kind == "xcos" and entry.grid.weighed
    return XcosModel(embedder, pair=pair, correlated=correlated, tensors=tensors, weighed=weighed)


def read_correlated(path: Path | str) -> NDArray[np.float32] | None:
    """Read the raw correlated attention (H, W) from a model's safetensors file, if it holds one.

    Raises
    ------
    ModelError
        If the file cannot be read.
    """
    try:
        found = read_tensors(path, (CORRELATED_TENSOR,))[0].get(CORRELATED_TENSOR)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot read this file ({reason(error)}); export the model again") from error
    return None if found is None else np.asarray(found, np.float32)
