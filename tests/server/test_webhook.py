"""Posting to an address that a file names: what is answered, by whom, and how long it may take."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from frameworm.experiment.errors import InputError, StoreError
from frameworm.experiment.server.webhook import inside_addresses, post


@pytest.fixture
def answering() -> Iterator[Callable[..., tuple[str, list[bytes]]]]:
    """Return a function that starts a server which answers each connection with given bytes, and then waits or not."""
    ended = threading.Event()
    opened: list[tuple[socket.socket, threading.Thread]] = []

    def start(answer: bytes, *, waits: bool = False, drips: bool = False) -> tuple[str, list[bytes]]:
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(0.05)
        got: list[bytes] = []

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    got.append(connection.recv(65536))
                    connection.sendall(answer)
                    while waits and not ended.wait(0.05):
                        if drips:
                            try:
                                connection.sendall(b"x")
                            except OSError:
                                break

        thread = threading.Thread(target=serve)
        thread.start()
        opened.append((listening, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}/hook?a=1", got

    yield start
    ended.set()
    for listening, thread in opened:
        thread.join()
        listening.close()


def test_the_body_arrives(answering):
    url, got = answering(b"HTTP/1.1 204 No Content\r\n\r\n")
    post(url, b'{"text": "x"}', inside=True, timeout_s=5)
    head, _, body = got[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook?a=1 HTTP/1.1") and b"application/json" in head
    assert body in (b"", b'{"text": "x"}')  # it may come in a packet of its own


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{}/", "http://localhost:{}/", "http://0.0.0.0:{}/", "http://[::1]:{}/"]
)
def test_an_address_inside_is_not_connected_to_unless_allowed(answering, url):
    real, got = answering(b"HTTP/1.1 200 OK\r\n\r\n")
    port = real.split(":")[2].split("/")[0]
    with pytest.raises(InputError, match="not of the open internet"):
        post(url.format(port), b"{}", inside=False, timeout_s=5)
    assert got == []
    assert inside_addresses(url.format(port))


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.5", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "2130706433"),
        *("[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.5]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0x7f.1"),
    ],
)
def test_every_form_of_an_inside_address_is_told(host):
    assert inside_addresses(f"http://{host}/")
    with pytest.raises(InputError):
        post(f"http://{host}/", b"{}", inside=False, timeout_s=1)


@pytest.mark.parametrize("host", ["93.184.215.14", "[2606:2800:21f:cb07::1]", "[::ffff:93.184.215.14]"])
def test_addresses_of_the_open_internet_are_none(host):
    assert inside_addresses(f"https://{host}/") == []


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\1\2\n", b"HTTP/9 yes\r\n\r\n", b""])
def test_what_is_no_http_is_told(answering, answer):
    url, _ = answering(answer)
    with pytest.raises((StoreError, OSError)):
        post(url, b"{}", inside=True, timeout_s=5)


def test_redirects_and_errors_are_told_and_not_followed(answering):
    other, reached = answering(b"HTTP/1.1 200 OK\r\n\r\n")
    url, _ = answering(f"HTTP/1.1 307 Elsewhere\r\nLocation: {other}\r\nContent-Length: 0\r\n\r\n".encode())
    with pytest.raises(StoreError, match="answered 307: a redirect is not followed"):
        post(url, b"{}", inside=True, timeout_s=5)
    assert reached == []
    url, _ = answering(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(StoreError, match="answered 410"):
        post(url, b"{}", inside=True, timeout_s=5)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nx: "])
def test_who_answers_never_or_a_byte_now_and_then_is_left(answering, answer):
    url, _ = answering(answer, waits=True, drips=bool(answer))
    with pytest.raises(OSError):
        post(url, b"{}", inside=True, timeout_s=0.5)


def test_an_answer_that_is_no_http_does_not_lose_the_other_alerts(answering, tmp_path, monkeypatch):
    from frameworm.experiment import Experiment
    from frameworm.experiment.query.rules import read_rules
    from frameworm.experiment.server.app import create_app
    from frameworm.experiment.server.trust import Word, keep_word

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    root = tmp_path / "experiments"
    root.mkdir()
    url, got = answering(b"SSH-2.0-OpenSSH_9.2\r\n")
    root.joinpath("alerts.yaml").write_text(f"send: {{webhook: '{url}'}}")
    keep_word(root, read_rules(root), Word(allowed=True, inside=True))
    alerts = create_app(root).state.alerts
    alerts.look()
    with Experiment("e", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        for number in range(3):
            exp.alert(f"alert {number}")
    alerts.look()
    assert len(got) == 3
    assert "no HTTP" in alerts.trouble
