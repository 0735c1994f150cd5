"""``whyface words photo FOLDER``: what is most special about one face compared with all others in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from whyface.commands.verify import leave_open

if TYPE_CHECKING:
    from whyface.faces.face import Face
    from whyface.verification import Verifier
    from whyface.words.word_report import WordSettings

Explain = Callable[["Face", "Sequence[Face]"], dict[str, Any]]
"""A face and many others -> what sets it apart, as JSON values with ``sentences``."""


def by_erasing(verifier: Verifier, settings: WordSettings) -> Explain:
    """Return the explanation by erasing words."""
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.words.special_attribute import special_attributes  # noqa: PLC0415
    from whyface.words.word_explainer import open_words  # noqa: PLC0415

    explainer = open_words(verifier, settings=settings)

    def explain(probe: Face, others: Sequence[Face]) -> dict[str, Any]:
        with progress_bar("erasing") as progress:
            return special_attributes(explainer, probe, others, progress=progress).to_dict()

    return explain


def by_shares(verifier: Verifier, names: tuple[str, ...] | None, *, seed: int) -> Explain:
    """Return the explanation by shares of the mean score."""
    from whyface.words.share_report import open_word_shares  # noqa: PLC0415 - start fast
    from whyface.words.special_shares import special_shares  # noqa: PLC0415

    explainer = open_word_shares(verifier, names=names, accept_poor=verifier.accept_poor, seed=seed)
    return lambda probe, others: special_shares(explainer, probe, others).to_dict()


def print_special(
    verifier: Verifier, explain: Explain, photo: Path, folder: Path, *, aligned: bool, face: int, as_json: bool
) -> None:
    """Print what is most special about one face compared with all others in a folder.

    Parameters
    ----------
    verifier, explain
        The model with its threshold, and how words are tested.
    photo, folder
        The photo, and the folder of the others.
    aligned, face
        Whether photos are aligned, and which face of the photo is meant.
    as_json
        Print JSON instead of sentences.
    """
    from whyface.explain.trust import doubt_about_face  # noqa: PLC0415 - start fast
    from whyface.faces.face import describe_choice, describe_choices  # noqa: PLC0415
    from whyface.faces.load import load_face, other_photos  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast

    probe = load_face(photo, aligned=aligned, index=face, threads=verifier.threads)
    doubt = doubt_about_face(probe)
    if doubt is not None and not verifier.accept_poor:
        leave_open(doubt, "Give a better photo, or accept poor ones (--accept-poor).", as_json=as_json)
    with progress_bar("reading faces") as progress:
        others, left_out = other_photos(
            folder, besides=[photo], aligned=aligned, threads=verifier.threads, progress=progress
        )
    if not verifier.accept_poor:
        poor = {one.source: fault for one in others if (fault := doubt_about_face(one)) is not None}
        others = [one for one in others if one.source not in poor]
        left_out = [*left_out, *(f"{source}: {fault}" for source, fault in poor.items())]
    found = explain(probe, others)
    if as_json:
        several = {face.source: face.count for face in (probe, *others) if face.count > 1}
        document = {
            **found,
            "doubt": doubt,
            "left_out": left_out,
            "face": probe.index,
            "several_faces": several,
        }
        typer.echo(json.dumps(document, indent=4, allow_nan=False))
        return
    for line in (describe_choice(probe), describe_choices(others)):
        if line is not None:
            typer.echo(line)
    for sentence in found["sentences"]:
        typer.echo(sentence)
    if doubt is not None:
        typer.echo(f"Accepted as asked, although {doubt}: poor faces resemble anybody's")
    for reason in left_out:
        typer.echo(f"Left out: {reason}")
