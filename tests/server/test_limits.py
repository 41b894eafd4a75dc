"""Bodies are counted as they come, and clients that let the server wait are cut while others are answered."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.testclient import TestClient

from frameworm.experiment.server.app import create_app
from frameworm.experiment.server.limits import MOST_BYTES, Connection

EDIT = "/api/v1/experiments/edit"
JSON = {"content-type": "application/json"}
PATIENCE_S = 30.0


def body(size: int) -> bytes:
    start = b'{"ids":["exp_099"],"note":"'
    return start + b"a" * (size - len(start) - 2) + b'"}'


def test_a_body_of_a_mebibyte_is_taken_and_no_larger_one(client: TestClient) -> None:
    assert client.post(EDIT, content=body(MOST_BYTES), headers=JSON).status_code != 413
    for content in (body(MOST_BYTES + 1), iter([b"a" * MOST_BYTES, b"a"]), iter([b"a"] * 10 + [b"a" * MOST_BYTES])):
        answer = client.post(EDIT, content=content, headers=JSON)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    for length in ("9" * 4400, "-1", "x", "1_0", "٣", str(MOST_BYTES + 1)):
        headers = {**JSON, "content-length": length.encode()}
        assert client.post(EDIT, content=b"{}", headers=headers).status_code == 413


BOMB = gzip.compress(b" " * (20 * MOST_BYTES))
assert len(BOMB) < MOST_BYTES


@pytest.mark.parametrize("how", ["gzip", "GZIP", "deflate", "br", "zstd", "gzip, identity", "x", ""])
def test_a_compressed_body_is_refused_whatever_it_holds(client: TestClient, how: str) -> None:
    answer = client.post(EDIT, content=BOMB, headers={**JSON, "content-encoding": how})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert client.post(EDIT, json={"ids": ["exp_001"]}, headers={"content-encoding": "Identity"}).status_code == 422


class Hasty(Connection):
    HEAD_S = 0.5
    BODY_S = 0.7
    READ_S = 0.5
    MOST = 20


@contextlib.contextmanager
def serving(root: Path, protocol: type[Connection]) -> Iterator[int]:
    """Serve over this kind of connections; give the port."""
    config = uvicorn.Config(create_app(root), http=protocol, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        yield sock.getsockname()[1]
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture
def hasty(root: Path) -> Iterator[int]:
    """Serve with little patience; return the port."""
    with serving(root, Hasty) as port:
        yield port


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def is_cut(connection: socket.socket) -> bool:
    """Read until the end; it comes, or this raises."""
    with contextlib.suppress(ConnectionResetError):
        while connection.recv(1 << 16):
            pass
    return True


def is_answered(connection: socket.socket, port: int) -> bool:
    connection.sendall(f"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b'{"status":"ok"}'):
        answer += (more := connection.recv(1 << 16))
        if not more:
            raise ConnectionResetError
    return True


def others_are_answered(port: int) -> bool:
    """Ask until there is an answer: on a machine that is busy, whoever asks may be the slow one."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with contextlib.suppress(ConnectionError), connected(port) as quick:
            return is_answered(quick, port)
    return False


HEAD = f"POST {EDIT} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "G",
        "GET / HTTP/1.1\r\nHost: 127",
        HEAD,
        HEAD + "Content-Length: 10\r\n\r\n",
        HEAD + "Content-Length: 10\r\n\r\n{",
        HEAD + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        HEAD.replace("POST", "GET") + "Content-Length: 10\r\n\r\n",  # answered, and still awaited
    ],
)
def test_a_client_that_stops_is_cut_and_others_are_answered(hasty: int, sent: str) -> None:
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(connected(hasty)) for _ in range(15)]
        for connection in slow:
            connection.sendall(sent.replace("PORT", str(hasty)).encode())
        assert others_are_answered(hasty)
        assert all(map(is_cut, slow))


def test_a_client_that_sends_a_byte_now_and_then_is_cut_as_well(hasty: int) -> None:
    ended = threading.Event()
    with connected(hasty) as slow:

        def trickle() -> None:
            with contextlib.suppress(OSError):
                for letter in HEAD.replace("PORT", str(hasty)) * 1000:
                    slow.sendall(letter.encode())
                    if ended.wait(0.05):
                        return

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert is_cut(slow)
        finally:
            ended.set()
            thread.join(PATIENCE_S)


def test_a_client_that_reads_nothing_is_cut(hasty: int) -> None:
    with connected(hasty) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = f"GET /api/openapi.json HTTP/1.1\r\nHost: 127.0.0.1:{hasty}\r\n\r\n".encode()
        with contextlib.suppress(ConnectionError):
            while True:  # answers pile up until the server stops to read, then to wait
                slow.sendall(request * 100)
        assert others_are_answered(hasty)


class Kept(Connection):
    HEAD_S = 3.0


def test_a_kept_connection_goes_on_while_it_is_used(root: Path) -> None:
    with serving(root, Kept) as port, connected(port) as kept:
        for _ in range(8):
            assert is_answered(kept, port)
            time.sleep(0.5)  # longer altogether than a request may take


def test_a_new_client_takes_the_place_of_who_was_awaited_the_longest(hasty: int) -> None:
    with contextlib.ExitStack() as held:
        kept = held.enter_context(connected(hasty))
        slow = [held.enter_context(connected(hasty)) for _ in range(Hasty.MOST * 3)]
        for connection in slow:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"G")
        for _ in range(3):
            assert others_are_answered(hasty)
        assert all(map(is_cut, slow)) and is_cut(kept)


def test_what_is_no_http_is_answered_as_everything_is(hasty: int) -> None:
    with connected(hasty) as odd:
        odd.sendall(b"\x16\x03\x01\x02\x00\r\n\r\n")
        answer = b""
        while more := odd.recv(1 << 16):
            answer += more
        head, _, told = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400") and json.loads(told)["error"]["code"] == "bad_input"
