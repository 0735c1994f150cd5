"""``whyface watch``: who is in a film or before a camera, one decision about each face that passes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from whyface.commands.identify import NOBODY, SOMEBODY
from whyface.commands.option_blocks import GalleryOptions, takes_options
from whyface.commands.options import Figure, count_of
from whyface.commands.verify import UNDECIDED, check_figure, import_matplotlib
from whyface.errors import ModelError, PhotoError

if TYPE_CHECKING:
    from whyface.files.progress import ProgressCallback
    from whyface.gallery.gallery import Gallery
    from whyface.identify.film import Film, Frame, TrackDecision

MOST_DRAWN: Final = 12


@takes_options
def watch(
    film: Annotated[str, typer.Argument(help="A film, or the number of a camera, such as 0.", show_default=False)],
    gallery: Annotated[
        Path, typer.Option("--gallery", "-g", help="Folder of a gallery (whyface gallery enroll).", show_default=False)
    ],
    options: GalleryOptions,
    every: Annotated[int, typer.Option(min=1, help="Look for faces in every so many frames.")] = 3,
    gap: Annotated[float, typer.Option(min=0.05, help="Seconds without the face that end a track.")] = 1.0,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds of film.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Match above this score, instead of a measured threshold.", show_default=False),
    ] = None,
    fpir: Annotated[
        float | None,
        typer.Option(help="Share of strangers who may be named, which sets the threshold; 0.01.", show_default=False),
    ] = None,
    figure: Figure = None,
) -> None:
    """Say who is in a film: one line of JSON about each track, as soon as it ends, and one at the end of the film.

    Exit status: 0 somebody was named, 1 nobody, 2 bad input or a film that breaks off, 3 all tracks undecided.
    """
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.identify.film import SCHEMA, WatchSettings  # noqa: PLC0415
    from whyface.identify.film import watch as follow  # noqa: PLC0415
    from whyface.identify.gallery_people import threshold_for  # noqa: PLC0415

    if figure is not None:
        check_figure(figure)
    settings = WatchSettings(every=every, gap=gap)
    drawn: list[TrackDecision] = []
    names: dict[str, None] = {}
    tracks = undecided = 0
    with options.open(gallery) as opened, _opened(film, every) as frames, progress_bar("watching") as progress:
        value, source = threshold_for(opened, model=options.model, threshold=threshold, fpir=fpir)
        chosen = _counted(frames, seconds, progress)
        same = _same(opened, options.model, value)
        for one in follow(
            opened, chosen, threshold=value, source=source, same=same, settings=settings, threads=options.threads
        ):
            typer.echo(json.dumps(one.to_dict(), ensure_ascii=False))
            tracks += 1
            undecided += one.found.verdict == "undecided"
            if one.found.name is not None:
                names[one.found.name] = None
            if len(drawn) < MOST_DRAWN:
                drawn.append(one)
        end: dict[str, Any] = {"schema": SCHEMA, "event": "end", "film": frames.name, "frames": frames.count}
        end |= {"tracks": tracks, "names": list(names), "complete": frames.complete}
        end["sentence"] = _sentence(frames, tracks, list(names))
    typer.echo(json.dumps(end, ensure_ascii=False))
    if figure is not None and drawn:
        from whyface.figures.film import strip_figure  # noqa: PLC0415 - matplotlib is slow to import
        from whyface.figures.style import save_figure  # noqa: PLC0415

        import_matplotlib()
        save_figure(strip_figure(drawn), figure)
    if not frames.complete:
        raise PhotoError(f"{frames.name}: broke off after {frames.count} frames; what was seen until then is decided")
    raise typer.Exit(SOMEBODY if names else UNDECIDED if tracks and undecided == tracks else NOBODY)


@contextmanager
def _opened(film: str, every: int) -> Iterator[Film]:
    import os  # noqa: PLC0415

    # FFmpeg would print its own complaints about a damaged film on standard error; OpenCV's go there, too.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2  # noqa: PLC0415 - start fast

    from whyface.identify.film import Film  # noqa: PLC0415

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    path = Path(film)
    opened = Film(int(film) if film.isdecimal() and len(film) < 4 and not path.exists() else path, every=every)
    try:
        yield opened
    finally:
        opened.close()


def _counted(frames: Film, seconds: float | None, progress: ProgressCallback) -> Iterator[Frame]:
    total = frames.total if seconds is None else round(seconds * frames.rate)
    for one in frames:
        if seconds is not None and one.seconds > seconds:
            return
        # A camera has no end.
        progress(frames.count, max(total, frames.count))
        yield one


def _same(gallery: Gallery, model: str | None, threshold: float) -> float:
    """Return the score above which overlapping faces are one: the threshold for FMR 1e-2 where it is on record."""
    from whyface.identify.gallery_people import threshold_for  # noqa: PLC0415 - start fast

    try:
        return min(threshold, threshold_for(gallery, model=model, fmr=1e-2)[0])
    except ModelError:
        return threshold


def _sentence(frames: Film, tracks: int, names: list[str]) -> str:
    if not tracks:
        return f"No face was found in {count_of(frames.count, 'frame')}."
    who = ", ".join(names) or "nobody whom the gallery knows"
    return f"{count_of(tracks, 'track')} in {count_of(frames.count, 'frame')}: {who}."
