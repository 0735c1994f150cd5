"""Reports about all pairs of a batch in a folder, with an index that finds those that a person should look at."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from whyface.batch.comparer import Comparer, ComparerSettings
from whyface.batch.pair_source import PairSource, PhotoFace, PhotoPair
from whyface.batch.run import CHUNK
from whyface.explain.sentences import CLOSE_MARGIN
from whyface.faces.face import Face
from whyface.files.integrity import check_folder, make_folder, write_atomic
from whyface.files.progress import ProgressCallback
from whyface.page.report import filled_shell, report_html

INDEX: Final = "index.html"

_KEPT: Final = 256
"""Faces in memory: photos of one person often follow each other."""


def write_reports(
    source: PairSource,
    settings: ComparerSettings,
    folder: Path,
    *,
    threads: int | None = None,
    language: str | None = None,
    progress: ProgressCallback | None = None,
) -> int:
    """Write a report about each pair and the index, and return the number of reports.

    A pair without a report, because a photo cannot be used, is in the index with the reason. Raise OutputError if the
    folder is not empty or cannot be written.

    Parameters
    ----------
    source, settings, threads
        As for :func:`whyface.batch.run.run_batch`.
    folder
        It is made, or must be empty.
    language
        Language that the index and the reports open in; None: the reader's.
    progress
        Called with the number of pairs done and the total.
    """
    check_folder(folder, empty=True)
    make_folder(folder)
    faces = _Faces(Comparer(settings, source.folder, threads=threads))
    rows: list[dict[str, Any]] = []
    total = source.count()
    for _, pairs in source.chunks(CHUNK):
        for pair in pairs:
            rows.append(_reported(faces, pair, folder, language))
            if progress is not None:
                progress(len(rows), total)
    write_atomic(folder / INDEX, filled_shell("index_page.js", {"rows": rows, "language": language}).encode())
    return sum(row["report"] is not None for row in rows)


class _Faces:
    """The faces of a batch's photos, each read once as long as it is kept."""

    def __init__(self, comparer: Comparer) -> None:
        self.comparer = comparer
        self._kept: OrderedDict[PhotoFace, Face | str] = OrderedDict()

    def __call__(self, key: PhotoFace) -> Face | str:
        """Return the face, or why there is none."""
        found = self._kept.pop(key) if key in self._kept else self.comparer.face(key)
        self._kept[key] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found


def _reported(faces: _Faces, pair: PhotoPair, folder: Path, language: str | None) -> dict[str, Any]:
    """Write the report about one pair, and return its row in the index."""
    row: dict[str, Any] = {"row": pair.row, "a": pair.a, "b": pair.b, "report": None, "close": False, "remark": None}
    row |= dict.fromkeys(("score", "margin", "faces_a", "faces_b"))
    first, second = (faces(key) for key in pair.faces)
    if isinstance(first, str) or isinstance(second, str):
        reasons = [reason for reason in (first, second) if isinstance(reason, str)]
        return row | {"verdict": "failed", "remark": "; ".join(dict.fromkeys(reasons))}
    made = faces.comparer.verifier.explain(first, second)
    name = f"{pair.row:06d}.html"
    write_atomic(folder / name, report_html(made, first.image, second.image, language=language).encode())
    row |= {"report": name, "verdict": made.verdict, "faces_a": first.count, "faces_b": second.count}
    if made.undecided:
        return row | {"remark": made.doubt}
    return row | {"score": made.score, "margin": made.margin, "close": abs(made.margin) < CLOSE_MARGIN}
