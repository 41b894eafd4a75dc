"""``frameworm ui`` as a process: what it prints, serves and follows, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import uvicorn

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.cli.ui import ui
from frameworm.experiment.errors import InputError, StoreError
from frameworm.experiment.query.rules import read_rules
from frameworm.experiment.server import run
from frameworm.experiment.server.app import create_app
from frameworm.experiment.server.live import Live
from frameworm.experiment.server.trust import Word, keep_word

SOURCE = Path(__file__).parents[2] / "src"
PATIENCE_S = 30.0


class Running(NamedTuple):
    process: subprocess.Popen[str]
    link: str
    key: str

    @property
    def netloc(self) -> str:
        return urlsplit(self.link).netloc

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.netloc, timeout=PATIENCE_S)
        try:
            connection.request("GET", path, headers={**self.bearer, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``frameworm ui`` and return it once it has printed its address."""
    started: list[subprocess.Popen[str]] = []

    def launch(root: Path, *options: str) -> Running:
        command = [sys.executable, "-m", "frameworm.experiment.cli", "ui", "--no-browser", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--root-dir", str(root), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert " is shown at http://" in line, process.communicate(timeout=PATIENCE_S)
        key = ""
        if "--no-token" not in options:
            key = Path(process.stdout.readline().split(" token in ")[1].strip()).read_text()
        return Running(process, line.split(" is shown at ")[1].split()[0], key)

    yield launch
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)


class Followed:
    """The events of a server, as they come."""

    def __init__(self, server: Running) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.ended = False
        self._news = threading.Condition()
        self._connection = http.client.HTTPConnection(server.netloc, timeout=PATIENCE_S)
        self._connection.request("GET", "/api/v1/events", headers=server.bearer)
        self._answer = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        name = ""
        for line in self._answer:
            field, _, value = line.decode().strip().partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                with self._news:
                    self.events.append((name, json.loads(value)))
                    self._news.notify_all()
        with self._news:
            self.ended = True
            self._news.notify_all()

    def wait(self, wanted: Callable[[str, dict[str, Any]], bool]) -> None:
        """Wait for an event that has not been waited for."""
        with self._news:
            assert self._news.wait_for(lambda: any(wanted(*event) for event in self.events), PATIENCE_S), self.events
            self.events.clear()

    def close(self) -> None:
        self._thread.join(PATIENCE_S)
        self._connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(start: Start, own_root: Path, number: signal.Signals) -> None:
    server = start(own_root)
    status, body = server.get("/")
    assert status == 200 and body.startswith(b"<!doctype html>")
    assert json.loads(server.get("/api/v1/store")[1])["total"] == 5
    assert server.get("/", Host="evil.example")[0] == 403
    followed = Followed(server)
    followed.wait(lambda name, data: name == "hello" and bool(data["version"]))
    server.process.send_signal(number)
    out, err = server.process.communicate(timeout=PATIENCE_S)
    assert (server.process.returncode, out, err) == (0, "", "")
    followed.close()
    assert followed.ended


def test_the_printed_link_lets_in_once_and_the_next_start_knows_who_was(start: Start, own_root: Path) -> None:
    first = start(own_root)
    link = urlsplit(first.link)

    def ask(server: Running, path: str, cookie: str = "") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection(server.netloc, timeout=PATIENCE_S)
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        connection.close()
        return answer.status, answer.headers.get("Location", ""), answer.headers.get("Set-Cookie", "")

    assert ask(first, "/api/v1/store")[0] == 401
    status, location, given = ask(first, f"/?{link.query}")
    cookie = given.partition(";")[0]
    assert (status, location) == (303, "/")
    assert cookie.startswith(f"frameworm-{link.port}=")
    assert ask(first, f"/?{link.query}")[0] == 401
    assert ask(first, "/api/v1/store", cookie)[0] == 200
    first.process.terminate()
    out, err = first.process.communicate(timeout=PATIENCE_S)
    assert (out, err) == ("", "")
    second = start(own_root, "--port", str(link.port))
    assert ask(second, "/api/v1/store", cookie)[0] == 200
    assert ask(second, f"/?{link.query}")[0] == 401
    assert second.link != first.link and second.key == first.key


def test_without_a_token_everybody_is_let_in_which_is_said_in_red(start: Start, own_root: Path) -> None:
    server = start(own_root, "--no-token")
    assert "token" not in server.link and server.key == ""
    assert server.get("/api/v1/store", Authorization="")[0] == 200
    server.process.terminate()
    _, err = server.process.communicate(timeout=PATIENCE_S)
    assert err.startswith("danger: whoever is on this machine")


def test_a_question_that_takes_long_is_let_go_without_a_word(start: Start, own_root: Path) -> None:
    server = start(own_root)
    assert server.get("/api/v1/store")[0] == 200
    with contextlib.closing(sqlite3.connect(own_root / "experiments.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        connection = http.client.HTTPConnection(server.netloc, timeout=PATIENCE_S)
        connection.request("GET", "/api/v1/experiments", headers=server.bearer)
        time.sleep(0.5)
        server.process.terminate()
        out, err = server.process.communicate(timeout=PATIENCE_S)
        connection.close()
    assert (server.process.returncode, out, err) == (0, "", "")


def test_a_signal_is_not_handled_while_the_server_holds_a_lock(own_root: Path) -> None:
    app = create_app(own_root)
    live: Live = app.state.live
    server = run._Server(uvicorn.Config(app), live)

    async def told() -> tuple[bool, bool]:
        with server.capture_signals():
            with live._lock:
                os.kill(os.getpid(), signal.SIGTERM)
                while_held = server.should_exit
            await asyncio.sleep(0.1)
            return while_held, server.should_exit

    before = signal.getsignal(signal.SIGTERM)
    assert asyncio.run(told()) == (False, True)
    assert signal.getsignal(signal.SIGTERM) is before


def changed(one: str) -> Callable[[str, dict[str, Any]], bool]:
    return lambda name, data: name == "changed" and one in data["ids"]


def test_what_other_processes_do_is_told(start: Start, tmp_path: Path) -> None:
    root = tmp_path / "later"
    server = start(root)
    assert json.loads(server.get("/api/v1/experiments")[1])["total"] == 0
    followed = Followed(server)
    followed.wait(lambda name, data: name == "hello")
    exp = Experiment(name="live", root_dir=root, capture_console=False, system_metrics_s=0)  # the server's root appears
    followed.wait(changed("exp_001"))
    with exp:
        followed.wait(changed("exp_001"))
        for step in range(3):
            exp.log_metric("loss", 1.0, step=step)
            followed.wait(changed("exp_001"))
    followed.wait(changed("exp_001"))
    rows = json.loads(server.get("/api/v1/experiments?columns=metrics.loss.count")[1])["rows"]
    assert [(row["status"], row["values"]) for row in rows] == [("completed", [3])]
    manager = ExperimentManager(root)
    manager.add_tags("exp_001", "seen")
    followed.wait(changed("exp_001"))
    manager.delete_experiment("exp_001")
    followed.wait(lambda name, data: data["removed"] == ["exp_001"] and data["ids"] == [])
    manager.restore("exp_001")
    followed.wait(changed("exp_001"))
    server.process.terminate()
    server.process.communicate(timeout=PATIENCE_S)
    followed.close()


def test_one_that_was_killed_is_told_as_crashed(start: Start, tmp_path: Path) -> None:
    server = start(tmp_path)
    followed = Followed(server)
    followed.wait(lambda name, data: name == "hello")
    code = f"""
import time
from frameworm.experiment import Experiment
with Experiment(name="dies", root_dir={str(tmp_path)!r}, system_metrics_s=0) as exp:
    exp.log_metric("loss", 1.0)
    print("ready", flush=True)
    time.sleep(600)
"""
    training = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SOURCE)}
    )
    assert training.stdout is not None and training.stdout.readline() == b"ready\n"

    def status() -> str:
        return str(json.loads(server.get("/api/v1/experiments")[1])["rows"][0]["status"])

    try:
        followed.wait(changed("exp_001"))
        assert status() == "running"
        followed.events.clear()
        training.kill()
        training.wait()
        end = time.monotonic() + PATIENCE_S
        while status() != "crashed":  # asking brings the catalog up to date, and then the listeners are told
            assert time.monotonic() < end
        followed.wait(changed("exp_001"))
    finally:
        training.kill()
        training.communicate()
    server.process.terminate()
    server.process.communicate(timeout=PATIENCE_S)
    followed.close()


def test_the_next_port_is_taken_if_one_is_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(StoreError, match="--port"):
            run.listen("127.0.0.1", taken)
    first = run.listen("127.0.0.1", None)
    second = run.listen("127.0.0.1", None)
    assert first.proto == socket.IPPROTO_TCP  # or asyncio would hold bodies back until heads are confirmed
    with first, second:
        assert first.getsockname()[1] < second.getsockname()[1] < run.PORT + 20
        assert run.address_of(first, "0.0.0.0") == f"http://localhost:{first.getsockname()[1]}/"
        assert run.address_of(first, "::1").startswith("http://[::1]:")
    with pytest.raises(InputError, match="--host"):
        run.listen("no such host", None)


def test_the_port_in_the_help_is_the_port() -> None:
    assert str(run.PORT) in next(str(option.help) for option in ui.params if option.name == "port")  # type: ignore[attr-defined]


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "frameworm.experiment.cli", "ui", "--no-browser", "--root-dir"]
    done = subprocess.run(
        [*command, str(tmp_path / "file")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 1 and "is a file" in done.stderr


def test_two_send_each_alert_once(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    said = tmp_path / "said"
    program = "import os, sys; open(sys.argv[1], 'a').write(os.environ['FRAMEWORM_ALERT_TITLE'] + '\\n')"
    root = tmp_path / "experiments"
    root.mkdir()
    send = {"command": [sys.executable, "-c", program, str(said)]}
    root.joinpath("alerts.yaml").write_text(json.dumps({"send": send, "rules": [{"name": "odd", "not_finite": "*"}]}))
    keep_word(root, read_rules(root), Word(allowed=True, inside=False))
    for one in [start(root), start(root)]:
        assert one.get("/api/v1/store")[0] == 200
    wanted = ["odd", *(f"alert {number}" for number in range(4))]
    with Experiment(name="watched", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        exp.log_metric("loss", float("nan"))
        for title in wanted[1:]:
            exp.alert(title)
            time.sleep(0.5)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and not (said.exists() and len(said.read_text().splitlines()) >= len(wanted)):
            time.sleep(0.1)
        time.sleep(2.5)  # the other has looked as well
    assert sorted(said.read_text().splitlines()) == sorted(wanted)


def test_the_garbage_collector_works_after_the_first_look_also_where_that_fails(tmp_path: Path) -> None:
    code = f"""
import gc
from pathlib import Path
from frameworm.experiment.server.run import _warm
from frameworm.experiment.server.store import Store
class Failing(Store):
    def ask(self, question):
        raise ZeroDivisionError
for store in (Store(Path({str(tmp_path)!r})), Failing(Path({str(tmp_path)!r}))):
    try:
        _warm(store)
    except ZeroDivisionError:
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
