"""Run in a peer's own interpreter: ``record.py <peer> <folder> <runs> <long> <metrics> <steps>``.

Records so many runs of 50 params and so many metrics; the first ``long`` of them have so many steps, the others one.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drivers import Log, LogRow, peer_class


def main(name: str, folder: str, runs: int, long: int, metrics: int, steps: int) -> None:
    driver = peer_class(name)(Path(folder))
    choose = random.Random(0)
    for number in range(runs):
        count = steps if number < long else 1

        def body(log: Log, log_row: LogRow, count: int = count) -> None:
            for step in range(count):
                log_row({f"m{metric}": choose.random() / (step + 1) for metric in range(metrics)}, step)

        driver.run(f"run {number}", {f"p{place}": choose.random() for place in range(50)}, body)
    driver.settle()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *(int(one) for one in sys.argv[3:7]))
