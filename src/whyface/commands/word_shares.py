"""``whyface words --by shares``: the score of a pair as an exact sum of words and a rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from whyface.commands.verify import import_matplotlib, leave_open, print_choices, verdict_line

if TYPE_CHECKING:
    from whyface.verification import Verifier


def print_shares(
    verifier: Verifier,
    photos: tuple[Path, Path],
    which: tuple[int, int],
    names: tuple[str, ...] | None,
    *,
    accept_poor: bool,
    seed: int,
    aligned: bool,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Print a pair's words as shares of the score, as sentences or JSON, and draw them.

    Parameters
    ----------
    verifier
        The model with its threshold.
    photos, which
        Two photos, and the face in each.
    names
        Only these attributes; None for all.
    accept_poor, seed, aligned
        As on the command line.
    figure
        File for a figure; None for none.
    as_json
        Print JSON instead of sentences.
    """
    from whyface.explain.childhood import WARNINGS  # noqa: PLC0415
    from whyface.explain.trust import same_picture  # noqa: PLC0415
    from whyface.words.share_report import describe_shares, open_word_shares, shares_document  # noqa: PLC0415

    explainer = open_word_shares(verifier, names=names, accept_poor=accept_poor, seed=seed)
    verification = verifier(*photos, aligned=aligned, face_a=which[0], face_b=which[1])
    explanation = verification.explanation
    if explanation.undecided:
        leave_open(explanation.doubt or "", verification.sentences[1], as_json=as_json)
    report = explainer(verification.face_a, verification.face_b)
    if figure is not None:
        import_matplotlib()
        from whyface.figures.style import save_figure  # noqa: PLC0415 - matplotlib is slow to import
        from whyface.figures.word_shares import word_shares_figure  # noqa: PLC0415

        save_figure(word_shares_figure(report, verification.face_a.image, verification.face_b.image), figure)
    if as_json:
        document = {**shares_document(report), "warnings": list(explanation.warnings)}
        typer.echo(json.dumps(document, indent=4, allow_nan=False))
        return
    typer.echo(verdict_line(explanation))
    print_choices(explanation)
    warned = [WARNINGS[warning] for warning in explanation.warnings]
    for sentence in (*describe_shares(report), *warned, same_picture(explanation)):
        if sentence is not None:
            typer.echo(sentence)
    if figure is not None:
        typer.echo(f"Figure: {figure}")
