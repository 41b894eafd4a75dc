"""One experiment with a very long series, its segments written by the engine's own calls."""

from __future__ import annotations

import numpy as np

from drivers import Peer
from frameworm.experiment import Experiment
from frameworm.experiment.model import NO_EPOCH, SeriesKey
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.storage.segment import write_segment

PART = 2**21
"""Points of a journal of 64 MiB, after which the recorder starts another."""


def fill(driver: Peer, n: int) -> dict[str, float]:
    """Record an experiment, then lay so many points beside its own segment."""
    with Experiment("long", root_dir=driver.folder, capture_console=False, system_metrics_s=0) as exp:
        pass
    first = next(name for path in exp.log_dir.glob("*.seg") if (name := WriterName.parse(path.name)))
    noise = np.random.default_rng(0)
    for number, start in enumerate(range(0, n, PART), first.n + 1):
        count = min(PART, n - start)
        steps = np.arange(start, start + count)
        values = (2 * np.exp(-3 * steps / n) + 0.1) * np.exp(noise.normal(0, 0.05, count))
        name = first._replace(n=number)
        write_segment(
            exp.log_dir / name.segment,
            keys=[SeriesKey("loss", "train")],
            index=np.zeros(count, np.uint32),
            steps=steps,
            epochs=np.full(count, NO_EPOCH, np.int32),
            times_ms=1_760_000_000_000 + steps * 15,
            values=values.astype(np.float32).astype(np.float64),
            events=b'{"t":1760000000000,"type":"open","host":"host","pid":1}\n',
            sources=[name.journal],
        )
    return {}
