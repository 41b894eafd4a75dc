"""What a real process does is seen as it does it: points, status, console, and its end by SIGKILL."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from frameworm.experiment import Experiment

from .conftest import environment
from .test_charts import chart
from .test_table import count

SOON_MS = 5_000


class Training:
    """A process that logs a point when it is told to."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("training.py")), "steered", str(root)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        assert self._answer().startswith("ready")

    def point(self, step: int, value: float) -> None:
        """Have it log a point; it is on record when this returns."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{step} {value}\n")
        self.process.stdin.flush()
        assert self._answer() == f"said {step} {value}"

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Training]:
    started = Training(tmp_path / "live")
    yield started
    if started.process.poll() is None:
        started.kill()


def test_points_of_another_process_are_drawn_within_seconds(training: Training, tmp_path: Path, serve, visit) -> None:
    training.point(0, 4.0)
    page = visit(serve(tmp_path / "live")).open("/experiments/exp_001/charts")
    end = chart(page, "loss").locator("tbody tr td")
    expect(end.nth(0)).to_have_text("0")
    for step in range(1, 4):
        training.point(step, 4.0 - step)
        begin = time.monotonic()
        expect(end.nth(0)).to_have_text(str(step), timeout=SOON_MS)
        expect(end.nth(1)).to_have_text(f"{4 - step}")
        assert time.monotonic() - begin < SOON_MS / 1000


def test_what_is_logged_before_the_server_is_listened_to_is_drawn(tmp_path: Path, serve, visit) -> None:
    exp = Experiment("ends", root_dir=tmp_path / "live", capture_console=False, system_metrics_s=0).start()
    exp.log_metric("loss", 4.0, step=0)
    visitor = visit(serve(tmp_path / "live"))
    held: list[Route] = []
    visitor.context.route("**/api/v1/events", lambda route: held.append(route))
    page = visitor.open("/experiments/exp_001/charts")
    end = chart(page, "loss").locator("tbody tr td")
    expect(end.nth(0)).to_have_text("0")
    exp.log_metric("loss", 3.0, step=1)
    exp.end()
    assert page.request.get(f"{visitor.server.address}/api/v1/store").ok  # the catalog knows, and will not change again
    assert len(held) == 1
    held[0].continue_()
    expect(end.nth(0)).to_have_text("1")


def test_one_that_is_killed_is_seen_as_crashed(training: Training, tmp_path: Path, serve, visit) -> None:
    training.point(0, 4.0)
    visitor = visit(serve(tmp_path / "live"))
    page, table = visitor.open("/experiments/exp_001"), visitor.open("/")
    expect(page.locator("header").filter(has=page.get_by_role("heading", level=1))).to_contain_text("running")
    count(table, "1 running")
    training.kill()
    expect(page.locator("header").filter(has=page.get_by_role("heading", level=1))).to_contain_text("crashed")
    expect(table.locator("#line-0")).to_contain_text("crashed")


def test_new_experiments_come_into_the_table(training: Training, tmp_path: Path, serve, visit) -> None:
    page = visit(serve(tmp_path / "live")).open("/")
    count(page, "1 experiment")
    second = Training(tmp_path / "live")
    try:
        count(page, "2 experiments")
        count(page, "2 running")
        second.point(5, 0.5)
        expect(page.locator("#line-0")).to_contain_text("step 5", timeout=SOON_MS * 2)
    finally:
        second.kill()


def test_the_log_follows(training: Training, tmp_path: Path, serve, visit) -> None:
    training.point(0, 4.0)
    page = visit(serve(tmp_path / "live")).open("/experiments/exp_001/logs")
    log = page.get_by_role("log")
    expect(log).to_contain_text("said 0 4.0")
    for step in range(1, 61):
        training.point(step, 1.0)
    expect(log).to_contain_text("said 60 1.0")
    end = "(log) => log.scrollHeight - log.clientHeight - log.scrollTop"
    assert log.evaluate(end) < 2
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
    training.point(61, 1.0)
    expect(log).to_contain_text("said 0 4.0")
    page.get_by_role("button", name="Follow").click()
    expect(log).to_contain_text("said 61 1.0")


def test_a_server_that_comes_back_is_found_again(training: Training, tmp_path: Path, serve, visit) -> None:
    server = serve(tmp_path / "live")
    visitor = visit(server)
    visitor.allow("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY|ERR_NETWORK")
    page = visitor.open("/")
    live = page.get_by_role("banner").get_by_role("status")
    expect(live).to_contain_text("Live")
    server.stop()
    expect(live).not_to_contain_text("Live")
    serve(tmp_path / "live", "--port", server.address.rsplit(":", 1)[1])
    expect(live).to_contain_text("Live")


def test_an_alert_is_told_on_the_open_page(tmp_path: Path, serve, visit) -> None:
    with Experiment(name="watched", root_dir=tmp_path / "own", capture_console=False, system_metrics_s=0) as exp:
        page = visit(serve(tmp_path / "own")).open()
        expect(page.locator(".live.on")).to_be_visible()
        exp.alert("loss is NaN", "at step 3")
        exp.flush()
        expect(page.locator(".toasts")).to_contain_text("loss is NaN")
