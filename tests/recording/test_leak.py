"""An hour of logging leaves memory and descriptors as they were: its seconds are simulated, everything else is real."""

import json
import subprocess
import sys
from pathlib import Path

from frameworm.experiment.query.read import ExperimentReader

HOUR = """
import gc, json, os, sys, threading
import psutil
from frameworm.experiment import Experiment
from frameworm.experiment.recording import recorder

recorder.ROTATE_BYTES = 4 << 20
recorder.SYNC_INTERVAL_S = 1e9  # the background thread sleeps: its seconds are gone through below
exp = Experiment("hour", config={"lr": 0.1}, root_dir=sys.argv[1], system_metrics_s=15).start()
exp._recorder.event("note", text="begin")
while not exp.info.environment.get("packages"):
    pass
process, looks = psutil.Process(), []
every = [(1.0 if interval > 3600 else interval, call) for interval, call in exp._recorder._ticks]
for second in range(3600):
    for i in range(40):
        step = second * 40 + i
        exp.log_metric("loss", 1 / (step + 1), step)
        exp.log_metrics({"a": step, "b": -step, "c": 0.5}, step, metric_type="val")
    print("second", second)
    for interval, call in every:
        if second % max(1, round(interval)) == 0:
            call()
    if second % 60 == 0:
        exp.add_note(f"minute {second // 60}")
    if second % 300 == 299:
        for sealer in exp._recorder._sealers:
            sealer.wait()
        gc.collect()
        looks.append((process.memory_info().rss, process.num_fds(), threading.active_count()))
exp.end()
print(json.dumps(looks), file=sys.stderr)
"""


def test_an_hour_of_logging_leaks_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOUR, str(tmp_path)], capture_output=True, text=True, timeout=300, check=True
    )
    looks = json.loads(done.stderr.splitlines()[-1])
    memory, descriptors, threads = zip(*looks, strict=True)
    assert len(looks) == 12
    assert len(set(descriptors)) == 1
    assert len(set(threads)) == 1
    # After a quarter of an hour everything has been done once. What goes on growing is a note a minute.
    assert memory[-1] - memory[2] < 2 << 20
    (folder,) = tmp_path.glob("exp_*")
    reader = ExperimentReader(folder)
    assert reader.read("loss").steps.tolist() == list(range(3600 * 40))
    assert len(list((folder / "logs").glob("*.seg"))) >= 3
