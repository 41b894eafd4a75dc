"""Alerts: raised by experiments or found by rules, told once, and sent on."""

from __future__ import annotations

import http.server
import json
import math
import os
import sys
import threading
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import ConfigError
from frameworm.experiment.query.rules import read_rules
from frameworm.experiment.server.app import create_app
from frameworm.experiment.server.live import Live
from frameworm.experiment.server.trust import Word, keep_word, trust_file

RULES = """
rules:
  - name: diverged
    when: metrics.loss.max > 100
  - name: not a number
    not_finite: "*"
    level: error
  - name: stalled
    silent_minutes: 1e-9
  - name: crashed
    crashed: true
"""


@pytest.fixture(autouse=True)
def own_configuration(tmp_path_factory, monkeypatch) -> Path:
    """Keep the user's own configuration out of it."""
    folder = tmp_path_factory.mktemp("configuration")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder


def allow(root: Path, *, inside: bool = True) -> None:
    """Say, as the user, that alerts are sent on as ``alerts.yaml`` says now."""
    keep_word(root, read_rules(root), Word(allowed=True, inside=inside))


class Told:
    """Stands for those who listen to the server."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict]] = []

    def publish(self, name: str, data: dict) -> None:
        self.events.append((name, data))

    def titles(self) -> list[tuple[str, str]]:
        return sorted((data["experiment_id"], data["title"]) for _, data in self.events)


def watcher(root: Path, **options):
    app = create_app(root, **options)
    app.state.alerts._live = told = Told()
    return app, app.state.alerts, told


def begun(root: Path, name: str = "e") -> Experiment:
    return Experiment(name=name, root_dir=root, capture_console=False, system_metrics_s=0)


def test_what_an_experiment_raises_is_told_once(tmp_path):
    with begun(tmp_path) as exp:
        exp.alert("before")
    app, alerts, told = watcher(tmp_path)
    alerts.look()
    assert told.events == []  # it was raised before anybody watched
    with begun(tmp_path) as exp:
        exp.alert("look", "at this", level="error")
        alerts.look()
        alerts.look()
    alerts.look()
    assert told.titles() == [("exp_002", "look")]
    listed = TestClient(app, base_url="http://127.0.0.1").get("/api/v1/alerts").json()["alerts"]
    assert [alert["title"] for alert in listed] == ["look", "before"]
    errors = TestClient(app, base_url="http://127.0.0.1").get("/api/v1/alerts?level=error").json()["alerts"]
    assert [(alert["experiment_id"], alert["text"]) for alert in errors] == [("exp_002", "at this")]


def test_rules_find_what_they_say_and_say_it_once(tmp_path):
    tmp_path.joinpath("alerts.yaml").write_text(RULES)
    with begun(tmp_path, "old and diverged") as exp:
        exp.log_metric("loss", 1e9)
    _, alerts, told = watcher(tmp_path)
    alerts._since_ms += 1000  # it ended long before the server began
    alerts.look()
    assert told.events == []
    alerts._since_ms = 0
    alerts.look()
    with begun(tmp_path, "nan") as exp:
        exp.log_metric("loss", math.nan)
        alerts.look()
        alerts.look()
    with begun(tmp_path, "calm") as exp:
        exp.log_metric("loss", 1.0)
    alerts.look()
    assert told.titles() == [("exp_001", "diverged"), ("exp_002", "not a number"), ("exp_002", "stalled")]
    (stalled,) = [data for _, data in told.events if data["title"] == "stalled"]
    assert stalled["rule"] == "stalled" and stalled["level"] == "warning"
    _, again, told = watcher(tmp_path)  # another server: what was told is on record
    again._since_ms = 0
    again.look()
    assert told.events == []
    assert {alert["rule"] for alert in ExperimentManager(tmp_path).reader("exp_002").info.alerts} == {
        "not a number",
        "stalled",
    }


def test_a_read_only_root_is_not_written_to(tmp_path):
    tmp_path.joinpath("alerts.yaml").write_text(RULES)
    app, alerts, told = watcher(tmp_path, read_only=True)
    with begun(tmp_path) as exp:
        exp.log_metric("loss", 1e9)
    alerts.look()
    alerts.look()
    assert told.titles() == [("exp_001", "diverged")]
    listed = TestClient(app, base_url="http://127.0.0.1").get("/api/v1/alerts").json()["alerts"]
    assert [alert["rule"] for alert in listed] == ["diverged"]
    assert ExperimentManager(tmp_path).reader("exp_001").info.alerts == ()


def test_alerts_are_sent_to_a_webhook_and_a_command(tmp_path):
    got: list[dict] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as hook:
        thread = threading.Thread(target=hook.serve_forever)
        thread.start()
        try:
            said = tmp_path / "said"
            program = "import os, sys; open(sys.argv[1], 'a').write(os.environ['FRAMEWORM_ALERT_TITLE'] + '\\n')"
            send = {
                "webhook": f"http://127.0.0.1:{hook.server_port}/x",
                "command": [sys.executable, "-c", program, str(said)],
            }
            tmp_path.joinpath("alerts.yaml").write_text(json.dumps({"send": send}))
            allow(tmp_path)
            _, alerts, _ = watcher(tmp_path)
            alerts.look()
            with begun(tmp_path, "sent") as exp:
                exp.alert("look $(touch x)", "here")
            alerts.look()
        finally:
            hook.shutdown()
            thread.join()
    assert got[0]["text"] == "exp_001 sent: look $(touch x)\nhere" and got[0]["alert"]["level"] == "warning"
    assert said.read_text() == "look $(touch x)\n" and len(got) == 1
    assert alerts.trouble == ""


def teller(root: Path) -> Path:
    """Have the alerts of a root written down, a line each, and return the file."""
    program = "import os, sys; open(sys.argv[1], 'a').write(os.environ['FRAMEWORM_ALERT_TITLE'] + '\\n')"
    send = {"command": [sys.executable, "-c", program, str(root / "said")]}
    rules = [{"name": "crashed", "crashed": True}, {"name": "large", "when": "metrics.loss > 100"}]
    root.joinpath("alerts.yaml").write_text(json.dumps({"send": send, "rules": rules}))
    allow(root)
    return root / "said"


def test_of_several_servers_one_sends(tmp_path):
    said = teller(tmp_path)
    servers = [watcher(tmp_path) for _ in range(6)]
    for _, alerts, _ in servers:
        alerts.look()
    with begun(tmp_path) as exp:
        exp.log_metric("loss", 1000.0)
        for number in range(5):
            exp.alert(f"alert {number}")
        exp.flush()
        together = threading.Barrier(len(servers))

        def looking(alerts) -> None:
            together.wait()
            for _ in range(3):
                alerts.look()

        threads = [threading.Thread(target=looking, args=(alerts,)) for _, alerts, _ in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    wanted = sorted([*(f"alert {number}" for number in range(5)), "large"])
    assert sorted(said.read_text().split("\n")[:-1]) == wanted
    assert sorted(alert["title"] for alert in exp.info.alerts) == wanted  # and one wrote down what a rule found
    for _, _, told in servers:  # open pages are told by the server that they are of
        assert sorted(data["title"] for _, data in told.events) == wanted
    _, late, _ = watcher(tmp_path)
    late._idle_ms = 0  # as if it had not looked for long
    late.look()
    assert len(said.read_text().split()) == len(" ".join(wanted).split())


def test_what_was_sent_long_ago_is_forgotten(tmp_path):
    teller(tmp_path)
    sent = tmp_path / ".frameworm" / "sent"
    _, first, _ = watcher(tmp_path)
    first.look()
    with begun(tmp_path) as exp:
        exp.alert("look")
    first.look()
    (kept,) = sent.iterdir()
    (sent / "old").touch()
    os.utime(sent / "old", (0, 0))
    _, second, _ = watcher(tmp_path)
    second.look()
    assert list(sent.iterdir()) == [kept]


def test_what_a_server_died_of_sending_is_sent_no_more(tmp_path):
    said = teller(tmp_path)
    _, first, _ = watcher(tmp_path)
    _, second, told = watcher(tmp_path)
    second.look()
    with begun(tmp_path) as exp:
        exp.alert("look")
    assert first._claimed(first._recent()[0])  # and here it dies
    second.look()
    assert told.titles() == [("exp_001", "look")] and not said.exists()


def test_a_read_only_server_sends_nothing(tmp_path):
    said = teller(tmp_path)
    _, reader, told = watcher(tmp_path, read_only=True)
    reader.look()
    with begun(tmp_path) as exp:
        exp.alert("first")
        reader.look()
    assert told.titles() == [("exp_001", "first")] and not said.exists() and reader.trouble == ""


def test_what_was_raised_before_the_server_began_is_not_sent(tmp_path):
    """Also what comes into the folder only now, with an old time: an experiment of somebody else's."""
    said = teller(tmp_path)
    with begun(tmp_path) as exp:
        exp.alert("old")
    _, alerts, told = watcher(tmp_path)
    alerts._since_ms += 1000
    alerts._seen = set()  # as if it came into the folder after the first look
    alerts.look()
    assert told.titles() == [("exp_001", "old")] and not said.exists()


@pytest.mark.parametrize("word", [None, Word(allowed=False, inside=False)])
def test_nothing_is_run_or_posted_that_the_user_has_not_allowed(tmp_path, word):
    said = teller(tmp_path)
    trust_file().unlink()
    if word is not None:
        keep_word(tmp_path, read_rules(tmp_path), word)
    app, alerts, _ = watcher(tmp_path)
    alerts.look()
    with begun(tmp_path) as exp:
        exp.alert("look")
    alerts.look()
    assert not said.exists()
    trouble = TestClient(app, base_url="http://127.0.0.1").get("/api/v1/alerts").json()["trouble"]
    assert "not allowed" in trouble and "--trust-alerts" in trouble


def test_a_word_holds_for_one_folder_and_for_what_its_file_said(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two):
        root.mkdir()
        root.joinpath("alerts.yaml").write_text("send: {command: [first]}")
    allow(one)
    looks = {root: watcher(root)[1] for root in (one, two)}
    for alerts in looks.values():
        alerts.look()
    assert looks[one].trouble == "" and "not allowed" in looks[two].trouble
    one.joinpath("alerts.yaml").write_text("send: {command: [first]}\nrules: [{crashed: true}]")
    looks[one].look()
    assert looks[one].trouble == ""  # rules do nothing outside
    one.joinpath("alerts.yaml").write_text("send: {command: [first, --and-more]}")
    looks[one].look()
    assert "not allowed" in looks[one].trouble


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"%s": 7}', '{"%s": {"send": 1}}', "[" * 100_000])
def test_a_word_that_cannot_be_read_is_none(tmp_path, text):
    said = teller(tmp_path)
    trust_file().write_text(text.replace("%s", str(tmp_path)))
    _, alerts, _ = watcher(tmp_path)
    alerts.look()
    with begun(tmp_path) as exp:
        exp.alert("look")
    alerts.look()
    assert not said.exists() and "not allowed" in alerts.trouble
    allow(tmp_path)  # over whatever lies there
    alerts.look()
    assert alerts.trouble == ""


def test_without_rules_and_listeners_nothing_is_asked(tmp_path):
    with begun(tmp_path):
        pass
    tmp_path.joinpath("experiments.db").unlink()
    _, alerts, _ = watcher(tmp_path)
    alerts._live = Live(alerts._store)
    alerts.turn()
    assert not tmp_path.joinpath("experiments.db").exists()
    said = teller(tmp_path)
    alerts.turn()
    assert tmp_path.joinpath("experiments.db").exists()
    tmp_path.joinpath("alerts.yaml").unlink()
    alerts.turn()
    with begun(tmp_path) as exp:
        exp.alert("while nobody looked")
    alerts.turn()
    teller(tmp_path)
    with begun(tmp_path) as exp:
        alerts.turn()
        exp.alert("look")
    alerts.turn()
    assert said.read_text() == "look\n"


def test_what_cannot_be_sent_is_shown(tmp_path):
    send = {"webhook": "http://127.0.0.1:9/", "command": [sys.executable, "-c", "raise SystemExit('no bell')"]}
    tmp_path.joinpath("alerts.yaml").write_text(json.dumps({"send": send}))
    allow(tmp_path)
    app, alerts, _ = watcher(tmp_path)
    alerts.look()
    with begun(tmp_path) as exp:
        exp.alert("look")
    alerts.look()
    got = TestClient(app, base_url="http://127.0.0.1").get("/api/v1/alerts").json()
    hook, command = got["trouble"].split("; ")
    assert hook.startswith("the webhook in alerts.yaml did not take an alert: ")
    assert command == "the command in alerts.yaml ended with 1: no bell"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: 5", "rules: expected a list"),
        ("rule: []", "it has rule; there are rules, send"),
        ("rules: [{name: a}]", "rule 1: expected one of when, .* got none"),
        ("rules: [{when: a, crashed: true}]", "got when, crashed"),
        ("rules: [{when: 'metrics.loss >'}]", "rule 1: when: "),
        ("rules: [{silent_minutes: -1}]", "silent_minutes: expected minutes above 0, got -1"),
        ("rules: [{crashed: maybe}]", "crashed: expected true, got 'maybe'"),
        ("rules: [{crashed: true, level: loud}]", "level: expected info, warning, error, got 'loud'"),
        ("rules: [{crashed: true}, {crashed: true}]", "a name of its own"),
        ("send: {webhook: 'file:///etc/passwd'}", "webhook: expected an address"),
        ("send: {webhook: 'http://host:port/'}", "webhook: expected an address"),
        ("send: {webhook: 'http://[::1/'}", "webhook: expected an address"),
        ('send: {webhook: "http://host/a\\r\\nx: y"}', "webhook: expected an address"),
        ("send: {command: rm}", "command: expected a list"),
        ("rules: [", "alerts.yaml"),
    ],
)
def test_rules_that_are_not_understood_are_told(tmp_path, text, message):
    tmp_path.joinpath("alerts.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_rules(tmp_path)
    app, alerts, _ = watcher(tmp_path)
    alerts.look()
    assert "alerts.yaml" in TestClient(app, base_url="http://127.0.0.1").get("/api/v1/alerts").json()["trouble"]
    tmp_path.joinpath("alerts.yaml").write_text(RULES)
    alerts.look()
    assert alerts.trouble == ""
