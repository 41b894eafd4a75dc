"""Command lines, translated to where the code is laid out."""

from __future__ import annotations

from pathlib import Path

import pytest

from frameworm.experiment.errors import InputError, ReproductionError, UnsafePathError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.reproduction.command import command_here, find_cwd, parse_settings, recorded_command
from frameworm.experiment.reproduction.inputs import data_name
from frameworm.experiment.reproduction.layout import Layout
from frameworm.experiment.reproduction.repository import Repository


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    tree = tmp_path / "proj"
    (tree / "deep").mkdir(parents=True)
    (tree / "train.py").touch()
    old = Path("/old/proj")
    return Layout(tmp_path, old, old, tree, tree, [(str(old), str(tree))])


def test_settings_are_json_where_they_are_json() -> None:
    words = [
        "training.lr=1e-3",
        "n=4",
        "name=vae",
        "on=true",
        "sizes=[1, 2]",
        'quoted="4"',
        "eq=a=b",
        "none=null",
        "empty=",
    ]
    assert parse_settings(words) == {
        "training.lr": 0.001,
        "n": 4,
        "name": "vae",
        "on": True,
        "sizes": [1, 2],
        "quoted": "4",
        "eq": "a=b",
        "none": None,
        "empty": "",
    }
    for wrong in ("lr", "=3"):
        with pytest.raises(InputError, match="expected KEY=VALUE"):
            parse_settings([wrong])


def test_paths_of_the_recorded_project_are_translated(layout: Layout) -> None:
    tree = str(layout.tree)
    command = [
        "/venv/bin/python",
        "-X",
        "dev",
        "/old/proj/train.py",
        "--data=/old/proj/data",
        "/old/project/data",
        "/very/old/proj/data",
        "a=/old/proj",
        "/old/proj:/old/proj/src",
    ]
    assert command_here(command, "python9", {}, layout) == [
        "python9",
        "-X",
        "dev",
        f"{tree}/train.py",
        f"--data={tree}/data",
        "/old/project/data",
        "/very/old/proj/data",
        f"a={tree}",
        f"{tree}:{tree}/src",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["training.lr=0.1", "model=vae"], ["training.lr=0.5", "model=vae"]),
        (["+training.lr=0.1", "++training.lr=0.2"], ["+training.lr=0.5", "++training.lr=0.5"]),
        (["--training.lr", "0.1", "-v"], ["--training.lr", "0.5", "-v"]),
        (["--training.lr=0.1"], ["--training.lr=0.5"]),
        (["--lr", "0.1"], ["--lr", "0.1"]),
        (["--batch-size", "8"], ["--batch-size", "16"]),
        (["batch_size=8"], ["batch_size=16"]),
        (["x.training.lr=0.1", "training.lrs=1"], ["x.training.lr=0.1", "training.lrs=1"]),
    ],
)
def test_settings_replace_what_the_command_line_says(layout: Layout, words: list[str], expected: list[str]) -> None:
    settings = {"training.lr": 0.5, "batch_size": 16}
    command = ["python", "train.py", *words]
    assert command_here(command, "python", settings, layout) == ["python", "train.py", *expected]


def test_the_working_folder_is_where_the_script_was_named_from(layout: Layout) -> None:
    layout.cwd = layout.tree / "deep"
    assert find_cwd(["python", "-u", "train.py"], "train.py", layout) == layout.tree  # it went to deep by itself
    assert find_cwd(["python", "../train.py"], "train.py", layout) == layout.cwd
    assert find_cwd(["python", "-m", "train"], "train.py", layout) == layout.cwd
    assert find_cwd(["python", "-c", "pass"], None, layout) == layout.cwd


def test_a_console_script_is_the_one_beside_the_interpreter(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mytrain").touch()
    command = ["/gone/venv/bin/python", "/gone/venv/bin/mytrain", "--fast"]
    python = str(tmp_path / "bin" / "python")
    assert command_here(command, python, {}, layout)[1:] == [str(tmp_path / "bin" / "mytrain"), "--fast"]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no record of its command line"),
        ({"command": ["python"]}, "at a prompt"),
        ({"command": ["python", "-u", "-"]}, "its program was piped into Python: .* save the program to a file"),
        ({"command": ["python", "-X", "dev"]}, "was piped into Python"),
        ({"command": ["python", "-"], "stdin": "/tmp/sh-thd.7 (deleted)"}, "was piped into Python"),
        ({"command": ["python", "a.py"], "variables": {"OMPI_COMM_WORLD_SIZE": "2"}}, "one of 2 processes"),
        ({"command": ["python", "-m", "ipykernel_launcher", "-f", "k.json"]}, "in a notebook"),
        ({"command": ["python", "a.py", "--key", "***"]}, "word 4 of the command line held a secret"),
        ({"command": ["python", "a.py"], "variables": {"WORLD_SIZE": "8"}}, "one of 8 processes"),
    ],
)
def test_what_cannot_be_run_again_is_refused(environment: dict[str, object], message: str) -> None:
    info = ExperimentInfo("exp_001", "0" * 32, "e", Path("/x"), environment=environment)
    with pytest.raises(ReproductionError, match=message):
        recorded_command(info)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "out/x", ".git/config", "a/.GIT/x", ".g\u200cit"])
def test_a_record_that_names_files_outside_of_the_code_is_refused(tmp_path: Path, path: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "out").symlink_to("/etc")
    with pytest.raises(UnsafePathError):
        Layout(tmp_path, tree, tree, tree, tree).inside(tree, path)


@pytest.mark.parametrize("commit", ["--upload-pack=touch x", "../../x", "HEAD", "", "0" * 39, "0" * 40 + "\n"])
def test_a_record_cannot_give_git_options(tmp_path: Path, commit: str) -> None:
    with pytest.raises(ReproductionError, match="is no commit"):
        Repository(tmp_path / "tree", commit)
    assert not (tmp_path / "tree").exists()


def test_a_record_cannot_lead_out_of_the_data_that_came_with_it() -> None:
    assert data_name("blake3:../../../etc/passwd") == "data/ecad"
    assert data_name("blake3:") == "data/unknown"
