"""Who writes a journal, and whether that process still lives.

Two mistakes are possible. Taking a dead writer for a live one leaves an experiment ``running`` for ever;
taking a live one for dead shows a false ``crashed``. Where the process table can be asked, it alone decides,
so a writer that is stopped, swapped out or stuck in a write for an hour is never called dead. Where it cannot,
on another host or in another container, only the heartbeat is left.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def identity() -> dict[str, Any]:
    """Return what identifies the calling process among all processes of all machines, before and after.

    Returns:
        ``host`` (node name), ``boot_id`` (changes with every boot of the kernel), ``pid``, ``process_start``
        (clock ticks after boot on Linux, Unix seconds elsewhere) and ``pid_namespace`` (containers number
        their processes anew). None stands for what the system does not tell. JSON-able; takes 35 µs.
    """
    pid = os.getpid()
    state = _process(pid)
    return {
        "host": os.uname().nodename,
        "boot_id": _boot_id(),
        "pid": pid,
        "process_start": state[1] if state else None,
        "pid_namespace": _pid_namespace(),
    }


def is_alive(identity: Mapping[str, Any], heartbeat_age_s: float, timeout_s: float = 60.0) -> bool:
    """Say whether the process with this ``identity()`` still lives.

    - Same host, boot and pid namespace: it lives if its pid is there with the same start time, whatever its
      heartbeat; a stopped process lives, a zombie and a later process with the same pid do not.
    - Same host name, another boot: the machine was started anew, which no process survives, unless it is
      a namesake (``localhost``). A last heartbeat from before this boot says dead at once; a later one can
      only come from a namesake, and counts as from elsewhere.
    - Elsewhere (another host or pid namespace, or a process hidden from us): it lives if its heartbeat is not
      older than ``timeout_s``. A heartbeat from the future (clocks differ) counts as fresh.

    Args:
        identity: as returned by ``identity()`` in the writer, also after a JSON round trip.
        heartbeat_age_s: seconds since the writer was last known to be alive.
        timeout_s: how long a writer elsewhere may be silent.
    """
    beating = heartbeat_age_s <= timeout_s
    if identity.get("host") != os.uname().nodename:
        return beating
    if identity.get("boot_id") != _boot_id():
        return beating and heartbeat_age_s <= _uptime_s()
    pid, start = identity.get("pid"), identity.get("process_start")
    if identity.get("pid_namespace") != _pid_namespace() or start is None:
        return beating
    if not isinstance(pid, int) or not 0 < pid < 2**31:
        return beating
    try:
        state = _process(pid)
    except PermissionError:
        return beating
    # Ticks are integers; elsewhere the time may be rounded differently by different readers.
    return state is not None and state[0] not in "ZXx" and abs(state[1] - start) < 1


def file_clock_ms(folder: Path) -> int | None:
    """Return the time, Unix ms, by the clock that stamps the files in ``folder``; None where nothing may be written.

    A heartbeat from elsewhere is a journal's time of modification, on a network file system told by the server's
    clock. Ours may be an hour off or jump.
    """
    clock = folder / "clock"
    try:
        clock.touch()
        return clock.stat().st_mtime_ns // 1_000_000
    except OSError:
        return None


def _process(pid: int) -> tuple[str, float] | None:
    """Return state letter and start time of a process, None if there is none; raise if it is hidden."""
    if not os.path.exists("/proc/self/stat"):
        return _process_elsewhere(pid)
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        try:
            os.kill(pid, 0)  # /proc mounted with hidepid=2 hides the processes of others
        except ProcessLookupError:
            return None
        raise PermissionError(f"process {pid} is hidden in /proc") from None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold spaces and parentheses
    return fields[0].decode(), int(fields[19])  # fields 3 and 22 of proc(5)


def _process_elsewhere(pid: int) -> tuple[str, float] | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return ("Z" if process.status() == psutil.STATUS_ZOMBIE else "S"), process.create_time()
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied as error:
        raise PermissionError(str(error)) from error


def _boot_id() -> str | None:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return None


def _pid_namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _uptime_s() -> float:
    """Seconds since boot, time asleep included where the system counts it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
