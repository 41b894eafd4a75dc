"""Paths of records: what leads out is refused, and nothing special is opened."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from frameworm.experiment.errors import ExperimentError, UnsafePathError
from frameworm.experiment.paths import open_inside, open_regular, parts_of, place_inside


@pytest.fixture
def top(tmp_path: Path) -> Path:
    folder = tmp_path / "top"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("inside")
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("outside")
    return folder


@pytest.mark.parametrize("path", ["a", "a/b.csv", "./a//b", "a/…", "..a", "a..", "wörter/数据", " ", "-x", "a\\b"])
def test_what_stays_inside_is_allowed(top: Path, path: str) -> None:
    assert place_inside(top, path).is_relative_to(top)


@pytest.mark.parametrize(
    "path",
    [
        *("..", "../victim/file", "sub/../../victim/file", "/etc/passwd", "", ".", "./", "a\0b", None, 7, b"a"),
        *("．．/victim", "‥/victim", "\u200b../victim/file", ".\u200d./victim/file", " .. /victim", "a／..／.."),
    ],
)
def test_what_leads_out_or_may_be_read_so_is_refused(top: Path, path: object) -> None:
    with pytest.raises(UnsafePathError):
        parts_of(path)
    with pytest.raises(UnsafePathError):
        place_inside(top, path)  # type: ignore[arg-type]
    with pytest.raises(UnsafePathError):
        open_inside(top, path)  # type: ignore[arg-type]


def test_a_link_that_leads_out_is_refused_at_each_place_of_the_path(top: Path) -> None:
    (top / "out").symlink_to("../victim")
    (top / "far").symlink_to("sub/deep")
    (top / "sub" / "deep").symlink_to(top.parent / "victim")
    (top / "sub" / "last").symlink_to("../../victim/file")
    for path in ("out/file", "out/new", "far/file", "sub/last"):
        with pytest.raises(UnsafePathError, match="leads out"):
            place_inside(top, path)
    assert place_inside(top, "sub/last", follow=False) == top / "sub" / "last"
    with pytest.raises(UnsafePathError, match="leads out"):
        place_inside(top, "out/file", follow=False)


def test_a_link_inside_is_allowed_as_a_place_but_not_opened(top: Path) -> None:
    (top / "again").symlink_to("sub")
    assert place_inside(top, "again/file").read_text() == "inside"
    with pytest.raises(UnsafePathError, match=r"'again' in .* is a link"):
        open_inside(top, "again/file")


def test_links_in_a_circle_are_refused(top: Path) -> None:
    (top / "a").symlink_to("b")
    (top / "b").symlink_to("a")
    with pytest.raises(UnsafePathError):
        open_inside(top, "a")
    with pytest.raises(UnsafePathError):
        open_inside(top, "a/file")


def test_the_folder_itself_may_be_reached_by_a_link(top: Path) -> None:
    other = top.parent / "other"
    other.symlink_to(top)
    assert place_inside(other, "sub/file").read_text() == "inside"
    descriptor = open_inside(other, "sub/file")
    assert os.read(descriptor, 99) == b"inside"
    os.close(descriptor)


@pytest.fixture(params=["FIFO", "socket", "device", "link", "folder"])
def special(request: pytest.FixtureRequest, top: Path, tmp_path: Path) -> Iterator[Path]:
    path = top / "special"
    if request.param == "FIFO":
        os.mkfifo(path)
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            yield path
        return
    elif request.param == "device":
        path = Path("/dev/zero")
    elif request.param == "link":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    yield path


def test_special_files_are_not_opened(special: Path) -> None:
    with pytest.raises(UnsafePathError, match="expected a regular file") as raised:
        open_regular(special)
    assert isinstance(raised.value, OSError) and isinstance(raised.value, ExperimentError)


def test_a_missing_file_is_an_error_of_the_system(top: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_regular(top / "none")
    with pytest.raises(FileNotFoundError):
        open_inside(top, "none/file")


def test_a_link_swapped_in_between_look_and_opening_leaks_nothing(top: Path) -> None:
    """A thread turns the folder on the way into a link and back, as quickly as it can, while it is read."""
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            os.rename(top / "sub", top / "kept")
            os.symlink("../victim", top / "sub")
            os.unlink(top / "sub")
            os.rename(top / "kept", top / "sub")

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        seen = set()
        for _ in range(10_000):
            try:
                descriptor = open_inside(top, "sub/file")
            except OSError:  # a link just now, or nothing
                continue
            seen.add(os.read(descriptor, 99))
            os.close(descriptor)
    finally:
        ended.set()
        swapping.join()
    assert seen == {b"inside"}
