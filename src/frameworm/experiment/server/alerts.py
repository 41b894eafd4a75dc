"""Alerts: those that experiments raise and those of rules; told to open pages, and sent on where that is set.

One thread looks every two seconds, as long as there is an ``alerts.yaml`` or anybody has a page open. What a rule finds
is written into the experiment's record, so that it is told once, whoever serves the folder next. On a read-only root
it is only known while this runs.

Alerts are sent on only as the user allowed it (``trust``): the file may be somebody else's, and a command of it runs as
the user. A server that is to change nothing sends nothing, and none sends what was raised before it began.

Of several servers of a root one sends an alert on: the first to make its file in ``.frameworm/sent``. It does so before
it sends, so an alert goes out at most once; if the server dies in between, it is in the record and on the page alone.
Where that file cannot be made, each server sends: twice is better than never. A server that starts removes the files
of alerts that are too old to be looked at. While one applies the rules it has a lock on ``.frameworm``, so that the
next finds what it wrote.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from frameworm.experiment.errors import ConfigError, ExperimentError, StoreNotFoundError
from frameworm.experiment.server.delivery import Json
from frameworm.experiment.server.live import Live
from frameworm.experiment.server.parameters import Natural
from frameworm.experiment.server.store import Opened, ReadOnlyError, Store
from frameworm.experiment.server.trust import Word, word_on
from frameworm.experiment.server.webhook import post
from frameworm.experiment.storage.folder import HIDDEN, RULES_NAME, id_of

if TYPE_CHECKING:
    from frameworm.experiment.query.rules import Found, Rules
    from frameworm.experiment.storage.catalog import Catalog

LOOK_S = 2.0
SENT = "sent"
"""The folder in ``.frameworm`` that has an empty file for each alert that was sent, or is about to be."""
_TIMEOUT_S = 10.0
_LOOKED_BACK_MS = 3_600_000
"""Clocks of machines differ: an alert of another machine may come with a time in the past."""
_KEPT_S = 48 * _LOOKED_BACK_MS / 1000
"""How long it is remembered that an alert was sent."""

_log = logging.getLogger(__name__)

router = APIRouter(tags=["alerts"])


class Alerts:
    """Looks for alerts in a store. Any thread may read ``unwritten`` and ``trouble``; one thread looks.

    Attributes:
        unwritten: what rules found on a read-only root, newest last.
        trouble: what is wrong with ``alerts.yaml`` or with sending, for people; empty if nothing.
    """

    def __init__(self, store: Store, live: Live) -> None:
        self.unwritten: list[dict[str, Any]] = []
        self.trouble = ""
        self._store, self._live = store, live
        self._stop = threading.Event()
        self._since_ms = time.time_ns() // 1_000_000
        self._idle_ms = self._since_ms
        self._seen: set[_Key] | None = None
        self._told: set[tuple[int, str]] = set()
        self._unsent = ""  # why the latest alert could not be sent on

    def start(self) -> None:
        """Begin to look, on a thread of its own."""
        threading.Thread(target=self._run, name="frameworm-alerts", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.turn()
            except StoreNotFoundError:
                pass  # it may come yet
            except Exception:  # whatever is wrong at this moment, the next look may go well
                _log.exception("cannot look for alerts in %s", self._store.root)
            self._stop.wait(LOOK_S)

    def turn(self) -> None:
        """Look once if anybody wants to know; else ask nothing of the root but whether there are rules by now."""
        if self._live.listening or (self._store.root / RULES_NAME).exists():
            self.look()
        else:
            self._seen, self._idle_ms = None, time.time_ns() // 1_000_000
            self.trouble = self._unsent = ""

    def look(self) -> None:
        """Look once: apply the rules, tell and send what is new."""
        from frameworm.experiment.query.rules import Rules, read_rules

        trouble = ""
        try:
            rules = read_rules(self._store.root)
        except ConfigError as error:
            rules, trouble = Rules(), str(error)
        if self._seen is None:
            self._forget_sent()
            self._seen = {_key(alert) for alert in self._recent() if alert["time_ms"] < self._idle_ms}
        new = self._apply(rules)
        for alert in self._recent():
            if _key(alert) not in self._seen:
                self._seen.add(_key(alert))
                new.append(alert)
        for alert in new:
            self._live.publish("alert", alert)
        trouble = trouble or self._send_on(rules, new)
        if trouble and trouble != self.trouble:
            _log.warning("%s", trouble)
        self.trouble = trouble

    def _recent(self) -> list[dict[str, Any]]:
        return listed(self._store, since_ms=self._since_ms - _LOOKED_BACK_MS)

    def _apply(self, rules: Rules) -> list[dict[str, Any]]:
        """Write down what has come true; return what cannot be written."""
        if not rules.rules:
            return []
        from frameworm.experiment.query.rules import came_true

        now_ms = time.time_ns() // 1_000_000
        with self._alone():
            found = self._store.ask(lambda catalog: came_true(catalog, rules.rules, self._since_ms, now_ms))
            unwritten = self._write_down(found, now_ms)
        self.unwritten += unwritten
        return unwritten

    def _write_down(self, found: Iterable[Found], now_ms: int) -> list[dict[str, Any]]:
        from frameworm.experiment.keeping.edit import edit

        unwritten = []
        for one in found:
            if (one.number, one.rule.name) in self._told:
                continue
            self._told.add((one.number, one.rule.name))
            about: dict[str, Any] = {
                "title": one.rule.name,
                "text": one.text,
                "level": one.rule.level,
                "rule": one.rule.name,
            }
            try:
                self._store.check_writable()
                edit(self._store.root / one.folder, {"type": "alert", **about})
            except ExperimentError:
                about |= {"experiment_id": id_of(one.number), "name": one.folder, "time_ms": now_ms, "position": -1}
                unwritten.append(about)
        return unwritten

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other servers of the root from applying rules meanwhile, where the file system can."""
        with contextlib.ExitStack() as held:
            with contextlib.suppress(OSError):
                folder = os.open(self._store.root / HIDDEN, os.O_RDONLY)
                held.callback(os.close, folder)
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield

    def _forget_sent(self) -> None:
        """Remove the files of alerts that no server looks at any more."""
        before_s = time.time() - _KEPT_S
        with contextlib.suppress(OSError), os.scandir(self._store.root / HIDDEN / SENT) as files:
            for file in files:
                if file.stat().st_mtime < before_s:
                    os.unlink(file)

    def _claimed(self, alert: dict[str, Any]) -> bool:
        """Return whether this server is the one to send an alert."""
        digest = hashlib.sha256(json.dumps(_key(alert)).encode()).hexdigest()
        path = self._store.root / HIDDEN / SENT / f"{alert['experiment_id']}-{digest[:32]}"
        try:
            self._store.check_writable()
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        except (ReadOnlyError, OSError):
            return not path.exists()
        return True

    def _send_on(self, rules: Rules, new: Iterable[dict[str, Any]]) -> str:
        """Send new alerts on, as far as the user allowed it; return what is wrong with that."""
        if not (rules.webhook or rules.command) or self._store.read_only:
            return ""
        word = word_on(self._store.root, rules)
        if word is None or not word.allowed:
            return (
                "alerts are not sent on as alerts.yaml says: you have not allowed it; see frameworm ui --trust-alerts"
            )
        for alert in new:
            if alert["time_ms"] >= self._since_ms and not self._stop.is_set() and self._claimed(alert):
                self._unsent = _send(rules, alert, word)
        return self._unsent


def _send(rules: Rules, alert: dict[str, Any], word: Word) -> str:
    """Send an alert on; return what went wrong."""
    said = f"{alert['experiment_id']} {alert['name']}: {alert['title']}"
    if alert["text"]:
        said += f"\n{alert['text']}"
    troubles = []
    if rules.webhook:
        body = json.dumps({"text": said, "alert": alert}).encode()
        try:
            post(rules.webhook, body, inside=word.inside, timeout_s=_TIMEOUT_S)
        except (OSError, ValueError) as error:
            troubles.append(f"the webhook in alerts.yaml did not take an alert: {error}")
    if rules.command:
        told = {f"FRAMEWORM_ALERT_{name.upper()}": str(value) for name, value in alert.items()}
        try:
            done = subprocess.run(
                rules.command,
                env={**os.environ, **told},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            if done.returncode:
                last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
                troubles.append(f"the command in alerts.yaml ended with {done.returncode}: {''.join(last):.200}")
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            troubles.append(f"the command in alerts.yaml cannot be run: {error}")
    return "; ".join(troubles)


def listed(store: Store, *, since_ms: int = 0, level: str | None = None, limit: int = 1_000) -> list[dict[str, Any]]:
    """Return the alerts on record since then, newest first."""
    store.settle()
    import sqlalchemy as sa

    from frameworm.experiment.storage.schema import alerts, experiments

    a, e = alerts.c, experiments.c
    names = ("experiment_id", "name", "position", "time_ms", "level", "title", "text", "rule")
    statement = (
        sa.select(e.experiment_id, e.name, a.position, a.time_ms, a.level, a.title, a.text, a.rule)
        .join_from(alerts, experiments, a.experiment == e.number)
        .where(a.time_ms >= since_ms, a.level == level if level else sa.true())
        .order_by(a.time_ms.desc(), a.experiment.desc(), a.position.desc())
        .limit(limit)
    )

    def ask(catalog: Catalog) -> list[dict[str, Any]]:
        return [dict(zip(names, row, strict=True)) for row in catalog.rows(statement)]

    return store.ask(ask)


_Key = tuple[str | int | None, ...]


def _key(alert: dict[str, Any]) -> _Key:
    """Return what makes it one alert, whoever serves the root; a rule is told once of an experiment."""
    if alert["rule"]:
        return alert["experiment_id"], alert["rule"]
    return tuple(alert[name] for name in ("experiment_id", "time_ms", "level", "title", "text"))


@router.get("/alerts")
def alerts(
    request: Request,
    store: Opened,
    since: Natural = 0,
    level: Literal["info", "warning", "error"] | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> Json:
    """Return alerts since a time, in Unix ms, newest first: raised by `alert()`, or found by a rule of `alerts.yaml`.

    `{alerts: [{experiment_id, name, position, time_ms, level, title, text, rule}], trouble}`, where `trouble` says what
    is wrong with `alerts.yaml` or with sending, and is empty if nothing is.
    """
    watcher: Alerts = request.app.state.alerts
    kept = [one for one in watcher.unwritten if one["time_ms"] >= since and level in (None, one["level"])]
    with contextlib.suppress(StoreNotFoundError):  # a root that may come yet has no alerts
        kept += listed(store, since_ms=since, level=level, limit=limit)
    kept.sort(key=lambda alert: -alert["time_ms"])
    return Json({"alerts": kept[:limit], "trouble": watcher.trouble})
