"""Counting steps, checking arguments, threads, new journals for large ones."""

import decimal
import os
import threading

import numpy as np
import pytest

from frameworm.experiment.errors import FramewormWarning, MetricError
from frameworm.experiment.model import SeriesKey
from frameworm.experiment.recording import recorder as module
from frameworm.experiment.recording.journal import WriterName, read_journal
from frameworm.experiment.recording.recorder import Recorder


@pytest.fixture
def writer(tmp_path):
    return Recorder(tmp_path, {"host": "host", "pid": os.getpid()})


def read(writer: Recorder) -> dict[SeriesKey, list[tuple[int, float]]]:
    contents = read_journal(writer._journal.path, verify=True)
    assert contents.damage == []
    found = {}
    for position, key in enumerate(contents.keys):
        points = contents.read(position)
        found[key] = list(zip(points.steps.tolist(), points.values.tolist(), strict=True))
    return found


def steps(writer: Recorder, name: str, context: str = "train") -> list[int]:
    return [step for step, _ in read(writer)[SeriesKey(name, context)]]


def test_missing_steps_count_up_per_series(writer):
    for _ in range(3):
        writer.log_metric("a", 1.0, None, None, "train")
    writer.log_metric("a", 1.0, 100, None, "train")
    writer.log_metric("a", 1.0, None, None, "train")
    writer.log_metric("a", 1.0, None, None, "val")
    assert steps(writer, "a") == [0, 1, 2, 100, 101]
    assert steps(writer, "a", "val") == [0]


def test_missing_steps_count_up_per_series_across_single_calls_and_rows(writer):
    writer.log_metrics({"a": 0.0, "b": 0.0}, None, None, "train")
    writer.log_metric("a", 1.0, None, None, "train")
    writer.log_metrics({"a": 2.0, "b": 1.0}, None, None, "train")  # a and b are at different steps now
    writer.log_metrics({"a": 3.0, "b": 2.0}, 10, None, "train")
    writer.log_metrics({"a": 4.0, "b": 3.0}, None, None, "train")
    writer.log_metrics({"b": 4.0, "c": 0.0}, None, None, "train")
    writer.log_metric("a", 5.0, None, None, "train")
    assert steps(writer, "a") == [0, 1, 2, 10, 11, 12]
    assert steps(writer, "b") == [0, 1, 10, 11, 12]
    assert steps(writer, "c") == [0]
    assert [value for _, value in read(writer)[SeriesKey("a", "train")]] == [0, 1, 2, 3, 4, 5]


def test_resumed_counters_go_on(tmp_path):
    writer = Recorder(tmp_path, {"host": "h", "pid": 1}, next_steps={SeriesKey("a", "train"): 7})
    writer.log_metric("a", 1.0, None, None, "train")
    writer.log_metrics({"a": 1.0}, None, None, "train")
    assert steps(writer, "a") == [7, 8]


def test_nested_metrics_are_joined_by_slashes(writer):
    writer.log_metrics({"loss": {"kl": 1, "rec": {"x": 2}}, "acc": 3}, 5, 1, "val")
    assert {(key.name, key.context) for key in read(writer)} == {
        ("loss/kl", "val"),
        ("loss/rec/x", "val"),
        ("acc", "val"),
    }
    with pytest.raises(MetricError, match="given twice"):
        writer.log_metrics({"a": {"b": 1}, "a/b": 2}, None, None, "train")
    writer.log_metrics({}, None, None, "train")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (True, 1.0),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.int64(3), 3.0),
        (np.array(2.5), 2.5),
        (np.array([[2.5]]), 2.5),
        (np.float16(0.5), 0.5),
        (decimal.Decimal("0.25"), 0.25),
    ],
)
def test_scalars_of_any_kind_are_converted(writer, value, expected):
    writer.log_metric("a", value, None, None, "train")
    writer.log_metric("a", value, None, None, "train")
    writer.log_metrics({"a": value, "b": value}, None, None, "train")
    assert [v for _, v in read(writer)[SeriesKey("a", "train")]] == [expected] * 3


def test_torch_scalars_are_converted(writer):
    torch = pytest.importorskip("torch")
    for value in (torch.tensor(1.5), torch.tensor([1.5]), torch.tensor(1.5, dtype=torch.bfloat16, requires_grad=True)):
        writer.log_metric("a", value, None, None, "train")
        writer.log_metrics({"a": value}, None, None, "train")
    assert [v for _, v in read(writer)[SeriesKey("a", "train")]] == [1.5] * 6
    with pytest.warns(FramewormWarning, match=r"shape \(2,\)"):
        writer.log_metric("a", torch.zeros(2), None, None, "train")


BAD_VALUES = ["0.5", None, [1.0], np.zeros(2), 1j, object(), {"a", "b"}, b"1", 10**400]


@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
def test_a_bad_value_warns_once_is_counted_and_does_not_sink_the_rest(writer, value):
    with pytest.warns(FramewormWarning, match=r"metric 'a'.*expected one number") as warned:
        writer.log_metric("a", value, None, None, "train")
        writer.log_metric("a", value, None, None, "train")
        writer.log_metrics({"ok": 1.0, "a": value, "also": 2.0}, 3, None, "train")
    assert len(warned) == 1
    assert writer.refused_values == 3
    assert read(writer) == {SeriesKey("ok", "train"): [(3, 1.0)], SeriesKey("also", "train"): [(3, 2.0)]}


@pytest.mark.parametrize("value", BAD_VALUES, ids=repr)
def test_strict_raises(tmp_path, value):
    writer = Recorder(tmp_path, {"host": "h", "pid": 1}, strict=True)
    with pytest.raises(MetricError, match=r"metric 'a'.*expected one number, got"):
        writer.log_metric("a", value, None, None, "train")


@pytest.mark.parametrize("step", [1.0, "1", 2**63, -(2**63) - 1, np.float32(1), [1]], ids=repr)
@pytest.mark.parametrize("known", [False, True])
def test_a_step_that_is_no_int64_is_an_error(writer, step, known):
    if known:
        writer.log_metrics({"a": 0.0}, None, None, "train")
        writer.log_metric("b", 0.0, None, None, "train")
    with pytest.raises(MetricError, match="step: expected an int"):
        writer.log_metric("b", 1.0, step, None, "train")
    with pytest.raises(MetricError, match="step: expected an int"):
        writer.log_metrics({"a": 1.0}, step, None, "train")
    assert all(len(points) == 1 for points in read(writer).values())


@pytest.mark.parametrize("epoch", [1.0, "1", 2**31, -(2**31)], ids=repr)
def test_an_epoch_that_is_no_int32_is_an_error(writer, epoch):
    with pytest.raises(MetricError, match="epoch: expected an int"):
        writer.log_metric("a", 1.0, 1, epoch, "train")


def test_all_of_int64_is_kept_in_arrival_order(writer):
    given = [5, -(2**63), 2**63 - 1, 5, 0, -1, np.int32(7), np.uint8(3)]
    for step in given:
        writer.log_metric("a", 0.0, step, None, "train")
    assert steps(writer, "a") == [int(s) for s in given]
    writer.log_metric("a", 0.0, 2**63 - 1, None, "train")
    with pytest.raises(MetricError, match="step: expected an int from"):
        writer.log_metric("a", 0.0, None, None, "train")


@pytest.mark.parametrize("name", ["a/b", " ", "🎉", "\u202eabc", "-x", "é" * 512, "../../etc", "a\tb", "%s", "NaN"])
def test_names_are_kept_as_data(writer, name):
    writer.log_metric(name, 1.0, None, None, "train")
    writer.log_metrics({name: 2.0}, None, None, name)
    assert read(writer) == {SeriesKey(name, "train"): [(0, 1.0)], SeriesKey(name, name): [(0, 2.0)]}


@pytest.mark.parametrize("name", ["", "a\0", "a\nb", "\r", "\ud800", "x" * 5000, 3, None, b"a"], ids=repr)
def test_names_that_cannot_be_kept_are_refused(writer, name):
    with pytest.raises(MetricError, match="metric name"):
        writer.log_metric(name, 1.0, None, None, "train")
    with pytest.raises(MetricError, match="metric name"):
        writer.log_metrics({"good": 1.0, name: 1.0}, None, None, "train")
    with pytest.raises(MetricError, match="metric_type"):
        writer.log_metric("a", 1.0, None, None, name)
    assert read(writer) == {}


def test_metrics_that_are_no_dict_are_refused(writer):
    with pytest.raises(MetricError, match="expected a dict"):
        writer.log_metrics([("a", 1.0)], None, None, "train")


def test_sixty_four_threads_keep_count_and_order(writer):
    def log(number: int) -> None:
        for step in range(300):
            writer.log_metric("shared", number, step, None, "train")
            writer.log_metric("counted", number, None, None, "train")
            writer.log_metrics({f"own{number}": step, "other": number}, step, None, "train")

    threads = [threading.Thread(target=log, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read(writer)
    shared = found[SeriesKey("shared", "train")]
    assert len(shared) == 64 * 300
    for number in range(64):
        assert [step for step, value in shared if value == number] == list(range(300))
        assert [step for step, _ in found[SeriesKey(f"own{number}", "train")]] == list(range(300))
    assert steps(writer, "counted") == list(range(64 * 300))
    assert len(found[SeriesKey("other", "train")]) == 64 * 300


def test_ten_thousand_names_in_one_call(writer):
    row = {f"layer/{i}": float(i) for i in range(10_000)}
    for _ in range(3):
        writer.log_metrics(row, None, None, "train")
    contents = read_journal(writer._journal.path)
    assert len(contents.keys) == 10_000
    assert contents.read(9_999).values.tolist() == [9_999.0] * 3
    assert contents.read(9_999).steps.tolist() == [0, 1, 2]


def test_a_large_journal_is_closed_and_the_next_can_be_read_alone(writer, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROTATE_BYTES", 10_000)
    for step in range(300):
        writer.log_metric("a", step, None, None, "train")
        writer.log_metrics({"b": step, "c": step}, None, None, "val")
    first = writer.name
    writer._sync_tick()
    assert writer.name.n == first.n + 1
    for step in range(300, 310):
        writer.log_metric("a", step, None, None, "train")
        writer.log_metrics({"b": step, "c": step}, None, None, "val")
    second = read(writer)
    assert second[SeriesKey("a", "train")] == [(s, float(s)) for s in range(300, 310)]
    assert second[SeriesKey("c", "val")] == [(s, float(s)) for s in range(300, 310)]
    writer.close()
    names = sorted(filter(None, (WriterName.parse(p.name) for p in tmp_path.iterdir())))
    assert names == [first, WriterName(first.n + 1, first.host, first.pid)]
    assert (tmp_path / first.segment).exists()
    assert not (tmp_path / first.journal).exists()
