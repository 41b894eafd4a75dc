"""The commands that keep a store healthy, as a user types them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]
Terminal = Callable[..., Any]


def document(result: Result) -> Any:
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def harm(root: Path) -> None:
    """Damage a segment, lose a snapshot, edit another."""
    segment = next(root.glob("exp_001_*/logs/*.seg"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 3] ^= 1
    segment.write_bytes(data)
    next(root.glob("exp_002_*/metadata.json")).unlink()
    next(root.glob("exp_003_*/config.yaml")).write_text("x: 1")


def test_doctor_says_that_all_is_well(run: Run, own_root: Path) -> None:
    run("list", root_dir=own_root)
    well = run("doctor", root_dir=own_root)
    assert well.exit_code == 0 and well.stdout.startswith("✓ healthy: 4 experiments in ")
    assert document(run("doctor", "--json", root_dir=own_root))["findings"] == []


def test_doctor_finds_and_repairs(run: Run, own_root: Path) -> None:
    harm(own_root)
    found = run("doctor", root_dir=own_root)
    assert found.exit_code == 1
    assert re.search(r"✗ damage +exp_001_vae_baseline/logs/metrics-\S+\.seg at byte \d+", found.stdout)
    assert "`frameworm doctor --repair` mends all of these, and deletes nothing" in found.stdout
    rows = document(run("doctor", "--json", root_dir=own_root))["findings"]
    assert {row["kind"] for row in rows} >= {"segment-damaged", "metadata-differs", "config-differs"}
    assert all(row["mendable"] and not row["mended"] for row in rows)
    mended = run("doctor", "--repair", root_dir=own_root)
    assert mended.exit_code == 0 and "mended, nothing is left" in mended.stdout
    assert run("doctor", root_dir=own_root).stdout.startswith("✓ healthy")


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_doctor_fits_the_terminal(terminal: Terminal, own_root: Path, columns: int) -> None:
    harm(own_root)
    seen = terminal("doctor", "--root-dir", str(own_root), columns=columns, NO_COLOR="1")
    assert seen.returncode == 1
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.text).split("\r")[-1]
    root_line = [line for line in text.split("\n") if str(own_root) in line]
    assert all(len(line) <= columns for line in text.split("\n") if line not in root_line)


def test_compact_shows_before_and_after(run: Run, own_root: Path) -> None:
    run("note", "exp_001", "an edit makes a journal", root_dir=own_root)
    shown = run("compact", "exp_001", "exp_002", root_dir=own_root)
    assert shown.exit_code == 0 and re.search(r"exp_001  2 → 1 +[\d.]+ k?B → [\d.]+ k?B", shown.stdout)
    assert "1 had nothing to merge" in shown.stdout
    (done,) = document(run("compact", "exp_001", "--json", root_dir=own_root))
    assert (done["files_before"], done["files_after"], done["skipped"]) == (1, 1, "")
    assert run("compact", root_dir=own_root).exit_code == 2
    assert "exp_020, exp_021" in run("compact", "exp_020", "exp_021", root_dir=own_root).stderr


def test_prune_shows_asks_and_moves(terminal: Terminal, run: Run, own_root: Path) -> None:
    arguments = ("prune", "--keep-best", "1", "--by", "val_loss", "--tag", "vae", "--root-dir", str(own_root))
    no = terminal(*arguments, columns=80, typed="n\n", NO_COLOR="1")
    assert no.returncode == 1 and "nothing was moved" in no.text and len(list(own_root.glob("exp_*"))) == 4
    assert "exp_002  vae fast" in no.text and "1 experiment: " in no.text and "exp_001" not in no.text
    yes = terminal(*arguments, columns=80, typed="y\n", NO_COLOR="1")
    assert yes.returncode == 0 and not list(own_root.glob("exp_002*"))
    assert "exp_002  vae fast  ✓ completed" in run("trash", root_dir=own_root).stdout


def test_prune_without_a_terminal(run: Run, own_root: Path) -> None:
    assert "--yes" in run("prune", "--status", "failed", root_dir=own_root).stderr
    dry = document(run("prune", "--status", "failed", "--dry-run", "--json", root_dir=own_root))
    assert [one["experiment_id"] for one in dry["experiments"]] == ["exp_003"] and dry["size_bytes"] > 0
    done = document(run("prune", "--status", "failed", "--yes", "--json", root_dir=own_root))
    assert Path(done["experiments"][0]["moved_to"]).is_dir()
    assert run("prune", "--status", "failed", "--yes", root_dir=own_root).stdout == "nothing to prune\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--keep-best", "2"], ["--by", "loss"], ["--status", "x"], ["--artifacts-only", "--checkpoints-only"]],
)
def test_prune_wants_to_be_understood(run: Run, arguments: list[str]) -> None:
    assert run("prune", *arguments).exit_code == 2


def test_trash_and_restore(run: Run, own_root: Path) -> None:
    assert run("trash", root_dir=own_root).stdout == "the trash is empty\n"
    run("delete", "exp_001", "exp_002", "--yes", root_dir=own_root)
    assert run("restore", "exp_001", root_dir=own_root).stdout.startswith("exp_001 is back: ")
    assert "nothing was restored" not in run("restore", "exp_002", "--json", root_dir=own_root).stdout
    run("delete", "exp_002", "--yes", root_dir=own_root)
    (entry,) = document(run("trash", "--json", root_dir=own_root))
    assert (entry["experiment_id"], entry["name"], entry["whole"]) == ("exp_002", "vae fast", True)
    assert "--yes" in run("trash", "empty", root_dir=own_root).stderr
    assert run("trash", "empty", "--older-than", "1h", "--yes", root_dir=own_root).stdout.startswith("removed 0 B")
    assert re.match(r"removed [\d.]+ kB for good", run("trash", "empty", "--yes", root_dir=own_root).stdout)
    assert run("restore", "exp_002", root_dir=own_root).exit_code == 1
    assert run("trash", "--yes", root_dir=own_root).exit_code == 2


def test_tag_and_note(run: Run, own_root: Path) -> None:
    done = run("tag", "exp_001", "exp_003", "+good", "-mnist", "-hard", "+two words", root_dir=own_root)
    assert done.stdout == "exp_001: vae, good, two words\nexp_003: good, two words\n"
    assert document(run("tag", "exp_003", "-good", "--json", root_dir=own_root))[0]["tags"] == ["two words"]
    assert run("tag", "exp_001", root_dir=own_root).exit_code == 2
    unknown = run("tag", "exp_001", "exp_020", "exp_021", "+x", root_dir=own_root)
    assert unknown.exit_code == 1 and "exp_020, exp_021" in unknown.stderr
    assert "x" not in document(run("show", "exp_001", "--json", root_dir=own_root))["tags"]
    assert run("note", "exp_001", "seen", root_dir=own_root).exit_code == 0
    assert document(run("show", "exp_001", "--json", root_dir=own_root))["notes"][-1]["text"] == "seen"


def test_delete_names_all_that_are_unknown(run: Run, own_root: Path) -> None:
    refused = run("delete", "exp_001", "exp_020", "exp_021", "--yes", root_dir=own_root)
    assert refused.exit_code == 1 and "exp_020, exp_021" in refused.stderr
    assert list(own_root.glob("exp_001_*"))
