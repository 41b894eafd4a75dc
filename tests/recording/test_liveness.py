from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment.recording.liveness import identity, is_alive

WRITER = """
import json, sys, time
from frameworm.experiment.recording.liveness import identity
print(json.dumps(identity()), flush=True)
time.sleep(60)
"""
LONG_AGO = 1e6


class Writer:
    """A real process that has told its identity and sleeps."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.identity: dict[str, Any] = json.loads(self.process.stdout.readline())

    def state(self) -> str:
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def wait_for(self, state: str) -> None:
        deadline = time.monotonic() + 5
        while self.state() != state:
            assert time.monotonic() < deadline, self.state()
            time.sleep(0.01)


@pytest.fixture
def writer() -> Iterator[Writer]:
    writer = Writer()
    yield writer
    writer.process.kill()
    writer.process.wait()
    assert writer.process.stdout is not None
    writer.process.stdout.close()


def test_identity_is_json_and_names_this_process() -> None:
    mine = identity()
    assert json.loads(json.dumps(mine)) == mine
    assert mine["pid"] == os.getpid()
    assert set(mine) == {"host", "boot_id", "pid", "process_start", "pid_namespace"}
    assert is_alive(mine, LONG_AGO)


def test_a_name_with_parentheses_and_spaces_does_not_shift_the_fields(tmp_path: Path) -> None:
    odd = tmp_path / "a) S 1 (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(odd), "60"])
    try:
        prefix = f"{process.pid} (a) S 1 (b) "
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        assert stat.startswith(prefix)
        ticks = int(stat.removeprefix(prefix).split()[19])
        it = identity() | {"pid": process.pid, "process_start": ticks}
        assert is_alive(it, LONG_AGO)
        assert not is_alive(it | {"process_start": ticks + 1}, 0.0)
    finally:
        process.kill()
        process.wait()


def test_a_running_writer_is_alive_whatever_its_heartbeat(writer: Writer) -> None:
    assert is_alive(writer.identity, LONG_AGO)


def test_a_stopped_writer_is_alive(writer: Writer) -> None:
    writer.process.send_signal(signal.SIGSTOP)
    writer.wait_for("T")
    assert is_alive(writer.identity, LONG_AGO)


def test_a_killed_writer_is_dead_as_zombie_and_after(writer: Writer) -> None:
    writer.process.kill()
    writer.wait_for("Z")
    assert not is_alive(writer.identity, 0.0)
    writer.process.wait()
    assert not is_alive(writer.identity, 0.0)


def test_another_process_with_the_same_pid_is_not_the_writer(writer: Writer) -> None:
    earlier = writer.identity | {"process_start": writer.identity["process_start"] - 1}
    assert not is_alive(earlier, 0.0)


def test_a_boot_since_the_last_heartbeat_means_dead(writer: Writer) -> None:
    before = writer.identity | {"boot_id": "00000000-0000-0000-0000-000000000000"}
    uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert not is_alive(before, uptime_s + 1, timeout_s=uptime_s + 1000)


def test_a_namesake_with_a_fresh_heartbeat_is_not_called_dead(writer: Writer) -> None:
    namesake = writer.identity | {"boot_id": "00000000-0000-0000-0000-000000000000"}
    assert is_alive(namesake, 0.0)
    assert not is_alive(namesake, 61.0)


@pytest.mark.parametrize(
    "elsewhere", [{"host": "another"}, {"pid_namespace": "pid:[1]"}, {"pid": None}, {"pid": 2**70}]
)
@pytest.mark.parametrize(("age_s", "alive"), [(-3600.0, True), (0.0, True), (60.0, True), (60.1, False)])
def test_elsewhere_the_heartbeat_decides(elsewhere: dict[str, Any], age_s: float, alive: bool) -> None:
    assert is_alive(identity() | elsewhere, age_s) is alive


def test_the_time_out_is_the_callers() -> None:
    there = identity() | {"host": "another"}
    assert is_alive(there, 100.0, timeout_s=120.0)
    assert not is_alive(there, 100.0, timeout_s=90.0)
