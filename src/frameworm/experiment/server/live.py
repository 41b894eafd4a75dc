"""What changes, as it happens: one thread looks at the catalog while anybody listens, and tells all listeners.

Changes come from other processes, which only leave them in the folders; so they are looked for, twice a second.
While nothing changes, looking costs as much as noticing that the catalog and the root are as they were.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from frameworm.experiment.errors import StoreNotFoundError
from frameworm.experiment.server.store import Store

if TYPE_CHECKING:
    from frameworm.experiment.query.browse import States

LOOK_S = 0.5
HEARTBEAT_S = 15.0
MOST_IDS = 500
_WAITING = 100
"""Events that wait for a slow listener; then it is told to look at everything again."""

_log = logging.getLogger(__name__)

Event = tuple[str, dict[str, Any]]


class Live:
    """Tells listeners what changes in a store. Any thread may call anything but ``listen``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._stop = threading.Event()
        self._watching = False
        self._version: str | None = None
        self._closed = False

    @contextlib.contextmanager
    def listen(self) -> Iterator[Listener]:
        """Listen, in an event loop, to what changes from now on; the first event says as of which version."""
        listener = Listener()
        with self._lock:
            self._listeners.add(listener)
            if self._closed:
                listener.tell(None)
            elif not self._watching:
                self._watching, self._version, self._stop = True, None, threading.Event()
                threading.Thread(target=self._watch, args=(self._stop,), name="frameworm-watch", daemon=True).start()
            elif self._version is not None:
                listener.tell(("hello", {"version": self._version}))
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)
                if not self._listeners:
                    self._stop.set()
                    self._watching = False

    @property
    def listening(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def publish(self, name: str, data: dict[str, Any]) -> None:
        """Tell every listener of an event."""
        with self._lock:
            for listener in self._listeners:
                listener.tell((name, data))

    def close(self) -> None:
        """End every stream of events: the server is about to stop."""
        with self._lock:
            self._closed = True
            self._stop.set()
            for listener in self._listeners:
                listener.tell(None)

    def _watch(self, stop: threading.Event) -> None:
        seen: States | None = None
        while not stop.is_set():
            try:
                seen = self._look(seen)
            except Exception:  # whatever is wrong at this moment, the next look may go well
                _log.exception("cannot look for changes in %s", self._store.root)
            stop.wait(LOOK_S)

    def _look(self, seen: States | None) -> States:
        self._store.settle()
        from frameworm.experiment.query.browse import States, states

        try:
            now = self._store.ask(lambda catalog: states(catalog, seen))
        except StoreNotFoundError:
            now = States("", {})
        if seen is not None and now.version == seen.version:
            return now
        self._version = now.version
        if seen is None:
            self.publish("hello", {"version": now.version})
            return now
        changed, removed = now.since(seen)
        if changed or removed:
            some = {"ids": changed[:MOST_IDS], "removed": removed[:MOST_IDS]}
            more = max(len(changed), len(removed)) > MOST_IDS
            self.publish("changed", {"version": now.version, **some, "more": more})
        return now


class Listener:
    """One stream of events, read in the event loop that made it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()

    def tell(self, event: Event | None) -> None:
        """Pass an event on, from any thread; None ends the stream."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event | None) -> None:
        if self._events.qsize() >= _WAITING:
            while not self._events.empty():
                self._events.get_nowait()
            version = event[1].get("version", "") if event is not None else ""
            self._events.put_nowait(("changed", {"version": version, "ids": [], "removed": [], "more": True}))
        self._events.put_nowait(event)

    async def next(self, timeout_s: float) -> Event | None:
        """Return the next event; None at the end.

        Raises:
            TimeoutError: nothing happened for so long.
        """
        return await asyncio.wait_for(self._events.get(), timeout_s)


router = APIRouter(tags=["live"])


@router.get("/events", response_class=StreamingResponse)
async def events(request: Request) -> StreamingResponse:
    """Follow what changes, as server-sent events.

    `hello {version}` comes first; `changed {version, ids, removed, more}` when experiments appeared, changed, got
    points or went: at most 500 ids of each, and `more` if there are others; `alert` when one is raised. A comment
    comes every 15 s.
    """
    live: Live = request.app.state.live

    async def stream() -> AsyncIterator[str]:
        with live.listen() as listener:
            yield ": frameworm\n\n"  # the browser knows at once that it is connected
            while True:
                try:
                    event = await listener.next(HEARTBEAT_S)
                except TimeoutError:
                    yield ":\n\n"
                    continue
                if event is None:
                    return
                name, data = event
                yield f"event: {name}\ndata: {json.dumps(data)}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})
