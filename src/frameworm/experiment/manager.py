"""``ExperimentManager``: the read side. List, search, compare and look into the experiments of one root."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.errors import ExperimentNotFoundError, FramewormWarning, InputError
from frameworm.experiment.keeping.keeper import Keeper
from frameworm.experiment.model import STATUSES, SeriesKey
from frameworm.experiment.provenance.plan import current_plan, folder_of
from frameworm.experiment.query.index import Index
from frameworm.experiment.query.statistician import Statistician
from frameworm.experiment.reproduction.reproducer import Reproducer
from frameworm.experiment.storage.folder import (
    experiment_folders,
    id_of,
    not_found,
    number_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from frameworm.experiment.query.conditions import Condition
    from frameworm.experiment.query.diff import ExperimentDiff
    from frameworm.experiment.query.read import ExperimentReader
    from frameworm.experiment.storage.catalog import Catalog

_UID = re.compile(r"[0-9a-f]{32}\Z")


class ExperimentManager(Statistician, Keeper, Reproducer):
    """The experiments under one root folder.

    Reads what is there at each call, running and crashed experiments included; another process may write
    meanwhile. Any thread may call any method. The catalog ``experiments.db`` is brought up to date on the way;
    on a read-only root that happens in memory.

    Examples:
        >>> manager = ExperimentManager("experiments")
        >>> manager.list_experiments(status="completed", tags=["vae"])
        >>> manager.search_experiments("config.training.lr < 1e-3 and metrics.val_loss.min <= 0.5")
        >>> manager.compare_experiments(["exp_001", "exp_002"], metrics=["loss", "val_loss"])
        >>> manager.get_metric_history("exp_001", "loss")
    """

    def __init__(self, root_dir: str | os.PathLike[str] = "experiments") -> None:
        """Open a root folder.

        Raises:
            StoreNotFoundError: there is no such folder.
        """
        plan = current_plan()
        self._root_dir = Path(root_dir).absolute() if plan is None else plan.root(root_dir)
        experiment_folders(self._root_dir)
        self._index = Index(self._root_dir)

    def __reduce__(self) -> tuple[Any, ...]:
        """Have pickle, and copies, open the same root again."""
        return type(self), (self._root_dir,)

    @property
    def root_dir(self) -> Path:
        """The folder of experiments, absolute."""
        return self._root_dir

    @property
    def index(self) -> Index:
        """The catalog of the root, for questions that no method here answers."""
        return self._index

    def __repr__(self) -> str:
        return f"ExperimentManager({str(self._root_dir)!r})"

    # ------------------------------------------------------------------------------------------ tables

    def list_experiments(
        self,
        status: str | None = None,
        tags: str | Iterable[str] | None = None,
        project: str | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return a table of experiments, newest first.

        Args:
            status: only those in this status.
            tags: only those that have this tag, or all of these.
            project: only those of this project.
            limit: at most so many.

        Returns:
            columns experiment_id, name, project, description, status, created_at, updated_at (both
            datetime64[ms, UTC]), duration_s, tags (list), git_hash, git_dirty, path. No experiments, no rows:
            the columns stay.

        Raises:
            InputError: an unknown status, or an argument of the wrong type.
        """
        return _frame(self._select(lambda catalog: [], status, tags, project, limit))

    def search_experiments(
        self,
        query: str | Mapping[str, Any] | None = None,
        metric_filter: Mapping[str, Any] | None = None,
        *,
        config_filter: Mapping[str, Any] | None = None,
        status: str | None = None,
        tags: str | Iterable[str] | None = None,
        project: str | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return the experiments that meet every condition given, newest first.

        Args:
            query: text such as ``config.training.lr < 1e-3 and metrics.val_loss.min <= 0.5 and 'mnist' in tags``;
                a dict here is taken for ``config_filter``.
            metric_filter: ``{"val_loss": ("<=", 0.5)}``. A name means the last value in the default context;
                ``val_loss.min``, ``.max``, ``.mean``, ``.first``, ``.count`` the others, ``loss@val`` a context.
            config_filter: ``{"training.lr": 0.001}``, or an operator and a value: ``==`` ``!=`` ``<`` ``<=``
                ``>`` ``>=`` ``in`` ``contains``.
            status: as in ``list_experiments``.
            tags: the same.
            project: the same.
            limit: the same.

        Returns:
            the columns of ``list_experiments``.

        Raises:
            QueryError: a filter or the text is not understood; points at the character.
        """
        from frameworm.experiment.query import filters

        if isinstance(query, Mapping):
            if config_filter is not None:
                raise InputError("config_filter was given twice: by position and by name")
            query, config_filter = None, query

        def conditions(catalog: Catalog) -> list[Condition]:
            found = []
            if query is not None:
                found.append(filters.parse_query(query, catalog.has_metric, time.time_ns() // 1_000_000))
            if config_filter is not None:
                found.append(filters.config_filter_condition(config_filter))
            if metric_filter is not None:
                found.append(filters.metric_filter_condition(metric_filter, catalog.has_metric))
            return found

        return _frame(self._select(conditions, status, tags, project, limit))

    def list_rows(
        self,
        query: str | None = None,
        *,
        status: str | None = None,
        tags: str | Iterable[str] | None = None,
        project: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the rows of ``list_experiments`` as dicts, without the 0.3 s that importing pandas takes.

        Args:
            query: only those that meet it, as in ``search_experiments``.
            status: as in ``list_experiments``.
            tags: the same.
            project: the same.
            limit: the same.

        Returns:
            dicts with the columns of ``list_experiments``; times are aware datetimes, what is not known is None.

        Raises:
            QueryError: the query is not understood; points at the character.
        """

        def conditions(catalog: Catalog) -> list[Condition]:
            from frameworm.experiment.query.filters import parse_query

            return [] if query is None else [parse_query(query, catalog.has_metric, time.time_ns() // 1_000_000)]

        from frameworm.experiment.query.describe import utc_time

        columns = self._select(conditions, status, tags, project, limit)
        times = {name: [utc_time(ms) for ms in columns[name]] for name in ("created_at", "updated_at")}
        columns |= times
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def compare_experiments(self, experiment_ids: Sequence[str], metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row for each experiment, in the order asked.

        Args:
            experiment_ids: ids or uids.
            metrics: names as in ``metric_filter``; None means all in their default context but system metrics.

        Returns:
            columns experiment_id, name, status, created_at; one a metric with its latest value, NaN where there
            is none (``metrics.<name>`` should a metric be called like a column before it); one a param that is
            not the same in all, ``config.<key>``, None where there is none.

        Raises:
            ExperimentNotFoundError: names all unknown ids and suggests the nearest.
            MetricNotFoundError: none of the experiments has one of the metrics.
        """
        from frameworm.experiment.query.listing import compare_frame, numbers_of

        ids = _texts(experiment_ids, "experiment_ids")
        wanted = None if metrics is None else _texts(metrics, "metrics")

        def ask(catalog: Catalog) -> pd.DataFrame:
            numbers = numbers_of(catalog, ids)
            unknown = [one for one in dict.fromkeys(ids) if one not in numbers]
            if unknown:
                raise self._not_found(unknown)
            return compare_frame(catalog, [numbers[one] for one in ids], wanted)

        return self.index.ask(ask)

    def diff(self, a: str, b: str, *, metrics: str | Sequence[str] | None = None) -> ExperimentDiff:
        """Return what differs between two experiments, where their metrics part, and what probably made them.

        Series are compared bit for bit but for their times, the code line by line with its uncommitted changes. What
        is not the same in how they were made is ranked as a cause of what is not the same in what came out.

        Args:
            a: id or uid.
            b: id or uid.
            metrics: only these series: ``loss`` in all contexts, or ``loss@val``; None means all but the system's.

        Returns:
            the difference; ``.verdict`` is a sentence, ``.causes`` a ranking, ``.to_dict()`` plain data.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid; suggests the nearest.
            MetricNotFoundError: none of the two has one of the metrics.
        """
        from frameworm.experiment.query.diff import diff_experiments

        wanted = None if metrics is None else _texts(metrics, "metrics")
        return diff_experiments(self.reader(a), self.reader(b), wanted)

    def get_metric_history(self, experiment_id: str, metric_name: str, metric_type: str | None = None) -> pd.DataFrame:
        """Return every point of a metric, as it was logged: nothing is sampled, sorted or dropped.

        Args:
            experiment_id: id or uid.
            metric_name: the metric; ``loss@val`` is short for ``metric_type="val"``.
            metric_type: the context; None means all, one after the other.

        Returns:
            columns step (int64), epoch (Int64, NA where none was given), metric_value (float64), metric_type,
            timestamp (datetime64[ms, UTC]), in arrival order.

        Raises:
            MetricNotFoundError: there is no such metric, or not in that context; suggests the nearest.
        """
        from frameworm.experiment.query.tables import history_frame

        reader = self.reader(experiment_id)
        if not isinstance(metric_name, str):
            raise InputError(f"metric_name is text, not {metric_name!r:.80}")
        keys = reader.keys()
        if metric_type is None and all(key.name != metric_name for key in keys):
            name, _, context = metric_name.rpartition("@")
            if SeriesKey(name, context) in keys:
                metric_name, metric_type = name, context
        if metric_type is None:
            return history_frame(reader.read_all(metric_name))
        return history_frame({metric_type: reader.read(metric_name, metric_type)})

    # ------------------------------------------------------------------------------------------ one experiment

    def reader(self, experiment_id: str, *, own: bool = False) -> ExperimentReader:
        """Return a reader of one experiment: its points as arrays.

        Warns (``FramewormWarning``) if a fork cannot show what it inherits because its parent is gone.

        Args:
            experiment_id: id or uid.
            own: read all points that lie in the experiment's folder and no others: those that were rewound are
                among them, those inherited are not.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid; suggests the nearest.
        """
        from frameworm.experiment.query.read import ExperimentReader  # with NumPy, which tables do without

        reader = ExperimentReader(self._folder(experiment_id), own=own)
        if reader.missing:
            message = f"{reader.info.experiment_id}: {reader.missing}; its own points are shown"
            warnings.warn(message, FramewormWarning, stacklevel=2)
        return reader

    def forks_of(self, experiment_ids: str | Iterable[str]) -> list[str]:
        """Return the ids of all other experiments that inherit points of these: their forks, and forks of those.

        Args:
            experiment_ids: ids or uids.

        Raises:
            ExperimentNotFoundError: names all unknown ids and suggests the nearest.
        """
        from frameworm.experiment.query.listing import heirs

        numbers = [number_of(folder.name) for folder in self.folders_of(experiment_ids)]
        return self.index.ask(lambda catalog: heirs(catalog, numbers))

    def get_experiment(self, experiment_id: str) -> dict[str, Any]:
        """Return everything known of an experiment but its points.

        Returns:
            experiment_id, uid, name, project, description, status, reason, tags, notes, config, lossy_params,
            created_at, updated_at, started_at, ended_at (aware datetimes or None), duration_s, metrics_summary,
            artifacts, git, git_hash, git_dirty, environment, parent, rewinds, writers, damage, missing, path.
            ``metrics_summary`` maps each metric to its last, min, max, mean, first, count, nan_count, last_step,
            last_epoch and last_at; a bare name stands for the default context, others are ``name@context``.
            ``parent`` says what it forks or reproduces, ``missing`` what a fork cannot show as its parent is gone.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid; suggests the nearest.
        """
        from frameworm.experiment.query.describe import describe

        return describe(self.reader(experiment_id))

    def folders_of(self, experiment_ids: Iterable[str]) -> list[Path]:
        """Return the folders of experiments, each once.

        Args:
            experiment_ids: ids or uids.

        Raises:
            ExperimentNotFoundError: names all unknown ids and suggests the nearest.
        """
        folders: dict[Path, None] = {}
        missing = []
        for one in dict.fromkeys(_texts(experiment_ids, "experiment_ids")):
            try:
                folders[self._folder(one)] = None
            except ExperimentNotFoundError:
                missing.append(one)
        if missing:
            raise self._not_found(missing)
        return list(folders)

    def delete_experiment(self, experiment_id: str, *, force: bool = False) -> Path:
        """Move an experiment's folder to ``.frameworm/trash/``; its id is never given to another.

        Its forks show their own points alone until it is back; a ``FramewormWarning`` names each of them.

        Args:
            experiment_id: id or uid.
            force: also one that a process still writes to.

        Returns:
            where the folder is now; moving it back undoes the deletion.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid.
            StateError: a process still writes to it: its own, an attached one, or a fork.
            StoreError: the root cannot be written.
        """
        from frameworm.experiment.keeping.trash import delete

        (target,) = delete(self._root_dir, [self._folder(experiment_id)], force=force)
        self.index.ask(lambda catalog: None)  # the catalog forgets folders that are gone
        return target

    # ------------------------------------------------------------------------------------------ the whole root

    def print_summary(self) -> None:
        """Print how many experiments there are, by status and project, and the newest of them."""
        from frameworm.experiment.query.describe import print_summary

        print_summary(self._root_dir, self.list_experiments())

    def rebuild(self) -> int:
        """Make the catalog anew from the folders; shows progress if there are many and stderr is a terminal.

        Returns:
            how many experiments it holds.
        """
        self.index.ask(lambda catalog: catalog.clear(), bring_up_to_date=False)
        return self.index.ask(lambda catalog: sum(map(len, catalog.folders())))

    # ------------------------------------------------------------------------------------------ inside

    def _folder(self, experiment_id: str) -> Path:
        if not isinstance(experiment_id, str):
            raise InputError(f"an experiment id is text such as 'exp_001', not {experiment_id!r:.80}")
        if _UID.match(experiment_id):
            from frameworm.experiment.query.listing import folder_of_uid

            folder = self.index.ask(lambda catalog: folder_of_uid(catalog, experiment_id))
            if folder is not None:
                return self._root_dir / folder
        return folder_of(experiment_id, self._root_dir)

    def _not_found(self, missing: list[str]) -> ExperimentNotFoundError:
        known = sorted(set(experiment_folders(self._root_dir).values()))
        return not_found(self._root_dir, missing, [id_of(number) for number in known])

    def _select(
        self,
        conditions: Callable[[Catalog], list[Condition]],
        status: str | None,
        tags: str | Iterable[str] | None,
        project: str | None,
        limit: int | None,
    ) -> dict[str, Sequence[Any]]:
        from frameworm.experiment.query.listing import checked_limit, list_columns, tag_project_status

        if status is not None and status not in STATUSES:
            raise InputError(f"status {status!r:.80} is unknown; allowed are {', '.join(STATUSES)}")
        if project is not None and not isinstance(project, str):
            raise InputError(f"project is text, not {project!r:.80}")
        wanted_tags = [] if tags is None else _texts(tags, "tags")
        most = None if limit is None else checked_limit(limit)

        def ask(catalog: Catalog) -> dict[str, Sequence[Any]]:
            every = conditions(catalog) + tag_project_status(wanted_tags, project, status)
            return list_columns(catalog, every, most)

        return self.index.ask(ask)


def _frame(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    from frameworm.experiment.query.tables import experiments_frame

    return experiments_frame(columns)


def _texts(values: str | Iterable[str], what: str) -> list[str]:
    """Return a list of texts; one text alone is a list of one."""
    if isinstance(values, str):
        return [values]
    try:
        texts = list(values)
    except TypeError:
        raise InputError(f"{what} is a list of text, not {values!r:.80}") from None
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{what} is a list of text; {text!r:.80} in it is not")
    return texts
