"""Attributes from the last spatial map of the default network, their names, and their phrases in sentences.

The first 40 names are CelebA's (Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015). With
z_k(i, j) = w_k . F(i, j) - z0_k(i, j), the logit of attribute k is the mean of z_k over all places plus a constant. So
each attribute has an exact 7 x 7 map of evidence; nothing is estimated from gradients. z0 is the mean over faces
without the attribute: at zero evidence, the place looks like that of such a face. Runs without torch.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from whyface.errors import InputError, ModelError, reason
from whyface.files.guarded import parse_json, read_tensors
from whyface.files.integrity import write_atomic
from whyface.models.catalogue import model_entry, shipped_models
from whyface.models.embedder import Batch
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.onnx_runtime import as_providers
from whyface.words.word_maps import Heatmap, weighted_channels

Group = Literal["face", "hair", "worn", "expression", "picture", "outside", "judgement", "gender", "age", "race"]

SENSITIVE_GROUPS: Final[frozenset[Group]] = frozenset({"gender", "age", "race"})
"""Words about how a person is perceived: guesses of the labelling model, left out of sentences unless requested."""

UNUSED_GROUPS: Final[frozenset[Group]] = frozenset({"judgement", "outside"})
"""Words that are left out of sentences unless requested by name: judgements of taste, and what an aligned face does not
show (a necktie lies below it, so its place on the face is a guess from suits and poses)."""


@dataclass(frozen=True)
class Attribute:
    """An attribute.

    Attributes
    ----------
    name
        CelebA's name, or ours in the same style.
    phrase
        Phrase in sentences, such as ``"bushy eyebrows"``.
    group
        Kind of word.
    is_plural
        Whether the pronoun is "them".
    """

    name: str
    phrase: str
    group: Group
    is_plural: bool = False

    @property
    def pronoun(self) -> str:
        """``"it"`` or ``"them"``."""
        return "them" if self.is_plural else "it"


CELEBA: Final = (
    Attribute("5_o_Clock_Shadow", "a five o'clock shadow", "hair"),
    Attribute("Arched_Eyebrows", "arched eyebrows", "face", True),
    Attribute("Attractive", "a handsome face", "judgement"),
    Attribute("Bags_Under_Eyes", "bags under the eyes", "face", True),
    Attribute("Bald", "a bald head", "hair"),
    Attribute("Bangs", "a fringe", "hair"),
    Attribute("Big_Lips", "full lips", "face", True),
    Attribute("Big_Nose", "a large nose", "face"),
    Attribute("Black_Hair", "black hair", "hair"),
    Attribute("Blond_Hair", "blond hair", "hair"),
    Attribute("Blurry", "blur", "picture"),
    Attribute("Brown_Hair", "brown hair", "hair"),
    Attribute("Bushy_Eyebrows", "bushy eyebrows", "face", True),
    Attribute("Chubby", "round cheeks", "face", True),
    Attribute("Double_Chin", "a double chin", "face"),
    Attribute("Eyeglasses", "glasses", "worn", True),
    Attribute("Goatee", "a goatee", "hair"),
    Attribute("Gray_Hair", "grey hair", "hair"),
    Attribute("Heavy_Makeup", "heavy make-up", "worn"),
    Attribute("High_Cheekbones", "high cheekbones", "face", True),
    Attribute("Male", "a man's look", "gender"),
    Attribute("Mouth_Slightly_Open", "an open mouth", "expression"),
    Attribute("Mustache", "a moustache", "hair"),
    Attribute("Narrow_Eyes", "narrow eyes", "face", True),
    Attribute("No_Beard", "a beardless face", "hair"),
    Attribute("Oval_Face", "an oval face", "face"),
    Attribute("Pale_Skin", "pale skin", "race"),
    Attribute("Pointy_Nose", "a pointed nose", "face"),
    Attribute("Receding_Hairline", "a receding hairline", "hair"),
    Attribute("Rosy_Cheeks", "rosy cheeks", "face", True),
    Attribute("Sideburns", "sideburns", "hair", True),
    Attribute("Smiling", "a smile", "expression"),
    Attribute("Straight_Hair", "straight hair", "hair"),
    Attribute("Wavy_Hair", "wavy hair", "hair"),
    Attribute("Wearing_Earrings", "earrings", "worn", True),
    Attribute("Wearing_Hat", "a hat", "worn"),
    Attribute("Wearing_Lipstick", "lipstick", "worn"),
    Attribute("Wearing_Necklace", "a necklace", "outside"),
    Attribute("Wearing_Necktie", "a necktie", "outside"),
    Attribute("Young", "a young look", "age"),
)

DEMOGRAPHIC: Final = (
    Attribute("Woman", "a woman's look", "gender"),
    Attribute("Race_Asian", "a look taken for Asian", "race"),
    Attribute("Race_Black", "a look taken for Black", "race"),
    Attribute("Race_Indian", "a look taken for Indian", "race"),
    Attribute("Race_Latino_Hispanic", "a look taken for Latino or Hispanic", "race"),
    Attribute("Race_Middle_Eastern", "a look taken for Middle Eastern", "race"),
    Attribute("Race_White", "a look taken for white", "race"),
    Attribute("Age_Under_30", "a look taken for under 30", "age"),
    Attribute("Age_30_To_44", "a look taken for 30 to 44", "age"),
    Attribute("Age_45_Up", "a look taken for 45 or more", "age"),
)
"""Groups by the labels of the DeepFace library, see the attribute card."""

ATTRIBUTES: Final = (*CELEBA, *DEMOGRAPHIC)
_BY_NAME: Final = {attribute.name: attribute for attribute in ATTRIBUTES}


def attribute(name: str) -> Attribute:
    """Return the attribute of an exact name; an unknown name becomes an attribute of the group ``"face"``."""
    return _BY_NAME.get(name) or Attribute(name, name.replace("_", " ").lower(), "face")


def match_names(wanted: Iterable[str], known: Sequence[str]) -> list[str]:
    """Resolve attribute names given by a user.

    Case, spaces, hyphens and underscores are ignored. Phrases such as ``"bushy eyebrows"`` or ``"a hat"`` are accepted,
    too. Raise InputError if a name is unknown; the message lists the nearest names, or all.

    Returns
    -------
    list of str
        Names from ``known``, each once, in the order of ``wanted``.
    """
    spelt = {_plain(name): name for name in known}
    spelt |= {_plain(attribute(name).phrase): name for name in known}
    # Articles may be left out if that is unambiguous.
    for name in known:
        words = attribute(name).phrase.split(maxsplit=1)
        if words[0] in {"a", "an"}:
            spelt.setdefault(_plain(words[1]), name)
    found = []
    for word in wanted:
        plain = _plain(word)
        if plain not in spelt:
            near = list(dict.fromkeys(spelt[key] for key in difflib.get_close_matches(plain, spelt, n=6, cutoff=0.5)))
            hint = f"did you mean {', '.join(near[:4])}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"unknown attribute {word!r}; {hint}")
        found.append(spelt[plain])
    return list(dict.fromkeys(found))


def _plain(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter.isalnum())


PRESENT: Final = 0.5
"""An attribute counts as present if its probability is at least this."""

LEARNT_AUC: Final = 0.75
"""Attributes with a lower AUC, measured on people not used for training, are not named in sentences."""

SHIPPED_NAME: Final = "xcos-large-attributes.safetensors"
_RECORD: Final = "whyface"
_BATCH: Final = 64


@dataclass(frozen=True, eq=False)
class AttributeEvidence:
    """Output of the attribute model for N faces.

    Attributes
    ----------
    maps
        z, (N, K, H, W) float32: the signed evidence of each place for each attribute.
    logits
        (N, K) float32: the mean of each map, plus the attribute's constant; of other heat maps than evidence, the same.
    absence
        (N, K, H, W) float32: the evidence against each attribute; None: the maps with the opposite sign.
    """

    maps: NDArray[np.float32]
    logits: NDArray[np.float32]
    absence: NDArray[np.float32] | None = None

    @property
    def against(self) -> NDArray[np.float32]:
        """The evidence against each attribute, (N, K, H, W)."""
        return -self.maps if self.absence is None else self.absence

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """The probability of each attribute, (N, K) float32 in (0, 1)."""
        return np.asarray(0.5 * (1 + np.tanh(self.logits / 2)), np.float32)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Whether each attribute counts as present, (N, K)."""
        return np.asarray(self.probabilities >= PRESENT)


@dataclass(frozen=True, eq=False)
class AttributeHeads:
    """Linear heads over a spatial map.

    Attributes
    ----------
    names
        The K attributes.
    weight, bias
        (K, C) and (K,) float32.
    baseline
        z0, (K, H, W) float32.
    record
        Origin of the heads: ``backbone``, ``tensor``, ``measured`` (name -> ``auc`` and more) and others; see
        ``scripts/fit_attributes.py``.
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    baseline: NDArray[np.float32]
    record: Mapping[str, Any]

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count or len(set(self.names)) != count:
            raise InputError("attribute heads need at least one attribute, each with a unique name")
        if self.weight.ndim != 2 or len(self.weight) != count or self.bias.shape != (count,):
            shapes = f"weights {self.weight.shape} and biases {self.bias.shape}"
            raise InputError(f"{shapes} do not fit {count} attributes; expected (K, C) and (K,)")
        if self.baseline.ndim != 3 or len(self.baseline) != count:
            raise InputError(f"the baseline must be (K, H, W), got {self.baseline.shape} for {count} attributes")
        if not all(np.isfinite(values).all() for values in (self.weight, self.bias, self.baseline)):
            raise InputError("attribute heads must be finite numbers")

    def __call__(self, grids: NDArray[np.float32], heatmap: Heatmap = "evidence") -> AttributeEvidence:
        """Return the evidence in spatial maps (N, C, H, W), or Grad-CAM or Grad-CAM++ of the logits.

        The slope of a logit is the same at every place, w / (H W), so both are exact without automatic differentiation.
        Raise InputError if the maps have another number of channels or places.
        """
        expected = (self.weight.shape[1], *self.baseline.shape[1:])
        if grids.ndim != 4 or grids.shape[1:] != expected:
            raise InputError(f"the attribute heads read maps (N, *{expected}), got {grids.shape}")
        count, channels, height, width = grids.shape
        maps = (self.weight @ grids.reshape(count, channels, -1)).reshape(count, -1, height, width)
        logits = maps.mean(axis=(2, 3), dtype=np.float64) + self.bias
        logits = np.asarray(logits, np.float32)
        if heatmap == "evidence":
            return AttributeEvidence(np.asarray(maps - self.baseline, np.float32), logits)
        slopes = self.weight[None, :, :, None, None].repeat(height, 3).repeat(width, 4) / (height * width)
        cams = [weighted_channels(grids, sign * slopes, heatmap).astype(np.float32) for sign in (1, -1)]
        return AttributeEvidence(cams[0], logits, cams[1])

    @property
    def constants(self) -> NDArray[np.float64]:
        """The logit minus the mean of the map of evidence, for each attribute, (K,)."""
        return np.asarray(self.bias + self.baseline.mean(axis=(1, 2), dtype=np.float64))

    def learnt(self) -> NDArray[np.bool_]:
        """Return which attributes were learnt well enough for a sentence, (K,) bool.

        That is an AUC of at least 0.75, if one was measured, on labels with enough positives.
        """
        measured = self.record.get("measured", {})
        return np.array([_is_learnt(measured.get(name)) for name in self.names])

    def usable(self, *, sensitive: bool = False) -> NDArray[np.bool_]:
        """Return which attributes may be named in a sentence without being requested, (K,) bool."""
        groups = [attribute(name).group for name in self.names]
        allowed = [group not in UNUSED_GROUPS and (sensitive or group not in SENSITIVE_GROUPS) for group in groups]
        return np.asarray(self.learnt() & np.array(allowed))


class AttributeReader:
    """Attribute heads with their network.

    Parameters
    ----------
    heads
        The heads.
    network
        The ONNX network on whose spatial map the heads were fitted.
    """

    def __init__(self, heads: AttributeHeads, network: OnnxEmbedder) -> None:
        self.heads = heads
        self.network = network

    def __call__(self, batch: Batch, heatmap: Heatmap = "evidence") -> AttributeEvidence:
        """Return the evidence in faces (N, 3, 112, 112), RGB, 0..255, or another heat map."""
        starts = range(0, max(len(batch), 1), _BATCH)
        parts = [self.heads(self.network.grid(batch[start : start + _BATCH]), heatmap) for start in starts]
        return AttributeEvidence(
            np.concatenate([part.maps for part in parts]),
            np.concatenate([part.logits for part in parts]),
            None if heatmap == "evidence" else np.concatenate([part.against for part in parts]),
        )


def open_attributes(
    path: Path | str | None = None, *, threads: int | None = None, providers: str | Sequence[str] = "cpu"
) -> AttributeReader:
    """Open attribute heads with their network.

    Raise ModelError if the file or the network is missing or unreadable, or the heads were fitted on another network.

    Parameters
    ----------
    path
        A safetensors file that :func:`save_attributes` wrote; by default the one that comes with whyface.
    providers
        Where the network runs, see :func:`whyface.xcos.open_model.open_model`.
    """
    file = shipped_models() / SHIPPED_NAME if path is None else Path(path)
    heads = read_attributes(file)
    try:
        name, tensor, sha256 = (str(heads.record[key]) for key in ("backbone", "tensor", "backbone_sha256"))
    except KeyError as error:
        raise ModelError(f"{file}: the record lacks {error}; write the file with fit_attributes.py") from error
    entry = model_entry(name)
    if entry.files["onnx"].sha256 != sha256:
        raise ModelError(
            f"{file}: these attributes were fitted on another version of {name!r}; fit them again (fit_attributes.py)"
        )
    network = OnnxEmbedder(
        entry.locate("onnx"),
        preprocessing=entry.preprocessing,
        grid=tensor,
        threads=threads,
        name=name,
        providers=as_providers(providers),
    )
    return AttributeReader(heads, network)


def save_attributes(path: Path | str, heads: AttributeHeads) -> None:
    """Write heads to a safetensors file, with their names and record in the metadata.

    Raise OutputError if the file cannot be written.
    """
    text = json.dumps({**heads.record, "names": list(heads.names)}, ensure_ascii=False, allow_nan=False)
    tensors = {"weight": heads.weight, "bias": heads.bias, "baseline": heads.baseline}
    write_atomic(path, save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, {_RECORD: text}))


def read_attributes(path: Path | str) -> AttributeHeads:
    """Read a file that :func:`save_attributes` wrote.

    Raise ModelError if the file cannot be read or has another format.
    """
    try:
        tensors, metadata = read_tensors(path)
        weight, bias, baseline = (np.asarray(tensors[name], np.float32) for name in ("weight", "bias", "baseline"))
        record = parse_json(metadata[_RECORD])
        return AttributeHeads(tuple(record["names"]), weight, bias, baseline, record)
    except (OSError, KeyError, TypeError, ValueError, InputError) as error:
        raise ModelError(f"{path}: no attribute heads ({reason(error)}); write them with fit_attributes.py") from error


def _is_learnt(measured: Any) -> bool:
    """Return whether the record says so; an attribute that was not measured counts as learnt."""
    if not isinstance(measured, Mapping):
        return True
    return bool(measured.get("judged", True)) and float(measured.get("auc", 1.0)) >= LEARNT_AUC
