"""How answers leave: JSON that every client can read, errors of one shape, ETags, compressed."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import math
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frameworm.experiment.errors import (
    ArtifactNotFoundError,
    DamageError,
    ExperimentError,
    ExperimentNotFoundError,
    InputError,
    MetricNotFoundError,
    QueryError,
    StateError,
    StoreError,
    StoreNotFoundError,
    UnreadableError,
)
from frameworm.experiment.server.store import ReadOnlyError

POINTS = "application/vnd.frameworm.points"

_TAGGED = ("application/json", POINTS, "text/html")
_COMPRESSED = ("application/json", "text/", "application/javascript", "image/svg")
_WORTH_COMPRESSING = 1000
_LEVEL = 3
"""Of gzip: 60 kB of rows in 1 ms; more takes longer than it saves."""

_ANSWERS: tuple[tuple[type[ExperimentError], int, str], ...] = (
    (QueryError, 400, "bad_query"),
    (ExperimentNotFoundError, 404, "not_found"),
    (MetricNotFoundError, 404, "not_found"),
    (ArtifactNotFoundError, 404, "not_found"),
    (StoreNotFoundError, 404, "not_found"),
    (ReadOnlyError, 403, "read_only"),
    (StateError, 409, "conflict"),
    (DamageError, 409, "damaged"),
    (InputError, 422, "bad_input"),
    (UnreadableError, 409, "damaged"),
    (DamageError, 409, "damaged"),
    (StoreError, 503, "internal"),
)

_log = logging.getLogger(__name__)


class Json(JSONResponse):
    """Plain data as JSON; NaN and the infinities, which JSON has no numbers for, as text."""

    def render(self, content: Any) -> bytes:
        """Return the bytes."""
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except ValueError:
            text = json.dumps(_finite(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode(errors="backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value).replace("inf", "Infinity").replace("nan", "NaN")
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def error_answer(status: int, code: str, message: str, position: int | None = None) -> Json:
    """Return an error in the shape that all have."""
    return Json({"error": {"code": code, "message": message, "position": position}}, status)


def code_of(status: int) -> str:
    """Return the code of an error that has no other than its status."""
    return {403: "read_only", 404: "not_found", 409: "conflict", 410: "gone", 413: "too_large"}.get(status, "bad_input")


def answer_for(error: ExperimentError) -> Json:
    """Return the answer that tells of one of our errors."""
    status, code = next(
        ((status, code) for kind, status, code in _ANSWERS if isinstance(error, kind)), (500, "internal")
    )
    message, position = str(error), getattr(error, "position", None)
    if position is not None:
        message = message.rsplit("\n", 2)[0]  # without the drawing of where it is
    return error_answer(status, code, message, position)


class Delivery:
    """ASGI middleware: tags and compresses answers that are whole, and answers for bugs.

    What is sent in parts (events, files) passes through.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Headers(scope=scope)
        start: Message | None = None
        started = False

        async def deliver(message: Message) -> None:
            nonlocal start, started
            if message["type"] == "http.response.start":
                start = message
                return
            if start is not None:
                first, start, started = start, None, True
                if message["type"] == "http.response.body" and not message.get("more_body", False):
                    message = _whole(scope["method"], request, first, message)
                await send(first)
            await send(message)

        try:
            await self._app(scope, receive, deliver)
        except Exception as error:
            if started:
                raise
            _log.exception("%s %s", scope["method"], scope["path"])
            start = None
            await error_answer(500, "internal", f"{type(error).__name__}: {error}")(scope, receive, send)


def _whole(method: str, request: Headers, start: Message, body: Message) -> Message:
    """Tag and compress an answer; ``start`` is changed."""
    headers = MutableHeaders(raw=start["headers"])
    content, kind = body.get("body", b""), headers.get("content-type", "")
    if start["status"] >= 400 and kind.startswith("text/plain"):  # a library's word, of a range that is none
        told = error_answer(start["status"], code_of(start["status"]), content.decode(errors="replace"))
        headers["content-type"], headers["content-length"] = (
            told.headers["content-type"],
            told.headers["content-length"],
        )
        return {**body, "body": told.body}
    if method == "GET" and start["status"] == 200 and kind.startswith(_TAGGED):
        tag = headers.get("etag") or f'W/"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        headers["etag"] = tag
        headers.setdefault("cache-control", "no-cache")
        if tag in request.get("if-none-match", ""):
            start["status"] = 304
            del headers["content-length"], headers["content-type"]
            return {**body, "body": b""}
    if kind.startswith(_COMPRESSED) and "content-encoding" not in headers:
        headers.add_vary_header("Accept-Encoding")
        if len(content) > _WORTH_COMPRESSING and "gzip" in request.get("accept-encoding", ""):
            content = gzip.compress(content, _LEVEL, mtime=0)
            headers["content-encoding"], headers["content-length"] = "gzip", str(len(content))
            return {**body, "body": content}
    return body
