"""The write side as a user sees it: lifecycle, files, processes, faults."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from frameworm.experiment import Experiment
from frameworm.experiment.errors import (
    ArtifactError,
    ConfigError,
    ExperimentNotFoundError,
    FramewormWarning,
    InputError,
    MetricError,
    MetricNotFoundError,
    StateError,
    StoreError,
)
from frameworm.experiment.model import SeriesKey
from frameworm.experiment.query.read import ExperimentReader


def make(root: Path, name: str = "test", **keywords) -> Experiment:
    keywords.setdefault("system_metrics_s", 0)
    return Experiment(name, root_dir=root, **keywords)


def run(code: str, root: Path, **keywords) -> subprocess.Popen:
    """Start a Python process with ``root`` and ``Experiment`` at hand."""
    start = (
        f"import os, signal, sys, time\nfrom frameworm.experiment import Experiment\nroot = {str(root)!r}\n"
        "def make(name='test', **k): return Experiment(name, root_dir=root, system_metrics_s=0, **k)\n"
    )
    keywords.setdefault("stdout", subprocess.PIPE)
    keywords.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen([sys.executable, "-c", start + code], text=True, **keywords)


def values(exp_dir: Path, name: str = "a") -> list[float]:
    return ExperimentReader(exp_dir).read(name).values.tolist()


def only_folder(root: Path) -> Path:
    (folder,) = root.glob("exp_*")
    return folder


# ------------------------------------------------------------------------------------------- lifecycle


def test_a_block_makes_the_folder_of_the_specification(tmp_path):
    before = datetime.now(UTC)
    exp = make(
        tmp_path, "VAE baseline!", config={"training": {"lr": 0.001}}, description="d", tags=["vae", "mnist", "vae"]
    )
    assert exp.status == "pending"
    assert exp.start_time is None
    with exp as entered:
        assert entered is exp
        assert exp.status == "running"
        exp.log_metric("loss", 0.5)
    assert exp.status == "completed"
    assert exp.experiment_id == "exp_001"
    assert exp.exp_dir == tmp_path / "exp_001_vae_baseline"
    assert sorted(p.name for p in exp.exp_dir.iterdir()) == [
        "artifacts",
        "checkpoints",
        "config.yaml",
        "logs",
        "metadata.json",
        "provenance",
    ]
    assert (tmp_path / "experiments.db").is_file()
    assert exp.checkpoint_dir.is_dir() and exp.log_dir.is_dir() and exp.artifact_dir.is_dir()
    assert yaml.safe_load((exp.exp_dir / "config.yaml").read_text()) == {"training": {"lr": 0.001}}
    metadata = json.loads((exp.exp_dir / "metadata.json").read_text())
    assert metadata["status"] == "completed"
    assert metadata["tags"] == ["vae", "mnist"] == exp.tags
    assert len(exp.uid) == 32 and exp.uid[12] == "7"
    assert exp.start_time is not None and exp.end_time is not None
    assert abs((exp.start_time - before).total_seconds()) < 5 and exp.start_time <= exp.end_time


def test_start_and_end_do_what_a_block_does(tmp_path):
    exp = make(tmp_path)
    assert exp.start() is exp
    exp.log_metric("a", 1.0)
    exp.end()
    exp.end("failed")  # ending twice does nothing
    assert exp.status == "completed"
    assert values(exp.exp_dir) == [1.0]
    with pytest.raises(InputError, match="completed, failed, killed"):
        exp.end("running")


def test_calls_out_of_turn_say_what_to_do(tmp_path):
    exp = make(tmp_path)
    with pytest.raises(StateError, match="exp_001 is pending and records nothing; begin with"):
        exp.log_metric("a", 1.0)
    with pytest.raises(StateError, match="was not started"):
        exp.end()
    with exp:
        with pytest.raises(StateError, match="needs no second start"):
            exp.start()
    for call in (
        lambda: exp.log_metric("a", 1.0),
        lambda: exp.log_metrics({"a": 1.0}),
        lambda: exp.flush(),
        lambda: exp.set_tags(["x"]),
        lambda: exp.start(),
    ):
        with pytest.raises(StateError, match=r"Experiment.resume\('exp_001'"):
            call()


def test_an_exception_leaves_failed_and_the_traceback(tmp_path):
    exp = make(tmp_path)
    with pytest.raises(ZeroDivisionError), exp:
        exp.log_metric("a", 1.0)
        _ = 1 / 0
    assert exp.status == "failed"
    assert ExperimentReader(exp.exp_dir).info.reason == "ZeroDivisionError: division by zero"
    text = (exp.log_dir / "traceback.txt").read_text()
    assert "Traceback" in text and "1 / 0" in text


def test_an_interrupt_leaves_killed(tmp_path):
    exp = make(tmp_path)
    with pytest.raises(KeyboardInterrupt), exp:
        raise KeyboardInterrupt
    assert exp.status == "killed"


def test_system_exit_is_completed_only_with_code_0(tmp_path):
    for code, status in ((0, "completed"), (None, "completed"), (3, "failed")):
        exp = make(tmp_path)
        with pytest.raises(SystemExit), exp:
            sys.exit(code)
        assert exp.status == status


def test_ids_are_not_given_twice_and_survive_deletion(tmp_path):
    import shutil

    first, second = make(tmp_path), make(tmp_path)
    assert (first.experiment_id, second.experiment_id) == ("exp_001", "exp_002")
    shutil.rmtree(second.exp_dir)
    assert make(tmp_path).experiment_id == "exp_003"
    (tmp_path / "exp_998_from_elsewhere").mkdir()
    assert make(tmp_path).experiment_id == "exp_999"
    assert make(tmp_path).experiment_id == "exp_1000"


def test_an_id_that_a_folder_was_renamed_to_is_not_given_again(tmp_path):
    first, _ = make(tmp_path), make(tmp_path)
    first.exp_dir.rename(tmp_path / "exp_003_renamed")
    assert make(tmp_path).experiment_id == "exp_004"


def test_ids_of_many_deleted_experiments_are_passed_over(tmp_path):
    made = [make(tmp_path) for _ in range(5)]
    for exp in made[1:]:
        shutil.rmtree(exp.exp_dir)
    assert make(tmp_path).experiment_id == "exp_006"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("..", "exp_001_experiment"),
        ("/etc/passwd", "exp_001_etc_passwd"),
        ("C:\\x", "exp_001_c_x"),
        ("CON", "exp_001_con"),
        ("x" * 300, "exp_001_" + "x" * 60),
        ("", "exp_001_experiment"),
        ("日本", "exp_001_experiment"),
        ("Größe é", "exp_001_groe_e"),
        ("a/../../b", "exp_001_a_b"),
    ],
)
def test_any_name_makes_a_safe_folder_and_is_kept(tmp_path, name, folder):
    exp = make(tmp_path, name)
    assert exp.exp_dir == tmp_path / folder
    assert exp.name == name
    assert ExperimentReader(exp.exp_dir).info.name == name


@pytest.mark.parametrize(
    "keywords",
    [
        {"name": 3},
        {"name": "a\nb"},
        {"name": "\ud800"},
        {"description": None},
        {"tags": [1]},
        {"tags": 5},
        {"tags": [""]},
        {"project": 1},
        {"system_metrics_s": -1},
        {"system_metrics_s": float("nan")},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_before_anything_is_made(tmp_path, keywords):
    with pytest.raises(InputError, match=r"expected|cannot be kept"):
        make(tmp_path / "root", **keywords)
    assert not (tmp_path / "root").exists()


def test_a_config_that_cannot_be_stored_is_refused_before_anything_is_made(tmp_path):
    cyclic: dict = {}
    cyclic["self"] = cyclic
    with pytest.raises(ConfigError):
        make(tmp_path / "root", config=cyclic)
    assert not (tmp_path / "root").exists()


def test_a_root_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="check root_dir"):
        make(tmp_path / "file")


def test_one_string_is_one_tag(tmp_path):
    assert make(tmp_path, tags="vae").tags == ["vae"]


# ------------------------------------------------------------------------------------- metadata, later


def test_config_tags_and_notes_can_change_while_it_runs(tmp_path):
    exp = make(tmp_path, config={"training": {"lr": 0.1, "batch": 8}}, tags=["a"])
    exp.update_config({"training": {"lr": 0.2}})
    with exp:
        exp.update_config({"training.batch": 16, "new": 1})
        exp.set_tags(["b", "c"])
        exp.add_note("first\nnote")
        assert exp.config == {"training": {"lr": 0.2, "batch": 16}, "new": 1}
    info = ExperimentReader(exp.exp_dir).info
    assert info.config == {"training": {"lr": 0.2, "batch": 16}, "new": 1}
    assert yaml.safe_load((exp.exp_dir / "config.yaml").read_text()) == info.config
    assert info.tags == ("b", "c")
    assert [note.text for note in info.notes] == ["first\nnote"]


def test_log_config_replaces(tmp_path):
    with make(tmp_path, config={"a": 1}) as exp:
        exp.log_config({"b": 2})
    assert ExperimentReader(exp.exp_dir).info.config == {"b": 2}


def test_secrets_in_the_config_do_not_reach_the_disk(tmp_path):
    secret = "hunter2" + "hunter2"
    with make(tmp_path, config={"db": {"password": secret}, "max_tokens": 5}) as exp:
        exp.update_config({"api_key": secret})
    assert exp.config["max_tokens"] == 5
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path


def test_artifacts_keep_every_version(tmp_path):
    source = tmp_path / "model.txt"
    with make(tmp_path / "root") as exp:
        source.write_text("one")
        (first,) = exp.log_artifact(source, "model")
        source.write_text("two")
        (second,) = exp.log_artifact(str(source))
        with pytest.raises(ArtifactError, match=r"missing\.txt"):
            exp.log_artifact(tmp_path / "missing.txt")
        tree = tmp_path / "tree"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub" / "x.txt").write_text("x")
        (third,) = exp.log_artifact(tree)
    assert (first.version, second.version) == (1, 2)
    assert (exp.exp_dir / first.path).read_text() == "one"
    assert (exp.exp_dir / second.path).read_text() == "two"
    assert third.name == "tree/sub/x.txt"
    assert [a.name for a in ExperimentReader(exp.exp_dir).info.artifacts] == [
        "model.txt",
        "model.txt",
        "tree/sub/x.txt",
    ]


def test_a_full_disk_costs_the_artifact_and_not_the_training(small_disk, tmp_path):
    source = tmp_path / "big.bin"
    source.write_bytes(os.urandom(3_000_000))
    exp = make(small_disk(2048)).start()
    while "packages" not in exp.info.environment:  # what is captured in the background would meet the full disk too
        time.sleep(0.01)
    with pytest.warns(FramewormWarning, match=r"big\.bin.*was not stored.*training goes on"):
        assert exp.log_artifact(source) == []
    exp.log_metric("a", 1.0)
    exp.end()
    assert values(exp.exp_dir) == [1.0]
    assert list(exp.artifact_dir.iterdir()) == []


def test_get_metrics_gives_dicts(tmp_path):
    with make(tmp_path) as exp:
        exp.log_metric("loss", 0.5, step=3, epoch=1)
        exp.log_metric("loss", 0.25, metric_type="val")
        exp.log_metrics({"x": {"y": 1}})
        now = exp.get_metrics("loss")
    for rows in (now, exp.get_metrics("loss")):
        assert [{k: v for k, v in row.items() if k != "timestamp"} for row in rows] == [
            {"metric_name": "loss", "metric_value": 0.5, "step": 3, "epoch": 1, "metric_type": "train"},
            {"metric_name": "loss", "metric_value": 0.25, "step": 0, "epoch": None, "metric_type": "val"},
        ]
        assert abs((rows[0]["timestamp"] - datetime.now(UTC)).total_seconds()) < 60
    assert [row["metric_name"] for row in exp.get_metrics()] == ["loss", "loss", "x/y"]
    with pytest.raises(MetricNotFoundError, match=r"did you mean 'loss'"):
        exp.get_metrics("los")


def test_refused_values_are_counted_and_strict_raises(tmp_path):
    with make(tmp_path) as exp:
        with pytest.warns(UserWarning, match="expected one number"):
            exp.log_metric("a", "x")
        exp.log_metric("a", None)
    assert exp.refused_values == 2
    with make(tmp_path, strict=True) as exp, pytest.raises(MetricError):
        exp.log_metric("a", "x")


# --------------------------------------------------------------------------------- automatic tracking


def test_code_environment_console_and_system_are_tracked(tmp_path):
    repository = tmp_path / "repo"
    repository.mkdir()
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x.example", "-C", str(repository)]
    subprocess.run(["git", "init", "-q", "-b", "trunk", str(repository)], check=True)
    (repository / "train.py").write_text("lr = 1\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "c"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (repository / "train.py").write_text("lr = 2\n")
    code = (
        "exp = Experiment('t', root_dir=root, system_metrics_s=1)\n"
        "with exp:\n print('hello console')\n print('to stderr', file=sys.stderr)\n"
        " exp.log_metric('a', 1.0)\n time.sleep(3.5)\n"
    )
    root = tmp_path / "root"
    process = run(code, root, cwd=repository)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "hello console" in out and "to stderr" in err
    reader = ExperimentReader(only_folder(root))
    assert reader.info.git_hash == commit
    assert reader.info.git_dirty is True
    assert reader.info.git["branch"] == "trunk"
    exp_dir = only_folder(root)
    assert "+lr = 2" in (exp_dir / "provenance" / "uncommitted.patch").read_text()
    assert "hello console\n" in (exp_dir / "logs" / "console.log").read_text()
    assert "to stderr\n" in (exp_dir / "logs" / "console.log").read_text()
    assert "numpy==" in (exp_dir / "provenance" / "requirements.txt").read_text()
    environment = reader.info.environment
    assert environment["python_version"]
    assert environment["packages"]["numpy"]
    system = {key.name for key in reader.keys() if key.context == "system"}
    assert {"cpu_percent", "memory_used_bytes", "process_memory_bytes"} <= system


def test_outside_git_is_fine(tmp_path):
    process = run("with make() as exp: exp.log_metric('a', 1.0)", tmp_path / "root", cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == ""
    info = ExperimentReader(only_folder(tmp_path / "root")).info
    assert info.git_hash is None and info.git_dirty is None


# -------------------------------------------------------------------------------------------- faults


def test_kill_9_loses_nothing_that_returned(tmp_path):
    code = (
        "exp = make().start()\n"
        "for i in range(10**9):\n exp.log_metric('a', i)\n exp.log_metrics({'b': i, 'c': -i})\n"
        " os.write(1, b'%d\\n' % i)\n"
    )
    for number in range(5):
        root = tmp_path / str(number)
        process = run(code, root)
        assert process.stdout is not None
        for _ in range(500 * (number + 1)):
            process.stdout.readline()
        process.kill()
        rest = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()
        acknowledged = int(rest[-1]) + 1 if rest else 500 * (number + 1)
        exp_dir = only_folder(root)
        for name, sign in (("a", 1), ("b", 1), ("c", -1)):
            found = values(exp_dir, name)
            assert len(found) >= acknowledged
            assert found == [float(sign * i) for i in range(len(found))]
        assert ExperimentReader(exp_dir).info.status == "crashed"


def test_a_running_experiment_is_readable_at_once_from_another_process(tmp_path):
    code = "exp = make().start()\nexp.log_metric('a', 42.0)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    process = run(code, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    reader = ExperimentReader(only_folder(tmp_path))
    assert reader.info.status == "running"
    assert reader.read("a").values.tolist() == [42.0]
    process.kill()
    process.communicate()
    assert ExperimentReader(only_folder(tmp_path)).info.status == "crashed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_deadly_signal_leaves_killed_sealed_and_the_exit_code(tmp_path, number):
    code = "exp = make().start()\nexp.log_metric('a', 1.0)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    process = run(code, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    reader = ExperimentReader(only_folder(tmp_path))
    assert reader.info.status == "killed"
    assert number.name in reader.info.reason
    assert reader.read("a").values.tolist() == [1.0]
    assert list(only_folder(tmp_path).glob("logs/metrics-*.seg"))


def test_a_handler_of_the_user_stays(tmp_path):
    code = (
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(7))\n"
        "with make() as exp:\n exp.log_metric('a', 1.0)\n print('ready', flush=True)\n time.sleep(60)\n"
    )
    process = run(code, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 7
    assert ExperimentReader(only_folder(tmp_path)).info.status == "failed"


def test_two_interrupts_while_it_ends_lose_nothing(tmp_path):
    code = (
        "exp = make()\n"
        "with exp:\n for i in range(200000): exp.log_metric('a', i)\n print('ready', flush=True)\n time.sleep(60)\n"
    )
    process = run(code, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    reader = ExperimentReader(only_folder(tmp_path))
    assert reader.info.status == "killed"
    assert reader.read("a").values.tolist() == [float(i) for i in range(200000)]


def test_the_interpreter_may_exit_without_an_end(tmp_path):
    for code, status in (("", "completed"), ("raise ValueError('no')", "failed")):
        root = tmp_path / status
        process = run(f"exp = make().start()\nexp.log_metric('a', 1.0)\n{code}\n", root)
        process.communicate(timeout=60)
        assert ExperimentReader(only_folder(root)).info.status == status
        assert values(only_folder(root)) == [1.0]


def test_the_logs_lost_the_metadata_still_tell(tmp_path):
    with make(tmp_path, "kept", config={"a": 1}) as exp:
        exp.log_metric("a", 1.0)
    for path in exp.log_dir.iterdir():
        path.unlink()
    reader = ExperimentReader(exp.exp_dir)
    assert (reader.info.name, reader.info.status, reader.info.config) == ("kept", "completed", {"a": 1})
    assert reader.keys() == []
    (exp.exp_dir / "metadata.json").write_text("{")
    with pytest.raises(StoreError, match="not an experiment's folder"):
        ExperimentReader(exp.exp_dir)


def test_a_damaged_segment_is_told_and_the_journal_beside_it_is_used(tmp_path):
    exp = make(tmp_path).start()
    exp.log_metric("a", 1.0)
    (journal,) = exp.log_dir.glob("journal-*")
    kept = journal.read_bytes()
    exp.end()
    (segment,) = exp.log_dir.glob("*.seg")
    journal.write_bytes(kept)
    assert values(exp.exp_dir) == [1.0]  # both are there: the segment counts, nothing is doubled
    segment.write_bytes(b"rubbish" * 100)
    reader = ExperimentReader(exp.exp_dir)
    assert reader.read("a").values.tolist() == [1.0]
    assert str(segment) in str(reader.damage[0])


# ------------------------------------------------------------------------------------ many processes


def test_fifty_processes_that_start_at_once_get_fifty_ids(tmp_path):
    code = "sys.stdin.readline()\nwith make() as exp: exp.log_metric('a', 1.0)\nprint(exp.experiment_id)\n"
    processes = [run(code, tmp_path, stdin=subprocess.PIPE) for _ in range(50)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 50, [err for _, err in results if err][:1]
    assert {err for _, err in results} == {""}
    assert sorted(out.strip() for out, _ in results) == [f"exp_{n:03d}" for n in range(1, 51)]
    assert len(list(tmp_path.glob("exp_*"))) == 50
    for folder in tmp_path.glob("exp_*"):
        info = ExperimentReader(folder).info
        assert info.status == "completed"
        assert folder.name.startswith(info.experiment_id)


def test_several_processes_log_to_one_experiment(tmp_path):
    code = (
        "exp = Experiment.attach('exp_001', root)\nrank = int(os.environ['RANK'])\n"
        "with exp:\n for i in range(1000): exp.log_metric('a', rank, step=i)\n exp.log_metric(f'own/{rank}', rank)\n"
    )
    with make(tmp_path) as exp:
        exp.log_metric("a", -1.0)
        ranks = [run(code, tmp_path, env={**os.environ, "RANK": str(rank)}) for rank in range(4)]
        for process in ranks:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
        assert exp.status == "running"
    points = ExperimentReader(exp.exp_dir).read("a")
    assert len(points) == 4001
    for rank in range(4):
        assert points.steps[points.values == rank].tolist() == list(range(1000))
        assert values(exp.exp_dir, f"own/{rank}") == [float(rank)]
    assert ExperimentReader(exp.exp_dir).info.status == "completed"
    assert not list(exp.log_dir.glob("journal-*"))


def test_attaching_to_what_ended_or_is_not_there_says_so(tmp_path):
    with make(tmp_path) as exp:
        exp.log_metric("a", 1.0)
    with pytest.raises(StateError, match=r"Experiment\.resume"):
        Experiment.attach("exp_001", tmp_path)
    with pytest.raises(ExperimentNotFoundError, match="did you mean exp_001"):
        Experiment.attach("exp_002", tmp_path)
    with pytest.raises(ExperimentNotFoundError):
        Experiment.attach("../exp_001", tmp_path)


def test_resume_counts_on_and_keeps_what_was(tmp_path):
    with make(tmp_path, config={"a": 1}) as exp:
        exp.log_metric("a", 0.0)
        exp.log_metric("a", 1.0, step=10)
        exp.log_metrics({"b": 1.0, "c": 1.0})
    first = exp.info
    with Experiment.resume("exp_001", tmp_path, system_metrics_s=0) as again:
        assert again.status == "running"
        assert again.config == {"a": 1}
        again.log_metric("a", 2.0)
        again.log_metrics({"b": 2.0, "c": 2.0})
    assert again.status == "completed"
    points = ExperimentReader(exp.exp_dir).read("a")
    assert points.steps.tolist() == [0, 10, 11]
    assert points.values.tolist() == [0.0, 1.0, 2.0]
    assert ExperimentReader(exp.exp_dir).read("c").steps.tolist() == [0, 1]
    assert again.uid == exp.uid
    assert again.info.duration_s > first.duration_s
    assert again.info.started_ms == first.started_ms


def test_a_resumed_experiment_is_listed_as_running(tmp_path):
    from frameworm.experiment import ExperimentManager

    with make(tmp_path) as exp:
        exp.log_metric("a", 1.0)
    manager = ExperimentManager(tmp_path)
    assert manager.list_experiments()["status"].tolist() == ["completed"]
    with Experiment.resume("exp_001", tmp_path, system_metrics_s=0) as exp:
        exp.log_metric("a", 2.0)
        assert manager.list_experiments()["status"].tolist() == ["running"]
        assert manager.compare_experiments(["exp_001"])["a"].tolist() == [2.0]
    assert manager.list_experiments()["status"].tolist() == ["completed"]


def test_resume_after_a_crash_and_not_while_it_runs(tmp_path):
    code = "exp = make().start()\nexp.log_metric('a', 42.0)\nprint('ready', flush=True)\ntime.sleep(60)\n"
    process = run(code, tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(StateError, match="is running"):
        Experiment.resume("exp_001", tmp_path)
    process.kill()
    process.communicate()
    with Experiment.resume("exp_001", tmp_path, system_metrics_s=0) as exp:
        exp.log_metric("a", 43.0)
    reader = ExperimentReader(exp.exp_dir)
    assert reader.info.status == "completed"
    assert reader.read("a").steps.tolist() == [0, 1]
    assert not list(exp.log_dir.glob("journal-*"))


def test_a_forked_child_gets_a_journal_of_its_own(tmp_path):
    code = (
        "exp = make().start()\nexp.log_metric('a', 0.0, step=0)\n"
        "import threading\n"
        "busy = threading.Thread(target=lambda: [exp.log_metric('busy', i) for i in range(50000)])\nbusy.start()\n"
        "children = []\n"
        "for n in range(8):\n"
        " pid = os.fork()\n"
        " if pid == 0:\n"
        "  exp.log_metric('a', 1.0 + n, step=1 + n)\n  exp.log_metrics({'x': n, 'y': n}, step=n)\n  os._exit(0)\n"
        " children.append(pid)\n"
        "codes = [os.waitpid(pid, 0)[1] for pid in children]\nassert codes == [0] * 8, codes\n"
        "busy.join()\nexp.log_metric('a', 9.0, step=9)\nexp.end()\n"
    )
    process = run(code, tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    reader = ExperimentReader(only_folder(tmp_path))
    assert reader.info.status == "completed"
    assert sorted(reader.read("a").values.tolist()) == [float(i) for i in range(10)]
    assert len(reader.read("busy")) == 50_000
    assert sorted(reader.read("y").values.tolist()) == [float(i) for i in range(8)]


def test_multiprocessing_and_pytorch_workers_do_not_end_it(tmp_path):
    code = (
        "import multiprocessing\n"
        "def work(n): exp.log_metric('w', n, step=n)\n"
        "exp = make().start()\n"
        "context = multiprocessing.get_context('fork')\n"
        "with context.Pool(4) as pool: pool.map(work, range(40))\n"
        "print(exp.status)\nexp.log_metric('a', 1.0)\nexp.end()\nprint(exp.status)\n"
    )
    process = run(code, tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.split() == ["running", "completed"]
    assert sorted(values(only_folder(tmp_path), "w")) == [float(n) for n in range(40)]


def test_threads_may_end_it_while_others_log(tmp_path):
    exp = make(tmp_path).start()
    counted = []

    def log() -> None:
        count = 0
        try:
            while True:
                exp.log_metric("a", 1.0)
                count += 1
        except StateError:
            counted.append(count)

    threads = [threading.Thread(target=log) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    exp.end()
    for thread in threads:
        thread.join()
    assert len(values(exp.exp_dir)) == sum(counted)


# ------------------------------------------------------------------------------------------- volume


def test_a_million_points_come_back_bit_for_bit_in_three_and_a_half_bytes(tmp_path):
    import numpy as np

    n = 1_000_000
    noise = np.random.default_rng(0).normal(0, 0.05, n)
    losses = (2.0 * np.exp(-np.arange(n) / 2e5) + 0.1 + np.abs(noise)).astype(np.float32).astype(np.float64)
    with make(tmp_path) as exp:
        log_metric = exp.log_metric
        for step, loss in enumerate(losses.tolist()):
            log_metric("loss", loss, step)
    points = ExperimentReader(exp.exp_dir).read("loss")
    assert points.steps.tolist() == list(range(n))
    assert (points.values.view(np.uint64) == losses.view(np.uint64)).all()
    assert SeriesKey("loss", "train") in ExperimentReader(exp.exp_dir).keys()
    size = sum(path.stat().st_size for path in exp.log_dir.glob("*.seg"))
    assert size <= 3.5 * n, f"{size / n:.2f} bytes a point"


# ------------------------------------------------------------------------------------- folders that move


def test_a_folder_that_is_moved_is_followed(tmp_path):
    (tmp_path / "archive").mkdir()
    exp = make(tmp_path / "runs").start()
    exp.log_metric("a", 0.0)
    moved = tmp_path / "archive" / exp.exp_dir.name
    with pytest.warns(FramewormWarning, match=f"was moved to {moved}"):
        exp.exp_dir.rename(moved)
        exp.log_metric("a", 1.0)
        exp._follow()
    assert exp.exp_dir == moved
    exp.log_metric("a", 2.0)
    exp.end()
    assert values(moved) == [0.0, 1.0, 2.0]
    assert ExperimentReader(moved).info.status == "completed"
    assert [path.suffix for path in (moved / "logs").glob("[jm]*")] == [".seg"]


def test_a_folder_that_is_removed_is_told_of_once_and_training_goes_on(tmp_path):
    exp = make(tmp_path).start()
    exp.log_metric("a", 0.0)
    while not (exp.provenance_dir / "requirements.txt").exists():
        time.sleep(0.01)  # else what is captured in the background would be told of as well
    while exp.exp_dir.exists():
        shutil.rmtree(exp.exp_dir, ignore_errors=True)  # metadata.json may be written at this moment
    with pytest.warns(FramewormWarning, match=f"{exp.exp_dir}: the folder was removed") as told:
        exp._follow()
        exp._follow()
        exp.log_metric("a", 1.0)
        exp.end()
    assert len(told) == 1
    assert exp.status == "completed"
    assert not exp.exp_dir.exists()


def test_a_writer_elsewhere_is_judged_by_the_clock_of_the_file_system(tmp_path, monkeypatch):
    exp = make(tmp_path).start()
    exp._recorder.stop_thread(20)
    journal = exp.log_dir / exp._recorder.name.journal
    here = os.uname()
    elsewhere = os.uname_result((here.sysname, "elsewhere", here.release, here.version, here.machine))
    hour_ns = 3600 * 10**9
    with monkeypatch.context() as patch:
        patch.setattr(os, "uname", lambda: elsewhere)
        for jump_ns in (0, hour_ns, -hour_ns):  # of the reader's clock
            patch.setattr(time, "time_ns", lambda jump_ns=jump_ns: time.clock_gettime_ns(time.CLOCK_REALTIME) + jump_ns)
            assert ExperimentReader(exp.exp_dir).info.status == "running"
        os.utime(journal, ns=(time.clock_gettime_ns(time.CLOCK_REALTIME) - 61 * 10**9,) * 2)
        for jump_ns in (0, hour_ns, -hour_ns):
            patch.setattr(time, "time_ns", lambda jump_ns=jump_ns: time.clock_gettime_ns(time.CLOCK_REALTIME) + jump_ns)
            assert ExperimentReader(exp.exp_dir).info.status == "crashed"
    assert ExperimentReader(exp.exp_dir).info.status == "running"  # on its own host the process is asked, not a clock
    exp.end()
