"""A FIFO, a link or a folder in place of any file of an experiment or root: refused by its kind, and nothing waits."""

import os
import shutil
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import ExperimentError, FramewormWarning

SECONDS = 30
QUIET = {"capture_console": False, "system_metrics_s": 0.0}


@contextmanager
def alarm() -> Iterator[None]:
    """Raise in whatever waits."""

    def waits(number: int, frame: object) -> None:
        raise TimeoutError(f"still waiting after {SECONDS} s")

    earlier = signal.signal(signal.SIGALRM, waits)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        folder = os.open(path.parent, os.O_RDONLY)  # a path below /proc is short enough for a socket
        one.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


KINDS: dict[str, Callable[[Path], object]] = {
    "FIFO": os.mkfifo,
    "loop": lambda path: path.symlink_to(path.name),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": _socket,
    "folder": os.mkdir,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with an experiment that has a file of every sort, and a plain one beside it."""
    folder = tmp_path_factory.mktemp("whole")
    root = folder / "root"
    for name in ("harmed", "other"):
        with Experiment(name, {"lr": 1}, root_dir=root, system_metrics_s=0.0) as exp:
            exp.log_metric("loss", 1.0)
            exp.log_image("image", np.zeros((2, 2), np.uint8), step=0)
            (folder / "model").write_text("model")
            exp.log_artifact(folder / "model")
            print("console")
    (harmed,) = root.glob("exp_001*")
    (harmed / "logs" / "traceback.txt").write_text("Traceback")
    ExperimentManager(root).add_note("exp_001", "an editor's journal")
    (root / "alerts.yaml").write_text("rules: []\n")
    return root


def places(root: Path) -> list[str]:
    found = [os.path.relpath(Path(parent, name), root) for parent, _, names in os.walk(root) for name in names]
    return [*sorted(place for place in found if not place.startswith("exp_002")), "experiments.db-journal"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_costs_its_experiment_at_most(whole: Path, tmp_path: Path, kind: str) -> None:
    assert len(places(whole)) >= 12
    for number, place in enumerate(places(whole)):
        root = tmp_path / str(number)
        shutil.copytree(whole, root, copy_function=os.link)
        (root / place).unlink(missing_ok=True)
        KINDS[kind](root / place)
        manager = ExperimentManager(root)
        with alarm(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FramewormWarning)  # it is told
            assert [row["experiment_id"] for row in manager.list_rows()] == ["exp_002", "exp_001"], place
            assert manager.reader("exp_002").read("loss").values.tolist() == [1.0], place
            try:
                reader = manager.reader("exp_001")
                for key in reader.keys():
                    reader.read(*key)
                reader.media()
            except ExperimentError as error:
                assert "exp_001" in str(error), place
            report = manager.doctor()
            if "config.yaml" in place or "metadata.json" in place or "/logs/m" in place or "/media/" in place:
                assert any(finding.path and place in finding.path for finding in report.findings), place
            assert manager.rebuild() == 2, place
        shutil.rmtree(root)


def test_a_bundle_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "root").mkdir()
    manager = ExperimentManager(tmp_path / "root")
    for path in (tmp_path / "fifo", Path("/dev/zero"), tmp_path / "loop", tmp_path):
        with alarm(), pytest.raises(ExperimentError, match=str(path)):
            manager.import_bundle(path)
    assert not list((tmp_path / "root").glob("exp_*"))


def test_going_on_with_an_experiment_waits_for_nobody(whole: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(whole, root)
    (folder,) = root.glob("exp_001*")
    for name in ("console.log", "traceback.txt"):
        (folder / "logs" / name).unlink()
        os.mkfifo(folder / "logs" / name)
    with alarm(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FramewormWarning)
        exp = Experiment.resume("exp_001", root, system_metrics_s=0.0)
        with pytest.raises(ZeroDivisionError), exp:
            exp.log_metric("loss", 2.0)
            raise ZeroDivisionError
    assert ExperimentManager(root).reader("exp_001").read("loss").values.tolist() == [1.0, 2.0]
