"""Opening the files in ``logs/`` while others seal them."""

import os
import shutil

from frameworm.experiment import Experiment
from frameworm.experiment.query.sources import open_sources
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.recording.seal import seal


def test_a_journal_sealed_after_the_folder_was_listed_is_read_from_its_segment(tmp_path, monkeypatch):
    with Experiment("sealed", root_dir=tmp_path, capture_console=False, system_metrics_s=0) as exp:
        exp.log_metric("loss", 1.0)
        logs = shutil.copytree(exp.log_dir, tmp_path / "logs")
    (journal,) = (path.name for path in logs.glob("journal-*"))
    known = open_sources(logs).all
    seal(logs, WriterName.parse(journal))
    monkeypatch.setattr(os, "listdir", lambda folder: [journal])  # as it was a moment ago, each time
    for before in ([], known):
        found = open_sources(logs, before)
        (source,) = found.all
        assert source.sealed and not found.damage
        assert source.read(0).values.tolist() == [1.0]
