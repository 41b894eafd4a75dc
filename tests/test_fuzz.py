"""Journals and segments of any bytes: documented errors at most, in bounded time and memory."""

import random
import shutil
import signal
import tracemalloc
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults import fuzz, inserts
from faults.child import Child
from frameworm.experiment import Experiment
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.recording.journal_reader import read_journal

SECONDS = 60
"""No small file takes so long, however busy the machine."""


@contextmanager
def alarm():
    """Raise in whatever hangs."""

    def hangs(number, frame):
        raise TimeoutError(f"still reading after {SECONDS} s")

    earlier = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


def read(kind, path, data):
    """Read a file of these bytes; time is bounded, and memory by their number."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with alarm():
            fuzz.read_all(kind, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= (64 << 20) + 400 * len(data)


def path_of(kind, folder):
    return folder / {"journal": "journal-fuzz-1-9", "segment": "metrics-fuzz-1-9.seg"}[kind]


@pytest.mark.parametrize("kind", fuzz.KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=2000), start=st.integers(0, 200))
def test_noise_after_any_beginning(tmp_path_factory, kind, data, start):
    path = path_of(kind, tmp_path_factory.mktemp("noise"))
    read(kind, path, fuzz.golden(kind)[0][:start] + data)


@pytest.mark.parametrize("kind", fuzz.KINDS)
@settings(max_examples=80, deadline=None)
@given(chance=st.randoms(use_true_random=False))
def test_mutated_and_spliced_golden_files(tmp_path_factory, kind, chance):
    path = path_of(kind, tmp_path_factory.mktemp("mutated"))
    read(kind, path, fuzz.mutated(kind, random.Random(chance.getrandbits(64))))


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_cut_at_every_byte(tmp_path, kind):
    path = path_of(kind, tmp_path)
    whole = min(fuzz.golden(kind), key=len)
    with alarm():
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            fuzz.read_all(kind, path)


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_within_the_limits_of_a_process(tmp_path, kind):
    with Child(tmp_path, fuzz.read_many, kind, 17, 100) as child:
        child.wait()
        assert child.ledger.acknowledged == 100


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_a_damaged_file_costs_no_point_of_those_beside_it(tmp_path, kind):
    with Experiment("whole", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        for step in range(100):
            exp.log_metric("whole", step / 7, step)
    copy = shutil.copytree(exp.exp_dir, tmp_path / "copy" / exp.exp_dir.name)
    other = path_of(kind, copy / "logs")
    for number in range(60):
        other.write_bytes(fuzz.mutated(kind, random.Random(f"beside {number}"), forged=False))
        reader = ExperimentReader(copy)
        assert reader.read("whole", "train").values.tolist() == [step / 7 for step in range(100)]
        assert all(error.path == str(other) for error in reader.damage)


@pytest.mark.parametrize("way", inserts.WAYS)
@pytest.mark.parametrize("kind", inserts.KINDS)
def test_bytes_that_came_in_or_went_cost_nothing_untold(tmp_path, kind, way):
    counts = inserts.Counts()
    with alarm():
        for seed in range(8):
            if outcome := inserts.try_one(tmp_path, kind, way, seed, path_of(fuzz_kind(kind), tmp_path)):
                counts.add(f"{kind} {way} {seed}", outcome)
    assert counts.files >= 4
    assert counts.bad == []


def fuzz_kind(kind):
    return kind if kind == "segment" else "journal"


def test_seven_bytes_amid_points_cost_the_one_they_came_into(tmp_path):
    """Of a journal without a checksum, as of a process killed in its first second."""
    data, records, _ = inserts.journal(tmp_path, "points")
    first_check = next(i for i, record in enumerate(records) if '"type":"check"' in record.event)
    data, records = data[: records[first_check].start], records[:first_check]
    at = records[30].start + 20
    path = path_of("journal", tmp_path)
    for junk in (b"seven..", bytes(7), data[at - 7 : at], b"\x01" + bytes(6)):
        path.write_bytes(data[:at] + junk + data[at:])
        contents = read_journal(path)
        (damage,) = contents.damage
        assert records[29].start <= damage.offset <= records[30].start
        left_out = {point[1] for record in records[29:31] for point in record.points}
        given = [point[1] for record in records for point in record.points]
        steps = contents.read(0).steps.tolist()
        assert set(given) - set(steps) <= left_out
        assert steps == [step for step in given if step in steps]
