"""What one client may take: so many bytes, and so much time, while the others are answered.

A body is counted as it comes, whatever was said of its length. A connection whose request does not come, or whose
answer is not read, is cut: a client that dawdles costs a timer, not a thread.
"""

from __future__ import annotations

import asyncio
import socket
import struct

import h11
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from frameworm.experiment.server.delivery import error_answer

MOST_BYTES = 1 << 20
"""Of a body."""

MOST_HEAD_BYTES = 1 << 17
"""Of a request without its body: a chart of a thousand experiments names each by 33."""


class Bodies:
    """ASGI middleware: refuses bodies that are too large, and compressed ones, of which nobody knows how large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if headers.get("content-encoding", "identity").lower() != "identity":
            refusal = error_answer(415, "bad_input", "bodies are taken uncompressed only")
            refusal.headers["Accept-Encoding"] = "identity"
            await refusal(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > len(str(MOST_BYTES)) or int(length) > MOST_BYTES:
            await error_answer(413, "too_large", _TOO_LARGE)(scope, receive, send)
            return
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MOST_BYTES:
                raise HTTPException(413, _TOO_LARGE)
            return message

        await self._app(scope, counted, send)


_TOO_LARGE = f"a body has at most {MOST_BYTES:,} bytes"


class Connection(H11Protocol):
    """One connection, which is cut if its client lets it wait.

    Attributes:
        HEAD_S: how long a request may take to come, without its body.
        BODY_S: how long its body may take.
        READ_S: how long a client may read nothing of what is sent to it.
        MOST: connections at once; a new one takes the place of that which has been waited for the longest.
    """

    HEAD_S = 10.0
    BODY_S = 30.0
    READ_S = 60.0
    MOST = 2_000

    _awaited: object = None
    _deadline: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        if len(self.connections) > self.MOST:
            waiting = [
                (one._deadline.when(), id(one), one)
                for one in self.connections
                if isinstance(one, Connection) and one._deadline is not None
            ]
            if waiting:
                min(waiting)[2]._cut()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        for timer in (self._deadline, self._reading):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take some of a request."""
        super().data_received(data)
        self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for what is left of this one."""
        super().on_response_complete()
        self._wait()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._reading = self.loop.call_later(self.READ_S, self._cut)

    def resume_writing(self) -> None:
        """The client has read, or is gone."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as everything is answered."""
        answer = error_answer(400, "bad_input", "this is no HTTP/1.1 request")
        headers = [*answer.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _wait(self) -> None:
        """Give what is awaited of the client its time, from when it began to be awaited."""
        awaited = self.conn.their_state
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if self._deadline is not None:
            self._deadline.cancel()
        limit_s = self.HEAD_S if awaited is h11.IDLE else self.BODY_S if awaited is h11.SEND_BODY else None
        self._deadline = None if limit_s is None else self.loop.call_later(limit_s, self._cut)

    def _cut(self) -> None:
        """Close at once; the kernel is not to keep for the client what it does not read."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
