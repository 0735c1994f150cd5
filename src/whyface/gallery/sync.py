"""Bring a gallery up to date with its folder: photos that came, changed, moved or went."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whyface.faces.pictures import open_pictures
from whyface.files.progress import ProgressCallback
from whyface.gallery.enroll import EnrolReport, enroll_folder
from whyface.gallery.gallery import Gallery


@dataclass
class SyncReport:
    """What differs between a gallery and its folder.

    Attributes
    ----------
    enrolled
        What was added, skipped or refused.
    changed
        Record of the former face, by photo, where the photo shows another picture now.
    moved
        Present photo, by former photo, where the same face lies in another file of the same person.
    gone
        Record, by photo, of each face whose photo is not in the folder any more.
    removed
        Records that were removed, if that was asked for: those of changed and gone photos.
    """

    enrolled: EnrolReport
    changed: dict[str, int] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    removed: list[int] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        mine = {"changed": self.changed, "moved": self.moved, "gone": self.gone, "removed": self.removed}
        return {**self.enrolled.to_dict(), **mine}


def sync_folder(
    gallery: Gallery,
    folder: Path | str,
    *,
    aligned: bool = False,
    remove: bool = False,
    accept_poor: bool = False,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> SyncReport:
    """Enrol what is new in a folder ``person/picture``, and report what changed, moved or went.

    Every photo is read, since a photo may be replaced without a trace in its name. Nothing is removed unless asked.

    Parameters
    ----------
    gallery, folder
        The gallery, opened with its model for writing, and the folder or tar file that it is kept from.
    remove
        Whether to remove the faces of photos that are gone, and the former faces of those that changed.
    aligned, accept_poor, threads, progress
        As for :func:`whyface.gallery.enroll.enroll_folder`.

    Raises
    ------
    DataError
        If there are no pictures, or none can be used; nothing is removed then.
    OutputError
        If the gallery cannot be written to.
    """
    start = gallery.names_table.next_record()
    enrolled = enroll_folder(
        gallery, folder, aligned=aligned, accept_poor=accept_poor, threads=threads, progress=progress
    )
    with open_pictures(folder) as photos:
        there = set(photos.names())
    report = SyncReport(enrolled)
    report.moved = {old: new for new, old in enrolled.known_as.items() if old not in there}
    records = defaultdict(list)
    for record, row in sorted(gallery.rows(number for number, _ in gallery.labels()).items()):
        records[row.source].append(record)
    for source, found in records.items():
        if source not in there:
            report.gone |= {} if source in report.moved else {source: found[-1]}
        elif found[-1] >= start > found[0]:
            report.changed[source] = found[-2]
    if remove:
        stale = [record for source in report.gone for record in records[source]]
        stale += [record for source in report.changed for record in records[source] if record < start]
        if stale:
            gallery.remove(stale)
        report.removed = sorted(stale)
    return report
