"""Edits after the end, beside a running experiment, of a crashed one; and on a store that cannot be written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import ExperimentNotFoundError, InputError, StoreError
from frameworm.experiment.keeping.compact import compact
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.storage.catalog import Catalog
from tests.keeping.conftest import QUIET, contents, folder_of, tree


def test_every_edit_is_in_the_record_the_snapshot_and_the_catalog(root: Path) -> None:
    manager = ExperimentManager(root)
    before = manager.get_experiment("exp_002")
    assert manager.add_tags("exp_002", "good", "vae", "x") == ["vae", "good", "x"]
    assert manager.remove_tags("exp_002", "vae", "never there") == ["good", "x"]
    manager.add_note("exp_002", "two\nlines")
    manager.set_description("exp_002", "another")
    manager.rename("exp_002", "Renamed: ü")
    after = manager.get_experiment("exp_002")
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"tags", "notes", "description", "name", "updated_at", "writers"}
    assert (after["tags"], after["description"], after["name"]) == (["good", "x"], "another", "Renamed: ü")
    assert after["notes"][-1]["text"] == "two\nlines"
    snapshot = json.loads((folder_of(root, "exp_002") / "metadata.json").read_text())
    assert snapshot["name"] == "Renamed: ü" and snapshot["tags"] == ["good", "x"]
    catalog = Catalog.open(root)  # as it is, not brought up to date
    assert not catalog.folders().stale
    (row,) = manager.list_rows("name == 'Renamed: ü'")
    assert row["tags"] == ["good", "x"] and folder_of(root, "exp_002").name == "exp_002_run_1"
    assert manager.doctor().findings == []


def test_an_edit_is_compacted_like_anything_else(root: Path) -> None:
    manager = ExperimentManager(root)
    for n in range(5):
        manager.add_tags("exp_002", f"t{n}")
    folder = folder_of(root, "exp_002")
    before = contents(folder)
    assert compact(folder).files_after == 1
    assert contents(folder) == before
    assert manager.add_tags("exp_002", "later")[-1] == "later"


def test_a_running_experiment_keeps_the_edit(tmp_path: Path) -> None:
    manager_root = tmp_path / "experiments"
    with Experiment("runs", tags=["a"], root_dir=manager_root, **QUIET) as exp:
        manager = ExperimentManager(manager_root)
        assert manager.edit_tags("exp_001", add=["b"], remove=["a"]) == ["b"]
        manager.add_note("exp_001", "seen")
        assert manager.get_experiment("exp_001")["status"] == "running"
        exp.log_metric("loss", 1.0)
    info = ExperimentReader(exp.exp_dir).info
    assert (info.status, info.tags, [note.text for note in info.notes]) == ("completed", ("b",), ["seen"])
    assert json.loads((exp.exp_dir / "metadata.json").read_text())["tags"] == ["b"]
    assert manager.list_rows()[0]["tags"] == ["b"]


def test_an_editor_makes_no_crashed_experiment_live_or_end_later(root: Path, crash: Callable[..., None]) -> None:
    crash(root, "e = Experiment('x', **quiet).start()\ne.log_metric('loss', 1.0)")
    folder = folder_of(root, "exp_004")
    before = ExperimentReader(folder).info
    ExperimentManager(root).add_note("exp_004", "why?")
    (journal,) = [p for p in (folder / "logs").glob("journal-*") if b'"role":"editor"' in p.read_bytes()]
    # This process, which lives, has not closed its journal.
    journal.write_bytes(journal.read_bytes()[:-40])
    assert not ExperimentReader(folder).info.writers[-1]["closed"]
    after = ExperimentReader(folder).info
    assert (after.status, after.ended_ms, after.duration_s) == ("crashed", before.ended_ms, before.duration_s)


def test_an_edit_wins_over_what_a_fast_clock_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from frameworm.experiment.keeping import edit

    with Experiment("x", tags=["a"], root_dir=tmp_path, **QUIET):
        pass
    monkeypatch.setattr(edit, "now_ms", lambda: 1_000)
    assert ExperimentManager(tmp_path).edit_tags("exp_001", add=["b"], remove=["a"]) == ["b"]


def test_what_is_not_allowed_changes_nothing(root: Path) -> None:
    manager = ExperimentManager(root)
    before = tree(root)
    wrong: list[Callable[[], Any]] = [
        lambda: manager.add_tags("exp_001", ""),
        lambda: manager.add_tags("exp_001", "a\nb"),
        lambda: manager.add_note("exp_001", 3),  # type: ignore[arg-type]
        lambda: manager.rename("exp_001", "two\nlines"),
    ]
    for call in wrong:
        with pytest.raises(InputError):
            call()
    with pytest.raises(ExperimentNotFoundError):
        manager.add_tags("exp_099", "x")
    assert tree(root) == before


def test_a_read_only_store_says_so(root: Path, read_only: Callable[[Path], Path]) -> None:
    manager = ExperimentManager(read_only(root))
    with pytest.raises(StoreError, match=r"exp_001_run_0 cannot be written, so nothing was changed: .*[Rr]ead-only"):
        manager.add_tags("exp_001", "x")
