"""Fingerprints: equal for equal content, different for any other; inputs listed as they are opened."""

import numpy as np
import pandas as pd
import pytest
import torch

from frameworm.experiment import Experiment
from frameworm.experiment.errors import ArtifactError, InputError, StateError
from frameworm.experiment.provenance.data import fingerprint
from frameworm.experiment.query.read import ExperimentReader


def of(data):
    return fingerprint(data)["fingerprint"]


def make(root, **keywords):
    return Experiment("e", root_dir=root, system_metrics_s=0, capture_console=False, **keywords)


def test_a_file_is_told_by_its_content_alone(tmp_path):
    for name, content in (("a", b"x" * 3_000_000), ("b", b"x" * 3_000_000), ("c", b"x" * 2_999_999 + b"y"), ("d", b"")):
        (tmp_path / name).write_bytes(content)
    found = [of(tmp_path / name) for name in "abcd"]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    # BLAKE3 of nothing, from the specification's test vectors.
    assert found[3] == "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_a_folder_is_told_by_names_and_contents(tmp_path):
    def folder(name, files):
        for path, text in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return of(tmp_path / name)

    base = folder("a", {"x/1": "one", "2": "two"})
    assert folder("b", {"2": "two", "x/1": "one"}) == base
    assert folder("c", {"x/1": "one", "3": "two"}) != base
    assert folder("d", {"x/1": "one", "2": "twO"}) != base
    assert fingerprint(tmp_path / "a")["files"] == 2


def test_arrays_are_told_by_dtype_shape_and_values():
    base = np.arange(12.0).reshape(3, 4)
    assert of(base) == of(np.asfortranarray(base)) == of(torch.tensor(base)) == of(base[::-1][::-1])
    others = [base.astype("f4"), base.reshape(4, 3), np.nextafter(base, 9), base[:2], np.array(-0.0), np.array(0.0)]
    assert len({of(base), *map(of, others)}) == 7
    assert of(np.empty((0, 3))) != of(np.empty((0, 4)))


def test_tables_are_told_by_columns_index_and_rows():
    base = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert of(base) == of(base.copy())
    others = [base.rename(columns={"a": "c"}), base.astype({"a": float}), base[::-1], base.assign(b=["x", "y"])]
    assert len({of(base), *map(of, others)}) == 5
    assert fingerprint(base)["rows"] == 2
    assert of({"train": base, "test": base}) != of({"train": base})


def test_what_has_no_fingerprint_is_refused(tmp_path):
    for data in (3, object(), {}, np.array([object()]), tmp_path / "missing", "/dev/null"):
        with pytest.raises(InputError, match="dataset"):
            fingerprint(data)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without files"):
        fingerprint(tmp_path / "empty")


def test_an_experiment_records_its_datasets(tmp_path):
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    with make(tmp_path / "r") as exp:
        record = exp.log_dataset(tmp_path / "train.csv")
        exp.log_dataset(np.arange(3), "labels")
        with pytest.raises(InputError, match="pass name="):
            exp.log_dataset(np.arange(3))
    assert [d["name"] for d in ExperimentReader(exp.exp_dir).info.datasets] == ["train.csv", "labels"]
    assert record["fingerprint"] == of(tmp_path / "train.csv")
    with pytest.raises(StateError):
        exp.log_dataset(np.arange(3), "late")


def test_files_opened_for_reading_are_recorded_on_request(tmp_path):
    for name in ("read.csv", "logged.csv", "unread.csv"):
        (tmp_path / name).write_text(name)
    with make(tmp_path / "r", record_inputs=True) as exp:
        (tmp_path / "read.csv").read_text()
        exp.log_dataset(tmp_path / "logged.csv")
        (tmp_path / "written.txt").write_text("x")
    (tmp_path / "unread.csv").read_text()
    assert [d["name"] for d in exp.info.datasets] == ["logged.csv", "read.csv"]
    assert exp.info.datasets[1]["fingerprint"] == of(tmp_path / "read.csv")


def test_an_artifact_of_another_experiment_is_used_and_its_origin_recorded(tmp_path):
    with make(tmp_path / "r") as first:
        for text in ("one", "two"):
            (tmp_path / "model.pt").write_text(text)
            first.log_artifact(tmp_path / "model.pt")
    with make(tmp_path / "r") as second:
        assert second.use_artifact(first.experiment_id, "model.pt").read_text() == "two"
        assert second.use_artifact(first.experiment_id, "model.pt", version=1).read_text() == "one"
        with pytest.raises(ArtifactError, match="has no artifact other; it has model"):
            second.use_artifact(first.experiment_id, "other")
        with pytest.raises(ArtifactError, match="of version 3"):
            second.use_artifact(first.experiment_id, "model.pt", version=3)
    used = ExperimentReader(second.exp_dir).info.used
    assert [(u["experiment_id"], u["artifact"], u["version"]) for u in used] == [
        (first.experiment_id, "model.pt", 2),
        (first.experiment_id, "model.pt", 1),
    ]
    assert used[0]["uid"] == first.uid
    assert used[0]["digest"] == first.info.artifacts[1].digest
