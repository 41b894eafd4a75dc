"""The console over HTTP: windows join to the whole file, whatever is in it, and a search finds its lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frameworm.experiment.errors import InputError, UnsafePathError
from frameworm.experiment.server import logs
from frameworm.experiment.server.logs import read_window, search

LINES = ["first", "\x1b[31mred\x1b[0m and \x1b[1mbold", "naïve", "x" * 50, "", "last Error"]
TEXT = "\n".join(LINES) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "console.log").write_text(TEXT)
    return tmp_path


@settings(max_examples=60, deadline=None)
@given(
    text=st.one_of(st.binary(max_size=200), st.text(max_size=80).map(lambda t: t.encode(errors="replace"))),
    limit=st.integers(1, 60),
)
def test_windows_one_after_the_other_are_the_file(tmp_path_factory, text, limit):
    folder = tmp_path_factory.mktemp("console")
    (folder / "logs").mkdir()
    (folder / "logs" / "console.log").write_bytes(text)
    at, joined = 0, b""
    while at < len(text):
        window = read_window(folder, at, limit)
        assert window.start == at < window.stop <= at + limit and window.size == len(text)
        assert window.begins == (at == 0 or text[at - 1 : at] == b"\n")
        joined += window.data
        at = window.stop
    assert joined == text


def test_a_window_ends_with_a_line_or_a_whole_character(folder):
    assert read_window(folder, 0, 8).data == b"first\n"
    naive = TEXT.index("naïve")
    assert read_window(folder, naive, 3).data == b"na"
    assert read_window(folder, naive, 4).data == "naï".encode()
    assert read_window(folder, -10, 100).data == b"ast Error\n"
    assert not read_window(folder, -10, 100).begins
    assert read_window(folder, -15, 100).data == b"\nlast Error\n"
    assert read_window(folder, -15, 100).begins
    assert read_window(folder, 10**9, 100).data == b""
    assert read_window(folder, -(10**9), 100).start == 0


def test_lines_that_hold_a_text_are_found(folder):
    (found,) = search(folder, "error", 0, 10)["matches"]
    assert found == {"byte": len(TEXT.encode()) - 11, "line": 6, "text": "last Error"}
    assert search(folder, "error", 0, 10, case=True)["matches"] == []
    (found,) = search(folder, "red and bold", 0, 10)["matches"]
    assert found["line"] == 2 and found["text"] == LINES[1]
    assert [one["line"] for one in search(folder, "naïve", 0, 10)["matches"]] == [3]
    assert search(folder, "(", 0, 10)["matches"] == []
    with pytest.raises(InputError, match="line break"):
        search(folder, "a\nb", 0, 10)


def test_a_search_goes_on_where_it_stopped(folder, monkeypatch):
    monkeypatch.setattr(logs, "_PIECE", 64)
    first = search(folder, "r", 0, 2)
    assert [one["line"] for one in first["matches"]] == [1, 2] and first["more"]
    second = search(folder, "r", first["next"], 2)
    assert [one["line"] for one in second["matches"]] == [6] and not second["more"]
    assert second["next"] == len(TEXT.encode())
    monkeypatch.setattr(logs, "_SEARCHED", 1)
    found = search(folder, "error", 0, 5)
    assert found["matches"] == [] and found["more"] and 0 < found["next"] < len(TEXT)


def test_a_line_longer_than_a_piece_is_searched_to_its_end(folder, monkeypatch):
    monkeypatch.setattr(logs, "_PIECE", 20)
    assert [one["line"] for one in search(folder, "error", 0, 5)["matches"]] == [6]


def test_only_a_file_of_the_experiment_is_read(folder):
    path = folder / "logs" / "console.log"
    for make in (lambda: path.symlink_to("/etc/hostname"), lambda: os.mkfifo(path), lambda: path.mkdir()):
        path.unlink(missing_ok=True)
        make()
        with pytest.raises(UnsafePathError, match="expected a regular file"):
            read_window(folder, 0, 100)
        with pytest.raises(UnsafePathError, match="expected a regular file"):
            search(folder, "a", 0, 1)
    path.rmdir()
    assert read_window(folder, 0, 100).size == 0
    assert search(folder, "a", 0, 1) == {"matches": [], "more": False, "next": 0}


def test_the_console_over_http(own_root, serving):
    path = own_root / "exp_001_vae" / "logs" / "console.log"
    path.write_bytes(TEXT.encode() + b"\xff\x00\n")
    client = serving(own_root)
    base = "/api/v1/experiments/exp_001/console"
    told = client.get(base).json()
    assert told["text"] == TEXT + "\ufffd\x00\n" and told["live"] is False and told["begins"] is True
    assert (told["from"], told["to"], told["size"]) == (0, path.stat().st_size, path.stat().st_size)
    assert client.get(base, params={"from": told["to"]}).json()["text"] == ""
    assert client.get(base, params={"limit": 0}).status_code == 422
    assert client.get(base, params={"limit": 10**9}).status_code == 422
    assert client.get(f"{base}/search", params={"q": "first"}).json()["matches"][0]["byte"] == 0
    assert client.get(f"{base}/search", params={"q": ""}).status_code == 422
