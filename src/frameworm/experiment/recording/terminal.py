r"""What would be left standing in a terminal, line by line.

Of a progress bar that is drawn over and over (``\r``, backspaces, cursor up or left) that is its last state. Colours
are kept; other codes, such as titles and the targets of links, and characters that only move or ring are not.
"""

from __future__ import annotations

import re
from unicodedata import combining, east_asian_width

_STRING = r"\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
"""A title, link, picture or the like: all up to its terminator."""
_CODE = rf"{_STRING}|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]+[0-~]|\x1b[0-Z\\^-~]"

_CURSOR = re.compile(r"(\n|\x1b\[\d*[AF]|\x1b\[2K)")
_LEFT = re.compile(r"\x1b\[(\d*)D")
_FIRST_COLUMN = re.compile(r"\x1b\[[01]?G")
_CELLS = re.compile(rf"{_CODE}|.", re.DOTALL)
_NO_COLOUR = re.compile(rf"(\x1b\[[0-9;:]*m)|{_CODE}|\x9b[0-?]*[ -/]*[@-~]|[\0-\x08\x0b-\x1f\x7f-\x9f]")
_MAX_REACH = 64
_MAX_LEFT = 1000
_QUIET_SETTLES = 10


class Lines:
    r"""Turns the text written to one stream into the lines that would be left standing in a terminal.

    ``_rows`` are the rows that may still change: the one with the cursor, and those that the cursor has been seen
    to go back to (``_reach``). A row ending in ``\r`` has the cursor at its first column, one ending in ``\b`` so
    many columns before its end.
    """

    def __init__(self) -> None:
        self._rows = [""]
        self._row = 0
        self._reach = 0
        self._settles = 0
        self._redrawn = False
        self._before = ""
        self._told = ""  # what ``settle`` has given of the row with the cursor

    def feed(self, text: str) -> list[str]:
        """Take text, return the lines it has finished."""
        if not (len(self._rows) > 1 or self._redrawn or "\r" in text or "\x1b" in text or "\b" in text):
            if "\n" not in text:
                self._rows[0] += text
                return []
            lines = (self._rows[0] + text).split("\n")
            self._rows[0] = lines.pop()
            self._told = ""
            return [_final(line) for line in lines]
        for token in _CURSOR.split(text):
            if token == "\n":
                self._told, self._redrawn = "", False
                self._row += 1
                if self._row == len(self._rows):
                    self._rows.append("")
                else:
                    self._to_first_column()
            elif token.startswith("\x1b[") and token[-1] in "AF" and _CURSOR.fullmatch(token):
                self._up(min(int(token[2:-1] or 1), _MAX_REACH), token[-1] == "F")
            elif token == "\x1b[2K":
                self._rows[self._row] = ""
            elif token:
                self._put(token)
        return self._emit()

    def settle(self) -> str:
        """Return what has stood unfinished since the last call, ready to be written; "" if nothing."""
        self._settles += 1
        if self._reach and self._settles >= _QUIET_SETTLES:
            self._reach = 0
            if lines := self._emit():
                return "\n".join(lines) + "\n"
        row = self._rows[0]
        if len(self._rows) > 1 or self._redrawn or row != self._before:
            self._before = row
            return ""
        self._rows[0] = self._before = ""
        self._told += row
        return _final(row)

    def finish(self) -> list[str]:
        """Return all that is left."""
        lines = [_final(row) for row in self._rows]
        self._rows, self._row, self._told = [""], 0, ""
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def _put(self, text: str) -> None:
        row = self._rows[self._row] + text
        if "\x1b[" in row:
            row = _LEFT.sub(lambda code: "\b" * min(int(code[1] or 1), _MAX_LEFT), row)
            row = _FIRST_COLUMN.sub("\r", row)
        self._redrawn |= "\b" in row or "\r" in row
        drawn = row.rstrip("\r")
        if "\b" in row or "\r" in drawn:
            if self._told:  # it goes back into what is written already: that stays, the row begins anew below it
                self._rows.insert(self._row, "")
                self._row += 1
                drawn, self._told = self._told + drawn, ""
            drawn = drawn[drawn.rfind("\r") + 1 :]
            row = (_overwritten(drawn) if "\b" in drawn else drawn) + ("\r" if row.endswith("\r") else "")
        self._rows[self._row] = row

    def _to_first_column(self) -> None:
        self._rows[self._row] = self._rows[self._row].rstrip("\r") + "\r"

    def _up(self, count: int, to_first_column: bool) -> None:
        self._reach = max(self._reach, count)
        self._settles = 0
        at_first_column = to_first_column or self._rows[self._row][-1:] in ("", "\r")
        missing = max(0, count - self._row)
        self._rows[:0] = [""] * missing
        self._row += missing - count
        if at_first_column:
            self._to_first_column()

    def _emit(self) -> list[str]:
        count = max(0, min(len(self._rows) - 1 - self._reach, self._row))
        lines = [_final(row) for row in self._rows[:count]]
        del self._rows[:count]
        self._row -= count
        return lines


def _overwritten(row: str) -> str:
    r"""Return a row with its backspaces carried out, but for those that leave the cursor before its end."""
    cells: list[str] = []
    column = 0
    codes = ""
    for token in _CELLS.findall(row):
        if token == "\b":
            column = max(0, column - 1)
        elif token in ("\x1b[K", "\x1b[0K"):
            del cells[column:]
        elif token[0] == "\x1b":
            codes += token
        elif combining(token) and column:
            cells[column - 1] += token
        else:
            wide = east_asian_width(token) in "WF"
            cells[column : column + 1 + wide] = [codes + token, *[""] * wide]
            codes = ""
            column += 1 + wide
    return "".join(cells) + codes + "\b" * (len(cells) - column)


def _final(row: str) -> str:
    if row.isprintable():
        return "" if row.isspace() else row
    row = _NO_COLOUR.sub(lambda code: code[1] or "", row)
    return "" if row.isspace() else row
