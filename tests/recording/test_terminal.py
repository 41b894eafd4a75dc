from __future__ import annotations

import re

import pytest

from frameworm.experiment.recording.terminal import Lines


# What is left standing of one stream: every way of cutting the text must give the same lines.
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\n\n\nb", ["a", "", "", "b"]),
        ("windows\r\nline\r\n", ["windows", "line"]),
        ("\r 0%|   |\r 50%|#  |\r100%|## |\nafter\n", ["100%|## |", "after"]),
        ("working\rdone\n", ["done"]),
        ("\rbar 1\rbar 2\r          \rafter\n", ["after"]),
        ("\rbar 1\rbar 2\r          \r\n", [""]),
        ("\x1b[31mred\x1b[0m\n", ["\x1b[31mred\x1b[0m"]),
        ("\x1b[?25l\r\x1b[2Kbar 1\r\x1b[2Kbar 2\n\x1b[?25h", ["bar 2"]),
        ("a\x1b[K\n", ["a"]),
        ("unfinished", ["unfinished"]),
        ("bar\rbar 2\r", ["bar 2"]),
        ("10%\b\b\b20%\b\b\b30%\n", ["30%"]),
        ("work |\b/\b-\b\\\bdone\nnext\n", ["work done", "next"]),
        ("abc\b\bX\n", ["aXc"]),
        ("abc\b\b\b\b\b\bX\n", ["Xbc"]),
        ("abc\b \b\n", ["ab "]),
        ("abc\b", ["abc"]),
        ("abc\b\b\r\n", ["abc"]),
        ("abc\b\b\rde\n", ["de"]),
        ("one\n\b\btwo\n", ["one", "two"]),
        ("10/20\b\b\b\b\b 9/20\n", [" 9/20"]),
        ("漢字\b\b文\n", ["漢文"]),
        ("e\u0301x\b\ba\n", ["ax"]),
        ("12\x1b[2D34\n", ["34"]),
        ("12\x1b[D3\n", ["13"]),
        ("10%\x1b[1G20%\x1b[G30%\n", ["30%"]),
        ("abcdef\b\b\b\x1b[K!\n", ["abc!"]),
        ("\x1b[32m10%\x1b[0m\b\b\b\x1b[32m20%\x1b[0m\n", ["\x1b[0m\x1b[32m20%\x1b[0m"]),
        ("\x1b]0;title\x07text\n", ["text"]),
        ("\x1b]2;title\x1b\\text\n", ["text"]),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", ["link"]),
        ("\x1b]8;id=1;http://x\x07link\x1b]8;;\x07 and more\n", ["link and more"]),
        ("\x1b]1337;File=inline=1:QUJD\x07after\n", ["after"]),
        ("\x1bPq#0;2;0;0;0\x1b\\sixel\n", ["sixel"]),
        ("\x1b_Ga=T;QUJD\x1b\\kitty\n", ["kitty"]),
        ("\x1b]133;A\x07\x1b]9;4;1;50\x1b\\prompt\n", ["prompt"]),
        ("\x1b(B\x1b)0\x1b7\x1b8\x1b=\x1b>\x1bMx\n", ["x"]),
        ("\x1b[?2004h\x1b[>4;2mx\x1b[6n\x1b[1;5H\x1b[2J\n", ["x"]),
        ("\x1b[38;2;1;2;3mrgb\x1b[4:3mcurl\x1b[m\n", ["\x1b[38;2;1;2;3mrgb\x1b[4:3mcurl\x1b[m"]),
        ("\x9b31mred\x9b0m\n", ["red"]),
        ("bell\a, null\0, form\f, delete\x7f, tab\tkept\n", ["bell, null, form, delete, tab\tkept"]),
        ("\x1b]0;never ended\n", ["]0;never ended"]),
        ("lone \x1b\n", ["lone "]),
    ],
)
def test_lines_left_standing(text: str, lines: list[str]) -> None:
    whole = Lines()
    assert whole.feed(text) + whole.finish() == lines
    if not re.search(r"\x1b\[\d*[AFDGK]|\x1b\[2K", text):  # a code that moves the cursor comes in one piece
        pieces = Lines()
        assert [line for character in text for line in pieces.feed(character)] + pieces.finish() == lines


def nested_bars(lines: Lines) -> list[str]:
    """Write as tqdm does for an inner bar below an outer one."""
    out = lines.feed("start\n")
    for epoch in range(3):
        out += lines.feed(f"\r epoch {epoch}")
        for step in range(50):
            out += lines.feed("\n") + lines.feed(f"\r step {epoch}.{step}") + lines.feed("\x1b[A")
    return out + lines.feed("\n\n")


def test_bars_below_one_another_are_kept_once_redrawn() -> None:
    lines = Lines()
    out = nested_bars(lines) + lines.finish()
    assert out[0] == "start"
    assert out[-2:] == [" epoch 2", " step 2.49"]
    assert len(out) <= 4


def test_a_live_display_of_several_rows() -> None:
    lines = Lines()
    out = lines.feed("row a 0\nrow b 0")
    for i in range(1, 100):
        out += lines.feed(f"\r\x1b[2K\x1b[1A\x1b[2Krow a {i}\nrow b {i}")
    out += lines.feed("\nafter\n") + lines.finish()
    assert out == ["row a 0", "row a 99", "row b 99", "after"]


def test_lines_are_no_longer_held_back_when_the_bars_have_gone() -> None:
    lines = Lines()
    nested_bars(lines)
    lines.feed("one\ntwo\n")
    settled = "".join(lines.settle() for _ in range(12))
    assert "two\n" in settled
    assert lines.feed("three\n") == ["three"]


def settled(lines: Lines) -> str:
    """Let a second pass in which nothing was written."""
    return lines.settle() + lines.settle()


@pytest.mark.parametrize("back", ["\b\b\b", "\r", "\x1b[3D", "\x1b[G"])
def test_a_progress_that_goes_back_after_a_second_begins_anew_below_what_is_written(back: str) -> None:
    lines = Lines()
    assert lines.feed("10%") == []
    assert settled(lines) == "10%"
    assert lines.feed(f"{back}20%") == [""]  # the end of the line that is written
    assert settled(lines) == ""
    assert lines.feed(f"{back}30%\nafter\n") == ["30%", "after"]


def test_a_line_goes_on_after_a_second_with_nothing_gone_back_to() -> None:
    lines = Lines()
    lines.feed("load")
    assert settled(lines) == "load"
    assert lines.feed("ing\r\nnext ") == ["ing"]
    assert settled(lines) == "next "
    assert lines.feed("line\n") == ["line"]


def test_a_long_line_without_an_end_is_given_out_as_it_grows() -> None:
    lines = Lines()
    told = ""
    for _ in range(50):
        lines.feed("." * 20_000)
        told += settled(lines)
    assert told + "".join(lines.finish()) == "." * 1_000_000


def test_a_spinner_that_turns_for_hours_stays_short() -> None:
    lines = Lines()
    lines.feed("training ")
    for i in range(20_000):
        lines.feed("|/-\\"[i % 4] + "\b")
    assert lines.feed("done\n") == ["training done"]
