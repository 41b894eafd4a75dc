"""``frameworm ui`` asks once whether alerts may be sent on as a folder's file says."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from frameworm.experiment.query.rules import read_rules
from frameworm.experiment.server.trust import Word, word_on

PATIENCE_S = 30.0
RULES = 'send: {command: [notify-send, "frame\\u001bworm"], webhook: "http://localhost:9/x"}'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    folder = tmp_path / "experiments"
    folder.mkdir()
    folder.joinpath("alerts.yaml").write_text(RULES)
    return folder


def show(root: Path, answer: str, *options: str, terminal: bool = True) -> str:
    """Run ``frameworm ui`` until it serves, answering what it asks, and return what it printed."""
    command = [sys.executable, "-m", "frameworm.experiment.cli", "ui", "--no-browser", "--port", "0"]
    screen, inside = pty.openpty()
    process = subprocess.Popen(
        [*command, "--root-dir", str(root), *options],
        stdin=inside if terminal else subprocess.DEVNULL,
        stdout=inside,
        stderr=inside,
    )
    printed, deadline_s = "", time.monotonic() + PATIENCE_S
    try:
        while "is shown at" not in printed and time.monotonic() < deadline_s:
            if select.select([screen], [], [], 0.1)[0]:
                printed += os.read(screen, 4096).decode()
            if "[y/N]" in printed and answer:
                os.write(screen, f"{answer}\n".encode())
                answer = ""
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        os.close(screen)
        os.close(inside)
    assert "is shown at" in printed
    return printed


@pytest.mark.parametrize("answer", ["y", "n"])
def test_the_answer_holds_until_the_file_asks_for_something_else(root, answer):
    printed = show(root, answer)
    assert r"notify-send 'frame\x1bworm'" in printed and "\x1bworm" not in printed
    assert "http://localhost:9/x" in printed and "127.0.0.1" in printed
    word = Word(allowed=True, inside=True) if answer == "y" else Word(allowed=False, inside=False)
    assert word_on(root, read_rules(root)) == word
    assert "asks" not in show(root, "")
    root.joinpath("alerts.yaml").write_text("send: {command: [notify-send]}")
    assert "[y/N]" in show(root, "n")


def test_without_a_terminal_only_an_option_allows_it(root):
    assert "--trust-alerts allows it" in show(root, "", terminal=False)
    assert word_on(root, read_rules(root)) is None
    assert "[y/N]" not in show(root, "", "--trust-alerts", terminal=False)
    assert word_on(root, read_rules(root)) == Word(allowed=True, inside=True)


def test_a_folder_that_is_only_looked_at_is_not_asked_about(root):
    assert "asks" not in show(root, "", "--read-only")
