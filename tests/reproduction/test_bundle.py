"""Experiments in one file: complete, the same bytes each time, and harmless whoever made the file."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import BundleError, ReproductionError, StateError, StoreError
from frameworm.experiment.recording.journal import EVENT_FLAG, header

from .conftest import Project


def test_an_experiment_is_reproduced_where_neither_its_repository_nor_its_data_are(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", project.environment()["PYTHONPATH"])
    project.run()
    bundle = tmp_path / "bundle.zip"
    done = project.manager.export("exp_001", bundle, data=True)
    assert done.left_out == ()
    assert done.commits == (project.git("rev-parse", "HEAD"),)
    shutil.rmtree(project.folder)
    project.root = tmp_path / "other" / "experiments"
    with Experiment("first here", root_dir=project.root, system_metrics_s=0, capture_console=False) as exp:
        exp.log_metric("x", 1.0)
    taken = project.manager.import_bundle(bundle)
    assert (taken.experiment_id, taken.original_id) == ("exp_002", "exp_001")
    assert taken.entries == done.entries
    rows = {row["experiment_id"]: row["name"] for row in project.manager.list_rows()}
    assert rows == {"exp_001": "first here", "exp_002": "walk"}
    assert project.manager.get_metric_history("exp_002", "weight").shape[0] == 20
    found = project.manager.reproduce("exp_002", strict=True, trust=True)
    assert found.verdict == "bit-identical over 24 points of 2 series"
    assert (found.experiment_id, found.reproduction_id) == ("exp_002", "exp_003")
    assert project.manager.doctor().healthy
    again = tmp_path / "again.zip"  # the commit is passed on from where it came with
    assert project.manager.export("exp_002", again, data=True).commits == done.commits


def test_the_same_experiment_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    project.run()
    for name in ("one.zip", "two.zip"):
        project.manager.export("exp_001", tmp_path / name, data=True)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.zip", "two.zip"))
    assert one == two
    names = zipfile.ZipFile(tmp_path / "one.zip").namelist()
    assert names[:-1] == sorted(names[:-1])
    assert names[-1] == "manifest.json"
    assert not list(tmp_path.glob("*.partial-*"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where no repository is, of which these small experiments would store what git does not know."""
    monkeypatch.chdir(tmp_path)


def record(root: Path, **content: str) -> None:
    with Experiment("small", root_dir=root, system_metrics_s=0, capture_console=False) as exp:
        exp.log_metric("x", 0.25)
        for name, text in content.items():
            file = exp.exp_dir.parent / f"{name}.txt"
            file.write_text(text)
            exp.log_artifact(file)


def test_artifacts_can_be_left_out_and_what_is_lacking_is_said(tmp_path: Path) -> None:
    root = tmp_path / "experiments"
    record(root, weights="1 2 3")
    (folder,) = root.glob("exp_001_*")
    (folder / "checkpoints" / "last").symlink_to("nowhere")
    manager = ExperimentManager(root)
    whole = manager.export("exp_001", tmp_path / "whole.zip")
    part = manager.export("exp_001", tmp_path / "part.zip", artifacts=False)
    assert whole.entries == part.entries + 1
    assert "checkpoints/last is a link or a special file" in whole.left_out
    assert "artifacts and checkpoints" in part.left_out
    other = tmp_path / "other"
    other.mkdir()
    ExperimentManager(other).import_bundle(tmp_path / "whole.zip")
    (stored,) = other.glob("exp_001_*/artifacts/weights.txt")
    assert stored.read_text() == "1 2 3"
    assert not stored.stat().st_mode & stat.S_IWUSR  # shared files are read-only, and stay so


def test_what_is_there_is_not_overwritten_and_what_runs_is_not_exported(tmp_path: Path) -> None:
    root = tmp_path / "experiments"
    record(root)
    manager = ExperimentManager(root)
    target = tmp_path / "bundle.zip"
    target.write_text("mine")
    with pytest.raises(StoreError, match="is there already"):
        manager.export("exp_001", target)
    assert target.read_text() == "mine"
    with Experiment("e", root_dir=root, system_metrics_s=0, capture_console=False):
        with pytest.raises(StateError, match="exp_002 is running"):
            manager.export("exp_002", tmp_path / "running.zip")
    with pytest.raises(StoreError, match="cannot be written"):
        manager.export("exp_001", tmp_path / "nowhere" / "bundle.zip")


def test_the_same_experiment_is_not_taken_in_twice(tmp_path: Path) -> None:
    record(tmp_path / "experiments")
    manager = ExperimentManager(tmp_path / "experiments")
    manager.export("exp_001", tmp_path / "bundle.zip")
    with pytest.raises(StateError, match="'small' is here already, as exp_001"):
        manager.import_bundle(tmp_path / "bundle.zip")
    assert len(manager.list_rows()) == 1


# ---------------------------------------------------------------------------------------------- forks

FORK = """\
import random, sys
from frameworm.experiment import Experiment, seed_everything
seed_everything(5)
last = int(sys.argv[3])
with Experiment.fork(sys.argv[2], sys.argv[1], step=last, name=f"fork at {last}", system_metrics_s=0) as exp:
    for step in range(last + 1, last + 4):
        exp.log_metric("weight", random.random() * exp.config["training"]["lr"], step)
"""


def forks(project: Project) -> None:
    """Record a run, a fork of it and a fork of that."""
    (project.folder / "fork.py").write_text(FORK)
    project.run()
    project.run("fork.py", str(project.root), "exp_001", "9")
    project.run("fork.py", str(project.root), "exp_002", "11")


def weights(project: Project, experiment_id: str) -> list[tuple[int, float]]:
    points = project.manager.reader(experiment_id).read("weight")
    return list(zip(points.steps.tolist(), points.values.tolist(), strict=True))


def test_a_fork_brings_the_whole_line_and_is_reproduced_where_ids_are_others(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", project.environment()["PYTHONPATH"])
    forks(project)
    line = weights(project, "exp_003")
    assert [step for step, _ in line] == list(range(15))
    bundle = tmp_path / "bundle.zip"
    done = project.manager.export("exp_003", bundle, data=True)
    assert (done.ancestors, done.left_out) == (("exp_001", "exp_002"), ())
    project.manager.export("exp_003", tmp_path / "again.zip", data=True)
    assert bundle.read_bytes() == (tmp_path / "again.zip").read_bytes()
    shutil.rmtree(project.folder)
    project.root = tmp_path / "other" / "experiments"
    for _ in range(2):
        record(project.root)  # so that each id is another experiment's here
    taken = project.manager.import_bundle(bundle)
    assert (taken.experiment_id, taken.original_id, taken.ancestors) == ("exp_005", "exp_003", ("exp_003", "exp_004"))
    assert taken.entries == done.entries
    assert weights(project, "exp_005") == line
    assert project.manager.reader("exp_005").missing == ""
    for experiment_id, verdict in [
        ("exp_003", "bit-identical over 24 points of 2 series"),
        ("exp_004", "bit-identical over 3 points of 1 series"),  # its program names exp_001, which is another one here
        ("exp_005", "bit-identical over 3 points of 1 series"),
    ]:
        found = project.manager.reproduce(experiment_id, strict=True, trust=True)
        assert (found.outcome, found.verdict) == ("identical", verdict)
    assert weights(project, found.reproduction_id) == line
    assert project.manager.doctor().healthy


@pytest.mark.filterwarnings("ignore:.*that it inherits")
def test_ancestors_that_are_here_are_left_as_they_are(project: Project, tmp_path: Path) -> None:
    forks(project)
    manager = project.manager
    line = weights(project, "exp_003")
    manager.export("exp_003", tmp_path / "bundle.zip")
    manager.delete_experiment("exp_003")
    taken = manager.import_bundle(tmp_path / "bundle.zip")
    assert (taken.experiment_id, taken.ancestors) == ("exp_004", ())
    assert weights(project, "exp_004") == line
    assert len(manager.list_rows()) == 3
    manager.delete_experiment("exp_001")
    left_out = manager.export("exp_004", tmp_path / "less.zip").left_out
    assert any("that it inherits from exp_001 are missing" in one for one in left_out)
    with pytest.raises(ReproductionError, match="exp_002 is a fork of an experiment that is not in this root"):
        manager.reproduce("exp_002")


def test_a_fork_of_one_that_runs_is_not_exported(tmp_path: Path) -> None:
    root = tmp_path / "experiments"
    with Experiment("e", root_dir=root, system_metrics_s=0, capture_console=False) as exp:
        exp.log_metric("x", 1.0)
        with Experiment.fork("exp_001", root, step=0, system_metrics_s=0, capture_console=False):
            pass
        with pytest.raises(StateError, match="exp_001, whose points exp_002 inherits, is running"):
            ExperimentManager(root).export("exp_002", tmp_path / "bundle.zip")


def test_ancestors_of_an_unsafe_form_are_refused(project: Project, tmp_path: Path) -> None:
    forks(project)
    project.manager.export("exp_002", tmp_path / "bundle.zip")
    entries, manifest = unpacked(tmp_path / "bundle.zip")
    (ancestor,) = manifest["ancestors"]
    for wrong in (
        [{**ancestor, "uid": "../../../etc"}],
        [{**ancestor, "uid": "0" * 32}],  # not that of the experiment in it
        [ancestor, ancestor],
        [{**ancestor, "uid": manifest["uid"]}],
        [{**ancestor, "entries": None}],
        ["exp_001"],
        {},
        [],
    ):
        other = tmp_path / "other"
        shutil.rmtree(other, ignore_errors=True)
        other.mkdir()
        with zipfile.ZipFile(tmp_path / "wrong.zip", "w") as archive:
            for name, content in {**entries, "manifest.json": json.dumps({**manifest, "ancestors": wrong})}.items():
                archive.writestr(name, content)
        with pytest.raises(BundleError):
            ExperimentManager(other).import_bundle(tmp_path / "wrong.zip")
        assert not list(other.glob("exp_*"))


# ---------------------------------------------------------------------------------------------- unsafe files

Entries = dict[str, bytes]


def unpacked(bundle: Path) -> tuple[Entries, dict[str, Any]]:
    with zipfile.ZipFile(bundle) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    return entries, json.loads(entries.pop("manifest.json"))


def entry_of(path: str, content: bytes) -> dict[str, Any]:
    return {"path": path, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def climbing(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["experiment/../../evil.txt"] = b"x"
    manifest["entries"].append(entry_of("../../evil.txt", b"x"))


def absolute(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["experiment//etc/evil.txt"] = b"x"
    manifest["entries"].append(entry_of("/etc/evil.txt", b"x"))


def backslash(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["experiment/..\\evil.txt"] = b"x"
    manifest["entries"].append(entry_of("..\\evil.txt", b"x"))


def control(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["experiment/a\nb"] = b"x"
    manifest["entries"].append(entry_of("a\nb", b"x"))


def unlisted(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["experiment/logs/more"] = b"x"


def outside(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["other/more"] = b"x"


def missing(entries: Entries, manifest: dict[str, Any]) -> None:
    del entries["experiment/config.yaml"]


def altered(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["experiment/config.yaml"] = entries["experiment/config.yaml"][::-1]


def longer(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["experiment/config.yaml"] += b" "


def listed_twice(entries: Entries, manifest: dict[str, Any]) -> None:
    manifest["entries"].append(manifest["entries"][0])


def both(entries: Entries, manifest: dict[str, Any]) -> None:
    entries["experiment/config.yaml/inner"] = b"x"
    manifest["entries"].append(entry_of("config.yaml/inner", b"x"))


def another_uid(entries: Entries, manifest: dict[str, Any]) -> None:
    manifest["uid"] = "0" * 32


def newer(entries: Entries, manifest: dict[str, Any]) -> None:
    manifest["version"] = 2


def foreign(entries: Entries, manifest: dict[str, Any]) -> None:
    manifest["format"] = "something"


def no_form(entries: Entries, manifest: dict[str, Any]) -> None:
    manifest["entries"][0] = {"path": 3}


def negative(entries: Entries, manifest: dict[str, Any]) -> None:
    manifest["entries"][0]["size_bytes"] = -1


def no_list(entries: Entries, manifest: dict[str, Any]) -> None:
    manifest["left_out"] = 7


def uid_in_a_list(entries: Entries, manifest: dict[str, Any]) -> None:
    manifest["uid"] = [1]


def replaced(entries: Entries, manifest: dict[str, Any], name: str, content: bytes) -> None:
    (place,) = [i for i, entry in enumerate(manifest["entries"]) if entry["path"] == name]
    entries[f"experiment/{name}"] = content
    manifest["entries"][place] = entry_of(name, content)


def metadata_of_another_form(entries: Entries, manifest: dict[str, Any]) -> None:
    told = json.loads(entries["experiment/metadata.json"])
    replaced(entries, manifest, "metadata.json", json.dumps({**told, "writers": "x"}).encode())


def metadata_nested_deep(entries: Entries, manifest: dict[str, Any]) -> None:
    replaced(entries, manifest, "metadata.json", b"[" * 50_000 + b"]" * 50_000)


def event_of_another_form(entries: Entries, manifest: dict[str, Any]) -> None:
    payload = b'{"t":1,"type":"tags","tags":1.5}'
    frame = struct.pack("<II", EVENT_FLAG | len(payload), zlib.crc32(payload)) + payload
    entries["experiment/logs/journal-x-1-9"] = header() + frame
    manifest["entries"].append(entry_of("logs/journal-x-1-9", header() + frame))


def no_experiment(entries: Entries, manifest: dict[str, Any]) -> None:
    for name in [*entries]:
        del entries[name]
    manifest["entries"] = []


DAMAGES: list[tuple[Callable[[Entries, dict[str, Any]], None], str]] = [
    (climbing, "unsafe"),
    (absolute, "unsafe"),
    (backslash, "unsafe"),
    (control, "unsafe"),
    (unlisted, "do not agree: 'experiment/logs/more'"),
    (outside, "do not agree: 'other/more'"),
    (missing, "'config.yaml' is missing"),
    (altered, "'experiment/config.yaml' is damaged"),
    (longer, "'config.yaml' has 4 bytes instead of 3"),
    (listed_twice, "do not agree"),
    (both, "both a file and a folder"),
    (another_uid, "of another experiment"),
    (newer, "is of version 2; this release reads version 1"),
    (foreign, "of something else"),
    (no_form, "of another form: entries: item 0: path: expected a text, got 3"),
    (negative, "of another form: entries: item 0: size_bytes: expected a whole number from 0"),
    (no_list, "of another form: left_out: expected a list, got 7"),
    (uid_in_a_list, "of another form: uid: expected a text, got a list"),
    (metadata_of_another_form, "metadata.json cannot be read .*writers: expected a list, got 'x'"),
    (metadata_nested_deep, "metadata.json cannot be read .*nested too deeply"),
    (event_of_another_form, "journal-x-1-9: damaged at byte 16: .* tags: expected a list, got 1.5"),
    (no_experiment, "holds no experiment"),
]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    record(tmp_path / "source")
    ExperimentManager(tmp_path / "source").export("exp_001", tmp_path / "bundle.zip")
    return tmp_path / "bundle.zip"


def refused(bundle: Path, tmp_path: Path, message: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(BundleError, match=message):
        ExperimentManager(target).import_bundle(bundle)
    left = [path.relative_to(target) for path in target.rglob("*") if path.is_file() and path.suffix != ".db"]
    assert left == []
    assert not list(tmp_path.glob("evil*"))


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_files_that_are_wrong_are_refused_and_leave_nothing(
    bundle: Path, tmp_path: Path, damage: Callable[[Entries, dict[str, Any]], None], message: str
) -> None:
    entries, manifest = unpacked(bundle)
    assert len(entries["experiment/config.yaml"]) == 3
    damage(entries, manifest)
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("manifest.json", json.dumps(manifest))
    refused(bundle, tmp_path, message)


def test_links_in_the_file_are_refused(bundle: Path, tmp_path: Path) -> None:
    entries, manifest = unpacked(bundle)
    link = zipfile.ZipInfo("experiment/logs/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    manifest["entries"].append(entry_of("logs/link", b"/etc"))
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr(link, b"/etc")
        archive.writestr("manifest.json", json.dumps(manifest))
    refused(bundle, tmp_path, "is a link")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr("experiment/config.yaml", "other: 1\n")
    refused(bundle, tmp_path, "twice")


def test_a_bomb_is_stopped_at_what_it_declared(bundle: Path, tmp_path: Path) -> None:
    """The sizes in the zip file and in the manifest both lie; no more than declared is written."""
    entries, manifest = unpacked(bundle)
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("experiment/bomb", b"\0" * 50_000_000)
        manifest["entries"].append(entry_of("bomb", b"\0" * 10))
        archive.writestr("manifest.json", json.dumps(manifest))
    raw = bytearray(bundle.read_bytes())
    raw = raw.replace(struct.pack("<I", 50_000_000), struct.pack("<I", 10))
    bundle.write_bytes(raw)
    refused(bundle, tmp_path, "damaged|not a whole zip")


def test_more_than_the_disk_holds_is_refused_before_anything_is_written(bundle: Path, tmp_path: Path) -> None:
    entries, manifest = unpacked(bundle)
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        archive.writestr("experiment/large", b"x")
        manifest["entries"].append({**entry_of("large", b"x"), "size_bytes": 0x7FFFFFF0})
        archive.writestr("manifest.json", json.dumps(manifest))
    raw = bundle.read_bytes()
    at = raw.rindex(b"experiment/large") - 46
    assert raw[at : at + 4] == b"PK\x01\x02"
    bundle.write_bytes(raw[: at + 24] + struct.pack("<I", 0x7FFFFFF0) + raw[at + 28 :])
    refused(bundle, tmp_path, "are free in|damaged|not a whole zip")


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip file at all", b"PK\x05\x06" + bytes(18)])
def test_files_that_are_no_bundle_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bundle.zip").write_bytes(content)
    refused(tmp_path / "bundle.zip", tmp_path, "not a whole zip file|not the bundle of an experiment")


def test_cut_short_at_any_place_it_is_refused(bundle: Path, tmp_path: Path) -> None:
    whole = bundle.read_bytes()
    target = tmp_path / "target"
    target.mkdir()
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        bundle.write_bytes(whole[:length])
        with pytest.raises(BundleError):
            ExperimentManager(target).import_bundle(bundle)
    with pytest.raises(BundleError, match="no such file"):
        ExperimentManager(target).import_bundle(tmp_path / "none.zip")
    assert not list(target.glob("exp_*"))


def test_a_pickle_in_it_stays_a_file(tmp_path: Path) -> None:
    """Nothing that is taken in is unpickled, compiled or executed."""
    root = tmp_path / "experiments"
    witness = tmp_path / "witness"
    payload = f"cos\nsystem\n(S'touch {witness}'\ntR."
    record(root, model=payload)
    (root / "exp_001_small" / "artifacts" / "model.pkl").write_text(payload)
    (root / "exp_001_small" / "provenance" / "code").mkdir(exist_ok=True)
    (root / "exp_001_small" / "provenance" / "code" / "sitecustomize.py").write_text(f"open({str(witness)!r}, 'w')\n")
    ExperimentManager(root).export("exp_001", tmp_path / "bundle.zip")
    target = tmp_path / "target"
    target.mkdir()
    manager = ExperimentManager(target)
    manager.import_bundle(tmp_path / "bundle.zip")
    manager.list_rows()
    manager.get_experiment("exp_001")
    assert not witness.exists()


def test_the_commands(project: Project, tmp_path: Path) -> None:
    project.run()
    bundle, other = tmp_path / "bundle.zip", tmp_path / "new" / "experiments"

    def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "frameworm.experiment.cli", "--root-dir", str(root), *words]
        return subprocess.run(command, env=project.environment(), capture_output=True, text=True)

    done = run(project.root, "export", "exp_001", str(bundle))
    assert done.returncode == 0, done.stderr
    assert f"commit {project.git('rev-parse', 'HEAD')[:10]}" in done.stdout
    assert "not in it: dataset points.txt: use --data to include it" in done.stdout
    assert run(project.root, "export", "exp_001", str(bundle)).returncode == 1
    done = run(other, "import", str(bundle), "--json")
    assert json.loads(done.stdout)["experiment_id"] == "exp_001"
    done = run(other, "import", str(bundle))
    assert (done.returncode, "is here already" in done.stderr) == (1, True)
