"""``ExperimentManager``: the read side. List, search, compare and look into the experiments of one root."""

from __future__ import annotations

import operator
import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from frameworm.experiment.errors import ExperimentNotFoundError, FramewormWarning, InputError, StateError, StoreError
from frameworm.experiment.keeping.keeper import Keeper
from frameworm.experiment.model import STATUSES, SeriesKey
from frameworm.experiment.reproduction.reproducer import Reproducer
from frameworm.experiment.storage.folder import (
    HIDDEN,
    experiment_folders,
    find_folder,
    id_of,
    not_found,
    number_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from frameworm.experiment.query.conditions import Condition
    from frameworm.experiment.query.diff import ExperimentDiff
    from frameworm.experiment.query.read import ExperimentReader
    from frameworm.experiment.query.samples import Sample
    from frameworm.experiment.query.sync import Watch
    from frameworm.experiment.storage.catalog import Catalog

_UID = re.compile(r"[0-9a-f]{32}\Z")
_T = TypeVar("_T")


class ExperimentManager(Keeper, Reproducer):
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
        self._root_dir = Path(root_dir).absolute()
        experiment_folders(self._root_dir)
        self._catalog: Catalog | None = None
        self._watch: Watch | None = None

    @property
    def root_dir(self) -> Path:
        """The folder of experiments, absolute."""
        return self._root_dir

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

        return self._ask(ask)

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

    # ------------------------------------------------------------------------------------------ statistics

    def group_experiments(
        self, query_or_ids: str | Iterable[str] | None, group_by: str | Iterable[str]
    ) -> list[tuple[tuple[Any, ...], list[str]]]:
        """Return the experiments that have the same values in every column.

        Args:
            query_or_ids: a query as ``search_experiments`` takes, ids or uids, or None for all.
            group_by: ``config.<param>`` or a section of the config, ``tags`` (all of them together), a field of the
                query language but times, or a list of these.

        Returns:
            for each group the columns' values, None where they have none, and the ids. Groups ascend by their
            values: numbers, bools, text, then None. 1 == 1.0 and a bool is no number, as in a query.

        Raises:
            QueryError: the query is not understood; points at the character.
            ExperimentNotFoundError: names all unknown ids and suggests the nearest.
            InputError: none of the experiments has such a column; suggests the nearest.
        """
        from frameworm.experiment.query.samples import chosen, grouped

        def ask(catalog: Catalog) -> list[tuple[tuple[Any, ...], list[str]]]:
            groups = grouped(catalog, chosen(catalog, query_or_ids), group_by)
            return [(key, [id_of(number) for number in members]) for key, members in groups]

        return self._ask(ask)

    def aggregate(
        self,
        query_or_ids: str | Iterable[str] | None,
        group_by: str | Iterable[str],
        metric: str,
        at: str = "last",
        *,
        context: str | None = None,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return statistics of a metric over the experiments of each group, such as the seeds of each model.

            manager.aggregate("project == 'digits'", "config.model", "val_loss", at="min")

        No experiment is dropped unseen: n + missing + not_finite is the size of a group. Values that are NaN or
        infinite enter no statistic. One that failed or crashed has no last, lowest or highest value and is missing;
        at a step it counts as any other. Equal values give equal results, in whatever order they come.

        Args:
            query_or_ids: as for ``group_experiments``.
            group_by: the same.
            metric: ``loss`` in its default context, ``loss@val`` in that one.
            at: which value of each: ``last``, ``min`` or ``max`` (both without NaN), or ``step=500``, the last
                logged at exactly that step. Only a step is read from the folders.
            context: train, val, …; in place of the one that ``metric`` names.
            confidence: of the interval, between 0 and 1.

        Returns:
            a column for each of ``group_by``, then n (values in the statistics), missing, not_finite, mean, median,
            std (n - 1), sem (std / √n), ci_low and ci_high (percentile bootstrap of the mean, 9,999 resamples, the
            same at every call; too narrow below ten values), iqm (interquartile mean), min, max, ids. What is
            not defined is NaN: std, sem and the interval of one value.

        Raises:
            MetricNotFoundError: none of the experiments has the metric, there; suggests the nearest.
            InputError: an argument is not allowed, or as for ``group_experiments``.

        Sources: Efron and Tibshirani, "An introduction to the bootstrap", 1993; Agarwal et al., "Deep reinforcement
        learning at the edge of the statistical precipice", NeurIPS 2021.
        """
        from frameworm.experiment.query.statistics import aggregate_frame

        columns, samples = self._sampled(query_or_ids, group_by, metric, at, context)
        return aggregate_frame(columns, samples, confidence)

    def test(
        self,
        query_or_ids: str | Iterable[str] | None,
        group_by: str | Iterable[str],
        metric: str,
        at: str = "last",
        *,
        baseline: object = None,
        method: Literal["welch", "mann-whitney"] = "welch",
        correction: Literal["holm", "benjamini-hochberg"] | None = "holm",
        context: str | None = None,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Say of each pair of groups how far they differ, and how likely chance alone would do that.

            manager.test(None, "config.model", "val_loss", at="min", baseline="vae")

        Args:
            query_or_ids: as for ``group_experiments``.
            group_by: the same.
            metric: as for ``aggregate``.
            at: the same.
            baseline: the value of the group (a tuple, for several columns) that the others are compared with; None
                compares each with each.
            method: ``welch``: are the means the same? ``mann-whitney``: is a value of one as likely the greater?
            correction: ``holm``: the chance of one false discovery among all pairs stays below the level;
                ``benjamini-hochberg``: the expected share of false ones does. None corrects nothing.
            context: as for ``aggregate``.
            confidence: of the interval of the difference.

        Returns:
            a row a pair: a, b (values of ``group_by``; b is the baseline), n_a, n_b, difference (mean a - mean b),
            ci_low and ci_high (Welch's interval of it, with either method), statistic (t, or U of a), p
            (two-sided), p_adjusted, and the size of the effect: hedges_g, or superiority (the probability that a
            value of a is greater than one of b) and cliffs_delta. NaN where neither group varies at all.

        Raises:
            InputError: a group has fewer than two values, there are fewer than two groups, or an argument is not
                allowed.
            MetricNotFoundError: as for ``aggregate``.

        Sources: Welch, Biometrika 34, 1947; Mann and Whitney, Ann. Math. Stat. 18, 1947; Holm, Scand. J. Stat. 6,
        1979; Benjamini and Hochberg, J. R. Stat. Soc. B 57, 1995; Hedges, J. Educ. Stat. 6, 1981; Cliff, Psychol.
        Bull. 114, 1993.
        """
        from frameworm.experiment.query.statistics import pairs_frame

        columns, samples = self._sampled(query_or_ids, group_by, metric, at, context)
        return pairs_frame(
            columns, samples, baseline=baseline, method=method, correction=correction, confidence=confidence
        )

    def leaderboard(
        self,
        metric: str,
        query_or_ids: str | Iterable[str] | None = None,
        *,
        group_by: str | Iterable[str] | None = None,
        at: str = "last",
        mode: Literal["min", "max"] | None = None,
        limit: int | None = None,
        context: str | None = None,
        confidence: float = 0.95,
    ) -> pd.DataFrame:
        """Return experiments from best to worst by a metric, or groups by their mean.

        Args:
            metric: as for ``aggregate``.
            query_or_ids: as for ``group_experiments``.
            group_by: rank groups, as for ``group_experiments``; None ranks experiments.
            at: as for ``aggregate``.
            mode: which end leads; None means ``max`` if ``at`` is ``max``, else ``min``.
            limit: at most so many.
            context: as for ``aggregate``.
            confidence: the same.

        Returns:
            rank (equal values share one; NaN has none and comes last), then experiment_id, name, status, value and
            the params that differ, or the columns of ``aggregate``. Experiments of any status are ranked, those
            without a value are not; ``attrs`` tells how many rows there were before the limit (``total``) and how
            many experiments have no value (``without``).

        Raises:
            MetricNotFoundError: as for ``aggregate``.
            InputError: an argument is not allowed.
        """
        from frameworm.experiment.query import leaderboard
        from frameworm.experiment.query.samples import chosen, measured

        end = leaderboard.check_mode(mode, at)
        most = None if limit is None else _limit(limit)
        if group_by is not None:
            found = self.aggregate(query_or_ids, group_by, metric, at, context=context, confidence=confidence)
            return leaderboard.group_board(found, end, most)

        def ask(catalog: Catalog) -> pd.DataFrame:
            numbers = chosen(catalog, query_or_ids)
            values = measured(catalog, numbers, metric, at, context)
            return leaderboard.experiment_board(catalog, numbers, values, end, most)

        return self._ask(ask)

    def _sampled(
        self,
        query_or_ids: str | Iterable[str] | None,
        group_by: str | Iterable[str],
        metric: str,
        at: str,
        context: str | None,
    ) -> tuple[list[str], list[Sample]]:
        """Return the columns grouped by, and the values of each group."""
        from frameworm.experiment.query.samples import chosen, columns_of, grouped, measured, sampled

        columns = columns_of(group_by)

        def ask(catalog: Catalog) -> list[Sample]:
            numbers = chosen(catalog, query_or_ids)
            groups = grouped(catalog, numbers, columns)
            return sampled(catalog, groups, measured(catalog, numbers, metric, at, context))

        return columns, self._ask(ask)

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
        return self._ask(lambda catalog: heirs(catalog, numbers))

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
            force: also one that is running.

        Returns:
            where the folder is now; moving it back undoes the deletion.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid.
            StateError: it is running.
            StoreError: the root cannot be written.
        """
        from frameworm.experiment.query.read import ExperimentReader

        folder = self._folder(experiment_id)
        number = number_of(folder.name)
        assert number is not None
        if not force:
            try:
                status = ExperimentReader(folder).info.status
            except Exception:  # what cannot be read may still be thrown away: it can be moved back
                status = "crashed"
            if status in ("pending", "running"):
                raise StateError(f"{id_of(number)} is {status}: end it first, or delete it with force=True")
        trash = self._root_dir / HIDDEN / "trash"
        target = trash / f"{folder.name}-{time.time_ns() // 1_000_000}"
        try:
            trash.mkdir(parents=True, exist_ok=True)
            folder.rename(target)
        except OSError as error:
            raise StoreError(f"{folder} cannot be moved to {trash}: {error}") from error
        self._ask(lambda catalog: None)  # the catalog forgets folders that are gone
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
        self._ask(lambda catalog: catalog.clear(), bring_up_to_date=False)
        return self._ask(lambda catalog: sum(map(len, catalog.folders())))

    # ------------------------------------------------------------------------------------------ inside

    def _folder(self, experiment_id: str) -> Path:
        if not isinstance(experiment_id, str):
            raise InputError(f"an experiment id is text such as 'exp_001', not {experiment_id!r:.80}")
        if _UID.match(experiment_id):
            from frameworm.experiment.query.listing import folder_of_uid

            folder = self._ask(lambda catalog: folder_of_uid(catalog, experiment_id))
            if folder is not None:
                return self._root_dir / folder
        return find_folder(self._root_dir, experiment_id)

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
        from frameworm.experiment.query.listing import list_columns, tag_project_status

        if status is not None and status not in STATUSES:
            raise InputError(f"status {status!r:.80} is unknown; allowed are {', '.join(STATUSES)}")
        if project is not None and not isinstance(project, str):
            raise InputError(f"project is text, not {project!r:.80}")
        wanted_tags = [] if tags is None else _texts(tags, "tags")
        most = None if limit is None else _limit(limit)

        def ask(catalog: Catalog) -> dict[str, Sequence[Any]]:
            every = conditions(catalog) + tag_project_status(wanted_tags, project, status)
            return list_columns(catalog, every, most)

        return self._ask(ask)

    def _ask(self, question: Callable[[Catalog], _T], *, bring_up_to_date: bool = True) -> _T:
        """Put a question to the up-to-date catalog.

        One that turns out damaged is replaced; one that cannot be written is answered for by a copy in memory.
        """
        from frameworm.experiment.query.sync import Watch, sync
        from frameworm.experiment.storage.catalog import Catalog, CatalogDamageError, CatalogUnavailableError

        def attempt() -> _T:
            if self._catalog is None:
                self._catalog = Catalog.open(self._root_dir)
            if self._watch is None:
                self._watch = Watch()
            if bring_up_to_date:
                sync(self._catalog, self._watch)
            return question(self._catalog)

        try:
            return attempt()
        except CatalogDamageError:
            assert self._catalog is not None
            self._catalog.reset()
            self._watch = None
        except CatalogUnavailableError:
            self._catalog = Catalog.in_memory(self._root_dir)
        return attempt()


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


def _limit(limit: object) -> int:
    try:
        most = operator.index(limit)  # type: ignore[arg-type]
    except TypeError:
        most = -1
    if most < 0 or isinstance(limit, bool):
        raise InputError(f"limit is a whole number from 0, or None for all, not {limit!r:.80}")
    return min(most, 2**62)
