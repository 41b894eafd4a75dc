"""What a call waits when the disk stalls.

A call is one write to the kernel's memory; the disk sees it later, from a background thread. So a disk that stalls
is felt only where the kernel or the file system makes a write itself wait. Each way of stalling is one size:
1 ``fsync`` takes 2 s; 2 every write takes 20 ms, as on a slow mount; 3 the file system is frozen for 2 s, as for a
snapshot; 4 the disk takes 64 KiB a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from frameworm.experiment import Experiment
from frameworm.experiment.query.read import ExperimentReader

if TYPE_CHECKING:
    from drivers import Peer

SECONDS = 5.0


def measure(driver: Peer, way: int) -> dict[str, float]:
    """Log for some seconds while the disk stalls in one way; then count what can be read.

    Raises:
        OSError: the machine has not what it takes.
    """
    return (fsync, write, freeze, throttle)[way - 1](driver.folder)


def fsync(folder: Path) -> dict[str, float]:
    """Let ``fsync`` take two seconds."""
    return _traced(folder, "fsync,fdatasync", 2_000_000)


def write(folder: Path) -> dict[str, float]:
    """Let every write take 20 ms."""
    return _traced(folder, "write", 20_000)


def _traced(folder: Path, calls: str, delay_us: int) -> dict[str, float]:
    inject = f"inject={calls}:delay_enter={delay_us}"
    command = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject]
    return _child(folder, command)


def freeze(folder: Path) -> dict[str, float]:
    """Freeze an ext4 of its own for two seconds, one second after the start."""
    with _mounted(folder) as disk:

        def stall() -> None:
            time.sleep(2)
            subprocess.run(["fsfreeze", "-f", str(disk)], check=True)
            time.sleep(2)
            subprocess.run(["fsfreeze", "-u", str(disk)], check=True)

        thread = threading.Thread(target=stall)
        thread.start()
        try:
            return _child(disk, [])
        finally:
            thread.join()


def throttle(folder: Path) -> dict[str, float]:
    """Let the block device of the folder take 64 KiB a second from the process."""
    group = Path("/sys/fs/cgroup/blkio") / f"bench-{os.getpid()}"
    device = os.stat(folder).st_dev
    group.mkdir()
    try:
        (group / "blkio.throttle.write_bps_device").write_text(f"{os.major(device)}:{os.minor(device)} 65536\n")
        return _child(folder, ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"])
    finally:
        group.rmdir()


@contextmanager
def _mounted(folder: Path) -> Iterator[Path]:
    """Mount a new ext4 of 256 MiB from a file."""
    image, disk = folder / "image", folder / "disk"
    with image.open("wb") as file:
        file.truncate(256 * 2**20)
    disk.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _child(folder: Path, before: list[str]) -> dict[str, float]:
    """Log in a process of its own, started by another command, and read what it left."""
    import json

    result = folder / "stalled.json"
    command = [*before, sys.executable, __file__, str(folder / "root"), str(result)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["no word of why"])[-1])
    figures: dict[str, float] = json.loads(result.read_text())
    exp_dir = next((folder / "root").glob("exp_*"))
    figures["lost"] = figures["points"] - len(ExperimentReader(exp_dir).read("loss"))
    return figures


def main(root: Path, result: Path) -> None:
    """Log, one point a millisecond, for some seconds."""
    import json

    taken = array("q")
    with Experiment("stalled", root_dir=root, capture_console=False, system_metrics_s=0) as exp:
        clock = time.perf_counter_ns
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            start = clock()
            exp.log_metric("loss", 0.5)
            taken.append(clock() - start)
            time.sleep(0.001)
        begin = time.perf_counter()
    ended_s = time.perf_counter() - begin
    from measuring import latencies

    result.write_text(json.dumps({**latencies(taken), "ended_s": ended_s, "points": len(taken)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
