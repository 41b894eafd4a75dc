from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from frameworm.experiment.errors import ArtifactError, StoreError, UnsafePathError
from frameworm.experiment.model import Artifact
from frameworm.experiment.storage.artifacts import artifact_path, store_artifact
from frameworm.experiment.storage.names import check_artifact_name


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    """An experiment's folder with its artifacts and checkpoints folders."""
    folder = tmp_path / "exp_001_x"
    for name in ("artifacts", "checkpoints"):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- files and directories -----------------------------------------------------------------------------------


def test_a_file_is_copied_and_described(exp: Path, work: Path) -> None:
    before = time.time_ns() // 1_000_000
    [artifact] = store_artifact(write(work / "model.pt", b"weights"), exp / "artifacts", artifact_type="model")
    assert artifact == Artifact("model.pt", "artifacts/model.pt", "model", 1, 7, digest(b"weights"), artifact.logged_ms)
    assert before <= artifact.logged_ms <= time.time_ns() // 1_000_000
    assert artifact_path(exp, artifact).read_bytes() == b"weights"
    assert tree(exp) == {"artifacts/model.pt": b"weights"}, "no temporary file is left"


@pytest.mark.parametrize("name", ["x.png", "plots/über alles 🎉.png", "a/b/c.txt", "-x", ".hidden", "50%.png", "a&b=c"])
def test_names_with_folders_unicode_and_spaces(exp: Path, work: Path, name: str) -> None:
    [artifact] = store_artifact(str(write(work / "f", b"1")), exp / "artifacts", name=name)
    assert (artifact.name, artifact.path) == (name, f"artifacts/{name}")
    assert artifact_path(exp, artifact).read_bytes() == b"1"


def test_the_artifacts_folder_is_made_if_missing(tmp_path: Path, work: Path) -> None:
    (tmp_path / "e").mkdir()
    [artifact] = store_artifact(write(work / "f", b""), tmp_path / "e" / "artifacts")
    assert artifact.size_bytes == 0
    assert artifact.digest == digest(b"")


def test_a_directory_gives_one_artifact_a_file(exp: Path, work: Path) -> None:
    for name in ("b.txt", "a/x.txt", "a/.hidden"):
        write(work / "data" / name, name)
    (work / "data" / "empty").mkdir()
    found = store_artifact(work / "data", exp / "artifacts", artifact_type="data")
    assert [a.name for a in found] == ["data/a/.hidden", "data/a/x.txt", "data/b.txt"]
    assert {a.artifact_type for a in found} == {"data"}
    assert tree(exp / "artifacts") == {f"data/{n}": n.encode() for n in ("a/.hidden", "a/x.txt", "b.txt")}
    renamed = store_artifact(f"{work}/data/", exp / "artifacts", name="other/name")
    assert [a.path for a in renamed] == [f"artifacts/other/name/{n}" for n in ("a/.hidden", "a/x.txt", "b.txt")]


def test_the_working_directory_can_be_given_by_a_dot(exp: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(work / "a.txt", "a")
    monkeypatch.chdir(work)
    assert [a.name for a in store_artifact(".", exp / "artifacts")] == ["work/a.txt"]


def test_symlinks_are_followed_but_not_out_of_the_tree(exp: Path, work: Path) -> None:
    write(work / "real.txt", "real")
    (work / "link.txt").symlink_to("real.txt")
    [artifact] = store_artifact(work / "link.txt", exp / "artifacts")
    assert artifact.name == "link.txt"
    stored = artifact_path(exp, artifact)
    assert stored.read_bytes() == b"real"
    assert not stored.is_symlink()

    write(work / "tree" / "sub" / "x.txt", "x")
    (work / "tree" / "alias.txt").symlink_to("sub/x.txt")
    (work / "tree" / "again").symlink_to("sub", target_is_directory=True)
    (work / "to_tree").symlink_to("tree", target_is_directory=True)
    found = store_artifact(work / "to_tree", exp / "artifacts")
    assert [a.name for a in found] == ["to_tree/again/x.txt", "to_tree/alias.txt", "to_tree/sub/x.txt"]

    for target in ("../real.txt", str(work / "real.txt"), "/etc"):
        (work / "tree" / "out").symlink_to(target)
        before = tree(exp)
        with pytest.raises(ArtifactError, match=r"tree/out' is a symlink out of the directory"):
            store_artifact(work / "tree", exp / "artifacts", name="t2")
        assert tree(exp) == before, "nothing is stored unless all is allowed"
        (work / "tree" / "out").unlink()

    (work / "tree" / "sub" / "up").symlink_to("..")
    with pytest.raises(ArtifactError, match=r"sub/up' is a symlink to a folder it lies in"):
        store_artifact(work / "tree", exp / "artifacts", name="t3")
    (work / "tree" / "sub" / "up").unlink()
    (work / "tree" / "dangling").symlink_to("nowhere")
    with pytest.raises(ArtifactError, match="dangling"):
        store_artifact(work / "tree", exp / "artifacts", name="t4")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.open(path.parent, os.O_RDONLY)  # paths of sockets are short
        try:
            sock.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)


def make_device_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "kind"),
    [(make_fifo, "is a FIFO"), (make_socket, "is a socket"), (make_device_link, "is a device")],
)
def test_special_files_are_refused_unopened(exp: Path, work: Path, make: Callable[[Path], None], kind: str) -> None:
    make(work / "odd")
    with pytest.raises(ArtifactError, match=f"odd' {kind}"):
        store_artifact(work / "odd", exp / "artifacts")
    write(work / "a.txt", "a")
    with pytest.raises(ArtifactError, match=f"odd' ({kind}|is a symlink out of)"):
        store_artifact(work, exp / "artifacts")
    assert tree(exp) == {}


def test_what_is_not_there_or_no_path_is_refused(exp: Path, work: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no file at 'nope\.pt' \(working folder '/"):
        store_artifact("nope.pt", exp / "artifacts")
    with pytest.raises(ArtifactError, match=r"no file at ''"):
        store_artifact("", exp / "artifacts")
    with pytest.raises(ArtifactError, match="expected a path, got int"):
        store_artifact(3, exp / "artifacts")  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="cannot be read"):
        store_artifact("a\0b", exp / "artifacts")
    with pytest.raises(ArtifactError, match="cannot be read"):
        store_artifact("x" * 5000, exp / "artifacts")
    (work / "loop").symlink_to("loop")
    with pytest.raises(ArtifactError, match="cannot be read"):
        store_artifact(work / "loop", exp / "artifacts")
    (work / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(ArtifactError, match="directory without files"):
        store_artifact(work / "empty", exp / "artifacts")
    with pytest.raises(ArtifactError, match="holds the experiment's own folder"):
        store_artifact(exp.parent, exp / "artifacts")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(exp: Path, work: Path) -> None:
    write(work / "f", "x").chmod(0)
    with pytest.raises(ArtifactError, match=r"cannot be read: .*Permission denied"):
        store_artifact(work / "f", exp / "artifacts")


# --- names -----------------------------------------------------------------------------------------------------

BAD_NAMES = [
    "", " ", ".", "..", "...", ". .", "../x", "a/../b", "a/..", "a/./b", "a//b", "a/", "/etc/passwd", "//x", "a/ /b",
    "C:\\x", "C:/x", "c:x", "a\\b", "..\\x", "\\\\host\\x", "a\0b", "a\nb", "a\tb", "a\x7fb", "a\x85b", "a\u2028b",
    "%2e%2e/x", "..%2fx", "%2e%2e%2fx", "%252e%252e%252fx", "%25252e%25252e/x", "%2Fetc", "a%5Cb", "a%00b", "a%0ab",
    "%2525252525252e./x", "a?../x", "a/..?x", "a/..#x", "a/..;x", "a;..", "a/%2e%2e;x=1", "a?%2e%2e", "．．/x", "a＼b",
    "%EF%BC%8E%EF%BC%8E/x", "a\udc80b", "CON", "con.txt", "a/NUL", "aux.tar.gz", "COM1", "lpt9.x", "nul ", ".tmp-x",
    "a/.tmp-1", "x" * 201, "ü" * 101, "/".join(["x" * 199] * 6), 3, b"x",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda v: ascii(v)[:30])
def test_unsafe_names_are_refused(exp: Path, work: Path, name: str) -> None:
    before = tree(exp.parent)
    with pytest.raises(ArtifactError, match=r"artifact name .* is not allowed: .*; allowed is a relative path"):
        store_artifact(write(work / "f", b"1"), exp / "artifacts", name=name)
    with pytest.raises(ArtifactError):
        store_artifact(work, exp / "artifacts", name=name)
    assert tree(exp.parent) == {**before, "work/f": b"1"}


def test_an_unsafe_file_name_in_a_directory_is_refused_with_its_path(exp: Path, work: Path) -> None:
    write(work / "data" / "a%2f..%2fb", "x")
    with pytest.raises(ArtifactError, match=r"of '.*/data/a%2f"):
        store_artifact(work / "data", exp / "artifacts")
    os.close(os.open(os.fsencode(work / "bad-") + b"\xff", os.O_CREAT | os.O_WRONLY))
    with pytest.raises(ArtifactError, match="not UTF-8") as caught:
        store_artifact(os.fsdecode(os.fsencode(work / "bad-") + b"\xff"), exp / "artifacts")
    str(caught.value).encode()


@given(st.text(st.characters(codec="utf-8"), max_size=40) | st.text("./\\%2eEfF?#;:ab", max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_allowed_name_always_stays_inside(name: str) -> None:
    try:
        check_artifact_name(name, "f")
    except ArtifactError:
        return
    from urllib.parse import unquote

    for _ in range(4):
        path = os.path.normpath(os.path.join("/root/artifacts", name.replace("\\", "/").split("?")[0]))
        assert path.startswith("/root/artifacts")
        name = unquote(name)


def test_symlinks_among_the_artifacts_lead_nobody_out(exp: Path, work: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (exp / "artifacts" / "link").symlink_to(tmp_path / "outside", target_is_directory=True)
    with pytest.raises(ArtifactError, match=r"leads out of .* by a symlink"):
        store_artifact(write(work / "f", "x"), exp / "artifacts", name="link/sub/f")
    assert tree(tmp_path / "outside") == {}
    assert not (tmp_path / "outside" / "sub").exists()
    victim = write(tmp_path / "victim", "precious")
    (exp / "artifacts" / "f").symlink_to(victim)
    [artifact] = store_artifact(work / "f", exp / "artifacts")
    assert artifact.path == "artifacts/f.v2"
    assert victim.read_bytes() == b"precious"


def test_an_artifacts_folder_elsewhere_is_refused(exp: Path, work: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (exp / "artifacts").rmdir()
    (exp / "artifacts").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(StoreError, match="must lie in the experiment's own folder"):
        store_artifact(write(work / "f", "x"), exp / "artifacts")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "artifacts/../../x", "a\0b", "", "artifacts/out/x"])
def test_recorded_paths_that_lead_out_are_refused(exp: Path, path: str) -> None:
    (exp / "artifacts" / "out").symlink_to("/etc")
    with pytest.raises(UnsafePathError, match="path"):
        artifact_path(exp, Artifact("x", path, "file", 1, 0, ""))


def test_a_file_where_a_folder_is_needed_is_refused(exp: Path, work: Path) -> None:
    store_artifact(write(work / "f", "x"), exp / "artifacts", name="a")
    with pytest.raises(ArtifactError, match="needs a folder where a file of another artifact lies"):
        store_artifact(work / "f", exp / "artifacts", name="a/b")


# --- versions ----------------------------------------------------------------------------------------------------


def log(exp: Path, source: Path, known: list[Artifact], name: str | None = None) -> Artifact:
    [artifact] = store_artifact(source, exp / "artifacts", name=name, existing=known)
    known.append(artifact)
    return artifact


def test_equal_content_is_the_same_version_and_other_content_a_new_one(exp: Path, work: Path) -> None:
    known: list[Artifact] = []
    first = log(exp, write(work / "model.pt", "one"), known)
    assert log(exp, work / "model.pt", known) is first
    second = log(exp, write(work / "model.pt", "two"), known)
    assert (second.version, second.path) == (2, "artifacts/model.v2.pt")
    assert log(exp, work / "model.pt", known) is second
    third = log(exp, write(work / "model.pt", "one"), known)
    assert (third.version, third.path) == (3, "artifacts/model.v3.pt")
    assert tree(exp / "artifacts") == {"model.pt": b"one", "model.v2.pt": b"two", "model.v3.pt": b"one"}


@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("model.pt", "model.v2.pt"),
        ("a/b.tar.gz", "a/b.v2.tar.gz"),
        ("LICENSE", "LICENSE.v2"),
        (".env", ".env.v2"),
        ("a.b/c", "a.b/c.v2"),
        ("loss.epoch3.png", "loss.epoch3.v2.png"),
    ],
)
def test_where_versions_lie(exp: Path, work: Path, name: str, second: str) -> None:
    known: list[Artifact] = []
    log(exp, write(work / "f", "one"), known, name)
    assert log(exp, write(work / "f", "two"), known, name).path == f"artifacts/{second}"


def test_a_version_never_takes_the_name_of_another_artifact(exp: Path, work: Path) -> None:
    known: list[Artifact] = []
    log(exp, write(work / "f", "other"), known, "model.v2.pt")
    log(exp, write(work / "f", "one"), known, "model.pt")
    second = log(exp, write(work / "f", "two"), known, "model.pt")
    assert (second.version, second.path) == (3, "artifacts/model.v3.pt")
    assert (exp / "artifacts" / "model.v2.pt").read_bytes() == b"other"


def test_a_file_stored_but_never_recorded_is_used_again(exp: Path, work: Path) -> None:
    [lost] = store_artifact(write(work / "f", "x"), exp / "artifacts")
    [again] = store_artifact(work / "f", exp / "artifacts")
    assert replace(again, logged_ms=0) == replace(lost, logged_ms=0)
    assert tree(exp) == {"artifacts/f": b"x"}


def test_a_version_that_was_deleted_or_changed_is_stored_again(exp: Path, work: Path) -> None:
    known: list[Artifact] = []
    first = log(exp, write(work / "f", "one"), known)
    artifact_path(exp, first).write_bytes(b"two")
    second = log(exp, work / "f", known)
    assert (second.version, artifact_path(exp, second).read_bytes()) == (2, b"one")
    artifact_path(exp, second).unlink()
    assert artifact_path(exp, log(exp, work / "f", known)).read_bytes() == b"one"


def store_in_process(
    exp: Path, source: Path, barrier: threading.Barrier, results: multiprocessing.Queue[Artifact]
) -> None:
    barrier.wait()
    [artifact] = store_artifact(source, exp / "artifacts", name="same.bin")
    results.put(artifact)


@pytest.mark.parametrize("equal", [False, True])
def test_processes_that_store_one_name_at_once_overwrite_nothing(exp: Path, work: Path, equal: bool) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(6), context.Queue()
    contents = [b"x" * 300_000 if equal else bytes([i]) * 300_000 for i in range(6)]
    sources = [write(work / f"f{i}", content) for i, content in enumerate(contents)]
    workers = [context.Process(target=store_in_process, args=(exp, s, barrier, results)) for s in sources]
    for worker in workers:
        worker.start()
    artifacts = [results.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(a.version for a in artifacts) == ([1] * 6 if equal else [1, 2, 3, 4, 5, 6])
    assert all(digest(artifact_path(exp, a).read_bytes()) == a.digest for a in artifacts)
    assert sorted(tree(exp).values()) == sorted(set(contents))


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(st.sampled_from(["a.txt", "b/c", "a.v2.txt"]), st.sampled_from("xyz")), max_size=12))
def test_every_version_keeps_its_content(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    exp = tmp_path_factory.mktemp("exp")
    source, known, contents = exp / "source", [], []
    for name, content in steps:
        source.write_text(content)
        before = len(known)
        artifact = log(exp, source, known, name)
        contents.append(content)
        same = [a for a in known[:before] if a.name == name]
        if same and same[-1].digest == artifact.digest:
            assert artifact is same[-1]
        else:
            assert all(a.version < artifact.version for a in same)
    for artifact, content in zip(known, contents, strict=True):
        assert artifact_path(exp, artifact).read_text() == content


# --- files that lie in place -------------------------------------------------------------------------------------


def test_a_file_already_in_its_place_is_recorded_not_copied(exp: Path) -> None:
    write(exp / "artifacts" / "x.png", "x")
    write(exp / "artifacts" / "plots" / "y.png", "y")
    write(exp / "artifacts" / ".tmp-1", "left by a crash")
    write(exp / "checkpoints" / "best.pt", "best")
    before = tree(exp)
    for source, name in (
        ("artifacts/x.png", "x.png"),
        ("artifacts/plots/y.png", "plots/y.png"),
        ("checkpoints/best.pt", "best.pt"),
    ):
        for given_name in (None, name):
            [artifact] = store_artifact(exp / source, exp / "artifacts", name=given_name)
            assert (artifact.name, artifact.path, artifact.version) == (name, source, 1)
            assert artifact.digest == digest(before[source])
    assert [a.path for a in store_artifact(exp / "artifacts", exp / "artifacts")] == [
        "artifacts/plots/y.png",
        "artifacts/x.png",
    ]
    assert [a.name for a in store_artifact(exp / "artifacts" / "plots", exp / "artifacts")] == ["plots/y.png"]
    assert tree(exp) == before


def test_a_file_in_place_that_is_written_again_is_a_new_version_there(exp: Path) -> None:
    known: list[Artifact] = []
    source = write(exp / "checkpoints" / "best.pt", "one")
    first = log(exp, source, known)
    assert log(exp, source, known) is first
    second = log(exp, write(source, "two"), known)
    assert (second.version, second.path, second.digest) == (2, "checkpoints/best.pt", digest(b"two"))


def test_a_file_of_ours_under_another_name_is_copied(exp: Path) -> None:
    source = write(exp / "checkpoints" / "best.pt", "one")
    [artifact] = store_artifact(source, exp / "artifacts", name="final.pt")
    assert artifact.path == "artifacts/final.pt"
    source.write_bytes(b"two")
    assert artifact_path(exp, artifact).read_bytes() == b"one"


# --- faults ------------------------------------------------------------------------------------------------------


def test_the_umask_is_respected(exp: Path, work: Path) -> None:
    before = os.umask(0o027)
    try:
        [artifact] = store_artifact(write(work / "f", "x"), exp / "artifacts", name="sub/f")
    finally:
        os.umask(before)
    assert artifact_path(exp, artifact).stat().st_mode & 0o777 == 0o440  # what is shared is not written to
    assert (exp / "artifacts" / "sub").stat().st_mode & 0o777 == 0o750


@pytest.fixture
def changing(work: Path) -> Iterator[Callable[[Callable[[Path], object]], Path]]:
    """Start a thread that does something to a file of 8 MB over and over until the test ends."""
    stop, threads = threading.Event(), []

    def start(change: Callable[[Path], object]) -> Path:
        path = write(work / "busy.bin", b"x" * 8_000_000)

        def run() -> None:
            while not stop.is_set():
                change(path)

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return path

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"y" * 1000)
    time.sleep(0.0005)


def rewrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"z")
    time.sleep(0.0005)


def replace_whole(path: Path) -> None:
    other = write(path.with_suffix(".new"), b"n" * 8_000_000)
    os.replace(other, path)


@pytest.mark.parametrize("change", [grow, rewrite, replace_whole])
def test_a_file_that_changes_while_it_is_read_is_never_stored_torn(
    exp: Path, changing: Callable[..., Path], change: Callable[[Path], None]
) -> None:
    path = changing(change)
    try:
        [artifact] = store_artifact(path, exp / "artifacts")
    except ArtifactError as error:
        assert "changes while it is read" in str(error) or "cannot be read" in str(error)
        assert tree(exp) == {}
    else:  # the second try met a quiet moment
        content = artifact_path(exp, artifact).read_bytes()
        assert digest(content) == artifact.digest
        assert len(set(content[:8_000_000])) <= 2


def test_a_file_that_changes_once_is_read_again(exp: Path, work: Path) -> None:
    path = write(work / "f.bin", b"x" * 30_000_000)
    other = write(work / "other.bin", b"y" * 1000)
    timer = threading.Timer(0.01, os.replace, (other, path))
    timer.start()
    [artifact] = store_artifact(path, exp / "artifacts")
    timer.join()
    content = artifact_path(exp, artifact).read_bytes()
    assert content in (b"x" * 30_000_000, b"y" * 1000)
    assert digest(content) == artifact.digest
    assert artifact.size_bytes == len(content)


def test_a_full_disk_leaves_nothing_behind(work: Path, small_disk: Callable[[int], Path]) -> None:
    exp = small_disk(256)
    with pytest.raises(StoreError, match=r"cannot be written to .*No space left"):
        store_artifact(write(work / "big", b"x" * 1_000_000), exp / "artifacts")
    assert tree(exp) == {}
    assert store_artifact(write(work / "small", b"x"), exp / "artifacts")[0].version == 1


def test_killed_while_copying_leaves_only_a_temporary_file(exp: Path, work: Path) -> None:
    write(work / "big", b"x" * 100_000_000)
    code = (
        "import sys, pathlib\nfrom frameworm.experiment.storage.artifacts import store_artifact\n"
        "store_artifact(sys.argv[1], pathlib.Path(sys.argv[2]))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code, work / "big", exp / "artifacts"], env=env)
    while process.poll() is None and not any((exp / "artifacts").iterdir()):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert all(p.name.startswith(".tmp-") for p in (exp / "artifacts").iterdir())
    [artifact] = store_artifact(work / "big", exp / "artifacts")
    assert (artifact.version, artifact_path(exp, artifact).stat().st_size) == (1, 100_000_000)


def test_a_large_file_takes_little_memory(exp: Path, work: Path) -> None:
    with open(work / "large", "wb") as file:
        file.truncate(300_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [artifact] = store_artifact(work / "large", exp / "artifacts")
    assert artifact.size_bytes == 300_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_a_file_system_without_hard_links(exp: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")  # what FAT and some network mounts say

    monkeypatch.setattr(os, "link", no_links)
    known: list[Artifact] = []
    log(exp, write(work / "f", "one"), known)
    assert log(exp, work / "f", []).path == "artifacts/f"
    assert log(exp, write(work / "f", "two"), []).path == "artifacts/f.v2"
    assert tree(exp) == {"artifacts/f": b"one", "artifacts/f.v2": b"two"}
