"""Artifacts over HTTP: what is sent is never run, never from elsewhere, and never unpacked."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from frameworm.experiment import Experiment
from frameworm.experiment.server import files
from frameworm.experiment.server.app import create_app
from frameworm.experiment.server.files import media_type

BASE = "/api/v1/experiments/exp_001/artifacts"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
FILES = {
    "picture.png": PNG,
    "lying.txt": PNG,
    "sound.wav": b"RIFF\x00\x00\x00\x00WAVEfmt ",
    "page.html": b"<script>alert(1)</script>",
    "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    "named.png": b"<html><script>alert(1)</script>",
    "notes.md": "# Über\n<img src=x onerror=alert(1)>".encode(),
    "data.json": b'{"a": [1, 2]}',
    "conf.yaml": b"a: 1\n",
    "table.csv": b'a,b\n1,"x, y"\n2,z\n',
    "table.tsv": b"a\tb\n1\t2\n",
    "bomb.gz": gzip.compress(bytes(10 << 20)),
    "empty": b"",
    "folder/name with ü.bin": bytes(range(256)),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("files")
    with Experiment("files", root_dir=folder / "root", capture_console=False, system_metrics_s=0) as exp:
        for name, content in FILES.items():
            (folder / "file").write_bytes(content)
            exp.log_artifact(folder / "file", artifact_name=name)
        (folder / "file").write_bytes(b"second")
        exp.log_artifact(folder / "file", artifact_name="empty")
    with TestClient(create_app(folder / "root"), base_url="http://127.0.0.1") as client:
        yield client


def test_the_list_has_every_version(client):
    found = client.get(BASE).json()["artifacts"]
    assert [(one["name"], one["version"]) for one in found if one["name"] == "empty"] == [("empty", 2), ("empty", 1)]
    assert {one["name"] for one in found} == set(FILES)
    assert found[0]["digest"].startswith("sha256:")


@pytest.mark.parametrize("name", sorted(FILES))
def test_content_is_inert_and_whole(client, name):
    answer = client.get(f"{BASE}/content", params={"name": name, "version": 1})
    assert answer.status_code == 200 and answer.content == FILES[name]
    shown = {"picture.png": "image/png", "lying.txt": "image/png", "sound.wav": "audio/wav"}.get(name)
    assert answer.headers["content-type"] == (shown or "application/octet-stream")
    assert answer.headers["content-disposition"].startswith("inline" if shown else "attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_latest_version_unless_another_is_asked_for(client):
    assert client.get(f"{BASE}/content", params={"name": "empty"}).content == b"second"
    assert client.get(f"{BASE}/content", params={"name": "empty", "version": 1}).content == b""
    assert client.get(f"{BASE}/content", params={"name": "empty", "version": 3}).status_code == 404
    assert client.get(f"{BASE}/content", params={"name": "../../experiments.db"}).status_code == 404
    assert client.get(f"{BASE}/preview", params={"name": "nothing"}).status_code == 404


def test_a_range_of_bytes(client):
    params = {"name": "folder/name with ü.bin"}
    answer = client.get(f"{BASE}/content", params=params, headers={"Range": "bytes=10-19"})
    assert answer.status_code == 206 and answer.content == bytes(range(10, 20))
    assert client.get(f"{BASE}/content", params=params, headers={"Range": "bytes=999-"}).status_code == 416
    many = "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 256, 2))
    answer = client.get(f"{BASE}/content", params=params, headers={"Range": many})
    assert answer.status_code in (200, 206, 400, 416) and len(answer.content) < 100_000


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("picture.png", "image"),
        ("lying.txt", "image"),
        ("sound.wav", "audio"),
        ("page.html", "text"),
        ("drawing.svg", "text"),
        ("named.png", "text"),
        ("notes.md", "markdown"),
        ("data.json", "json"),
        ("conf.yaml", "yaml"),
        ("table.csv", "csv"),
        ("table.tsv", "csv"),
        ("bomb.gz", "binary"),
        ("empty", "text"),
        ("folder/name with ü.bin", "binary"),
    ],
)
def test_a_preview_is_of_a_kind(client, name, kind):
    told = client.get(f"{BASE}/preview", params={"name": name, "version": 1}).json()
    assert told["kind"] == kind and told["size_bytes"] == len(FILES[name]) and told["truncated"] is False
    assert told["text"] == (FILES[name].decode() if kind in ("text", "json", "yaml", "markdown") else None)
    if kind == "csv":
        expected = {"table.csv": [["a", "b"], ["1", "x, y"], ["2", "z"]], "table.tsv": [["a", "b"], ["1", "2"]]}
        assert told["rows"] == expected[name]


def test_what_is_long_is_cut(tmp_path):
    path = tmp_path / "x"

    def preview(path: Path, name: str) -> dict[str, Any]:
        with FileIO(path) as file:
            return files.preview(file, name)

    path.write_text("ü" * 200_000)
    told = preview(path, "x.txt")
    assert told["truncated"] and told["kind"] == "text" and set(told["text"]) == {"ü"}
    path.write_text("a,b\n" * 100_000)
    told = preview(path, "x.csv")
    assert told["truncated"] and len(told["rows"]) == 200
    path.write_text(",".join("x" * 3_000 for _ in range(200)))
    told = preview(path, "x.csv")
    assert told["truncated"] and len(told["rows"][0]) <= 100 and max(map(len, told["rows"][0])) <= 1000
    path.write_text('"' + "x" * 200_000)  # a cell larger than the library takes
    assert preview(path, "x.csv")["kind"] == "csv"


def test_magic_is_no_more_than_it_is():
    assert media_type(b"") == media_type(b"<svg") == media_type(b"RIFF....AVI ") == media_type(b"%PDF-1.7") == ""
    assert media_type(b"\x00\x00\x00\x18ftypmp42") == "video/mp4"


def test_a_path_that_leads_out_of_the_folder_is_refused(own_root, serving):
    with Experiment.resume("exp_001", own_root, capture_console=False, system_metrics_s=0) as exp:
        (own_root.parent / "file").write_bytes(b"mine")
        exp.log_artifact(own_root.parent / "file", artifact_name="link")
    stored = own_root / "exp_001_vae" / "artifacts" / "link"
    os.chmod(stored.parent, 0o755)
    stored.unlink()
    stored.symlink_to("/etc/hostname")
    client = serving(own_root)
    for path in ("content", "preview"):
        answer = client.get(f"{BASE}/{path}", params={"name": "link"})
        assert answer.status_code == 422 and "is a link" in answer.json()["error"]["message"]
    stored.unlink()
    assert client.get(f"{BASE}/content", params={"name": "link"}).status_code == 404
    os.mkfifo(stored)
    assert client.get(f"{BASE}/content", params={"name": "link"}).status_code == 422
    metadata = Path(own_root / "exp_001_vae" / "metadata.json")
    assert "link" in json.dumps(json.loads(metadata.read_text())["artifacts"])


def test_a_link_put_there_while_it_is_asked_for_leaks_nothing(own_root, serving):
    """A thread turns the artifact, and the folder it lies in, into links to elsewhere and back."""
    (own_root.parent / "victim").mkdir()
    (own_root.parent / "victim" / "file").write_bytes(b"secret")
    with Experiment.resume("exp_001", own_root, capture_console=False, system_metrics_s=0) as exp:
        (own_root.parent / "mine").write_bytes(b"mine")
        exp.log_artifact(own_root.parent / "mine", artifact_name="sub/file")
    folder = own_root / "exp_001_vae" / "artifacts"
    client, ended = serving(own_root), threading.Event()

    def swap(place: Path, target: str) -> None:
        kept = place.with_name("kept")
        place.rename(kept)
        place.symlink_to(target)
        place.unlink()
        kept.rename(place)

    def swapping() -> None:
        while not ended.is_set():
            swap(folder / "sub", "../../../victim")
            swap(folder / "sub" / "file", "../../../../victim/file")

    thread = threading.Thread(target=swapping)
    thread.start()
    try:
        answers = [client.get(f"{BASE}/{what}", params={"name": "sub/file"}) for what in ("content", "preview") * 200]
    finally:
        ended.set()
        thread.join()
    assert {answer.status_code for answer in answers} <= {200, 404, 422}
    assert not any(b"secret" in answer.content for answer in answers)
    assert any(answer.status_code == 200 for answer in answers)


def test_what_was_sent_is_closed(client):
    before = len(os.listdir("/dev/fd"))
    for name in list(FILES) * 5:
        for headers in ({}, {"Range": "bytes=0-3"}, {"Range": "bytes=99999-"}, {"Range": "nonsense"}):
            client.get(f"{BASE}/content", params={"name": name}, headers=headers)
        client.head(f"{BASE}/content", params={"name": name})
    assert len(os.listdir("/dev/fd")) <= before + 2
