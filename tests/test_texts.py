"""How much text an experiment takes: the same at the call, in an edit, on the command line and over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.errors import InputError
from frameworm.experiment.server.app import create_app
from frameworm.experiment.texts import MAX_TAGS, checked_tags, checked_text


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("text", "lines", "message"),
    [
        *(("x" * 1024, False, ""), ("x" * 1025, False, "at most 1,024 bytes, got 1,025")),
        *(("ü" * 512, False, ""), ("ü" * 513, False, "got 1,026"), ("🦊" * 257, False, "got 1,028")),
        *(("x\n" * (1 << 19), True, ""), ("x" * ((1 << 20) + 1), True, "at most 1,048,576 bytes")),
        *(("\ud800" * 300, False, "cannot be kept"), (NoRepr(), False, "expected a str"), (None, True, "a str")),
    ],
    ids=lambda value: f"{str(value)[:4]}" if isinstance(value, str) else type(value).__name__,
)
def test_texts_have_a_length(text: Any, lines: bool, message: str) -> None:
    if message:
        with pytest.raises(InputError, match=message):
            checked_text(text, "note", lines=lines)
    else:
        assert checked_text(text, "note", lines=lines) == text


def endless() -> Any:
    number = 0
    while True:
        number += 1
        yield f"tag {number}"


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([f"t{n}" for n in range(1000)], ""),
        ([f"t{n}" for n in range(1001)], "at most 1,000 of an experiment"),
        (endless(), "at most 1,000 of an experiment"),
        (["x" * 256], ""),
        (["ü" * 256], ""),
        (["x" * 257], "at most 256 characters, got 257"),
        ([NoRepr()], "expected a str"),
        (NoRepr(), "tags: expected strings"),
    ],
    ids=lambda value: str(value)[:9] if isinstance(value, str) else type(value).__name__,
)
def test_tags_are_so_many_and_so_long(tags: Any, message: str) -> None:
    if message:
        with pytest.raises(InputError, match=message):
            checked_tags(tags)
    else:
        assert checked_tags(tags) == list(tags)


def test_an_experiment_takes_no_more_by_any_way(tmp_path: Path) -> None:
    options: dict[str, Any] = {"root_dir": tmp_path, "capture_console": False, "system_metrics_s": 0}
    for wrong in ({"name": "x" * 1025}, {"name": "e", "tags": ["x" * 257]}, {"name": "e", "description": "x" * 2**21}):
        with pytest.raises(InputError, match="at most"):
            Experiment(**wrong, **options)
    with Experiment("e", tags=[f"t{n}" for n in range(MAX_TAGS)], **options) as exp:
        with pytest.raises(InputError, match="at most"):
            exp.add_note("x" * ((1 << 20) + 1))
        with pytest.raises(InputError, match="at most"):
            exp.set_tags([f"t{n}" for n in range(MAX_TAGS + 1)])
        exp.add_note("y" * (1 << 20))
    manager = ExperimentManager(tmp_path)
    with pytest.raises(InputError, match="at most 1,000 of an experiment"):
        manager.add_tags("exp_001", "one more")
    assert "one more" in manager.edit_tags("exp_001", add=["one more"], remove=["t0"])
    with pytest.raises(InputError, match="at most"):
        manager.rename("exp_001", "x" * 1025)
    assert manager.reader("exp_001").info.notes[0].text == "y" * (1 << 20)


def test_over_http_too_much_is_told_and_changes_nothing(tmp_path: Path) -> None:
    with Experiment("e", root_dir=tmp_path, capture_console=False, system_metrics_s=0):
        pass
    client = TestClient(create_app(tmp_path), base_url="http://127.0.0.1")
    for change in ({"name": "x" * 1025}, {"add_tags": ["x" * 257]}, {"add_tags": [f"t{n}" for n in range(1001)]}):
        answer = client.post("/api/v1/experiments/edit", json={"ids": ["exp_001"], **change})
        assert answer.status_code == 422 and "at most" in answer.json()["error"]["message"]
    info = ExperimentManager(tmp_path).reader("exp_001").info
    assert (info.name, info.tags) == ("e", ())
