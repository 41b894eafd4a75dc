"""Row 26: a file that is written to while it is copied, and a kill in the middle of the copy."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

from faults.child import Child, Ledger
from faults.harness import Run
from faults.workload import Found, begin

_SIZE = 8 << 20


def log_what_changes(ledger: Ledger, grows: bool, rounds: int) -> None:
    """Log a file again and again while a thread writes to it; each time it is all of one byte, or longer."""
    from frameworm.experiment.errors import ArtifactError

    path = Path("changing.bin")
    path.write_bytes(bytes(_SIZE))
    stop = threading.Event()

    def write() -> None:
        number = 0
        with open(path, "r+b", buffering=0) as file:
            while not stop.wait(0.003):
                number += 1
                if grows:
                    file.seek(0, os.SEEK_END)
                    file.write(bytes([0]) * 4096)
                else:
                    file.seek(0)
                    file.write(bytes([number % 256]) * _SIZE)

    writer = threading.Thread(target=write)
    with begin("root") as exp:
        writer.start()
        for number in range(rounds):
            try:
                exp.log_artifact(path, artifact_name=f"{number}.bin")
                ledger.covered += 1
            except ArtifactError:
                ledger.acknowledged += 1
            time.sleep(0.001)
        stop.set()
        writer.join()
        exp.log_artifact(path, artifact_name="still.bin")


def _stored(root: Path) -> list[bytes]:
    """Return the content of each artifact on record, each compared with its digest."""
    from frameworm.experiment import ExperimentManager

    known = ExperimentManager(root).get_experiment("exp_001")
    contents = []
    for artifact in known["artifacts"]:
        content = (Path(known["path"]) / artifact["path"]).read_bytes()
        assert len(content) == artifact["size_bytes"], f"{artifact} holds {len(content)} bytes"
        assert artifact["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}", artifact
        contents.append(content)
    return contents


def changed_while_copied(run: Run) -> None:
    """A file that is rewritten or grows: each artifact is the file at one moment, or an error."""

    def trial(number: int, folder: Path) -> Found:
        grows = bool(number % 2)
        with Child(folder, log_what_changes, grows, run.scale(4, 20)) as child:
            child.wait()
        contents = _stored(folder / "root")
        assert len(contents) == child.ledger.covered + 1, "an artifact that was logged is not there"
        for content in contents:
            assert grows or len(set(content)) == 1, "an artifact is half of one content and half of another"
        return Found(0, 0)

    run.trials(range(run.scale(2, 20)), trial)


def log_large_files(ledger: Ledger) -> None:
    """Log large files until killed."""
    with begin("root") as exp:
        for number in range(1 << 20):
            Path("large.bin").write_bytes(os.urandom(1 << 16) * 256)
            ledger.phase = 1
            exp.log_artifact("large.bin", artifact_name=f"{number % 5}.bin")
            ledger.acknowledged = number + 1


def killed_while_copying(run: Run) -> None:
    """Kill -9 in the copy: what is on record is whole, what was acknowledged is on record."""
    from frameworm.experiment import Experiment

    def trial(number: int, folder: Path) -> Found:
        with Child(folder, log_large_files) as child:
            child.wait_for("phase")
            time.sleep(run.random(number).uniform(0, 0.4))
            child.kill()
        contents = _stored(folder / "root")
        assert child.ledger.acknowledged <= len(contents) <= child.ledger.acknowledged + 1
        (exp_dir,) = (folder / "root").glob("exp_*")
        named = [path for path in (exp_dir / "artifacts").iterdir() if not path.name.startswith(".tmp-")]
        whole = {hashlib.sha256(content).digest() for content in contents}
        strays = [path for path in named if hashlib.sha256(path.read_bytes()).digest() not in whole]
        assert len(strays) <= 1 and all(path.stat().st_size == 1 << 24 for path in strays), strays
        with Experiment.resume("exp_001", folder / "root", capture_console=False, system_metrics_s=0) as exp:
            exp.log_artifact(folder / "output", artifact_name="0.bin")
        assert len(_stored(folder / "root")) == len(contents) + 1
        return Found(0, 0)

    run.trials(range(run.scale(2, 100)), trial)
