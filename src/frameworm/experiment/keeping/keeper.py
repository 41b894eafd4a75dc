"""What an ``ExperimentManager`` does to keep its root healthy; all work is in the modules beside."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from frameworm.experiment.errors import InputError, StoreError
from frameworm.experiment.storage.folder import experiment_folders
from frameworm.experiment.texts import checked_tags, checked_text

if TYPE_CHECKING:
    import pandas as pd

    from frameworm.experiment.keeping.compact import Compaction
    from frameworm.experiment.keeping.findings import Report
    from frameworm.experiment.keeping.prune import Pruned, What
    from frameworm.experiment.keeping.trash import TrashEntry
    from frameworm.experiment.model import ExperimentInfo


class Keeper(ABC):
    """The part of ``ExperimentManager`` that checks, mends, compacts, prunes and edits."""

    @property
    @abstractmethod
    def root_dir(self) -> Path:
        """The folder of experiments, absolute."""

    @abstractmethod
    def folders_of(self, experiment_ids: Iterable[str]) -> list[Path]:
        """Return the folders of experiments."""

    @abstractmethod
    def list_rows(
        self,
        query: str | None = None,
        *,
        status: str | None = None,
        tags: str | Iterable[str] | None = None,
        project: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the experiments that meet the conditions."""

    @abstractmethod
    def compare_experiments(self, experiment_ids: list[str], metrics: list[str] | None = None) -> pd.DataFrame:
        """Return the metrics of experiments."""

    # ------------------------------------------------------------------------------------------ doctor, compact

    def doctor(self, *, repair: bool = False, advance: Callable[[int], object] = lambda size_bytes: None) -> Report:
        """Check every file of the root, and say what is wrong where.

        Args:
            repair: mend what can be mended without losing anything: damaged originals are kept below
                ``.frameworm/damaged`` once all that can be read of them is written anew; a running experiment is
                never touched.
            advance: told how many bytes were read since it was last called.

        Returns:
            a report; ``report.healthy`` says whether nothing is left to mend.

        Raises:
            StoreError: it is to be mended and the root cannot be written.
        """
        from frameworm.experiment.keeping.doctor import examine

        return examine(self.root_dir, repair=repair, advance=advance)

    def compact(
        self, experiment_ids: str | Iterable[str] | None = None, *, advance: Callable[[], object] = lambda: None
    ) -> list[Compaction]:
        """Put the journals and segments of ended experiments into few files; everything reads as before, bit for bit.

        Experiments that are still written, or damaged, are skipped.

        Args:
            experiment_ids: ids or uids; None for all.
            advance: called after each experiment.

        Returns:
            what was done, one entry an experiment.

        Raises:
            ExperimentNotFoundError: names all unknown ids and suggests the nearest.
            StoreError: the root cannot be written; what was compacted before stays so.
        """
        from frameworm.experiment.keeping.compact import compact

        if experiment_ids is None:
            names = sorted(experiment_folders(self.root_dir).items(), key=lambda item: (item[1], item[0]))
            folders = [self.root_dir / name for name, _ in names if (self.root_dir / name / "logs").is_dir()]
        else:
            folders = self.folders_of([experiment_ids] if isinstance(experiment_ids, str) else experiment_ids)
        done = []
        for folder in folders:
            try:
                done.append(compact(folder))
            except OSError as error:
                raise (
                    error
                    if isinstance(error, StoreError)
                    else StoreError(f"{folder} cannot be compacted: {error}; it reads as before")
                ) from error
            advance()
        return done

    # ------------------------------------------------------------------------------------------ prune, trash

    def prune(
        self,
        query: str | None = None,
        *,
        status: str | None = None,
        tags: str | Iterable[str] | None = None,
        project: str | None = None,
        older_than: str | None = None,
        keep_best: int = 0,
        by: str | None = None,
        mode: Literal["min", "max"] = "min",
        what: What = "experiments",
        dry_run: bool = False,
    ) -> list[Pruned]:
        """Move experiments that meet all conditions to the trash, or only their artifacts; running ones never.

        Forks of what goes, should they stay, show their own points alone; a ``FramewormWarning`` names each of them.

        Args:
            query: as in ``search_experiments``.
            status: only those in this status.
            tags: only those that have this tag, or all of these.
            project: only those of this project.
            older_than: only those that nothing has happened to for so long: ``30d``, ``12h``.
            keep_best: so many are left as they are, the best of those that meet the other conditions.
            by: the metric that says which are best, as in ``metric_filter``: ``val_loss``, ``acc.max``.
            mode: ``min`` if less is better, ``max`` if more is.
            what: ``experiments``, ``artifacts`` (files logged, and checkpoints) or ``checkpoints``.
            dry_run: change nothing, only say what would go.

        Returns:
            what went, or would go; ``restore`` brings it back.

        Raises:
            InputError: no condition is given, or one is not understood.
            MetricNotFoundError: none of the experiments has the metric ``by``.
            StoreError: the root cannot be written; what went before stays in the trash.
        """
        from frameworm.experiment.keeping import prune

        if what not in prune.PARTS:
            raise InputError(f"what: expected {', '.join(prune.PARTS)}, got {what!r:.80}")
        if mode not in ("min", "max"):
            raise InputError(f"mode: expected min or max, got {mode!r:.80}")
        if bool(keep_best) != (by is not None) or keep_best < 0:
            raise InputError("keep_best and by go together: how many to keep, and the metric that says which are best")
        if all(one is None for one in (query, status, tags, project, older_than, by)):
            raise InputError("say what to prune: a query, status, tags, project, older_than or keep_best")
        rows = self.list_rows(query, status=status, tags=tags, project=project)
        if older_than is not None:
            before = time.time() - prune.seconds(older_than)
            rows = [row for row in rows if row["updated_at"].timestamp() < before]
        folders = {row["experiment_id"]: Path(row["path"]) for row in rows}
        if by is not None and folders:
            values = self.compare_experiments(list(folders), [by]).iloc[:, 4].tolist()
            for one in prune.best(list(zip(folders, values, strict=True)), keep_best, mode):
                del folders[one]
        plans = [plan for folder in folders.values() if (plan := prune.planned(folder, what)) is not None]
        return plans if dry_run else self.carry_out(plans, what)

    def carry_out(self, plans: Iterable[Pruned], what: What) -> list[Pruned]:
        """Move what ``prune(dry_run=True)`` returned to the trash.

        Raises:
            StateError: an experiment has begun to run meanwhile; what went before stays in the trash.
            StoreError: the root cannot be written; likewise.
        """
        from frameworm.experiment.keeping import prune

        try:
            return [prune.carry_out(self.root_dir, plan, what) for plan in plans]
        finally:
            self.list_rows(limit=0)  # the catalog forgets folders that are gone

    def trash(self) -> list[TrashEntry]:
        """Return what is in the trash, the newest first."""
        from frameworm.experiment.keeping.trash import entries

        return entries(self.root_dir)

    def restore(self, experiment_id: str) -> list[Path]:
        """Bring back what the trash holds of an experiment: itself, or files taken out of it.

        Returns:
            what is in its place again.

        Raises:
            ExperimentNotFoundError: the trash holds nothing of it; suggests the nearest.
            StateError: something lies in its place; nothing was moved.
            StoreError: the root cannot be written.
        """
        from frameworm.experiment.keeping.trash import restore

        back = restore(self.root_dir, checked_text(experiment_id, "experiment id"))
        self.list_rows(limit=0)  # the catalog enters it
        return back

    def empty_trash(self, older_than: str | None = None) -> list[TrashEntry]:
        """Remove what is in the trash for good; ids are not given again all the same.

        Args:
            older_than: only what has been there for so long: ``30d``, ``12h``; None for everything.

        Returns:
            what was removed.

        Raises:
            InputError: that is no age.
            StoreError: the root cannot be written.
        """
        from frameworm.experiment.keeping.prune import seconds
        from frameworm.experiment.keeping.trash import empty

        before_ms = None if older_than is None else int((time.time() - seconds(older_than)) * 1000)
        return empty(self.root_dir, before_ms)

    # ------------------------------------------------------------------------------------------ edits

    def add_tags(self, experiment_id: str, *tags: str) -> list[str]:
        """Add tags to an experiment, running or ended, and return all that it has now.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid.
            InputError: a tag is not allowed.
            StoreError: the root cannot be written; nothing was changed.
        """
        return self.edit_tags(experiment_id, add=tags)

    def remove_tags(self, experiment_id: str, *tags: str) -> list[str]:
        """Take tags from an experiment, and return those that it has now; what it does not have is passed over.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid.
            InputError: a tag is not allowed.
            StoreError: the root cannot be written; nothing was changed.
        """
        return self.edit_tags(experiment_id, remove=tags)

    def edit_tags(self, experiment_id: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> list[str]:
        """Take tags from an experiment and add others, at once; return those that it has now.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid.
            InputError: a tag is not allowed.
            StoreError: the root cannot be written; nothing was changed.
        """
        event = {"type": "tags_edit", "add": checked_tags(add), "remove": checked_tags(remove)}
        return list(self._edit(experiment_id, event).tags)

    def add_note(self, experiment_id: str, text: str) -> None:
        """Add a note to an experiment, running or ended.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid.
            InputError: it is not text.
            StoreError: the root cannot be written; nothing was changed.
        """
        self._edit(experiment_id, {"type": "note", "text": checked_text(text, "note", lines=True)})

    def set_description(self, experiment_id: str, text: str) -> None:
        """Replace the description of an experiment, running or ended.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid.
            InputError: it is not text.
            StoreError: the root cannot be written; nothing was changed.
        """
        self._edit(experiment_id, {"type": "description", "description": checked_text(text, "description", lines=True)})

    def rename(self, experiment_id: str, name: str) -> None:
        """Give an experiment another name; its id and its folder keep theirs.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid.
            InputError: it is not a name.
            StoreError: the root cannot be written; nothing was changed.
        """
        self._edit(experiment_id, {"type": "name", "name": checked_text(name, "name")})

    def _edit(self, experiment_id: str, event: dict[str, Any]) -> ExperimentInfo:
        from frameworm.experiment.keeping.edit import edit

        return edit(self.folders_of([experiment_id])[0], event)
