"""Running the server in this process, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
import warnings
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.routing import BaseRoute, Match

from frameworm.experiment.errors import ExperimentError, FramewormWarning, InputError, StoreError
from frameworm.experiment.query.glance import glance
from frameworm.experiment.server.access import Access
from frameworm.experiment.server.app import API, create_app
from frameworm.experiment.server.limits import MOST_HEAD_BYTES, Connection
from frameworm.experiment.server.live import Live
from frameworm.experiment.server.security import own_names
from frameworm.experiment.server.store import Store
from frameworm.experiment.storage.folder import experiment_folders

PORT = 6780
_TRIES = 20
_UNTIL_ASKED_S = 2.0
_SWITCH_S = 0.0005
"""How long a thread may keep the others from Python: with the usual 5 ms, imports in one make a page's files wait."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: name or address.
        port: 0 for any that is free; None for ``PORT``, or the next that is free.

    Raises:
        InputError: there is no such address here.
        StoreError: the port is taken.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port or 0, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError, OverflowError) as error:
        raise InputError(f"--host {host} --port {port}: {error}") from None
    last: OSError | None = None
    for attempt in range(PORT, PORT + _TRIES) if port is None else (port,):
        # Told that it is TCP, asyncio sends what is written at once. Otherwise the body of an answer waits until the
        # client has confirmed the head: 40 ms.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address[0], attempt, *address[2:]))
            sock.listen(128)
            return sock
        except OSError as error:
            sock.close()
            last = error
    raise StoreError(f"{host}:{port or PORT} cannot be listened on ({last}); choose another with --port")


def address_of(sock: socket.socket, host: str) -> str:
    """Return the address of the page, for a browser on this machine."""
    name = "localhost" if host in ("", "0.0.0.0", "::") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{sock.getsockname()[1]}/"


def serve(
    root: Path,
    host: str,
    port: int | None,
    *,
    read_only: bool | None,
    access: Access | None,
    ready: Callable[[str], None],
    browse: bool,
) -> None:
    """Serve a root until SIGINT or SIGTERM, then end what is going on, and return.

    Args:
        root: the folder of experiments; it may not be there yet.
        host: name or address to listen on.
        port: as for ``listen``.
        read_only: as for ``create_app``.
        access: as for ``create_app``.
        ready: called with the address of the page, which lets in, once requests are taken.
        browse: open the page in the user's browser.

    Raises:
        StoreNotFoundError: the root is a file.
        InputError: as for ``listen``.
        StoreError: as for ``listen``.
    """
    if root.exists():
        experiment_folders(root)  # says so if it is no folder
    sock = listen(host, port)
    address = address_of(sock, host)
    _allow_open_files()
    sys.setswitchinterval(_SWITCH_S)
    warnings.simplefilter("once", FramewormWarning)  # what is wrong with one folder is found at every look
    app = create_app(root, read_only=read_only, names=own_names(host), access=access)
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        log_level="error",  # a foreign request that is none is nothing to tell of
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    ready(access.link(address) if access else address)
    threading.Thread(target=_warm, args=(app.state.store, app.routes), daemon=True).start()
    if browse and has_display():
        threading.Thread(
            target=webbrowser.open, args=(access.link(address) if access else address,), daemon=True
        ).start()
    _Server(config, app.state.live).run(sockets=[sock])


def _warm(store: Store, routes: Sequence[BaseRoute] = ()) -> None:
    """Import what the first questions need, and look through the folders, while the browser loads the page.

    Where the first rows can be told without, that is left until they are: it would keep one of few cores from the page.

    The garbage collector rests meanwhile, and leaves alone what is there by then, modules above all, which stay as long
    as the server does: to look through them time and again takes 0.1 s of somebody's answer each.
    """
    gc.disable()
    try:
        # To look for who answers works out how: for the routes of the table 40 ms.
        wanted = {"type": "http", "method": "GET", "path": f"{API}/experiments", "root_path": "", "headers": []}
        any(route.matches(wanted)[0] is Match.FULL for route in routes)
        if glance(store.root, 0) is not None:
            store.wanted.wait(_UNTIL_ASKED_S)
        from frameworm.experiment.query.browse import overview

        with contextlib.suppress(ExperimentError, OSError):  # whoever asks is told
            store.ask(overview)
    finally:
        gc.freeze()
        gc.enable()


def has_display() -> bool:
    """Whether a browser would open in a window, and not in this terminal."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class _Server(uvicorn.Server):
    """A server whose end by Ctrl-C or SIGTERM is no error, and is not waited for by those who follow events."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:  # handled between two callbacks: a lock that one of them holds may be wanted
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what is not answered in time now is no error
        self._live.close()
        super().handle_exit(sig, frame)


def _allow_open_files() -> None:
    """Raise the limit of open files as far as allowed: every reader kept has some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
