"""The commands as users run them: in a pipe, in a terminal, as a process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from frameworm import __version__
from frameworm.experiment import Experiment, ExperimentManager
from frameworm.experiment.cli import main
from frameworm.experiment.cli.program import Program
from frameworm.experiment.errors import FramewormWarning

Run = Callable[..., Result]
Process = Callable[..., subprocess.CompletedProcess[str]]
Terminal = Callable[..., Any]
IDS = ["exp_004", "exp_003", "exp_002", "exp_001"]


def document(result: Result) -> Any:
    """Return the one strict JSON document that a command printed."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout, parse_constant=pytest.fail)


def ids_in(text: str) -> list[str]:
    return re.findall(r"^exp_\d+", text, re.M)


# ---------------------------------------------------------------------------------------------- list and search


def test_list_is_newest_first_and_says_everything_in_a_pipe(run: Run, root: Path) -> None:
    result = run("list")
    assert ids_in(result.stdout) == IDS
    assert re.search(r"vae baseline +✓ completed  just now +\d+ ms  vae, mnist +default ", result.stdout)
    assert "✗ failed" in result.stdout
    assert "about vae baseline" in result.stdout
    assert "…" not in result.stdout and "\x1b" not in result.stdout
    assert all(line == line.rstrip() for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--status", "failed"], ["exp_003"]),
        (["--tag", "vae", "--tag", "mnist"], ["exp_001"]),
        (["--tags", "vae, mnist"], ["exp_001"]),
        (["--project", "other"], ["exp_003"]),
        (["--limit", "2"], ["exp_004", "exp_003"]),
    ],
)
def test_list_filters(run: Run, options: list[str], ids: list[str]) -> None:
    assert ids_in(run("list", *options).stdout) == ids
    assert [row["experiment_id"] for row in document(run("list", "--json", *options))] == ids


def test_list_as_json_is_what_the_manager_lists(run: Run, root: Path) -> None:
    rows = document(run("list", "--json"))
    frame = ExperimentManager(root).list_experiments()
    assert [list(row) for row in rows] == [list(frame.columns)] * 4
    assert [row["name"] for row in rows] == list(frame["name"])
    assert [row["tags"] for row in rows] == list(frame["tags"])
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", row["created_at"]) for row in rows)


def test_nothing_found_is_no_error(run: Run, tmp_path: Path) -> None:
    result = run("list", "--tag", "nobody has this")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no experiments in" in result.stderr
    assert document(run("list", "--tag", "nobody has this", "--json")) == []
    assert document(run("summary", "--json", root_dir=tmp_path))["experiments"] == 0


def test_search(run: Run) -> None:
    query = "config.training.lr < 5e-3 and metrics.val_loss.min <= 0.5 and 'mnist' in tags"
    assert ids_in(run("search", query).stdout) == ["exp_001"]
    assert [row["experiment_id"] for row in document(run("search", query, "--json"))] == ["exp_001"]
    assert ids_in(run("search", "config.seed == 1", "--limit", "1").stdout) == ["exp_002"]


def test_a_query_that_is_not_understood_is_pointed_at(run: Run) -> None:
    result = run("search", "config.seed == 1 adn status == 'failed'")
    assert result.exit_code == 1 and not result.stdout
    message, query, caret = result.stderr.splitlines()
    assert message.startswith("error: ")
    assert query[caret.index("^") :].startswith("adn")
    assert run("search").exit_code == 2


# ---------------------------------------------------------------------------------------------- show


def test_show_tells_all(run: Run, root: Path) -> None:
    text = run("show", "exp_001").stdout
    for wanted in (
        "exp_001  vae baseline  ✓ completed",
        "about vae baseline",
        f"path      {root / 'exp_001_vae_baseline'}",
        "tags      vae, mnist",
        "    lr      0.001",
        "  api_key  ***",
        "  metric    context    last     min     max    mean  points  last step",
        "  first line\n                       second line",
    ):
        assert wanted in text
    assert re.search(r"^  loss      train    0\.1695  0\.1695  1\.0000  0\.3\d{3}      50         49$", text, re.M)
    assert "sk-0123" not in text
    assert "ValueError: boom" in run("show", "exp_003").stdout


def test_show_names_the_series_of_the_system_only_when_asked(run: Run, tmp_path: Path) -> None:
    with Experiment("x", root_dir=tmp_path, capture_console=False, system_metrics_s=0.0) as exp:
        for name in range(50):
            exp.log_metric(f"m{name}", 1.0)
        exp.log_metric("cpu", 1.0, metric_type="system")
    few, every = (
        run("show", "exp_001", root_dir=tmp_path).stdout,
        run("show", "exp_001", "--all", root_dir=tmp_path).stdout,
    )
    assert "and 10 more and 1 of the system; --all shows them" in few
    assert "m49" not in few and "cpu" not in few
    assert "m49" in every and "cpu" in every


def test_show_as_json(run: Run) -> None:
    found = document(run("show", "exp_002", "--json"))
    assert found["config"]["training"] == {"lr": 0.01, "epochs": 2}
    assert found["config"]["api_key"] == "***"
    assert found["metrics_summary"]["odd"]["last"] == "NaN"
    assert found["metrics_summary"]["big"]["min"] == "-Infinity"
    assert found["notes"][0]["text"] == "first line\nsecond line"


def test_an_unknown_id_suggests_the_nearest(run: Run) -> None:
    for arguments in (["show", "exp_0001"], ["compare", "exp_001", "exp_0001"], ["plot", "exp_0001", "loss"]):
        result = run(*arguments)
        assert result.exit_code == 1 and not result.stdout
        assert re.match(r"error: no experiment exp_0001 in .*did you mean .*exp_001", result.stderr)


# ---------------------------------------------------------------------------------------------- compare


def test_compare_shows_metrics_and_what_differs(run: Run) -> None:
    lines = run("compare", "exp_001", "exp_002", "-m", "loss", "-m", "val_loss.min").stdout.splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["id", "name", "status", "loss", "val_loss.min", "training.lr"]
    assert lines[1].split()[-3:] == ["↑0.16949", "↓0.01", "0.001"]
    assert lines[2].split()[-3:] == ["↓0.02000", "↑0.10", "0.01"]
    assert lines[3] == "↓ lowest  ↑ highest"


def test_compare_as_json_tells_missing_from_nan(run: Run) -> None:
    first, second = document(run("compare", "exp_001", "exp_002", "--json"))
    assert (first["experiment_id"], second["status"]) == ("exp_001", "completed")
    assert first["metrics"]["odd"] is None and second["metrics"]["odd"] == "NaN"
    assert second["metrics"]["big"] == "-Infinity"
    assert (first["params"], second["params"]) == ({"training.lr": 0.001}, {"training.lr": 0.01})


def test_compare_turns_the_table_where_it_would_be_too_wide(terminal: Terminal, root: Path) -> None:
    seen = terminal("compare", "exp_001", "exp_002", "exp_003", "--root-dir", str(root), columns=60, NO_COLOR="1")
    lines = seen.text.splitlines()
    assert lines[0].split() == ["exp_001", "exp_002", "exp_003"]
    assert max(map(cell_len, lines)) <= 60
    assert re.search(r"^training.lr +0.001 +0.01$", seen.text, re.M)


# ---------------------------------------------------------------------------------------------- plot


def test_plot_draws_in_80_columns_of_plain_characters_in_a_pipe(run: Run) -> None:
    result = run("plot", "exp_001", "exp_002", "loss")
    lines = result.stdout.splitlines()
    assert lines[0] == "loss by step"
    assert "+  exp_001  vae baseline" in result.stdout and "x  exp_002  vae fast" in result.stdout
    assert max(map(len, lines)) <= 80 and len(lines) <= 24
    assert "\x1b" not in result.stdout and "┤" in result.stdout


def test_plot_takes_several_metrics_and_says_what_is_not_there(run: Run) -> None:
    result = run("plot", "exp_001", "exp_002", "exp_003", "-m", "loss", "-m", "odd")
    assert result.exit_code == 0
    assert "loss by step" in result.stdout and "odd by step" in result.stdout
    assert "nothing to draw: no value is finite" in result.stdout
    assert "warning: exp_003 has no metric 'loss'" in result.stderr


@pytest.mark.parametrize(
    ("options", "title"),
    [
        (["--x", "epoch"], "loss by epoch, mean of each epoch"),
        (["--x", "time", "--log"], "loss by time since start (s), logarithmic"),
        (["--smoothing", "0.9"], "loss by step, smoothed by 0.9"),
    ],
)
def test_plot_options(run: Run, options: list[str], title: str) -> None:
    assert run("plot", "exp_001", "loss", *options).stdout.splitlines()[0] == title


def test_plot_as_json_is_every_point_bit_for_bit(run: Run, root: Path) -> None:
    first, second = document(run("plot", "exp_001", "exp_002", "loss", "--json"))
    assert (first["metric"], first["context"], second["experiment_id"]) == ("loss", "train", "exp_002")
    frame = ExperimentManager(root).get_metric_history("exp_001", "loss")
    assert first["values"] == list(frame["metric_value"])
    assert first["steps"] == list(range(50))
    assert first["epochs"] == [0] * 25 + [1] * 25
    assert first["timestamps"][0] == f"{frame['timestamp'][0]:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    assert document(run("plot", "exp_002", "odd", "--json"))[0]["values"] == ["NaN"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["exp_001", "exp_002", "loss", "--output", "a.png"],
        ["exp_001", "-m", "loss", "-m", "val_loss", "-o", "a.svg"],
        ["exp_001", "exp_002", "-m", "loss", "-m", "val_loss", "-o", "a.pdf"],
    ],
)
def test_plot_writes_a_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("plot", *arguments)
    assert (result.exit_code, result.stdout.strip()) == (0, arguments[-1]), result.stderr
    assert Path(arguments[-1]).stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["exp_001"], 2, "Give an ID and a METRIC"),
        (["exp_001", "los"], 1, "no metric 'los'; did you mean 'loss'?"),
        (["exp_001", "loss", "--smoothing", "2"], 1, "smoothing is 2.0; allowed"),
        (["exp_001", "loss", "--x", "days"], 2, "'days' is not one of"),
        (["exp_001", "loss", "-o", "a.xyz"], 1, "allowed are the suffixes .png, .svg and .pdf"),
    ],
)
def test_plot_refuses(run: Run, arguments: list[str], code: int, message: str) -> None:
    result = run("plot", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr


# ---------------------------------------------------------------------------------------------- delete and the rest


def test_ctrl_c_at_the_question_deletes_nothing(terminal: Terminal, own_root: Path) -> None:
    seen = terminal("delete", "exp_001", "--root-dir", str(own_root), columns=80, typed="\x03", NO_COLOR="1")
    assert re.search(r"^exp_001  vae baseline  ✓ completed +51 +[\d.]+ kB$", seen.text, re.M)
    assert seen.returncode == 130 and "Traceback" not in seen.text
    assert len(ExperimentManager(own_root).list_experiments()) == 4


def test_delete_without_a_terminal_needs_yes(run: Run, own_root: Path) -> None:
    refused = run("delete", "exp_001", root_dir=own_root)
    assert refused.exit_code == 1 and "give --yes" in refused.stderr
    (gone,) = document(run("delete", "exp_001", "--yes", "--json", root_dir=own_root))
    assert gone["experiment_id"] == "exp_001" and Path(gone["moved_to"]).is_dir()
    unknown = run("delete", "exp_002", "exp_001", "--yes", root_dir=own_root)
    assert unknown.exit_code == 1 and "no experiment exp_001" in unknown.stderr
    assert len(ExperimentManager(own_root).list_experiments()) == 3


def test_delete_leaves_a_running_one_alone(run: Run, tmp_path: Path) -> None:
    exp = Experiment("busy", root_dir=tmp_path, capture_console=False, system_metrics_s=0.0)
    with exp:
        refused = run("delete", "exp_001", "--yes", root_dir=tmp_path)
        assert refused.exit_code == 1 and "exp_001 is still written to by process" in refused.stderr
        assert exp.exp_dir.is_dir()
        assert "● running" in run("list", root_dir=tmp_path).stdout


def test_delete_takes_what_cannot_be_read(run: Run, own_root: Path) -> None:
    folder = own_root / "exp_001_vae_baseline"
    (folder / "metadata.json").write_text("no")
    for log in (folder / "logs").iterdir():
        log.write_bytes(b"no")
    assert run("show", "exp_001", root_dir=own_root).exit_code == 1
    assert run("delete", "exp_001", "--yes", root_dir=own_root).exit_code == 0
    assert not folder.exists()


def test_summary_and_rebuild(run: Run, own_root: Path) -> None:
    text = run("summary", root_dir=own_root).stdout
    assert text.startswith(f"4 experiments in {own_root}, ")
    assert "✓ completed 3   ✗ failed 1" in text and re.search(r"^other +1  just now$", text, re.M)
    counted = document(run("summary", "--json", root_dir=own_root))
    assert counted["by_status"] == {"completed": 3, "failed": 1}
    assert counted["by_project"] == {"default": 3, "other": 1}
    (own_root / "experiments.db").unlink()
    assert run("rebuild", root_dir=own_root).stdout == f"4 experiments in {own_root / 'experiments.db'}\n"
    assert document(run("rebuild", "--json", root_dir=own_root)) == {"root_dir": str(own_root), "experiments": 4}


# ---------------------------------------------------------------------------------------------- the terminal


@pytest.mark.parametrize("columns", [50, 80, 140])
def test_tables_fit_the_terminal(terminal: Terminal, root: Path, columns: int) -> None:
    seen = terminal("list", "--root-dir", str(root), columns=columns)
    assert seen.returncode == 0
    assert "\x1b[32m✓ completed\x1b[0m" in seen.text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.text).splitlines()
    assert max(map(cell_len, plain)) <= columns
    assert ids_in("\n".join(plain)) == IDS
    assert ("description" in plain[0]) == (columns == 140)


def test_a_terminal_gets_a_coloured_chart_of_its_width(terminal: Terminal, root: Path) -> None:
    seen = terminal("plot", "exp_001", "exp_002", "loss", "--root-dir", str(root), columns=100)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen.text).splitlines()
    assert "\x1b[36m" in seen.text and re.search("[\u2801-\u28ff]", seen.text)
    assert max(map(cell_len, plain)) == 100 and len(plain) <= 24
    assert "\x1b" not in terminal("plot", "exp_001", "loss", "--root-dir", str(root), columns=60, NO_COLOR="1").text


def test_names_are_shown_as_they_are_spelled(run: Run, terminal: Terminal, root: Path, evil: str) -> None:
    spelled = r"[red]evil[/red] \x1b[31m\u202egnp"
    for arguments in (["list"], ["show", "exp_004"], ["summary"], ["compare", "exp_004", "exp_001"]):
        text = run(*arguments).stdout
        assert spelled in text and "\x1b" not in text and "\u202e" not in text
    assert document(run("list", "--json"))[0]["name"] == evil
    seen = terminal("show", "exp_004", "--root-dir", str(root), columns=200)
    assert spelled in seen.text and "\u202e" not in seen.text
    assert "[bold]m[/bold] by step" in run("plot", "exp_004", "[bold]m[/bold]").stdout


# ---------------------------------------------------------------------------------------------- the program


def test_help_and_version(run: Run) -> None:
    assert CliRunner().invoke(main, ["--version"]).stdout == f"frameworm {__version__}\n"
    text = CliRunner().invoke(main, ["-h"]).stdout
    commands = re.findall(r"^  (\w+)  ", text.split("Commands:")[1], re.M)
    reading = ["list", "show", "compare", "diff", "plot", "search", "summary", "delete", "rebuild", "leaderboard"]
    keeping = ["doctor", "compact", "prune", "trash", "restore", "tag", "note"]
    assert commands == [*reading, *keeping, "reproduce", "export", "import", "ui"]
    for name in commands:
        assert "Example: frameworm" in CliRunner().invoke(main, [name, "--help"]).stdout
        assert name == "ui" or "--json" in CliRunner().invoke(main, [name, "--help"]).stdout


def test_a_mistyped_command_suggests_the_nearest(run: Run) -> None:
    result = run("lsit")
    assert result.exit_code == 2 and "Did you mean 'list'?" in result.stderr


def test_the_root_folder_is_named_before_or_after_the_command_or_by_the_environment(root: Path) -> None:
    def listed(*arguments: str, **variables: str) -> Result:
        return CliRunner(env=variables).invoke(main, arguments)

    here = str(root)
    assert len(ids_in(listed("--root-dir", here, "list").stdout)) == 4
    assert len(ids_in(listed("list", "--root-dir", here).stdout)) == 4
    assert len(ids_in(listed("list", FRAMEWORM_ROOT_DIR=here).stdout)) == 4
    assert len(ids_in(listed("--root-dir", here, "list", FRAMEWORM_ROOT_DIR="/nowhere").stdout)) == 4
    assert len(ids_in(listed("--root-dir", "/nowhere", "list", "--root-dir", here).stdout)) == 4
    missing = listed("--root-dir", "/nowhere", "list")
    assert missing.exit_code == 1 and missing.stderr.startswith("error: /nowhere: no such folder")


def test_both_ways_to_start_it_and_a_reader_that_leaves(process: Process, root: Path) -> None:
    listed = process(
        "frameworm list | head -1; frameworm plot exp_001 loss --json | true", FRAMEWORM_ROOT_DIR=str(root)
    )
    assert listed.stdout.startswith("id ") and listed.stdout.count("\n") == 1
    assert listed.stderr == ""
    console = "import sys; from frameworm.experiment.cli import main; sys.argv[0] = 'frameworm'; main()"
    done = process(f'"{sys.executable}" -c "{console}" list --json', FRAMEWORM_ROOT_DIR=str(root))
    assert len(json.loads(done.stdout)) == 4


def test_a_terminal_that_knows_no_such_character_still_gets_an_answer(process: Process, root: Path) -> None:
    done = process("frameworm list", FRAMEWORM_ROOT_DIR=str(root), PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "? completed" in done.stdout


def test_help_imports_nothing_heavy(process: Process) -> None:
    heavy = "numpy pandas sqlalchemy matplotlib rich uniplot".split()
    code = (
        "import sys; from frameworm.experiment.cli import main; main(['--help'], standalone_mode=False); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert process(f'"{sys.executable}" -c "{code}"').stdout.endswith("[]\n")


def test_listing_imports_no_pandas(process: Process, root: Path) -> None:
    code = (
        "import sys; from frameworm.experiment.cli import main; main(['list'], standalone_mode=False); "
        "print([name for name in ('pandas', 'matplotlib') if name in sys.modules])"
    )
    assert process(f'"{sys.executable}" -c "{code}"', FRAMEWORM_ROOT_DIR=str(root)).stdout.endswith("[]\n")


@pytest.fixture
def program() -> click.Group:
    """A program with commands that end in all kinds of ways."""

    @click.group(cls=Program)
    def program() -> None: ...

    @program.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    @program.command()
    def warned() -> None:
        warnings.warn("half of it is \x1b[31mleft", FramewormWarning, stacklevel=1)
        click.echo("done")

    @program.command()
    def disk() -> None:
        raise PermissionError(13, "Permission denied", "/root/x")

    @program.command()
    def bug() -> None:
        raise ZeroDivisionError

    return program


def test_how_a_command_ends(program: click.Group) -> None:
    def ended(command: str) -> Result:
        return CliRunner().invoke(program, [command])

    assert (ended("interrupted").exit_code, ended("interrupted").output) == (130, "\n")
    assert (ended("warned").stdout, ended("warned").stderr) == ("done\n", "warning: half of it is \\x1b[31mleft\n")
    assert ended("disk").exit_code == 1 and ended("disk").stderr.startswith("error: [Errno 13] Permission denied")
    assert isinstance(ended("bug").exception, ZeroDivisionError)
