"""What an ``ExperimentManager`` does to compare groups of experiments; all work is in the modules beside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from frameworm.experiment.storage.folder import id_of

if TYPE_CHECKING:
    import pandas as pd

    from frameworm.experiment.query.index import Index
    from frameworm.experiment.query.samples import Sample
    from frameworm.experiment.storage.catalog import Catalog


class Statistician(ABC):
    """The part of ``ExperimentManager`` that groups, aggregates, tests and ranks."""

    @property
    @abstractmethod
    def index(self) -> Index:
        """The catalog of the root."""

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

        return self.index.ask(ask)

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
        from frameworm.experiment.query.listing import checked_limit
        from frameworm.experiment.query.samples import chosen, measured

        end = leaderboard.check_mode(mode, at)
        most = None if limit is None else checked_limit(limit)
        if group_by is not None:
            found = self.aggregate(query_or_ids, group_by, metric, at, context=context, confidence=confidence)
            return leaderboard.group_board(found, end, most)

        def ask(catalog: Catalog) -> pd.DataFrame:
            numbers = chosen(catalog, query_or_ids)
            values = measured(catalog, numbers, metric, at, context)
            return leaderboard.experiment_board(catalog, numbers, values, end, most)

        return self.index.ask(ask)

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

        return columns, self.index.ask(ask)
