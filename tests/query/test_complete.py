"""Completing a query: what is offered at which place, and that it is taken as offered."""

from __future__ import annotations

import time

import pytest

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.query.complete import Completion, completed
from frameworm.experiment.query.filters import parse_query
from frameworm.experiment.storage.catalog import Catalog


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    root = tmp_path_factory.mktemp("complete")
    config = {"training": {"lr": 0.1, "sched": "it's"}, "warm-up": 3, "class": True}
    with Experiment(name="one", root_dir=root, config=config, tags=["mnist", 'it\'s "it"'], system_metrics_s=0) as exp:
        exp.log_metric("loss", 1.0)
        exp.log_metric("loss", 1.0, metric_type="val")
        exp.log_metric("m/odd name", 1.0)
        exp.log_metric("cpu_percent", 1.0, metric_type="system")
    ExperimentManager(root).list_rows()
    return Catalog.open(root)


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("config.tr|", "config.training.lr"),
        ("config.w|", 'config["warm-up"]'),
        ("config.cl|", 'config["class"]'),
        ('config["wa|', 'config["warm-up"]'),
        ("lr|", "config.training.lr"),
        ("odd|", 'metrics["m/odd name"]'),
        ("metrics.|", "metrics.loss"),
        ("metrics.loss.m|", "metrics.loss.min"),
        ("not sta|", "status"),
        ("(dur|", "duration_s"),
        ("|", "status"),
        ("tag|", "'mnist' in tags"),
        ("'mn|", "'mnist' in tags"),
        ("status |", "=="),
        ("status =|", "=="),
        ("status == |", "'completed'"),
        ("status in ['failed', |", "'completed'"),
        ("status in ['failed', 'com|", "'completed'"),
        ("config.training.sched == '|", '"it\'s"'),
        ("config.training.lr < |", "0.1"),
        ("config['class'] == |", "True"),
        ("git_dirty == |", "True"),
        ("created_at > |", "'7d ago'"),
        ("name == '|", "'one'"),
        ("'mnist' |", "in"),
        ("'mnist' in |", "tags"),
        ("'mnist' not in t|", "tags"),
        ("metrics.loss < 1 |", "and"),
        ("metrics.loss < 1 o|", "or"),
        ("metrics.loss < 1 and conf|", "config."),
        ("(metrics.loss < 1) |", "and"),
        ("status in ['failed'] |", "and"),
        ("status is not |", "'completed'"),
    ],
)
def test_what_fits_is_offered(catalog: Catalog, typed: str, wanted: str) -> None:
    query = typed.replace("|", "")
    found = completed(catalog, query, typed.index("|"))
    assert wanted in [text for text, _ in found.options], found
    assert query[found.start : found.end] == "" or found.end == len(query)


def test_metrics_of_the_system_are_not_offered(catalog: Catalog) -> None:
    assert completed(catalog, "metrics.cpu", 11).options == []


def test_an_option_takes_the_place_of_the_whole_word(catalog: Catalog) -> None:
    query = "config.training.xxx > 1 and status == 'xx'"
    assert completed(catalog, query, 12)[:2] == (0, 19)
    assert completed(catalog, query, 40)[:2] == (38, 42)
    assert completed(catalog, "sta", 0)[:2] == (0, 0)


@pytest.mark.parametrize("begin", ["", "config.", "metrics.", "'", "lr", "metrics.loss."])
def test_every_condition_offered_is_understood_once_it_is_ended(catalog: Catalog, begin: str) -> None:
    found = completed(catalog, begin, len(begin))
    for text, detail in found.options:
        if text in ("not", "config.", "metrics."):
            continue
        kind = detail.removeprefix("field, ")
        value = {"time": "'1d ago'", "status": "'failed'", "bool": "True", "number": "1", "text": "'a'"}.get(kind, "1")
        operator = ">" if kind in ("time", "text") else "=="
        query = text if " in tags" in text else f"{text} {operator} {value}"
        parse_query(query, catalog.has_metric, time.time_ns() // 10**6)


@pytest.mark.parametrize(
    "query", ["'", '"', "[", "a.b.", "config[", "config['", "== ==", "é", "\0", "(((", "1e", "'\\", "not"]
)
def test_nothing_typed_is_too_odd(catalog: Catalog, query: str) -> None:
    for at in range(len(query) + 1):
        found = completed(catalog, query, at)
        assert isinstance(found, Completion) and 0 <= found.start <= at <= found.end <= len(query)
