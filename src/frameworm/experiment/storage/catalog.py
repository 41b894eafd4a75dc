"""The catalog: SQL tables that answer "which experiments" without opening one.

``docs/formats/catalog.md`` lists every table and column. The catalog is only an index over the folders beside
it: every value in it comes from a folder and can be read from there again, so a lost, damaged or outdated
catalog costs a rebuild and nothing else. One SQLAlchemy Core schema is meant to serve SQLite and PostgreSQL.

On SQLite it is one file in rollback-journal mode: that works on read-only mounts and on network file systems,
and WAL buys nothing for a file that is written once an experiment.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import StatementError
from sqlalchemy.pool import NullPool, StaticPool

from frameworm.experiment.config import load_json
from frameworm.experiment.errors import FramewormWarning, InputError, StoreError, StoreVersionError
from frameworm.experiment.events import MAX_TIME_MS
from frameworm.experiment.model import SeriesSummary
from frameworm.experiment.records import described
from frameworm.experiment.storage.folder import CATALOG_FORMAT, CATALOG_NAME, SCHEMA_VERSION, catalog_uri
from frameworm.experiment.storage.schema import (
    DETAILS,
    Entry,
    add_rows,
    experiment_number,
    experiments,
    meta,
    schema,
    series,
    series_rows,
)

BUSY_TIMEOUT_S = 5.0

_IN_LIMIT = 500
_PYTHON_TYPES: tuple[tuple[type[sa.types.TypeEngine[Any]], frozenset[type]], ...] = (
    (sa.Boolean, frozenset({bool, int, type(None)})),
    (sa.Integer, frozenset({int, type(None)})),
    (sa.Float, frozenset({float, int, type(None)})),
    (sa.String, frozenset({str, type(None)})),
)
_TIMES = frozenset({"created_ms", "updated_ms", "started_ms", "ended_ms", "time_ms"})
"""Columns of times that were checked when they were read; those of points may be any."""
_VALUE_ERRORS = (0, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH)  # 0: by Python


class KnownFolders(NamedTuple):
    """The folders the catalog knows of, by name.

    ``stale`` gives status and fingerprint of those that may have more to tell than the catalog; ``fresh`` are
    the others.
    """

    fresh: set[str]
    stale: dict[str, tuple[str, str]]


class CatalogDamageError(StoreError):
    """The catalog file cannot be read any more; ``Catalog.reset`` and reading the folders again mends it."""


class CatalogCellError(CatalogDamageError):
    """A cell holds what was never written there; the file is sound, so that ``Catalog.clear`` is enough."""


class CatalogUnavailableError(StoreError):
    """The catalog is locked up, its disk is full or read-only; a copy in memory serves meanwhile."""


class Catalog:
    """The catalog of one root, open for reading and writing.

    Every call uses a connection and a short transaction of its own, so any thread may call, a fork carries no
    connection along, and nothing is locked between calls. Writes take the write lock at once
    (``BEGIN IMMEDIATE``) and wait up to ``timeout_s`` for it. A call that returned is durable as SQLite's
    ``synchronous=NORMAL`` has it, which is enough for an index.

    Attributes:
        root: the folder of experiments.
        persistent: False when the root cannot be written: then this is a copy in memory.
    """

    def __init__(self, root: Path, *, persistent: bool, timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self.root = root
        self.timeout_s = timeout_s
        self.path = root / CATALOG_NAME
        self.persistent = persistent
        self._memory_lock = threading.RLock()
        self._engine_pid = os.getpid()
        self._engine = self._make_engine()

    @classmethod
    def open(cls, root: Path, *, timeout_s: float = BUSY_TIMEOUT_S) -> Catalog:
        """Open the catalog of a root, creating it empty if missing.

        On a read-only root (or one whose catalog is locked up or whose disk is full) the result is a copy in
        memory. A damaged catalog is replaced by an empty one.

        Args:
            root: the folder of experiments.
            timeout_s: how long to wait for a lock.

        Raises:
            StoreError: ``experiments.db`` is a database of something else.
            StoreVersionError: a newer release wrote it.
        """
        if not root.is_dir():
            raise StoreError(f"{root} is not a folder: there is no catalog to open")
        if _writable(root):
            catalog = cls(root, persistent=True, timeout_s=timeout_s)
            try:
                catalog._prepare()
                return catalog
            except CatalogDamageError:
                catalog.reset()
                return catalog
            except CatalogUnavailableError:
                timeout_s = min(timeout_s, 0.1)  # a lock has been waited for: served from memory below, soon
        return cls.in_memory(root, timeout_s=timeout_s)

    @classmethod
    def in_memory(cls, root: Path, *, timeout_s: float = BUSY_TIMEOUT_S) -> Catalog:
        """Return a copy of a root's catalog in memory, empty where the file is missing or unreadable."""
        catalog = cls(root, persistent=False, timeout_s=timeout_s)
        catalog._load_memory()
        return catalog

    # ------------------------------------------------------------------------------------------ writing

    def upsert_many(self, entries: Iterable[Entry]) -> None:
        """Replace everything known of these experiments, in one transaction. Their forks become stale."""
        rows: dict[sa.Table, list[dict[str, Any]]] = {
            table: [] for table in (experiments, *DETAILS) if table is not series
        }
        summaries = {add_rows(rows, entry): entry.summaries for entry in entries}
        try:
            self._replace(summaries, rows)
        except UnicodeEncodeError:  # half a surrogate pair in one text must not cost the whole batch
            encodable = {table: [_encodable(row) for row in some] for table, some in rows.items()}
            self._replace({number: [_plain(s) for s in some] for number, some in summaries.items()}, encodable)

    def _replace(
        self, summaries: Mapping[int, Sequence[SeriesSummary]], rows: Mapping[sa.Table, list[dict[str, Any]]]
    ) -> None:
        with self._begin(write=True) as connection:
            _doubt_forks(connection, [row["uid"] for row in rows[experiments]])
            _delete(connection, list(summaries))
            for table, table_rows in rows.items():
                if table_rows:
                    connection.execute(sa.insert(table), table_rows)
            # Straight to the driver, which takes them one by one: a third of the time and nearly no memory.
            insert = str(sa.insert(series).compile(dialect=connection.dialect))
            with contextlib.closing(connection.connection.cursor()) as cursor:
                for number, some in summaries.items():
                    cursor.executemany(insert, series_rows(number, some))  # type: ignore[arg-type]  # any iterable

    def mark_stale(self, *experiment_ids: str) -> None:
        """Have the next reader look into the experiments' folders."""
        numbers = [experiment_number(experiment_id) for experiment_id in experiment_ids]
        with self._begin(write=True) as connection:
            for some in _batches(numbers):
                statement = sa.update(experiments).where(experiments.c.number.in_(some))
                connection.execute(statement.values(stale=True, fingerprint=""))

    def remove(self, experiment_ids: Iterable[str]) -> None:
        """Forget experiments; ids that are not there are ignored. Their forks become stale."""
        numbers = [experiment_number(experiment_id) for experiment_id in experiment_ids]
        e = experiments.c
        with self._begin(write=True) as connection:
            for some in _batches(numbers):
                _doubt_forks(connection, connection.execute(sa.select(e.uid).where(e.number.in_(some))).scalars().all())
            _delete(connection, numbers)

    def clear(self) -> None:
        """Drop every table and create them empty."""
        with self._begin(write=True) as connection:
            _create_tables(connection)

    def reset(self) -> None:
        """Replace a damaged file by an empty catalog.

        A file known to be ours is removed. One whose tables cannot be read might be anybody's: it is kept as
        ``experiments.db.damaged``.
        """
        if self.persistent:
            ours = _is_ours(self.path)
            # The rollback journal goes first: left alone, it would be played back into the new file.
            for suffix in ("-journal", "-wal", "-shm"):
                Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            if ours:
                self.path.unlink(missing_ok=True)
            elif self.path.exists():
                kept = self.path.with_name(f"{CATALOG_NAME}.damaged")
                self.path.replace(kept)
                warnings.warn(
                    f"{self.path} could not be read as a catalog: it was kept as {kept.name} and a new one is "
                    "built from the folders",
                    FramewormWarning,
                    stacklevel=3,
                )
            self._prepare()
        else:
            with self._memory_lock:  # no other thread sees it without its tables
                self._engine = self._make_engine(copy=False)
                self._prepare()

    # ------------------------------------------------------------------------------------------ reading

    def folders(self) -> KnownFolders:
        """Return the folders known."""
        e = experiments.c
        with self._begin() as connection:
            # As one text, which a folder's name cannot hold a "/" in: 2 ms for 10,000, as rows 7 ms.
            fresh = sa.select(sa.func.aggregate_strings(e.folder, "/")).where(e.stale == sa.false())
            joined = connection.execute(fresh).scalar()
            known = KnownFolders(set(joined.split("/")) if joined else set(), {})
            stale = sa.select(e.folder, e.status, e.fingerprint).where(e.stale == sa.true())
            rows = connection.execute(stale).fetchall()
        self._check(stale, list(zip(*rows, strict=True)))
        known.stale.update((folder, (status, fingerprint)) for folder, status, fingerprint in rows)
        return known

    def rows(self, statement: sa.Select[Any]) -> Sequence[Any]:
        """Run a query and return all its rows; the transaction has ended when they are returned."""
        with self._begin() as connection:
            rows = connection.execute(statement).fetchall()
        self._check(statement, list(zip(*rows, strict=True)))
        return rows

    def columns(self, statement: sa.Select[Any]) -> list[list[Any]]:
        """Run a query and return its result column by column.

        For thousands of rows this takes a third of the time of ``rows``: tuples come straight from the driver, and
        none outlives its batch, so that Python's garbage collector is not set off.
        """
        with self._begin() as connection:
            # Closed before the transaction ends: of a copy in memory all threads share the connection, and a cursor
            # that the garbage collector closes later does so amid what another thread is doing.
            with contextlib.closing(connection.execute(statement)) as result:
                columns: list[list[Any]] = [[] for _ in result.keys()]
                assert result.cursor is not None
                while rows := result.cursor.fetchmany(_IN_LIMIT):
                    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
                        column.extend(values)
        self._check(statement, columns)
        for i, selected in enumerate(statement.selected_columns):
            if isinstance(selected.type, sa.Boolean):  # 0 and 1 to SQLite
                columns[i] = [None if value is None else bool(value) for value in columns[i]]
        return columns

    def rows_for(self, statement: sa.Select[Any], column: sa.Column[Any], values: Sequence[Any]) -> list[Any]:
        """Run a query for the rows whose ``column`` is among ``values``, a few hundred at a time."""
        rows: list[Any] = []
        with self._begin() as connection:
            for some in _batches(values):
                rows += connection.execute(statement.where(column.in_(some))).fetchall()
        self._check(statement, list(zip(*rows, strict=True)))
        return rows

    def json(self, text: str) -> Any:
        """Return the value of a cell that holds JSON.

        Raises:
            CatalogCellError: it holds something else.
        """
        try:
            return load_json(text)
        except (TypeError, ValueError) as error:
            raise CatalogCellError(f"{self.path} is damaged: a value is no JSON: {error}") from error

    def tags(self, text: str) -> list[str]:
        """Return the list of tags in a cell.

        Raises:
            CatalogCellError: it holds something else.
        """
        found = self.json(text)
        if not isinstance(found, list) or not all(type(tag) is str for tag in found):
            raise CatalogCellError(f"{self.path} is damaged: tags are {described(found)}")
        return found

    def _check(self, statement: sa.Select[Any], columns: Sequence[Sequence[Any]]) -> None:
        """See that values are of their columns' types, which SQLite does not; those that were computed are passed over.

        Raises:
            CatalogCellError: one is not; somebody else wrote it.
        """
        for selected, values in zip(statement.selected_columns, columns, strict=False):  # no columns without rows
            if not isinstance(selected, sa.Column):
                continue
            allowed = next((kinds for type_, kinds in _PYTHON_TYPES if isinstance(selected.type, type_)), None)
            fits = allowed is None or set(map(type, values)) <= allowed
            if fits and selected.name in _TIMES:
                fits = all(0 <= value <= MAX_TIME_MS for value in values if value is not None)
            elif fits and selected.name == "folder":  # paths are made of it
                fits = not any("/" in value or "\0" in value for value in values)
            if not fits:
                raise CatalogCellError(f"{self.path} is damaged: {selected.name} holds what was never written there")

    def forks(self, uids: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return folder, experiment id and uid of the forks of these experiments, by number; no forks of forks."""
        e = experiments.c
        rows = self.rows_for(sa.select(e.number, e.folder, e.experiment_id, e.uid), e.fork_of, uids)
        return [tuple(row)[1:] for row in sorted(rows)]

    def has_metric(self, name: str) -> bool:
        """Whether any experiment has a metric of exactly this name."""
        return bool(self.rows(sa.select(series.c.name).where(series.c.name == name).limit(1)))

    # ------------------------------------------------------------------------------------------ connections

    def _make_engine(self, *, copy: bool = True) -> sa.Engine:
        if self.persistent:
            engine = sa.create_engine("sqlite://", creator=self._connect_file, poolclass=NullPool)
        else:
            source = self.path if copy else None
            engine = sa.create_engine(
                "sqlite://", creator=lambda: _copy_to_memory(source, self.timeout_s), poolclass=StaticPool
            )
        sa.event.listen(engine, "begin", _emit_begin)
        self._engine_pid = os.getpid()
        return engine

    def _load_memory(self) -> None:
        self._memory_lock = threading.RLock()
        self._engine = self._make_engine()
        try:
            self._prepare()
        except CatalogDamageError:
            self._engine = self._make_engine(copy=False)
            self._prepare()

    def _connect_file(self) -> sqlite3.Connection:
        # mode=rw: a catalog that was deleted meanwhile must not come back as an empty file without tables.
        return _configure(_sqlite(self.path, "rw", self.timeout_s))

    @contextlib.contextmanager
    def _begin(self, write: bool = False) -> Iterator[sa.Connection]:
        """Open a connection and a transaction; every driver error is translated here."""
        lock: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
        if not self.persistent:
            if self._engine_pid != os.getpid():  # a fork copied a connection and perhaps a held lock
                self._load_memory()
            lock = self._memory_lock
        try:
            with lock, self._engine.connect() as connection:
                if write:
                    connection = connection.execution_options(frameworm_begin="BEGIN IMMEDIATE")
                with connection.begin():
                    yield connection
        except StatementError as exc:
            raise self._translated(exc.orig) from exc
        except sqlite3.Error as exc:
            raise self._translated(exc) from exc
        except UnicodeDecodeError as exc:  # a text, or what SQLite says of it, is no text any more
            raise CatalogDamageError(f"{self.path} is damaged: {exc}") from exc

    def _translated(self, exc: BaseException | None) -> StoreError | InputError:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        text = str(exc)
        if text.startswith("Could not decode to UTF-8"):
            return CatalogCellError(f"{self.path} is damaged: {text}")
        if code in _VALUE_ERRORS:
            return InputError(f"a value cannot be stored in {self.path}: {text}")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such " in text:
            return CatalogDamageError(f"{self.path} is damaged: {text}")
        if code == sqlite3.SQLITE_CANTOPEN and not self.path.exists():
            return CatalogDamageError(f"{self.path} has been removed")
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return CatalogUnavailableError(
                f"{self.path} has been locked by another process for {self.timeout_s:g} s: try again"
            )
        return CatalogUnavailableError(f"{self.path} cannot be used: {text}")

    def _prepare(self) -> None:
        """See that the file is there, is ours and has today's tables."""
        if self.persistent and not self.path.exists():
            try:
                with contextlib.closing(_sqlite(self.path, "rwc", self.timeout_s)) as empty:
                    empty.execute("PRAGMA user_version")  # SQLite makes the file when it first reads it
            except sqlite3.Error as exc:
                raise CatalogUnavailableError(f"{self.path} cannot be created: {exc}") from exc
        with self._begin() as connection:
            current = self._is_current(connection)
        if not current:
            # Looked at again under the write lock: of fifty processes that find no tables, one makes them.
            with self._begin(write=True) as connection:
                if not self._is_current(connection):
                    _create_tables(connection)

    def _is_current(self, connection: sa.Connection) -> bool:
        """Whether the tables are today's; False if there are none, or older ones.

        Raises:
            CatalogDamageError: they are ours, and what they say of themselves is damaged.
            StoreError: the tables are another program's.
            StoreVersionError: they are a newer release's.
        """
        names = set(connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
        if not names:
            return False
        about: dict[str, str] = {}
        if "meta" in names:
            columns = connection.execute(sa.text("SELECT name FROM pragma_table_info('meta')")).scalars().all()
            if set(columns) == {"key", "value"}:
                about = {key: value for key, value in connection.execute(sa.select(meta.c.key, meta.c.value))}
        if about.get("format") != CATALOG_FORMAT and names >= schema.tables.keys():
            # Every table of ours is there: what says so was hit, and no other program's database is meant.
            raise CatalogDamageError(f"{self.path} is damaged: it does not say that it is a catalog")
        if about.get("format") != CATALOG_FORMAT:
            raise StoreError(
                f"{self.path} is a database of another program (tables: {', '.join(sorted(names)[:5])}). It is "
                "left as it is: move it away, or choose another root_dir"
            )
        said = about.get("version", "0")
        if not isinstance(said, str) or not re.fullmatch("[0-9]{1,9}", said):
            raise CatalogDamageError(f"{self.path} is damaged: it is of version {said!r:.40}")
        version = int(said)
        if version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"{self.path} was written by a newer release of frameworm (catalog version {version}, this "
                f"release knows {SCHEMA_VERSION}): upgrade with `pip install --upgrade frameworm`"
            )
        return version == SCHEMA_VERSION


def _writable(root: Path) -> bool:
    path = root / CATALOG_NAME
    return os.access(root, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.W_OK))


def _sqlite(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    """Connect with ``mode`` ro, rw or rwc; transactions are begun by us alone.

    Raises:
        CatalogUnavailableError: it, or a file that SQLite keeps beside it, is no regular file, and would be waited for.
    """
    try:
        uri = catalog_uri(path, mode)
    except OSError as error:
        raise CatalogUnavailableError(f"{path} cannot be used: {error}; move it away") from error
    return sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _configure(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def _copy_to_memory(path: Path | None, timeout_s: float) -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if path is not None and path.exists():
        try:
            with contextlib.closing(_sqlite(path, "ro", timeout_s)) as source:
                # Taking the read lock here fails after the busy timeout; backup() alone would wait for ever.
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()
                source.backup(memory)
        except (sqlite3.Error, CatalogUnavailableError):
            # Damaged, locked up, or with a rollback that a read-only mount forbids: start from the folders.
            memory.close()
            return _copy_to_memory(None, timeout_s)
    return memory


def _emit_begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("frameworm_begin", "BEGIN"))


def _is_ours(path: Path) -> bool:
    try:
        with contextlib.closing(_sqlite(path, "ro", BUSY_TIMEOUT_S)) as connection:
            found = connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
            return found is not None and found[0] == CATALOG_FORMAT
    except (sqlite3.Error, CatalogUnavailableError):
        return False


def _create_tables(connection: sa.Connection) -> None:
    older = sa.MetaData()
    older.reflect(connection)
    older.drop_all(connection)
    schema.create_all(connection, checkfirst=False)
    connection.execute(
        sa.insert(meta),
        [
            {"key": "format", "value": CATALOG_FORMAT},
            {"key": "version", "value": str(SCHEMA_VERSION)},
            {"key": "created_ms", "value": str(time.time_ns() // 1_000_000)},
        ],
    )


def _encodable(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for key, value in row.items()
    }


def _plain(summary: SeriesSummary) -> SeriesSummary:
    return SeriesSummary._make(_encodable(summary._asdict()).values())


def _delete(connection: sa.Connection, numbers: Sequence[int]) -> None:
    for some in _batches(numbers):
        for table in DETAILS:
            connection.execute(sa.delete(table).where(table.c.experiment.in_(some)))
        connection.execute(sa.delete(experiments).where(experiments.c.number.in_(some)))


def _doubt_forks(connection: sa.Connection, uids: Sequence[str]) -> None:
    """Have the next reader look into the folders of forks: what they inherit may have changed."""
    for some in _batches(uids):
        forks = sa.update(experiments).where(experiments.c.fork_of.in_(some))
        connection.execute(forks.values(stale=True, fingerprint=""))


def _batches(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _IN_LIMIT):
        yield values[start : start + _IN_LIMIT]
