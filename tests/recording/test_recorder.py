"""Counting steps, checking arguments, threads, new journals for large ones."""

import contextlib
import decimal
import os
import sys
import tempfile
import threading
import time
import warnings

import numpy as np
import pytest

from frameworm.experiment.errors import FramewormWarning, MetricError
from frameworm.experiment.model import SeriesKey
from frameworm.experiment.recording import recorder as module
from frameworm.experiment.recording.journal import WriterName, encode_event, now_ms
from frameworm.experiment.recording.journal_reader import read_journal
from frameworm.experiment.recording.recorder import Recorder


@pytest.fixture
def writer(tmp_path):
    return Recorder(tmp_path, {"host": "host", "pid": os.getpid()})


def read(writer: Recorder) -> dict[SeriesKey, list[tuple[int, float]]]:
    contents = read_journal(writer._journal.path)
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
    assert sorted(steps(writer, "counted")) == list(range(64 * 300))
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


def test_threads_log_on_while_the_journal_rotates(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROTATE_BYTES", 20_000)
    writer = Recorder(tmp_path, {"host": "host", "pid": os.getpid()})
    for thread in range(4):
        writer.log_metric(f"own{thread}", 0.0, 0, None, "train")
    going = threading.Event()

    def log(thread: int) -> None:
        going.wait()
        for step in range(1, 20_000):
            writer.log_metric(f"own{thread}", step, step, None, "train")

    threads = [threading.Thread(target=log, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    going.set()
    while any(thread.is_alive() for thread in threads):
        closed = writer._journal.rotate(encode_event({"t": now_ms(), "type": "close"}))
        assert closed is not None
        time.sleep(0.005)
    for thread in threads:
        thread.join()
    writer.close()
    found: dict[str, list[int]] = {}
    journals = sorted(filter(None, (WriterName.parse(path.name) for path in tmp_path.iterdir())))
    assert len(journals) > 2
    for name in journals:
        contents = read_journal(tmp_path / name.journal)
        assert contents.damage == []
        for position, key in enumerate(contents.keys):
            found.setdefault(key.name, []).extend(contents.read(position).steps.tolist())
    for thread in range(4):
        assert sorted(found[f"own{thread}"]) == list(range(20_000))


def test_threads_log_on_while_the_disk_is_full_and_freed(small_disk):
    folder = small_disk(128)
    filler = folder / "filler"
    writer = Recorder(folder, {"host": "host", "pid": os.getpid()})
    wide = {f"m{i}": 0.0 for i in range(37)}  # a row of 320 bytes: does not divide a page
    writer.log_metrics({f"0/{name}": 0.0 for name in wide}, 0, None, "train")

    def log(thread: int) -> None:
        row = {f"{thread}/{name}": 0.0 for name in wide}
        for step in range(1 if thread == 0 else 0, 400):
            writer.log_metrics(row, step, None, "train")
            writer.log_metric("shared", step, step, None, "val")

    threads = [threading.Thread(target=log, args=(thread,)) for thread in range(4)]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            with contextlib.suppress(OSError):
                filler.write_bytes(bytes(40_000))
            filler.unlink(missing_ok=True)
            writer._journal.retry()
        for thread in threads:
            thread.join()
    assert told
    os.system(f"mount -o remount,size=8m {folder}")
    writer.sync()
    writer.close()
    found: dict[str, list[int]] = {}
    for path in sorted(folder.glob("journal-*")):
        contents = read_journal(path)
        assert contents.damage == []
        for position, key in enumerate(contents.keys):
            found.setdefault(key.name, []).extend(contents.read(position).steps.tolist())
    assert sorted(found.pop("shared")) == sorted([*range(1, 400), *(3 * list(range(400)))])
    assert len(found) == 4 * 37
    assert all(sorted(steps) == list(range(400)) for steps in found.values())


def test_what_a_full_disk_refused_to_the_end_is_saved_elsewhere(small_disk, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = small_disk(64)
    writer = Recorder(folder, {"host": "host", "pid": os.getpid()})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for step in range(5_000):
            writer.log_metric("a", step, step, None, "train")
        writer.close()
    (saved,) = tmp_path.glob("frameworm-*/journal-*")
    assert str(saved) in str(told[-1].message)
    (left,) = folder.glob("journal-*")
    there = read_journal(left).read(0).steps.tolist()
    assert there + read_journal(saved).read(0).steps.tolist() == list(range(5_000))


def test_a_background_thread_that_died_is_told_of_and_started_anew_by_a_flush(writer):
    def leave() -> None:
        raise SystemExit

    writer.every(module.SYNC_INTERVAL_S, leave)
    with pytest.warns(FramewormWarning, match="background thread has died"):
        writer.start(lambda: None)
        writer._thread.join(20)
    writer.log_metric("a", 1.0, 0, None, "train")
    writer._ticks = [tick for tick in writer._ticks if tick[1] is not leave]
    with pytest.warns(FramewormWarning, match="started anew"):
        writer.sync()
    assert writer._thread.is_alive()
    writer.stop_thread(20)
    assert steps(writer, "a") == [0]


def test_threads_that_meet_at_a_new_series_write_no_point_before_it_is_declared(tmp_path):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        writer = Recorder(tmp_path, {"host": "host", "pid": os.getpid()})

        def log(thread: int) -> None:
            for step in range(400):
                writer.log_metric(f"shared/{step}", thread, thread, None, "train")
                writer.log_metrics({f"row/{step}": thread, f"row2/{step}": thread}, thread, None, "val")

        threads = [threading.Thread(target=log, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    found = read(writer)
    assert len(found) == 1200
    assert all(sorted(step for step, _ in points) == list(range(8)) for points in found.values())


def test_closing_does_not_wait_for_a_tick_that_waits_for_it(tmp_path):
    for number in range(40):
        writer = Recorder(tmp_path, {"host": "host", "pid": os.getpid()})
        writer.log_metric("a", 1.0, 0, None, "train")
        ticking = threading.Thread(target=lambda writer=writer: [writer._sync_tick() for _ in range(20)], daemon=True)
        ticking.start()
        time.sleep(number / 20_000)
        closing = threading.Thread(target=writer.close, daemon=True)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()
        ticking.join(60)
        assert not ticking.is_alive()


def test_an_end_in_the_middle_of_a_flush_of_the_same_thread_goes_through(writer, monkeypatch):
    writer.log_metric("a", 1.0, 0, None, "train")
    fsync, ended = os.fsync, []

    def interrupted(fd):
        if not ended:
            ended.append(True)
            writer.close()  # as the handler of a deadly signal would
        fsync(fd)

    monkeypatch.setattr(os, "fsync", interrupted)
    with contextlib.suppress(OSError):
        writer.sync()
    assert ended
    assert steps(writer, "a") == [0]
