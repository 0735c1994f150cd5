"""The methods that come with whyface: class, requirements, paper and the meaning of the map."""

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
    """Description of a method.

    Attributes
    ----------
    name, title
        Name on the command line and in reports, and heading in figures.
    factory
        The class, or its path ``"package.module:Class"``, which is imported only when the method is opened.
    needs
        ``"any embedder"``: only scores, of any network; ``"xcos"``: a model with attention over a grid; ``"linear
        head"``: a network whose head after the last map is linear; ``"torch"``: gradients, so PyTorch and a torch
        network.
    unit
        ``"points"``: the map is in units of the score, 1 point is 0.01; ``"density"``: the same per pixel;
        ``"correlation"``: in [-1, 1]; ``"gradient"``: only proportions within one map are meaningful; ``"none"``: a
        control without meaning.
    paper
        The publication.
    summary
        The meaning of a value of the map, in one line.
    caption
        The same for a reader new to such maps, with the meaning of blue and red.
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
        """Whether the map ignores the model."""
        return self.unit == "none"

    def load(self) -> Any:
        """Return the method's class.

        Raises
        ------
        ModelError
            If a package that it needs is not installed.
        """
        if not isinstance(self.factory, str):
            return self.factory
        module, _, name = self.factory.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            raise ModelError(f"method {self.name!r} needs {error.name}, which is not installed") from error

    def make(self, embedder: Any, *, offered: Mapping[str, Any], **options: Any) -> Any:
        """Open the method for a network.

        Parameters
        ----------
        embedder
            The network.
        offered
            Optional arguments; those that the constructor does not accept are left out.
        **options
            Required arguments.
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
            "The score is a sum over 7 x 7 places, the same for both faces. Blue places add more than their share of "
            "the threshold, red places less. Nothing is estimated."
        ),
    ),
    MethodEntry(
        name="xface",
        title="Covering patches",
        factory="whyface.explain.xface:XfaceMethod",
        needs="any embedder",
        unit="points",
        paper="Knoche et al., WACV Workshops 2023",
        summary="how much the score drops when patches cover the place",
        caption=(
            "Small patches covered one place after another. Blue: with this place hidden, the faces look less alike to "
            "the model. Red: more alike."
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
            "Half of the face was hidden at random, many times. Blue: the more of this place is visible, the more "
            "alike the faces look to the model. Red: the less alike."
        ),
    ),
    MethodEntry(
        name="dise",
        title="Covers where faces tell",
        factory="whyface.explain.dise:DiseMethod",
        needs="any embedder",
        unit="gradient",
        paper="Williford et al., ECCV 2020",
        summary="how much the score drops when small covers, mostly where any face is telling, hide the place",
        caption=(
            "Small spots were blurred at random, mostly where any face is telling. Blue: with the place blurred, the "
            "faces look less alike to the model. Red: more alike."
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
            "Regions were hidden in many combinations, and the score was divided fairly among them. Blue regions "
            "raised it, red ones lowered it; a deep colour is a large effect on a small area."
        ),
    ),
    MethodEntry(
        name="amortised",
        title="Predicted shares of regions",
        factory="whyface.explain.amortised:AmortisedMethod",
        needs="any embedder",
        unit="density",
        paper="after Jethani et al., ICLR 2022",
        summary="each region's Shapley value, predicted from the features of both faces and spread over the region",
        caption=(
            "What each region adds to the score, predicted from what hiding regions did to other faces. Blue regions "
            "raise it, red ones lower it; a deep colour is a large effect on a small area."
        ),
    ),
    MethodEntry(
        name="cells",
        title="Split of the cosine",
        factory="whyface.explain.cells:CellsMethod",
        needs="linear head",
        unit="points",
        paper="whyface",
        summary="what each place of the last map adds to the cosine of embeddings; exact",
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
        summary="similarity of each place beyond the threshold, times its weight; without training",
        caption=(
            "Each place was compared with the same place of the other face, without what all faces have in common "
            "there. Blue places are more alike than the threshold, red ones less."
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
            "The parts of the score were traced back to the pixels. Blue: small changes here mainly affect the parts "
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
        summary="the pixels that each number of the embedding depends on, weighted by its support for a match",
        caption=(
            "Each number of the model's description of a face was traced to the pixels that it depends on. Blue: "
            "numbers on which the faces agree depend on these. Red: those on which they differ."
        ),
    ),
    MethodEntry(
        name="gradcam",
        title="Grad-CAM",
        factory="whyface.explain.gradcam:GradCamMethod",
        needs="torch",
        unit="gradient",
        paper="Selvaraju et al., ICCV 2017",
        summary="where the channels of the last map raise or lower the score",
        caption=(
            "Patterns that the model looks for, where it found them. Blue: more of these patterns would raise the "
            "score. Red: they would lower it."
        ),
    ),
    MethodEntry(
        name="ebp",
        title="Winning pixels",
        factory="whyface.explain.ebp:EbpMethod",
        needs="torch",
        unit="gradient",
        paper="Zhang et al., ECCV 2016; Williford et al., ECCV 2020",
        summary="which pixels win when the evidence for, and then against, a match is propagated back to them",
        caption=(
            "The evidence for a match was propagated back through the model to the pixels, and so was the evidence "
            "against it. Blue: more of the first. Red: more of the second."
        ),
    ),
    MethodEntry(
        name="subtree-ebp",
        title="Winning parts",
        factory="whyface.explain.subtree_ebp:SubtreeEbpMethod",
        needs="torch",
        unit="gradient",
        paper="Williford et al., ECCV 2020",
        summary="the pixels of the one node in each layer whose rise would raise the score most",
        caption=(
            "In each layer of the model, the part that would raise the score most was traced back to the pixels. Blue: "
            "parts for a match. Red: parts against it."
        ),
    ),
    MethodEntry(
        name="xcos-guided",
        title="xCos in detail",
        factory="whyface.explain.gradcam:XcosGuidedMethod",
        needs="torch",
        unit="gradient",
        paper="whyface",
        summary="the evidence of xCos's places at pixel resolution, by the magnitude of the score's gradient",
        caption=(
            "xCos says which places speak for (blue) or against a match (red); the score's sensitivity says which "
            "pixels there matter."
        ),
    ),
    MethodEntry(
        name="evidence-sum",
        title="Winning pixels and xCos",
        factory="whyface.explain.evidence_sum:EvidenceSumMethod",
        needs="torch",
        unit="gradient",
        paper="whyface",
        summary="winning pixels where they are strong, and the evidence of xCos's places elsewhere",
        caption=(
            "Two answers in one: pixels that win when the evidence is traced back, and what xCos says of each place. "
            "Blue: for a match. Red: against it."
        ),
    ),
    MethodEntry(
        name="random",
        title="Noise (control)",
        factory="whyface.explain.controls:RandomMethod",
        needs="any embedder",
        unit="none",
        paper="a control",
        summary="noise that ignores the model; a method must beat it",
        caption="Not an explanation: random, whatever the model does. It shows how convincing noise can look.",
    ),
    MethodEntry(
        name="centre",
        title="Middle (control)",
        factory="whyface.explain.controls:CentreMethod",
        needs="any embedder",
        unit="none",
        paper="a control",
        summary="the middle of every picture; a method must beat it",
        caption="Not an explanation: the same spot in the middle of every face, whatever the model does.",
    ),
)
