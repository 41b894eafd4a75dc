"""Every way in which a program can end, wherever its experiment was started: status, reason, exit code, traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from frameworm.experiment.query.read import ExperimentReader

HEAD = """
import argparse, asyncio, atexit, concurrent.futures, multiprocessing, os, signal, sys, threading, time
from frameworm.experiment import Experiment
root = os.environ["ROOT"]
def make(name="test"):
    return Experiment(name, root_dir=root, system_metrics_s=0)
"""


class Found(NamedTuple):
    """What a program left behind."""

    status: str
    reason: str
    code: int
    traceback: str
    points: int
    told: str


def look(root: Path, code: int, told: str) -> Found:
    (folder,) = root.glob("exp_*")
    reader = ExperimentReader(folder)
    kept = folder / "logs" / "traceback.txt"
    text = kept.read_text() if kept.exists() else ""
    points = len(reader.read("a")) if "a" in {key.name for key in reader.keys()} else 0
    return Found(reader.info.status, reader.info.reason, code, text, points, told)


def run(root: Path, program: str, *options: str, stdin: str | None = None) -> Found:
    """Run a program that makes one experiment to its end."""
    file = root.with_suffix(".py")
    file.write_text(HEAD + program)
    command = [sys.executable, *(options or (str(file),))]
    done = subprocess.run(
        command,
        input=stdin,
        env={**os.environ, "ROOT": str(root), "PYTHONPATH": str(file.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return look(root, done.returncode, done.stderr)


# ------------------------------------------------------------------------------------------ ways to end × ways to start


class End(NamedTuple):
    """A way to end a program: the line, what a person would say, the exit code as without us."""

    line: str
    status: str
    code: int
    reason: str = ""


ENDS = {
    "falls off": End("pass", "completed", 0),
    "exit 0": End("sys.exit(0)", "completed", 0),
    "exit None": End("sys.exit()", "completed", 0),
    "exit False": End("sys.exit(False)", "completed", 0),
    "exit 1": End("sys.exit(1)", "failed", 1, "SystemExit: 1"),
    "exit text": End("sys.exit('bad data')", "failed", 1, "SystemExit: bad data"),
    "exit empty text": End("sys.exit('')", "failed", 1, "SystemExit"),
    "argparse": End("argparse.ArgumentParser().parse_args(['--nope'])", "failed", 2, "SystemExit: 2"),
    "exit builtin": End("exit(4)", "failed", 4, "SystemExit: 4"),
    "caught exit": End("\n  try: sys.exit(1)\n  except SystemExit: pass", "completed", 0),
    "error": End("raise ValueError('no')", "failed", 1, "ValueError: no"),
    "error with a note": End(
        "\n  error = ValueError('no'); error.add_note('try again'); raise error", "failed", 1, "ValueError: no"
    ),
    "caught error": End("\n  try: 1 / 0\n  except ZeroDivisionError: pass", "completed", 0),
    "group": End("raise ExceptionGroup('two', [ValueError('no')])", "failed", 1, "ExceptionGroup: two"),
    "interrupt": End("raise KeyboardInterrupt", "killed", -signal.SIGINT, "KeyboardInterrupt"),
    "interrupt and exit": End(
        "\n  try: raise KeyboardInterrupt\n  except KeyboardInterrupt: sys.exit(130)", "killed", 130, "SystemExit: 130"
    ),
    "gone": End("os._exit(0)", "crashed", 0, "the process that recorded it is gone"),
    "gone with a code": End("os._exit(5)", "crashed", 5, "the process that recorded it is gone"),
}

STARTS = {
    "block": "with make() as exp:\n  exp.log_metric('a', 1)\n  {}",
    "start": "exp = make().start()\nexp.log_metric('a', 1)\nif True:\n  {}",
    "start and end": "exp = make().start()\nexp.log_metric('a', 1)\nif True:\n  {}\nexp.end()",
    "start in a function": "def main():\n  exp = make().start()\n  exp.log_metric('a', 1)\n  {}\nmain()",
    "start in a function that returned": (
        "def begin():\n  exp = make().start()\n  exp.log_metric('a', 1)\nbegin()\ndef main():\n  {}\nmain()"
    ),
    "resumed": (
        "with make() as exp: pass\nexp = Experiment.resume('exp_001', root)\nexp.log_metric('a', 1)\nif True:\n  {}"
    ),
    "console script": "def main():\n  exp = make().start()\n  exp.log_metric('a', 1)\n  {}\nsys.exit(main())",
    "asyncio": "async def main():\n  exp = make().start()\n  exp.log_metric('a', 1)\n  {}\nasyncio.run(main())",
    "asyncio task": (
        "async def work():\n  exp = make().start()\n  exp.log_metric('a', 1)\n  await asyncio.sleep(0)\n  {}\n"
        "async def main(): await asyncio.create_task(work())\nasyncio.run(main())"
    ),
    "other hooks": (
        "sys.excepthook = lambda *told: print('theirs', file=sys.stderr)\n"
        "sys.exit = (lambda original: lambda *code: original(*code))(sys.exit)\n"
        "exp = make().start()\natexit.register(lambda: exp.log_metric('a', 1))\nif True:\n  {}"
    ),
    "started in a thread": (
        "def begin():\n  exp = make().start()\n  exp.log_metric('a', 1)\n"
        "thread = threading.Thread(target=begin); thread.start(); thread.join()\nif True:\n  {}"
    ),
    "after a fork": (
        "exp = make().start()\nexp.log_metric('a', 1)\npid = os.fork()\nif not pid: os._exit(9)\n"
        "os.waitpid(pid, 0)\nif True:\n  {}"
    ),
    "in a forked child": (
        "pid = os.fork()\nif pid:\n  code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "  if code < 0: signal.signal(-code, signal.SIG_DFL); os.kill(os.getpid(), -code)\n  os._exit(code)\n"
        "exp = make().start()\nexp.log_metric('a', 1)\nif True:\n  {}"
    ),
}


ROWS = [(start, way) for start in ("block", "start") for way in ENDS]
ROWS += [(start, way) for start in STARTS for way in ("falls off", "exit 1", "error") if (start, way) not in ROWS]
ROWS += [("start and end", "gone"), ("asyncio", "interrupt"), ("in a forked child", "argparse")]


@pytest.mark.parametrize(("start", "way"), ROWS)
def test_the_status_is_what_a_person_would_say(tmp_path, start, way):
    end = ENDS[way]
    found = run(tmp_path / "root", STARTS[start].format(end.line))
    assert (found.status, found.code) == (end.status, end.code), found.told
    assert found.reason.startswith(end.reason) and bool(found.reason) == bool(end.reason)
    assert found.points == (0 if start == "other hooks" and end.status == "crashed" else 1)
    assert ("Traceback" in found.traceback) == (end.status == "failed")


# ---------------------------------------------------------------------------------------------------- other programs

ALONE = {
    "a raised exit below": ("exp = make().start()\ndef f(): raise SystemExit(3)\nf()", "failed", 3),
    "a raised exit of the program": ("exp = make().start()\nraise SystemExit(3)", "failed", 3),
    "a raised exit of 0": ("exp = make().start()\nraise SystemExit(0)", "completed", 0),
    "a raised exit that is bare": ("exp = make().start()\nraise SystemExit", "completed", 0),
    "a raised exit of what main returned": (
        "def main(): exp = make().start()\nif __name__ == '__main__':\n  raise SystemExit(main())",
        "completed",
        0,
    ),
    "a raised exit below what would exit": (
        "def main():\n  exp = make().start()\n  raise SystemExit(3)\nsys.exit(main())",
        "failed",
        3,
    ),
    "an exit that was taken before anything was imported": (
        "def main():\n  exp = make().start()\nsys.exit = sys.exit.__wrapped__\nsys.exit(main())",
        "completed",
        0,
    ),
    "the code that main returned": ("def main():\n  exp = make().start()\n  return 3\nsys.exit(main())", "failed", 3),
    "an exit that was imported": ("from sys import exit\nexp = make().start()\nexit(3)", "failed", 3),
    "an exit in a thread": (
        "exp = make().start()\nt = threading.Thread(target=sys.exit, args=(3,)); t.start(); t.join()",
        "completed",
        0,
    ),
    "an error in a thread": (
        "exp = make().start()\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()",
        "completed",
        0,
    ),
    "an error in the thread that started it": (
        "def work():\n  exp = make().start()\n  1 / 0\nt = threading.Thread(target=work); t.start(); t.join()",
        "failed",
        0,
    ),
    "an exit in the thread that started it": (
        "def work():\n  exp = make().start()\n  sys.exit(3)\nt = threading.Thread(target=work); t.start(); t.join()",
        "failed",
        0,
    ),
    "an error in the block of a thread": (
        "def work():\n  with make() as exp: 1 / 0\nt = threading.Thread(target=work); t.start(); t.join()",
        "failed",
        0,
    ),
    "an error that a pool of threads kept": (
        "exp = make().start()\nwith concurrent.futures.ThreadPoolExecutor() as pool: pool.submit(lambda: 1 / 0)",
        "completed",
        0,
    ),
    "a block within a block": ("with make() as exp:\n  with exp: pass\n  sys.exit(3)", "completed", 3),
    "exit handlers run by hand": ("exp = make().start()\natexit._run_exitfuncs()\nos._exit(0)", "completed", 0),
    "exit handlers run by hand after an error": (
        "exp = make().start()\ntry: 1 / 0\nexcept ZeroDivisionError:\n  atexit._run_exitfuncs()\n  os._exit(1)",
        "failed",
        1,
    ),
    "an error that cannot be looked at": (
        "class Bad(Exception):\n  @property\n  def __notes__(self): raise RuntimeError\n"
        "exp = make().start()\ntry: raise Bad\nexcept Bad: sys.exit(3)",
        "failed",
        3,
    ),
    "an error that cannot be shown": (
        "class Bad(Exception):\n  def __str__(self): raise ValueError\nexp = make().start()\nraise Bad",
        "failed",
        1,
    ),
}


@pytest.mark.parametrize("way", ALONE)
def test_other_ways_to_end(tmp_path, way):
    program, status, code = ALONE[way]
    found = run(tmp_path / "root", program)
    assert (found.status, found.code) == (status, code), found.told


PROMPTS = {
    "error before the import": ("1 / 0\n{head}exp = make().start()\n", "completed"),
    "error before the start": ("{head}prnt('x')\nexp = make().start()\n", "completed"),
    "error after the start": ("{head}exp = make().start()\nprnt('x')\n", "completed"),
    "interrupt after the start": ("{head}exp = make().start()\nraise KeyboardInterrupt\n", "completed"),
    "error in a block": ("{head}with make() as exp: 1 / 0\n\n", "failed"),
    "leaving with a code": ("{head}exp = make().start()\nexit(3)\n", "failed"),
    "leaving": ("{head}exp = make().start()\nexit()\n", "completed"),
}


@pytest.mark.parametrize("way", PROMPTS)
def test_errors_at_the_prompt_belong_to_no_experiment_but_that_of_their_block(tmp_path, way):
    lines, status = PROMPTS[way]
    found = run(tmp_path / "root", "", "-i", stdin=lines.format(head="from root import *\n"))
    assert found.status == status, found.told
    assert found.code == (3 if "exit(3)" in lines else 0)
    assert bool(found.traceback) == (status == "failed")


@pytest.mark.parametrize("options", [("-m", "root"), ("-c", "import root"), ("-m", "pdb", "-c", "c", "root.py")])
def test_whatever_runs_the_program(tmp_path, options, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(tmp_path / "root", "exp = make().start()\nexp.log_metric('a', 1)\nsys.exit(3)", *options, stdin="q\n")
    if "pdb" in options:  # it catches what the program does, and was left in good order
        assert (found.status, found.code) == ("completed", 0), found.told
    else:
        assert (found.status, found.code) == ("failed", 3), found.told


def test_a_runner_of_tests_that_goes_on_after_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = "def test_one():\n  with make() as exp:\n    exp.log_metric('a', 1)\n    assert 0\ndef test_two(): pass\n"
    found = run(tmp_path / "root", program, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "root.py"))
    assert (found.status, found.reason, found.code) == ("failed", "AssertionError: assert 0", 1)


# ------------------------------------------------------------------------------------------------------------- signals

WAIT = "exp.log_metric('a', 1); print('ready', flush=True); time.sleep(60)\n"


def interrupted(root: Path, program: str, *numbers: signal.Signals) -> Found:
    """Send signals to a program that waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + program],
        env={**os.environ, "ROOT": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in numbers:
        process.send_signal(number)
    _, told = process.communicate(timeout=60)
    return look(root, process.returncode, told)


DEADLY = ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGINT"]
FAULTS = ["SIGABRT", "SIGSEGV", "SIGBUS", "SIGUSR1", "SIGUSR2"]


@pytest.mark.parametrize("name", DEADLY + FAULTS)
def test_a_signal_kills_with_its_own_exit_code(tmp_path, name):
    number = signal.Signals[name]
    start = "" if name in DEADLY else "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    start += "signal.signal(signal.SIGINT, signal.SIG_DFL)\nexp = make().start()\n"
    found = interrupted(tmp_path / "root", start + WAIT, number)
    assert found.code == -number
    assert (found.status, found.points) == ("killed" if name in DEADLY else "crashed", 1)
    assert found.reason == (f"received {name}" if name in DEADLY else "the process that recorded it is gone")


HANDLERS = {
    "Ctrl-C": ("exp = make().start()\n", "SIGINT", "killed", -signal.SIGINT),
    "Ctrl-C in a loop": (
        "async def main():\n  with make() as exp:\n    exp.log_metric('a', 1); print('ready', flush=True)\n"
        "    await asyncio.sleep(60)\nasyncio.run(main())\n",
        "SIGINT",
        "killed",
        -signal.SIGINT,
    ),
    "Ctrl-C in a loop, left open": (
        "async def main():\n  exp = make().start(); exp.log_metric('a', 1); print('ready', flush=True)\n"
        "  await asyncio.sleep(60)\nasyncio.run(main())\n",
        "SIGINT",
        "killed",
        -signal.SIGINT,
    ),
    "an earlier handler": ("signal.signal(15, lambda *a: sys.exit(7))\nexp = make().start()\n", "SIGTERM", "failed", 7),
    "a later handler": ("exp = make().start()\nsignal.signal(15, lambda *a: sys.exit(7))\n", "SIGTERM", "failed", 7),
    "a handler that goes in good order": (
        "signal.signal(15, lambda *a: sys.exit(0))\nexp = make().start()\n",
        "SIGTERM",
        "completed",
        0,
    ),
    "a handler that calls ours": (
        "exp = make().start()\nours = signal.getsignal(15)\nsignal.signal(15, lambda *a: ours(*a))\n",
        "SIGTERM",
        "killed",
        -signal.SIGTERM,
    ),
    "a handler that leaves no word": (
        "signal.signal(15, lambda *a: os._exit(7))\nexp = make().start()\n",
        "SIGTERM",
        "crashed",
        7,
    ),
    "a handler of C code": (
        "import faulthandler; faulthandler.register(signal.SIGALRM, chain=True)\nexp = make().start()\n",
        "SIGALRM",
        "crashed",
        -signal.SIGALRM,
    ),
    "started in a thread": (
        "def begin():\n  global exp\n  exp = make().start()\nt = threading.Thread(target=begin); t.start(); t.join()\n",
        "SIGTERM",
        "crashed",
        -signal.SIGTERM,
    ),
    "a second one in the main thread": (
        "def begin():\n  global exp\n  exp = make().start()\nt = threading.Thread(target=begin); t.start(); t.join()\n"
        "os.environ['ROOT'] = root = root + '2'\nother = make().start()\n",
        "SIGTERM",
        "killed",
        -signal.SIGTERM,
    ),
}


@pytest.mark.parametrize("way", HANDLERS)
def test_handlers_are_respected(tmp_path, way):
    program, name, status, code = HANDLERS[way]
    found = interrupted(tmp_path / "root", program + ("" if "main()" in program else WAIT), signal.Signals[name])
    assert (found.status, found.code, found.points) == (status, code, 1), found.told


def test_an_ignored_signal_stays_ignored(tmp_path):
    program = "signal.signal(signal.SIGHUP, signal.SIG_IGN)\nexp = make().start()\n" + WAIT
    found = interrupted(tmp_path / "root", program, signal.SIGHUP, signal.SIGTERM)
    assert (found.status, found.reason) == ("killed", "received SIGTERM")


def test_nothing_of_ours_is_left_when_nothing_is_recorded(tmp_path):
    program = (
        "before = [signal.getsignal(n) for n in signal.valid_signals()]\n"
        "for _ in range(2):\n  with make() as exp: assert signal.getsignal(15) is not signal.SIG_DFL\n"
        "assert [signal.getsignal(n) for n in signal.valid_signals()] == before\n"
        "os.rename(exp.exp_dir, root + '-second')\n"
    )
    assert run(tmp_path / "root", program).code == 0


# ------------------------------------------------------------------------------------------------------------ children

CHILD_ENDS = {
    "error": "raise ValueError('child')",
    "exit": "sys.exit(3)",
    "gone": "os._exit(3)",
    "signal": "os.kill(os.getpid(), signal.SIGTERM)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "logged": "exp.log_metric('a', 2); os._exit(0)",
    "logged, then an error": "exp.log_metric('a', 2); raise ValueError('child')",
    "logged, then an exit": "exp.log_metric('a', 2); sys.exit(3)",
    "logged, then a signal": "exp.log_metric('a', 2); os.kill(os.getpid(), signal.SIGTERM)",
    "ended": "exp.end('failed'); os._exit(0)",
    "logged and ended": "exp.log_metric('a', 2); exp.end('failed'); os._exit(0)",
}


FORMS = [("start", way) for way in CHILD_ENDS] + [("block", way) for way in ("error", "exit", "logged, then an error")]


@pytest.mark.parametrize(("form", "way"), FORMS)
def test_a_forked_child_neither_ends_nor_marks_it(tmp_path, form, way):
    inner = f"pid = os.fork()\nif not pid:\n  {CHILD_ENDS[way]}\nos.waitpid(pid, 0)\nassert exp.status == 'running'\n"
    inner += "exp.log_metric('a', 3)\n"
    program = f"exp = make().start()\nexp.log_metric('a', 1)\n{inner}exp.end()\n"
    if form == "block":
        program = "with make() as exp:\n  exp.log_metric('a', 1)\n  " + inner.replace("\n", "\n  ")
    found = run(tmp_path / "root", program)
    assert (found.status, found.code, found.traceback) == ("completed", 0, ""), found.told
    assert found.points == (3 if "logged" in way else 2)
    assert not list((tmp_path / "root").glob("*/logs/journal-*"))
    assert "FramewormWarning" not in found.told


POOLS = {
    "fork": "context = multiprocessing.get_context('fork')\np = context.Process(target=work); p.start(); p.join()",
    "pool": "context = multiprocessing.get_context('fork')\nwith context.Pool(2) as pool: pool.map(works, range(3))",
    "futures": (
        "context = multiprocessing.get_context('fork')\n"
        "with concurrent.futures.ProcessPoolExecutor(2, context) as pool: list(pool.map(works, range(3)))"
    ),
}


@pytest.mark.parametrize("how", POOLS)
def test_a_child_may_be_the_only_one_to_log(tmp_path, how):
    program = "exp = make().start()\ndef work(): exp.log_metric('a', 1)\ndef works(n): exp.log_metric('a', n, step=n)\n"
    found = run(tmp_path / "root", program + POOLS[how])
    assert (found.status, found.code, found.points) == ("completed", 0, 1 if how == "fork" else 3), found.told


OWN = {
    "returns": ("pass", "completed", 0, ""),
    "error": ("raise ValueError('child')", "failed", 1, "ValueError: child"),
    "exit": ("sys.exit(3)", "failed", 3, "SystemExit: 3"),
    "raised exit": ("raise SystemExit(3)", "failed", 3, "SystemExit: 3"),
    "exit 0": ("sys.exit(0)", "completed", 0, ""),
    "gone": ("os._exit(3)", "crashed", 3, "the process that recorded it is gone"),
    "signal": ("os.kill(os.getpid(), signal.SIGTERM)", "killed", -15, "received SIGTERM"),
}


METHODS = [("fork", way) for way in OWN] + [("spawn", "error"), ("spawn", "returns"), ("forkserver", "raised exit")]


@pytest.mark.parametrize(("method", "way"), METHODS)
def test_a_child_of_multiprocessing_ends_what_it_started_itself(tmp_path, method, way):
    line, status, code, reason = OWN[way]
    program = (
        f"def work():\n  exp = make().start()\n  exp.log_metric('a', 1)\n  {line}\n"
        f"if __name__ == '__main__':\n  context = multiprocessing.get_context('{method}')\n"
        "  p = context.Process(target=work); p.start(); p.join()\n  os._exit(p.exitcode % 256)\n"
    )
    found = run(tmp_path / "root", program)
    assert (found.status, found.reason, found.code) == (status, reason, code % 256), found.told
    assert ("Traceback" in found.traceback) == (status == "failed")
