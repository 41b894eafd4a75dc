"""The documentation is true: its code runs, its links lead somewhere, and nothing public is missing from it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from frameworm.experiment import Experiment

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted(DOCS.rglob("*.md")),
]
SPECIFICATION = DOCS / "specification.md"  # test_spec.py runs it
PUBLIC = [
    "frameworm.experiment",
    "frameworm.experiment.visualization",
    "frameworm.experiment.errors",
    "frameworm.training",
]


# ---------------------------------------------------------------------------------------------- the pages


class Block(NamedTuple):
    """One fenced block of a page.

    ``mark`` is the comment in the line before: ``not run: <reason>``, or ``printed`` for what the Python block before
    prints.
    """

    line: int
    language: str
    code: str
    mark: str


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    fence = r"(?:^<!-- (?P<mark>.*?) -->\n)?^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$"
    return [
        Block(text.count("\n", 0, m.start()) + 1, m["language"], m["code"], m["mark"] or "")
        for m in re.finditer(fence, text, re.M | re.S)
    ]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


RUNNABLE = [p for p in PAGES if p != SPECIFICATION and any(b.language in ("python", "bash") for b in blocks_of(p))]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root with three ended experiments, those of the demo by name, with made-up curves."""
    root = tmp_path_factory.mktemp("store") / "experiments"
    for name, tag, lr, beta in [
        ("vae-baseline", "baseline", 0.001, 1.0),
        ("vae-high-lr", "high-lr", 0.01, 1.0),
        ("beta-vae", "beta", 0.001, 4.0),
    ]:
        config = {"training": {"lr": lr, "epochs": 5}, "model": {"latent": 8, "beta": beta}}
        with Experiment(
            name,
            config,
            tags=["vae", "mnist", tag],
            root_dir=root,
            project="digits",
            capture_console=False,
            system_metrics_s=0,
        ) as exp:
            for step in range(50):
                kl_div = 0.5 * step / (step + 20) / beta
                exp.log_metrics({"loss": 1 / (1 + lr * 200 * step) + beta * kl_div, "kl_div": kl_div}, step, step // 10)
                if step % 10 == 9:
                    exp.log_metric("val_loss", 1 / (1 + lr * 180 * step) + kl_div, step, step // 10, "val")
    return root


@pytest.fixture
def folder(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in a folder that has a copy of the store; programs started there find the package."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")]))
    subprocess.run(["cp", "-r", str(store), str(tmp_path / "experiments")], check=True)
    with contextlib.chdir(tmp_path):
        yield tmp_path


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], str]:
    """Run a command as in a terminal 100 wide, with ``python`` and ``frameworm`` those under test."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    for name, command in (("python", ""), ("frameworm", "-m frameworm.experiment.cli")):
        (bin_dir / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        (bin_dir / name).chmod(0o755)
    paths = [str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FRAMEWORM_")},
        "PATH": os.pathsep.join([str(bin_dir), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(paths),
        "COLUMNS": "100",
    }

    def run(command: str) -> str:
        done = subprocess.run(
            ["bash", "-euc", command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_the_code_of_a_page_runs(page: Path, folder: Path, shell: Callable[[str], str]) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = ""
    for block in blocks_of(page):
        if block.mark.startswith("not run"):
            assert re.fullmatch(r"not run: \S.*", block.mark), f"{name_of(page)}:{block.line}: give a reason"
        elif block.language == "python":
            code = compile("\n" * block.line + block.code, name_of(page), "exec", dont_inherit=True)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(code, names)
            printed = out.getvalue()
        elif block.language == "bash":
            printed = shell(block.code)
        elif block.mark == "printed":
            assert tidy(printed) == tidy(block.code), f"{name_of(page)}:{block.line}"


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


# ---------------------------------------------------------------------------------------------- links


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and Python-Markdown make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", h.replace("`", "")).strip().lower()) for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), f"{name_of(page)}: {target}"
        if anchor:
            assert anchor in anchors_of(aim), f"{name_of(page)}: {target}: it has {sorted(anchors_of(aim))}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    listed = re.findall(r"(\S+\.md)$", navigation, re.M)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="needs the extra docs, which `make setup` installs")
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    (tmp_path / "src").symlink_to(REPOSITORY / "src")
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    built = (tmp_path / "site" / "reference" / "experiment.html").read_text(encoding="utf-8")
    assert "Record one point of a metric" in built


# ---------------------------------------------------------------------------------------------- reference


def public_names() -> list[tuple[str, str]]:
    return [(module, name) for module in PUBLIC for name in importlib.import_module(module).__all__]


def public_objects() -> list[tuple[str, Any]]:
    """Return every public function and class, and the public methods and properties of the classes."""
    found: dict[str, Any] = {}
    for module, name in public_names():
        value = getattr(importlib.import_module(module), name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        found[f"{module}.{name}"] = value
        if inspect.isclass(value) and not issubclass(value, Warning):
            for attribute, member in vars(value).items():
                if not attribute.startswith("_") and isinstance(
                    member, property | classmethod | staticmethod | type(lambda: 0)
                ):
                    found[f"{module}.{name}.{attribute}"] = member
    return sorted(found.items())


@pytest.mark.parametrize(("name", "value"), [pytest.param(n, v, id=n) for n, v in public_objects()])
def test_every_public_name_has_a_docstring(name: str, value: Any) -> None:
    text = inspect.getdoc(value)
    assert text and len(text) >= 10, name
    assert text[0].isupper() or text[0] in "`*", name
    assert text.splitlines()[0].rstrip().endswith((".", ":", "?")) or "\n" in text, name


def test_every_public_name_has_a_place_in_the_reference() -> None:
    reference = "\n".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md")))
    whole_modules = re.findall(r"^::: (frameworm[\w.]*)$", reference, re.M)
    missing = []
    for module, name in public_names():
        value = getattr(importlib.import_module(module), name)
        homes = {f"{module}.{name}", f"{getattr(value, '__module__', '')}.{name}"}
        if not homes & set(whole_modules) and not {module, getattr(value, "__module__", "")} & set(whole_modules):
            missing.append(f"{module}.{name}")
    assert not missing


def test_what_the_reference_names_is_there() -> None:
    for page in sorted((DOCS / "reference").glob("*.md")):
        for target in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.M):
            try:
                importlib.import_module(target)
            except ModuleNotFoundError:
                module, _, name = target.rpartition(".")
                assert hasattr(importlib.import_module(module), name), f"{name_of(page)}: {target}"


# ---------------------------------------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def cli_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cli_reference", DOCS / "cli_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_the_command_line_is_its_help(cli_reference: ModuleType) -> None:
    written = cli_reference.PAGE.read_text(encoding="utf-8")
    assert written == cli_reference.page(), "run `make docs` and commit docs/reference/cli.md"


def test_the_page_of_the_http_api_is_what_is_served() -> None:
    spec = importlib.util.spec_from_file_location("http_reference", DOCS / "http_reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run `make docs` and commit docs/reference/http.md"


def test_every_command_is_in_the_guide(cli_reference: ModuleType) -> None:
    guide = (DOCS / "guide" / "cli.md").read_text(encoding="utf-8")
    for command in re.findall(r"^## (\w+)$", cli_reference.PAGE.read_text(encoding="utf-8"), re.M):
        assert f"frameworm {command}" in guide, command


# ---------------------------------------------------------------------------------------------- formats


def test_the_bytes_shown_of_a_journal_are_those_of_the_golden_file() -> None:
    page = (DOCS / "formats" / "journal.md").read_text(encoding="utf-8")
    golden = next((REPOSITORY / "tests" / "golden" / "journal-v1").glob("journal-*")).read_bytes()
    shown = re.findall(r"^    ([0-9a-f]{4})  ((?:[0-9a-f]{2} +)+)", page, re.M)
    assert len(shown) >= 8
    for offset, text in shown:
        expected = bytes.fromhex(text)
        assert golden[int(offset, 16) :][: len(expected)] == expected, offset
