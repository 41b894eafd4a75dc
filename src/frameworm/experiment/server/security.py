"""Who may ask: requests that a foreign page could have made are refused, and pages are told to trust only us.

There is no login: whoever can reach the port sees the experiments. What has to be kept out is other pages in the
user's own browser:

- A page whose name resolves to 127.0.0.1 (DNS rebinding) would be of "our" origin; its name stands in ``Host``, so
  only our own names are answered.
- A page of another origin can send forms and simple requests; changes need ``Content-Type: application/json``, which
  it cannot send without asking, and an ``Origin`` that is ours.
- What experiments hold (names, notes, artifacts) may hold markup; the policy in the headers lets nothing run but our
  own scripts.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frameworm.experiment.server.delivery import Json, error_answer

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_READING = ("GET", "HEAD", "OPTIONS")


def own_names(host: str) -> frozenset[str]:
    """Return the names that requests may call a server by which listens on ``host``.

    One that listens on every address (``0.0.0.0``) has many: this machine's names, and any address, as an address in
    ``Host`` was never resolved by anybody's DNS.
    """
    names = {host.lower().strip("[]")}
    if host in ("", "0.0.0.0", "::"):
        names |= {socket.gethostname().lower(), socket.getfqdn().lower(), "*"}
    return LOOPBACK | names


class Guard:
    """ASGI middleware: refuses foreign requests and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = LOOPBACK) -> None:
        self._app = app
        self._names = frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)  # an answer may have a stricter one
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Json | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_own(host):
            allowed = ", ".join(sorted(self._names - {"*"}))
            return error_answer(
                403, "bad_input", f"this server is not called {host!r}; it answers to {allowed}: see --host"
            )
        if scope["method"] in _READING:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != host):
            return error_answer(403, "bad_input", "changes are taken from this server's own page only")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return error_answer(415, "bad_input", "changes are sent with Content-Type: application/json")
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        return name in self._names or ("*" in self._names and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
