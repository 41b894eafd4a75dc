"""What ``log_metric`` takes for longer than a journal lasts: its full journals are sealed beside it."""

from __future__ import annotations

import time
from array import array

from drivers import Peer
from frameworm.experiment import Experiment

PER_JOURNAL = 2**21
"""Points after which a journal is full."""


def measure(driver: Peer, n: int) -> dict[str, float]:
    """Log n points as fast as can be, and look at those after the first journal was full."""
    from measuring import latencies, warm_up

    warm_up(driver)
    taken = array("q", bytes(8 * n))
    with Experiment("sealing", root_dir=driver.folder) as exp:
        clock, log = time.perf_counter_ns, exp.log_metric
        for step in range(n):
            start = clock()
            log("loss", 0.5, step)
            taken[step] = clock() - start
        begin = time.perf_counter()
    ended_s = time.perf_counter() - begin
    return latencies(taken[PER_JOURNAL:] or taken) | {"ended_s": ended_s}
