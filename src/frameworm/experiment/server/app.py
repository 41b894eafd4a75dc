"""The application: all routes over one store."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from frameworm import __version__
from frameworm.experiment.errors import ExperimentError
from frameworm.experiment.server import docs, page
from frameworm.experiment.server.access import Access
from frameworm.experiment.server.alerts import Alerts
from frameworm.experiment.server.delivery import Delivery, Json, answer_for, code_of, error_answer
from frameworm.experiment.server.limits import Bodies
from frameworm.experiment.server.live import Live
from frameworm.experiment.server.security import HEALTH, LOOPBACK, Guard
from frameworm.experiment.server.store import Store

API = "/api/v1"

ROUTERS = ("table", "live", "alerts", "edits", "points", "experiment", "logs", "files", "compare", "media")
"""The modules whose ``router`` is served under ``/api/v1``."""

_ABOUT = """\
Everything that is recorded in one folder of experiments.

Times are Unix milliseconds, UTC. NaN and the infinities are the strings `"NaN"`, `"Infinity"` and `"-Infinity"`; null
means that there is none. Ids look like `exp_001`. An error is `{"error": {"code", "message", "position"}}`, where
`position` is the character of a query that is not understood. Changes are sent as `application/json`. Answers have
an `ETag`. Programs send `Authorization: Bearer` with the token in the file that `frameworm ui` names.
"""


def create_app(
    root: Path,
    *,
    read_only: bool | None = None,
    names: Iterable[str] = LOOPBACK,
    access: Access | None = None,
    static: Path | None = None,
) -> FastAPI:
    """Return the application that serves a root.

    Args:
        root: the folder of experiments; it may not be there yet.
        read_only: refuse changes; None means if the folder cannot be written.
        names: what requests may call this server, in ``Host``.
        access: what lets people and programs in; None lets everybody in.
        static: the folder of the built page; None means the one that ships with the package.
    """
    store = Store(root, read_only=read_only, static=static)
    live = Live(store)
    alerts = Alerts(store, live)

    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        alerts.start()
        yield
        alerts.stop()

    app = _App(
        title="frameworm",
        version=__version__,
        description=_ABOUT,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        default_response_class=Json,
        redirect_slashes=False,
        lifespan=running,
    )
    app.is_open = access is None
    app.state.store, app.state.live, app.state.alerts = store, live, alerts
    app.add_api_route(HEALTH, _health, tags=["store"], openapi_extra={"security": []})
    # First: a router is worked out when it is first looked into, all of them in 0.1 s, for which no page should wait.
    app.include_router(page.router)
    for name in ROUTERS:
        app.include_router(importlib.import_module(f"frameworm.experiment.server.{name}").router, prefix=API)
    app.include_router(docs.router)
    app.include_router(page.missing)
    app.add_exception_handler(ExperimentError, _told)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Delivery)
    app.add_middleware(Bodies)
    app.add_middleware(Guard, names=names, access=access)
    return app


class _App(FastAPI):
    """The application, whose description says how programs are let in, and what errors look like."""

    is_open = False

    def openapi(self) -> dict[str, Any]:
        """Return the description; what all operations have in common is added here, as pages need none of it."""
        document = super().openapi()
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        for operation in (one for methods in document["paths"].values() for one in methods.values()):
            operation["responses"].pop("422", None)  # of another shape, which the library would have given it
            operation["responses"]["4XX"] = {"description": "What is wrong with the request", "content": content}
        document["components"]["schemas"]["Error"] = _ERROR
        if not self.is_open:
            document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}]
        return document


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "position"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "position": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
        }
    },
}


async def _health() -> Json:
    """Say that the server answers: `{"status": "ok"}`. Nobody has to be let in for that."""
    return Json({"status": "ok"})


def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, ExperimentError)
    return answer_for(error)


def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    messages = [f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in error.errors()]
    return error_answer(422, "bad_input", "; ".join(messages))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = error_answer(error.status_code, code_of(error.status_code), str(error.detail))
    answer.headers.update(error.headers or {})
    return answer
