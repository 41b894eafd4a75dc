"""One copy of each content, whole folders all the same."""

import os

from frameworm.experiment import Experiment
from frameworm.experiment.storage.blobs import sweep


def stored(root, content, name="f.bin"):
    with Experiment("e", root_dir=root, system_metrics_s=0, capture_console=False) as exp:
        source = root.parent / name
        source.write_bytes(content)
        [artifact] = exp.log_artifact(source)
    return exp.exp_dir / artifact.path


def test_equal_files_of_different_experiments_take_the_space_of_one(tmp_path):
    first, second, other = (
        stored(tmp_path / "r", c, n) for c, n in ((b"x" * 999, "a"), (b"x" * 999, "b"), (b"y", "c"))
    )
    assert os.path.samefile(first, second)
    assert not os.path.samefile(first, other)
    assert first.read_bytes() == second.read_bytes() == b"x" * 999
    assert first.stat().st_mode & 0o222 == 0


def test_a_copy_that_was_written_to_is_not_shared_any_further(tmp_path):
    first = stored(tmp_path / "r", b"good" * 100)
    first.chmod(0o644)
    first.write_bytes(b"evil" * 100)
    second = stored(tmp_path / "r", b"good" * 100)
    assert second.read_bytes() == b"good" * 100


def test_what_no_experiment_holds_is_swept(tmp_path):
    first = stored(tmp_path / "r", b"x" * 1000)
    kept = stored(tmp_path / "r", b"y" * 1000)
    first.unlink()
    assert sweep(tmp_path / "r" / ".frameworm" / "blobs") >= 1000
    assert kept.read_bytes() == b"y" * 1000
    assert stored(tmp_path / "r", b"x" * 1000).read_bytes() == b"x" * 1000
