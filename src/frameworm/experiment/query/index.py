"""The catalog of a root as it is asked: brought up to date on the way, replaced if it turns out damaged."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from frameworm.experiment.errors import StoreError
    from frameworm.experiment.query.sync import Watch
    from frameworm.experiment.storage.catalog import Catalog

_T = TypeVar("_T")

_ATTEMPTS = 4
"""To answer a question while other threads find damage and replace the catalog; the last is answered as it is."""


class Index:
    """The catalog of one root, opened at the first question. Any thread may ask.

    Attributes:
        catalog: what was asked last; None before.
    """

    def __init__(self, root: Path) -> None:
        """Take note of a root; nothing is opened."""
        self.catalog: Catalog | None = None
        self._root = root
        self._watch: Watch | None = None
        self._mending = threading.Lock()
        self._mended = 0  # how often the catalog was replaced, or is about to be

    def ask(self, question: Callable[[Catalog], _T], *, bring_up_to_date: bool = True) -> _T:
        """Put a question to the catalog.

        One that turns out damaged is replaced; one that cannot be written is answered for by a copy in memory.

        Args:
            question: asked once more if the catalog had to be replaced.
            bring_up_to_date: look into the folders that changed, first.
        """
        from frameworm.experiment.query.sync import Watch, sync
        from frameworm.experiment.storage.catalog import (
            Catalog,
            CatalogDamageError,
            CatalogUnavailableError,
        )

        def attempt() -> _T:
            if self.catalog is None:
                self.catalog = Catalog.open(self._root)
            if self._watch is None:
                self._watch = Watch()
            if bring_up_to_date:
                sync(self.catalog, self._watch)
            return question(self.catalog)

        for _ in range(_ATTEMPTS - 1):
            with self._mending:  # not amid the work of another thread that replaces it
                mended = self._mended
            try:
                answer = attempt()
                if mended == self._mended:  # else it was emptied between the folders' entering and the question
                    return answer
            except CatalogDamageError as error:
                with self._mending:
                    if (
                        self._mended == mended and self.catalog is not None
                    ):  # of many threads that find out, one does it
                        self._mended += 1
                        self._replace(self.catalog, error)
                        self._watch = None
            except CatalogUnavailableError:
                self.catalog = Catalog.in_memory(self._root)
        return attempt()

    @staticmethod
    def _replace(catalog: Catalog, error: StoreError) -> None:
        """Empty the catalog, in its file if that is sound: other threads are in the midst of it."""
        from frameworm.experiment.storage.catalog import CatalogCellError, CatalogDamageError

        if isinstance(error, CatalogCellError):
            with suppress(CatalogDamageError):
                catalog.clear()
                return
        catalog.reset()
