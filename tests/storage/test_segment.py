"""Segments: every point back, small, and honest about damage."""

import dataclasses
import importlib.util
import json
import math
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frameworm.experiment.errors import InputError, SegmentDamageError, StateError, StoreVersionError
from frameworm.experiment.model import NO_EPOCH, Points, SeriesKey
from frameworm.experiment.storage.codec import Encoding
from frameworm.experiment.storage.segment import SegmentReader, summarize, write_segment
from frameworm.experiment.storage.segment_layout import DIRECTORY_ENTRY, FOOTER_SIZE, Footer, Section, Stream

GOLDEN = Path(__file__).parents[1] / "golden" / "segment-v1"
T0 = 1_760_000_000_000


@dataclasses.dataclass
class Log:
    """What write_segment takes: points of several series in arrival order."""

    keys: list[SeriesKey]
    index: np.ndarray
    steps: np.ndarray
    epochs: np.ndarray
    times_ms: np.ndarray
    values: np.ndarray
    events: bytes = b'{"t":1,"type":"note"}\n'
    sources: tuple[str, ...] = ("journal-host-1-1",)

    def write(self, path: Path) -> Path:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        write_segment(path, **fields)
        return path

    def of(self, i: int) -> Points:
        mine = self.index == i
        return Points(self.steps[mine], self.epochs[mine], self.times_ms[mine], self.values[mine])

    def summaries(self):
        points = Points(self.steps, self.epochs, self.times_ms, self.values)
        return summarize(self.keys, self.index, points)


def named(n: int) -> list[SeriesKey]:
    return [SeriesKey(f"metric/{i}", "train" if i % 3 else "val") for i in range(n)]


def log(index, values, steps=None, times_ms=None, epochs=None, keys=None, **more) -> Log:
    """A log with one point a millisecond, steps counting up, and no epochs, unless given."""
    n = len(values)
    index = np.asarray(index, np.uint32)
    return Log(
        keys=named(int(index.max()) + 1 if n else 0) if keys is None else keys,
        index=index,
        steps=np.arange(n) if steps is None else np.asarray(steps, np.int64),
        epochs=np.full(n, NO_EPOCH, np.int32) if epochs is None else np.asarray(epochs, np.int32),
        times_ms=T0 + np.arange(n) if times_ms is None else np.asarray(times_ms, np.int64),
        values=np.asarray(values, np.float64),
        **more,
    )


def rows(values: np.ndarray, **more) -> Log:
    """A log as ``log_metrics`` writes it: values (steps, series), each row at one step and time."""
    n, k = values.shape
    times = T0 + np.cumsum(np.random.default_rng(3).normal(120, 6, n)).astype(np.int64)
    return log(
        np.tile(np.arange(k), n),
        values.ravel(),
        steps=np.repeat(np.arange(n), k),
        times_ms=np.repeat(times, k),
        keys=more.pop("keys", named(k)),
        **more,
    )


def noisy_loss(n: int, seed: int = 0) -> np.ndarray:
    noise = np.exp(np.random.default_rng(seed).normal(0, 0.05, n))
    return ((2 * np.exp(-3 * np.arange(n) / n) + 0.1) * noise).astype(np.float32).astype(np.float64)


def same(a: Points, b: Points) -> bool:
    """Equal bit for bit, types included."""
    return all(
        x.dtype == y.dtype and x.tobytes() == y.tobytes()
        for x, y in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True)
    )


def check(path: Path, expected: Log) -> None:
    with SegmentReader(path) as reader:
        assert reader.keys == expected.keys
        assert reader.sources == list(expected.sources)
        assert reader.events() == expected.events
        assert reader.counts.tolist() == [int((expected.index == i).sum()) for i in range(len(expected.keys))]
        for i in range(len(expected.keys)):
            assert same(reader.read(i), expected.of(i))
        # repr, because NaN differs from itself
        assert repr(reader.summaries()) == repr(expected.summaries())


# ------------------------------------------------------------------------------------------------ round trips


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), k=st.integers(1, 6), n=st.integers(0, 60))
def test_any_points_come_back(tmp_path, data, k, n):
    def drawn(dtype):
        return data.draw(hnp.arrays(dtype, n))

    index = data.draw(hnp.arrays(np.uint32, n, elements=st.integers(0, k - 1)))
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
    keys = data.draw(st.lists(st.builds(SeriesKey, text, text), min_size=k, max_size=k))
    written = log(
        index,
        drawn(np.uint64).view(np.float64),
        steps=drawn(np.int64),
        times_ms=drawn(np.int64),
        epochs=drawn(np.int32),
        keys=keys,
        events=data.draw(st.binary(max_size=50)),
        sources=tuple(data.draw(st.lists(text, max_size=2))),
    )
    check(written.write(tmp_path / "a.seg"), written)


SIZES = st.lists(st.sampled_from([0, 1, 2, 255, 4_095, 4_096, 4_097, 65_535, 65_536, 70_000]), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=SIZES, seed=st.integers(0, 2**32), mixed=st.booleans(), shared=st.booleans())
def test_series_of_any_size_come_back(tmp_path, sizes, seed, mixed, shared):
    """Across the borders of blocks, long and short, float32 and not, timelines shared and nearly shared."""
    rng = np.random.default_rng(seed)
    index = np.repeat(np.arange(len(sizes)), sizes)
    within = np.concatenate([np.arange(n) for n in sizes])
    values = rng.normal(size=len(index))
    narrow = np.isin(index, np.flatnonzero(rng.random(len(sizes)) < 0.5))
    values[narrow] = values[narrow].astype(np.float32)
    values[rng.random(len(index)) < 0.001] = np.nan
    steps, times = within.copy(), T0 + 3 * within
    if not shared and len(index):
        steps[rng.integers(len(index))] += 1
        times[rng.integers(len(index))] -= 1
    arrival = rng.permutation(len(index)) if mixed else np.arange(len(index))
    keys = named(len(sizes))
    written = log(index[arrival], values[arrival], steps[arrival], times[arrival], within[arrival] // 7, keys=keys)
    check(written.write(tmp_path / "a.seg"), written)


def test_events_without_points_are_a_small_segment(tmp_path):
    written = log([], [], events=b'{"t":1}\n' * 100)
    path = written.write(tmp_path / "a.seg")
    check(path, written)
    assert path.stat().st_size < 200


def test_the_same_input_gives_the_same_bytes(tmp_path):
    written = rows(np.random.default_rng(0).normal(size=(300, 5)))
    first = written.write(tmp_path / "a.seg").read_bytes()
    assert written.write(tmp_path / "b.seg").read_bytes() == first


def test_names_may_hold_anything_but_nul(tmp_path):
    keys = [SeriesKey("a\nb", "日本"), SeriesKey("", ""), SeriesKey("🦆" * 300, " x")]
    written = log([0, 1, 2], [1.0, 2.0, 3.0], keys=keys)
    check(written.write(tmp_path / "a.seg"), written)


def test_100_000_short_series_come_back(tmp_path):
    values = np.random.default_rng(0).normal(size=(4, 100_000))
    written = rows(values)
    with SegmentReader(written.write(tmp_path / "a.seg")) as reader:
        assert len(reader.keys) == 100_000
        for i in (0, 1, 777, 65_536, 99_999):
            assert same(reader.read(i), written.of(i))
        assert [s.last for s in reader.summaries()] == values[-1].tolist()


# ------------------------------------------------------------------------------------------------- summaries


def test_summaries_follow_arrival_and_leave_nan_out(tmp_path):
    index = [0, 1, 0, 1, 0, 2, 3]
    values = [2.0, math.nan, math.nan, math.nan, -5.0, math.inf, -0.0]
    steps = [5, 0, -7, 1, 3, 0, 0]
    written = log(index, values, steps=steps, epochs=[1, 2, 3, 4, 5, NO_EPOCH, 0], keys=named(5))
    with SegmentReader(written.write(tmp_path / "a.seg")) as reader:
        first, second, third, fourth = reader.summaries()
    assert (first.name, first.context) == ("metric/0", "val")
    assert (first.count, first.nan_count, first.first, first.last) == (3, 1, 2.0, -5.0)
    assert (first.min, first.max, first.sum, first.mean) == (-5.0, 2.0, -3.0, -1.5)
    assert (first.last_step, first.last_epoch, first.first_time_ms, first.last_time_ms) == (3, 5, T0, T0 + 4)
    assert second.count == second.nan_count == 2
    assert all(map(math.isnan, (second.first, second.last, second.min, second.max, second.sum, second.mean)))
    assert (third.min, third.max, third.sum, third.last_epoch) == (math.inf, math.inf, math.inf, NO_EPOCH)
    assert math.copysign(1, fourth.first) == -1.0
    assert math.copysign(1, fourth.min) == math.copysign(1, fourth.max) == 1.0


def test_opposite_infinities_sum_to_nan_without_a_warning(tmp_path):
    written = log([0] * 5_000, [math.inf, -math.inf] * 2_500)
    with SegmentReader(written.write(tmp_path / "a.seg")) as reader:
        assert math.isnan(reader.summaries()[0].sum)


@pytest.mark.parametrize("n", [1_000, 10_000, 150_000])
def test_a_summary_does_not_depend_on_what_lies_beside(tmp_path, n):
    loss = noisy_loss(n)
    alone = log([0] * n, loss, keys=named(1))
    among = log(
        np.concatenate([[1] * 70, [0] * n, [2] * 5_000]),
        np.concatenate([np.full(70, 0.1), loss, np.ones(5_000)]),
        times_ms=np.concatenate([np.zeros(70), T0 + np.arange(n), np.zeros(5_000)]),
        steps=np.concatenate([np.zeros(70), np.arange(n), np.zeros(5_000)]),
    )
    with SegmentReader(alone.write(tmp_path / "a.seg")) as a, SegmentReader(among.write(tmp_path / "b.seg")) as b:
        assert a.summaries()[0] == b.summaries()[0]
        assert a.summaries()[0].sum == pytest.approx(math.fsum(loss), rel=1e-14)


def test_the_overview_covers_every_256_points(tmp_path):
    n = 4_096 + 100
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, 2))
    values[256:512, 1] = np.nan
    values[600, 0] = np.nan
    written = rows(values, keys=named(3))
    written.steps[1_000:3_000] = written.steps[1_000:3_000][::-1]
    with SegmentReader(written.write(tmp_path / "a.seg")) as reader:
        for i in (0, 1):
            overview = reader.overview(i)
            pieces = [slice(a, min(a + 256, n)) for a in range(0, n, 256)]
            points = written.of(i)
            assert overview is not None
            assert [len(row) for row in overview] == [17] * 9
            for w, piece in enumerate(pieces):
                known = points.values[piece][~np.isnan(points.values[piece])]
                expected = (known.min(), known.max()) if len(known) else (math.nan, math.nan)
                np.testing.assert_equal((overview.min[w], overview.max[w]), expected)
                np.testing.assert_equal(overview.last[w], points.values[piece][-1])
                assert overview.steps[w] == points.steps[piece][-1]
                assert overview.times_ms[w] == points.times_ms[piece][-1]
                assert overview.counts[w] == len(points.values[piece])
                assert overview.nan_counts[w] == np.isnan(points.values[piece]).sum()
                assert overview.min_steps[w] == points.steps[piece].min()
                assert overview.max_steps[w] == points.steps[piece].max()
            assert reader.is_long(i)
            coarse = reader.overview(i, 4096)
            assert coarse.counts.tolist() == [4096, 100]
            known = points.values[:4096][~np.isnan(points.values[:4096])]
            assert (coarse.min[0], coarse.max[0]) == (known.min(), known.max())
            assert coarse.nan_counts.tolist() == [np.isnan(points.values[:4096]).sum(), 0]
            assert coarse.steps.tolist() == points.steps[[4095, n - 1]].tolist()
        assert not reader.is_long(2)
        assert reader.overview(2).counts.tolist() == []


def test_the_overview_of_a_short_series_is_made_of_its_points(tmp_path):
    with SegmentReader(log([0] * 300, np.arange(300.0)).write(tmp_path / "a.seg")) as reader:
        assert reader.overview(0).max.tolist() == [255.0, 299.0]


def test_an_overview_without_the_later_streams_is_completed_from_the_points(tmp_path):
    values = np.random.default_rng(0).normal(size=(5_000, 2))
    values[300:700, 1] = np.nan
    path = rows(values).write(tmp_path / "a.seg")
    with SegmentReader(path) as reader:
        expected = [repr(reader.overview(i, window)) for i in (0, 1) for window in (256, 4096)]
    forged = Forged(path.read_bytes())
    forged.column(Stream.OVERVIEW_NAN, stream=200)
    forged.column(Stream.OVERVIEW_STEPS, stream=201)
    forged.column(Stream.OUTLINE_FLOAT, stream=202)
    forged.column(Stream.OUTLINE_INT, stream=203)
    with SegmentReader(forged.write(path)) as reader:
        assert [repr(reader.overview(i, window)) for i in (0, 1) for window in (256, 4096)] == expected


def test_part_of_a_series_is_read(tmp_path):
    written = log(np.tile([0, 1], 70_000), np.random.default_rng(0).normal(size=140_000))
    whole = written.of(1)
    with SegmentReader(written.write(tmp_path / "a.seg")) as reader:
        for start, stop in [(0, 0), (0, 5), (65_530, 65_540), (69_999, None), (5, 4), (3, 10**9)]:
            part = reader.read(1, start, stop)
            assert part.values.tolist() == whole.values[start:stop].tolist()
            assert part.times_ms.tolist() == whole.times_ms[start:stop].tolist()


# ------------------------------------------------------------------------------------------------- the input


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"index": np.array([0, 2])}, InputError, "index runs from 0 to 2, allowed are 0 to 1"),
        ({"index": np.array([-1, 0])}, InputError, "index runs from -1 to 0, allowed are 0 to 1"),
        ({"steps": np.array([1])}, InputError, "differ in length: [1, 2]"),
        ({"keys": [SeriesKey("a\0b", "train")] * 2}, InputError, "the name 'a\\x00b' holds NUL"),
        ({"keys": [SeriesKey("a\ud800", "train")] * 2}, InputError, "a lone surrogate, '\\ud800'; names are UTF-8"),
        ({"steps": np.array([0.5, 1])}, TypeError, "according to the rule 'safe'"),
        ({"epochs": np.array([2**40, 1])}, TypeError, "according to the rule 'safe'"),
        ({"index": np.array([0.0, 1])}, TypeError, "according to the rule 'same_kind'"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_nothing_written(tmp_path, change, error, message):
    written = dataclasses.replace(log([0, 1], [1.0, 2.0]), **change)
    with pytest.raises(error, match=re.escape(message)):
        written.write(tmp_path / "a.seg")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_segment_and_no_litter(small_disk):
    folder = small_disk(256)
    small = log([0], [1.0])
    path = small.write(folder / "a.seg")
    with pytest.raises(OSError, match="No space left"):
        log([0] * 100_000, np.random.default_rng(0).normal(size=100_000)).write(path)
    check(path, small)
    assert list(folder.iterdir()) == [path]


def test_a_stale_temporary_file_is_written_over(tmp_path):
    (tmp_path / f"a.seg.{os.getpid()}.tmp").write_bytes(b"x" * 10_000)
    written = log([0], [1.0])
    check(written.write(tmp_path / "a.seg"), written)
    assert not (tmp_path / f"a.seg.{os.getpid()}.tmp").exists()


# ------------------------------------------------------------------------------------------------- reading


def test_a_reader_outlives_the_file_and_its_arrays_outlive_the_reader(tmp_path):
    written = log([0, 1, 0], [1.0, 2.0, 3.0])
    reader = SegmentReader(written.write(tmp_path / "a.seg"))
    (tmp_path / "a.seg").unlink()
    points = reader.read(0)
    again = reader.read(0)
    again.values[:] = 0.0
    assert same(reader.read(0), points)
    reader.close()
    reader.close()
    assert same(points, written.of(0))
    with pytest.raises(StateError, match=r"a\.seg is closed: open a SegmentReader again"):
        reader.events()


@pytest.mark.parametrize("i", [-1, 2, 10**9])
def test_a_series_that_is_not_there(tmp_path, i):
    with SegmentReader(log([0, 1], [1.0, 2.0]).write(tmp_path / "a.seg")) as reader:
        for method in (reader.read, reader.overview):
            with pytest.raises(IndexError, match=f"series {i} of 2"):
                method(i)


def test_a_missing_segment_is_not_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        SegmentReader(tmp_path / "none.seg")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, make):
    make(tmp_path / "a.seg")
    with pytest.raises(SegmentDamageError, match=r"damaged at byte 0: .* expected a regular file"):
        SegmentReader(tmp_path / "a.seg")


def test_no_descriptor_is_left_open(tmp_path):
    path = log([0], [1.0]).write(tmp_path / "a.seg")
    before = len(os.listdir("/proc/self/fd"))
    SegmentReader(path)
    (tmp_path / "b.seg").write_bytes(b"no segment")
    with pytest.raises(SegmentDamageError):
        SegmentReader(tmp_path / "b.seg")
    assert len(os.listdir("/proc/self/fd")) == before


# -------------------------------------------------------------------------------------------------- damage


def everything(path: Path) -> list[object]:
    """All that a segment holds."""
    with SegmentReader(path) as reader:
        found: list[object] = [reader.keys, reader.sources, reader.events(), repr(reader.summaries())]
        for i in range(len(reader.keys)):
            found += [column.tobytes() for column in dataclasses.astuple(reader.read(i))]
            found += [row.tobytes() for window in (256, 4096) for row in reader.overview(i, window)]
        return found


def mixed_log() -> Log:
    """Two long series and forty short ones, of every group, with shared timelines and epochs."""
    rng = np.random.default_rng(0)
    n = 4_200
    index = np.concatenate([np.tile([0, 1], n), np.tile(np.arange(2, 42), 10)])
    values = np.concatenate([np.stack([noisy_loss(n), rng.normal(size=n)], 1).ravel(), rng.normal(size=400)])
    values[2 * n + 3 :: 40] = 1.0
    steps = np.concatenate([np.repeat(np.arange(n), 2), np.repeat(np.arange(10), 40)])
    return log(index, values, steps=steps, times_ms=T0 + 7 * steps + steps % 3, epochs=steps // 100)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    return mixed_log().write(tmp_path_factory.mktemp("whole") / "a.seg").read_bytes()


class Forged:
    """A segment taken apart, to be put together again with valid checksums."""

    def __init__(self, data: bytes) -> None:
        self.footer = Footer.parse(data[-FOOTER_SIZE:])
        where = self.footer.directory
        self.body = bytearray(data[: where.offset])
        self.directory = np.frombuffer(data[where.offset : where.offset + where.length], DIRECTORY_ENTRY).copy()

    def entry(self, stream: Stream, which: int = 0):
        return self.directory[int(np.flatnonzero(self.directory["stream"] == stream)[which]) :][:1]

    def column(self, stream: Stream, data: bytes | None = None, /, **fields: int) -> None:
        """Change the first column of a stream; other bytes go behind all columns, so that no other moves."""
        if data is not None:
            fields |= {"offset": len(self.body), "length": len(data), "crc": zlib.crc32(data)}
            self.body += data
        entry = self.entry(stream)
        for name, value in fields.items():
            entry[name] = value

    def constant(self, stream: Stream, number: int) -> None:
        self.column(stream, struct.pack("<I", number), encoding=3)

    def text(self, data: bytes, size: int) -> None:
        self.footer = self.footer._replace(text=Section(len(self.body), len(data), size, zlib.crc32(data)))
        self.body += data

    def counts(self, **fields: object) -> None:
        self.footer = self.footer._replace(**fields)

    def write(self, path: Path) -> Path:
        directory = self.directory.tobytes()
        where = self.footer.directory._replace(
            offset=len(self.body), length=len(directory), size=len(directory), crc=zlib.crc32(directory)
        )
        path.write_bytes(bytes(self.body) + directory + self.footer._replace(directory=where).pack())
        return path


def test_forging_changes_nothing_by_itself(tmp_path, whole):
    path = Forged(whole).write(tmp_path / "a.seg")
    assert path.read_bytes() == whole
    check(path, mixed_log())


def flip(data: bytes, at: int, mask: int = 0x40) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def header_of_version(data: bytes, version: int) -> bytes:
    body = data[:8] + struct.pack("<I", version)
    return body + struct.pack("<I", zlib.crc32(body)) + data[16:]


# damage, byte it is reported at (None: any), what the message holds
DAMAGE = {
    "empty file": (lambda d: b"", 0, "header: ends here, expected 16 bytes from 0: truncated"),
    "header cut": (lambda d: d[:9], 9, "header: ends here, expected 16 bytes from 0: truncated"),
    "header alone": (lambda d: d[:16], 16, "file of 16 bytes, a segment has at least 136: truncated"),
    "last byte cut": (lambda d: d[:-1], None, "expected b'FWSEGEND': truncated, or bytes were added"),
    "half cut": (lambda d: d[: len(d) // 2], None, "expected b'FWSEGEND': truncated, or bytes were added"),
    "bytes added": (lambda d: d + b"\n", None, "expected b'FWSEGEND': truncated, or bytes were added"),
    "a text": (lambda d: b"step,loss\n" * 90, 0, "starts with b'step,los', expected b'\\x93FWS\\r\\n\\x1a\\n': not a"),
    "zeros": (lambda d: bytes(len(d)), 0, "not a segment"),
    "line ends changed": (lambda d: d.replace(b"\r\n", b"\n"), 0, "not a segment"),
    "version flipped": (lambda d: flip(d, 8), 0, "header: checksum mismatch, expected 0x"),
    "footer flipped": (lambda d: flip(d, len(d) - 30), None, "footer: checksum mismatch, expected 0x"),
    "two halves of two segments": (lambda d: d[: len(d) // 2] * 2 + d[-120:], None, "checksum mismatch"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_that_leaves_nothing(tmp_path, whole, damage):
    change, at, message = DAMAGE[damage]
    path = tmp_path / "a.seg"
    path.write_bytes(change(whole))
    with pytest.raises(SegmentDamageError) as caught:
        everything(path)
    assert message in caught.value.what
    assert str(caught.value).startswith(f"{path}: damaged at byte {caught.value.offset}: ")
    assert at is None or caught.value.offset == at


TWO_NAMES = zlib.compress(b"a\0b\0")

FORGED = {
    "text": (lambda f: f.text(b"no zlib", 9), "text: Error -3"),
    "text too long": (lambda f: f.text(TWO_NAMES, 3), "text: unpacks to 4 bytes, expected 3"),
    "text too short": (lambda f: f.text(TWO_NAMES, 9), "text: unpacks to 4 bytes, expected 9"),
    "text cut": (lambda f: f.text(TWO_NAMES[:-2], 4), "text: unpacks to 4 bytes, expected 4"),
    "text bomb": (lambda f: f.text(zlib.compress(bytes(10**7)), 9), "text: unpacks to 10 bytes, expected 9"),
    "text size": (lambda f: f.text(b"x", 2**60), "text: 1 bytes cannot hold 1152921504606846976"),
    "text not UTF-8": (lambda f: f.text(zlib.compress(b"\xff\0"), 2), "text: not UTF-8"),
    "names missing": (lambda f: f.text(TWO_NAMES, 4), "text: 2 names, expected 45"),
    "names without end": (lambda f: f.text(zlib.compress(b"a"), 1), "text: no NUL at the end"),
    "context": (lambda f: f.constant(Stream.CONTEXT, 7), "CONTEXT: context 7 of 2"),
    "group": (lambda f: f.constant(Stream.GROUP, 0), "GROUP: groups and counts disagree"),
    "unknown group": (lambda f: f.constant(Stream.GROUP, 9), "GROUP: groups and counts disagree"),
    "timeline": (lambda f: f.constant(Stream.TIMELINE, 42), "TIMELINE: timeline 42 of 42 series"),
    "timelines": (lambda f: f.constant(Stream.TIMELINE, 0), "TIMELINE: series of one timeline differ in length"),
    "count": (lambda f: f.constant(Stream.COUNT, 1), "COUNT: points of all series are 42, expected 8800"),
    "points": (lambda f: f.counts(points=2**63), "COUNT: points of all series are 8800, expected 9223372036854775808"),
    "series": (lambda f: f.counts(series=2**32 - 1), "text: 45 names, expected 4294967298"),
    "columns": (lambda f: f.counts(columns=9), "bytes for 9 columns"),
    "section": (
        lambda f: f.counts(text=Section(2**63, 9, 9, 0)),
        "footer: a section at 9223372036854775808 of 9 bytes",
    ),
    "column past the end": (lambda f: f.column(Stream.VALUE, offset=2**63), "directory: no such column can be"),
    "column too long": (lambda f: f.column(Stream.VALUE, length=2**32 - 1), "directory: no such column can be"),
    "column in the header": (lambda f: f.column(Stream.STEP, offset=3), "directory: no such column can be"),
    "huge column": (lambda f: f.column(Stream.STEP, count=2**32 - 1), "directory: no such column can be"),
    "no numbers": (lambda f: f.column(Stream.STEP, count=0), "directory: no such column can be"),
    "fewer numbers": (lambda f: f.column(Stream.EPOCH, count=1), "EPOCH: 4201 numbers, expected 4210"),
    "encoding": (lambda f: f.column(Stream.VALUE, encoding=77), "encoding 77 of a float64 column is unknown"),
    "other length": (lambda f: f.column(Stream.VALUE, b"12345", encoding=0), "5 bytes, expected 80"),
    "no pcodec": (lambda f: f.column(Stream.TIME, b"12345", encoding=1), "pcodec refuses it"),
    "no overview": (lambda f: f.column(Stream.OVERVIEW_INT, stream=200), "OVERVIEW_INT: 0 numbers, expected 68"),
    "no statistics": (lambda f: f.column(Stream.STATISTICS_INT, stream=200), "STATISTICS_INT: 0 numbers, expected 10"),
}


@pytest.mark.parametrize("damage", FORGED)
def test_forged_content_with_valid_checksums(tmp_path, whole, damage):
    change, message = FORGED[damage]
    forged = Forged(whole)
    change(forged)
    path = forged.write(tmp_path / "a.seg")
    with pytest.raises(SegmentDamageError) as caught:
        everything(path)
    assert message in caught.value.what
    assert 0 <= caught.value.offset <= path.stat().st_size


def test_a_later_format_is_refused_with_advice(tmp_path, whole):
    path = tmp_path / "a.seg"
    path.write_bytes(header_of_version(whole, 2))
    with pytest.raises(
        StoreVersionError, match=r"segment format 2, this release reads up to 1: .*pip install --upgrade frameworm"
    ):
        SegmentReader(path)


def test_streams_of_later_releases_are_passed_over(tmp_path, whole):
    forged = Forged(whole)
    extra = forged.directory[:1].copy()
    extra["stream"] = 200
    forged.directory = np.concatenate([extra, forged.directory])
    forged.footer = forged.footer._replace(columns=len(forged.directory))
    check(forged.write(tmp_path / "a.seg"), mixed_log())


@pytest.mark.parametrize("stream", Stream)
def test_a_damaged_column_spoils_what_needs_it_and_nothing_else(tmp_path, whole, stream):
    entry = Forged(whole).entry(stream, -1)[0]
    path = tmp_path / "a.seg"
    path.write_bytes(flip(whole, int(entry["offset"])))
    expected = mixed_log()
    with SegmentReader(path) as reader:
        assert reader.events() == expected.events
        assert reader.sources == list(expected.sources) if stream != Stream.CONTEXT else True
        damaged = []
        for i in range(len(expected.keys)):
            try:
                assert same(reader.read(i), expected.of(i))
                points = expected.of(i)
                for window in (256, 4096):
                    assert reader.overview(i, window).last[-1] == points.values[-1]
            except SegmentDamageError as error:
                damaged.append(i)
                assert error.offset == entry["offset"]
                assert f"{stream.name} column of {entry['count']}: checksum mismatch, expected 0x" in error.what
        spoiled = {
            Stream.CONTEXT: [],
            Stream.STATISTICS_FLOAT: [],
            Stream.STATISTICS_INT: [],
            Stream.OVERVIEW_FLOAT: [0, 1],
            Stream.OVERVIEW_INT: [0, 1],
            Stream.OVERVIEW_NAN: [0, 1],
            Stream.OVERVIEW_STEPS: [0, 1],
            Stream.OUTLINE_FLOAT: [0, 1],
            Stream.OUTLINE_INT: [0, 1],
            Stream.STEP: [0, 1],
            Stream.EPOCH: [0, 1],
            Stream.TIME: [0, 1],
            Stream.VALUE: [1],
        }
        assert damaged == spoiled.get(stream, list(range(42)))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), region=st.sampled_from(["any", "ends"]))
def test_a_flipped_bit_is_reported_or_harmless(tmp_path, whole, place, bit, region):
    at = int(place * len(whole))
    if region == "ends":  # header, text, events, directory, footer: a small part of the file
        at = int(place * 2_500) - 16
    path = tmp_path / "a.seg"
    at %= len(whole)
    path.write_bytes(flip(whole, at, 1 << bit))
    with pytest.raises(SegmentDamageError) as caught:
        everything(path)
    assert 0 <= caught.value.offset <= len(whole)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=300))
def test_a_torn_file_is_reported(tmp_path, whole, keep, junk):
    path = tmp_path / "a.seg"
    path.write_bytes(whole[: int(keep * len(whole))] + junk)
    with pytest.raises(SegmentDamageError):
        everything(path)


def test_a_file_cut_while_open_is_an_error_and_no_signal(tmp_path):
    path = log([0] * 100_000, np.random.default_rng(0).normal(size=100_000)).write(tmp_path / "a.seg")
    with SegmentReader(path) as reader:
        assert reader.counts.tolist() == [100_000]
        os.truncate(path, 3_000)
        with pytest.raises(SegmentDamageError, match="damaged at byte 3000: ") as caught:
            reader.read(0)
    assert "cut off since the file was opened" in caught.value.what


# ------------------------------------------------------------------------------------------------- golden


def test_the_golden_segment_of_version_1_reads_as_when_it_was_written():
    spec = importlib.util.spec_from_file_location("make_golden_segment", GOLDEN / "make.py")
    assert spec is not None and spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    assert make.describe() == json.loads((GOLDEN / "expected.json").read_text())


def test_the_empty_golden_segment_of_version_1():
    with SegmentReader(GOLDEN / "metrics-golden-4711-2.seg") as reader:
        assert (reader.keys, reader.sources, reader.events(), reader.summaries()) == ([], [], b"", [])
        assert reader.counts.tolist() == []


def test_the_format_page_lists_every_stream_and_encoding():
    page = (Path(__file__).parents[2] / "docs" / "formats" / "segment.md").read_text()
    table = {
        int(number): (name, dtype) for number, name, dtype in re.findall(r"\| (\d+) \| (\w+) \| (\w+\d+) \|", page)
    }
    assert table == {int(stream): (stream.name, stream.dtype.name) for stream in Stream}
    assert re.findall(r"\| (\d) \| ([A-Z0-9_]+) \| (?!u?int|float)", page) == [(str(e.value), e.name) for e in Encoding]


# ------------------------------------------------------------------------------------------------- sizes

N = 200_000


def jittered(n: int, mean_ms: float, deviation_ms: float) -> np.ndarray:
    return T0 + np.cumsum(np.random.default_rng(9).normal(mean_ms, deviation_ms, n)).astype(np.int64)


def one(values: np.ndarray, mean_ms: float = 15, deviation_ms: float = 1) -> Log:
    return log([0] * len(values), values, times_ms=jittered(len(values), mean_ms, deviation_ms))


def cosine(n: int) -> np.ndarray:
    return 0.0005 * (1 + np.cos(np.pi * np.arange(n) / n))


def accuracy(n: int) -> np.ndarray:
    return 0.9 - 0.4 * np.exp(-3 * np.arange(n) / n) + np.random.default_rng(5).normal(0, 0.01, n)


def many(k: int, n: int) -> Log:
    rng = np.random.default_rng(6)
    values = rng.lognormal(-3, 2, k) * (1 + 0.1 * rng.normal(size=(n, k)))
    keys = [SeriesKey(f"layers.{i // 8}.attention.weight/norm_{i % 8}", "train") for i in range(k)]
    return rows(values.astype(np.float32).astype(np.float64), keys=keys)


# pattern, bytes a point allowed, all included
SMALL = {
    "noisy float32 loss, 15±1 ms a step": (lambda: one(noisy_loss(N)), 3.1),
    "noisy float32 loss, 120±6 ms a step": (lambda: one(noisy_loss(N), 120, 6), 3.5),
    "twenty noisy losses, one row a step": (lambda: rows(np.stack([noisy_loss(10_000, i) for i in range(20)], 1)), 2.9),
    "cosine schedule, time aside": (lambda: one(cosine(N), 15, 0), 0.8),
    "accuracy rounded to 4 places": (lambda: one(np.round(accuracy(N), 4)), 1.6),
    "the same as float32": (lambda: one(np.round(accuracy(N), 4).astype(np.float32).astype(np.float64)), 1.6),
    "constant": (lambda: one(np.full(N, 0.1), 15, 0), 0.012),
    "10,000 series of 20 points": (lambda: many(10_000, 20), 3.5),
    "50,000 names of 4 points": (lambda: many(50_000, 4), 4.5),
}  # fmt: skip


@pytest.mark.parametrize("pattern", SMALL)
def test_a_point_takes_few_bytes(tmp_path, pattern):
    make, allowed = SMALL[pattern]
    written = make()
    taken = written.write(tmp_path / "a.seg").stat().st_size / len(written.index)
    assert taken <= allowed


def test_a_float64_series_does_not_spoil_float32_ones_beside_it(tmp_path):
    losses = np.stack([noisy_loss(1_000, i) for i in range(10)], 1)
    schedule = cosine(1_000)[:, None]
    alone = rows(losses).write(tmp_path / "a.seg").stat().st_size
    beside = rows(np.hstack([losses[:, :5], schedule, losses[:, 5:]])).write(tmp_path / "b.seg").stat().st_size
    assert beside - alone < 8 * 1_000 * 0.4


def test_a_short_experiment_takes_about_a_kilobyte(tmp_path):
    losses = np.stack([noisy_loss(10, i) for i in range(5)], 1)
    events = b"".join(b'{"t":%d,"type":"console","text":"epoch %d"}\n' % (T0 + i, i) for i in range(40))
    assert rows(losses, events=events).write(tmp_path / "a.seg").stat().st_size < 1_200
