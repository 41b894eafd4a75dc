"""The catalog: what goes in comes out, and no fault of its file costs more than a rebuild."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from frameworm.experiment.config import load_json
from frameworm.experiment.errors import FramewormWarning, InputError, StoreError, StoreVersionError
from frameworm.experiment.model import Artifact, ExperimentInfo, Note, SeriesSummary
from frameworm.experiment.storage import schema
from frameworm.experiment.storage.catalog import Catalog, CatalogDamageError, CatalogUnavailableError
from frameworm.experiment.storage.schema import Entry

DOCS = Path(__file__).parents[2] / "docs" / "formats" / "catalog.md"


def info(root: Path, number: int = 1, **values: Any) -> ExperimentInfo:
    experiment_id = f"exp_{number:03d}"
    made = ExperimentInfo(
        experiment_id=experiment_id,
        uid=f"{number:032x}",
        name="run",
        path=root / f"{experiment_id}_run",
        status="completed",
        created_ms=1_700_000_000_000 + number,
    )
    return replace(made, **values)


def summary(name: str = "loss", context: str = "train", **values: Any) -> SeriesSummary:
    made = SeriesSummary(name, context, 3, 0, 1.0, 0.5, 0.25, 1.0, 1.75, 2, -(2**31), 10, 30)
    return made._replace(**values)


def table(catalog: Catalog, of: sa.Table) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in catalog.rows(sa.select(of).order_by(*of.primary_key))]


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class TestRows:
    def test_every_column_holds_what_was_given(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        given = info(
            tmp_path,
            7,
            name="näme",
            project="p",
            description="d",
            status="failed",
            updated_ms=5,
            started_ms=3,
            ended_ms=4,
            duration_s=1.5,
            tags=("b", "a"),
            notes=(Note("one", 1), Note("two", 2)),
            config={"training": {"lr": 0.1}, "name": "x"},
            artifacts=(Artifact("m/best.pt", "artifacts/m/best.pt", "model", 2, 10, "sha256:0", 9),),
            git={"commit": "abc", "branch": "main", "dirty": True},
        )
        catalog.upsert_many([Entry(given, [summary()], stale=True, fingerprint="f")])
        assert table(catalog, schema.experiments) == [
            {
                "number": 7,
                "experiment_id": "exp_007",
                "uid": given.uid,
                "name": "näme",
                "project": "p",
                "description": "d",
                "status": "failed",
                "created_ms": given.created_ms,
                "updated_ms": 5,
                "started_ms": 3,
                "ended_ms": 4,
                "duration_s": 1.5,
                "git_hash": "abc",
                "git_branch": "main",
                "git_dirty": True,
                "notes": "one\ntwo",
                "tag_list": '["b","a"]',
                "damage": None,
                "fork_of": None,
                "folder": "exp_007_run",
                "stale": True,
                "fingerprint": "f",
            }
        ]
        assert [row["tag"] for row in table(catalog, schema.tags)] == ["b", "a"]
        assert table(catalog, schema.params) == [
            {"key": "name", "experiment": 7, "value": '"x"', "number": None, "text": "x"},
            {"key": "training.lr", "experiment": 7, "value": "0.1", "number": 0.1, "text": None},
        ]
        [series] = table(catalog, schema.series)
        assert {key: series[key] for key in ("name", "experiment", "context", "is_default", "count", "mean")} == {
            "name": "loss",
            "experiment": 7,
            "context": "train",
            "is_default": True,
            "count": 3,
            "mean": 1.75 / 3,
        }
        [artifact] = table(catalog, schema.artifacts)
        assert artifact == {
            "experiment": 7,
            "name": "m/best.pt",
            "version": 2,
            "path": "artifacts/m/best.pt",
            "artifact_type": "model",
            "size_bytes": 10,
            "digest": "sha256:0",
            "logged_ms": 9,
        }

    def test_a_second_upsert_replaces_everything(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many(
            [Entry(info(tmp_path, tags=("a", "b"), config={"x": 1, "y": 2}), [summary("old")], stale=True)]
        )
        catalog.upsert_many([Entry(info(tmp_path, tags=("c",), config={"x": 3}), [summary("new")], stale=False)])
        assert [row["tag"] for row in table(catalog, schema.tags)] == ["c"]
        assert [(row["key"], row["value"]) for row in table(catalog, schema.params)] == [("x", "3")]
        assert [row["name"] for row in table(catalog, schema.series)] == ["new"]
        assert catalog.folders() == ({"exp_001_run"}, {})

    def test_remove_forgets_all_tables_and_ignores_unknown_ids(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        artifact = Artifact("a", "artifacts/a", "file", 1, 1, "sha256:0")
        for number in (1, 2):
            one = info(tmp_path, number, tags=("t",), config={"x": 1}, artifacts=(artifact,))
            catalog.upsert_many([Entry(one, [summary()], stale=False)])
        catalog.remove(["exp_001", "exp_999"])
        for of in (schema.tags, schema.params, schema.series, schema.artifacts):
            assert [row["experiment"] for row in table(catalog, of)] == [2]
        assert [row["number"] for row in table(catalog, schema.experiments)] == [2]

    def test_mark_stale_shows_in_folders(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many(Entry(info(tmp_path, n), [], False, "f") for n in (1, 2))
        catalog.mark_stale("exp_002")
        assert catalog.folders() == ({"exp_001_run"}, {"exp_002_run": ("completed", "")})

    @pytest.mark.parametrize("value", [math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1])
    def test_floats_survive_bit_for_bit(self, tmp_path: Path, value: float) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many([Entry(info(tmp_path, config={"x": value}), [summary(last=value)], stale=False)])
        [series], [param] = table(catalog, schema.series), table(catalog, schema.params)
        assert series["last"].hex() == value.hex()
        assert param["number"].hex() == value.hex()
        assert load_json(param["value"]).hex() == value.hex()

    def test_zero_loses_its_sign_but_not_in_a_param(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many([Entry(info(tmp_path, config={"x": -0.0}), [summary(last=-0.0)], stale=False)])
        [series], [param] = table(catalog, schema.series), table(catalog, schema.params)
        assert series["last"] == 0.0
        assert load_json(param["value"]).hex() == (-0.0).hex()

    def test_nan_is_null_in_a_row_that_is_there(self, tmp_path: Path) -> None:
        nan = math.nan
        catalog = Catalog.open(tmp_path)
        only_nan = summary(count=2, nan_count=2, first=nan, last=nan, min=nan, max=nan, sum=nan)
        catalog.upsert_many([Entry(info(tmp_path, config={"x": nan}), [only_nan], stale=False)])
        [series], [param] = table(catalog, schema.series), table(catalog, schema.params)
        assert [series[key] for key in ("first", "last", "min", "max", "mean")] == [None] * 5
        assert param["number"] is None
        assert math.isnan(load_json(param["value"]))

    @pytest.mark.parametrize(
        "value", [2**53 + 1, 2**63, -(2**64), 10**400], ids=["53 bits", "63 bits", "64 bits", "huge"]
    )
    def test_large_integers_are_exact_as_text_and_comparable_as_numbers(self, tmp_path: Path, value: int) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many([Entry(info(tmp_path, config={"seed": value}), [], stale=False)])
        [param] = table(catalog, schema.params)
        assert load_json(param["value"]) == value
        assert param["number"] == (math.inf if value == 10**400 else float(value))

    @pytest.mark.parametrize(
        ("contexts", "default"),
        [
            (["val", "train"], "train"),
            (["test", "val"], "val"),
            (["b", "test"], "test"),
            (["system", "b", "a"], "b"),
            (["system"], "system"),
        ],
    )
    def test_one_context_is_the_default(self, tmp_path: Path, contexts: list[str], default: str) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many([Entry(info(tmp_path), [summary("m", context) for context in contexts], stale=False)])
        assert [row["context"] for row in table(catalog, schema.series) if row["is_default"]] == [default]

    def test_half_a_surrogate_pair_costs_no_row(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many(
            [Entry(info(tmp_path, 1, name="\ud800"), [], False), Entry(info(tmp_path, 2, name="é"), [], False)]
        )
        assert [row["name"] for row in table(catalog, schema.experiments)] == ["\\ud800", "é"]

    def test_a_value_that_cannot_be_stored_is_an_input_error_and_changes_nothing(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        bad = info(tmp_path, 2, name=None)
        with pytest.raises(InputError, match="cannot be stored"):
            catalog.upsert_many([Entry(info(tmp_path, 1), [], False), Entry(bad, [], False)])
        assert table(catalog, schema.experiments) == []

    @pytest.mark.parametrize("bad", ["exp_1", "exp_0001", "7", "", "exp_001/../x", "exp_001_run"])
    def test_only_ids_are_ids(self, tmp_path: Path, bad: str) -> None:
        with pytest.raises(InputError, match="exp_001"):
            Catalog.open(tmp_path).mark_stale(bad)

    def test_has_metric_knows_exact_names(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many([Entry(info(tmp_path), [summary("a/b.min")], stale=False)])
        assert catalog.has_metric("a/b.min")
        assert not catalog.has_metric("a/b")


class TestFile:
    def test_it_is_in_rollback_mode_and_leaves_no_file_beside(self, tmp_path: Path) -> None:
        Catalog.open(tmp_path).upsert_many([Entry(info(tmp_path), [], stale=False)])
        assert sorted(os.listdir(tmp_path)) == ["experiments.db"]
        connection = sqlite3.connect(tmp_path / "experiments.db")
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        connection.close()

    def test_a_name_that_an_uri_would_misread(self, tmp_path: Path) -> None:
        root = tmp_path / "a b?mode=ro#%41é"
        root.mkdir()
        Catalog.open(root).upsert_many([Entry(info(root), [], stale=False)])
        assert sorted(os.listdir(root)) == ["experiments.db"]
        assert Catalog.open(root).folders().fresh == {"exp_001_run"}

    def test_another_programs_database_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "experiments.db"
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE experiments (id, name)")
            connection.execute("CREATE TABLE meta (key, value)")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(StoreError, match=r"experiments\.db is a database of another program .*root_dir"):
            Catalog.open(tmp_path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize("content", [b"my notes\n", os.urandom(8192), b"SQLite format 3\0" + bytes(5000)])
    def test_what_is_no_database_is_kept_aside(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "experiments.db").write_bytes(content)
        with pytest.warns(FramewormWarning, match=r"kept as experiments\.db\.damaged"):
            catalog = Catalog.open(tmp_path)
        catalog.upsert_many([Entry(info(tmp_path), [], stale=False)])
        assert (tmp_path / "experiments.db.damaged").read_bytes() == content
        assert Catalog.open(tmp_path).folders().fresh == {"exp_001_run"}

    def test_damage_inside_is_told_and_reset_mends_it(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        catalog.upsert_many(Entry(info(tmp_path, n, description="x" * 500), [], False) for n in range(1, 200))
        path = tmp_path / "experiments.db"
        data = bytearray(path.read_bytes())
        pages = len(data) // 4096
        for page in range(pages // 2, pages):
            data[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
        path.write_bytes(data)
        with pytest.raises(CatalogDamageError, match=r"experiments\.db is damaged"):
            table(catalog, schema.experiments)
        catalog.reset()
        assert table(catalog, schema.experiments) == []
        assert sorted(os.listdir(tmp_path)) == ["experiments.db"]

    def test_a_file_removed_meanwhile_is_told_and_not_made_anew_by_a_read(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path)
        (tmp_path / "experiments.db").unlink()
        with pytest.raises(CatalogDamageError, match="has been removed"):
            catalog.folders()
        assert os.listdir(tmp_path) == []
        catalog.reset()
        assert catalog.folders() == (set(), {})

    def test_older_tables_are_dropped(self, tmp_path: Path) -> None:
        Catalog.open(tmp_path).upsert_many([Entry(info(tmp_path), [], stale=False)])
        with sqlite3.connect(tmp_path / "experiments.db") as connection:
            connection.execute("UPDATE meta SET value = '0' WHERE key = 'version'")
            connection.execute("CREATE TABLE of_old (x)")
        connection.close()
        catalog = Catalog.open(tmp_path)
        assert catalog.folders() == (set(), {})
        names = {row["name"] for row in table(catalog, sa.table("sqlite_master", sa.column("name")))}
        assert "of_old" not in names

    @pytest.mark.parametrize(("key", "value"), [("format", "frameworm cat`log"), ("version", "q")])
    def test_our_tables_whose_label_is_damaged_are_made_anew(self, tmp_path: Path, key: str, value: str) -> None:
        Catalog.open(tmp_path).upsert_many([Entry(info(tmp_path), [], stale=False)])
        with sqlite3.connect(tmp_path / "experiments.db") as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
        connection.close()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert Catalog.open(tmp_path).folders() == (set(), {})
        kept = tmp_path / "experiments.db.damaged"
        assert kept.exists() == bool(caught) == (key == "format")  # it might be anybody's: nothing is thrown away

    def test_newer_tables_are_refused_unchanged(self, tmp_path: Path) -> None:
        Catalog.open(tmp_path)
        path = tmp_path / "experiments.db"
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE meta SET value = '999' WHERE key = 'version'")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(StoreVersionError, match=r"version 999.*pip install --upgrade frameworm"):
            Catalog.open(tmp_path)
        assert path.read_bytes() == before

    def test_a_missing_root_is_a_store_error(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="nowhere is not a folder"):
            Catalog.open(tmp_path / "nowhere")


class TestReadOnly:
    def test_a_copy_in_memory_serves(self, tmp_path: Path, read_only: Callable[[Path], Path]) -> None:
        root = tmp_path / "root"
        root.mkdir()
        Catalog.open(root).upsert_many([Entry(info(root, 1), [], stale=False)])
        before = (root / "experiments.db").read_bytes()
        catalog = Catalog.open(read_only(root))
        assert not catalog.persistent
        catalog.upsert_many([Entry(info(root, 2), [], stale=False)])
        assert catalog.folders().fresh == {"exp_001_run", "exp_002_run"}
        assert (root / "experiments.db").read_bytes() == before
        assert os.listdir(root) == ["experiments.db"]

    def test_without_a_catalog_it_starts_empty(self, tmp_path: Path, read_only: Callable[[Path], Path]) -> None:
        root = tmp_path / "root"
        root.mkdir()
        catalog = Catalog.open(read_only(root))
        assert catalog.folders() == (set(), {})
        assert os.listdir(root) == []

    def test_a_writer_killed_in_its_transaction(self, tmp_path: Path, read_only: Callable[[Path], Path]) -> None:
        root = tmp_path / "root"
        root.mkdir()
        Catalog.open(root).upsert_many([Entry(info(root, 1), [], stale=False)])
        code = """
            import os, signal, sqlite3, sys
            connection = sqlite3.connect(sys.argv[1], isolation_level=None)
            connection.execute("PRAGMA cache_size=1")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM experiments")
            connection.executemany("INSERT INTO tags VALUES (?, 0, ?)", [(n, "x" * 900) for n in range(500)])
            os.kill(os.getpid(), signal.SIGKILL)
        """
        process = python(code, root / "experiments.db")
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert (root / "experiments.db-journal").exists()
        # A read-only mount forbids rolling back: nothing half written may be seen.
        assert Catalog.open(read_only(root)).folders() == (set(), {})
        catalog = Catalog.open(root)
        assert catalog.folders().fresh == {"exp_001_run"}
        assert table(catalog, schema.tags) == []

    def test_threads_share_the_copy(self, tmp_path: Path) -> None:
        catalog = Catalog.in_memory(tmp_path)
        errors: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for _ in range(10):
                    catalog.upsert_many([Entry(info(tmp_path, number), [summary()], stale=False)])
                    assert f"exp_{number:03d}_run" in catalog.folders().fresh
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(catalog.folders().fresh) == 8

    def test_threads_that_read_write_and_replace_the_copy_never_meet(self, tmp_path: Path) -> None:
        catalog = Catalog.in_memory(tmp_path)
        errors: list[BaseException] = []
        every = sa.select(schema.experiments.c.number, schema.experiments.c.stale)

        def work(number: int) -> None:
            try:
                for i in range(10):
                    catalog.upsert_many([Entry(info(tmp_path, number), [summary(f"m{k}") for k in range(30)], False)])
                    assert all(len(column) <= 8 for column in catalog.columns(every))
                    catalog.rows(sa.select(schema.series))
                    catalog.has_metric("m1")
                    if i % 4 == 3:
                        (catalog.clear, catalog.reset)[number % 2]()
            except BaseException as error:
                errors.append(error)

        switch = sys.getswitchinterval()
        sys.setswitchinterval(1e-5)
        try:
            threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(switch)
        assert errors == []

    def test_a_full_disk(self, small_disk: Callable[[int], Path]) -> None:
        root = small_disk(64)
        with pytest.raises(OSError, match="No space"):
            (root / "ballast").write_bytes(bytes(2**20))
        catalog = Catalog.open(root)
        assert not catalog.persistent
        catalog.upsert_many([Entry(info(root), [], stale=False)])
        assert catalog.folders().fresh == {"exp_001_run"}


class TestProcesses:
    def test_eight_processes_start_on_an_empty_root_and_write_at_once(self, tmp_path: Path) -> None:
        code = """
            import sys
            from pathlib import Path
            from frameworm.experiment.model import ExperimentInfo
            from frameworm.experiment.storage.catalog import Catalog
            from frameworm.experiment.storage.schema import Entry
            root, worker = Path(sys.argv[1]), int(sys.argv[2])
            print("ready", flush=True)
            input()
            catalog = Catalog.open(root, timeout_s=60)  # whatever else the machine's disk has to do
            assert catalog.persistent
            for n in range(worker * 20 + 1, worker * 20 + 21):
                folder = root / f"exp_{n:03d}_w"
                info = ExperimentInfo(f"exp_{n:03d}", "u", "w", folder, config={"w": worker}, tags=("t",))
                catalog.upsert_many([Entry(info, [], stale=False)])
        """
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
        processes = [
            subprocess.Popen(
                [*command, str(worker)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for worker in range(8)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        errors = [process.communicate()[1] for process in processes]
        assert errors == [""] * 8
        catalog = Catalog.open(tmp_path)
        assert len(catalog.folders().fresh) == 160
        assert len(table(catalog, schema.params)) == len(table(catalog, schema.tags)) == 160

    def test_a_lock_held_too_long(self, tmp_path: Path) -> None:
        catalog = Catalog.open(tmp_path, timeout_s=0.1)
        catalog.upsert_many([Entry(info(tmp_path), [], stale=False)])
        holder = sqlite3.connect(tmp_path / "experiments.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        try:
            with pytest.raises(CatalogUnavailableError, match=r"locked by another process for 0\.1 s"):
                catalog.upsert_many([Entry(info(tmp_path, 2), [], stale=False)])
            with pytest.raises(CatalogUnavailableError):
                catalog.folders()
            spare = Catalog.open(tmp_path, timeout_s=0.1)
            assert not spare.persistent
            assert spare.folders() == (set(), {})
        finally:
            holder.close()
        assert catalog.folders().fresh == {"exp_001_run"}

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    @pytest.mark.parametrize("opener", [Catalog.open, Catalog.in_memory])
    def test_a_fork_carries_no_connection_along(self, tmp_path: Path, opener: Callable[[Path], Catalog]) -> None:
        Catalog.open(tmp_path).upsert_many([Entry(info(tmp_path, 1), [], stale=False)])
        catalog = opener(tmp_path)
        assert catalog.folders().fresh == {"exp_001_run"}
        catalog._memory_lock.acquire()  # as if another thread held it
        child = os.fork()
        if child == 0:
            catalog.upsert_many([Entry(info(tmp_path, 2), [], stale=False)])
            os._exit(0 if len(catalog.folders().fresh) == 2 else 1)
        catalog._memory_lock.release()
        assert os.waitpid(child, 0)[1] == 0
        assert len(catalog.folders().fresh) == (2 if catalog.persistent else 1)


def test_no_driver_error_leaks(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    with pytest.raises(CatalogDamageError) as caught:
        catalog.rows(sa.select(sa.column("x")).select_from(sa.table("missing")))
    assert isinstance(caught.value.__cause__, sa.exc.OperationalError)


def test_every_table_and_column_is_documented() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for one in schema.schema.tables.values():
        section = text.partition(f"`{one.name}`")[2]
        assert section, one.name
        for column in one.columns:
            assert f"`{column.name}`" in section, f"{one.name}.{column.name}"
        for index in one.indexes:
            assert f"`{index.name}`" in section, index.name
