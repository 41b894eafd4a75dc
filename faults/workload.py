"""What children record, and the comparison of that with what is read.

Record number i is the same in every process that knows i, so nothing but a count has to be handed over. Values are
random bits: NaN of all kinds, infinities, denormals and -0.0 are among them, and each has to come back bit for bit.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from frameworm.experiment import Experiment
    from frameworm.experiment.query.read import ExperimentReader

_SIZE = 4096
_BYTES = random.Random(4711).randbytes(8 * _SIZE)
_VALUES = struct.unpack(f"<{_SIZE}d", _BYTES)
_SERIES = 7
_NAMES = tuple(f"layer {k}/ħ" for k in range(_SERIES))
_NOTE_EVERY = 500
KINDS = ("scalars", "rows")


class Found(NamedTuple):
    """Points that had been acknowledged, and how many of them are not there as they were given."""

    acknowledged: int
    lost: int


def log(exp: Experiment, kind: str, i: int) -> None:
    """Record number i: one point, or a row of seven; every 500th is followed by a note."""
    if kind == "scalars":
        exp.log_metric(_NAMES[i % _SERIES], _VALUES[i % _SIZE], i, i // 1000)
    else:
        at = i % (_SIZE - _SERIES)
        exp.log_metrics(dict(zip(_NAMES, _VALUES[at : at + _SERIES], strict=True)), i, i // 1000, "val")
    if i % _NOTE_EVERY == _NOTE_EVERY - 1:
        exp.add_note(str(i))


def begin(root: str | Path, name: str = "victim", **options: Any) -> Experiment:
    """Make an experiment as quiet as users can have it: nothing but what we record and what it captures itself."""
    from frameworm.experiment import Experiment

    return Experiment(
        name, {"seed": 4711}, root_dir=root, **{"capture_console": False, "system_metrics_s": 0} | options
    )


def compare(reader: ExperimentReader, kind: str, acknowledged: int, in_flight: int = 1) -> Found:
    """Compare what is read with what was acknowledged.

    Args:
        reader: of the experiment's folder, opened after the fault.
        kind: of the records.
        acknowledged: records whose calls had returned, or that a flush had covered.
        in_flight: records that may be there besides.

    Raises:
        AssertionError: damage was reported, or something is there that was never given.
    """
    import numpy as np

    assert not reader.damage, f"damage is reported: {reader.damage}"
    given = np.frombuffer(_BYTES, np.uint64)
    points = lost = 0
    context = "train" if kind == "scalars" else "val"
    known = {key for key in reader.keys() if key.context == context}
    for k, name in enumerate(_NAMES):
        most = acknowledged + in_flight
        if kind == "scalars":
            steps = np.arange(k, most, _SERIES)
            bits = given[steps % _SIZE]
            wanted = len(range(k, acknowledged, _SERIES))
        else:
            steps = np.arange(most)
            bits = given[steps % (_SIZE - _SERIES) + k]
            wanted = acknowledged
        points += wanted
        if (name, context) not in known:
            lost += wanted
            continue
        read = reader.read(name, context)
        n = len(read.steps)
        assert n <= len(steps), f"{name}: {n} points, only {len(steps)} were given"
        right = (
            (read.steps == steps[:n]) & (read.values.view(np.uint64) == bits[:n]) & (read.epochs == steps[:n] // 1000)
        )
        lost += max(0, wanted - n) + int((~right[:wanted]).sum())
        assert right.all() or lost, f"{name}: a point beyond those acknowledged is not as it was given"
    notes = {note.text for note in reader.info.notes}
    for i in range(_NOTE_EVERY - 1, acknowledged, _NOTE_EVERY):
        assert str(i) in notes, f"note {i} of {acknowledged} is not there"
    return Found(points, lost)
