"""Reading a folder of which a part is damaged."""

import shutil
import struct

import pytest

from frameworm.experiment import Experiment
from frameworm.experiment.errors import MetricNotFoundError, SegmentDamageError
from frameworm.experiment.query.read import ExperimentReader


def test_a_segment_whose_names_are_lost_costs_its_own_points_alone(tmp_path):
    quiet = {"capture_console": False, "system_metrics_s": 0}
    with Experiment("two", root_dir=tmp_path, **quiet) as exp:
        exp.log_metric("first", 1.0)
    with Experiment.resume("exp_001", tmp_path, **quiet) as exp:
        exp.log_metric("second", 2.0)
    copy = shutil.copytree(exp.exp_dir, tmp_path / "copy" / exp.exp_dir.name)
    damaged = max((copy / "logs").glob("*.seg"), key=lambda path: int(path.stem.rpartition("-")[2]))
    data = bytearray(damaged.read_bytes())
    (offset,) = struct.unpack_from("<Q", data, len(data) - 120 + 24)  # of the text, as the footer says
    data[offset] ^= 1
    damaged.write_bytes(data)
    reader = ExperimentReader(copy)
    assert reader.read("first").values.tolist() == [1.0]
    assert [summary.name for summary in reader.summaries()] == ["first"]
    (damage,) = reader.damage
    assert (damage.path, damage.offset) == (str(damaged), offset)
    with pytest.raises(SegmentDamageError, match=r"damaged at byte"):
        reader.read("second")
    data[offset] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(MetricNotFoundError, match="has no metric 'third'"):
        ExperimentReader(copy).read("third")
