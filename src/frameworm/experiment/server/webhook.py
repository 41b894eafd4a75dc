"""Posting an alert to an address that a file names: to the open internet only, to that very host, in a bounded time.

Whoever writes ``alerts.yaml`` could have this machine talk to what only it can reach: a router, a database, a cloud's
metadata. So a connection is made to an address that was looked at, and a redirect is not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from frameworm import __version__
from frameworm.experiment.errors import InputError, StoreError

__all__ = ["inside_addresses", "post"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def inside_addresses(url: str) -> list[str]:
    """Return the addresses of an URL's host that are not of the open internet.

    Those are loopback, private, link-local ones and their like. A name that cannot be resolved has none.
    """
    try:
        return [address for _, address, _ in _resolved(url) if not _is_public(address)]
    except (OSError, ValueError):  # ValueError: a label that is too long for a name
        return []


def post(url: str, body: bytes, *, inside: bool, timeout_s: float) -> None:
    """Post JSON and wait for the answer's head.

    Args:
        url: ``http`` or ``https``.
        body: JSON.
        inside: whether addresses that are not of the open internet may be connected to.
        timeout_s: for all of it.

    Raises:
        InputError: the address is inside, and that is not allowed.
        StoreError: the answer is a redirect, an error, or no HTTP.
        OSError: nobody answers, or not in time.
    """
    parts = urlsplit(url)
    headers = {"Content-Type": "application/json", "User-Agent": f"frameworm/{__version__}"}
    proxy = urllib.request.getproxies().get(parts.scheme)
    by_proxy = bool(proxy) and not urllib.request.proxy_bypass(parts.hostname or "")
    connection = _to_proxy(url, proxy or "", timeout_s) if by_proxy else _direct(url, inside, timeout_s)
    target = url if by_proxy and parts.scheme == "http" else (parts.path or "/") + (parts.query and f"?{parts.query}")
    try:
        with _ended_after(connection.sock, timeout_s):
            connection.request("POST", target, body, headers)
            status = connection.getresponse().status
    except http.client.HTTPException as error:
        raise StoreError(f"what answers at {parts.netloc} is no HTTP: {error!r:.200}") from error
    finally:
        connection.close()
    if 300 <= status < 400:
        raise StoreError(f"{parts.netloc} answered {status}: a redirect is not followed; name the address it leads to")
    if status >= 400:
        raise StoreError(f"{parts.netloc} answered {status}")


def _resolved(url: str) -> Iterator[tuple[socket.AddressFamily, str, int]]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for family, _, _, _, address in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
        yield family, str(address[0]), port


def _is_public(address: str) -> bool:
    """Return whether an address is one of the open internet, also that inside an IPv6 form of an IPv4 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo and found.teredo[1])
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner:
            return _is_public(str(inner))
    return found.is_global and not found.is_multicast


def _direct(url: str, inside: bool, timeout_s: float) -> http.client.HTTPConnection:
    """Connect to the host itself, at an address that may be connected to: the one that was looked at."""
    parts = urlsplit(url)
    refused, last = [], OSError(f"{parts.hostname} has no address")
    for family, address, port in _resolved(url):
        if not inside and not _is_public(address):
            refused.append(address)
            continue
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect((address, port))
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            connection = kind(parts.hostname or "", port, timeout=timeout_s)
            if parts.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
            connection.sock = sock
            return connection
        except OSError as error:
            sock.close()
            last = error
    if refused:
        raise InputError(
            f"{parts.hostname} is {', '.join(refused)}, which is not of the open internet; "
            "`frameworm ui --trust-alerts` allows it"
        )
    raise last


def _to_proxy(url: str, proxy: str, timeout_s: float) -> http.client.HTTPConnection:
    """Connect by the proxy that the user's own environment names; where that connects to is its own rule."""
    parts, way = urlsplit(url), urlsplit(proxy if "//" in proxy else f"//{proxy}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(way.hostname or "", way.port or 8080, timeout=timeout_s)
    if parts.scheme == "https":
        connection.set_tunnel(parts.hostname or "", parts.port or 443)
    connection.connect()
    return connection


@contextmanager
def _ended_after(sock: socket.socket, timeout_s: float) -> Iterator[None]:
    """End the connection after a time, however much comes by then: one byte now and then would hold it for ever.

    Raises:
        TimeoutError: the time was over before the block was.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        with suppress(OSError):  # it has ended already
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if over.is_set():
            raise TimeoutError(f"no whole answer within {timeout_s:g} s")
