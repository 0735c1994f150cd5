"""Amortised Shapley values: what KernelSHAP needs a thousand runs for, predicted from the features of two faces.

As in FastSHAP (Jethani, Sudarshan, Covert, Lee and Ranganath, ICLR 2022), the predictor is fitted to scores of masked
training faces, not to Shapley values: for coalitions s of regions drawn with the Shapley kernel, the sum of the values
of the regions in s should be the score with only s visible, less that of a covered face. The predictor here is linear
in quantities of each place of the grid (or of each number of the embedding), so that the fit is one least-squares
problem and takes minutes. Its values are then moved by equal parts so that they add up to the score less that of a
covered face, as Shapley values do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from whyface.errors import InputError, ModelError, reason
from whyface.explain.black_box import fill_picture
from whyface.explain.pair_method import BatchedPairMethod, PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.faces.face import FACE_SIZE
from whyface.faces.regions import REGIONS, region_masks
from whyface.files.guarded import read_tensors
from whyface.files.integrity import with_sorted_metadata, write_atomic
from whyface.models.catalogue import known_models
from whyface.models.embedder import Batch, Embedder
from whyface.xcos.comparison import Comparison, CosineComparison, Features

if TYPE_CHECKING:
    from whyface.files.progress import ProgressCallback

PENALTIES: Final = (1.0, 10.0, 100.0, 1000.0)
"""Ridge penalties tried on a fifth of the training pairs."""
MOST_SEEN: Final = 200
"""Quantities of a pair that the fit can use; more are reduced to as many principal components."""
_TENSORS: Final = ("weight", "centre", "scale")
FloatArray = NDArray[np.float64]


def describe_pair(first: Features, second: Features) -> FloatArray:
    """Return what the predictor sees of N pairs, seen from the first face, (N, F).

    For grids (N, C, h, w): the inner product, both lengths and the cosine at each place; for embeddings (N, D): the
    products of their numbers.
    """
    one, other = first.astype(np.float64), second.astype(np.float64)
    if one.ndim == 2:
        return one * other
    pairs = ((one, other), (one, one), (other, other))
    product, own, theirs = (np.einsum("nchw,nchw->nhw", *pair).reshape(len(one), -1) for pair in pairs)
    lengths = np.sqrt(own) * np.sqrt(theirs)
    cosine = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
    return np.concatenate([product, np.sqrt(own), np.sqrt(theirs), cosine], axis=1)


@dataclass(frozen=True, eq=False)
class ShapleyPredictor:
    """A linear predictor of Shapley values. Raise InputError if its numbers do not fit or are not finite.

    Attributes
    ----------
    weight
        (R, F + 1): for each region, and a constant.
    centre, scale
        (F,): what the predictor sees is centred and scaled by these.
    """

    weight: NDArray[np.float32]
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]

    def __post_init__(self) -> None:
        fits = self.centre.ndim == 1 and self.weight.shape == (len(REGIONS), len(self.centre) + 1)
        if not fits or self.scale.shape != self.centre.shape:
            raise InputError(f"a predictor of {len(REGIONS)} regions cannot have weights {self.weight.shape}")
        numbers = (self.weight, self.centre, self.scale)
        if not all(np.isfinite(part).all() for part in numbers) or (self.scale <= 0).any():
            raise InputError("a predictor needs finite weights and positive scales")

    def __call__(
        self, first: Features, second: Features, *, total: NDArray[np.floating[Any]] | None = None
    ) -> FloatArray:
        """Return the Shapley values of the first face's regions, (N, R).

        Raise InputError if the features do not fit.

        Parameters
        ----------
        total
            (N,): what the values must add up to; None leaves them as predicted.
        """
        seen = _standardised(describe_pair(first, second), self.centre, self.scale)
        values = seen @ self.weight.T.astype(np.float64)
        return values if total is None else efficient(values, np.asarray(total, np.float64))


def efficient(values: FloatArray, total: FloatArray) -> FloatArray:
    """Move values (N, R) by equal parts so that they add up to totals (N,), the nearest such values."""
    return np.asarray(values + ((total - values.sum(axis=1)) / values.shape[1])[:, None])


def _standardised(seen: FloatArray, centre: NDArray[Any], scale: NDArray[Any]) -> FloatArray:
    if seen.shape[1] != len(centre):
        raise InputError(f"the predictor sees {len(centre)} numbers of a pair, the model gives {seen.shape[1]}")
    return np.concatenate([(seen - centre) / scale, np.ones((len(seen), 1))], axis=1)


@dataclass(frozen=True, eq=False)
class MaskedScores:
    """Scores of masked faces: the training data.

    Attributes
    ----------
    first, second
        Features of N pairs; the first face is masked.
    members
        (N, K, R) bool: the regions that are visible in each of K coalitions.
    gains
        (N, K): the score with these visible, less that of the covered face.
    total
        (N,): the score of the whole face, less that of the covered face.
    """

    first: Features
    second: Features
    members: NDArray[np.bool_]
    gains: FloatArray
    total: FloatArray


def masked_scores(
    comparison: Comparison,
    first: Batch,
    second: Batch,
    *,
    coalitions: int,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> MaskedScores:
    """Score pairs whose first face is masked, each with coalitions of its own, drawn with the Shapley kernel.

    Raise InputError if there are fewer than two coalitions.

    Parameters
    ----------
    first, second
        (N, 3, 112, 112) each.
    coalitions
        Number for each pair, rounded down to an even number: each comes with its complement.
    """
    if coalitions < 2:
        raise InputError(f"at least 2 coalitions are needed, got {coalitions}")
    regions = np.stack(list(region_masks(FACE_SIZE, FACE_SIZE).values()))
    sizes = np.arange(1, len(REGIONS))
    kernel = 1 / (sizes * (len(REGIONS) - sizes))
    rng = np.random.default_rng(seed)
    members, gains, totals, ones, others = [], [], [], [], []
    for row, (face, partner) in enumerate(zip(first, second, strict=True)):
        chosen = []
        for size in rng.choice(sizes, coalitions // 2, p=kernel / kernel.sum()):
            shown = np.zeros(len(REGIONS), np.bool_)
            shown[rng.permutation(len(REGIONS))[:size]] = True
            chosen += [shown, ~shown]
        visible = [np.tensordot(shown, regions, 1) for shown in (*chosen, np.zeros(len(REGIONS), np.bool_))]
        fill = fill_picture(face, "mean")
        masked = np.stack([face, *(np.where(mask, face, fill) for mask in visible)])
        features, other = comparison.features(masked), comparison.features(partner[None])
        scores = comparison.scores(features, other).astype(np.float64)
        members.append(np.stack(chosen))
        gains.append(scores[1:-1] - scores[-1])
        totals.append(scores[0] - scores[-1])
        ones.append(features[0])
        others.append(other[0])
        if progress is not None:
            progress(row + 1, len(first))
    return MaskedScores(np.stack(ones), np.stack(others), np.stack(members), np.stack(gains), np.array(totals))


def fit_predictor(data: MaskedScores) -> ShapleyPredictor:
    """Fit a predictor; of :data:`PENALTIES`, the best on the last fifth of the pairs is used for all.

    Raise InputError if there are fewer than 10 pairs.
    """
    count = len(data.total)
    if count < 10:
        raise InputError(f"a predictor needs at least 10 pairs, got {count}")
    seen = describe_pair(data.first, data.second)
    centre, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-6)
    inputs = _standardised(seen, centre, scale)
    basis = np.eye(inputs.shape[1])
    most = min(MOST_SEEN, count)
    if inputs.shape[1] > most + 1:
        # So many numbers are first reduced to their principal components; the constant stays.
        along = np.linalg.svd(inputs[:, :-1], full_matrices=False)[2][:most]
        basis = np.zeros((len(along) + 1, inputs.shape[1]))
        basis[:-1, :-1], basis[-1, -1] = along, 1
    inputs = inputs @ basis.T
    fitted = np.arange(count) < count - max(1, count // 5)
    tried = _normal(inputs[fitted], data, fitted)
    losses = [_loss(_solve(*tried, penalty), inputs, data, ~fitted) for penalty in PENALTIES]
    weight = _solve(*_normal(inputs, data, np.ones(count, np.bool_)), PENALTIES[int(np.argmin(losses))])
    return ShapleyPredictor((weight @ basis).astype(np.float32), centre.astype(np.float32), scale.astype(np.float32))


def _normal(inputs: FloatArray, data: MaskedScores, chosen: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Return the normal equations of the sum over coalitions of (gain - s . W x)^2."""
    regions, size = data.members.shape[2], inputs.shape[1]
    left, right = np.zeros((regions, size, regions, size)), np.zeros((regions, size))
    for x, members, gains in zip(inputs, data.members[chosen], data.gains[chosen], strict=True):
        s = members.astype(np.float64)
        left += np.einsum("pq,i,j->piqj", s.T @ s, x, x)
        right += np.outer(s.T @ gains, x)
    return left.reshape(regions * size, -1), right


def _solve(left: FloatArray, right: FloatArray, penalty: float) -> FloatArray:
    """Solve with a penalty on all weights but the constants."""
    ridge = np.full(right.shape, penalty)
    ridge[:, -1] = 1e-3
    return np.asarray(np.linalg.solve(left + np.diag(ridge.ravel()), right.ravel()).reshape(right.shape))


def _loss(weight: FloatArray, inputs: FloatArray, data: MaskedScores, chosen: NDArray[np.bool_]) -> float:
    values = efficient(inputs[chosen] @ weight.T, data.total[chosen])
    return float(((np.einsum("nkr,nr->nk", data.members[chosen], values) - data.gains[chosen]) ** 2).mean())


class AmortisedMethod(BatchedPairMethod):
    """Predicted Shapley values of the 17 regions of each face, spread evenly over the region.

    They add up to score(face) - score(covered face), as KernelSHAP does, for two runs of the network beyond the score.

    Parameters
    ----------
    embedder, comparison
        The network, and the score to explain; by default the cosine of the embeddings.
    explainer
        File of ``whyface fit-explainer``; by default the one that comes with whyface for this model.
    threshold, source, batch_size
        As for :class:`~whyface.explain.pair_method.PairMethod`.

    Raises
    ------
    ModelError
        If there is no predictor for this model, or it belongs to another.
    """

    name: ClassVar[str] = "amortised"

    def __init__(
        self,
        embedder: Embedder,
        *,
        comparison: Comparison | None = None,
        explainer: str = "",
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 64,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size)
        self.comparison: Comparison = CosineComparison(embedder) if comparison is None else comparison
        path = Path(explainer) if explainer else shipped_predictor(self.comparison.sha256)
        if path is None:
            raise ModelError(
                f"there are no predicted Shapley values for {self.comparison.name!r}; fit them with whyface "
                "fit-explainer, or use --method kernelshap"
            )
        self.predictor = read_predictor(path)
        self._regions = np.stack(list(region_masks(FACE_SIZE, FACE_SIZE).values()))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The score that is explained, and the regions."""
        return {"score": self.comparison.kind, "regions": list(REGIONS)}

    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain 1 to ``batch_size // 2`` pairs."""
        covered = [np.stack([fill_picture(face, "mean") for face in faces]) for faces in (first, second)]
        a, b, none_a, none_b = (self.comparison.features(faces) for faces in (first, second, *covered))
        score = self.comparison.scores(a, b)
        sides = []
        for one, other, none in ((a, b, none_a), (b, a, none_b)):
            values = self.predictor(one, other, total=score - self.comparison.scores(none, other))
            sides.append(np.tensordot(values / self._regions.sum(axis=(1, 2)), self._regions, 1).astype(np.float32))
        return PairMaps(score, sides[0], sides[1], forward=4)


def shipped_predictor(sha256: str) -> Path | None:
    """Return the file of the predictor for the network with this SHA-256; None if whyface has none."""
    for entry in known_models():
        if sha256 in {file.sha256 for file in entry.files.values()}:
            path = Path(str(resources.files("whyface"))) / "assets" / "explainers" / f"{entry.name}.safetensors"
            return path if path.is_file() else None
    return None


def save_predictor(path: Path | str, predictor: ShapleyPredictor, record: Mapping[str, str]) -> None:
    """Write a predictor with a record of its origin. Raise OutputError if the file cannot be written."""
    tensors = {name: np.ascontiguousarray(getattr(predictor, name)) for name in _TENSORS}
    write_atomic(path, with_sorted_metadata(save(tensors, dict(record))))


def read_predictor(path: Path | str) -> ShapleyPredictor:
    """Read a predictor that :func:`save_predictor` wrote. Raise ModelError if it cannot be read."""
    try:
        tensors = read_tensors(path, _TENSORS)[0]
        return ShapleyPredictor(*(np.asarray(tensors[name], np.float32) for name in _TENSORS))
    except (OSError, KeyError, ValueError, InputError) as error:
        raise ModelError(f"{path}: no predictor ({reason(error)}); fit one with whyface fit-explainer") from error
