from __future__ import annotations

import io
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest

from frameworm.experiment.errors import FramewormWarning
from frameworm.experiment.recording.console import ConsoleCapture

TOKEN = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"


@contextmanager
def captured(path: Path) -> Iterator[ConsoleCapture]:
    capture = ConsoleCapture(path)
    capture.start()
    try:
        yield capture
    finally:
        capture.stop()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


def test_stdout_and_stderr_are_copied_and_passed_on(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with captured(log):
        print("to", "out")
        print("to err", file=sys.stderr)
        sys.stdout.writelines(["x\n", "y\n"])
        assert log.read_text() == "to out\nto err\nx\ny\n"
        print("unfinished", end="")
    print("not copied")
    assert log.read_text() == "to out\nto err\nx\ny\nunfinished\n"
    passed = capsys.readouterr()
    assert passed.out == "to out\nx\ny\nunfinishednot copied\n"
    assert passed.err == "to err\n"


def test_the_streams_stay_the_same_objects(log: Path) -> None:
    out, err = sys.stdout, sys.stderr
    before = {name: getattr(out, name, None) for name in ("encoding", "errors", "mode", "line_buffering")}
    with captured(log):
        assert sys.stdout is out
        assert sys.stderr is err
        assert sys.stdout.write("ab\n") == 3
        assert {name: getattr(out, name, None) for name in before} == before
        with pytest.raises(TypeError):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    assert "write" not in vars(out)
    assert "write" not in vars(err)


def test_a_logging_handler_made_before_is_heard(log: Path) -> None:
    logger = logging.getLogger("test_console")
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    try:
        with captured(log):
            logger.warning("from the handler")
    finally:
        logger.removeHandler(handler)
    assert log.read_text() == "from the handler\n"


def test_secrets_are_masked_before_they_reach_the_disk(log: Path) -> None:
    with captured(log) as capture:
        print("token", TOKEN)
        print(TOKEN[:10], end="")
        print(TOKEN[10:])
        print(TOKEN, end="")
        capture.flush()
        capture.flush()
        sys.stderr.write(TOKEN)
    text = log.read_text()
    assert TOKEN not in text
    assert text.startswith("token ")


def test_an_unfinished_line_is_written_after_a_second_and_goes_on_where_it_was(log: Path) -> None:
    with captured(log) as capture:
        print("loading ... ", end="")
        capture.flush()
        assert log.read_text() == ""
        capture.flush()
        assert log.read_text() == "loading ... "
        print("done")
        assert log.read_text() == "loading ... done\n"
        print("waiting ", end="")
        capture.flush()
        capture.flush()
        print("meanwhile", file=sys.stderr)
        print("over")
    assert log.read_text() == "loading ... done\nwaiting \nmeanwhile\nover\n"


def test_a_progress_bar_is_not_written_state_by_state(log: Path) -> None:
    with captured(log) as capture:
        for i in range(1000):
            sys.stderr.write(f"\rstep {i}")
            capture.flush()
            capture.flush()
        assert log.read_text() == ""
    assert log.read_text() == "step 999\n"


def test_captures_nest(tmp_path: Path) -> None:
    with captured(tmp_path / "outer"):
        print("1")
        with captured(tmp_path / "inner"):
            print("2")
        print("3")
    print("4")
    assert (tmp_path / "outer").read_text() == "1\n2\n3\n"
    assert (tmp_path / "inner").read_text() == "2\n"
    assert "write" not in vars(sys.stdout)


def test_the_outer_one_may_stop_first(tmp_path: Path) -> None:
    outer, inner = ConsoleCapture(tmp_path / "outer"), ConsoleCapture(tmp_path / "inner")
    outer.start()
    inner.start()
    print("1")
    outer.stop()
    print("2")
    inner.stop()
    print("3")
    assert (tmp_path / "outer").read_text() == "1\n"
    assert (tmp_path / "inner").read_text() == "1\n2\n"
    assert "write" not in vars(sys.stdout)


def test_somebody_elses_replacement_is_left_alone(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = sys.stdout
    capture = ConsoleCapture(log)
    capture.start()
    theirs = io.StringIO()
    with redirect_stdout(theirs):
        print("elsewhere")
        capture.stop()
        assert sys.stdout is theirs
        print("and on")
    assert sys.stdout is out
    print("after")
    assert theirs.getvalue() == "elsewhere\nand on\n"
    assert log.read_text() == ""
    assert capsys.readouterr().out == "after\n"


def test_somebody_who_wraps_our_write_keeps_it(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capture = ConsoleCapture(log)
    capture.start()
    ours = sys.stdout.write
    sys.stdout.write = lambda text: ours(text.upper())  # type: ignore[method-assign]
    try:
        print("a")
        capture.stop()
        print("b")
    finally:
        del sys.stdout.write  # type: ignore[method-assign]
    assert log.read_text() == "A\n"
    assert capsys.readouterr().out == "A\nB\n"


def test_starting_and_stopping_twice_and_again(log: Path) -> None:
    capture = ConsoleCapture(log)
    for text in ("one", "two"):
        capture.start()
        capture.start()
        print(text)
        capture.stop()
        capture.stop()
        capture.flush()
    assert log.read_text() == "one\ntwo\n"


def test_missing_and_equal_streams(log: Path) -> None:
    both = io.StringIO()
    with redirect_stdout(both):
        err, sys.stderr = sys.stderr, both
        try:
            with captured(log):
                print("once")
        finally:
            sys.stderr = err
    assert both.getvalue() == log.read_text() == "once\n"
    out, sys.stdout = sys.stdout, None  # type: ignore[assignment]
    try:
        with captured(log):
            print("nowhere")
            print("err", file=sys.stderr)
    finally:
        sys.stdout = out
    assert log.read_text() == "once\nerr\n"


class Slotted:
    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...


def test_a_stream_that_cannot_be_wrapped_warns_and_works(log: Path) -> None:
    stream = Slotted()
    with redirect_stdout(stream):  # type: ignore[type-var]
        with pytest.warns(FramewormWarning, match="console"):
            with captured(log):
                print("passed on")
    assert stream.text == "passed on\n"


def test_a_folder_that_is_gone_warns_once_and_prints_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(FramewormWarning, match="training goes on") as caught:
        with captured(tmp_path / "missing" / "console.log"):
            print("still here")
    assert len(caught) == 1
    assert "still here\n" in capsys.readouterr().out


def test_a_full_disk_warns_once_and_never_raises(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(FramewormWarning, match="No space left") as caught:
        with captured(Path("/dev/full")):
            for i in range(5):
                print("line", i)
    assert len(caught) == 1
    assert capsys.readouterr().out.count("line") == 5


def test_a_full_disk_never_raises_even_where_warnings_are_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with captured(Path("/dev/full")):
            print("line")


def test_threads_lose_and_mix_nothing(log: Path) -> None:
    def work(number: int) -> None:
        for i in range(500):
            sys.stdout.write(f"{number} {i}\n")

    with captured(log) as capture:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            capture.flush()
        for thread in threads:
            thread.join()
    lines = log.read_text().splitlines()
    assert len(lines) == 4000
    for number in range(8):
        assert [line for line in lines if line.startswith(f"{number} ")] == [f"{number} {i}" for i in range(500)]


def run(script: str, log: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    head = "import os, signal, sys, threading, time\nfrom pathlib import Path\n"
    head += "from frameworm.experiment.recording.console import ConsoleCapture\n"
    head += "capture = ConsoleCapture(Path(sys.argv[1])); capture.start()\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", head + script, str(log)],
        env=environment,
        capture_output=True,
        text=True,
        check=check,
        timeout=30,
    )


def test_printing_inside_a_signal_handler_does_not_hang_or_lose(log: Path) -> None:
    done = run(
        """
handled = 0
def handler(*_):
    global handled
    handled += 1
    sys.stdout.write("handler\\n")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
count = 0
end = time.monotonic() + 1
while time.monotonic() < end:
    sys.stderr.write("main\\n")
    count += 1
signal.setitimer(signal.ITIMER_REAL, 0)
capture.stop()
print(count, handled)
""",
        log,
    )
    count, handled = map(int, done.stdout.splitlines()[-1].split())
    lines = log.read_text().splitlines()
    assert handled > 10
    assert lines.count("main") == count
    assert lines.count("handler") == handled
    assert len(lines) == count + handled


def test_a_killed_process_leaves_every_printed_line(log: Path) -> None:
    run("for i in range(100): print('line', i)\nos.kill(os.getpid(), signal.SIGKILL)", log, check=False)
    assert log.read_text() == "".join(f"line {i}\n" for i in range(100))


def test_forked_children_append_and_repeat_nothing(log: Path) -> None:
    run(
        """
def noise():
    while running: sys.stderr.write("noise\\n")
running = True
thread = threading.Thread(target=noise); thread.start()
sys.stdout.write("parent begins ")
children = []
for number in range(20):
    pid = os.fork()
    if pid == 0:
        print("child", number)
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
running = False
thread.join()
print("and ends")
capture.stop()
""",
        log,
    )
    lines = [line for line in log.read_text().splitlines() if line != "noise"]
    assert sorted(lines[:-1]) == sorted(f"child {number}" for number in range(20))
    assert lines[-1] == "parent begins and ends"


def test_stopping_inside_a_signal_handler_ends(log: Path) -> None:
    run(
        """
def handler(*_):
    capture.stop()
    os._exit(0)
signal.signal(signal.SIGTERM, handler)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
while True: sys.stderr.write("main\\n")
""",
        log,
    )
    assert set(log.read_text().splitlines()) == {"main"}


def test_stdout_closed_by_the_reader_behaves_as_without_us(log: Path) -> None:
    script = "sys.stdout.close()\ntry: print('x')\nexcept ValueError: print('as ever', file=sys.stderr)\n"
    script += "capture.stop()"
    assert run(script, log).stderr == "as ever\n"


def test_text_that_is_no_utf8_is_written_escaped(log: Path) -> None:
    with redirect_stdout(io.StringIO()):
        with captured(log):
            print("caf\udce9 ✓")
    assert log.read_text(encoding="utf-8") == "caf\\udce9 ✓\n"


def test_a_print_costs_microseconds(log: Path) -> None:
    with open(os.devnull, "w") as null, redirect_stdout(null):

        def cost() -> float:
            start = time.perf_counter()
            for i in range(2000):
                sys.stdout.write(f"step {i} loss 0.1234\n")
            return (time.perf_counter() - start) / 2000

        without = min(cost() for _ in range(3))
        with captured(log):
            within = min(cost() for _ in range(3))
    assert within - without < 100e-6
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ---------------------------------------------------------------------------------------------- streams that come later

NEW = {
    "a wrapper of a copy of the descriptor": (
        "old = sys.stdout; sys.stdout = io.TextIOWrapper(open(os.dup(1), 'wb'), 'utf-8', write_through=True)\n"
        "print('new'); sys.stdout.close(); sys.stdout = old\n"
    ),
    "a wrapper of the same buffer": "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, 'utf-8')\nprint('new')\n",
    "the descriptor opened anew": "sys.stdout = os.fdopen(os.dup(1), 'w', buffering=1)\nprint('new')\n",
    "detached": "sys.stdout = io.TextIOWrapper(sys.stdout.detach(), encoding='utf-8')\nprint('new')\n",
    "a writer of codecs": "import codecs; sys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)\nprint('new')\n",
    "reconfigured": "sys.stdout.reconfigure(encoding='utf-8', line_buffering=True)\nprint('new')\n",
    "stderr": "sys.stdout = sys.stderr\nprint('new')\n",
    "redirected to stderr": "with contextlib.redirect_stdout(sys.stderr): print('new')\n",
    "a tee": "sys.stdout = Tee(sys.stdout)\nprint('new')\n",
    "a tee that knows the descriptor": "sys.stdout = Tee(sys.stdout)\nTee.fileno = lambda self: 1\nprint('new')\n",
    "a tee over a new one": (
        "sys.stdout = Tee(io.TextIOWrapper(open(os.dup(1), 'wb'), 'utf-8', write_through=True))\n"
        "Tee.fileno = lambda self: 1\nprint('new')\n"
    ),
    "a new stderr": "sys.stderr = io.TextIOWrapper(open(os.dup(2), 'wb'))\nprint('new', file=sys.stderr)\n",
    "written without print, after a second": (
        "sys.stdout = os.fdopen(os.dup(1), 'w')\ncapture.flush()\nsys.stdout.write('new\\n')\n"
    ),
    "a handler of logging that holds the old one": (
        "handler = logging.StreamHandler(sys.stdout); logging.getLogger().addHandler(handler)\n"
        "sys.stdout = os.fdopen(os.dup(1), 'w'); logging.warning('new')\n"
    ),
    "a handler of logging that holds the new one": (
        "sys.stdout = os.fdopen(os.dup(1), 'w'); print(end='')\n"
        "logging.getLogger().addHandler(logging.StreamHandler(sys.stdout)); logging.warning('new')\n"
    ),
    "put back": "old = sys.stdout; sys.stdout = os.fdopen(os.dup(1), 'w'); sys.stdout = old; print('new')\n",
    "a program's own print": (
        "import builtins; theirs = builtins.print; builtins.print = lambda *a, **k: theirs(*a, **k)\n"
        "sys.stdout = os.fdopen(os.dup(1), 'w'); print('new')\n"
    ),
}
TEE = """
import contextlib, io, logging
class Tee:
    def __init__(self, stream): self.stream = stream
    def write(self, text): return self.stream.write(text)
    def flush(self): self.stream.flush()
"""


@pytest.mark.parametrize("how", NEW)
def test_what_is_printed_through_a_stream_that_came_later_is_recorded_once(log: Path, how: str) -> None:
    done = run(TEE + NEW[how] + "capture.stop()\n", log)
    assert log.read_text() == "new\n"
    assert done.stdout + done.stderr == "new\n"


@pytest.mark.parametrize("target", ["io.StringIO()", "open(os.devnull, 'w')", "open(sys.argv[1] + '.own', 'w')"])
def test_what_a_program_sends_elsewhere_itself_is_not_recorded(log: Path, target: str) -> None:
    script = f"with contextlib.redirect_stdout({target}): print('elsewhere')\nprint('here')\ncapture.stop()\n"
    assert run(TEE + script, log).stderr == ""
    assert log.read_text() == "here\n"


def test_it_is_said_once_that_a_file_of_the_programs_own_is_not_recorded(log: Path) -> None:
    script = "sys.stdout = open(sys.argv[1] + '.own', 'w')\nfor _ in range(5): print('elsewhere'); capture.flush()\n"
    told = run(script + "capture.stop()\n", log).stderr
    assert told.count("FramewormWarning") == 1
    assert f"sys.stdout leads to '{log}.own' now: what is printed there is not in {log}" in told


def test_print_is_wrapped_once_and_passes_everything_on(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with captured(log):
        ours = print
        with captured(log.with_suffix(".2")):
            assert print is ours
    assert pickle.loads(pickle.dumps(print)) is print
    assert print("a", "b", sep="-", end="!\n", flush=True) is None
    with pytest.raises(TypeError):
        print("a", wrong=True)  # type: ignore[call-overload]
    assert capsys.readouterr().out == "a-b!\n"
