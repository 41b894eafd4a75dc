"""Listeners of what changes, in this process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from frameworm.experiment.query.browse import States
from frameworm.experiment.server import live
from frameworm.experiment.server.live import Live
from frameworm.experiment.server.store import Store


def test_states_tell_what_came_changed_and_went() -> None:
    before = States("1", {1: "a", 2: "b", 3: "c"})
    assert States("2", {2: "b", 3: "x", 1000: "d"}).since(before) == (["exp_1000", "exp_003"], ["exp_001"])


def test_every_listener_is_greeted_and_one_thread_looks_while_anybody_listens(own_root: Path) -> None:
    hub = Live(Store(own_root))

    def watchers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "frameworm-watch"]

    async def follow() -> None:
        assert watchers() == []
        with hub.listen() as one:
            first = await one.next(30)
            with hub.listen() as two:
                assert await two.next(30) == first
                assert len(watchers()) == 1
                hub.publish("alert", {"title": "x"})
                assert await one.next(30) == await two.next(30) == ("alert", {"title": "x"})
                with pytest.raises(TimeoutError):
                    await two.next(0.01)
        (thread,) = watchers()
        await asyncio.to_thread(thread.join, 30)
        assert watchers() == []
        with hub.listen() as three:
            assert (await three.next(30)) == first
            hub.close()
            assert await three.next(30) is None
        with hub.listen() as four:
            assert await four.next(30) is None

    asyncio.run(follow())


def test_a_listener_that_does_not_listen_is_told_to_look_again(own_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_WAITING", 3)
    hub = Live(Store(own_root))

    async def follow() -> list[live.Event | None]:
        with hub.listen() as listener:
            assert (await listener.next(30)) is not None
            for number in range(5):
                hub.publish("changed", {"version": str(number), "ids": ["exp_001"], "removed": [], "more": False})
            return [await listener.next(30) for _ in range(3)]

    more = ("changed", {"version": "3", "ids": [], "removed": [], "more": True})
    got = asyncio.run(follow())
    assert got[0] == more and [event[1]["version"] for event in got[1:] if event] == ["3", "4"]
