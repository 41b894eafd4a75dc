"""Every kind of harm is found where it is, and mended without losing a byte; a healthy store is left as it is."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frameworm.experiment import ExperimentManager
from frameworm.experiment.errors import StoreError
from frameworm.experiment.keeping.edit import edit
from frameworm.experiment.model import NO_EPOCH
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.recording.journal import POINT, WriterName
from frameworm.experiment.recording.seal import seal
from frameworm.experiment.storage.segment_layout import BLOCK, DIRECTORY_ENTRY, FOOTER_SIZE, Footer, Stream
from tests.keeping.conftest import LONG, contents, flip, folder_of, log_file, tree

Crash = Callable[..., None]


def examine(root: Path, *, repair: bool = False) -> Any:
    return ExperimentManager(root).doctor(repair=repair)


def kinds(report: Any) -> list[str]:
    return sorted({finding.kind for finding in report.findings if not finding.mended})


def kept(root: Path) -> list[Path]:
    folder = root / ".frameworm" / "damaged"
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_healthy_store_is_left_as_it_is(root: Path) -> None:
    before = tree(root)
    seen: list[int] = []
    report = ExperimentManager(root).doctor(repair=True, advance=seen.append)
    assert report.healthy and report.findings == [] and report.experiments == 3
    assert sum(seen) == report.size_bytes > 0
    assert tree(root) == before


# ------------------------------------------------------------------------------------------ one harm each


def _temporary(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    os.utime(path, (0, 0))


def _half_made(root: Path) -> None:
    making = root / ".frameworm" / "making-9"
    (making / "logs").mkdir(parents=True)
    (making / "logs" / "journal-h-1-1").write_bytes(b"")
    os.utime(making, (0, 0))


def _edit_row(root: Path) -> None:
    with sqlite3.connect(root / "experiments.db") as connection:
        connection.execute("UPDATE experiments SET name = 'another' WHERE number = 2")
    connection.close()


def _edit_metric(root: Path) -> None:
    with sqlite3.connect(root / "experiments.db") as connection:
        connection.execute("UPDATE series SET last = last + 1 WHERE experiment = 2 AND name = 'loss'")
    connection.close()


HARMS: dict[str, tuple[Callable[[Path], object], str, str, str]] = {
    "metadata lost": (lambda r: (folder_of(r, "exp_002") / "metadata.json").unlink(), "metadata-differs", "wrong", ""),
    "metadata edited": (
        lambda r: (folder_of(r, "exp_002") / "metadata.json").write_text('{"name": "x"}'),
        "metadata-differs",
        "wrong",
        "",
    ),
    "metadata garbled": (
        lambda r: (folder_of(r, "exp_002") / "metadata.json").write_bytes(b"\xff{"),
        "metadata-differs",
        "wrong",
        "",
    ),
    "config edited": (
        lambda r: (folder_of(r, "exp_002") / "config.yaml").write_text("a: 1"),
        "config-differs",
        "wrong",
        "",
    ),
    "segment half written": (
        lambda r: _temporary(folder_of(r, "exp_002") / "logs" / "metrics-h-1-1.seg.77.tmp"),
        "temporary-file",
        "leftover",
        "metrics-h-1-1.seg.77.tmp",
    ),
    "artifact half copied": (
        lambda r: _temporary(folder_of(r, "exp_002") / "artifacts" / ".tmp-0011223344556677"),
        "temporary-file",
        "leftover",
        ".tmp-0011223344556677",
    ),
    "snapshot half written": (
        lambda r: _temporary(folder_of(r, "exp_002") / ".metadata.json.77"),
        "temporary-file",
        "leftover",
        ".metadata.json.77",
    ),
    "half made": (_half_made, "half-made", "leftover", "journal-h-1-1"),
    "no rights": (lambda r: log_file(r, "exp_002").chmod(0), "wrong-rights", "wrong", ""),
    "no catalog": (lambda r: (r / "experiments.db").unlink(), "catalog-missing", "leftover", ""),
    "catalog garbled": (lambda r: (r / "experiments.db").write_bytes(b"x" * 9000), "catalog-damaged", "damage", ""),
    "catalog page lost": (
        lambda r: (r / "experiments.db").open("r+b").truncate(8192),
        "catalog-damaged",
        "damage",
        "",
    ),
    "row edited": (_edit_row, "row-differs", "wrong", ""),
    "metric edited": (_edit_metric, "row-differs", "wrong", ""),
    "folder renamed": (
        lambda r: folder_of(r, "exp_002").rename(r / "exp_002_other"),
        "folder-without-row",
        "leftover",
        "",
    ),
    "folder gone": (lambda r: shutil.rmtree(folder_of(r, "exp_002")), "row-without-folder", "leftover", ""),
}


@pytest.mark.filterwarnings("ignore:.*could not be read as a catalog")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("harm", HARMS)
def test_a_harm_is_found_and_mended(root: Path, harm: str) -> None:
    act, kind, severity, put_aside = HARMS[harm]
    records = {path: path.read_bytes() for path in root.glob("*/logs/metrics-*.seg")}
    act(root)
    before = tree(root)
    found = examine(root)
    assert kind in kinds(found), found.findings
    assert severity in {finding.severity for finding in found.findings if finding.kind == kind}
    assert tree(root) == before, "a check changes nothing"
    mended = examine(root, repair=True)
    assert mended.healthy and any(finding.mended for finding in mended.findings)
    assert examine(root).findings == []
    for path, data in records.items():
        there = path if path.exists() else next(root.glob(f"{path.parent.parent.name[:7]}_*/logs/{path.name}"), None)
        assert there is None or there.read_bytes() == data
    assert [path.name for path in kept(root) if put_aside and put_aside in path.name] == [put_aside] * bool(put_aside)
    assert len(ExperimentManager(root).list_rows()) == (2 if harm == "folder gone" else 3)


# ------------------------------------------------------------------------------------------ damaged records


def test_one_damaged_block_of_a_long_series_costs_that_block_alone(root: Path) -> None:
    segment = log_file(root, "exp_001")
    whole = ExperimentReader(folder_of(root, "exp_001")).read("long")
    loss = ExperimentReader(folder_of(root, "exp_001")).read("loss")
    data = segment.read_bytes()
    where = Footer.parse(data[-FOOTER_SIZE:]).directory
    columns = np.frombuffer(data[where.offset :][: where.length], DIRECTORY_ENTRY)
    offset = int(columns["offset"][(columns["stream"] == Stream.VALUE) & (columns["count"] == BLOCK)][1])
    flip(segment, offset + 40)
    original = segment.read_bytes()
    found = examine(root)
    (finding,) = (f for f in found.findings if f.severity == "damage")
    assert (finding.kind, finding.offset, finding.path) == ("segment-damaged", offset, str(segment.relative_to(root)))
    assert examine(root, repair=True).healthy
    reader = ExperimentReader(folder_of(root, "exp_001"))
    left = reader.read("long")
    assert len(left) == LONG - 65_536
    assert np.array_equal(left.values, np.concatenate([whole.values[:65_536], whole.values[131_072:]]))
    assert np.array_equal(reader.read("loss").values, loss.values)
    assert "65,536 lost" in reader.info.notes[-1].text
    assert [path.read_bytes() for path in kept(root)] == [original]
    assert examine(root).findings == []


def test_lost_events_are_taken_from_the_snapshot(root: Path) -> None:
    folder, segment = folder_of(root, "exp_002"), log_file(root, "exp_002")
    before = contents(folder)
    data = segment.read_bytes()
    flip(segment, Footer.parse(data[-FOOTER_SIZE:]).events.offset + 30)
    report = examine(root, repair=True)
    assert report.healthy, kinds(report)
    after = contents(folder)
    assert after["points"] == before["points"] and after["summaries"] == before["summaries"]
    differing = {name for name in before["info"] if after["info"][name] != before["info"][name]}
    assert differing <= {"notes", "updated_ms"}
    assert "events as metadata.json has them" in after["info"]["notes"][-1].text


@pytest.mark.parametrize("where", ["header", "footer"])
def test_what_cannot_be_read_at_all_is_left_where_it_is(root: Path, where: str) -> None:
    segment = log_file(root, "exp_002")
    flip(segment, 0 if where == "header" else segment.stat().st_size - 60)
    before = segment.read_bytes()
    report = examine(root, repair=True)
    assert not report.healthy and {"segment-damaged", "logs-lost"} <= set(kinds(report))
    assert segment.read_bytes() == before and kept(root) == []


def test_a_damaged_segment_gives_way_to_the_journal_beside_it(root: Path, crash: Crash) -> None:
    crash(root, "e = Experiment('x', **quiet).start()\nfor i in range(3000): e.log_metric('loss', i)\ne.flush()")
    folder = folder_of(root, "exp_004")
    journal = log_file(root, "exp_004", "journal")
    before = contents(folder)["points"]
    data = journal.read_bytes()
    name = WriterName.parse(journal.name)
    assert name is not None
    seal(journal.parent, name)
    journal.write_bytes(data)
    assert "sealed-already" in kinds(examine(root))
    flip(log_file(root, "exp_004"), 200)
    assert "segment-damaged" in kinds(examine(root))
    report = examine(root, repair=True)
    assert report.healthy, [(f.kind, f.what, f.mended) for f in report.findings]
    assert contents(folder)["points"] == before
    assert [path.name for path in kept(root)] == [name.segment]


def test_a_journal_beside_its_segment_goes_only_if_it_is_the_same(root: Path, crash: Crash) -> None:
    for _ in range(2):
        crash(root, "e = Experiment('x', **quiet).start()\nfor i in range(3000): e.log_metric('loss', i)\ne.flush()")
    for one, appended in (("exp_004", b""), ("exp_005", None)):
        journal = log_file(root, one, "journal")
        data = journal.read_bytes()
        name = WriterName.parse(journal.name)
        assert name is not None
        seal(journal.parent, name)
        journal.write_bytes(data if appended is not None else data + POINT.pack(1, NO_EPOCH, 3000, 0, 1.5))
    found = {(f.experiment_id, f.kind) for f in examine(root).findings}
    assert ("exp_004", "sealed-already") in found and ("exp_005", "differs-from-segment") in found
    assert examine(root, repair=True).healthy
    assert not list(root.glob("exp_00[45]*/logs/journal-*"))
    assert [path.parent.parent.name for path in kept(root)] == ["exp_005_x"]


def test_a_crashed_experiment_is_sealed_and_reads_the_same(root: Path, crash: Crash) -> None:
    body = "e = Experiment('x', {'a': 1}, **quiet).start()\nfor i in range(3000): e.log_metric('loss', i * 0.1)"
    crash(root, body)
    folder = folder_of(root, "exp_004")
    with log_file(root, "exp_004", "journal").open("ab") as file:
        file.write(b"\1\0\0\0torn")
    before = contents(folder)
    assert before["info"]["status"] == "crashed"
    (finding,) = (f for f in examine(root).findings if f.kind == "unsealed")
    assert "8 bytes of a record" in finding.what
    assert examine(root, repair=True).healthy
    assert contents(folder) == before
    assert log_file(root, "exp_004").name.startswith("metrics-")
    assert json.loads((folder / "metadata.json").read_text())["status"] == "crashed"


def test_a_damaged_journal_is_written_anew_and_kept(root: Path, crash: Crash) -> None:
    crash(
        root, "e = Experiment('x', **quiet).start()\nfor i in range(3000): e.log_metric('loss', i)\ne.add_note('late')"
    )
    journal = log_file(root, "exp_004", "journal")
    data = journal.read_bytes()
    flip(journal, data.index(b'"type":"config"') + 20)
    damaged = journal.read_bytes()
    assert "journal-damaged" in kinds(examine(root))
    assert examine(root, repair=True).healthy
    reader = ExperimentReader(folder_of(root, "exp_004"))
    assert reader.read("loss").values.tolist() == [float(i) for i in range(3000)]
    late, told = (note.text for note in reader.info.notes)
    assert late == "late" and "was damaged at byte" in told
    assert [path.read_bytes() for path in kept(root)] == [damaged]


def test_a_running_experiment_is_looked_at_and_not_touched(root: Path, running: Any) -> None:
    with running(root) as exp:
        exp.flush()
        _temporary(exp.log_dir / "metrics-h-1-1.seg.77.tmp")
        (exp.exp_dir / "config.yaml").unlink()
        before = log_file(root, exp.experiment_id, "journal").read_bytes()
        report = examine(root, repair=True)
        assert report.running == [exp.experiment_id]
        assert (exp.log_dir / "metrics-h-1-1.seg.77.tmp").read_bytes() == b"half"
        assert not (exp.exp_dir / "config.yaml").exists() and kept(root) == []
        assert log_file(root, exp.experiment_id, "journal").read_bytes().startswith(before)
    assert ExperimentReader(exp.exp_dir).info.status == "completed"


# ------------------------------------------------------------------------------------------ artifacts and the root


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lambda path: path.unlink(), "artifact-missing"),
        (lambda path: flip(path, 10), "artifact-changed"),
        (lambda path: path.write_bytes(b"short"), "artifact-changed"),
        (lambda path: (path.unlink(), path.mkdir()), "artifact-changed"),
    ],
    ids=["missing", "flipped", "cut", "a folder"],
)
def test_an_artifact_that_is_not_as_recorded_is_told(root: Path, harm: Callable[[Path], object], kind: str) -> None:
    harm(folder_of(root, "exp_003") / "artifacts" / "model.pt")
    before = tree(root)
    report = examine(root, repair=True)
    assert [(f.kind, f.severity, f.mended) for f in report.findings] == [(kind, "damage", False)]
    assert tree(root) == before


def test_two_folders_with_one_id_are_told_with_the_way_out(root: Path) -> None:
    folder = folder_of(root, "exp_002")
    shutil.copytree(folder, root / "exp_002_zz")
    (finding,) = examine(root, repair=True).findings
    assert (finding.kind, finding.path, finding.mended) == ("same-id", "exp_002_zz", False)
    assert finding.remedy.endswith("mv exp_002_zz exp_004_zz")
    assert (root / "exp_002_zz").is_dir()


def test_ids_without_an_experiment_are_as_they_should_be(root: Path) -> None:
    ExperimentManager(root).delete_experiment("exp_002")
    report = examine(root)
    assert report.healthy and report.free_numbers == [2]


def test_a_folder_that_is_no_experiment_is_told(root: Path) -> None:
    (root / "exp_009_empty").mkdir()
    report = examine(root, repair=True)
    assert kinds(report) == ["unreadable"] and not report.healthy


def test_another_programs_database_is_left_alone(root: Path) -> None:
    (root / "experiments.db").unlink()
    with sqlite3.connect(root / "experiments.db") as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    before = (root / "experiments.db").read_bytes()
    assert kinds(examine(root, repair=True)) == ["catalog-damaged"]
    assert (root / "experiments.db").read_bytes() == before


def test_a_read_only_store_can_be_checked_and_not_mended(root: Path, read_only: Callable[[Path], Path]) -> None:
    (folder_of(root, "exp_002") / "config.yaml").unlink()
    mounted = read_only(root)
    assert kinds(examine(mounted)) == ["config-differs"]
    with pytest.raises(StoreError, match="cannot be written"):
        examine(mounted, repair=True)


KILLED = """
import os, random, signal, sys, time
from frameworm.experiment import Experiment
for number in range(8):
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        exp = Experiment("run", {"i": 0}, root_dir=sys.argv[1], capture_console=False, system_metrics_s=0).start()
        os.write(writing, b".")
        for i in range(10**9):
            exp.update_config({"i": i, "words": ["x"] * 200})
    os.read(reading, 1)
    time.sleep(random.Random(number).random() / 20)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading), os.close(writing)
"""


def test_after_kills_between_events_and_snapshots_nothing_is_called_wrong(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, str(tmp_path)], check=True, timeout=120)
    manager = ExperimentManager(tmp_path)
    findings = manager.doctor().findings
    assert {finding.severity for finding in findings} <= {"leftover"}, [f for f in findings if f.severity != "leftover"]
    for finding in findings:
        if finding.kind == "config-differs":
            assert "died before it could write it" in finding.what
    manager.doctor(repair=True)
    assert manager.doctor().findings == []


def test_a_root_and_a_folder_whose_names_are_not_utf_8(root: Path) -> None:
    odd = root.rename(root.with_name(os.fsdecode(b"r\xff\xe9t")))
    manager = ExperimentManager(odd)
    assert manager.doctor().findings == []
    folder = folder_of(odd, "exp_002")
    folder = folder.rename(folder.with_name(os.fsdecode(b"exp_002_\xff")))
    edit(folder, {"type": "note", "text": "written beside an odd name"})
    assert json.loads((folder / "metadata.json").read_bytes())["notes"][-1]["text"] == "written beside an odd name"
