"""Statistics over seeds: the numbers are SciPy's and NumPy's, and no experiment is dropped unseen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import (
    ExperimentNotFoundError,
    FramewormWarning,
    InputError,
    MetricNotFoundError,
    QueryError,
)
from frameworm.experiment.query.samples import Sample
from frameworm.experiment.query.statistics import (
    aggregate_frame,
    benjamini_hochberg,
    bootstrap_interval,
    holm,
    interquartile_mean,
    mann_whitney,
    mean_difference_interval,
    pairs_frame,
    welch,
)

FINAL = {
    "gan": [0.9, 1.1, 1.0, 1.4, 0.8],
    "vae": [0.50, 0.52, 0.47, 0.55, 0.49, 0.51],
}
"""The last val_loss of each seed."""


def record(root: Path, model: Any, values: Sequence[float], **about: Any) -> str:
    """Record one experiment whose val_loss takes these values at steps 0, 100, 200, …; return its id."""
    config = {"model": model, "lr": about.pop("lr", 0.1)}
    with Experiment(str(model), config, root_dir=root, capture_console=False, system_metrics_s=0, **about) as exp:
        for step, value in enumerate(values):
            exp.log_metric("val_loss", value, step=100 * step, metric_type="val")
    return exp.experiment_id


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> ExperimentManager:
    """Eleven experiments: five seeds of a gan, six of a vae; the lowest value of each is 0.05 below its last."""
    root = tmp_path_factory.mktemp("seeds") / "experiments"
    for model, finals in FINAL.items():
        for seed, final in enumerate(finals):
            lr = 0.1 if seed % 2 else 0.01
            record(root, model, [2.0 + seed, final - 0.05, final], lr=lr, project="digits", tags=[model, "seeds"])
    return ExperimentManager(root)


def sample(*values: float, key: tuple[Any, ...] = ("a",)) -> Sample:
    return Sample(key, [f"exp_{i + 1:03d}" for i in range(len(values))], np.sort(np.array(values)), 0, 0)


# ---------------------------------------------------------------------------------------------- aggregate


def test_a_row_a_group_with_the_statistics_of_its_values(seeds: ExperimentManager) -> None:
    frame = seeds.aggregate("project == 'digits'", "config.model", "val_loss")
    assert list(frame.columns) == [
        "config.model", "n", "missing", "not_finite", "mean", "median", "std", "sem", "ci_low", "ci_high", "iqm",
        "min", "max", "ids",
    ]  # fmt: skip
    assert list(frame["config.model"]) == ["gan", "vae"]
    for row, values in zip(frame.to_dict("records"), FINAL.values(), strict=True):
        assert (row["n"], row["missing"], row["not_finite"]) == (len(values), 0, 0)
        assert row["mean"] == pytest.approx(np.mean(values), rel=1e-14)
        assert row["median"] == np.median(values)
        assert row["std"] == pytest.approx(np.std(values, ddof=1), rel=1e-13)
        assert row["sem"] == pytest.approx(stats.sem(values), rel=1e-13)
        assert (row["min"], row["max"]) == (min(values), max(values))
        assert row["iqm"] == pytest.approx(np.mean(sorted(values)[1:-1]), rel=1e-14)
        by_scipy = stats.bootstrap(
            (np.sort(values),), np.mean, method="percentile", batch=200, rng=np.random.default_rng(0)
        ).confidence_interval
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(by_scipy, rel=1e-13)
        assert min(values) < row["ci_low"] < row["mean"] < row["ci_high"] < max(values)
    assert frame["ids"][0] == [f"exp_{i:03d}" for i in range(1, 6)]


@pytest.mark.parametrize(
    ("at", "gan"),
    [
        ("last", FINAL["gan"]),
        ("min", [value - 0.05 for value in FINAL["gan"]]),
        ("max", [2.0, 3.0, 4.0, 5.0, 6.0]),
        ("step=100", [value - 0.05 for value in FINAL["gan"]]),
        ("step = 0", [2.0, 3.0, 4.0, 5.0, 6.0]),
    ],
)
def test_at_chooses_one_value_of_each(seeds: ExperimentManager, at: str, gan: list[float]) -> None:
    frame = seeds.aggregate("config.model == 'gan'", "config.model", "val_loss", at)
    assert frame["mean"][0] == pytest.approx(np.mean(gan), rel=1e-14)
    assert (frame["min"][0], frame["max"][0]) == (min(gan), max(gan))


def test_the_metric_is_named_with_its_context_or_beside_it(seeds: ExperimentManager) -> None:
    plain, *others = (
        seeds.aggregate(None, "config.model", "val_loss"),
        seeds.aggregate(None, "config.model", "val_loss@val"),
        seeds.aggregate(None, "config.model", "val_loss", context="val"),
        seeds.aggregate(None, "config.model", "val_loss@val", "step=200"),
    )
    for other in others:
        assert other.equals(plain)


def test_one_value_has_no_spread_and_no_interval(tmp_path: Path) -> None:
    record(tmp_path, "vae", [0.5])
    (row,) = ExperimentManager(tmp_path).aggregate(None, "config.model", "val_loss").to_dict("records")
    assert (row["n"], row["mean"], row["median"], row["iqm"]) == (1, 0.5, 0.5, 0.5)
    assert all(math.isnan(row[name]) for name in ("std", "sem", "ci_low", "ci_high"))


def test_what_is_not_in_the_statistics_is_counted(tmp_path: Path) -> None:
    values = [[0.5], [0.7], [0.6, math.nan], [math.inf], []]
    ids = [record(tmp_path, "vae", some) for some in values]
    with pytest.raises(ValueError, match="boom"):
        with Experiment("fails", {"model": "vae"}, root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
            exp.log_metric("val_loss", 9.0, step=0, metric_type="val")
            raise ValueError("boom")
    manager = ExperimentManager(tmp_path)
    (row,) = manager.aggregate(None, "config.model", "val_loss").to_dict("records")
    assert (row["n"], row["missing"], row["not_finite"], row["mean"]) == (2, 2, 2, 0.6)
    assert row["ids"] == [*ids, exp.experiment_id]
    (row,) = manager.aggregate(None, "config.model", "val_loss", "min").to_dict("records")
    assert (row["n"], row["missing"], row["not_finite"]) == (3, 2, 1)
    # At a step, an experiment that failed later counts as any other.
    (row,) = manager.aggregate(None, "config.model", "val_loss", "step=0").to_dict("records")
    assert (row["n"], row["missing"], row["not_finite"], row["max"]) == (4, 1, 1, 9.0)


def test_no_experiment_no_rows_but_the_columns(seeds: ExperimentManager) -> None:
    frame = seeds.aggregate("name == 'nobody'", ["config.model", "project"], "val_loss")
    assert len(frame) == 0
    assert list(frame.columns)[:3] == ["config.model", "project", "n"]
    assert list(frame.columns) == list(seeds.aggregate(None, ["config.model", "project"], "val_loss").columns)


def test_the_order_and_repetition_of_ids_changes_nothing(seeds: ExperimentManager) -> None:
    ids = [f"exp_{i:03d}" for i in range(1, 12)]
    expected = seeds.aggregate(ids, "config.model", "val_loss")
    assert seeds.aggregate([*ids[::-1], "exp_004"], "config.model", "val_loss").equals(expected)
    uids = [seeds.get_experiment(one)["uid"] for one in ids]
    assert seeds.aggregate(iter(uids), "config.model", "val_loss").equals(expected)


finite = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(st.lists(finite, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_an_interval_depends_on_the_values_alone(values: list[float], random: Any) -> None:
    shuffled = random.sample(values, len(values))
    low, high = bootstrap_interval(np.array(values), 0.9, resamples=200)
    assert (low, high) == bootstrap_interval(np.array(shuffled), 0.9, resamples=200)
    assert min(values) <= low <= high <= max(values)
    table = np.stack([np.array(shuffled), np.zeros(len(values))], axis=1)
    lows, highs = bootstrap_interval(table, 0.9, resamples=200)
    # Sums down a column are rounded otherwise than those along a row.
    assert (lows[0], highs[0]) == pytest.approx((float(low), float(high)), rel=1e-12, abs=1e-9)
    assert (lows[1], highs[1]) == (0.0, 0.0)


@given(st.lists(finite, min_size=1, max_size=12))
def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end(values: list[float]) -> None:
    out = len(values) // 4
    expected = np.mean(sorted(values)[out : len(values) - out])
    assert interquartile_mean(np.array(values)) == pytest.approx(expected, rel=1e-12, abs=1e-9)


def test_values_near_the_largest_float_are_no_reason_to_fail() -> None:
    (row,) = aggregate_frame(["a"], [sample(1e308, 1.5e308, 1.7e308)], 0.95).to_dict("records")
    assert (row["n"], row["median"], row["std"]) == (3, 1.5e308, math.inf)


# ---------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.aggregate(None, "config.modle", "val_loss"), InputError, "did you mean 'config.model'"),
        (lambda m: m.aggregate(None, "model", "val_loss"), InputError, "did you mean 'config.model'"),
        (lambda m: m.aggregate(None, "created_at", "val_loss"), InputError, "Allowed are config.<param>, tags and"),
        (lambda m: m.aggregate(None, 3, "val_loss"), InputError, "group_by is 3"),
        (lambda m: m.aggregate(None, "config.model", "val_los"), MetricNotFoundError, "did you mean 'val_loss'"),
        (lambda m: m.aggregate(None, "config.model", "val_loss.min"), MetricNotFoundError, "with at='min'"),
        (lambda m: m.aggregate(None, "config.model", "val_loss@test"), MetricNotFoundError, "'test', but in 'val'"),
        (lambda m: m.aggregate(None, "config.model", "val_loss", context="x"), MetricNotFoundError, "but in 'val'"),
        (lambda m: m.aggregate(None, "config.model", "val_loss", "step=90"), MetricNotFoundError, "nearest step is 1"),
        (lambda m: m.aggregate(None, "config.model", "val_loss", "best"), InputError, "allowed is 'last', 'min'"),
        (lambda m: m.aggregate(None, "config.model", 7), InputError, "metric and context are text"),
        (lambda m: m.aggregate(None, "config.model", "val_loss", confidence=95), InputError, "between 0 and 1"),
        (lambda m: m.aggregate("model = 3", "config.model", "val_loss"), QueryError, "write =="),
        (lambda m: m.aggregate(["exp_001", "exp_0l2"], "config.model", "val_loss"), ExperimentNotFoundError, "exp_0l2"),
        (lambda m: m.aggregate([1], "config.model", "val_loss"), InputError, "neither a query"),
        (lambda m: m.aggregate(1, "config.model", "val_loss"), InputError, "neither a query"),
        (lambda m: m.test(None, "config.model", "val_loss", baseline="gam"), InputError, "allowed is 'gan', 'vae'"),
        (lambda m: m.test(None, "config.model", "val_loss", method="t"), InputError, "'welch' or 'mann-whitney'"),
        (lambda m: m.test(None, "config.model", "val_loss", correction="bh"), InputError, "'holm', 'benjamini"),
        (lambda m: m.test(None, "project", "val_loss"), InputError, "two groups or more, and only digits"),
        (lambda m: m.test("name == 'x'", "project", "val_loss"), InputError, "two groups or more, and no experiments"),
        (lambda m: m.test(["exp_001", "exp_002", "exp_006"], "config.model", "val_loss"), InputError, "vae has 1 of 1"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_what_is_allowed(
    seeds: ExperimentManager, call: Callable[[ExperimentManager], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        call(seeds)
    assert message in str(raised.value)


# ---------------------------------------------------------------------------------------------- test


def test_welch_is_scipys_and_hedges_g_is_worked_out_by_hand(seeds: ExperimentManager) -> None:
    (row,) = seeds.test(None, "config.model", "val_loss").to_dict("records")
    gan, vae = np.array(FINAL["gan"]), np.array(FINAL["vae"])
    expected = stats.ttest_ind(gan, vae, equal_var=False)
    assert (row["a"], row["b"], row["n_a"], row["n_b"]) == ("gan", "vae", 5, 6)
    assert row["difference"] == pytest.approx(gan.mean() - vae.mean(), rel=1e-13)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-12)
    assert (row["statistic"], row["p"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert row["p_adjusted"] == row["p"]
    pooled = math.sqrt((4 * gan.var(ddof=1) + 5 * vae.var(ddof=1)) / 9)
    correction = 1 - 3 / (4 * 9 - 1)  # Hedges' approximation of J, good to a thousandth at 9
    assert row["hedges_g"] == pytest.approx(correction * row["difference"] / pooled, rel=1e-3)


def test_mann_whitney_counts_who_is_greater(seeds: ExperimentManager) -> None:
    (row,) = seeds.test(None, "config.model", "val_loss", method="mann-whitney").to_dict("records")
    assert (row["statistic"], row["superiority"], row["cliffs_delta"]) == (30.0, 1.0, 1.0)
    assert row["p"] == pytest.approx(2 / math.comb(11, 5), rel=1e-12)  # of all ways to rank, two are as extreme


@given(st.lists(st.integers(0, 9), min_size=2, max_size=9), st.lists(st.integers(0, 9), min_size=2, max_size=9))
def test_effects_turn_round_with_the_groups(first: list[int], second: list[int]) -> None:
    a, b = np.sort(np.array(first, float)), np.sort(np.array(second, float))
    greater = sum((x > y) + 0.5 * (x == y) for x in a for y in b) / (len(a) * len(b))
    there, back = mann_whitney(a, b), mann_whitney(b, a)
    assert there.effects["superiority"] == pytest.approx(greater, abs=1e-12)
    assert there.effects["cliffs_delta"] == pytest.approx(-back.effects["cliffs_delta"], abs=1e-12)
    assert there.p == pytest.approx(back.p, abs=1e-12)
    if len(set(first)) > 1 or len(set(second)) > 1:
        assert welch(a, b).effects["hedges_g"] == pytest.approx(-welch(b, a).effects["hedges_g"], abs=1e-12)
    if len(set(first)) > 1 and len(set(second)) > 1:
        expected = stats.ttest_ind(a, b, equal_var=False)
        assert (welch(a, b).statistic, welch(a, b).p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
        interval = tuple(expected.confidence_interval(0.9))
        assert mean_difference_interval(a, b, 0.9) == pytest.approx(interval, rel=1e-9, abs=1e-12)


def test_each_with_each_or_all_with_a_baseline() -> None:
    samples = [sample(1, 2, key=(1,)), sample(2, 3.5, 4, key=(2.5,)), sample(7, 9, key=(None,))]
    every = pairs_frame(["config.lr"], samples, correction=None)
    assert list(zip(every["a"], every["b"], strict=True)) == [(1, 2.5), (1, None), (2.5, None)]
    assert every["p_adjusted"].equals(every["p"])
    to_one = pairs_frame(["config.lr"], samples, baseline=1.0)
    assert list(zip(to_one["a"], to_one["b"], strict=True)) == [(2.5, 1), (None, 1)]
    assert to_one["difference"][0] == -every["difference"][0]
    several = pairs_frame(["name", "config.lr"], [s._replace(key=("x", *s.key)) for s in samples], baseline=("x", 1))
    assert list(several["a"]) == [("x", 2.5), ("x", None)]


def test_holm_by_hand() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_corrections_only_raise_and_keep_the_order(values: list[float], random: Any) -> None:
    p = np.array(values)
    order = np.array(random.sample(range(len(p)), len(p)))
    bonferroni = np.minimum(p * len(p), 1.0)
    for correct in (holm, benjamini_hochberg):
        adjusted = correct(p)
        assert (adjusted >= p - 1e-12).all() and (adjusted <= bonferroni + 1e-12).all()
        assert (np.diff(adjusted[np.argsort(p)]) >= -1e-12).all()
        assert correct(p[order]) == pytest.approx(adjusted[order], abs=1e-12)
    assert (benjamini_hochberg(p) <= holm(p) + 1e-12).all()


def test_groups_that_do_not_vary_have_no_p_and_a_word_about_seeds() -> None:
    samples = [sample(1, 1, key=("a",)), sample(2, 2, key=("b",)), sample(2, 3, key=("c",))]
    with pytest.warns(FramewormWarning, match="'model=a', 'model=b' are all the same: were the seeds different"):
        frame = pairs_frame(["config.model"], samples)
    assert frame["p"].isna().tolist() == frame["p_adjusted"].isna().tolist() == [True, False, False]
    assert frame["p_adjusted"][1] == pytest.approx(min(2 * frame["p"][1:].min(), 1.0))  # of two tests, not of three
    assert frame["difference"][0] == -1.0
    assert math.isnan(frame["hedges_g"][0]) and math.isnan(frame["ci_low"][0])


def test_who_is_left_out_of_a_test_is_told(tmp_path: Path) -> None:
    for model, value in (("a", 1.0), ("a", 2.0), ("a", math.nan), ("b", 3.0), ("b", 5.0)):
        record(tmp_path, model, [value])
    with pytest.warns(FramewormWarning, match="1 of 5 experiments, of 'model=a', have no finite value"):
        frame = ExperimentManager(tmp_path).test(None, "config.model", "val_loss")
    assert (frame["n_a"][0], frame["n_b"][0], frame["difference"][0]) == (2, 2, -2.5)
