"""Artifacts: what is copied, what is refused, and that nothing is ever overwritten."""

import hashlib
import os
import socket
import threading

import pytest

from frameworm.experiment.errors import ArtifactError
from frameworm.experiment.model import Artifact
from frameworm.experiment.storage.artifacts import artifact_path, store_artifact


@pytest.fixture
def artifacts(tmp_path):
    folder = tmp_path / "exp_001_x" / "artifacts"
    folder.mkdir(parents=True)
    return folder


def test_a_file_is_copied_with_its_digest(tmp_path, artifacts):
    source = tmp_path / "weights ü.pt"
    source.write_bytes(b"x" * 3_000_000)
    (stored,) = store_artifact(source, artifacts, artifact_type="model")
    assert stored.name == "weights ü.pt"
    assert stored.path == "artifacts/weights ü.pt"
    assert (stored.version, stored.size_bytes, stored.artifact_type) == (1, 3_000_000, "model")
    assert stored.digest == "sha256:" + hashlib.sha256(b"x" * 3_000_000).hexdigest()
    assert artifact_path(artifacts.parent, stored).read_bytes() == source.read_bytes()
    assert [p.name for p in artifacts.iterdir()] == ["weights ü.pt"]


def test_the_same_name_keeps_every_version_and_stores_equal_content_once(tmp_path, artifacts):
    source = tmp_path / "m.tar.gz"
    known: list[Artifact] = []
    for content in ("one", "two", "one", "three"):
        source.write_text(content)
        known += store_artifact(source, artifacts, existing=known)
    assert [(a.version, a.path) for a in known] == [
        (1, "artifacts/m.tar.gz"),
        (2, "artifacts/m.tar.v2.gz"),
        (1, "artifacts/m.tar.gz"),
        (3, "artifacts/m.tar.v3.gz"),
    ]
    assert [artifact_path(artifacts.parent, a).read_text() for a in known] == ["one", "two", "one", "three"]


def test_another_process_that_stored_first_is_not_overwritten(tmp_path, artifacts):
    (artifacts / "a.txt").write_text("theirs")
    source = tmp_path / "a.txt"
    source.write_text("ours")
    (stored,) = store_artifact(source, artifacts)
    assert (artifacts / "a.txt").read_text() == "theirs"
    assert stored.version == 2 and artifact_path(artifacts.parent, stored).read_text() == "ours"


def test_a_directory_gives_one_artifact_a_file(tmp_path, artifacts):
    tree = tmp_path / "tree"
    (tree / "b" / "c").mkdir(parents=True)
    (tree / "a.txt").write_text("a")
    (tree / "b" / "c" / "d.txt").write_text("d")
    (tree / "link.txt").symlink_to("a.txt")
    stored = store_artifact(tree, artifacts, name="data/v1")
    assert sorted(a.name for a in stored) == ["data/v1/a.txt", "data/v1/b/c/d.txt", "data/v1/link.txt"]
    assert (artifacts / "data" / "v1" / "b" / "c" / "d.txt").read_text() == "d"


def test_a_link_out_of_the_directory_is_refused(tmp_path, artifacts):
    (tmp_path / "secret").write_text("s")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="'out'.*is a link out of it"):
        store_artifact(tree, artifacts)
    (stored,) = store_artifact(tree / "out", artifacts, name="s")  # named itself, it is followed
    assert artifact_path(artifacts.parent, stored).read_text() == "s"


def test_what_is_no_regular_file_is_refused_unopened(tmp_path, artifacts):
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    for name, what in (("fifo", "a FIFO"), ("socket", "a socket")):
        with pytest.raises(ArtifactError, match=what):
            store_artifact(tmp_path / name, artifacts)
        tree = tmp_path / f"tree-{name}"
        tree.mkdir()
        os.rename(tmp_path / name, tree / name)
        with pytest.raises(ArtifactError, match=what):
            store_artifact(tree, artifacts)
    listener.close()
    with pytest.raises(ArtifactError, match="a character device"):
        store_artifact("/dev/zero", artifacts)


def test_a_missing_file_is_named_with_the_folder_looked_from(tmp_path, artifacts):
    with pytest.raises(ArtifactError, match=r"nothing\.pt.*looked from"):
        store_artifact(tmp_path / "nothing.pt", artifacts)


@pytest.mark.parametrize(
    "name",
    [
        *["..", "../x", "a/../../x", "/etc/passwd", "C:\\x", "c:/x", "a\\..\\b", "", " ", "a//b", "./a", "a/"],
        *["%2e%2e/x", "%252e%252e/x", "a%2f..%2fb", "%5c", "x?/../y", "x#/../y", "x;/../y"],
        *["a\0b", "a\nb", "\ud800", "CON", "nul.txt", "a/aux", ".tmp-x", "x" * 2000],
    ],
    ids=repr,
)
def test_unsafe_names_are_refused(tmp_path, artifacts, name):
    source = tmp_path / "a"
    source.write_text("a")
    with pytest.raises(ArtifactError, match="artifact name"):
        store_artifact(source, artifacts, name=name)
    assert list(artifacts.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "日本/é.txt", "a..b", "v1.2..txt", "100%", "-x", "[x]"])
def test_names_that_only_look_odd_are_kept(tmp_path, artifacts, name):
    source = tmp_path / "a"
    source.write_text("a")
    (stored,) = store_artifact(source, artifacts, name=name)
    assert stored.name == name and (artifacts / name).read_text() == "a"


def test_a_file_inside_the_experiment_is_recorded_in_place(artifacts):
    (artifacts / "plot.png").write_bytes(b"p")
    checkpoint = artifacts.parent / "checkpoints" / "best.pt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"c")
    (first,) = store_artifact(artifacts / "plot.png", artifacts)
    (second,) = store_artifact(checkpoint, artifacts)
    assert (first.path, second.path) == ("artifacts/plot.png", "checkpoints/best.pt")
    assert [p.name for p in artifacts.iterdir()] == ["plot.png"]


def test_a_file_that_keeps_growing_is_an_error_and_leaves_nothing(tmp_path, artifacts):
    source = tmp_path / "log"
    source.write_bytes(b"x" * 20_000_000)
    stop = threading.Event()

    def grow() -> None:
        with open(source, "ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"y")

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        with pytest.raises(ArtifactError, match="changes while it is copied"):
            store_artifact(source, artifacts)
    finally:
        stop.set()
        thread.join()
    assert list(artifacts.iterdir()) == []


def test_a_recorded_path_that_leads_out_is_refused(artifacts):
    with pytest.raises(ArtifactError, match="leads out"):
        artifact_path(artifacts.parent, Artifact("x", "../../etc/passwd", "file", 1, 0, ""))
