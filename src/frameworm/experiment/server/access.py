"""What lets people and programs in: a link that works once, the cookie it becomes, and the key of the root.

link with a token, printed and opened ─once─▶ cookie, which pages send by themselves
file of the key, 0600 ─▶ ``Authorization: Bearer``, which programs send

The key is one for each root and user. It stays from one start to the next, so that a page which is open goes on; links
are of one start. The cookie is made of the key and of the port, as a browser sends cookies to every port of a host:
two dashboards do not take each other's, and no other server that is given one learns the key from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from platformdirs import user_state_path
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from frameworm.experiment.errors import UnsafePathError
from frameworm.experiment.paths import open_regular

TOKEN = "token"
"""The parameter of a link that lets in."""

_REMEMBERED_S = 30 * 24 * 3600
_BYTES = 32
_KEY = re.compile(rb"[\w-]{43}")


class Access:
    """What lets in to one root. Any thread may make links; all else is asked on the event loop.

    Attributes:
        file: where the key is kept for programs and the next start, or None if it cannot be.
    """

    def __init__(self, key: bytes, file: Path | None = None) -> None:
        self._key = key
        self._links: set[bytes] = set()
        self.file = file

    @classmethod
    def to(cls, root: Path) -> Access:
        """Return what lets in to a root: by the key of the last start, or a new one if there is none to trust."""
        name = hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=12).hexdigest()
        file = user_state_path("frameworm") / "dashboard" / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return cls(_kept(file), file)
        except OSError:
            return cls(_new_key())

    def link(self, address: str) -> str:
        """Return the address of a page with a token that lets in once."""
        token = secrets.token_urlsafe(_BYTES)
        self._links.add(token.encode())
        return f"{address}?{TOKEN}={token}"

    def use(self, token: bytes) -> bool:
        """Return whether a link's token lets in; it will not do so again."""
        found = [one for one in self._links if hmac.compare_digest(one, token)]
        self._links.difference_update(found)
        return bool(found)

    def admits(self, headers: Headers, port: int) -> bool:
        """Return whether a request brings the cookie or, as programs do, the key."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key):
            return True
        cookie = cookie_parser(headers.get("cookie", "")).get(_name(port), "")
        return hmac.compare_digest(cookie.encode(), self._cookie(port).encode())

    def cookie(self, port: int) -> str:
        """Return the header that has a browser keep the cookie; no script can read it, no other site's request has it.

        Args:
            port: as the browser has it in the address, which a tunnel may have changed.
        """
        life = f"Max-Age={_REMEMBERED_S}; Path=/; HttpOnly; SameSite=Strict"
        return f"{_name(port)}={self._cookie(port)}; {life}"

    def _cookie(self, port: int) -> str:
        return hmac.digest(self._key, f"cookie {port}".encode(), "sha256").hex()


def _name(port: int) -> str:
    return f"frameworm-{port}"


def _new_key() -> bytes:
    return secrets.token_urlsafe(_BYTES).encode()


def _kept(file: Path) -> bytes:
    """Return the key in a file, which is written if it is missing, or if others may know or have made what is there.

    Raises:
        OSError: it cannot be kept.
    """
    for _ in range(3):
        if (key := _read(file)) is not None:
            return key
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
        new = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as written:
                written.write(_new_key())
            with contextlib.suppress(FileExistsError):  # another start was quicker: its key counts
                os.link(new, file)
        finally:
            new.unlink()
    raise PermissionError(f"{file} cannot be kept from others")


def _read(file: Path) -> bytes | None:
    """Return the key in a file that is ours alone, else None."""
    try:
        descriptor = open_regular(file)
    except (UnsafePathError, FileNotFoundError):
        return None
    with open(descriptor, "rb") as opened:
        status = os.fstat(opened.fileno())
        key = opened.read(1024)
    private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    return key if private and _KEY.fullmatch(key) else None
