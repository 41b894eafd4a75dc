"""What all commands share."""

from __future__ import annotations

import click
import pytest

from frameworm.experiment.cli.program import complain


def test_a_danger_is_red_altogether(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with click.Context(click.Command("ui")) as context:
        context.color = True
        complain("danger", "everybody")
        complain("error", "nobody")
    assert capsys.readouterr().err.splitlines() == [
        "\x1b[31mdanger\x1b[0m: \x1b[31meverybody\x1b[0m",
        "\x1b[31merror\x1b[0m: nobody\x1b[0m",
    ]
