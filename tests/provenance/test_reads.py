"""What is noted of what a program reads: files, modules and variables, by a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment.provenance.data import fingerprint

SOURCE = Path(__file__).parents[2] / "src"
HEAD = """\
import os, sys, json, shutil, subprocess
from frameworm.experiment import Experiment
"""
LINE = 'exp = Experiment("x", root_dir="r", capture_console=False, system_metrics_s=0, record_inputs=True).start()\n'


def record(folder: Path, program: str, variables: dict[str, str] | None = None) -> dict[str, Any]:
    """Run a program and return what it recorded; ``<start>`` in it stands for the start of the experiment."""
    (folder / "program.py").write_text(HEAD + program.replace("<start>", LINE) + "exp.end()\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAMEWORM_", "GIT_"))}
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(SOURCE), **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    (metadata,) = folder.glob("r/exp_*/metadata.json")
    found: dict[str, Any] = json.loads(metadata.read_text())
    return found


def names(files: list[Any]) -> set[str]:
    return {os.path.basename(file["path"] if isinstance(file, dict) else file) for file in files}


def test_files_are_noted_before_and_after_the_start_with_their_content(tmp_path: Path) -> None:
    (tmp_path / "early.json").write_text("{}")
    (tmp_path / "late.csv").write_text("1\n")
    (tmp_path / "mine.py").write_text("X = 1\n")
    (tmp_path / "unread.csv").write_text("2\n")
    reads = record(tmp_path, 'json.load(open("early.json"))\n<start>import mine\nopen("late.csv", "rb").read()\n')
    reads = reads["environment"]["reads"]
    assert names(reads["files"]) == {"early.json", "late.csv", "mine.py", "program.py"}
    by_name = {os.path.basename(file["path"]): file for file in reads["files"]}
    assert by_name["late.csv"]["size_bytes"] == 2 and by_name["late.csv"]["digest"].startswith("sha256:")
    assert by_name["mine.py"]["code"] and "code" not in by_name["late.csv"]
    assert (reads["whole"], reads["beside"], reads["written"]) == (True, [], [])


def test_what_a_run_writes_is_no_input(tmp_path: Path) -> None:
    program = """\
open("results.csv", "a").write("x")
<start>
open("made.bin", "wb").write(b"x" * 9)
open("made.bin", "rb").read()
exp.log_artifact("made.bin")
exp.log_artifact("kept.bin")
open("copy.tmp", "w").close(); os.replace("copy.tmp", "moved.bin"); open("moved.bin").read()
shutil.copy("kept.bin", "copied.bin"); open("copied.bin").read()
"""
    (tmp_path / "kept.bin").write_text("k")
    found = record(tmp_path, program)
    assert [one["name"] for one in found["datasets"]] == ["kept.bin"]  # it was read, to be copied
    written = names(found["environment"]["reads"]["written"])
    assert {"results.csv", "made.bin", "moved.bin", "copied.bin"} <= written


def test_an_artifact_that_is_only_logged_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"w")  # as C code would have written it, unseen
    found = record(tmp_path, '<start>exp.log_artifact("weights.pt")\n')
    assert found["datasets"] == []
    assert names(found["environment"]["reads"]["files"]) == {"program.py"}


def test_a_file_that_is_written_anew_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "last.json").write_text('{"n": 1}')
    found = record(tmp_path, 'json.load(open("last.json"))\n<start>open("last.json", "w").write("{}!")\n')
    (file,) = (one for one in found["environment"]["reads"]["files"] if one["path"].endswith("last.json"))
    assert file["rewritten"] and file["size_bytes"] == 8 and "digest" not in file


@pytest.mark.parametrize(
    "look",
    [
        'os.environ["MY_SCALE"]',
        'os.environ.get("MY_SCALE")',
        'os.getenv("MY_SCALE", "1")',
        '"MY_SCALE" in os.environ',
        'os.environb[b"MY_SCALE"]',
        'os.environ.setdefault("MY_SCALE", "3")',
        '[os.environ[name] for name in os.environ if name.startswith("MY_SC")]',
    ],
)
def test_variables_that_are_looked_at_are_noted(tmp_path: Path, look: str) -> None:
    reads = record(tmp_path, f"{look}\n<start>", {"MY_SCALE": "2", "MY_OTHER": "4"})["environment"]["reads"]
    assert reads["variables"] == {"MY_SCALE": "2"}


def test_variables_not_set_are_noted_and_copies_of_all_are_not(tmp_path: Path) -> None:
    program = """\
dict(os.environ); os.environ.copy(); list(os.environ.items()); {**os.environ}; os.environ | {}
<start>
"NOT_SET" in os.environ
os.environ["SET_HERE"] = "5"
assert os.environ["SET_HERE"] == os.environb[b"SET_HERE"].decode() == "5"
assert subprocess.run(["sh", "-c", "echo $SET_HERE"], capture_output=True).stdout == b"5\\n"
del os.environ["SET_HERE"]
assert "SET_HERE" not in dict(os.environ) and type(os.environ).__name__ == "_Environ"
"""
    reads = record(tmp_path, program, {"MY_OTHER": "4"})["environment"]["reads"]
    assert reads["variables"] == {"SET_HERE": "5"} and reads["unset"] == ["NOT_SET"]
    assert reads["beside"] == ["children"]


def test_no_secret_of_a_variable_reaches_the_disk(tmp_path: Path) -> None:
    secrets = {
        "SERVICE_PASSWORD": "hunter2-hunter2",
        "MY_API_KEY": "plain-looking-9",
        "DATABASE_URL": "postgres://me:s3cr3tword@host/db",
        "WORDS": "--token=abcd1234efgh5678",
    }
    looks = "".join(f"os.environ[{name!r}]\n" for name in secrets)
    found = record(tmp_path, f"{looks}<start>", secrets)["environment"]["reads"]["variables"]
    assert set(found) == set(secrets) and found["DATABASE_URL"] == "postgres://me:***@host/db"
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("r/**/*") if path.is_file())
    for word in (b"hunter2", b"plain-looking", b"s3cr3tword", b"efgh5678"):
        assert word not in kept


def test_two_files_of_one_name_in_two_working_folders_are_two(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.csv").write_text(name)
    program = 'os.chdir("one"); open("data.csv").read(); os.chdir("../two"); open("data.csv").read(); os.chdir("..")\n'
    files = record(tmp_path, f"{program}<start>")["environment"]["reads"]["files"]
    assert {file["path"] for file in files if file["path"].endswith("csv")} == {
        os.path.realpath(tmp_path / name / "data.csv") for name in ("one", "two")
    }


def test_fingerprints_of_inputs_are_those_of_log_dataset(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("1\n")
    (found,) = record(tmp_path, '<start>open("train.csv").read()\n')["datasets"]
    assert found["fingerprint"] == fingerprint(tmp_path / "train.csv")["fingerprint"] and found["opened"]
