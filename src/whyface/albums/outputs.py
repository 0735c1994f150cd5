"""What comes out of an album: a table, a page, folders by person, a gallery, and why a face is where it is."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np

from whyface.albums.album import Album, AlbumFace
from whyface.albums.filling import records_of
from whyface.errors import InputError, OutputError
from whyface.files.integrity import folder_at_once, write_atomic
from whyface.files.parts import csv_cells, parquet_modules
from whyface.gallery.gallery import Gallery
from whyface.gallery.kernel import explain_records
from whyface.gallery.neighbours import as_probes
from whyface.gallery.opening import record_model
from whyface.page.bundle import content_hash, page_file
from whyface.xcos.comparison import FaceModel

COLUMNS: Final = (
    *("photo", "face", "person", "name", "status", "tied_to", "nearest", "score", "mean", "reason"),
    *("quality", "x0", "y0", "x1", "y1", "crop"),
)
PAGE: Final = "index.html"
_SHOWN: Final = 60
_STYLE: Final = """
main { max-width: 78rem; margin: 0 auto; padding: 1rem; display: grid; gap: 1rem; }
.people { display: flex; flex-wrap: wrap; gap: 0.75rem; list-style: none; padding: 0; margin: 0; }
.people li { width: 112px; font-size: 0.75rem; overflow-wrap: anywhere; }
.people img { width: 112px; height: 112px; border-radius: 6px; display: block; background: var(--line); }
.people a { color: inherit; }
"""


def table(album: Album) -> list[dict[str, Any]]:
    """Return one row for each face: see :data:`COLUMNS`. Status: grouped, alone or undecided."""
    people, names = album.people(), album.names()
    rows = []
    for face in album.faces:
        why = album.why.get(face.key, {})
        alone = face.person is None or len(people[face.person]) == 1
        status = "undecided" if face.doubt is not None else "alone" if alone else "grouped"
        box = face.box or (None,) * 4
        values = (
            *(face.photo, face.index, face.person, None if face.person is None else names[face.person], status),
            *(why.get("tied_to"), why.get("nearest"), why.get("score"), why.get("mean")),
            *(reason(album, face), face.quality, *box, face.crop),
        )
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return rows


def reason(album: Album, face: AlbumFace) -> str:
    """Say in one sentence why a face is with its person, or alone."""
    if face.doubt is not None:
        return f"not compared: {face.doubt}"
    why = album.why.get(face.key)
    if why is None:
        return "alone: there is no other face"
    if "tied_to" in why:
        said = {"by hand": "by hand", "same picture": "the same picture"}.get(why["why"], "")
        if not said:
            said = f"score {why['score']:.2f} (threshold {album.threshold:.2f}; mean of the groups {why['mean']:.2f})"
        return f"tied to {why['tied_to']}: {said}"
    said = {
        "below the threshold": f"threshold {album.threshold:.2f}",
        "in the same photo": "whose person is in the same photo",
        "put apart": "put apart by hand",
    }.get(why["why_not"], "")
    if not said:
        said = f"but its person's faces have {why['mean']:.2f} on average, where {album.least_mean:.2f} are needed"
    return f"alone: the nearest is {why['nearest']} at {why['score']:.2f}, {said}"


def write_table(album: Album, *, parquet: bool = False) -> Path:
    """Write ``faces.csv``, or ``faces.parquet``, which needs the extra ``evaluate``."""
    rows = table(album)
    path = album.path / ("faces.parquet" if parquet else "faces.csv")
    if not parquet:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(csv_cells, rows))
        write_atomic(path, text.getvalue().encode())
        return path
    pa, pq = parquet_modules()
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    write_atomic(path, buffer.getvalue())
    return path


def write_page(album: Album, folder: Path) -> Path:
    """Write ``index.html``: all people with their faces, the faces that are alone, and those that nobody can tell.

    The page loads nothing but the crops beside it. It links to the photos in ``folder``.
    """
    people, names = album.people(), album.names()
    known = {person: faces for person, faces in people.items() if len(faces) > 1}
    alone = [faces[0] for faces in people.values() if len(faces) == 1]
    poor = [face for face in album.faces if face.doubt is not None]
    photos = Path(os.path.relpath(folder, album.path)).as_posix()
    parts = [
        f"<h1>People with several faces: {len(known)}. Faces alone: {len(alone)}.</h1>",
        f'<p class="note">{len(album.faces)} faces of {len(album.photos)} photos, compared by {escape(album.model)}. '
        f"A pair ties two faces above {album.threshold:.2f}; two groups need a mean of {album.least_mean:.2f}. The "
        "groups are the model's opinion, and wrong ones are certain among many faces.</p>",
    ]
    for person, faces in known.items():
        parts.append(_section(f"{names[person]}: {len(faces)} faces", album, faces, photos))
    for title, faces in (("Alone", alone), ("Undecided, too poor to be compared", poor)):
        if faces:
            count = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
            parts.append(_section(f"{title}: {count}", album, faces, photos))
    if album.failures:
        listed = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in sorted(album.failures.items()))
        parts.append(f'<section class="card"><h2>Photos that were not used</h2><ul>{listed}</ul></section>')
    style = page_file("style.css") + _STYLE
    policy = f"default-src 'none'; img-src 'self'; style-src '{content_hash(style)}'"
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>People of an album</title>'
        f"<style>{style}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )
    write_atomic(album.path / PAGE, text.encode())
    return album.path / PAGE


def _section(title: str, album: Album, faces: Sequence[AlbumFace], photos: str) -> str:
    items = "".join(
        f'<li><a href="{quote(f"{photos}/{face.photo}")}"><img src="{quote(face.crop)}" alt="{escape(face.key)}" '
        f'loading="lazy" width="112" height="112">{escape(face.key)}</a><br>{escape(reason(album, face))}</li>'
        for face in faces[:_SHOWN]
    )
    more = f'<p class="note">and {len(faces) - _SHOWN} more, in faces.csv</p>' if len(faces) > _SHOWN else ""
    return f'<section class="card"><h2>{escape(title)}</h2><ul class="people">{items}</ul>{more}</section>'


def write_folders(album: Album, folder: Path, target: Path, *, links: bool = False) -> int:
    """Write a folder for each person with several faces, with copies of the photos, or links to them.

    Returns
    -------
    The number of photos written; a photo of several people is in several folders.

    Raises
    ------
    OutputError
        If the target exists or cannot be written.
    """
    if target.exists():
        raise OutputError(f"{target}: already exists; choose another name")
    names, count = album.names(), 0
    try:
        with folder_at_once(target) as made:
            for person, faces in album.people().items():
                if len(faces) == 1:
                    continue
                # Two people may be called alike but for what a path cannot hold.
                inside = made / f"{_file_name(names[person])} ({person})"
                inside.mkdir()
                for photo in dict.fromkeys(face.photo for face in faces):
                    # As in the folder of photos: trip/1.jpg and trip_1.jpg must not become one file.
                    path = inside / photo
                    path.parent.mkdir(parents=True, exist_ok=True)
                    if links:
                        path.symlink_to((folder / photo).resolve())
                    else:
                        shutil.copy2(folder / photo, path)
                    count += 1
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
    return count


def _file_name(name: str) -> str:
    kept = "".join("_" if character in '/\\:*?"<>|' or ord(character) < 32 else character for character in name)
    return kept.strip(". ")[:80] or "_"


def write_gallery(album: Album, features: Gallery, model: FaceModel, path: Path) -> int:
    """Write a gallery of all people with several faces or a name, for ``whyface identify``.

    Returns
    -------
    The number of faces.

    Raises
    ------
    InputError
        If the records do not hold what learned attention needs: enroll the folders instead.
    OutputError
        If the path exists or cannot be written.
    """
    if features.layout.kind == "grid" and not features.layout.weighed:
        raise InputError(
            f"{album.path}: records of {album.model} do not hold what a gallery needs; write folders, and enroll them"
        )
    names = album.names()
    given = {person for person, name in names.items() if name != f"person {person}"}
    chosen = [
        (face, names[person])
        for person, faces in album.people().items()
        if len(faces) > 1 or person in given
        for face in faces
    ]
    with Gallery.create(path, model, storage=features.layout.storage) as made:
        for start in range(0, len(chosen), 256):
            part = chosen[start : start + 256]
            records = records_of(features, [face for face, _ in part])
            cells = as_probes(records, features.layout).cells
            if features.layout.kind == "grid":
                cells = cells.transpose(0, 2, 1)
            made.add(
                cells.reshape(len(part), *features.layout.shape), [name for _, name in part], [f.photo for f, _ in part]
            )
    record_model(path, album.model)
    return len(chosen)


def explain_face(album: Album, features: Gallery, face: AlbumFace) -> dict[str, Any]:
    """Return why a face is where it is: the sentence, and S and W of the pair that tied it or came nearest."""
    why = album.why.get(face.key, {})
    found: dict[str, Any] = {"face": face.key, "person": face.person, "sentence": reason(album, face), **why}
    other = next((one for one in album.faces if one.key == why.get("tied_to", why.get("nearest"))), None)
    if other is not None and features.layout.kind == "grid":
        mine, theirs = (records_of(features, [one]) for one in (face, other))
        similarity, weights = explain_records(theirs, as_probes(mine, features.layout), None)
        shape = features.layout.shape[1:]
        found["S"] = np.round(similarity.reshape(shape).astype(float), 6).tolist()
        found["W"] = np.round(weights.reshape(shape).astype(float), 6).tolist()
    return found
