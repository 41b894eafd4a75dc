"""Made the golden journal of format version 1. Kept to say how; the file is never made again."""

import json
import struct
from pathlib import Path

import numpy as np

from frameworm.experiment.recording.journal_reader import read_journal
from frameworm.experiment.recording.recorder import Recorder

HERE = Path(__file__).parent


def main() -> None:
    writer = Recorder(HERE, {"host": "golden", "pid": 4711, "uid": "0" * 32})
    writer.event("create", experiment_id="exp_001", uid="0" * 32, name="golden é", project="default", description="")
    writer.event("config", config={"lr": 0.001, "nan": float("nan")}, lossy=[], merge=False)
    nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
    for step, value in enumerate([0.1, nan, float("inf"), -0.0, 5e-324]):
        writer.log_metric("loss", value, step, step // 2, "train")
        writer.log_metrics({"val/a b": value, "日本": step}, -step, None, "val")
    writer.log_metric("loss", 1.5, 2**63 - 2, None, "train")
    writer._journal.check()
    writer.event("note", text="after the checksum")
    writer.log_metrics({"loss": 2.5}, -(2**63), 2**31 - 1, "train")
    writer.close()
    (path,) = HERE.glob("journal-*")
    contents = read_journal(path)
    series = []
    for position, key in enumerate(contents.keys):
        points = contents.read(position)
        series.append(
            {
                "name": key.name,
                "context": key.context,
                "steps": points.steps.tolist(),
                "epochs": points.epochs.tolist(),
                "times_ms": points.times_ms.tolist(),
                "bits": [f"{b:016x}" for b in points.values.view(np.uint64).tolist()],
            }
        )
    expected = {"events": [e["type"] for e in contents.events], "series": series}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
