"""What the server has open: the manager of its root, and readers of the experiments looked at lately."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import Depends, Request

from frameworm.experiment.errors import DamageError, ExperimentNotFoundError, StateError, StoreError
from frameworm.experiment.query.glance import Glance, file_version, glance
from frameworm.experiment.storage.folder import CATALOG_NAME, experiment_folders, id_of, number_of

if TYPE_CHECKING:
    from frameworm.experiment.manager import ExperimentManager
    from frameworm.experiment.query.read import ExperimentReader
    from frameworm.experiment.storage.catalog import Catalog

_T = TypeVar("_T")

Located = Mapping[str, Path | None]
"""Where experiments lie that are about to be read, by what they were asked for; None if there is no such."""

_READERS = 1024
_FILES = 512
_BYTES = 512 << 20
"""What is kept at most: readers, the files that they hold open, and the bytes. One chart of 500 lines over experiments
that were compacted needs 500, 500 and, once zoomed into, half of that."""


_REST = 20
"""A copy of the catalog is made again after so many times what making it took, at the earliest."""

_SETTLED_S = 1.5
"""So long at most the catalog waits for charts."""

_NEXT_S = 0.4
"""How soon after charts a page asks for the next ones at most."""

_LOOK_S = 0.02

_ANSWERS = 32 << 20
"""Bytes of answers kept at most: twenty charts of a hundred lines are 5 MB."""


class ReadOnlyError(StateError):
    """The root is shown, and not to be changed."""


class Store:
    """The one root that a server shows. Any thread may call anything.

    Attributes:
        root: the folder of experiments, absolute; it may not be there yet.
        static: the folder of the built page, or None if there is none.
        wanted: set once more is about to be asked than files of the page and the first rows.
        answers: what was given lately.
        charts_until: monotonic time until which charts are expected that need no catalog.
    """

    def __init__(self, root: Path, *, read_only: bool | None = None, static: Path | None = None) -> None:
        """Open a root.

        Args:
            root: the folder of experiments; it may not be there yet.
            read_only: refuse changes; None means if the folder cannot be written.
            static: the folder of the built page; None means the one that ships with the package.
        """
        self.root = root.absolute()
        self._read_only = read_only
        self._static = static
        self.wanted = threading.Event()
        self._manager: ExperimentManager | None = None
        self._readers: OrderedDict[str, _Held] = OrderedDict()
        self._files = self._bytes = 0
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._synced = -math.inf
        self.answers = Answers(_ANSWERS)
        self.charts_until = -math.inf
        self._copied: tuple[int, ...] | None = None
        self._copy_again = 0.0

    @property
    def read_only(self) -> bool:
        """Whether changes are refused."""
        if self._read_only is not None:
            return self._read_only
        return self.root.exists() and not os.access(self.root, os.W_OK | os.X_OK)

    @property
    def static(self) -> Path | None:
        """The folder of the built page; looked for each time, as it may be built meanwhile."""
        package = Path(__file__).parent / "static"
        for folder in (self._static,) if self._static else (package, _SOURCE / "web" / "dist"):
            if (folder / "index.html").is_file():
                return folder
        return None

    @property
    def manager(self) -> ExperimentManager:
        """The manager of the root.

        Raises:
            StoreNotFoundError: there is no such folder, yet.
        """
        if self._manager is None:
            from frameworm.experiment.manager import ExperimentManager  # after the page is there

            self._manager = ExperimentManager(self.root)
        return self._manager

    def version(self) -> str:
        """Return the version of the catalog as events tell it, unless that is a copy; empty if there is none yet."""
        try:
            return file_version(self.root / CATALOG_NAME)
        except OSError:
            return ""

    def first_rows(self, limit: int) -> Glance | None:
        """Return the first rows of everything as long as the catalog was not opened, and need not be for them."""
        found = glance(self.root, limit) if self._manager is None else None
        self.wanted.set()
        return found

    def ask(self, question: Callable[[Catalog], _T]) -> _T:
        """Put a question to the up-to-date catalog.

        Raises:
            StoreNotFoundError: there is no such folder, yet.
        """
        self.settle()
        self.wanted.set()
        asked = time.monotonic()
        with self._syncing:  # one at a time: a page asks for five things at once, and the first look reads every folder
            if self._synced < asked:
                began = time.monotonic()
                self._bring_up_to_date()
                self._synced = began
        return self.manager.index.ask(question, bring_up_to_date=False)

    def _bring_up_to_date(self) -> None:
        """Look for what is new; make a copy of the catalog anew if the file it was made from has changed.

        The catalog is copied into memory where it cannot be written. Such a copy hears of new experiments and points,
        as those are looked for in the folders, but not of an edit, which only the writable catalog is told.
        """
        began, mark, before = time.monotonic(), _mark(self.root / CATALOG_NAME), self._manager
        if self._copied not in (None, mark) and began >= self._copy_again:
            self._manager, self._copied = None, None
        persistent = self.manager.index.ask(lambda catalog: catalog.persistent)
        if persistent:
            self._copied = None
        elif self._copied is None:
            self._copied = mark
            self._copy_again = time.monotonic() + _REST * (time.monotonic() - began)
        del before  # kept until now, so that the new catalog is not taken for the old one by its address

    def check_writable(self) -> None:
        """Refuse a change of a read-only root.

        Raises:
            ReadOnlyError: it is one.
        """
        if self.read_only:
            raise ReadOnlyError(f"{self.root} is shown read-only: nothing can be changed here")

    @contextlib.contextmanager
    def reading(self, experiment_id: str, located: Located | None = None) -> Iterator[ExperimentReader]:
        """Lend the reader of an experiment, which knows what has been recorded up to now.

        Nobody else has it meanwhile: take what is needed, and return.

        Args:
            experiment_id: id or uid.
            located: what ``locate`` returned, where many are read.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid; suggests the nearest.
        """
        with self._lock:
            held = self._readers.setdefault(experiment_id, _Held())
            self._readers.move_to_end(experiment_id)
        with held.lock:
            try:
                held.refresh(self, experiment_id, located)
                assert held.reader is not None
                yield held.reader
            finally:
                self._weigh(experiment_id, held)

    def locate(self, ids: Iterable[str]) -> Located:
        """Return the folders of experiments that are about to be read for the first time, for ``reading``.

        Ids are told by the names of folders, so that charts do not wait for the catalog, which reads every folder at
        first; uids by the catalog, which takes 5 ms for one, and for a hundred. None is who is not there.
        """
        with self._lock:
            unknown = [one for one in ids if (held := self._readers.get(one)) is None or held.reader is None]
        if len(unknown) < 2:
            return {}
        try:
            names = experiment_folders(self.root)
            by_id = {id_of(number): self.root / name for name, number in sorted(names.items(), reverse=True)}
            found: dict[str, Path | None] = {one: by_id.get(one) for one in unknown}
            uids = [one for one in unknown if number_of(one) is None]
            return found | (self._lookup(uids) if uids else {})
        except StoreError:  # told of each experiment as it is read
            return {}

    def settle(self) -> None:
        """Wait until charts are out, if any are expected, unless the catalog is open already.

        What it is asked with takes 0.3 s to import, of which charts need nothing.
        """
        latest = time.monotonic() + _SETTLED_S
        while self._manager is None and time.monotonic() < min(self.charts_until, latest):
            time.sleep(_LOOK_S)

    def expect_charts(self, s: float) -> None:
        """Expect charts for so many seconds."""
        self.charts_until = time.monotonic() + s

    def charts_out(self) -> None:
        """Take account of an answer with points: if charts were expected, the next ones are."""
        if time.monotonic() < self.charts_until:
            self.expect_charts(_NEXT_S)

    def prepare(self, ids: Sequence[str]) -> bool:
        """Open readers of experiments that are going to be asked for; return whether none needs the catalog."""
        located = self.locate(ids)
        for one in ids:
            if located.get(one) is not None:
                with contextlib.suppress(StoreError, DamageError, OSError), self.reading(one, located) as reader:
                    reader.metrics()
        return all(located.get(one) is not None for one in ids)

    def _weigh(self, experiment_id: str, held: _Held) -> None:
        """Take account of what a reader holds by now, and let those go that were not asked for the longest."""
        files, size = (0, 0) if held.reader is None else held.reader.held
        with self._lock:
            if self._readers.get(experiment_id) is not held:
                return  # let go meanwhile
            self._files += files - held.files
            self._bytes += size - held.bytes
            held.files, held.bytes = files, size
            if held.reader is None:
                del self._readers[experiment_id]
            while len(self._readers) > 1 and (
                len(self._readers) > _READERS or self._files > _FILES or self._bytes > _BYTES
            ):
                _, gone = self._readers.popitem(last=False)
                self._files -= gone.files
                self._bytes -= gone.bytes

    def folder_of(self, experiment_id: str) -> Path:
        """Return the folder of an experiment, by id or uid.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid; suggests the nearest.
        """
        return self.folders_of([experiment_id])[0]

    def folders_of(self, ids: Sequence[str]) -> list[Path]:
        """Return the folders of experiments, by id or uid, each once.

        Raises:
            ExperimentNotFoundError: names all unknown ids and suggests the nearest.
        """
        found = self._lookup(ids)
        if any(one not in found for one in ids):
            return self.manager.folders_of(ids)  # not in the catalog, as it cannot be read; or tells what is wrong
        return list(dict.fromkeys(found[one] for one in ids))

    def _lookup(self, ids: Sequence[str]) -> dict[str, Path]:
        """Return the folders of those ids and uids that the catalog knows."""
        import sqlalchemy as sa

        from frameworm.experiment.query.listing import numbers_of
        from frameworm.experiment.storage.schema import experiments as e

        def ask(catalog: Catalog) -> dict[str, Path]:
            numbers = numbers_of(catalog, ids)
            rows = catalog.rows_for(sa.select(e.c.number, e.c.folder), e.c.number, list(numbers.values()))
            folders: dict[int, str] = dict(map(tuple, rows))
            return {one: self.root / folders[number] for one, number in numbers.items() if number in folders}

        return self.ask(ask)


class Answers:
    """The newest answer to each question asked lately, with its tag. Any thread may call anything."""

    def __init__(self, most: int) -> None:
        """Keep at most so many bytes."""
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[str, bytes]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, question: Hashable) -> tuple[str, bytes] | None:
        """Return tag and bytes of an answer, if they are kept."""
        with self._lock:
            if question in self._kept:
                self._kept.move_to_end(question)
            return self._kept.get(question)

    def keep(self, question: Hashable, tag: str, answer: bytes) -> None:
        """Keep an answer instead of the one before it, and let those go that were not asked for the longest."""
        with self._lock:
            if question in self._kept:
                self._bytes -= len(self._kept.pop(question)[1])
            self._kept[question] = tag, answer
            self._bytes += len(answer)
            while self._bytes > self._most:
                _, (_, gone) = self._kept.popitem(last=False)
                self._bytes -= len(gone)


def _mark(path: Path) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


class _Held:
    """A reader, and who has it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reader: ExperimentReader | None = None
        self.files = self.bytes = 0

    def refresh(self, store: Store, experiment_id: str, located: Located | None) -> None:
        from frameworm.experiment.query.read import ExperimentReader

        if self.reader is not None:
            try:
                self.reader.refresh()
                return
            except (StoreError, OSError):  # deleted or moved: looked for once more
                self.reader = None
        located = located or {}
        folder = located[experiment_id] if experiment_id in located else store.folder_of(experiment_id)
        if folder is None:
            raise ExperimentNotFoundError(f"no experiment {experiment_id:.80} in {store.root}")
        try:
            self.reader = ExperimentReader(folder)
        except (StoreError, OSError):
            if folder.exists():
                raise
            raise ExperimentNotFoundError(f"no experiment {experiment_id} in {store.root}: it was deleted") from None


_SOURCE = Path(__file__).parents[4]
"""The repository, where this is run from a checkout."""


async def opened(request: Request) -> Store:
    """Return the store of the application: for ``Depends``, on the event loop, which needs no thread for it."""
    store: Store = request.app.state.store
    return store


Opened = Annotated[Store, Depends(opened)]
"""The store, as a parameter of an endpoint."""
