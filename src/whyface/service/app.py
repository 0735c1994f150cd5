"""The routes of the service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from whyface import __version__
from whyface.service.answers import MOST_CANDIDATES, Answers
from whyface.service.gate import Gate
from whyface.service.landing import landing_page
from whyface.service.limits import RefusedError
from whyface.service.metrics import Metrics
from whyface.service.openapi import PAIR, REFUSED, Part, request_body
from whyface.service.requests import Form, read_form
from whyface.service.workplace import Workplace

_MOST: Final = 1000
_PHOTO: Final[Part] = ("photo", "photo", "The photo.")
_FACE: Final[Part] = ("face", "whole", "Only this face; 0 is the largest.")
_TOP: Final[Part] = ("top", "whole", "Number of people to return.")
_NAME: Final[Part] = ("name", "text", "The person.")
_REASONS: Final = {404: "no such path here; see /openapi.json", 405: "not with this method; see /openapi.json"}


class Routes:
    """What is done for each path: receive, compute in the workplace, answer.

    Parameters
    ----------
    answers
        The model, the galleries and the limits.
    writable
        Whether people can be added to and removed from galleries.
    """

    def __init__(self, answers: Answers, *, writable: bool) -> None:
        self.answers = answers
        self.writable = writable
        self.workplace = Workplace(answers.limits)
        self.metrics = Metrics(self.workplace)

    async def verify(self, request: Request) -> Response:
        """Decide whether two photos show the same person."""
        given = _pair(await self._received(request, "photo_a", "photo_b"))
        return await self._answer(lambda: self.answers.verify(**given).to_dict())

    async def explain(self, request: Request) -> Response:
        """Decide, with all reasons and the record, in the schema of whyface verify --json."""
        form = await self._received(request, "photo_a", "photo_b")
        figure = form.text("figure")
        if figure not in (None, "png", "svg"):
            raise RefusedError(422, "input", "figure must be png or svg")
        given = {**_pair(form), "crops": form.flag("crops"), "figure": figure}
        return await self._answer(lambda: self.answers.explain(**given))

    async def detect(self, request: Request) -> Response:
        """Return all faces of a photo: box, landmarks, quality."""
        photo = (await self._received(request, "photo")).photo("photo")
        return await self._answer(lambda: self.answers.detect(photo))

    async def represent(self, request: Request) -> Response:
        """Return the vector of each face of a photo."""
        form = await self._received(request, "photo")
        photo, aligned = form.photo("photo"), form.flag("aligned")
        return await self._answer(lambda: self.answers.represent(photo, aligned=aligned))

    async def identify(self, request: Request) -> Response:
        """Say who a photo shows among the people of a gallery."""
        form = await self._received(request, "photo")
        photo, gallery, fpir = form.photo("photo"), form.text("gallery"), form.number("fpir")
        face = form.whole("face", 0, most=_MOST) if "face" in form.values else None
        top = form.whole("top", 5, most=MOST_CANDIDATES)
        return await self._answer(lambda: self.answers.identify(photo, gallery, face=face, top=top, fpir=fpir))

    async def galleries(self) -> Response:
        """Return the names of the galleries."""
        return JSONResponse({"galleries": sorted(self.answers.galleries), "writable": self.writable})

    async def people(self, gallery: str) -> Response:
        """Return the people of a gallery."""
        return await self._answer(lambda: self.answers.people(gallery))

    async def search(self, request: Request, gallery: str) -> Response:
        """Return the most similar people, with reasons."""
        form = await self._received(request, "photo")
        photo, face = form.photo("photo"), form.whole("face", 0, most=_MOST)
        top = form.whole("top", 5, most=MOST_CANDIDATES)
        return await self._answer(lambda: self.answers.search(photo, gallery, face=face, top=top))

    async def add(self, request: Request, gallery: str) -> Response:
        """Add photos of one person; the photos themselves are not kept."""
        self._check_writable()
        form = await self._received(request, "photos")
        person, photos = form.text("name"), form.photos.get("photos", [])
        if not person or not person.strip():
            raise RefusedError(422, "input", "name: whose photos are these?")
        return await self._answer(lambda: self.answers.add(gallery, person, photos))

    async def remove(self, request: Request, gallery: str) -> Response:
        """Remove a person, or one face."""
        self._check_writable()
        form = await self._received(request)
        person = form.text("name")
        if person is None and "record" not in form.values:
            raise RefusedError(422, "input", "give a name or a record to remove")
        who = form.whole("record", 0, most=2**40) if person is None else person
        return await self._answer(lambda: self.answers.remove(gallery, who))

    async def health(self) -> Response:
        """Say that the service is there, and what it runs."""
        model = self.answers.verifier.method.comparison
        return JSONResponse({"status": "ok", "version": __version__, "model": model.name, "sha256": model.sha256})

    async def counts(self) -> Response:
        """Return counts for Prometheus."""
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def _received(self, request: Request, *photos: str) -> Form:
        return await read_form(request, self.answers.limits, photos)

    async def _answer(self, work: Callable[[], dict[str, Any]]) -> Response:
        found = await self.workplace.run(work)
        if "verdict" in found:
            self.metrics.verdicts.labels(found["verdict"]).inc()
        return JSONResponse(found)

    def _check_writable(self) -> None:
        if not self.writable:
            raise RefusedError(403, "read only", "galleries cannot be changed here (whyface serve --writable)")


def create_app(
    answers: Answers, *, key: str | None = None, writable: bool = False, page: Path | None = None
) -> FastAPI:
    """Return the service as an ASGI application.

    Parameters
    ----------
    answers
        The model, the galleries and the limits.
    key
        The key that requests must carry; None: anybody may ask.
    writable
        Whether people can be added to and removed from galleries.
    page
        Folder of a web page to serve at ``/`` (``whyface page``); None: a page that lists the routes.
    """
    routes = Routes(answers, writable=writable)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        routes.workplace.close()

    # FastAPI's own page of the API would load scripts from another host.
    app = FastAPI(title="whyface", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.workplace = routes.workplace
    crops: Part = ("crops", "flag", "Add both crops as PNG, in base64.")
    drawing: Part = ("figure", "text", "png or svg: add the figure, in base64.")
    which: Part = ("gallery", "text", "Which gallery, if there are several.")
    photos: Part = ("photos", "photos", "Photos of that person.")
    aligned: Part = ("aligned", "flag", "The photo is an aligned crop.")
    for path, work, parts in (
        ("/verify", routes.verify, PAIR),
        ("/explain", routes.explain, (*PAIR, crops, drawing)),
        ("/detect", routes.detect, (_PHOTO,)),
        ("/represent", routes.represent, (_PHOTO, aligned)),
        ("/identify", routes.identify, (_PHOTO, which, _FACE, _TOP, ("fpir", "number", "FPIR to aim at; 0.01."))),
        ("/gallery/{gallery}/search", routes.search, (_PHOTO, _FACE, _TOP)),
        ("/gallery/{gallery}/add", routes.add, (_NAME, photos)),
        ("/gallery/{gallery}/remove", routes.remove, (_NAME, ("record", "whole", "Instead, one face."))),
    ):
        app.add_api_route(path, work, methods=["POST"], openapi_extra=request_body(*parts))
    for path, tell in (
        ("/gallery", routes.galleries),
        ("/gallery/{gallery}", routes.people),
        ("/health", routes.health),
        ("/metrics", routes.counts),
    ):
        app.add_api_route(path, tell, methods=["GET"])
    _describe(app)
    _serve_page(app, page)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_middleware(Gate, key=key, workplace=routes.workplace, metrics=routes.metrics)
    return app


def _pair(form: Form) -> dict[str, Any]:
    return {
        "photo_a": form.photo("photo_a"),
        "photo_b": form.photo("photo_b"),
        "face_a": form.whole("face_a", 0, most=_MOST),
        "face_b": form.whole("face_b", 0, most=_MOST),
        "any_face": form.flag("any_face"),
        "aligned": form.flag("aligned"),
        "note": form.text("note", "") or "",
    }


def _describe(app: FastAPI) -> None:
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        document = plain()
        document.setdefault("components", {}).setdefault("responses", {})["Refused"] = REFUSED
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _serve_page(app: FastAPI, page: Path | None) -> None:
    if page is not None:
        app.mount("/", StaticFiles(directory=page, html=True))
        return

    async def landing() -> Response:
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        return HTMLResponse(landing_page(app.openapi()), headers={"content-security-policy": policy})

    app.add_api_route("/", landing, methods=["GET"], include_in_schema=False)


async def _unknown(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse(RefusedError(status, "path", _REASONS.get(status, "refused")).document(), status)
