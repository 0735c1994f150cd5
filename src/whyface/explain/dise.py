"""Density-based input sampling: cover small spots, mostly where any face is telling, and see how the score changes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.explain.black_box import BlackBoxMethod, OnePair
from whyface.explain.corrrise import MaskPainter
from whyface.explain.pair_method import check_pairing, photos_of
from whyface.faces.face import FACE_SIZE
from whyface.models.catalogue import FAST_MODEL
from whyface.models.embedder import Batch, Embedder
from whyface.xcos.comparison import Features

if TYPE_CHECKING:
    from whyface.explain.gradient_method import PairScore

Density = Literal["ebp", "uniform"]

CELLS: Final = 19
"""Spots per side: 12 of 224 pixels, as published."""

KEPT: Final = 0.5
"""Share of the cells that may be covered, the densest."""


def spot_masks(
    density: NDArray[Any], count: int, *, spots: int, seed: int, at_once: int
) -> Iterator[NDArray[np.float32]]:
    """Draw masks that cover a few cells each, smoothly enlarged and shifted at random by less than a cell.

    Parameters
    ----------
    density
        (cells, cells): how often a cell is covered, in proportion, sum 1.
    spots
        Cells covered by a mask.
    seed, at_once
        The masks depend on density and seed, not on how many are drawn at once.

    Yields
    ------
    Masks (n, 112, 112) float32 in [0, 1], n at most ``at_once``; 1 shows the face.
    """
    rng = np.random.default_rng(seed)
    cells, chances = len(density), density.ravel()
    cell = -(-FACE_SIZE // cells)
    side = FACE_SIZE + cell
    for start in range(0, count, at_once):
        masks = np.empty((min(at_once, count - start), FACE_SIZE, FACE_SIZE), np.float32)
        for mask in masks:
            grid = np.ones(cells * cells, np.float32)
            grid[rng.choice(len(grid), spots, replace=False, p=chances)] = 0
            row, column = rng.integers(0, cell, 2)
            large = cv2.resize(grid.reshape(cells, cells), (side, side), interpolation=cv2.INTER_LINEAR)
            mask[:] = large[row : row + FACE_SIZE, column : column + FACE_SIZE]
        yield masks


def cell_density(mass: NDArray[Any]) -> NDArray[np.float64]:
    """Return how often each cell is covered, from the mass of pixels: its densest half, in proportion, sum 1."""
    small = cv2.resize(np.asarray(mass, np.float64), (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    small = np.where(small >= np.quantile(small, 1 - KEPT), small, 0).clip(min=0)
    return small / small.sum() if small.sum() > 0 else np.full((CELLS, CELLS), 1 / CELLS**2)


class DiseMethod(BlackBoxMethod):
    """The mean of random covers, each weighted by how much the score drops with it.

    A mask M_k blurs a spot of face A, and d_k = score(A, B) - score(M_k A + (1 - M_k) fill, B). The map at pixel x is
    the mean of (1 - M_k(x)) d_k over k: positive where covering lowers the score, which supports "same person". (The
    authors draw the two signs as two maps.) Face B is treated in the same way.

    Spots are drawn from a density: where the features of *any* network for faces come from, whoever the face is (mean
    excitation backprop, here of the model that comes with whyface); the sparser half of the face is never covered. So
    the map also says where spots are drawn. With a non-mate (:meth:`triplet`), d_k is the drop with the mate minus the
    drop with the non-mate, as published.

    What differs from the authors' code: 1,000 masks instead of 6,500 by default, a blur of 12 pixels instead of 4.5.
    Raise InputError if an option is out of range, and ModelError if PyTorch, which the density needs, is missing.

    Parameters
    ----------
    masks
        Number of masks per face.
    spots
        Cells covered by a mask, of 19 x 19.
    density
        ``"ebp"``, or ``"uniform"``: every place alike, which needs no PyTorch.
    embedder, **options
        As for :class:`~whyface.explain.black_box.BlackBoxMethod`; the fill is ``"blur"``.

    References
    ----------
    Williford, May, Byrne, "Explainable Face Recognition", ECCV 2020.
    """

    name: ClassVar[str] = "dise"

    def __init__(
        self, embedder: Embedder, *, masks: int = 1000, spots: int = 1, density: Density = "ebp", **options: Any
    ) -> None:
        super().__init__(embedder, **{"fill": "blur", **options})
        if masks < 1:
            raise InputError(f"there must be at least 1 mask, got {masks}")
        if not 1 <= spots <= 100:
            raise InputError(f"a mask covers 1 to 100 spots, got {spots}")
        if density not in get_args(Density):
            raise InputError(f"the density must be one of {', '.join(get_args(Density))}, got {density!r}")
        self.masks = masks
        self.spots = spots
        self.density: Density = density
        self._lender: PairScore | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that determine the maps."""
        return {**super().settings, "masks": self.masks, "spots": self.spots, "density": self.density}

    @property
    def passes(self) -> int:
        """Two, and one for each mask of each face."""
        return 2 + 2 * self.masks

    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Explain one pair."""
        one, other = plain
        score = float(self.comparison.scores(one, other)[0])
        map_a = self._map(faces[0], lambda seen: score - self.comparison.scores(seen, other))
        map_b = self._map(faces[1], lambda seen: score - self.comparison.scores(one, seen))
        return map_a, map_b, {}

    def triplet(self, probe: Batch, mate: Batch, non_mate: Batch) -> NDArray[np.float32]:
        """Explain N triplets as published; see the class, and the method of its base."""
        check_pairing(probe, mate)
        check_pairing(probe, non_mate)
        maps = []
        sets = [np.stack(photos_of(role), axis=1) for role in (mate, non_mate)]
        for face, *roles in zip(probe, *sets, strict=True):
            itself = self.comparison.features(face[None])
            others = [self.comparison.features(photos) for photos in roles]
            before = [self._mean_score(itself, one) for one in others]

            def drop(seen: Features, before: Any = before, others: Any = others) -> Features:
                for_mate, for_other = (
                    was - self._mean_score(seen, one) for was, one in zip(before, others, strict=True)
                )
                return np.asarray(for_mate - for_other, np.float32)

            maps.append(self._map(face, drop))
        return np.stack(maps)

    def _mean_score(self, seen: Features, photos: Features) -> Features:
        """Return each face's mean score with some photos."""
        return np.asarray(np.mean([self.comparison.scores(seen, photo[None]) for photo in photos], axis=0))

    def _map(self, face: NDArray[Any], drop: Callable[[Features], Features]) -> NDArray[np.float32]:
        face = face.astype(np.float32)
        fill = self.fill_of(face).astype(np.float32)
        found = np.zeros((FACE_SIZE, FACE_SIZE))
        density = self._density(face)
        for masks in spot_masks(density, self.masks, spots=self.spots, seed=self.seed, at_once=self.batch_size):
            drops = drop(self.painted(face, MaskPainter(face, fill, masks), len(masks)))
            found += np.tensordot(np.asarray(drops, np.float64), 1 - masks, axes=1)
        return (found / self.masks).astype(np.float32)

    def _density(self, face: NDArray[np.float32]) -> NDArray[np.float64]:
        if self.density == "uniform":
            return np.full((CELLS, CELLS), 1 / CELLS**2)
        if importlib.util.find_spec("torch") is None:
            raise ModelError(
                "method 'dise' draws spots by a density that needs PyTorch; pip install 'whyface[torch]', or use "
                "dise:density=uniform"
            )
        import torch  # noqa: PLC0415 - only where there is PyTorch

        from whyface.explain.ebp import usual_mass  # noqa: PLC0415 - imports torch
        from whyface.explain.gradient_method import open_pair_score  # noqa: PLC0415

        if self._lender is None:
            self._lender = open_pair_score(FAST_MODEL)
        with torch.inference_mode(False):
            pixels = self._lender.embedder.pixels(face[None])
            return cell_density(usual_mass(self._lender, pixels)[0].detach().cpu().numpy())
