"""Building the package: where the page that it ships comes from."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).parents[1]

pytest.importorskip("hatchling", reason="needs hatchling, which `make setup` installs")


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", REPOSITORY / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a page to build, and no program to be found."""
    (tmp_path / "web" / "src").mkdir(parents=True)
    (tmp_path / "web" / "src" / "main.ts").write_text("1")
    (tmp_path / "web" / "package.json").write_text("{}")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path


def program(source: Path, name: str, does: str) -> None:
    path = source / "bin" / name
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)


def tools(source: Path, version: str = "v22.1.0") -> None:
    program(source, "node", f"echo {version}")
    program(
        source, "npm", 'echo "$@" >> done; if [ "$1" = run ]; then /bin/mkdir -p dist; echo new > dist/index.html; fi'
    )


def build(source: Path, age_s: float) -> Path:
    """Build the page by hand; ``age_s`` later than its sources."""
    page = source / "web" / "dist" / "index.html"
    page.parent.mkdir()
    page.write_text("old\n")
    changed = max(path.stat().st_mtime for path in (source / "web").rglob("*"))
    os.utime(page, (changed + age_s, changed + age_s))
    return page


def test_the_page_is_built_if_it_is_missing_or_old(hook: ModuleType, source: Path) -> None:
    tools(source)
    assert hook.built_page(source) == source / "web" / "dist"
    assert (source / "web" / "done").read_text().splitlines()[1:] == ["run build"]
    (source / "web" / "done").unlink()
    os.utime(source / "web" / "dist" / "index.html", (1, 1))
    hook.built_page(source)
    assert (source / "web" / "done").exists()


def test_a_page_that_is_up_to_date_is_taken_as_it_is(hook: ModuleType, source: Path) -> None:
    tools(source)
    build(source, 10)
    hook.built_page(source)
    assert not (source / "web" / "done").exists()


def test_the_page_of_an_sdist_needs_no_tools(hook: ModuleType, source: Path) -> None:
    build(source, -1000)
    (source / "PKG-INFO").write_text("")
    assert hook.built_page(source) == source / "web" / "dist"


def test_an_old_page_is_better_than_none(hook: ModuleType, source: Path) -> None:
    build(source, -1000)
    told: list[str] = []
    hook.built_page(source, told.append)
    assert "as it was built before" in told[0]


@pytest.mark.parametrize(("version", "words"), [("", "is not installed"), ("v18.20.4", "v18.20.4 is older than 20.19")])
def test_what_is_missing_is_named(hook: ModuleType, source: Path, version: str, words: str) -> None:
    if version:
        tools(source, version)
    with pytest.raises(hook.BuildError, match=words):
        hook.built_page(source)


def test_a_build_that_fails_says_what_was_said(hook: ModuleType, source: Path) -> None:
    tools(source)
    program(source, "npm", "echo it broke >&2; exit 3")
    with pytest.raises(hook.BuildError, match=r"failed with 3:\nit broke"):
        hook.built_page(source)
