"""One explanation as one HTML file that needs nothing else: pictures, data, style and script are inside.

A Content-Security-Policy forbids every load from outside, and allows the script and the style by their hashes alone.
Whatever comes from files or people is data, which the script sets as text; the part for readers without scripts is
escaped.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.explain.registry import METHODS
from whyface.explain.sentences import describe
from whyface.faces.regions import FACE_SIZE
from whyface.page.bundle import content_hash, joined_script, page_file

LANGUAGES: Final = ("en", "de")
"""The languages of the page."""

DATA_MARK: Final = "@DATA@"
PLAIN_MARK: Final = "@PLAIN@"
"""Where a report's data and its part for readers without scripts go in :func:`report_shell`."""

_SHELL: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>whyface</title>
<style>{style}</style>
</head>
<body>
<main id="whyface">{plain}</main>
<script type="application/json" id="whyface-data">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def report_shell(entry: str = "report.js") -> str:
    """Return a report with marks in place of its data, which the page in the browser fills, too.

    ``entry`` is the module that shows the data.
    """
    script, style = joined_script(entry), page_file("style.css")
    policy = (
        f"default-src 'none'; script-src '{content_hash(script)}'; style-src '{content_hash(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return _SHELL.format(policy=policy, style=style, script=script, plain=PLAIN_MARK, data=DATA_MARK)


def report_html(
    explanation: Explanation,
    face_a: NDArray[np.uint8],
    face_b: NDArray[np.uint8],
    *,
    others: Mapping[str, Explanation] | None = None,
    language: str | None = None,
) -> str:
    """Return a report about two faces.

    Parameters
    ----------
    explanation
        The explanation.
    face_a, face_b
        The aligned faces, RGB uint8, (112, 112, 3); they are in the report without loss.
    others
        Explanations of the same pair by other methods, by the name to show, whose maps can be laid over the faces.
    language
        ``"en"`` or ``"de"``; None: the reader's.

    Raises
    ------
    InputError
        If a face has another shape or type, or there is no such language.
    """
    if language is not None and language not in LANGUAGES:
        raise InputError(f"the page has no language {language!r}; use one of: {', '.join(LANGUAGES)}")
    pictures = [picture_url(face) for face in (face_a, face_b)]
    data = {
        "explanation": explanation.to_dict(),
        "pictures": pictures,
        "others": [_overlay(name, other) for name, other in (others or {}).items() if other.map_a is not None],
        "language": language,
    }
    return filled_shell("report.js", data, _plain(explanation, pictures))


def filled_shell(entry: str, data: Any, plain: str = "") -> str:
    """Return a self-contained file that shows data, JSON values, by a module; ``plain`` is HTML without scripts."""
    # A "<" could end the script element; as \u003c it means the same to JSON.
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    # A name may hold a mark, so the shell is cut before anything of the report goes into it.
    head, rest = report_shell(entry).split(PLAIN_MARK)
    middle, foot = rest.split(DATA_MARK)
    return "".join((head, plain, middle, text, foot))


def notebook_frame(report: str) -> str:
    """Return a report in a frame for a notebook: it has its own policy, and reaches nothing of the notebook."""
    return (
        f'<iframe srcdoc="{escape(report)}" sandbox="allow-scripts allow-downloads allow-modals" title="whyface" '
        'width="100%" height="900" style="border: 0"></iframe>'
    )


def picture_url(face: NDArray[np.uint8]) -> str:
    """Return an aligned face as a data URL, in PNG. Raise InputError if it has another shape or type."""
    if face.shape != (FACE_SIZE, FACE_SIZE, 3) or face.dtype != np.uint8:
        raise InputError(f"a report shows aligned faces, 112 x 112 x 3 uint8, got {face.shape} {face.dtype}")
    _, data = cv2.imencode(".png", np.ascontiguousarray(face[:, :, ::-1]))
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"


def _overlay(name: str, other: Explanation) -> dict[str, Any]:
    """Return what the page draws of another method."""
    entry = METHODS.get(other.method)
    maps = {"map_a": _packed(other.map_a), "map_b": _packed(other.map_b)}
    return {"method": name, "control": entry is not None and entry.is_control, **maps}


def _packed(weights: NDArray[Any] | None) -> dict[str, Any] | None:
    """Return a map in steps that the eye cannot tell apart; as numbers, two of 112 x 112 fill half a report."""
    if weights is None:
        return None
    values = np.asarray(weights, np.float64)
    steps = np.round(values * (127 / max(float(np.abs(values).max()), 1e-12))).astype(np.int8)
    return {"size": list(steps.shape), "steps": base64.b64encode(steps.tobytes()).decode()}


def _plain(explanation: Explanation, pictures: Sequence[str]) -> str:
    """Return verdict, faces and sentences as HTML, for readers without scripts; the script replaces it."""
    names = ["" if face is None else face.source for face in explanation.faces or (None, None)]
    faces = "".join(
        f'<img src="{url}" width="224" height="224" alt="{escape(f"Face {letter}: {name}")}">'
        for letter, url, name in zip("AB", pictures, names, strict=True)
    )
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in explanation.sentences or describe(explanation))
    number = "" if explanation.undecided else f"<p>{explanation.score:.4f} (threshold {explanation.threshold:.4f})</p>"
    return f"<h1>{escape(explanation.verdict.capitalize())}</h1>{number}{faces}{said}"
