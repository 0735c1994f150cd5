"""The methods that come with whyface: where each is, what it needs, who published it, and what its map says."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from whyface.errors import ModelError

Needs = Literal["any embedder", "xcos", "linear head", "torch"]
Unit = Literal["points", "density", "correlation", "gradient", "none"]


@dataclass(frozen=True)
class MethodEntry:
    """One method.

    Attributes
    ----------
    name, title
        Its name on the command line and in reports, and as a heading.
    factory
        Its class, or where it is as ``"package.module:Class"``, which is imported only when the method is opened.
    needs
        ``"any embedder"``: scores only, any network; ``"xcos"``: a model with attention over a grid; ``"linear head"``:
        a network whose head behind the last map is linear; ``"torch"``: gradients, so PyTorch and a known torch
        network.
    unit
        ``"points"``: the map is in parts of the score, 1 point is 0.01; ``"density"``: the same
        a pixel; ``"correlation"``: in [-1, 1]; ``"gradient"``
        only the proportions within one map mean something; ``"none"``: a control, which means nothing.
    paper
        Who published it.
    summary
        What a place's value means, in one line.
    caption
        The same for a reader who has never seen such a map, with what blue and red say.
    """

    name: str
    title: str
    factory: str | type[Any]
    needs: Needs
    unit: Unit
    paper: str
    summary: str
    caption: str

    @property
    def is_control(self) -> bool:
        """Whether the map knows nothing about the model."""
        return self.unit == "none"

    def load(self) -> Any:
        """Return the method's class.

        Raises
        ------
        ModelError
            If it cannot be imported.
        """
        if not isinstance(self.factory, str):
            return self.factory
        module, _, name = self.factory.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            raise ModelError(f"method {self.name!r} needs {error.name}, which is not installed") from error

    def make(self, embedder: Any, *, offered: Mapping[str, Any], **options: Any) -> Any:
        """Make the method for a network.

        Parameters
        ----------
        embedder
            The network.
        offered
            Options that a class may take or leave; those that its constructor does not name are left out.
        **options
            Options that it has to take.
        """
        made = self.load()
        parameters = inspect.signature(made).parameters.values()
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        taken = {parameter.name for parameter in parameters}
        return made(embedder, **options, **{key: value for key, value in offered.items() if takes_all or key in taken})


TABLE: Final = (
    MethodEntry(
        name="xcos",
        title="xCos",
        factory="whyface.explain.cells:XcosEvidenceMethod",
        needs="xcos",
        unit="points",
        paper="Lin et al., ACM TOMM 2021",
        summary="what each of 7 x 7 places adds to the score beyond its share of the threshold; exact",
        caption=(
            "The score is a sum over 7 x 7 places, the same for both faces. Blue places add more than the threshold "
            "asks of them, red places less. Nothing is estimated."
        ),
    ),
    MethodEntry(
        name="xface",
        title="Covering patches",
        factory="whyface.explain.xface:XfaceMethod",
        needs="any embedder",
        unit="points",
        paper="Knoche et al., WACV Workshops 2023",
        summary="how much score is lost when patches cover the place",
        caption=(
            "Small patches were laid over one place after another. Blue: with this place hidden, the faces look less "
            "alike to the model. Red: more alike."
        ),
    ),
    MethodEntry(
        name="corrrise",
        title="Random covers",
        factory="whyface.explain.corrrise:CorrRiseMethod",
        needs="any embedder",
        unit="correlation",
        paper="Lu et al., WACV 2024",
        summary="whether the score rises or falls with how much of the place is visible",
        caption=(
            "Half of the face was hidden at random, again and again. Blue: the more was seen of this place, the more "
            "alike the faces. Red: the less alike."
        ),
    ),
    MethodEntry(
        name="kernelshap",
        title="Shares of regions",
        factory="whyface.explain.kernelshap:KernelShapMethod",
        needs="any embedder",
        unit="density",
        paper="Lundberg and Lee, NeurIPS 2017",
        summary="each region's Shapley value, spread evenly over the region; they add up to the score",
        caption=(
            "Regions were hidden in many combinations and the score shared out fairly among them. Blue regions raised "
            "it, red ones lowered it; a deep colour is much on little area."
        ),
    ),
    MethodEntry(
        name="cells",
        title="Split by cells",
        factory="whyface.explain.cells:CellsMethod",
        needs="linear head",
        unit="points",
        paper="whyface",
        summary="what each cell of the last map adds to the cosine of embeddings; exact",
        caption=(
            "The score is a sum over places of one face, each compared with the whole other face. Blue places raise "
            "it, red ones lower it. Nothing is estimated."
        ),
    ),
    MethodEntry(
        name="places",
        title="Place by place",
        factory="whyface.explain.places:PlacesMethod",
        needs="linear head",
        unit="gradient",
        paper="whyface",
        summary="how alike each place is beyond the threshold, by how much it counts; without training",
        caption=(
            "Every place was compared with the same place of the other face, less what all faces have in common there. "
            "Blue places are more alike than the threshold asks for, red ones less."
        ),
    ),
    MethodEntry(
        name="xssab",
        title="For and against",
        factory="whyface.explain.xssab:XssabMethod",
        needs="torch",
        unit="gradient",
        paper="Huber et al., WACV 2024",
        summary="where pixels feed the parts of the score that argue for and against a match",
        caption=(
            "The score's parts were traced back to the pixels. Blue: here small changes would move above all the parts "
            "that speak for a match. Red: those against it."
        ),
    ),
    MethodEntry(
        name="fggb",
        title="Feature gradients",
        factory="whyface.explain.fggb:FggbMethod",
        needs="torch",
        unit="gradient",
        paper="Lu et al., FG 2024",
        summary="the places that each number of the embedding looks at, added up by what it says for a match",
        caption=(
            "Every number of the model's description of a face was traced to the pixels that it depends on. Blue: "
            "numbers on which the faces agree look here. Red: those on which they differ."
        ),
    ),
    MethodEntry(
        name="gradcam",
        title="Grad-CAM",
        factory="whyface.explain.gradcam:GradCamMethod",
        needs="torch",
        unit="gradient",
        paper="Selvaraju et al., ICCV 2017",
        summary="where the last map's channels lie that raise or lower the score",
        caption=(
            "Patterns that the model looks for, where it found them. Blue: more of these patterns would raise the "
            "score. Red: would lower it."
        ),
    ),
    MethodEntry(
        name="ebp",
        title="Winning pixels",
        factory="whyface.explain.ebp:EbpMethod",
        needs="torch",
        unit="gradient",
        paper="Zhang et al., ECCV 2016; Williford et al., ECCV 2020",
        summary="which pixels win when the score's evidence, and then its opposite, is handed down layer by layer",
        caption=(
            "What speaks for a match was handed down through the model to the pixels in proportion, and so was what "
            "speaks against it. Blue: more of the first. Red: more of the second."
        ),
    ),
    MethodEntry(
        name="xcos-guided",
        title="xCos in detail",
        factory="whyface.explain.gradcam:XcosGuidedMethod",
        needs="torch",
        unit="gradient",
        paper="whyface",
        summary="the evidence of xCos's places at the resolution of pixels, by the size of the score's gradient",
        caption=(
            "xCos says which places speak for (blue) or against a match (red); the score's sensitivity says which "
            "pixels there matter."
        ),
    ),
    MethodEntry(
        name="random",
        title="Noise (control)",
        factory="whyface.explain.controls:RandomMethod",
        needs="any embedder",
        unit="none",
        paper="a control",
        summary="noise that knows nothing; a method must beat it",
        caption="No explanation: drawn at random, whatever the model does. It shows how convincing noise can look.",
    ),
    MethodEntry(
        name="centre",
        title="Middle (control)",
        factory="whyface.explain.controls:CentreMethod",
        needs="any embedder",
        unit="none",
        paper="a control",
        summary="the middle of every picture; a method must beat it",
        caption="No explanation: the same hill in the middle of every face, whatever the model does.",
    ),
)
