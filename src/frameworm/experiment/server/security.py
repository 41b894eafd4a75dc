"""Who may ask: who was let in, and no page but our own; and pages are told to trust only us.

``access.py`` knows who was let in; whoever was not gets 401. Others that have to be kept out are pages in the browser
of somebody who was:

- A page whose name resolves to 127.0.0.1 (DNS rebinding) would be of "our" origin; its name stands in ``Host``, so
  only our own names are answered.
- A page of another origin, or of another port of this host, is told apart by what browsers say of each request
  (``Sec-Fetch-Site``, ``Origin``); it may lead people to our pages, and nothing else. Changes need
  ``Content-Type: application/json`` as well, which it cannot send without asking.
- What experiments hold (names, notes, artifacts) may hold markup; the policy in the headers lets nothing run but our
  own scripts.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import socket
from collections.abc import Iterable
from typing import NamedTuple

from pydantic_core import Url
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from frameworm.experiment.server.access import TOKEN, Access
from frameworm.experiment.server.delivery import error_answer

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

HEALTH = "/api/health"
"""The one address that everybody may ask."""

_ONCE = (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"authorization", b"content-type")
"""Headers of which a second one would be read by somebody else than the first."""

_STYLE = (
    "body{font:16px/1.6 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1.5rem;color-scheme:light dark}"
)
_SIGN_IN = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>frameworm: open the printed link</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>
<body>
<h1>Open the link that was printed</h1>
<p>This dashboard lets in who opens the link that <code>frameworm ui</code> printed where it was started. A link works
once, in one browser, which is then remembered for 30 days.</p>
<p>Has yours been used? <code>frameworm ui</code>, started once more for the same folder, prints another.</p>
</body>
</html>
"""
_SIGN_IN_POLICY = POLICY.replace(
    "style-src 'self'", f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


class Place(NamedTuple):
    """Where a request says that it goes to, or comes from."""

    name: str
    port: int


def place_of(authority: str, scheme: str = "http") -> Place | None:
    r"""Return name and port of ``Host``, or None unless a browser would have written it so.

    A URL can be found in much that is none, but then it is not written as the text is: ``[::1]evil``,
    ``evil\@localhost``, ``localhost/evil``, ``0x7f.1``.
    """
    try:
        url = Url(f"{scheme}://{authority}/")
    except ValueError:
        return None
    name, port = url.host or "", url.port or 0
    if authority.lower() not in (name, f"{name}:{port}"):
        return None
    return Place(name.strip("[]").removesuffix("."), port)


def own_names(host: str) -> frozenset[str]:
    """Return the names that requests may call a server by which listens on ``host``.

    One that listens on every address (``0.0.0.0``) has many: this machine's names, and any address, as an address in
    ``Host`` was never resolved by anybody's DNS.
    """
    names = {host}
    if host in ("", "0.0.0.0", "::"):
        names = {host, socket.gethostname(), socket.getfqdn(), "*"}
    return LOOPBACK | {_as_asked_for(name) for name in names}


def _as_asked_for(name: str) -> str:
    """Return a name as browsers write it in ``Host``."""
    try:
        return (Url(f"http://{f'[{name}]' if ':' in name.strip('[]') else name}/").host or name).strip("[]")
    except ValueError:
        return name.lower()


class Guard:
    """ASGI middleware: refuses who was not let in, and foreign requests; adds the headers to every answer."""

    def __init__(self, app: ASGIApp, names: Iterable[str] = LOOPBACK, access: Access | None = None) -> None:
        self._app = app
        self._names = frozenset(names)
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})  # there are none
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)  # an answer may have a stricter one
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        names = [name for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in _ONCE):
            return error_answer(400, "bad_input", "a header came twice that says who asks, or whom")
        headers = Headers(scope=scope)
        place = place_of(headers.get("host", ""))
        if place is None or not self._is_own(place.name):
            allowed = ", ".join(sorted(self._names - {"*"}))
            return error_answer(
                403,
                "bad_input",
                f"this server is not called {headers.get('host', '')!r}; it answers to {allowed}: see --host",
            )
        if not _from_own_page(scope, headers):
            return error_answer(403, "bad_input", "other pages may neither read nor change anything here")
        if self._access is not None and scope["path"] != HEALTH:
            refusal = self._not_let_in(scope, headers, place.port, self._access)
            if refusal is not None:
                return refusal
        # POST alone is what a foreign page can send without asking; whoever sends PUT is told that there is none.
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            return error_answer(415, "bad_input", "changes are sent with Content-Type: application/json")
        return None

    def _not_let_in(self, scope: Scope, headers: Headers, port: int, access: Access) -> Response | None:
        """Return the answer to somebody who was not let in, or opens a link with a token; else None."""
        page = scope["method"] == "GET" and not _of_api(scope)
        if page and (sent := _without_token(scope)) is not None:
            address, token = sent
            admitted = access.admits(headers, port)
            if admitted or access.use(token):
                answer: Response = RedirectResponse(address, 303, {"Cache-Control": "no-store"})
                if not admitted:
                    answer.headers["Set-Cookie"] = access.cookie(port)
                return answer
        elif access.admits(headers, port):
            return None
        if page and "text/html" in headers.get("accept", ""):
            answer = HTMLResponse(_SIGN_IN, 401, {"Content-Security-Policy": _SIGN_IN_POLICY})
            if headers.get("sec-fetch-site", "none") not in _OURS:
                answer.headers["Refresh"] = "0"  # led here by another page, a browser keeps the cookie back: at first
        else:
            message = (
                "you are not let in, or no longer: open the link that `frameworm ui` prints when it starts; programs "
                "send the token in the file that it names, as Authorization: Bearer"
            )
            answer = error_answer(401, "not_let_in", message)
        answer.headers.update({"WWW-Authenticate": 'Bearer realm="frameworm"', "Cache-Control": "no-store"})
        return answer

    def _is_own(self, name: str) -> bool:
        return name in self._names or ("*" in self._names and _is_address(name))


_OURS = ("same-origin", "none")


def _from_own_page(scope: Scope, headers: Headers) -> bool:
    """Return whether a request comes from a page of ours, from a program, or opens one of our pages."""
    if headers.get("sec-fetch-site", "none") not in _OURS:
        how = scope["method"], headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
        return how == ("GET", "navigate", "document") and not _of_api(scope)
    origin = headers.get("origin")
    if origin is None:
        return True
    scheme, _, authority = origin.partition("://")
    return (
        scheme in ("http", "https")
        and (place := place_of(authority, scheme)) is not None
        and place == place_of(headers["host"], scheme)
    )


def _of_api(scope: Scope) -> bool:
    path: str = scope["path"]
    return path == "/api" or path.startswith("/api/")


def _without_token(scope: Scope) -> tuple[str, bytes] | None:
    """Return the address without its token, and that; None if there is none in it."""
    parts: list[bytes] = scope["query_string"].split(b"&")
    name = f"{TOKEN}=".encode()
    tokens = [part.removeprefix(name) for part in parts if part.startswith(name)]
    if not tokens:
        return None
    path = scope.get("raw_path", b"/").lstrip(b"/\\")  # two of them would lead to another host
    query = b"&".join(part for part in parts if not part.startswith(name))
    return "/" + (path + (b"?" + query if query else b"")).decode("latin-1"), tokens[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
