"""The journal's format: round trips, torn tails, damage, golden file."""

import itertools
import json
import os
import random
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frameworm.experiment.errors import FramewormWarning, StateError, StoreVersionError
from frameworm.experiment.model import NO_EPOCH, SeriesKey
from frameworm.experiment.recording.journal import (
    HEADER_SIZE,
    MAGIC,
    POINT_SIZE,
    JournalWriter,
    WriterName,
    encode_event,
    header,
    now_ms,
)
from frameworm.experiment.recording.journal_reader import read_journal
from frameworm.experiment.recording.recorder import Recorder

GOLDEN = Path(__file__).parents[1] / "golden" / "journal-v1"

INT64 = st.integers(-(2**63), 2**63 - 1)
EPOCH = st.one_of(st.none(), st.integers(-(2**31) + 1, 2**31 - 1))
FLOAT = st.floats(allow_nan=True, allow_infinity=True, width=64)
NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\n\r"), min_size=1, max_size=12)


def recorder(folder: Path) -> Recorder:
    return Recorder(folder, {"host": "ho-st", "pid": os.getpid()})


def journal_of(folder: Path) -> Path:
    (path,) = folder.glob("journal-*")
    return path


def bits(values) -> list[int]:
    return np.asarray(values, np.float64).view(np.uint64).tolist()


call = st.one_of(
    st.tuples(st.just("metric"), NAMES, FLOAT, INT64, EPOCH, st.sampled_from(["train", "val"])),
    st.tuples(
        st.just("row"),
        st.dictionaries(NAMES, FLOAT, min_size=1, max_size=5),
        st.none(),
        INT64,
        EPOCH,
        st.sampled_from(["train", "val"]),
    ),
)


@settings(max_examples=60, deadline=None)
@given(calls=st.lists(call, max_size=40), repeat=st.sampled_from([1, 2, 40]))
def test_what_went_in_comes_out_in_order(tmp_path_factory, calls, repeat):
    folder = tmp_path_factory.mktemp("j")
    writer = recorder(folder)
    expected: dict[SeriesKey, list[tuple[int, int, int]]] = {}
    for kind, what, value, step, epoch, context in calls * repeat:
        if kind == "metric":
            writer.log_metric(what, value, step, epoch, context)
            items = {what: value}
        else:
            writer.log_metrics(what, step, epoch, context)
            items = what
        for name, item in items.items():
            marked = NO_EPOCH if epoch is None else epoch
            expected.setdefault(SeriesKey(name, context), []).append((step, marked, bits([item])[0]))
    contents = read_journal(journal_of(folder))
    assert contents.damage == []
    assert set(contents.keys) == set(expected)
    index, columns = contents.columns()
    assert len(columns) == sum(map(len, expected.values()))
    for position, key in enumerate(contents.keys):
        points = contents.read(position)
        got = list(zip(points.steps.tolist(), points.epochs.tolist(), bits(points.values), strict=True))
        assert got == expected[key]
        assert bits(columns.values[index == position]) == bits(points.values)


def test_every_bit_of_a_float_is_kept(tmp_path):
    payload_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF0DEADBEEF0001))[0]
    values = [
        float("nan"),
        -float("nan"),
        payload_nan,
        float("inf"),
        -float("inf"),
        -0.0,
        5e-324,
        1.7976931348623157e308,
    ]
    writer = recorder(tmp_path)
    for value in values:
        writer.log_metric("x", value, None, None, "train")
    assert bits(read_journal(journal_of(tmp_path)).read(0).values) == bits(values)


def test_cut_anywhere_only_the_last_record_is_missing(tmp_path):
    writer = recorder(tmp_path)
    for step in range(5):
        writer.log_metric("a", step, None, None, "train")
        writer.log_metrics({"b": step, "c": step}, None, None, "val")
    path = journal_of(tmp_path)
    whole = path.read_bytes()
    full = len(read_journal(path).columns()[1])
    seen = []
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        contents = read_journal(path)
        assert contents.damage == [], size
        assert contents.end <= max(size, HEADER_SIZE)
        seen.append(len(contents.columns()[1]))
    assert seen == sorted(seen)
    assert seen[-1] == full == 15


def everything(contents) -> tuple:
    index, points = contents.columns()
    each = [contents.read(position) for position in range(len(contents.keys))]
    return (
        contents.keys,
        contents.events,
        list(map(str, contents.damage)),
        contents.end,
        index.tolist(),
        [bits(points.values), points.steps.tolist(), points.epochs.tolist(), points.times_ms.tolist()],
        [(bits(p.values), p.steps.tolist()) for p in each],
    )


def varied(folder: Path) -> bytes:
    """A journal with single points, rows, both in turn, events between, and a late series."""
    writer = recorder(folder)
    for step in range(40):
        if step % 15 == 14:
            writer._sync_tick()
        writer.log_metric("a", step, None, None, "train")
        if step % 13 != 5:
            writer.log_metrics({"b": step, "c": -step}, None, None, "val")
        if step == 20:
            writer.event("note", text="é" * 30)
            writer.log_metric("late", 1.0, None, None, "train")
    for step in range(30):
        writer.log_metric("a", step / 3, None, None, "train")
    writer.close()
    return journal_of(folder).read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_journal_refreshed_while_it_grows_is_the_one_read_at_once(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("grows")
    whole = varied(folder)
    if how := data.draw(st.sampled_from(["", "flip", "insert", "remove", "double"]), label="damaged"):
        at = HEADER_SIZE + data.draw(st.integers(0, 20_000)) % (len(whole) - HEADER_SIZE)
        length = data.draw(st.integers(1, 40))
        whole = {
            "flip": whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :],
            "insert": whole[:at] + bytes(range(length)) + whole[at:],
            "remove": whole[:at] + whole[at + length :],
            "double": whole[: at + length] + whole[at:],
        }[how]
    path = folder / "journal-h-1-2"
    path.touch()
    contents = read_journal(path)
    sizes = sorted(size % len(whole) for size in data.draw(st.lists(st.integers(0, 20_000), max_size=8)))
    for size in [*sizes, len(whole), len(whole)]:
        with open(path, "ab") as file:
            file.write(whole[file.tell() : size])
        before = contents.end
        assert contents.refresh() == (contents.end != before)
        assert everything(contents) == everything(read_journal(path))
    assert not contents.refresh()


def test_every_byte_that_comes_is_understood_when_its_record_is_whole(tmp_path):
    whole = varied(tmp_path)
    path = tmp_path / "journal-h-1-2"
    path.touch()
    contents = read_journal(path)
    with open(path, "ab", buffering=0) as file:
        for at in range(0, len(whole), 7):
            file.write(whole[at : at + 7])
            contents.refresh()
    assert everything(contents) == everything(read_journal(path))
    assert len(contents._runs) < 16  # and not one for each of 600 looks


def test_a_torn_record_that_was_cut_off_and_a_file_replaced_are_noticed(tmp_path):
    whole = varied(tmp_path)
    path = tmp_path / "journal-h-1-2"
    path.write_bytes(whole[:-20])
    contents = read_journal(path)
    os.truncate(path, contents.end)
    assert not contents.refresh()
    path.write_bytes(whole)
    assert contents.refresh()
    assert everything(contents) == everything(read_journal(path))
    other = tmp_path / "other"
    other.write_bytes(whole[:-1000])
    other.replace(path)
    assert contents.refresh()
    assert everything(contents) == everything(read_journal(path))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        contents.refresh()


def test_wherever_a_limit_cuts_a_record_no_other_is_taken_for_it(tmp_path):
    """All records of a series begin alike, and some of those before end where a block does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for length, limit in itertools.product(range(0, 32, 4), (9_000, 9_024, 9_028, 9_032)):
        folder = tmp_path / f"{length}-{limit}"
        folder.mkdir()
        writer = Recorder(folder, {"host": "h", "pid": os.getpid(), "more": "x" * length})
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.warns(FramewormWarning, match="cannot be written"):
                for step in range(400):
                    writer.log_metric(f"m{step % 3}", step, step, 6, "train")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        writer.sync()
        writer.close()
        contents = read_journal(journal_of(folder))
        assert contents.damage == []
        for position, key in enumerate(contents.keys):
            assert contents.read(position).steps.tolist() == list(range(int(key.name[1:]), 400, 3))


def test_zeros_after_a_power_cut_are_a_torn_tail(tmp_path):
    writer = recorder(tmp_path)
    writer.log_metric("a", 1.0, None, None, "train")
    path = journal_of(tmp_path)
    with open(path, "ab") as file:
        file.write(bytes(5000))
    contents = read_journal(path)
    assert contents.damage == []
    assert len(contents.read(0)) == 1


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]


def test_damage_is_told_with_path_and_offset_and_the_rest_is_read(tmp_path):
    writer = recorder(tmp_path)
    for step in range(10):
        writer.log_metric("a", step, None, None, "train")
    writer.event("note", text="between")
    for step in range(10, 20):
        writer.log_metric("a", step, None, None, "train")
    path = journal_of(tmp_path)
    data = path.read_bytes()
    note = data.index(b'"between"')
    point = data.rindex(struct.pack("<d", 5.0)) - 24
    cases = {
        # Bytes may have come in inside the one before, too: its value is not sure.
        "head of a point": (_flip(data, point + 3), point - POINT_SIZE, 18),
        "inside the note": (_flip(data, note), None, 20),
        "a declaration": (_flip(data, data.index(b'"names"')), None, 0),
    }
    for what, (damaged, offset, least) in cases.items():
        path.write_bytes(damaged)
        contents = read_journal(path)
        assert contents.damage, what
        assert str(path) in str(contents.damage[0])
        if offset is not None:
            assert contents.damage[0].offset == offset
            assert [e["type"] for e in contents.events] == ["open", "note"]
        assert len(contents.columns()[1]) >= least, what


def test_a_flipped_value_is_found_by_the_checksum(tmp_path):
    folder = tmp_path
    writer = JournalWriter(folder, "h", lambda: encode_event({"t": now_ms(), "type": "open"}))
    series = encode_event({"t": 1, "type": "series", "first": 1, "context": "train", "names": ["a"]})
    writer.append(series)
    for step in range(100):
        writer.append(struct.pack("<Iiqqd", 1, NO_EPOCH, step, now_ms(), 0.25))
    writer.check()
    assert read_journal(writer.path).damage == []
    data = writer.path.read_bytes()
    at = data.index(struct.pack("<d", 0.25))
    writer.path.write_bytes(_flip(data, at))
    (damage,) = read_journal(writer.path).damage
    assert "checksum expected" in str(damage)


def test_an_idle_journal_does_not_grow(tmp_path):
    writer = recorder(tmp_path)
    writer.log_metric("a", 1.0, None, None, "train")
    sizes = []
    for _ in range(5):
        writer._sync_tick()
        sizes.append(journal_of(tmp_path).stat().st_size)
    assert len(set(sizes)) == 1
    writer.log_metric("a", 2.0, None, None, "train")
    writer._sync_tick()
    assert journal_of(tmp_path).stat().st_size > sizes[0] + POINT_SIZE
    assert read_journal(journal_of(tmp_path)).damage == []


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_bytes_crash_the_reader(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("f")
    writer = recorder(folder)
    for step in range(20):
        writer.log_metric("a", step, None, None, "train")
        writer.log_metrics({"b": step, "c": step}, None, None, "val")
    path = journal_of(folder)
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(HEADER_SIZE, len(whole) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=40))
        whole[at : at + len(piece)] = piece
    path.write_bytes(bytes(whole))
    contents = read_journal(path)
    index, points = contents.columns()
    assert len(index) == len(points) <= 60
    assert all(damage.path == str(path) for damage in contents.damage)


@settings(max_examples=80, deadline=None)
@given(noise=st.binary(max_size=4000))
def test_noise_is_no_journal_but_no_crash(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("n") / "journal-h-1-1"
    path.write_bytes(header() + noise)
    assert len(read_journal(path).columns()[1]) == 0
    path.write_bytes(b"\x00" + noise)
    contents = read_journal(path)
    assert contents.damage and "not a journal" in str(contents.damage[0])


STRANGE_EVENTS = [
    b'{"t":1}',
    b'{"t":null,"type":"note"}',
    b'{"t":1,"type":3}',
    b'{"t":1,"type":"note"',
    b'{"t":1,"type":"\xff"}',
    b'{"t":' + b"[" * 100_000,
    b'{"t":1,"type":"series","first":1000000000,"context":"train","names":["far"]}',
    b'{"t":1,"type":"series","first":0,"context":"train","names":["a"]}',
    b'{"t":1,"type":"series","first":1,"context":null,"names":["a"]}',
    b'{"t":1,"type":"series","first":1,"context":"train","names":3}',
    b'{"t":1,"type":"set","id":1,"series":[]}',
    b'{"t":1,"type":"set","id":1,"series":[1000000000]}',
    b'{"t":1,"type":"set","id":-1,"series":[1]}',
    b'{"t":1,"type":"check","from":"0","to":16,"crc":0}',
]


@pytest.mark.parametrize("payload", STRANGE_EVENTS, ids=lambda payload: payload[:60].decode(errors="replace"))
def test_an_event_that_no_release_writes_is_told_and_passed_over(tmp_path, payload):
    writer = recorder(tmp_path)
    writer.log_metric("a", 1.0, None, None, "train")
    frame = struct.pack("<II", 2 << 30 | len(payload), zlib.crc32(payload)) + payload
    writer._journal.append(frame + bytes(-len(frame) % 8))
    writer.log_metric("a", 2.0, None, None, "train")
    contents = read_journal(journal_of(tmp_path))
    (damage,) = contents.damage
    assert "no release writes" in str(damage)
    assert contents.keys == [SeriesKey("a", "train")]
    assert contents.read(0).values.tolist() == [1.0, 2.0]


def test_ids_keep_their_places_where_declarations_were_lost(tmp_path):
    writer = recorder(tmp_path)
    writer.log_metric("a", 1.0, None, None, "train")
    writer.log_metrics({"b": 2.0, "c": 3.0}, None, None, "train")
    path = journal_of(tmp_path)
    data = path.read_bytes()
    path.write_bytes(_flip(data, data.index(b'"names":["b"')))
    contents = read_journal(path)
    assert contents.damage
    assert contents.keys == [SeriesKey("a", "train"), *(SeriesKey(f"?/{path.name}/{i}", "lost") for i in (2, 3))]
    assert [contents.read(i).values.tolist() for i in range(3)] == [[1.0], [2.0], [3.0]]


def test_a_newer_version_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "journal-h-1-1"
    start = MAGIC + struct.pack("<I", 2)
    path.write_bytes(start + struct.pack("<I", zlib.crc32(start)))
    with pytest.raises(StoreVersionError, match="pip install --upgrade frameworm"):
        read_journal(path)


def test_events_survive_in_order_with_all_of_unicode(tmp_path):
    writer = recorder(tmp_path)
    texts = ["", "é 日本 🎉", 'quotes " and \\ and \n lines', "\u2028\x85"]
    for text in texts:
        writer.event("note", text=text)
    events = read_journal(journal_of(tmp_path)).events
    assert [e["text"] for e in events if e["type"] == "note"] == texts


def test_names_sort_in_reading_order():
    names = [WriterName.parse(n) for n in ("journal-a-b-9-10", "metrics-z-1-2.seg", "journal-a-1-2")]
    assert sorted(names) == [WriterName(2, "a", 1), WriterName(2, "z", 1), WriterName(10, "a-b", 9)]
    for other in ("journal-a-1", "metrics-a-1-2", "journal-a-1-2.seg", "console.log", "metrics-a-1-2.seg.tmp"):
        assert WriterName.parse(other) is None
    name = WriterName(3, "ho-st", 77)
    assert WriterName.parse(name.journal) == WriterName.parse(name.segment) == name


def test_two_writers_of_one_process_get_two_journals(tmp_path):
    first, second = recorder(tmp_path), recorder(tmp_path)
    assert first.name.n + 1 == second.name.n
    assert len(list(tmp_path.glob("journal-*"))) == 2


def test_a_closed_journal_refuses(tmp_path):
    writer = recorder(tmp_path)
    writer.log_metric("a", 1.0, None, None, "train")
    writer.close()
    with pytest.raises(StateError, match="has ended"):
        writer.log_metric("a", 1.0, None, None, "train")
    with pytest.raises(StateError, match="has ended"):
        writer.log_metrics({"a": 1.0}, None, None, "train")


def test_a_full_disk_is_waited_for_and_nothing_is_lost(small_disk):
    folder = small_disk(256)
    writer = recorder(folder)
    with pytest.warns(FramewormWarning, match="cannot be written") as warned:
        for step in range(30_000):
            writer.log_metric("a", step, None, None, "train")
            if step % 7 == 0:
                writer.log_metrics({"b": step, "c": -step}, None, None, "val")
    assert len(warned) == 1
    with pytest.raises(OSError, match="wait in memory"):
        writer.sync()
    assert read_journal(journal_of(folder)).damage == []
    os.system(f"mount -o remount,size=8m {folder}")
    writer.sync()
    writer.log_metric("a", 30_000, None, None, "train")
    contents = read_journal(journal_of(folder))
    assert contents.damage == []
    assert contents.read(0).steps.tolist() == list(range(30_001))
    assert contents.read(1).values.tolist() == [float(s) for s in range(0, 30_000, 7)]


def test_the_golden_journal_of_version_1_reads_as_when_it_was_written():
    (path,) = GOLDEN.glob("journal-*")
    expected = json.loads((GOLDEN / "expected.json").read_text())
    contents = read_journal(path)
    assert contents.damage == []
    assert [e["type"] for e in contents.events] == expected["events"]
    for position, key in enumerate(contents.keys):
        points = contents.read(position)
        assert expected["series"][position] == {
            "name": key.name,
            "context": key.context,
            "steps": points.steps.tolist(),
            "epochs": points.epochs.tolist(),
            "times_ms": points.times_ms.tolist(),
            "bits": [f"{b:016x}" for b in bits(points.values)],
        }
    assert sum(len(s["steps"]) for s in expected["series"]) == len(contents.columns()[1])
    assert path.stat().st_size > HEADER_SIZE + POINT_SIZE


@pytest.mark.parametrize("pieces", [1, 7])
def test_records_in_no_order_at_all_are_read_in_order_of_arrival(tmp_path, pieces):
    writer = recorder(tmp_path)
    rows = [("a",), ("b", "c"), ("c", "d", "e"), ("f",)]
    chance = random.Random(5)
    expected: dict[str, list[tuple[int, float]]] = {name: [] for row in rows for name in row}
    contents = None
    for piece in range(pieces):
        for step in range(3_000):
            row = chance.choice(rows)
            values = {name: chance.random() for name in row}
            if len(row) == 1 and chance.random() < 0.5:
                writer.log_metric(row[0], values[row[0]], step, None, "train")
            else:
                writer.log_metrics(values, step, None, "train")
            for name, value in values.items():
                expected[name].append((step, value))
        if piece == 0:
            contents = read_journal(journal_of(tmp_path))
        else:
            writer.event("heartbeat")
            assert contents.refresh()
    assert contents.damage == []
    index, points = contents.columns()
    for position, key in enumerate(contents.keys):
        mine = index == position
        together = list(zip(points.steps[mine].tolist(), points.values[mine].tolist(), strict=True))
        alone = contents.read(position)
        assert together == list(zip(alone.steps.tolist(), alone.values.tolist(), strict=True)) == expected[key.name]
