"""An experiment given to another process, or copied with what holds it: it arrives, attached to the same one."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import StateError
from frameworm.experiment.query.read import ExperimentReader


def make(root: Path) -> Experiment:
    return Experiment("test", root_dir=root, system_metrics_s=0)


class Callback:
    """What holds an experiment, as callbacks, models and data sets do."""

    def __init__(self, exp: Experiment) -> None:
        self.exp = exp


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda exp: pickle.loads(pickle.dumps(exp))])
def test_in_the_same_process_it_is_the_same(tmp_path, copied):
    with make(tmp_path) as exp:
        assert copied(exp) is exp
        held = copied(Callback(exp))
        held.exp.log_metric("a", 1.0)
        exp.log_metric("a", 2.0)
    assert ExperimentReader(exp.exp_dir).read("a").steps.tolist() == [0, 1]
    assert len(list(exp.log_dir.glob("*.seg"))) == 1


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_pending_one_is_the_same(tmp_path, copied):
    exp = make(tmp_path)
    with copied(exp) as same:
        assert same is exp and exp.status == "running"


PROGRAM = """
import concurrent.futures, copy, multiprocessing, os, pickle, sys, threading
from frameworm.experiment import Experiment

class Holder:
    def __init__(self, exp): self.exp = exp

def work(exp, n=0):
    exp.log_metric("a", n, step=n)
    exp.log_text("said", str(n), step=n)
    return exp.experiment_id, exp.uid, exp.status, os.getpid()

def held(holder): return work(holder.exp, 1)

def block(exp, n):
    with exp:
        return work(exp, n)

def fails(exp):
    with exp:
        work(exp)
        raise ValueError("in the worker")

def looks(exp): return exp.name

def threads(exp):
    pool = [threading.Thread(target=work, args=(exp, n)) for n in range(8)]
    [t.start() for t in pool]; [t.join() for t in pool]

def main():
    exp = Experiment("test", root_dir=os.environ["ROOT"], system_metrics_s=0, capture_console=False).start()
    me = exp.experiment_id, exp.uid, "running"
{body}
    assert exp.status == "running"
    exp.end()

if __name__ == "__main__":
    main()
"""

WAYS = {
    "spawn": (
        "context = multiprocessing.get_context('spawn')\n"
        "p = context.Process(target=work, args=(exp,)); p.start(); p.join(); assert p.exitcode == 0",
        1,
    ),
    "spawn, held by something": (
        "context = multiprocessing.get_context('spawn')\n"
        "p = context.Process(target=held, args=(Holder(exp),)); p.start(); p.join(); assert p.exitcode == 0",
        1,
    ),
    "spawn, a block that fails": (
        "context = multiprocessing.get_context('spawn')\n"
        "p = context.Process(target=fails, args=(exp,)); p.start(); p.join(); assert p.exitcode == 1",
        1,
    ),
    "forkserver": (
        "context = multiprocessing.get_context('forkserver')\n"
        "p = context.Process(target=work, args=(exp,)); p.start(); p.join(); assert p.exitcode == 0",
        1,
    ),
    "a pool of forked ones": (
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "  got = pool.starmap(work, [(exp, n) for n in range(20)])\n"
        "assert {g[:3] for g in got} == {me}",
        20,
    ),
    "concurrent.futures": (
        "context = multiprocessing.get_context('spawn')\n"
        "with concurrent.futures.ProcessPoolExecutor(1, context) as pool:\n"
        "  got = list(pool.map(work, [exp] * 5, range(5)))\n"
        "assert {g[:3] for g in got} == {me} and got[0][3] != os.getpid()",
        5,
    ),
    "loky": (
        "from joblib import Parallel, delayed\n"
        "got = Parallel(n_jobs=2)(delayed(work)(exp, n) for n in range(6))\n"
        "assert {g[:3] for g in got} == {me}",
        6,
    ),
    "loky, a block each": (
        "from joblib import Parallel, delayed\n"
        "got = Parallel(n_jobs=2)(delayed(block)(exp, n) for n in range(6))\n"
        "assert {g[:3] for g in got} == {me}",
        6,
    ),
    "loky, closed over": (
        "from joblib import Parallel, delayed\n"
        "got = Parallel(n_jobs=2)(delayed(lambda n: work(exp, n))(n) for n in range(2))\n"
        "assert {g[:3] for g in got} == {me}",
        2,
    ),
    "threads of another process": (
        "context = multiprocessing.get_context('spawn')\n"
        "p = context.Process(target=threads, args=(exp,)); p.start(); p.join(); assert p.exitcode == 0",
        8,
    ),
    "only looked at": (
        "context = multiprocessing.get_context('spawn')\n"
        "with concurrent.futures.ProcessPoolExecutor(1, context) as pool:\n"
        "  assert pool.submit(looks, exp).result() == 'test'\n"
        "assert len(os.listdir(exp.log_dir)) == 1\n"
        "work(exp)",
        1,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_in_another_process_it_is_attached(tmp_path, way):
    body, points = WAYS[way]
    file = tmp_path / "program.py"
    file.write_text(PROGRAM.replace("{body}", "\n".join("    " + line for line in body.split("\n"))))
    root = tmp_path / "root"
    command = [sys.executable, "-W", "error", str(file)]
    done = subprocess.run(command, env={**os.environ, "ROOT": str(root)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder,) = root.glob("exp_*")
    reader = ExperimentReader(folder)
    assert reader.info.status == "completed"
    assert sorted(reader.read("a").steps.tolist()) == list(range(points)) or way == "spawn, held by something"
    assert len(reader.read("a")) == len(reader.media()) == points
    writers = {writer["role"] for writer in reader.info.writers}
    assert writers == ({"owner"} if way == "only looked at" else {"owner", "attached"})
    assert not (folder / "logs" / "traceback.txt").exists()
    assert "FramewormWarning" not in done.stderr


READ = """
import pickle, sys
with open(sys.argv[1], "rb") as file: exp = pickle.load(file)
print(exp.experiment_id, exp.uid, exp.name, exp.refused_values)
try: exp.log_metric("a", 1)
except Exception as error: print(type(error).__name__, error)
exp = pickle.loads(pickle.dumps(exp))
if exp.status != "running": print(exp.status, exp)
"""


def load(data: bytes, folder: Path) -> str:
    """Load a pickle in another process, and return what it says."""
    file = folder / "pickle"
    file.write_bytes(data)
    return subprocess.run([sys.executable, "-c", READ, file], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_one_that_has_ended_can_be_read_and_says_how_to_go_on(tmp_path, dumps):
    with make(tmp_path / "root") as exp:
        exp.log_metric("a", 1.0)
    told = load(dumps(exp), tmp_path)
    assert told.startswith(f"exp_001 {exp.uid} test 0\nStateError exp_001 is completed")
    assert "Experiment.resume('exp_001'" in told
    assert pickle.loads(dumps(exp)).get_metrics() == exp.get_metrics()


def test_a_pending_one_is_attached_to(tmp_path):
    exp = make(tmp_path / "root")
    assert "Error" not in load(pickle.dumps(exp), tmp_path)
    with exp:
        exp.log_metric("a", 2.0)
    assert sorted(ExperimentReader(exp.exp_dir).read("a").values.tolist()) == [1.0, 2.0]


def test_one_whose_folder_has_gone_loads_and_says_where_it_was(tmp_path):
    with make(tmp_path / "root") as exp:
        data = pickle.dumps(exp)
    exp.exp_dir.rename(tmp_path / "elsewhere")
    told = load(data, tmp_path)
    assert f"StateError exp_001 is pending and records nothing; it is not in {exp.exp_dir} any more" in told
    assert "Experiment.attach" in told


def test_another_experiment_in_its_place_is_not_taken_for_it(tmp_path):
    with make(tmp_path / "root") as exp:
        data = pickle.dumps(exp)
    exp.exp_dir.rename(tmp_path / "elsewhere")
    with make(tmp_path / "root") as other:
        other.exp_dir.rename(exp.exp_dir)
        assert "Experiment.attach" in load(data, tmp_path)
    assert not ExperimentReader(exp.exp_dir).keys()


def test_one_that_crashed_is_not_gone_on_with_by_loading_it(tmp_path):
    program = (
        "import os, pickle, sys\nfrom frameworm.experiment import Experiment\n"
        "exp = Experiment('test', root_dir=sys.argv[1], system_metrics_s=0).start()\n"
        "pickle.dump(exp, open(sys.argv[2], 'wb')); os._exit(0)\n"
    )
    data = tmp_path / "data"
    subprocess.run([sys.executable, "-c", program, tmp_path / "root", data], check=True)
    assert "StateError exp_001 is crashed" in load(data.read_bytes(), tmp_path)


def test_strictness_and_a_subclass_arrive(tmp_path):
    class Own(Experiment):
        pass

    with Own("test", root_dir=tmp_path, system_metrics_s=0, strict=True) as exp:
        pass
    found = cloudpickle.loads(cloudpickle.dumps(exp))
    assert type(found).__name__ == "Own"
    with pytest.raises(StateError, match="resume"):
        found.start()


def test_a_reader_arrives_with_files_of_its_own(tmp_path):
    with make(tmp_path) as exp:
        exp.log_metric("a", 1.0)
    with Experiment.resume("exp_001", tmp_path, step=0, system_metrics_s=0) as exp:
        exp.log_metric("a", 2.0)
    reader = ExperimentReader(exp.exp_dir, own=True)
    for copied in (copy.copy(reader), copy.deepcopy(reader), pickle.loads(pickle.dumps(reader))):
        assert copied.read("a").values.tolist() == [1.0, 2.0]
        del copied
        assert reader.read("a").values.tolist() == [1.0, 2.0]


def test_a_manager_arrives(tmp_path):
    with make(tmp_path) as exp:
        exp.log_metric("a", 1.0)
    manager = ExperimentManager(tmp_path)
    assert len(manager.list_experiments()) == 1
    for copied in (copy.deepcopy(manager), pickle.loads(pickle.dumps(manager))):
        assert len(copied.list_experiments()) == 1
        assert copied.get_metric_history("exp_001", "a")["metric_value"].tolist() == [1.0]


def test_children_that_start_what_was_made_before_the_fork_share_no_journal(tmp_path):
    program = (
        "import os, sys\nfrom frameworm.experiment import Experiment\n"
        "exp = Experiment('test', root_dir=sys.argv[1], system_metrics_s=0)\n"
        "for n in range(2):\n"
        "  if not os.fork():\n"
        "    with exp:\n"
        "      for i in range(100): exp.log_metric(f'a{n}', i)\n"
        "    os._exit(0)\n"
        "assert [os.wait()[1] for _ in range(2)] == [0, 0]\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    reader = ExperimentReader(next(tmp_path.glob("exp_*")))
    assert reader.info.status == "completed" and not reader.damage
    for n in range(2):
        assert reader.read(f"a{n}").values.tolist() == [float(i) for i in range(100)]
