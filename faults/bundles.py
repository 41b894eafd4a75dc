"""Row 31: bundles that somebody made to reach outside: by paths, links, zip entries, variables and types."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faults.harness import Run, told
from faults.workload import Found

_PROGRAM = """\
import os, sys
from frameworm.experiment import Experiment
with Experiment("walk", root_dir=sys.argv[1], system_metrics_s=0, capture_console=False) as exp:
    exp.log_metric("loss", 1.0)
    exp.log_metric("evil", sum("/victim/" in value for value in os.environ.values()))
"""
_UP = "../" * 12
_RELATIVE = [
    *("../victim/file", f"{_UP}VICTIM/file", "a/../../../victim/file", "VICTIM/file", "./../victim/file", "..", "a\0b"),
    *("．．/victim/file", "‥/victim/file", "\u200b../victim/file", "a／..／..／victim", ".git/config", "", "."),
    *(".GIT/hooks/post-checkout", ".g\u200cit/config", "git~1/config", ".git /config", ".git::$INDEX/x", "x" * 5000),
]
_ABSOLUTE = [
    "ROOT/../../victim/file",
    f"ROOT/{_UP}VICTIM/file",
    "VICTIM/file",
    "ROOT/．．/．．/victim/file",
    "/dev/zero",
]
_TYPES: list[Any] = [None, 7, True, ["a"], {"a": 1}, 1e308]
_VARIABLES = (
    "PATH LD_PRELOAD LD_AUDIT LD_LIBRARY_PATH PYTHONPATH PYTHONSTARTUP PYTHONHOME PYTHONHASHSEED BASH_ENV ENV "
    "GIT_SSH_COMMAND GIT_EXEC_PATH OMP_TOOL_LIBRARIES CUDA_INJECTION64_PATH NCCL_NET_PLUGIN TORCH_HOME XLA_FLAGS "
    "TRITON_CACHE_DIR LC_ALL TZ LANG OMP_NUM_THREADS".split()
)

Event = dict[str, Any]
Case = tuple[str, Callable[["_Made"], None]]


class _Made:
    """A bundle that is changed before it is given to its victim."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        with zipfile.ZipFile(source) as archive:
            self.entries = {name: archive.read(name) for name in archive.namelist()}
        self.manifest = json.loads(self.entries.pop("manifest.json"))
        self.modes: dict[str, int] = {}
        self.root = json.loads(self.entries["experiment/metadata.json"])["code"]["root"]

    def filled(self, text: Any) -> Any:
        """Return a path with the places of this trial in it."""
        if not isinstance(text, str):
            return text
        return text.replace("ROOT", self.root).replace("VICTIM", str(self.folder / "victim"))

    def add(self, event: Event) -> None:
        """Add an event to the record, as an editor of the experiment would."""
        from frameworm.experiment.recording.journal import JournalWriter, encode_event, now_ms
        from frameworm.experiment.recording.liveness import identity
        from frameworm.experiment.storage.folder import create_folder

        def fill(_: str, making: Path) -> None:
            for name, content in self.entries.items():
                place = making / name.removeprefix("experiment/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)

        root = self.folder / "making"
        _, folder = create_folder(root, "walk", fill)
        events = [{"type": "open", **identity(), "role": "editor"}, event, {"type": "close"}]
        frames = b"".join(encode_event({"t": now_ms(), **one}) for one in events)
        JournalWriter(folder / "logs", "evil", lambda: frames).close()
        files = [file for file in folder.rglob("*") if file.is_file()]
        self.entries = {f"experiment/{file.relative_to(folder).as_posix()}": file.read_bytes() for file in files}
        shutil.rmtree(root)
        self.manifest["entries"] = [_listed(name, content) for name, content in self.entries.items()]

    def put(self, name: str, content: bytes = b"evil", mode: int = stat.S_IFREG | 0o644) -> None:
        """Add an entry to the zip file, and to the list of them."""
        self.entries[f"experiment/{name}"] = content
        self.modes[f"experiment/{name}"] = mode
        self.manifest["entries"].append(_listed(f"experiment/{name}", content))

    def write(self) -> Path:
        path = self.folder / "bundle.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in self.entries.items():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = self.modes.get(name, stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, content)
            archive.writestr("manifest.json", json.dumps(self.manifest))
        return path


def _listed(name: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"path": name.removeprefix("experiment/"), "size_bytes": len(content), "sha256": digest}


def _code(**changes: Any) -> Event:
    return {"type": "code", "code": changes}


def _cases() -> list[Case]:
    cases: list[Case] = []

    def case(name: str, change: Callable[[_Made], None]) -> None:
        cases.append((name, change))

    def record(name: str, value: Any, event: Callable[[Any, _Made], Event]) -> None:
        case(f"{name} {value!r:.40}", lambda made: made.add(event(made.filled(value), made)))

    def code(made: _Made, **changes: Any) -> Event:
        return _code(**{**json.loads(made.entries["experiment/metadata.json"])["code"], **changes})

    for path in [*_RELATIVE, *_TYPES]:
        file = {"digest": f"sha256:{'0' * 64}", "size_bytes": 4, "executable": True, "masked": False}
        record("code file", path, lambda at, made, file=file: code(made, files=[{**file, "path": at}]))
        record("left out", path, lambda at, made: code(made, left_out=[{"path": at, "size_bytes": 1, "why": "large"}]))
        record("working folder", path, lambda at, made: code(made, cwd=at))
        record("script", path, lambda at, made: code(made, script=at))
        case(f"zip entry {path!r:.40}", lambda made, path=path: made.put(str(made.filled(path))))
        artifact = {"type": "artifact", "name": "x", "artifact_type": "file", "version": 1, "size_bytes": 4}
        digest = f"sha256:{hashlib.sha256(b'evil').hexdigest()}"
        record("artifact", path, lambda at, made, one={**artifact, "digest": digest}: {**one, "path": at})
    for path in [*_ABSOLUTE, *_TYPES]:
        dataset = {"name": "x", "kind": "file", "fingerprint": "blake3:" + "0" * 64, "size_bytes": 4}
        record("dataset", path, lambda at, made, one=dataset: {"type": "dataset", "dataset": {**one, "path": at}})
        record("standard input", path, lambda at, made: {"type": "environment", "environment": {"stdin": at}})
        record("top of the code", path, lambda at, made: code(made, root=at))
    for name in _VARIABLES:
        value = {"type": "environment", "environment": {"variables": {name: "VICTIM/evil.so"}}}
        case(f"variable {name}", lambda made, one=value: made.add(json.loads(made.filled(json.dumps(one)))))
    for remote in ("ext::sh -c touch% VICTIM/ran", "--upload-pack=touch VICTIM/ran", "file://VICTIM"):
        git = {"commit": "0" * 40, "root": "ROOT", "remote": remote}
        case(
            f"remote {remote:.12}",
            lambda made, one=git: made.add(
                {"type": "git", "git": {key: made.filled(text) for key, text in one.items()}}
            ),
        )
    for kind in (stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFSOCK):
        case(
            f"zip entry of mode {kind:o}", lambda made, kind=kind: made.put("logs/link", b"../../victim", kind | 0o777)
        )
    case("zip entry twice", lambda made: made.manifest["entries"].append(made.manifest["entries"][0]))
    case("signature of its own", lambda made: made.put("provenance/signature", b"0" * 128))
    case("manifest nested deep", lambda made: made.manifest.update(more=json.loads("[" * 900 + "]" * 900)))
    return cases


def hostile(run: Run) -> None:
    """Give each bundle to somebody who imports it, reproduces it, and reproduces it though told not to."""
    source = run.folder / "source"
    (source / "project").mkdir(parents=True)
    (source / "project" / "train.py").write_text(_PROGRAM)
    command = [sys.executable, "train.py", str(source / "root")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    subprocess.run(command, cwd=source / "project", env=environment, check=True, capture_output=True)
    from frameworm.experiment import ExperimentManager

    ExperimentManager(source / "root").export("exp_001", source / "bundle.zip")
    cases = _cases()
    chosen = cases if run.full else cases[:: len(cases) // 4]
    refused: list[str] = []

    def trial(case: Case, folder: Path) -> Found:
        name, change = case
        (folder / "victim").mkdir()
        (folder / "victim" / "file").write_text("precious")
        made = _Made(folder, source / "bundle.zip")
        change(made)
        path = made.write()
        (folder / "root").mkdir()
        before = _tree(folder, source)
        if _is_refused(folder / "root", path):
            refused.append(name)
        reached = sorted(set(before.items()) ^ set(_tree(folder, source).items()))
        if reached:
            raise AssertionError(f"{name} reached outside: {reached[:3]}")
        return Found(0, 0)

    run.trials(chosen, trial, workers=1)  # warnings are caught for the whole process
    reached = sum("reached outside" in failure for failure in run.failures)
    run.remarks.append(f"{len(chosen)} tried, {len(refused)} refused, {reached} reached outside")


def _is_refused(root: Path, path: Path) -> bool:
    """Import, and reproduce with and without a word; return whether anything was refused on the way."""
    from frameworm.experiment import ExperimentManager
    from frameworm.experiment.errors import ExperimentError, ReproductionError

    manager = ExperimentManager(root)
    try:
        with told():
            experiment_id = manager.import_bundle(path).experiment_id
    except ExperimentError:
        return True
    try:
        manager.reproduce(experiment_id)
    except ReproductionError:
        pass
    else:
        raise AssertionError("it ran without a word")
    try:
        found = manager.reproduce(experiment_id, trust=True)
    except ExperimentError:
        return True
    if found.outcome != "identical":
        raise AssertionError(f"it saw what the record set: {found.verdict}")
    return False


def _tree(folder: Path, source: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return all that is not the victim's own root: kind, time and bytes."""
    found = {}
    for top in (folder, source):
        for place in top.rglob("*"):
            if not place.is_relative_to(folder / "root"):
                look = place.lstat()
                content = place.read_bytes() if stat.S_ISREG(look.st_mode) else b""
                found[str(place)] = (look.st_mode, look.st_mtime_ns, content)
    return found
